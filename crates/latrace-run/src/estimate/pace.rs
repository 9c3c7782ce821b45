//! How long the rest of a run takes, by what its finished stages took.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use super::{QuestionNumbers, Work, works};
use crate::pipeline::folder::read_record;
use crate::plan::{NodeId, Plan, Stage};

/// What a stage's time goes into, by which times of one stage tell of another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Drawing,
    Scoring,
    Training,
    /// Work that is not counted ahead: like that of the same stage elsewhere in the run.
    Other(Stage),
}

impl Work {
    /// What it is, and how much.
    fn kind(self, stage: Stage) -> (Kind, f64) {
        let Work { drawn, scored, trained, .. } = self;
        match (drawn, scored, trained) {
            (1.., ..) => (Kind::Drawing, drawn as f64),
            (_, 1.., _) => (Kind::Scoring, scored as f64),
            (.., 1..) => (Kind::Training, trained as f64),
            _ => (Kind::Other(stage), 1.0),
        }
    }
}

/// A run's work and what of it has been measured.
#[derive(Debug)]
pub struct Pace {
    /// The work of each node of the plan.
    works: Vec<Work>,
    /// Seconds for a unit of each kind of work that a finished stage has measured.
    per_unit: BTreeMap<Kind, f64>,
    /// The nodes that are not done.
    unfinished: Vec<(NodeId, Stage)>,
}

/// The samples that a node draws, at most; `None` for a node that draws none, and before the questions are known.
///
/// # Errors
/// Records that cannot be read.
pub fn samples(plan: &Plan, run: &Path, id: NodeId) -> Result<Option<u64>> {
    let works = counted_works(plan, run)?;
    Ok(works.map(|works| works[id].samples).filter(|&samples| samples > 0))
}

/// The work of each node of the plan; `None` before its questions are known. Of all records it reads that of the
/// questions alone.
fn counted_works(plan: &Plan, run: &Path) -> Result<Option<Vec<Work>>> {
    let counts = QuestionNumbers::recorded(plan, run)?;
    Ok(counts.map(|counts| works(plan, counts)))
}

impl Pace {
    /// Reads a run folder; `None` before its questions are known.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn of(plan: &Plan, run: &Path) -> Result<Option<Pace>> {
        let Some(works) = counted_works(plan, run)? else { return Ok(None) };
        let (mut spent, mut unfinished) = (BTreeMap::<Kind, (f64, f64)>::new(), Vec::new());
        for (id, node) in plan.nodes.iter().enumerate() {
            match read_record(&run.join(node.folder()))?.filter(|record| record.is_current()) {
                None => unfinished.push((id, node.stage)),
                Some(record) => {
                    let (kind, units) = works[id].kind(node.stage);
                    let sum = spent.entry(kind).or_default();
                    *sum = (sum.0 + record.seconds, sum.1 + units);
                }
            }
        }
        let per_unit = spent.into_iter().map(|(kind, (seconds, units))| (kind, seconds / units)).collect();
        Ok(Some(Pace { works, per_unit, unfinished }))
    }

    /// The seconds that the whole of a node's work takes, if some of its kind was measured.
    pub fn seconds(&self, id: NodeId, stage: Stage) -> Option<f64> {
        let (kind, units) = self.works[id].kind(stage);
        self.per_unit.get(&kind).map(|per_unit| per_unit * units)
    }

    /// The seconds that the unfinished nodes take, and whether that is all of them: what was not measured and is work
    /// for an engine is left out.
    pub fn left(&self) -> (f64, bool) {
        let (mut seconds, mut is_all) = (0.0, true);
        for &(id, stage) in &self.unfinished {
            match self.seconds(id, stage) {
                Some(known) => seconds += known,
                None => is_all &= matches!(self.works[id].kind(stage).0, Kind::Other(_)),
            }
        }
        (seconds, is_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::recipe::run::RunRecipe;
    use serde_json::json;

    fn quickstart() -> Plan {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        plan(&RunRecipe::read(&recipe, &["skip=[\"rft\", \"gold\"]".to_owned()]).unwrap()).unwrap()
    }

    fn finish(run: &Path, stage: &str, seconds: f64, counts: &serde_json::Value) {
        let folder = run.join(stage);
        std::fs::create_dir_all(&folder).unwrap();
        let record = json!({"stage": stage, "key": {}, "done": true, "seconds": seconds, "peak_memory_bytes": 0, "files": {}, "counts": counts});
        std::fs::write(folder.join("stage.json"), record.to_string()).unwrap();
    }

    #[test]
    fn the_rest_takes_what_finished_stages_of_its_kind_took() {
        let (plan, run) = (quickstart(), tempfile::tempdir().unwrap());
        assert!(Pace::of(&plan, run.path()).unwrap().is_none(), "nothing is known before the questions are");
        let counts = json!({"train": 4000, "traced": 800, "hinted": 4000, "validation": 0, "test": 600});
        finish(run.path(), "00-questions", 1.0, &counts);
        let of = |stage: Stage| plan.node(None, 1, stage).unwrap();
        let pace = || Pace::of(&plan, run.path()).unwrap().unwrap();
        assert_eq!(pace().left(), (0.0, false));
        let samples = |stage| samples(&plan, run.path(), of(stage)).unwrap();
        assert_eq!([Stage::FinalEvaluation, Stage::Final].map(samples), [Some(2400), None]);
        // 1,000 updates in 50 s: 600 or 800 others of as many rows take as long each.
        finish(run.path(), "01-initial", 50.0, &json!({}));
        let updates = |stage| pace().works[of(stage)].trained as f64;
        let expected = 50.0 * updates(Stage::Posterior) / updates(Stage::Initial);
        let found = pace().seconds(of(Stage::Posterior), Stage::Posterior).unwrap();
        assert!((found - expected).abs() < 1e-9 && expected > 10.0, "{found} instead of {expected}");
        // An evaluation tells of all drawing, by the tokens that there are at most.
        finish(run.path(), "10-evaluation/initial", 12.0, &json!({}));
        let found = pace().seconds(of(Stage::FinalEvaluation), Stage::FinalEvaluation).unwrap();
        assert!((found - 12.0).abs() < 1e-9, "{found}");
        assert!(!pace().left().1, "scores were not measured");
        finish(run.path(), "04-scores", 3.0, &json!({}));
        assert!(pace().left().1, "all that engines do was measured");
        for node in &plan.nodes {
            finish(run.path(), &node.folder().display().to_string(), 1.0, &counts);
        }
        assert_eq!(pace().left(), (0.0, true));
    }
}
