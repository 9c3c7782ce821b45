//! The settings that each stage gets from a recipe. A stage gets nothing else, and its key is these settings
//! serialised, so what it reads and what is keyed cannot differ.
//!
//! Settings that change only speed or memory are skipped in serialisation, and listed in [`PACE`].

use std::fs;
use std::ops::Not;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::{Date, Markers, PromptTemplate, Split};
use latrace_engine::TrainConfig;
use latrace_io::failure::Failure;
use latrace_objective::Fallback;
use latrace_questions::source::Source;
use latrace_verify::command::CommandSettings;
use serde::Serialize;

use super::distillation::DistillationSettings;
use super::drawing::RescoringSettings;
use super::refinement::RefinementSettings;
use crate::prompting::{Conversation, Prompting};
use crate::recipe::run::{
    ComputeType, Dataset, EngineOptions, Method, ModelSource, Prompts, RunRecipe, Sampling, TracedQuestions,
    Traces, TrainEngine,
};
use crate::weigh::{Drawn, Fallbacks, WeighConfig};

/// Settings of a recipe that are in no key, because they change only speed and memory, which methods are
/// run, or what the report says. In bf16, `tokens_per_micro_batch` is in the keys of trainings.
pub const PACE: [&str; 22] = [
    "skip",
    "questions.about",
    "*.checkpoint_every",
    "*.tokens_per_micro_batch",
    "*.recompute",
    "engine.batch",
    "engine.prefill_tokens",
    "engine.score_tokens",
    "engine.kv_cache_bytes",
    "servers.urls",
    "servers.command",
    "servers.arguments",
    "servers.replicas",
    "servers.gpus_per_replica",
    "servers.in_flight",
    "servers.start_timeout",
    "servers.request_timeout",
    "servers.retries",
    "torchrun.launch",
    "torchrun.cpu_offload",
    "torchrun.activation_checkpointing",
    "torchrun.timeout",
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
    /// Of the scoring of drawn traces.
    Rescoring(RescoringSettings),
    /// Of a mixture of traces.
    Mixture(MixtureSettings),
    /// Of scores.
    Scores(ScoreSettings),
    /// Of answers.
    Answers(AnswerSettings),
    /// Of verdicts.
    Verdicts(VerdictSettings),
    /// Of weights.
    Weights(WeightSettings),
    /// Of q's examples.
    PosteriorDataset,
    /// Of the advantages that q is refined by.
    RefinementDataset(RefinementSettings),
    /// Of the examples.
    Dataset(DatasetSettings),
    /// Of the examples of a self-distillation.
    Distillation(DistillationSettings),
    /// Of an evaluation.
    Evaluation(EvaluationSettings),
}

/// An input from outside the run folder. Keys hold its contents, not its path.
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
    /// Whether a verifier of the user's own judges.
    pub fn has_verifier(&self) -> bool {
        let verdicts = match self {
            Settings::Verdicts(verdicts) => verdicts,
            Settings::Evaluation(evaluation) => &evaluation.verdicts,
            _ => return false,
        };
        verdicts.verifier.is_some()
    }

    /// The stage's inputs from outside the run folder.
    pub fn externals(&self) -> Vec<External<'_>> {
        match self {
            Settings::Model(ModelSettings::Given { folder }) => vec![External::Model(folder)],
            // Its tokenizer is trained on the questions' texts.
            Settings::Model(ModelSettings::Random { questions, .. }) => vec![External::Questions(questions)],
            Settings::Questions(questions) => questions.externals(),
            _ => Vec::new(),
        }
    }
}

/// The model that pi_theta0 and q start from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "a plan holds one for each method")]
pub enum ModelSettings {
    /// An existing model.
    Given {
        /// Model folder or hub id.
        // Skipped, as the key holds the checksums of its files: a moved model is the same.
        #[serde(skip)]
        folder: String,
    },
    /// A randomly initialised model, with a tokenizer trained on the questions' texts.
    Random {
        /// Its shape and vocabulary.
        model: ModelSource,
        /// Source of the texts.
        #[serde(serialize_with = "Source::in_key")]
        questions: Source,
        /// Markers around a thought, which become special tokens.
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
            markers: recipe.prompts.markers()?,
            seed: recipe.seed,
        })
    }
}

