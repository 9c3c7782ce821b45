//! Panics of the `parquet` crate, which some damaged pages cause, as errors.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use anyhow::{Result, bail};

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Does work on a file; a panic in it means that the file is damaged. What the work has changed must not be used
/// after an error.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    silence_guarded_panics();
    let was_guarded = IS_GUARDED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    match done {
        Ok(result) => result,
        Err(panic) => bail!("a page of it is damaged ({})", message(&*panic)),
    }
}

/// Keeps the message of a panic that becomes an error from standard error, where it would be a second one.
fn silence_guarded_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_GUARDED.get() {
                hook(panic);
            }
        }));
    });
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = || panic.downcast_ref::<String>().map(String::as_str);
    panic.downcast_ref::<&str>().copied().or_else(owned).unwrap_or("a panic")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_message() {
        let number = 7;
        let error = guarded::<()>(|| panic!("no dictionary for page {number}")).unwrap_err();
        assert_eq!(error.to_string(), "a page of it is damaged (no dictionary for page 7)");
        assert!(!IS_GUARDED.get(), "later panics are reported");
        assert_eq!(guarded(|| Ok(guarded(|| Ok(1))? + 1)).unwrap(), 2);
    }
}
