//! `latrace status`: shows the progress of a run, or of the runs of a sweep.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::output::{print, print_json};
use latrace_io::words::{duration, grouped};
use latrace_report::status::{RunState, RunStatus, StageStatus, look};
use latrace_report::sweep_status::{SweepStatus, SweptRunState, SweptRunStatus, look_at_sweep};
use latrace_report::{StageProgress, StageState};

/// Arguments of `latrace status`.
#[derive(Args, Debug)]
#[command(after_help = "\
Reads only the run folder, also while another process is working in it. Times are working time, without
pauses. The remaining time is estimated from the rate of the current stage, and for stages that have not
started from stages of the same kind in this run; stages without any basis for an estimate are listed instead.
Of a sweep, each run has a line with its state.

Examples:
  latrace status runs/quickstart
  latrace status runs/quickstart --json
  latrace status runs/quickstart-sweep
  watch latrace status runs/quickstart")]
pub struct StatusArguments {
    /// The run folder, or the folder of a sweep
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Print all details as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `latrace status`.
pub fn run(arguments: &StatusArguments) -> Result<()> {
    if let Some(sweep) = look_at_sweep(&arguments.run)? {
        return if arguments.json { print_json(&sweep) } else { print(&sweep_in_words(&sweep)) };
    }
    let status = look(&arguments.run)?;
    if arguments.json { print_json(&status) } else { print(&in_words(&status)) }
}

fn sweep_in_words(status: &SweepStatus) -> String {
    let SweepStatus { sweep, recipe, done, runs } = status;
    let widest = runs.iter().map(|run| run.folder.len()).max().unwrap_or(0);
    let line = |run: &SweptRunStatus| {
        let (state, detail) = match &run.state {
            SweptRunState::Waiting => ("to do", String::new()),
            SweptRunState::Begun { state, done, stages } => {
                (short_state(*state), format!("{done} of {stages} stages"))
            }
            SweptRunState::Unknown { reason } => ("unknown", reason.clone()),
        };
        format!("{state:<12} {:<widest$} {detail}", run.folder).trim_end().to_owned()
    };
    let lines: Vec<String> = runs.iter().map(line).collect();
    format!(
        "{}: a sweep of the recipe {recipe}\n{done} of {} runs done\n\n{}",
        sweep.display(),
        runs.len(),
        lines.join("\n")
    )
}

fn short_state(state: RunState) -> &'static str {
    match state {
        RunState::UnderWay => "running",
        RunState::Stopped => "stopped",
        RunState::Done => "done",
    }
}

fn in_words(status: &RunStatus) -> String {
    let lines: Vec<String> = status.stages.iter().map(|stage| line(stage, status.state)).collect();
    format!("{}\n\n{}", head(status), lines.join("\n"))
}

fn head(status: &RunStatus) -> String {
    let (run, state) = (status.run.display(), state_of_run(status.state));
    format!("{run}: {state}\n{}{}", done(status), remaining(status))
}

fn done(status: &RunStatus) -> String {
    let (done, all, spent) = (status.done, status.stages.len(), duration(status.seconds_spent));
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

/// The remaining time of an unfinished run, with the number of stages that it leaves out.
fn remaining(status: &RunStatus) -> String {
    // Without any measurement nothing is known.
    if status.state == RunState::Done || status.seconds_left == 0.0 {
        return String::new();
    }
    let left = duration(status.seconds_left);
    match status.unknown.len() {
        0 => format!(", about {left} left"),
        1 => format!("\nat least {left} left: 1 stage is unlike any that is done"),
        unknown => format!("\nat least {left} left: {unknown} stages are unlike any that is done"),
    }
}

/// A stage on a line of at most 80 columns: state, folder, time, and what it came to or how far it is.
fn line(status: &StageStatus, run: RunState) -> String {
    let stage = &status.stage;
    let (state, amount) = (state_of_stage(stage.state, run), amount(status));
    let text = format!("{state:<12} {:<33} {:>15} {amount}", stage.folder, time(status));
    text.trim_end().to_owned()
}

/// The time that a stage took, or will probably take.
fn time(status: &StageStatus) -> String {
    match (status.stage.state, status.seconds_left) {
        (StageState::Done, _) => duration(status.seconds_spent),
        (_, Some(left)) => format!("{} left", duration(left)),
        (StageState::Begun, None) => duration(status.seconds_spent),
        (StageState::Waiting | StageState::Stale, None) => String::new(),
    }
}

/// A stage that has begun is running only if a process is working in the run folder.
fn state_of_stage(stage: StageState, run: RunState) -> &'static str {
    match (stage, run) {
        (StageState::Done, _) => "done",
        (StageState::Begun, RunState::UnderWay) => "running",
        (StageState::Begun, _) => "stopped",
        (StageState::Waiting, _) => "to do",
        (StageState::Stale, _) => "to be redone",
    }
}

