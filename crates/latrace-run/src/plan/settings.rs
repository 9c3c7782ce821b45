//! What each stage is given of a recipe, and all that it is given: a stage's key is this, serialised, so that
//! what is read and what is keyed cannot differ.
//!
//! Settings that change speed or memory alone are skipped when serialising, and listed in [`PACE`].

use std::path::PathBuf;

use anyhow::{Context, Result};
use latrace_core::{Markers, PromptTemplate, SamplingParams, Split};
use latrace_engine::TrainConfig;
use latrace_io::failure::Failure;
use latrace_objective::Fallback;
use latrace_questions::source::Source;
use serde::Serialize;

use crate::recipe::run::{Dataset, Method, ModelSource, Proposal, RunRecipe, Sampling, TracedQuestions};
use crate::weigh::{Drawn, WeighConfig};

/// Settings of a recipe that no key holds: they change speed and memory, or which methods are run.
pub const PACE: [&str; 8] = [
    "skip",
    "*.checkpoint_every",
    "*.tokens_per_micro_batch",
    "*.recompute",
    "engine.batch",
    "engine.prefill_tokens",
    "engine.score_tokens",
    "engine.kv_cache_bytes",
];

/// The settings of one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Settings {
    /// Of the model that training starts from.
    Model(ModelSettings),
    /// Of the questions.
    Questions(QuestionSettings),
    /// Of a training.
    Fit(FitSettings),
    /// Of traces.
    Traces(TraceSettings),
    /// Of scores.
    Scores(ScoreSettings),
    /// Of answers.
    Answers(AnswerSettings),
    /// Of verdicts.
    Verdicts(VerdictSettings),
    /// Of weights.
    Weights(WeightSettings),
    /// Of the examples.
    Dataset(DatasetSettings),
    /// Of an evaluation.
    Evaluation(EvaluationSettings),
}

/// Something outside the run folder that a stage reads. Its contents count, not where it is.
#[derive(Clone, Debug, PartialEq)]
pub enum External<'a> {
    /// A model folder or hub id.
    Model(&'a str),
    /// Files or data sets of questions.
    Questions(&'a Source),
    /// A prompt template.
    Template(&'a PathBuf),
}

impl Settings {
    /// What the stage reads from outside the run folder.
    pub fn externals(&self) -> Vec<External<'_>> {
        match self {
            Settings::Model(ModelSettings::Given { folder }) => vec![External::Model(folder)],
            Settings::Model(ModelSettings::Random { questions, .. }) => vec![External::Questions(questions)],
            Settings::Questions(questions) => {
                let templates = [&questions.reasoner, &questions.posterior];
                let files = templates.into_iter().filter_map(Template::file).map(External::Template);
                files.chain([External::Questions(&questions.source)]).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The model that pi_theta0 and q start from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a plan holds one for each method")]
pub enum ModelSettings {
    /// One that exists.
    Given {
        /// Model folder or hub id.
        #[serde(skip)]
        folder: String,
    },
    /// One drawn at random, with a tokenizer for the questions' texts.
    Random {
        /// Its shape and vocabulary.
        model: ModelSource,
        /// Where the texts come from.
        questions: Source,
        /// Marks of a thought, which are special tokens.
        markers: Markers,
        /// Seed of the weights.
        seed: u64,
    },
}

impl ModelSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe) -> Result<ModelSettings> {
        if !recipe.model.folder.is_empty() {
            return Ok(ModelSettings::Given { folder: recipe.model.folder.clone() });
        }
        Ok(ModelSettings::Random {
            model: recipe.model.clone(),
            questions: recipe.questions.clone(),
            markers: markers(recipe)?,
            seed: recipe.seed,
        })
    }
}

/// A prompt template by its text, or by the file that holds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Template {
    /// Built in.
    BuiltIn(&'static str),
    /// A user's own.
    File(#[serde(skip)] PathBuf),
}

impl Template {
    /// The built-in template of a name, or that of a file.
    ///
    /// # Errors
    /// A name that is neither.
    pub fn named(setting: &str, name: &str) -> Result<Template> {
        if let Some(text) = PromptTemplate::built_in(name) {
            return Ok(Template::BuiltIn(text));
        }
        let path = PathBuf::from(name);
        if path.is_file() {
            return Ok(Template::File(path));
        }
        let message = format!("{setting}: \"{name}\" is neither a built-in template nor a file");
        Err(Failure::usage(message).hint(format!("built in are {}", PromptTemplate::names())).into())
    }

    /// Compiles it.
    ///
    /// # Errors
    /// A file that cannot be read; a template that does not compile.
    pub fn compile(&self) -> Result<PromptTemplate> {
        match self {
            Template::BuiltIn(text) => Ok(PromptTemplate::new(text)?),
            Template::File(path) => {
                let cannot = || format!("cannot use the template {}", path.display());
                let text = std::fs::read_to_string(path).with_context(cannot)?;
                PromptTemplate::new(&text).with_context(cannot)
            }
        }
    }

    fn file(&self) -> Option<&PathBuf> {
        match self {
            Template::BuiltIn(_) => None,
            Template::File(path) => Some(path),
        }
    }
}

/// Questions as token ids.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionSettings {
    /// Where they come from.
    pub source: Source,
    /// How a thought is marked.
    pub markers: Markers,
    /// Prompt of the reasoner.
    pub reasoner: Template,
    /// Prompt of the posterior.
    pub posterior: Template,
    /// Questions in one part of the table.
    pub part_questions: usize,
}

impl QuestionSettings {
    /// # Errors
    /// Unknown markers or templates.
    pub fn of(recipe: &RunRecipe) -> Result<QuestionSettings> {
        Ok(QuestionSettings {
            source: recipe.questions.clone(),
            markers: markers(recipe)?,
            reasoner: Template::named("prompts.reasoner", &recipe.prompts.reasoner)?,
            posterior: Template::named("prompts.posterior", &recipe.prompts.posterior)?,
            part_questions: recipe.engine.part_questions,
        })
    }
}

/// What a model is trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FitRows {
    /// The questions' own traces and answers, after the reasoner's prompt.
    OwnTraces,
    /// The questions' own traces, after the prompt with the hint.
    HintedTraces,
    /// The examples of stage 8.
    Examples,
}

/// How fast a training goes; its result does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    checkpoint_every: u64,
    tokens_per_micro_batch: usize,
    recompute: bool,
}

/// A training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitSettings {
    /// What it learns from.
    pub rows: FitRows,
    /// With the pace at a fixed value.
    config: TrainConfig,
    #[serde(skip)]
    pace: Pace,
}

