//! `latrace status`: shows a run's progress.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::{print, print_json};
use latrace_io::text_table::markdown;
use latrace_report::status::{RunState, RunStatus, StageStatus, look};
use latrace_report::{StageProgress, StageState};

const HEADER: [&str; 6] = ["stage", "state", "progress", "time", "left", "rate"];

/// Arguments of `latrace status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Reads only the run folder, also while another process is working in it. Times are working time, without
pauses. The remaining time is estimated from the rate of the current stage, and for stages that have not
started from stages of the same kind in this run; stages without any basis for an estimate are listed instead.

Examples:
  latrace status runs/quickstart
  latrace status runs/quickstart --json
  watch latrace status runs/quickstart")]
pub struct StatusArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Print all details as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `latrace status`.
pub fn run(arguments: &StatusArguments) -> Result<()> {
    let status = look(&arguments.run)?;
    if arguments.json { print_json(&status) } else { print(&in_words(&status)) }
}

fn in_words(status: &RunStatus) -> String {
    format!("{}\n\n{}", head(status), table(status).trim_end())
}

fn table(status: &RunStatus) -> String {
    let rows: Vec<_> = status.stages.iter().map(|stage| cells(stage, status.state)).collect();
    markdown(&HEADER.map(str::to_owned), &rows)
}

fn head(status: &RunStatus) -> String {
    let (run, state) = (status.run.display(), state_of_run(status.state));
    format!("{run}: {state}\n{}{}", done(status), remaining(status))
}

fn done(status: &RunStatus) -> String {
    let (done, all, spent) = (status.done, status.stages.len(), time(status.seconds_spent));
    format!("{done} of {all} stages done, {spent} of work")
}

fn state_of_run(state: RunState) -> &'static str {
    use RunState::{Done, Stopped, UnderWay};
    match state {
        UnderWay => "running",
        Stopped => "stopped: `latrace run` with the same recipe resumes it",
        Done => "done",
    }
}

/// The remaining time of an unfinished run, with the stages that it leaves out.
fn remaining(status: &RunStatus) -> String {
    if status.state == RunState::Done {
        return String::new();
    }
    format!(", about {} left{}", time(status.seconds_left), without(&status.unknown))
}

fn without(unknown: &[String]) -> String {
    if unknown.is_empty() { String::new() } else { format!(" without {}", unknown.join(", ")) }
}

fn cells(status: &StageStatus, run: RunState) -> Vec<String> {
    // The estimate of a finished stage is 0 s, which says nothing in a table.
    let stage = &status.stage;
    let left = status.seconds_left.filter(|_| stage.state != StageState::Done);
    let spent = (stage.state != StageState::Waiting).then_some(status.seconds_spent);
    vec![
        stage.folder.clone(),
        state_of_stage(stage.state, run).to_owned(),
        stage.progress.as_ref().map_or_else(|| counted(status), progress),
        spent.map_or(String::new(), time),
        left.map_or(String::new(), time),
        rate(status),
    ]
}

/// A stage that has begun is running only if a process is working in the run folder.
fn state_of_stage(stage: StageState, run: RunState) -> &'static str {
    match (stage, run) {
        (StageState::Done, _) => "done",
        (StageState::Begun, RunState::UnderWay) => "running",
        (StageState::Begun, _) => "stopped",
        (StageState::Waiting, _) => "to do",
    }
}

fn progress(progress: &StageProgress) -> String {
    let StageProgress { done, total, unit, .. } = progress;
    total.map_or_else(|| format!("{done} {unit}"), |total| format!("{done} of {total} {unit}"))
}

/// The first count of a finished stage's summary.
fn counted(status: &StageStatus) -> String {
    let first = status.counts.as_object().and_then(|counts| counts.iter().find(|(_, count)| count.is_u64()));
    first.map_or(String::new(), |(name, count)| format!("{count} {}", name.replace('_', " ")))
}

fn rate(status: &StageStatus) -> String {
    // Never both: a finished stage has no progress, and a begun one no mean yet.
    mean_rate(status).or_else(|| current_rate(status)).unwrap_or_default()
}

/// The rate of a finished stage over its whole working time.
fn mean_rate(status: &StageStatus) -> Option<String> {
    let is_known = status.stage.state == StageState::Done && status.seconds_spent > 0.0;
    let tokens = status.stage.tokens.filter(|_| is_known)?;
    Some(format!("{:.0} tokens/s", tokens as f64 / status.seconds_spent))
}

fn current_rate(status: &StageStatus) -> Option<String> {
    let progress = status.stage.progress.as_ref()?;
    Some(format!("{:.2} {}/s", progress.per_second?, progress.unit))
}

/// A duration, with as many units as matter at its size.
fn time(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(seconds: f64, expected: &str) {
        assert_eq!(time(seconds), expected);
    }

    #[test]
    fn times_are_told_with_what_matters_of_them() {
        check(0.04, "0.0 s");
        check(9.44, "9.4 s");
        check(59.7, "60 s");
        check(125.0, "2 min 05 s");
        check(7325.0, "2 h 02 min");
    }
}