/// A prompt template: built in, or in a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Template {
    /// Built in.
    BuiltIn(&'static str),
    /// From a file.
    // Its contents are in the key as a checksum.
    File(#[serde(skip)] PathBuf),
    /// A conversation in the model's own chat template.
    Chat(Conversation),
}

impl Template {
    /// Resolves the name of a built-in template or conversation, or the path of a template file. `system` is the
    /// system message of a conversation.
    ///
    /// # Errors
    /// Neither a built-in name nor a file.
    pub fn named(setting: &str, name: &str, system: &str) -> Result<Template> {
        // Built-in names first, so that a file of such a name cannot change what a recipe means.
        if let Some(conversation) = Conversation::named(name, system) {
            return Ok(Template::Chat(conversation));
        }
        if let Some(text) = PromptTemplate::built_in(name) {
            return Ok(Template::BuiltIn(text));
        }
        let path = PathBuf::from(name);
        if path.is_file() {
            return Ok(Template::File(path));
        }
        Err(unknown_template(setting, name).into())
    }

    /// Compiles it.
    ///
    /// # Errors
    /// A file that cannot be read; a template that does not compile.
    pub fn compile(&self) -> Result<Prompting> {
        match self {
            Template::BuiltIn(text) => Ok(Prompting::Template(PromptTemplate::new(text)?)),
            Template::File(path) => {
                let template = compile_file(path);
                let cannot = || format!("cannot use the template {}", path.display());
                template.map(Prompting::Template).with_context(cannot)
            }
            Template::Chat(conversation) => conversation.compile(),
        }
    }

    fn file(&self) -> Option<&PathBuf> {
        match self {
            Template::BuiltIn(_) | Template::Chat(_) => None,
            Template::File(path) => Some(path),
        }
    }
}

fn unknown_template(setting: &str, name: &str) -> Failure {
    let hint = format!(
        "built-in templates: {}; conversations in the model's chat template: {}",
        PromptTemplate::names(),
        Conversation::names()
    );
    Failure::usage(format!("{setting}: \"{name}\" is neither a built-in template nor a file")).hint(hint)
}

fn compile_file(path: &Path) -> Result<PromptTemplate> {
    Ok(PromptTemplate::new(&fs::read_to_string(path)?)?)
}

/// Questions as token ids.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionSettings {
    /// Source of the questions.
    #[serde(serialize_with = "Source::in_key")]
    pub source: Source,
    /// Markers around a thought.
    pub markers: Markers,
    /// Prompt of the reasoner.
    pub reasoner: Template,
    /// Prompt of the posterior.
    pub posterior: Template,
    /// Date of chat templates. Absent from the key of a run that was begun before recipes had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
    /// Questions per part of the table.
    pub part_questions: usize,
}

impl QuestionSettings {
    /// # Errors
    /// Unknown markers or templates.
    pub fn of(recipe: &RunRecipe) -> Result<QuestionSettings> {
        let Prompts { reasoner, posterior, system, date, .. } = &recipe.prompts;
        Ok(QuestionSettings {
            date: *date,
            source: recipe.questions.clone(),
            markers: recipe.prompts.markers()?,
            reasoner: Template::named("prompts.reasoner", reasoner, system)?,
            posterior: Template::named("prompts.posterior", posterior, system)?,
            part_questions: recipe.engine.part_questions,
        })
    }

    fn externals(&self) -> Vec<External<'_>> {
        let templates = [&self.reasoner, &self.posterior];
        let files = templates.into_iter().filter_map(Template::file).map(External::Template);
        files.chain([External::Questions(&self.source)]).collect()
    }
}

/// The training data of a model.
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

/// Options that change only the speed of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    checkpoint_every: u64,
    tokens_per_micro_batch: usize,
    recompute: bool,
}

impl Pace {
    fn of(config: &TrainConfig) -> Pace {
        let TrainConfig { checkpoint_every, tokens_per_micro_batch, recompute, .. } = *config;
        Pace { checkpoint_every, tokens_per_micro_batch, recompute }
    }

