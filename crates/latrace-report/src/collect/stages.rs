//! The stages of a run according to its plan, and their progress.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use latrace_io::table::Table;
use latrace_run::diagnostics::trained_tokens;
use latrace_run::pipeline::folder::{StageRecord, read_record};
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::plan::{Node, NodeId, Plan, Settings, Stage, plan};
use latrace_run::recipe::run::RunRecipe;

use super::super::data::{ShownStage, StageProgress, StageState, Training};
use super::training;
use crate::text::cannot_read_folder;

/// A stage of the plan, begun or not.
#[derive(Debug)]
pub(super) struct Known {
    /// Its step in the plan.
    pub(super) node: Node,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// Its record, if it has begun.
    pub(super) record: Option<StageRecord>,
}

impl Known {
    fn look(run: &Path, node: &Node) -> Result<Known> {
        let folder = run.join(node.folder());
        let record = read_record(&folder)?;
        Ok(Known { node: node.clone(), folder, record })
    }

    /// Its path within the run.
    pub(super) fn name(&self) -> String {
        self.node.folder().display().to_string()
    }

    /// The model that it trains, with its round unless that is the first.
    fn noun(&self) -> String {
        let numbered = |name: &str, number, least| (number >= least).then(|| format!("{name}-{number}, "));
        let round = numbered("round", self.node.round, 2).unwrap_or_default();
        let refinement = numbered("refinement", self.node.refinement, 1).unwrap_or_default();
        format!("{round}{refinement}{}", self.node.stage.noun())
    }

    fn curve(&self) -> Result<Option<Training>> {
        training::curve_of(&self.noun(), &self.folder)
    }

    fn is_own_training(&self) -> bool {
        self.node.method.is_none() && self.training().is_some() && self.state() != StageState::Stale
    }

    fn fingerprint(&self) -> String {
        // With the checksums of its files: a stage that was redone has the same name.
        format!("{} {:?}\n", self.name(), self.record.as_ref().map(|record| &record.files))
    }

    /// Its training settings, if it is a training.
    fn training(&self) -> Option<TrainConfig> {
        match &self.node.settings {
            Settings::Fit(settings) => Some(settings.config()),
            _ => None,
        }
    }

    fn is_done(&self) -> bool {
        self.record.as_ref().is_some_and(StageRecord::is_current)
    }

    fn counted_tokens(&self) -> Option<u64> {
        self.record.as_ref().filter(|record| record.is_current())?.counts["tokens"].as_u64()
    }

    fn state(&self) -> StageState {
        match &self.record {
            Some(record) if record.stale.is_some() => StageState::Stale,
            Some(record) if record.done => StageState::Done,
            Some(_) => StageState::Begun,
            None => StageState::Waiting,
        }
    }
}

/// The stages of a run.
#[derive(Debug)]
pub(super) struct RunStages {
    pub(super) plan: Plan,
    stages: Vec<Known>,
    rounds: u64,
}

impl RunStages {
    /// Reads a run's folder.
    pub(super) fn look(run: &Path, recipe: &RunRecipe) -> Result<RunStages> {
        let plan = plan(recipe)?;
        let stages = plan.nodes.iter().map(|node| Known::look(run, node)).collect::<Result<_>>()?;
        Ok(RunStages { plan, stages, rounds: recipe.rounds })
    }

    /// The folder of a stage of the run's own method, if finished, in the last round whose traces were
    /// weighed.
    pub(super) fn done(&self, stage: Stage) -> Option<&Path> {
        self.done_node(self.of_own(stage)?)
    }

    /// The folder of a stage of a baseline's first round, if finished.
    pub(super) fn done_of(&self, method: &str, stage: Stage) -> Option<&Path> {
        self.done_node(self.plan.node(Some(method), 1, stage)?)
    }

    /// The folder of a node of the plan, if finished.
    pub(super) fn done_node(&self, id: NodeId) -> Option<&Path> {
        self.finished(id).map(|stage| stage.folder.as_path())
    }

    /// The counts of a stage of the run's own method, if finished.
    pub(super) fn counts(&self, stage: Stage) -> Option<&serde_json::Value> {
        let known = self.finished(self.of_own(stage)?)?;
        known.record.as_ref().map(|record| &record.counts)
    }

    fn finished(&self, id: NodeId) -> Option<&Known> {
        self.stages.get(id).filter(|stage| stage.is_done())
    }

    /// The stage in the last weighed round; a stage that rounds share is only in an earlier one.
    fn of_own(&self, stage: Stage) -> Option<NodeId> {
        (1..=self.last_weighed_round()).rev().find_map(|round| self.plan.node(None, round, stage))
    }

    /// The last round whose traces were weighed, or else the first: figures of one round must not be mixed
    /// with those of another.
    fn last_weighed_round(&self) -> u64 {
        (1..=self.rounds).rev().find(|&round| self.is_weighed(round)).unwrap_or(1)
    }

    fn is_weighed(&self, round: u64) -> bool {
        let weights = self.plan.node(None, round, Stage::Weights);
        weights.is_some_and(|id| self.finished(id).is_some())
    }

    /// Loss and gradient norm of the run's own models: initial, posterior, final.
    pub(super) fn curves(&self) -> Result<Vec<Training>> {
        let own = self.stages.iter().filter(|known| known.is_own_training());
        own.filter_map(|known| known.curve().transpose()).collect()
    }

    /// Why data of a stage cannot be shown.
    pub(super) fn not_there(&self, stage: Stage) -> String {
        let known = self.first(stage).and_then(|id| self.stages.get(id));
        match known.map(Known::state) {
            None => format!("This run has no stage {stage}."),
            Some(StageState::Done) => format!("Stage {stage} is finished, but has no such data."),
            Some(StageState::Begun) => {
                format!("Not available yet: stage {stage} is running or was stopped.")
            }
            Some(StageState::Waiting) => format!("Not available yet: stage {stage} has not started."),
            Some(StageState::Stale) => {
                format!("Not available: stage {stage} was made under other settings, and is to be redone.")
            }
        }
    }

