//! What a run has to do at most, before it does it: from its plan, the numbers of its questions and its settings alone.
//! Lengths are limits, which samples rarely reach.

pub mod needs;
pub mod pace;
mod questions;
pub mod trial;

use std::iter::Sum;

use latrace_engine::TrainConfig;

use crate::plan::{FitRows, FitSettings, ModelSettings, Node, Plan, Role, Settings, Stage};
use crate::recipe::run::Sampling;
pub use questions::QuestionNumbers;
pub(crate) use questions::check_traced;

/// The work of a stage, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Samples to draw.
    pub samples: u64,
    /// Their tokens.
    pub drawn: u64,
    /// Tokens to score.
    pub scored: u64,
    /// Updates of a training.
    pub updates: u64,
    /// Tokens to train on.
    pub trained: u64,
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Work>>(works: I) -> Work {
        works.fold(Work::default(), |sum, work| Work {
            samples: sum.samples + work.samples,
            drawn: sum.drawn + work.drawn,
            scored: sum.scored + work.scored,
            updates: sum.updates + work.updates,
            trained: sum.trained + work.trained,
        })
    }
}

/// The work of each node of a plan with so many questions.
pub fn works(plan: &Plan, questions: QuestionNumbers) -> Vec<Work> {
    let estimate = Estimate { plan, questions, row_limit: row_limit(plan) };
    plan.nodes.iter().map(|node| estimate.work(node)).collect()
}

/// Positions of a random model; those of a given one may be read nowhere yet.
fn row_limit(plan: &Plan) -> u64 {
    let model = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id].settings);
    let Some(Settings::Model(ModelSettings::Random { model, .. })) = model else { return u64::MAX };
    let positions = model.shape.get("max_position_embeddings").and_then(toml::Value::as_integer);
    positions.and_then(|positions| u64::try_from(positions).ok()).unwrap_or(u64::MAX)
}

/// Samples of a stage's table, at most.
#[derive(Clone, Copy, Default)]
struct Samples {
    count: u64,
    tokens: u64,
}

impl Samples {
    /// `sampling.n` of each of `asked` prompts.
    fn of(asked: u64, sampling: Sampling) -> Samples {
        let count = asked * sampling.n;
        Samples { count, tokens: count * sampling.params.max_new_tokens as u64 }
    }
}

/// What the work of a plan's nodes follows from.
struct Estimate<'a> {
    plan: &'a Plan,
    questions: QuestionNumbers,
    row_limit: u64,
}

impl Estimate<'_> {
    fn work(&self, node: &Node) -> Work {
        match &node.settings {
            Settings::Traces(_) | Settings::Answers(_) | Settings::Evaluation(_) => {
                let Samples { count, tokens } = self.samples(node);
                Work { samples: count, drawn: tokens, ..Work::default() }
            }
            Settings::Scores(_) | Settings::Rescoring(_) => {
                Work { scored: self.input(node, Role::Traces).tokens, ..Work::default() }
            }
            Settings::Fit(settings) => {
                training(settings, self.questions, self.row_limit, self.input(node, Role::Rows).count)
            }
            _ => Work::default(),
        }
    }

    /// What a stage's table holds: its own samples, or those of the traces that it is made from.
    fn samples(&self, node: &Node) -> Samples {
        match &node.settings {
            Settings::Traces(settings) => {
                Samples::of(self.questions.sampled(settings.questions, settings.limit), settings.sampling)
            }
            Settings::Answers(settings) => {
                Samples::of(self.input(node, Role::Traces).count, settings.sampling)
            }
            Settings::Evaluation(settings) => {
                Samples::of(self.questions.evaluated(settings.questions), settings.sampling)
            }
            _ => {
                let (own, others) = (self.input(node, Role::Traces), self.input(node, Role::ReasonerTraces));
                Samples { count: own.count + others.count, tokens: own.tokens + others.tokens }
            }
        }
    }

    fn input(&self, node: &Node, role: Role) -> Samples {
        node.input(role).map(|id| self.samples(&self.plan.nodes[id])).unwrap_or_default()
    }
}