    /// The settings with these speed options.
    fn in_config(self, config: &TrainConfig) -> TrainConfig {
        let Pace { checkpoint_every, tokens_per_micro_batch, recompute } = self;
        TrainConfig { checkpoint_every, tokens_per_micro_batch, recompute, ..config.clone() }
    }
}

/// A training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitSettings {
    /// The training data.
    pub rows: FitRows,
    /// With the speed options fixed, so that they do not enter the key.
    config: TrainConfig,
    #[serde(skip)]
    pace: Pace,
}

impl FitSettings {
    /// Training by `config` on `rows`.
    pub fn new(rows: FitRows, config: &TrainConfig, engine: &EngineOptions) -> FitSettings {
        let is_bf16 = engine.train == TrainEngine::Cpu && engine.compute == ComputeType::Bf16;
        // In bf16, a gradient's sum over tokens depends on where a pass begins.
        let tokens_per_micro_batch = if is_bf16 { config.tokens_per_micro_batch } else { 1 };
        let fixed = Pace { checkpoint_every: 0, tokens_per_micro_batch, recompute: false };
        FitSettings { rows, config: fixed.in_config(config), pace: Pace::of(config) }
    }

    /// The trainer's settings.
    pub fn config(&self) -> TrainConfig {
        self.pace.in_config(&self.config)
    }
}

/// Sampling of traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TraceSettings {
    /// Whether the prompt has the hint.
    pub hinted: bool,
    /// Whether questions without a hint are left out: in a mixture, they have no proposal.
    pub needs_hint: bool,
    /// Questions to sample traces for.
    pub questions: TracedQuestions,
    /// How many of them, drawn uniformly; 0: all.
    pub limit: usize,
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Markers around a thought.
    pub markers: Markers,
    /// Sampling seed.
    pub seed: u64,
    /// Seed of the draw of questions, where it is not that of the samples.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub questions_seed: Option<u64>,
}

impl TraceSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe, hinted: bool) -> Result<TraceSettings> {
        Ok(TraceSettings {
            hinted,
            needs_hint: hinted,
            questions: recipe.traces.questions,
            limit: recipe.traces.limit,
            sampling: recipe.traces.sampling,
            markers: recipe.prompts.markers()?,
            seed: recipe.seed,
            questions_seed: None,
        })
    }
}

/// Traces of a mixture of pi and q.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MixtureSettings {
    /// Traces of pi of each question; they come first.
    pub of_reasoner: u64,
}

/// Scoring of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ScoreSettings {
    /// Whether the reference answers after the traces are scored too.
    pub references: bool,
    /// Whether the prompt has the hint.
    pub hinted: bool,
    /// Whether unfinished traces are scored too.
    #[serde(skip_serializing_if = "Not::not")]
    pub unfinished: bool,
}

/// Sampling of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnswerSettings {
    /// Sampling parameters.
    pub sampling: Sampling,
    /// Markers around a thought.
    pub markers: Markers,
    /// Sampling seed.
    pub seed: u64,
}

impl AnswerSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe) -> Result<AnswerSettings> {
        Ok(AnswerSettings { sampling: recipe.answers, markers: recipe.prompts.markers()?, seed: recipe.seed })
    }
}

/// Verification of answers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictSettings {
    /// Time limit of a program (s).
    pub time_limit: f64,
    /// The verifier of the user's own, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier: Option<CommandSettings>,
}

impl VerdictSettings {
    /// Settings of a recipe.
    pub fn of(recipe: &RunRecipe) -> VerdictSettings {
        VerdictSettings { time_limit: recipe.verdicts.time_limit, verifier: recipe.own_verifier() }
    }
}

/// Weighing of traces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightSettings {
    /// Estimators, weighting, selection.
    #[serde(flatten)]
    pub weigh: WeighConfig,
    /// The share of a question's traces that pi drew, if they are a mixture.
    pub mixture: f64,
    /// How traces and answers are sampled. Only samples of the distributions whose log-probs are scored make
    /// bounds.
    pub drawn: Drawn,
}

