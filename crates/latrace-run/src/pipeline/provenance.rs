//! When, where and by which command a run was finished.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use latrace_io::clock::minute_of;
use latrace_io::machine;
use serde::{Deserialize, Serialize};

use super::folder::recorded_at;
use super::summary::{RunSummary, SUMMARY};
use crate::import::imported;
use crate::plan::Plan;

/// When, where and by which command a run was finished.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunProvenance {
    /// When its last stage was finished, in UTC: `2026-11-30 21:05`.
    pub finished: String,
    /// The processor's model, or its architecture where the system does not tell.
    pub processor: String,
    /// Threads that the processor runs at once, within the limits of a container.
    pub cores: u64,
    /// The command that finished it.
    pub command: String,
    /// Where models came from that were trained elsewhere and imported, by the stages that they stand for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub imported: BTreeMap<String, String>,
}

impl RunProvenance {
    /// That of a run whose stages are all finished. A run that only looks at a finished folder again leaves what the
    /// summary says.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn of(plan: &Plan, run: &Path, command: String) -> Result<RunProvenance> {
        let finished = minute_of(last_finished(plan, run)?);
        let earlier = earlier(run).filter(|earlier| earlier.finished == finished);
        let imported = imported(plan, run)?;
        let now = || RunProvenance {
            finished,
            processor: machine::processor(),
            cores: machine::cores() as u64,
            command,
            imported: BTreeMap::new(),
        };
        // An import may be younger than a summary of the same minute.
        Ok(RunProvenance { imported, ..earlier.unwrap_or_else(now) })
    }
}

fn last_finished(plan: &Plan, run: &Path) -> Result<SystemTime> {
    let mut last = UNIX_EPOCH;
    for node in &plan.nodes {
        last = last.max(recorded_at(&run.join(node.folder()))?);
    }
    Ok(last)
}

/// What an earlier summary says; one that cannot be read is about to be replaced.
fn earlier(run: &Path) -> Option<RunProvenance> {
    let text = fs::read(run.join(SUMMARY)).ok()?;
    serde_json::from_slice::<RunSummary>(&text).ok()?.provenance
}
