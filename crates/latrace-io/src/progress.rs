//! Progress to stderr: a bar on a terminal, otherwise periodic log lines.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two log lines where stderr is not a terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Counts units of work done, and shows it.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    done: u64,
    total: Option<u64>,
    message: String,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Log { started: Instant, last: Instant },
}

impl Progress {
    /// Starts counting `what` (a plural noun), from `done` up to `total` where that is known.
    pub fn new(what: &'static str, done: u64, total: Option<u64>) -> Progress {
        let display = if std::io::stderr().is_terminal() {
            Display::Bar(bar(what, done, total))
        } else {
            let now = Instant::now();
            Display::Log { started: now, last: now }
        };
        Progress { what, done, total, message: String::new(), display }
    }

    /// Sets the short text beside the count, such as the loss.
    pub fn message(&mut self, message: String) {
        match &self.display {
            Display::Bar(bar) => bar.set_message(message),
            Display::Log { .. } => self.message = message,
        }
    }

    /// Counts `units` more.
    pub fn advance(&mut self, units: u64) {
        self.done += units;
        match &mut self.display {
            Display::Bar(bar) => bar.inc(units),
            Display::Log { started, last } => {
                if last.elapsed() >= LOG_EVERY {
                    *last = Instant::now();
                    let total = self.total.map_or(String::new(), |total| format!("/{total}"));
                    let seconds = started.elapsed().as_secs();
                    tracing::info!("{}{total} {} after {seconds} s {}", self.done, self.what, self.message);
                }
            }
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
    }
}

/// A count that several threads add to.
#[derive(Debug)]
pub struct SharedProgress(Mutex<Progress>);

impl SharedProgress {
    /// Shares a count.
    pub fn new(progress: Progress) -> SharedProgress {
        SharedProgress(Mutex::new(progress))
    }

    /// Counts `units` more.
    pub fn advance(&self, units: u64) {
        // A poisoned lock is safe to use: a count is never left half updated.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).advance(units);
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    }
}

fn bar(what: &'static str, done: u64, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::new(total),
            format!("{{bar:30}} {{pos}}/{{len}} {what} [{{elapsed}}, {{eta}} left] {{msg}}"),
        ),
        None => (ProgressBar::new_spinner(), format!("{{spinner}} {{pos}} {what} [{{elapsed}}] {{msg}}")),
    };
    // Only braces in `what` could make the template invalid, and no caller has any.
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_position(done)
}
