//! The state of each run of a sweep, from its folder alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_run::layout::RECIPE;
use latrace_run::sweep::Sweep;
use serde::Serialize;

use crate::status::{RunState, look};

/// The status of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepStatus {
    /// Its folder.
    pub sweep: PathBuf,
    /// The name of its recipe.
    pub recipe: String,
    /// Number of finished runs.
    pub done: usize,
    /// All runs, in order.
    pub runs: Vec<SweptRunStatus>,
}

/// The status of a run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SweptRunStatus {
    /// Its folder's name.
    pub folder: String,
    /// What is known of it.
    #[serde(flatten)]
    pub state: SweptRunState,
}

/// What is known of a run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum SweptRunState {
    /// It has not begun.
    Waiting,
    /// Its folder cannot be read.
    Unknown {
        /// Why.
        reason: String,
    },
    /// It has begun.
    #[serde(untagged)]
    Begun {
        /// Its state.
        state: RunState,
        /// Number of finished stages.
        done: usize,
        /// Number of all stages.
        stages: usize,
    },
}

/// Reads the status of a sweep's folder; none for any other folder.
///
/// # Errors
/// A record of the sweep that cannot be read.
pub fn look_at_sweep(folder: &Path) -> Result<Option<SweepStatus>> {
    let Some(Sweep { recipe, runs, .. }) = Sweep::read(folder)? else { return Ok(None) };
    let status = |run: String| SweptRunStatus { state: state_of(&folder.join(&run)), folder: run };
    let runs: Vec<SweptRunStatus> = runs.into_iter().map(|run| status(run.folder)).collect();
    let is_done =
        |run: &&SweptRunStatus| matches!(run.state, SweptRunState::Begun { state: RunState::Done, .. });
    let done = runs.iter().filter(is_done).count();
    Ok(Some(SweepStatus { sweep: folder.to_owned(), recipe, done, runs }))
}

fn state_of(run: &Path) -> SweptRunState {
    // Written before the first stage.
    if !run.join(RECIPE).exists() {
        return SweptRunState::Waiting;
    }
    match look(run) {
        Ok(status) => {
            SweptRunState::Begun { state: status.state, done: status.done, stages: status.stages.len() }
        }
        // The others are shown all the same.
        Err(error) => SweptRunState::Unknown { reason: format!("{error:#}") },
    }
}
