//! The finished stages of a run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::pipeline::folder::{StageRecord, read_record};
use crate::plan::{NodeId, Plan, Stage};

/// The finished stages of a run, by its plan.
#[derive(Clone, Copy)]
pub(super) struct Finished<'a> {
    pub(super) plan: &'a Plan,
    pub(super) run: &'a Path,
}

/// A finished stage.
pub(super) struct Found {
    pub(super) folder: PathBuf,
    pub(super) record: StageRecord,
}

impl Finished<'_> {
    /// A stage of the recipe's own method, if it is finished.
    pub(super) fn own(&self, round: u64, stage: Stage) -> Result<Option<Found>> {
        self.of_method(None, round, stage)
    }

    /// A stage of a baseline or, without a name, of the recipe's own method, if it is finished.
    pub(super) fn of_method(&self, method: Option<&str>, round: u64, stage: Stage) -> Result<Option<Found>> {
        self.plan.node(method, round, stage).map_or(Ok(None), |id| self.node(id))
    }

    /// A node of the plan, if it is finished.
    pub(super) fn node(&self, id: NodeId) -> Result<Option<Found>> {
        let folder = self.run.join(self.plan.nodes[id].folder());
        let record = read_record(&folder)?.filter(StageRecord::is_current);
        Ok(record.map(|record| Found { folder, record }))
    }
}
