//! Progress to stderr: a bar on a terminal, otherwise periodic log lines.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::words::{duration, grouped};

/// Time between two log lines where stderr is not a terminal.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// What this process is doing, for whoever counts it, and whoever is told that it stops.
#[derive(Debug)]
struct AtWork {
    /// The stage of a run, as in "4/28 01-initial"; empty outside of a run.
    stage: String,
    /// The samples that the stage is to draw, where that is known before.
    samples: Option<u64>,
    /// The unit that is counted, and how many are done.
    counted: Option<(&'static str, u64)>,
    /// How many of them a checkpoint holds.
    saved: Option<u64>,
}

/// Nothing yet, or no more.
const IDLE: AtWork = AtWork { stage: String::new(), samples: None, counted: None, saved: None };

static AT_WORK: Mutex<AtWork> = Mutex::new(IDLE);

fn at_work() -> MutexGuard<'static, AtWork> {
    // A poisoned lock is safe to use: what it guards is never left half updated.
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stage of a run while it is at work: every count names it.
#[derive(Debug)]
pub struct StageAtWork(());

impl StageAtWork {
    /// Begins a stage, by its name and, where that is known before, the number of its samples.
    pub fn begin(stage: String, samples: Option<u64>) -> StageAtWork {
        *at_work() = AtWork { stage, samples, ..IDLE };
        StageAtWork(())
    }
}

impl Drop for StageAtWork {
    fn drop(&mut self) {
        *at_work() = IDLE;
    }
}

/// Whether a stage of a run is at work, which says itself at its end what it has done.
pub fn is_in_stage() -> bool {
    !at_work().stage.is_empty()
}

/// The samples that the stage at work is to draw, where that is known before.
pub fn expected_samples() -> Option<u64> {
    at_work().samples
}

/// Notes that a checkpoint holds so many of the units that are counted.
pub fn note_saved(units: u64) {
    at_work().saved = Some(units);
}

/// Where the work is: "in stage 4/28 01-initial, after 539 updates; checkpoint at 500". Empty before any work.
pub fn place() -> String {
    let AtWork { stage, counted, saved, .. } = &*at_work();
    let stage = if stage.is_empty() { String::new() } else { format!("in stage {stage}") };
    let Some((what, done)) = counted else { return stage };
    let comma = if stage.is_empty() { "" } else { ", " };
    let saved = saved.map_or_else(String::new, |saved| format!("; checkpoint at {}", grouped(saved)));
    format!("{stage}{comma}after {} {what}{saved}", grouped(*done))
}

/// Counts units of work done, and shows it.
#[derive(Debug)]
pub struct Progress {
    stage: String,
    what: &'static str,
    /// Done when the count began: no work of this process.
    before: u64,
    done: u64,
    total: Option<u64>,
    message: String,
    started: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Bar(ProgressBar),
    Log { last: Instant },
}

impl Progress {
    /// Starts counting `what` (a plural noun), from `done` up to `total` where that is known.
    pub fn new(what: &'static str, done: u64, total: Option<u64>) -> Progress {
        let stage = at_work().stage.clone();
        let display = if std::io::stderr().is_terminal() {
            Display::Bar(bar(&stage, done, total))
        } else {
            Display::Log { last: Instant::now() }
        };
        let message = String::new();
        let progress =
            Progress { stage, what, before: done, done, total, message, started: Instant::now(), display };
        at_work().counted = Some((what, done));
        progress
    }

    /// Sets the short text beside the count, such as the loss.
    pub fn message(&mut self, message: String) {
        self.message = message;
    }

