//! What each method costs: the tokens that it draws and trains on, and its time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::training::METRICS;
use serde::Deserialize;

use super::MethodCost;
use super::finished::{Finished, Found};
use crate::plan::{NodeId, Settings};
use crate::present::if_present;

/// The cost of every method whose stages are finished, by the name of its final model.
pub(super) fn of(stages: &Finished<'_>) -> Result<BTreeMap<String, MethodCost>> {
    let mut costs = BTreeMap::new();
    let baselines = stages.plan.methods().into_iter().map(Some);
    for method in std::iter::once(None).chain(baselines) {
        if let Some(cost) = of_method(stages, method)? {
            costs.insert(method.unwrap_or("final").to_owned(), cost);
        }
    }
    Ok(costs)
}

fn of_method(stages: &Finished<'_>, method: Option<&str>) -> Result<Option<MethodCost>> {
    let mut cost = MethodCost::default();
    for id in nodes(stages, method) {
        let Some(found) = stages.node(id)? else { return Ok(None) };
        cost.add(&stages.plan.nodes[id].settings, &found)?;
    }
    Ok(Some(cost))
}

/// The nodes of a method without its evaluations, which say what a model is worth and are no part of making it.
fn nodes(stages: &Finished<'_>, method: Option<&str>) -> BTreeSet<NodeId> {
    let of_method = stages.plan.steps.iter().filter(|step| step.method.as_deref() == method);
    let is_work = |id: &NodeId| !matches!(stages.plan.nodes[*id].settings, Settings::Evaluation(_));
    // As a set: a stage that rounds of a method share is done once.
    of_method.map(|step| step.node).filter(is_work).collect()
}

impl MethodCost {
    fn add(&mut self, settings: &Settings, found: &Found) -> Result<()> {
        self.seconds += found.record.seconds;
        match settings {
            Settings::Traces(_) | Settings::Answers(_) => {
                self.tokens_drawn += found.record.counts["tokens"].as_u64().unwrap_or(0);
            }
            Settings::Fit(_) => self.tokens_trained += trained_tokens(&found.folder)?.unwrap_or(0),
            _ => {}
        }
        Ok(())
    }
}

/// What counts of an update.
#[derive(Deserialize)]
struct Update {
    tokens: u64,
}

/// Tokens of all updates of a training; none if no update was logged.
///
/// # Errors
/// Metrics that cannot be read.
pub fn trained_tokens(folder: &Path) -> Result<Option<u64>> {
    let path = folder.join(METRICS);
    let text = if_present(fs::read_to_string(&path));
    let text = text.with_context(|| format!("cannot read {}", path.display()))?.unwrap_or_default();
    // The last line may still be being written.
    let updates: Vec<Update> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok((!updates.is_empty()).then(|| updates.iter().map(|update| update.tokens).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_all_logged_updates() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(trained_tokens(folder.path()).unwrap(), None);
        let lines = "{\"step\":1,\"tokens\":10}\n{\"step\":2,\"tokens\":7}\n{\"step\":3,\"tok";
        fs::write(folder.path().join(METRICS), lines).unwrap();
        assert_eq!(trained_tokens(folder.path()).unwrap(), Some(17));
    }
}
