//! `latrace status`: shows a run's progress.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use latrace_io::text_table::markdown;
use latrace_report::status::{RunState, RunStatus, StageStatus, look};
use latrace_report::{StageProgress, StageState};

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
    let text = if arguments.json { serde_json::to_string_pretty(&status)? } else { in_words(&status) };
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}

fn in_words(status: &RunStatus) -> String {
    let state = match status.state {
        RunState::UnderWay => "running",
        RunState::Stopped => "stopped: `latrace run` with the same recipe resumes it",
        RunState::Done => "done",
    };
    let mut head = format!(
        "{}: {state}\n{} of {} stages done, {} of work",
        status.run.display(),
        status.done,
        status.stages.len(),
        time(status.seconds_spent)
    );
    if status.state != RunState::Done {
        head.push_str(&format!(", about {} left", time(status.seconds_left)));
        if !status.unknown.is_empty() {
            head.push_str(&format!(" without {}", status.unknown.join(", ")));
        }
    }
    let header = ["stage", "state", "progress", "time", "left", "rate"].map(str::to_owned);
    let rows: Vec<Vec<String>> = status.stages.iter().map(|stage| cells(stage, status.state)).collect();
    format!("{head}\n\n{}", markdown(&header, &rows).trim_end())
}

fn cells(status: &StageStatus, run: RunState) -> Vec<String> {
    let stage = &status.stage;
    let state = match (stage.state, run) {
        (StageState::Done, _) => "done",
        (StageState::Begun, RunState::UnderWay) => "running",
        (StageState::Begun, _) => "stopped",
        (StageState::Waiting, _) => "to do",
    };
    let is_open = stage.state != StageState::Done;
    let left = status.seconds_left.filter(|_| is_open).map_or(String::new(), time);
    let spent = if stage.state == StageState::Waiting { String::new() } else { time(status.seconds_spent) };
    vec![
        stage.folder.clone(),
        state.to_owned(),
        stage.progress.as_ref().map_or_else(|| counted(status), progress),
        spent,
        left,
        rate(status),
    ]
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
    let stage = &status.stage;
    match (
        stage.tokens,
        stage.progress.as_ref().and_then(|progress| Some((progress.per_second?, &progress.unit))),
    ) {
        (Some(tokens), _) if stage.state == StageState::Done && status.seconds_spent > 0.0 => {
            format!("{:.0} tokens/s", tokens as f64 / status.seconds_spent)
        }
        (_, Some((rate, unit))) => format!("{rate:.2} {unit}/s"),
        _ => String::new(),
    }
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