impl FitSettings {
    /// Training by `config` on `rows`.
    pub fn new(rows: FitRows, config: &TrainConfig) -> FitSettings {
        let TrainConfig { checkpoint_every, tokens_per_micro_batch, recompute, .. } = *config;
        let pace = Pace { checkpoint_every, tokens_per_micro_batch, recompute };
        let config = TrainConfig {
            checkpoint_every: 0,
            tokens_per_micro_batch: 1,
            recompute: false,
            ..config.clone()
        };
        FitSettings { rows, config, pace }
    }

    /// The trainer's settings.
    pub fn config(&self) -> TrainConfig {
        let Pace { checkpoint_every, tokens_per_micro_batch, recompute } = self.pace;
        TrainConfig { checkpoint_every, tokens_per_micro_batch, recompute, ..self.config.clone() }
    }
}

/// Sampling of traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSettings {
    /// Who writes them, and so which prompt they follow.
    pub from: Proposal,
    /// Of which questions.
    pub questions: TracedQuestions,
    /// How they are drawn.
    pub sampling: Sampling,
    /// How a thought is marked.
    pub markers: Markers,
    /// Seed of the draws.
    pub seed: u64,
}

impl TraceSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe) -> Result<TraceSettings> {
        Ok(TraceSettings {
            from: recipe.proposal(),
            questions: recipe.traces.questions,
            sampling: recipe.traces.sampling,
            markers: markers(recipe)?,
            seed: recipe.seed,
        })
    }
}

/// Scoring of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScoreSettings {
    /// Whether the reference answers after the traces are scored too.
    pub references: bool,
}

/// Sampling of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerSettings {
    /// How they are drawn.
    pub sampling: Sampling,
    /// How a thought is marked.
    pub markers: Markers,
    /// Seed of the draws.
    pub seed: u64,
}

impl AnswerSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe) -> Result<AnswerSettings> {
        Ok(AnswerSettings { sampling: recipe.answers, markers: markers(recipe)?, seed: recipe.seed })
    }
}

/// Judging of answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct VerdictSettings {
    /// Seconds that a program may run.
    pub time_limit: f64,
}

/// Weighing of traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightSettings {
    /// Estimators, weighting, selection.
    #[serde(flatten)]
    pub weigh: WeighConfig,
    /// Whether traces and answers come from the distributions whose log-probs are scored: only then are
    /// bounds bounds.
    pub drawn: Drawn,
}

/// Building of examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetSettings {
    /// What the model learns from.
    pub method: Method,
    /// From weights to examples.
    pub dataset: Dataset,
    /// Answers drawn after each trace.
    pub answers: u64,
    /// What becomes of a question without a usable trace.
    pub fallback: Fallback,
    /// Seed of choices.
    pub seed: u64,
}

impl DatasetSettings {
    /// As the recipe has it.
    pub fn of(recipe: &RunRecipe) -> DatasetSettings {
        DatasetSettings {
            method: recipe.method,
            dataset: recipe.dataset,
            answers: recipe.answers.n,
            fallback: recipe.weights.fallback,
            seed: recipe.seed,
        }
    }
}

/// Measuring of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationSettings {
    /// On which questions.
    pub split: Split,
    /// How responses are drawn.
    pub sampling: Sampling,
    /// How a thought is marked.
    pub markers: Markers,
    /// Seconds that a program may run.
    pub time_limit: f64,
    /// Seed of the draws and of the intervals.
    pub seed: u64,
}

impl EvaluationSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe) -> Result<EvaluationSettings> {
        Ok(EvaluationSettings {
            split: recipe.evaluation.split,
            sampling: recipe.evaluation.sampling,
            markers: markers(recipe)?,
            time_limit: recipe.verdicts.time_limit,
            seed: recipe.seed,
        })
    }
}

/// The marks of a thought that a recipe names.
fn markers(recipe: &RunRecipe) -> Result<Markers> {
    let named = Markers::named(&recipe.prompts.markers);
    Ok(named.map_err(|error| Failure::usage(format!("prompts.markers: {error}")))?)
}

/// The parameters of a sample, apart from how many there are.
impl From<Sampling> for SamplingParams {
    fn from(sampling: Sampling) -> SamplingParams {
        sampling.params
    }
}