    /// Whether every stage is finished.
    pub(super) fn all_done(&self) -> bool {
        self.stages.iter().all(Known::is_done)
    }

    /// Peak memory (bytes) over all stages.
    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        let peaks = self.records().map(|record| record.peak_memory_bytes);
        // 0 where the system does not report it.
        peaks.max().filter(|&bytes| bytes > 0)
    }

    /// The arithmetics of the stages that engines worked at.
    pub(super) fn compute(&self) -> Vec<String> {
        let of_engines = self.records().filter_map(|record| record.key.pointer("/engine/compute")?.as_str());
        of_engines.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
    }

    fn records(&self) -> impl Iterator<Item = &StageRecord> {
        let records = self.stages.iter().filter_map(|stage| stage.record.as_ref());
        records.filter(|record| record.stale.is_none())
    }

    /// A digest that identifies the finished stages.
    pub(super) fn fingerprint(&self) -> String {
        self.stages.iter().filter(|stage| stage.is_done()).map(Known::fingerprint).collect()
    }

    /// The stages in the form of the report.
    pub(super) fn shown(&self) -> Result<Vec<ShownStage>> {
        let parts = self.parts()?;
        self.stages.iter().map(|known| show(known, parts)).collect()
    }

    /// The number of parts of the questions' table, which that of every later stage equals.
    fn parts(&self) -> Result<Option<usize>> {
        let folder = self.first(Stage::Questions).and_then(|id| self.done_node(id));
        folder.map(|folder| Table::<QuestionRecord>::open(folder).parts()).transpose()
    }

    /// The stage of the run's own method in the first round.
    fn first(&self, stage: Stage) -> Option<NodeId> {
        self.plan.node(None, 1, stage)
    }
}

/// A stage in the form of the report; `parts` is the number of parts of the questions' table.
fn show(known: &Known, parts: Option<usize>) -> Result<ShownStage> {
    let state = known.state();
    // A begun stage's time is in its status, which adds the session in progress.
    let seconds = known.record.as_ref().map(|record| record.seconds).filter(|_| state == StageState::Done);
    Ok(ShownStage {
        folder: known.name(),
        title: known.node.title(),
        method: known.node.method.clone(),
        state,
        seconds,
        tokens: tokens(known)?,
        progress: if state == StageState::Begun { progress(known, parts)? } else { None },
    })
}

fn progress(known: &Known, parts: Option<usize>) -> Result<Option<StageProgress>> {
    match known.training() {
        Some(config) => training::progress(&known.folder, &config),
        None => part_progress(&known.folder, parts),
    }
}

fn tokens(known: &Known) -> Result<Option<u64>> {
    // A training's record does not count tokens; its updates do.
    if known.is_done() && known.training().is_some() {
        return trained_tokens(&known.folder);
    }
    Ok(known.counted_tokens())
}

/// The number of parts written and their rate, from the files' modification times, because the writing
/// process publishes no progress.
fn part_progress(folder: &Path, total: Option<usize>) -> Result<Option<StageProgress>> {
    let times = part_times(folder).with_context(|| cannot_read_folder(folder))?;
    let (done, total) = (times.len() as u64, total.map(|total| total as u64));
    let per_second = rate(&times);
    let seconds_left = per_second.zip(total).map(|(rate, total)| total.saturating_sub(done) as f64 / rate);
    Ok(Some(StageProgress { done, total, unit: "parts".to_owned(), per_second, seconds_left }))
}

/// When each part was written, in order.
fn part_times(folder: &Path) -> io::Result<Vec<SystemTime>> {
    let mut times = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_part(&entry) {
            times.push(entry.metadata()?.modified()?);
        }
    }
    // A folder is listed in no particular order.
    times.sort_unstable();
    Ok(times)
}

fn is_part(entry: &DirEntry) -> bool {
    // A part is renamed into its name once it is whole, so a file of that name is never half written.
    entry.file_name().to_string_lossy().starts_with("part-")
}

/// Parts per second between the first and the last: the first one's own duration is unknown.
fn rate(times: &[SystemTime]) -> Option<f64> {
    let (first, last) = times.first().zip(times.last())?;
    let span = last.duration_since(*first).ok().filter(|span| !span.is_zero())?;
    Some((times.len() - 1) as f64 / span.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rate_of_parts_is_that_between_the_first_and_the_last() {
        let start = SystemTime::UNIX_EPOCH;
        let times = |seconds: &[u64]| {
            seconds.iter().map(|&seconds| start + Duration::from_secs(seconds)).collect::<Vec<_>>()
        };
        assert_eq!(rate(&times(&[10, 12, 20])), Some(0.2));
        assert_eq!([rate(&times(&[])), rate(&times(&[10])), rate(&times(&[10, 10]))], [None; 3]);
    }

    #[test]
    fn what_is_left_of_a_stage_is_the_parts_that_are_not_there() {
        let folder = tempfile::tempdir().unwrap();
        for (name, seconds) in [("part-0", 100), ("part-1", 102), ("part-2", 104), (".part-3.tmp", 200)] {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        }
        let progress = |total| part_progress(folder.path(), total).unwrap().unwrap();
        let of_ten = progress(Some(10));
        assert_eq!((of_ten.done, of_ten.per_second, of_ten.seconds_left), (3, Some(0.5), Some(14.0)));
        assert_eq!((progress(None).total, progress(None).seconds_left), (None, None));
    }
}