/// How far a begun stage is; of a finished one its accuracy, or its rate.
fn amount(status: &StageStatus) -> String {
    let progress = status.stage.progress.as_ref().map(progress);
    progress.or_else(|| accuracy(status)).or_else(|| rate(status)).unwrap_or_default()
}

fn progress(progress: &StageProgress) -> String {
    let StageProgress { done, total, unit, .. } = progress;
    let of = total.map_or_else(String::new, |total| format!("/{}", grouped(total)));
    format!("{}{of} {unit}", grouped(*done))
}

fn accuracy(status: &StageStatus) -> Option<String> {
    let accuracy = status.counts.pointer("/overall/accuracy")?.as_f64()?;
    Some(format!("{:.1} % right", 100.0 * accuracy))
}

/// The rate of a finished stage over its whole working time.
fn rate(status: &StageStatus) -> Option<String> {
    let is_known = status.stage.state == StageState::Done && status.seconds_spent >= 1.0;
    let tokens = status.stage.tokens.filter(|_| is_known)?;
    Some(format!("{} tokens/s", grouped((tokens as f64 / status.seconds_spent) as u64)))
}

#[cfg(test)]
mod tests {
    use latrace_report::ShownStage;
    use serde_json::{Value, json};

    use super::*;

    fn stage(folder: &str, state: StageState, left: Option<f64>, counts: Value) -> StageStatus {
        let progress = (state == StageState::Begun).then(|| StageProgress {
            done: 539,
            total: Some(1000),
            unit: "updates".to_owned(),
            per_second: Some(7.25),
            seconds_left: left,
        });
        let (method, seconds) = (None, None);
        let (folder, title, tokens) = (folder.to_owned(), String::new(), Some(1_250_000));
        let stage = ShownStage { folder, title, method, state, seconds, tokens, progress };
        StageStatus { stage, seconds_spent: 125.4, seconds_left: left, counts }
    }

    #[test]
    fn a_run_is_told_in_80_columns() {
        let stages = vec![
            stage("01-initial", StageState::Done, Some(0.0), Value::Null),
            stage(
                "10-evaluation/initial",
                StageState::Done,
                Some(0.0),
                json!({"overall": {"accuracy": 0.284}}),
            ),
            stage("02-posterior", StageState::Begun, Some(63.5), Value::Null),
            stage("baselines/gold/10-evaluation/final", StageState::Stale, Some(7325.0), Value::Null),
            stage("09-final", StageState::Waiting, None, Value::Null),
        ];
        let mut status = RunStatus {
            run: "runs/x".into(),
            state: RunState::UnderWay,
            done: 2,
            seconds_spent: 376.2,
            seconds_left: 7388.5,
            unknown: vec!["09-final".to_owned()],
            stages,
        };
        let expected = "\
runs/x: running
2 of 5 stages done, 6 min 16 s of work
at least 2 h 03 min left: 1 stage is unlike any that is done

done         01-initial                             2 min 05 s 9,968 tokens/s
done         10-evaluation/initial                  2 min 05 s 28.4 % right
running      02-posterior                            64 s left 539/1,000 updates
to be redone baselines/gold/10-evaluation/final 2 h 02 min left
to do        09-final";
        let text = in_words(&status);
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        (status.seconds_left, status.unknown) = (60.0, Vec::new());
        assert_eq!(
            head(&status).lines().nth(1),
            Some("2 of 5 stages done, 6 min 16 s of work, about 60 s left")
        );
    }
}
