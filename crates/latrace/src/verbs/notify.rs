//! `--notify`: a command of the user's that is told how a run ended.

use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use latrace_engine::child::{hold_if_stopping, run_briefly};
use latrace_io::text_table::{percent, range};
use latrace_objective::statistics::Accuracy;
use latrace_run::pipeline::summary::RunSummary;
use tracing::warn;

/// How long the command has: less than what a batch system leaves between its two signals.
const LIMIT: Duration = Duration::from_secs(10);

/// Maximum bytes of the message: the system refuses to start a command with a variable of 128 KiB, and an error may
/// quote a row of the data.
const LONGEST_MESSAGE: usize = 16 << 10;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Done,
    Failed,
    Interrupted,
}

impl Ending {
    fn name(self) -> &'static str {
        match self {
            Ending::Done => "done",
            Ending::Failed => "failed",
            Ending::Interrupted => "interrupted",
        }
    }
}

/// Says how a run ended, once, if asked to.
#[derive(Clone, Debug)]
pub(super) struct Notifier(Option<Arc<Notification>>);

#[derive(Debug)]
struct Notification {
    command: String,
    run: PathBuf,
    is_sent: AtomicBool,
}

impl Notifier {
    /// A notifier that runs a shell command, or none.
    pub(super) fn new(command: Option<&str>, run: &Path) -> Result<Notifier> {
        let Some(command) = command else { return Ok(Notifier(None)) };
        // The command may well change its folder.
        let run = absolute(run).with_context(|| format!("cannot find {}", run.display()))?;
        let (command, is_sent) = (command.to_owned(), AtomicBool::new(false));
        Ok(Notifier(Some(Arc::new(Notification { command, run, is_sent }))))
    }

    /// Passes an outcome on, once the command has been told of it: the headline, or the error.
    pub(super) fn tell(&self, outcome: Result<String>) -> Result<()> {
        // A failure then follows from the end of children, and the interruption is told by who ends them.
        hold_if_stopping();
        match &outcome {
            Ok(headline) => self.say(Ending::Done, headline),
            Err(error) => self.say(Ending::Failed, &format!("{error:#}")),
        }
        outcome.map(drop)
    }

    /// What an interruption has to do last.
    pub(super) fn of_interruption(&self) -> impl Fn(&str) + Send + 'static {
        let notifier = self.clone();
        move |kept| notifier.say(Ending::Interrupted, kept)
    }

    fn say(&self, ending: Ending, message: &str) {
        let Some(notification) = &self.0 else { return };
        // An interruption while the command hears of the end has nothing to add. Relaxed: nothing else is shared.
        if notification.is_sent.swap(true, Ordering::Relaxed) {
            return;
        }
        let run = notification.run.display().to_string();
        let state = ending.name().to_owned();
        let env = [("LATRACE_RUN", run), ("LATRACE_STATE", state), ("LATRACE_MESSAGE", as_variable(message))];
        if let Err(error) = run_briefly(&notification.command, &env, LIMIT) {
            // Without the command, which may hold the key of a service.
            warn!("the command of --notify failed: {error:#}");
        }
    }
}

/// A message as the value of an environment variable, which may be neither too long nor hold a NUL.
fn as_variable(message: &str) -> String {
    let shown = message.replace('\0', "\u{fffd}");
    if shown.len() <= LONGEST_MESSAGE {
        return shown;
    }
    format!("{}…", &shown[..shown.floor_char_boundary(LONGEST_MESSAGE)])
}

/// A finished run in one line: the accuracy before and after.
pub(super) fn headline(summary: &RunSummary) -> String {
    let accuracy = |name: &str| summary.models.get(name).map(|model| model.overall);
    let before = accuracy("initial").or_else(|| accuracy("base")).map(shown);
    let after = accuracy("final").map(shown);
    let parts = [(before, "before"), (after, "after")];
    let said = parts.into_iter().filter_map(|(accuracy, when)| Some(format!("{} {when}", accuracy?)));
    format!("accuracy in percent: {}", said.collect::<Vec<_>>().join(", "))
}

fn shown(Accuracy { accuracy, low, high, .. }: Accuracy) -> String {
    format!("{} ({})", percent(accuracy), range(low, high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_can_be_a_variable() {
        for (message, expected) in [
            ("row 3: expected a number".to_owned(), "row 3: expected a number".to_owned()),
            ("a\0b".to_owned(), "a\u{fffd}b".to_owned()),
            (format!("a{}", "é".repeat(1 << 20)), format!("a{}…", "é".repeat(LONGEST_MESSAGE / 2 - 1))),
        ] {
            assert_eq!(as_variable(&message), expected);
            let started = std::process::Command::new("true").env("MESSAGE", as_variable(&message)).status();
            assert!(started.unwrap().success());
        }
    }
}
