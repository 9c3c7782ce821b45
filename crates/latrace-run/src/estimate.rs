//! What a run has to do at most, before it does it: from its plan, the numbers of its questions and its settings alone.
//! Lengths are limits, which samples rarely reach.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::{Parameters, TrainConfig};
use serde::Deserialize;

use crate::pipeline::folder::read_record;
use crate::pipeline::runner::folder_of;
use crate::plan::{
    EvaluatedQuestions, FitRows, FitSettings, ModelSettings, Node, NodeId, Plan, Role, Settings, Stage,
};
use crate::recipe::run::TracedQuestions;
use latrace_core::Split;

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

/// Numbers of questions: of a finished stage 0, or of a built-in task's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Questions {
    train: u64,
    traced: u64,
    validation: u64,
    test: u64,
}

impl Questions {
    /// None of files that stage 0 has not read yet.
    fn of(plan: &Plan, run: &Path) -> Result<Option<Questions>> {
        let Some(node) = plan.node(None, 1, Stage::Questions).map(|id| &plan.nodes[id]) else {
            return Ok(None);
        };
        let folder = run.join(node.folder());
        if let Some(record) = read_record(&folder)?.filter(|record| record.done) {
            let cannot = || format!("{} does not count its questions", folder.display());
            return serde_json::from_value(record.counts).map(Some).with_context(cannot);
        }
        let Settings::Questions(settings) = &node.settings else { return Ok(None) };
        let sizes = &settings.source.sizes;
        let train = (sizes.traced + sizes.untraced) as u64;
        let of_task = Questions {
            train,
            traced: sizes.traced as u64,
            validation: sizes.validation as u64,
            test: sizes.test as u64,
        };
        Ok((!settings.source.task.is_empty()).then_some(of_task))
    }

    fn sampled(self, questions: TracedQuestions, limit: usize) -> u64 {
        let all = match questions {
            TracedQuestions::All => self.train,
            TracedQuestions::Unseen => self.train - self.traced,
        };
        at_most(all, limit)
    }

    fn evaluated(self, questions: EvaluatedQuestions) -> u64 {
        match questions {
            EvaluatedQuestions::Split { split: Split::Train } => self.train,
            EvaluatedQuestions::Split { split: Split::Validation } => self.validation,
            EvaluatedQuestions::Split { split: Split::Test } => self.test,
            EvaluatedQuestions::Traced { traced } => self.traced.min(traced as u64),
            EvaluatedQuestions::Sampled { sampled, questions, limit } => {
                self.sampled(questions, limit).min(sampled as u64)
            }
        }
    }
}

/// `limit` of 0 is none.
fn at_most(all: u64, limit: usize) -> u64 {
    if limit == 0 { all } else { all.min(limit as u64) }
}

/// The work of each node of a plan; `None` where the numbers of questions are not known before stage 0.
///
/// # Errors
/// Records that cannot be read.
pub fn works(plan: &Plan, run: &Path) -> Result<Vec<Option<Work>>> {
    let Some(questions) = Questions::of(plan, run)? else { return Ok(vec![None; plan.nodes.len()]) };
    let row_limit = row_limit(plan);
    let mut works = Vec::new();
    for node in &plan.nodes {
        let work = work(node, questions, row_limit, &works);
        works.push(work);
    }
    Ok(works.into_iter().map(Some).collect())
}

/// Positions of a random model; those of a given one may be read nowhere yet.
fn row_limit(plan: &Plan) -> u64 {
    let model = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id].settings);
    let Some(Settings::Model(ModelSettings::Random { model, .. })) = model else { return u64::MAX };
    let positions = model.shape.get("max_position_embeddings").and_then(toml::Value::as_integer);
    positions.and_then(|positions| u64::try_from(positions).ok()).unwrap_or(u64::MAX)
}

