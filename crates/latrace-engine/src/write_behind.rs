//! Writing that does not keep the engine waiting: a part is written and synced while the next one is filled.

use std::panic::resume_unwind;
use std::thread::{Scope, ScopedJoinHandle};

use anyhow::Result;

/// Runs one write at a time on a thread of its own. One, so that memory holds at most a part that is being
/// filled and a part that is being written, and parts reach the disk in the order in which they are complete.
pub struct WriteBehind<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    writing: Option<ScopedJoinHandle<'scope, Result<()>>>,
}

impl<'scope, 'env> WriteBehind<'scope, 'env> {
    /// Writes on threads of `scope`, which waits for the last of them whatever happens.
    pub fn new(scope: &'scope Scope<'scope, 'env>) -> WriteBehind<'scope, 'env> {
        WriteBehind { scope, writing: None }
    }

    /// Begins a write, once the one before it has ended.
    ///
    /// # Errors
    /// Those of the write before it.
    pub fn begin(&mut self, write: impl FnOnce() -> Result<()> + Send + 'scope) -> Result<()> {
        self.finish()?;
        self.writing = Some(self.scope.spawn(write));
        Ok(())
    }

    /// Waits for the write in progress.
    ///
    /// # Errors
    /// Those of the write.
    pub fn finish(&mut self) -> Result<()> {
        let outcome = self.writing.take().map_or(Ok(Ok(())), ScopedJoinHandle::join);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;
    use std::thread::scope;

    use anyhow::bail;

    use super::*;

    #[test]
    fn work_goes_on_during_a_write_and_the_next_write_waits_for_it() {
        let log = Mutex::new(Vec::new());
        let add = |text| log.lock().unwrap().push(text);
        let (go, wait) = channel();
        scope(|scope| {
            let mut behind = WriteBehind::new(scope);
            let first = move || {
                wait.recv()?;
                add("first");
                Ok(())
            };
            behind.begin(first).unwrap();
            add("meanwhile");
            go.send(()).unwrap();
            behind
                .begin(move || {
                    add("second");
                    Ok(())
                })
                .unwrap();
            behind.finish().unwrap();
        });
        assert_eq!(log.into_inner().unwrap(), ["meanwhile", "first", "second"]);
    }

    #[test]
    fn a_write_that_fails_fails_the_next_one_and_the_end() {
        scope(|scope| {
            let mut behind = WriteBehind::new(scope);
            behind.begin(|| bail!("disk full")).unwrap();
            let next = behind.begin(|| panic!("must not begin")).unwrap_err();
            assert_eq!(next.to_string(), "disk full");
            behind.finish().unwrap();
            behind.begin(|| bail!("disk full")).unwrap();
            assert_eq!(behind.finish().unwrap_err().to_string(), "disk full");
        });
    }
}