    /// Counts `units` more.
    pub fn advance(&mut self, units: u64) {
        self.done += units;
        at_work().counted = Some((self.what, self.done));
        match &self.display {
            Display::Bar(bar) => {
                bar.set_message(self.text());
                bar.set_position(self.done);
            }
            // The text only where it is shown: a count may advance a million times a second.
            Display::Log { last } if last.elapsed() >= LOG_EVERY => {
                let stage = if self.stage.is_empty() { "" } else { &format!("stage {}: ", self.stage) };
                tracing::info!("{stage}{}", self.text());
                self.display = Display::Log { last: Instant::now() };
            }
            Display::Log { .. } => {}
        }
    }

    /// The count, its rate in this process, and the time left at that rate.
    fn text(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64();
        count_in_words(self.what, (self.before, self.done), self.total, seconds, &self.message)
    }

    /// Clears the bar.
    pub fn finish(self) {
        if let Display::Bar(bar) = &self.display {
            bar.finish_and_clear();
        }
        let mut at_work = at_work();
        (at_work.counted, at_work.saved) = (None, None);
    }
}

/// What a count says after `seconds` of work that began when `before` were done.
fn count_in_words(
    what: &str,
    (before, done): (u64, u64),
    total: Option<u64>,
    seconds: f64,
    message: &str,
) -> String {
    let of = total.map_or_else(String::new, |total| format!("/{}", grouped(total)));
    let mut text = format!("{}{of} {what}", grouped(done));
    if done > before && seconds > 0.0 {
        let rate = (done - before) as f64 / seconds;
        // A message has a rate of its own, and a line is short.
        if message.is_empty() {
            let shown = if rate < 10.0 { format!("{rate:.1}") } else { grouped(rate.round() as u64) };
            text += &format!(", {shown}/s");
        }
        if let Some(left) = total.map(|total| total.saturating_sub(done)) {
            text += &format!(", {} left", duration(left as f64 / rate));
        }
    }
    if message.is_empty() { text } else { format!("{text}, {message}") }
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

/// A bar of one line, whatever the terminal's width: what does not fit is cut.
fn bar(stage: &str, done: u64, total: Option<u64>) -> ProgressBar {
    let (bar, sign) = match total {
        Some(total) => (ProgressBar::new(total), "{bar:8}"),
        None => (ProgressBar::new_spinner(), "{spinner}"),
    };
    let prefix = if stage.is_empty() { "" } else { "{prefix}  " };
    let style = ProgressStyle::with_template(&format!("{prefix}{sign} {{wide_msg}}"));
    // The template above is valid.
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_prefix(stage.to_owned()).with_position(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(counts: (u64, u64), total: Option<u64>, seconds: f64, message: &str, expected: &str) {
        assert_eq!(count_in_words("updates", counts, total, seconds, message), expected);
    }

    #[test]
    fn a_count_says_its_rate_and_what_is_left() {
        check((0, 0), Some(1000), 0.0, "", "0/1,000 updates");
        check((0, 250), Some(1000), 10.0, "loss 1.5", "250/1,000 updates, 30 s left, loss 1.5");
        check((0, 25), None, 10.0, "", "25 updates, 2.5/s");
    }

    #[test]
    fn what_was_done_before_is_no_work_of_this_process() {
        check((500, 500), Some(1000), 10.0, "", "500/1,000 updates");
        check((500, 510), Some(1000), 10.0, "", "510/1,000 updates, 1.0/s, 8 min 10 s left");
    }

    #[test]
    fn who_stops_says_where_the_work_was() {
        // The only test of this process that looks at what all counts share.
        let stage = StageAtWork::begin("4/28 01-initial".to_owned(), Some(7));
        assert_eq!((place().as_str(), expected_samples()), ("in stage 4/28 01-initial", Some(7)));
        let mut progress = Progress::new("updates", 500, Some(1000));
        progress.advance(39);
        note_saved(500);
        assert_eq!(place(), "in stage 4/28 01-initial, after 539 updates; checkpoint at 500");
        progress.finish();
        assert_eq!(place(), "in stage 4/28 01-initial");
        drop(stage);
        assert_eq!((place().as_str(), is_in_stage()), ("", false));
    }
}