fn work(node: &Node, questions: Questions, row_limit: u64, before: &[Work]) -> Work {
    let input = |role| node.input(role).map(|id: NodeId| before[id]).unwrap_or_default();
    let samples =
        |samples: u64, tokens: usize| Work { samples, drawn: samples * tokens as u64, ..Work::default() };
    match &node.settings {
        Settings::Traces(settings) => {
            let sampling = settings.sampling;
            let asked = questions.sampled(settings.questions, settings.limit);
            samples(asked * sampling.n, sampling.params.max_new_tokens)
        }
        Settings::Answers(settings) => {
            let sampling = settings.sampling;
            samples(input(Role::Traces).samples * sampling.n, sampling.params.max_new_tokens)
        }
        Settings::Evaluation(settings) => {
            let sampling = settings.sampling;
            samples(questions.evaluated(settings.questions) * sampling.n, sampling.params.max_new_tokens)
        }
        Settings::Scores(_) => Work { scored: input(Role::Traces).drawn, ..Work::default() },
        // Passed on: what comes after reads as many traces.
        Settings::Rescoring(_) => {
            let Work { samples, drawn, .. } = input(Role::Traces);
            Work { samples, drawn: 0, scored: drawn, ..Work::default() }
        }
        Settings::Mixture(_) => {
            let (one, other) = (input(Role::Traces), input(Role::ReasonerTraces));
            Work { samples: one.samples + other.samples, ..Work::default() }
        }
        Settings::Dataset(_) => Work { samples: input(Role::Traces).samples, ..Work::default() },
        Settings::Fit(settings) => training(settings, questions, row_limit, input(Role::Rows).samples),
        _ => Work::default(),
    }
}

/// A training's updates, and its tokens if every row were as long as it may be.
fn training(settings: &FitSettings, questions: Questions, row_limit: u64, examples: u64) -> Work {
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

/// Memory of a model (bytes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelMemory {
    /// Its parameters.
    pub parameters: u64,
    /// Training of all of them in f32: weights, gradients, both moments of AdamW.
    pub training: u64,
    /// Activations that are kept between the passes over a row of the cut-off length, if layers are recomputed (bf16).
    pub activations: u64,
    /// Weights in bf16, as servers hold them.
    pub weights: u64,
    /// Keys and values of a token in bf16.
    pub cache_of_token: u64,
}

impl ModelMemory {
    /// Of the model that the run starts from; `None` if its folder is not there yet.
    ///
    /// # Errors
    /// A folder without a usable model.
    pub fn of(plan: &Plan, run: &Path, cutoff_length: usize) -> Result<Option<ModelMemory>> {
        let Some(node) = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id]) else { return Ok(None) };
        let Ok(folder) = folder_of(node, run.join(node.folder())) else { return Ok(None) };
        if !folder.join("config.json").is_file() {
            return Ok(None);
        }
        let Parameters { all, layers, hidden, key_values, positions } = Parameters::read(&folder)?;
        Ok(Some(ModelMemory {
            parameters: all,
            training: 16 * all,
            activations: 2 * layers * hidden * positions.min(cutoff_length as u64),
            weights: 2 * all,
            cache_of_token: 4 * layers * key_values,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::recipe::run::RunRecipe;

    fn shipped(settings: &[&str]) -> Plan {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        plan(&RunRecipe::read(&recipe, &settings).unwrap()).unwrap()
    }

    #[test]
    fn the_work_of_the_quick_start_is_known_before_it_begins() {
        let plan = shipped(&[]);
        let works = works(&plan, Path::new("nowhere")).unwrap();
        let work = |stage| works[plan.node(None, 1, stage).unwrap()].unwrap();
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
        let works = works(&plan, Path::new("nowhere")).unwrap();
        let work = |stage| works[plan.node(None, 1, stage).unwrap()].unwrap();
        assert_eq!((work(Stage::TracesDrawn).drawn, work(Stage::TracesDrawn).samples), (800 * 64, 800));
        assert_eq!((work(Stage::Traces).drawn, work(Stage::Traces).scored), (0, 800 * 64));
        assert_eq!(work(Stage::Answers).samples, 3200);
    }

    #[test]
    fn files_are_counted_by_stage_0() {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/qwen3-4b-acc.toml");
        let plan = plan(&RunRecipe::read(&recipe, &[]).unwrap()).unwrap();
        assert!(works(&plan, Path::new("nowhere")).unwrap().iter().all(Option::is_none));
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("00-questions");
        std::fs::create_dir(&folder).unwrap();
        let counts = serde_json::json!({"train": 10, "traced": 10, "hinted": 10, "validation": 0, "test": 0});
        let record = serde_json::json!({"stage": "00-questions", "key": {}, "done": true, "seconds": 0.0, "peak_memory_bytes": 0,
            "files": {}, "counts": counts});
        std::fs::write(folder.join("stage.json"), record.to_string()).unwrap();
        let works = works(&plan, run.path()).unwrap();
        let traces = works[plan.node(None, 1, Stage::Traces).unwrap()].unwrap();
        assert_eq!((traces.samples, traces.drawn), (80, 80 * 32_764));
        // Three epochs of 10 rows, 96 an update.
        assert_eq!(works[plan.node(None, 1, Stage::Initial).unwrap()].unwrap().updates, 3);
    }
}
