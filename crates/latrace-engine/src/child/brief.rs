//! A command that is waited for, and that may also run while this process is ending.

use std::env::current_exe;
use std::io::stderr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{POLL, SERVER_KEY, Supervisor, in_words, supervisor};

/// Runs a command of a shell, with more variables in its environment, until it ends or `limit` has passed: then it is
/// ended with all that it has started, as it is if this process is killed. What it prints goes to standard error.
///
/// Unlike [`super::Child`] it is not among those that [`super::stop_all`] ends, so that it can say that this process was
/// interrupted.
///
/// # Errors
/// A command that does not end in time or fails; a system that starts no further process.
pub fn run_briefly(script: &str, env: &[(&str, String)], limit: Duration) -> Result<()> {
    let argv = ["sh", "-c", script].map(str::to_owned);
    let mut process = Command::new(current_exe().context("cannot find this program's own file")?);
    process.args(supervisor::arguments(&argv)).stdin(Stdio::piped()).stdout(stderr());
    process.envs(env.iter().map(|(name, value)| (name, value))).env_remove(SERVER_KEY);
    let process = process.spawn().context("cannot start a shell")?;
    // Ends it on every way out of here.
    let child = Ended(Supervisor(Mutex::new(process)));
    let until = Instant::now() + limit;
    loop {
        match child.0.ended()? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => bail!("{}", in_words(status)),
            None if Instant::now() > until => bail!("not finished after {} s", limit.as_secs()),
            None => sleep(POLL),
        }
    }
}

/// A supervisor that is stopped when this is dropped.
struct Ended(Supervisor);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stop();
    }
}
