//! Progress of a run, from its folder alone. The lock is held only for an instant, so a working process is
//! not disturbed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::text::cannot_read_folder;
use crate::{ShownStage, StageState};
use latrace_run::estimate::pace::Pace;
use latrace_run::pipeline::folder::{RunFolder, StageRecord, read_record};
use latrace_run::plan::Plan;

/// The status of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Its folder.
    pub run: PathBuf,
    /// Its state.
    pub state: RunState,
    /// Number of finished stages.
    pub done: usize,
    /// Working time (s) so far, of all sessions.
    pub seconds_spent: f64,
    /// Estimated remaining time (s) of the stages that can be estimated.
    pub seconds_left: f64,
    /// Unfinished stages without any basis for an estimate.
    pub unknown: Vec<String>,
    /// All stages, in order.
    pub stages: Vec<StageStatus>,
}

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process is working in its folder.
    UnderWay,
    /// No process is working in it, and it is unfinished.
    Stopped,
    /// Every stage is finished.
    Done,
}

/// The status of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// Its data in the report.
    #[serde(flatten)]
    pub stage: ShownStage,
    /// Working time (s) so far, of all sessions.
    pub seconds_spent: f64,
    /// Estimated remaining time (s), if there is a basis for one.
    pub seconds_left: Option<f64>,
    /// Its counts, once finished.
    pub counts: Value,
}

/// Reads the status of a run folder.
///
/// # Errors
/// The folder is not a run folder; records that cannot be read.
pub fn look(run: &Path) -> Result<RunStatus> {
    // Before the records are read: a run that finishes in between would otherwise be shown as stopped.
    let is_at_work = RunFolder::is_at_work(run)?;
    let (plan, stages) = crate::stages(run)?;
    let statuses = stages.into_iter().map(|stage| status_of(run, stage, is_at_work));
    let mut stages = statuses.collect::<Result<Vec<_>>>()?;
    estimate(&plan, run, &mut stages)?;
    Ok(summed(run, stages, is_at_work))
}

fn summed(run: &Path, stages: Vec<StageStatus>, is_at_work: bool) -> RunStatus {
    let done = stages.iter().filter(|stage| stage.stage.state == StageState::Done).count();
    let unknown = stages.iter().filter(|stage| stage.seconds_left.is_none());
    RunStatus {
        run: run.to_owned(),
        state: state_of(done == stages.len(), is_at_work),
        done,
        seconds_spent: stages.iter().map(|stage| stage.seconds_spent).sum(),
        seconds_left: stages.iter().filter_map(|stage| stage.seconds_left).sum(),
        unknown: unknown.map(|stage| stage.stage.folder.clone()).collect(),
        stages,
    }
}

/// A finished run is done even while a process holds its lock: that process is writing the report.
fn state_of(all_done: bool, is_at_work: bool) -> RunState {
    match (all_done, is_at_work) {
        (true, _) => RunState::Done,
        (false, true) => RunState::UnderWay,
        (false, false) => RunState::Stopped,
    }
}

fn status_of(run: &Path, stage: ShownStage, is_at_work: bool) -> Result<StageStatus> {
    let folder = run.join(&stage.folder);
    let record = read_record(&folder)?;
    let seconds_spent = match &record {
        None => 0.0,
        // It will all be done again.
        Some(_) if stage.state == StageState::Stale => 0.0,
        // The record leaves out the session in progress, or one that was killed.
        Some(record) if stage.state == StageState::Begun => {
            record.seconds + this_session(&folder, is_at_work)?
        }
        Some(record) => record.seconds,
    };
    let seconds_left = seconds_left(&stage);
    let counts = record.filter(StageRecord::is_current).map_or(Value::Null, |record| record.counts);
    Ok(StageStatus { stage, seconds_spent, seconds_left, counts })
}

fn seconds_left(stage: &ShownStage) -> Option<f64> {
    match stage.state {
        StageState::Done => Some(0.0),
        StageState::Begun => stage.progress.as_ref()?.seconds_left,
        // Estimated later, if a stage of the same kind is finished.
        StageState::Waiting | StageState::Stale => None,
    }
}

/// Seconds since the stage began, when its record was written; for a stopped stage, until its last file was
/// written.
fn this_session(folder: &Path, is_at_work: bool) -> Result<f64> {
    let cannot = || cannot_read_folder(folder);
    let begun = modified(&folder.join("stage.json")).with_context(cannot)?;
    let until =
        if is_at_work { SystemTime::now() } else { last_written(folder).with_context(cannot)?.max(begun) };
    // If the clock was set back meanwhile, the difference is meaningless.
    Ok(until.duration_since(begun).map_or(0.0, |since| since.as_secs_f64()))
}

fn last_written(folder: &Path) -> io::Result<SystemTime> {
    let mut times = fs::read_dir(folder)?.map(|entry| modified(&entry?.path()));
    times.try_fold(UNIX_EPOCH, |last, time| Ok(last.max(time?)))
}

fn modified(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// Estimates what has not begun by what finished stages of this run took for such work.
fn estimate(plan: &Plan, run: &Path, stages: &mut [StageStatus]) -> Result<()> {
    let Some(pace) = Pace::of(plan, run)? else { return Ok(()) };
    for (id, (node, stage)) in plan.nodes.iter().zip(stages).enumerate() {
        if stage.seconds_left.is_none() {
            // Longer at work than expected: no time left is all that can be said.
            let took = pace.seconds(id, node.stage);
            stage.seconds_left = took.map(|took| (took - stage.seconds_spent).max(0.0));
        }
    }
    Ok(())
}