/// A training's updates, and its tokens if every row were as long as it may be.
fn training(settings: &FitSettings, questions: QuestionNumbers, row_limit: u64, examples: u64) -> Work {
    let TrainConfig { batch_size, batch_questions, epochs, max_steps, cutoff_length, .. } = settings.config();
    let rows = match settings.rows {
        FitRows::OwnTraces | FitRows::HintedTraces => questions.traced,
        FitRows::Examples => examples + questions.traced,
    };
    let rows_per_update = batch_size.max(batch_questions) as u64;
    let updates = max_steps.unwrap_or_else(|| epochs * rows.div_ceil(rows_per_update.max(1)));
    Work {
        updates,
        trained: updates * rows_per_update * row_limit.min(cutoff_length as u64),
        ..Work::default()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use latrace_questions::verifiers::Verifiers;

    use super::*;
    use crate::plan::plan;
    use crate::recipe::run::RunRecipe;

    fn shipped(settings: &[&str]) -> Plan {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        plan(&RunRecipe::read(&recipe, &settings).unwrap()).unwrap()
    }

    fn works_of(plan: &Plan, run: &Path) -> Vec<Work> {
        works(plan, QuestionNumbers::of(plan, run, &Verifiers::default()).unwrap())
    }

    #[test]
    fn the_work_of_the_quick_start_is_known_before_it_begins() {
        let plan = shipped(&[]);
        let works = works_of(&plan, Path::new("nowhere"));
        let work = |stage| works[plan.node(None, 1, stage).unwrap()];
        let drawn = |samples, drawn| Work { samples, drawn, ..Work::default() };
        assert_eq!(work(Stage::Traces), drawn(25_600, 25_600 * 64));
        assert_eq!(work(Stage::Scores), Work { scored: 25_600 * 64, ..Work::default() });
        assert_eq!(work(Stage::Answers), drawn(25_600 * 4, 25_600 * 4 * 24));
        assert_eq!(work(Stage::FinalEvaluation), drawn(2400, 2400 * 96));
        assert_eq!(work(Stage::InitialTraced).samples, 800);
        assert_eq!((work(Stage::Initial).updates, work(Stage::Final).updates), (1000, 800));
    }

    #[test]
    fn what_is_scored_anew_is_drawn_once() {
        let plan = shipped(&["engine.generate=servers", "traces.limit=100", "final.epochs=2"]);
        let works = works_of(&plan, Path::new("nowhere"));
        let work = |stage| works[plan.node(None, 1, stage).unwrap()];
        assert_eq!((work(Stage::TracesDrawn).drawn, work(Stage::TracesDrawn).samples), (800 * 64, 800));
        assert_eq!((work(Stage::Traces).drawn, work(Stage::Traces).scored), (0, 800 * 64));
        assert_eq!(work(Stage::Scores).scored, 800 * 64);
        assert_eq!(work(Stage::Answers).samples, 3200);
    }

    #[test]
    fn a_mixture_has_the_traces_of_both_models() {
        let plan = shipped(&["traces.mixture=0.25"]);
        let works = works_of(&plan, Path::new("nowhere"));
        let work = |stage| works[plan.node(None, 1, stage).unwrap()];
        assert_eq!(work(Stage::TracesOfReasoner).samples, 6400);
        assert_eq!((work(Stage::Traces), work(Stage::Scores).scored), (Work::default(), 25_600 * 64));
    }

    #[test]
    fn questions_of_files_are_counted_by_reading_them_and_then_by_stage_0() {
        let run = tempfile::tempdir().unwrap();
        let file = run.path().join("questions.jsonl");
        let row = |id: u32, trace: &str| {
            format!("{{\"id\": \"{id}\", \"question\": \"q\", \"answer\": \"{id}\"{trace}}}\n")
        };
        let rows: String =
            (0..3).map(|id| row(id, ", \"trace\": \"t\"")).chain((3..10).map(|id| row(id, ""))).collect();
        std::fs::write(&file, rows).unwrap();
        let train = format!("questions.train={:?}", file.display().to_string());
        let plan = shipped(&["questions.task=", &train]);
        let traces = || works_of(&plan, run.path())[plan.node(None, 1, Stage::Traces).unwrap()];
        assert_eq!((traces().samples, traces().drawn), (7 * 8, 7 * 8 * 64));
        let folder = run.path().join("00-questions");
        std::fs::create_dir(&folder).unwrap();
        let counts = serde_json::json!({"train": 12, "traced": 10, "validation": 0, "test": 0});
        let record = serde_json::json!({"stage": "00-questions", "key": {}, "done": true, "seconds": 0.0, "peak_memory_bytes": 0,
            "files": {}, "counts": counts});
        std::fs::write(folder.join("stage.json"), record.to_string()).unwrap();
        assert_eq!(traces().samples, 2 * 8);
    }
}