/// Building of examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetSettings {
    /// Training method.
    pub method: Method,
    /// Options of building examples.
    pub dataset: Dataset,
    /// Answers sampled per trace.
    pub answers: u64,
    /// How to handle a question without a usable trace.
    pub fallback: Fallback,
    /// The same by kind of row, over `fallback`.
    #[serde(skip_serializing_if = "Fallbacks::is_empty")]
    pub fallbacks: Fallbacks,
    /// Tokens of an example above which the trainer would drop it; none where it cuts or refuses such rows.
    pub drop_above: Option<usize>,
    /// Seed for random choices.
    pub seed: u64,
}

impl DatasetSettings {
    /// The settings of a recipe.
    pub fn of(recipe: &RunRecipe) -> DatasetSettings {
        DatasetSettings {
            method: recipe.method,
            dataset: recipe.dataset,
            answers: recipe.answers.n,
            fallback: recipe.weights.fallback,
            fallbacks: recipe.weights.fallbacks,
            drop_above: recipe.r#final.config.drops_above(),
            seed: recipe.seed,
        }
    }
}

/// The questions of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum EvaluatedQuestions {
    /// All of a split.
    Split {
        /// The split.
        split: Split,
    },
    /// Training questions that have a trace in the data.
    Traced {
        /// How many of them, drawn uniformly.
        traced: usize,
    },
    /// Training questions for which traces are sampled.
    Sampled {
        /// How many of them, drawn uniformly.
        sampled: usize,
        /// Questions to sample traces for.
        questions: TracedQuestions,
        /// How many of those, drawn uniformly; 0: all.
        limit: usize,
    },
}

impl EvaluatedQuestions {
    /// The questions of the recipe's evaluation split.
    pub fn held_out(recipe: &RunRecipe) -> EvaluatedQuestions {
        EvaluatedQuestions::Split { split: recipe.evaluation.split }
    }

    /// Training questions with a trace, as many as the recipe evaluates.
    pub fn traced(recipe: &RunRecipe) -> EvaluatedQuestions {
        EvaluatedQuestions::Traced { traced: recipe.evaluation.training }
    }

    /// Questions for which traces are sampled, as many as the recipe evaluates.
    pub fn sampled(recipe: &RunRecipe) -> EvaluatedQuestions {
        let Traces { questions, limit, .. } = recipe.traces;
        EvaluatedQuestions::Sampled { sampled: recipe.evaluation.training, questions, limit }
    }

    /// Their split.
    pub fn split(self) -> Split {
        match self {
            EvaluatedQuestions::Split { split } => split,
            EvaluatedQuestions::Traced { .. } | EvaluatedQuestions::Sampled { .. } => Split::Train,
        }
    }
}

/// Prompts in a model's own chat template, which says whether they open a thought.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnPrompts {
    /// The conversation.
    pub conversation: Conversation,
    /// Date of the chat template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<Date>,
}

/// Evaluation of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvaluationSettings {
    /// Questions to evaluate on.
    #[serde(flatten)]
    pub questions: EvaluatedQuestions,
    /// The prompts, if they are not those of the reasoner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub own_prompts: Option<OwnPrompts>,
    /// Sampling of responses.
    pub sampling: Sampling,
    /// Markers around a thought.
    pub markers: Markers,
    /// How responses are judged.
    #[serde(flatten)]
    pub verdicts: VerdictSettings,
    /// Seed for sampling and for bootstrap intervals.
    pub seed: u64,
}

impl EvaluationSettings {
    /// # Errors
    /// Unknown markers.
    pub fn of(recipe: &RunRecipe, questions: EvaluatedQuestions) -> Result<EvaluationSettings> {
        Ok(EvaluationSettings {
            questions,
            own_prompts: None,
            sampling: recipe.evaluation.sampling,
            markers: recipe.prompts.markers()?,
            verdicts: VerdictSettings::of(recipe),
            seed: recipe.seed,
        })
    }

    /// The same with prompts in the model's own chat template.
    ///
    /// # Errors
    /// Unknown markers.
    pub fn in_chats(recipe: &RunRecipe, questions: EvaluatedQuestions) -> Result<EvaluationSettings> {
        let Prompts { system, date, .. } = &recipe.prompts;
        let own_prompts = OwnPrompts { conversation: Conversation::unopened(system), date: *date };
        Ok(EvaluationSettings {
            own_prompts: Some(own_prompts),
            ..EvaluationSettings::of(recipe, questions)?
        })
    }
}
