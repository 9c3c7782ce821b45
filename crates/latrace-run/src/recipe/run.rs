//! The recipe of a whole run: resolves defaults, a file (possibly based on another) and `key=value` overrides
//! into complete, validated settings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::random::stream;
use latrace_core::{SamplingParams, Split};
use latrace_engine::servers::ServersConfig;
use latrace_engine::train_config::Loss;
use latrace_engine::{TorchrunConfig, TrainConfig};
use latrace_objective::{AnswerChoice, AnswerEstimator, Fallback, Selection, Weighting};
use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::{Table, Value};

pub use super::distillation::{Contrast, Distillation};
pub use super::engines::{ComputeType, EngineOptions, GenerateEngine, ScoreEngine, TrainEngine};
pub use super::markers::MarkerSource;
pub use super::models::{
    FinalModel, InitialModel, PosteriorModel, PosteriorRows, Refinement, RefinementObjective, StartFrom,
};
pub use super::prompts::Prompts;

use super::adapters;
use super::keys::{DEFAULTS, check_keys};
use super::layers::{COMMAND_LINE, Layers};
use super::table::{merge, section_of};
use crate::layout;
use crate::weigh::{Drawn, Fallbacks, WeighConfig};
use latrace_io::clock::today;
use latrace_io::failure::Failure;
use latrace_io::settings::{self, RefusedSetting};
use latrace_questions::hints::HintKind;
use latrace_questions::source::Source;
use latrace_verify::command::CommandSettings;

/// All settings of a run. `defaults.toml` documents them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecipe {
    /// Random seed of the whole run.
    pub seed: u64,
    /// Training method of the final model.
    pub method: Method,
    /// T of algorithm 1: rounds of sampling traces and training a model on them.
    pub rounds: u64,
    /// Baselines to skip.
    pub skip: Vec<String>,
    /// What pi_theta0 and q start from.
    pub model: ModelSource,
    /// Where questions come from.
    pub questions: Source,
    /// How questions, hints and thoughts become text.
    pub prompts: Prompts,
    /// pi_theta0 and its training.
    pub initial: InitialModel,
    /// q and its training.
    pub posterior: PosteriorModel,
    /// Sampling of traces.
    pub traces: Traces,
    /// Sampling of answers.
    pub answers: Sampling,
    /// Verification of answers.
    pub verdicts: Verdicts,
    /// A verifier of the user's own, for questions of the kind `command`.
    pub verifier: CommandSettings,
    /// Weighing of traces.
    pub weights: WeighConfig,
    /// Building of training examples.
    pub dataset: Dataset,
    /// Building of the training examples of a self-distillation.
    pub distillation: Distillation,
    /// pi_theta and its training.
    pub r#final: FinalModel,
    /// Evaluation of models.
    pub evaluation: Evaluation,
    /// Who generates, scores and trains, with memory, batch and part sizes.
    pub engine: EngineOptions,
    /// Servers that draw samples or score, if the engine says so.
    pub servers: ServersConfig,
    /// PyTorch, if the engine says so.
    pub torchrun: TorchrunConfig,
    /// Other methods on the same data: by name, the settings that differ.
    pub baselines: BTreeMap<String, Table>,
}

/// Training method of the final model; method.md section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Weighted traces of the posterior: (6).
    Variational,
    /// Only the rows' own traces.
    Sft,
    /// Correct samples of pi_theta0: (10).
    Rft,
    /// Samples of pi_theta0, rewarded by 1 or 0: (11).
    BinaryRl,
    /// Samples of pi_theta0, rewards normalised within a question: (12).
    Grpo,
    /// Samples of pi_theta0, right ones divided by their number, less the mean: arXiv 2602.02710.
    #[serde(rename = "maxrl")]
    MaxRl,
    /// Traces of pi_theta0, weighted by the likelihood of the reference answer: (26).
    Verifree,
    /// Samples of pi_theta0, each token rewarded by what q, which sees the hint, makes of it: arXiv 2601.18734.
    SelfDistillation,
}

impl Method {
    /// The name as spelt in recipes.
    pub fn name(self) -> String {
        // Through serde, which has the names: a method is a unit variant, and so becomes a string.
        json!(self).as_str().unwrap_or_default().to_owned()
    }

    /// Whether the method trains on rewarded samples.
    pub fn is_policy_gradient(self) -> bool {
        matches!(self, Method::BinaryRl | Method::Grpo | Method::MaxRl | Method::SelfDistillation)
    }
}

/// What pi_theta0 and q start from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSource {
    /// A model folder or a hub id, `org/name[@revision]`; empty for a random model.
    pub folder: String,
    /// Vocabulary size of the tokenizer trained on the questions' texts, for a random model; a built-in task
    /// has its own tokenizer.
    pub vocabulary: usize,
    /// The random model's `config.json`, without the fields that the tokenizer determines.
    #[serde(default)]
    pub shape: Table,
}

/// The model that samples traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proposal {
    /// q, which sees a hint.
    Posterior,
    /// pi_theta0, which does not, in every round.
    Initial,
    /// The reasoner to be improved, without a hint: pi_theta0 in the first round, then the last round's model.
    Reasoner,
}

/// For which questions traces are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TracedQuestions {
    /// All of the training split.
    All,
    /// Those without a trace in the data.
    Unseen,
}

/// Sampling of traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    /// The model that samples them.
    pub from: Proposal,
    /// Questions to sample traces for.
    pub questions: TracedQuestions,
    /// How many of them, drawn uniformly; 0: all.
    pub limit: usize,
    /// The share of the posterior's traces that the reasoner draws in its place, without a hint.
    pub mixture: f64,
    /// Sampling parameters.
    #[serde(flatten)]
    pub sampling: Sampling,
}

impl Traces {
    /// How many of a question's traces the reasoner draws.
    pub fn of_reasoner(&self) -> u64 {
        (self.mixture * self.sampling.n as f64).round() as u64
    }

    /// A part of either model: without one, the proposal is no mixture.
    fn check_mixture(&self) -> Result<()> {
        let (own, all) = (self.of_reasoner(), self.sampling.n);
        if self.mixture == 0.0 || (self.mixture < 1.0 && own > 0 && own < all) {
            return Ok(());
        }
        usage(format!(
            "traces.mixture: expected 0, or a share of which the {all} traces of a question have some and not all, \
             got {}",
            self.mixture
        ))
    }
}

/// Number of samples per prompt, and sampling parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Samples per prompt.
    pub n: u64,
    /// Distribution and length limit.
    #[serde(flatten)]
    pub params: SamplingParams,
}

/// Verification of answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdicts {
    /// Time limit of a program (s).
    pub time_limit: f64,
}

/// How identical sequences of a question are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duplicates {
    /// Their weights add up.
    Add,
    /// They count once.
    Once,
}

/// Building of training examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Which verified answers of a chosen trace become examples.
    pub answers: AnswerChoice,
    /// How identical sequences of a question are handled.
    pub duplicates: Duplicates,
    /// Exponent on a question's accuracy, by which its weight is multiplied.
    pub question_exponent: f64,
    /// Weight of each row with a trace in the data; 0 omits them.
    pub originals: f64,
}

/// How the model that a run starts from is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BaseEvaluation {
    /// Not at all.
    None,
    /// With the prompts of the reasoner.
    Reasoner,
    /// In its own chat template, which says whether a thought is opened.
    Chat,
}

/// Evaluation of models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Split to evaluate on.
    pub split: Split,
    /// How the model that the run starts from is evaluated.
    pub base: BaseEvaluation,
    /// Training questions to evaluate the initial model on, of each of two kinds; 0: none.
    pub training: usize,
    /// Sampling of responses.
    #[serde(flatten)]
    pub sampling: Sampling,
}

impl RunRecipe {
    /// Reads `file`, applies `overrides` (`dotted.key=value`) in order, and validates the result.
    pub fn read(file: &Path, overrides: &[String]) -> Result<RunRecipe> {
        let mut layers = Layers::new(overrides, COMMAND_LINE, check_keys)?;
        layers.add_recipe(file)?;
        layers.read(resolve)
    }

    /// Reads a recipe's text, which is to be written to `file`: files are looked for beside it.
    pub fn parse(text: &str, file: &Path) -> Result<RunRecipe> {
        let mut layers = Layers::new(&[], COMMAND_LINE, check_keys)?;
        layers.add_recipe_of(file, settings::parse_table(text, &file.display().to_string())?)?;
        layers.read(resolve)
    }

    /// The recipe of a baseline: this one with the baseline's settings merged in.
    pub fn variant(&self, name: &str) -> Result<RunRecipe> {
        let mut table = self.to_table()?;
        let differing = self.baselines.get(name).cloned().unwrap_or_default();
        // A baseline has no baselines itself: otherwise its recipe would contain all the others.
        table.insert("baselines".to_owned(), Value::Table(Table::new()));
        table.insert("skip".to_owned(), Value::Array(Vec::new()));
        merge(&mut table, differing);
        typed(table).map_err(|error| of_baseline(name, error))
    }

    fn to_table(&self) -> Result<Table> {
        match Value::try_from(self).context("cannot write the recipe as TOML")? {
            Value::Table(table) => Ok(table),
            _ => unreachable!("a struct is a table"),
        }
    }

    /// The baselines that are not skipped, by name.
    pub fn variants(&self) -> Result<Vec<(String, RunRecipe)>> {
        let named = |name: &String| Ok((name.clone(), self.variant(name)?));
        self.baselines.keys().filter(|name| !self.skip.contains(name)).map(named).collect()
    }

    /// The recipe of round t: other seeds than those of earlier rounds, whose samples would otherwise be drawn with
    /// the same random numbers.
    pub fn of_round(&self, round: u64) -> RunRecipe {
        if round == 1 { self.clone() } else { self.reseeded("round", round) }
    }

    /// The recipe of the samples that q learns from (9): other seeds than those of q's own traces, and weights w~
    /// of all traces with right answers.
    pub fn of_posterior(&self) -> RunRecipe {
        let mut recipe = self.reseeded("posterior", 0);
        recipe.weights.weighting = Weighting::AccuracyOnly;
        recipe.weights.selection = Selection::Weighted;
        recipe.weights.fallback = Fallback::Skip;
        recipe.weights.fallbacks = Fallbacks::default();
        recipe
    }

    /// The recipe of a round of q's refinement: other seeds than those of every other one.
    pub fn of_refinement(&self, round: u64) -> RunRecipe {
        self.reseeded("refinement", round)
    }

    /// The recipe of pi's traces in a mixture: another seed than that of q's.
    pub fn of_mixture(&self) -> RunRecipe {
        self.reseeded("mixture", 0)
    }

    /// The recipe with another question's hint for each training question.
    pub fn with_wrong_hints(&self) -> RunRecipe {
        let mut recipe = self.clone();
        recipe.questions.hint = HintKind::Wrong;
        recipe
    }

    /// The share of a question's traces that pi draws in a mixture; 0 if there is none.
    pub fn mixture(&self) -> f64 {
        let Traces { sampling, .. } = &self.traces;
        match self.proposal() {
            Proposal::Posterior => self.traces.of_reasoner() as f64 / sampling.n as f64,
            Proposal::Initial | Proposal::Reasoner => 0.0,
        }
    }

    fn reseeded(&self, purpose: &str, number: u64) -> RunRecipe {
        let mut recipe = self.clone();
        let RunRecipe { seed, posterior, weights, r#final, .. } = &mut recipe;
        let PosteriorModel { config, refine, .. } = posterior;
        let of_posterior = [&mut config.seed, &mut refine.config.seed];
        for seed in [seed, &mut weights.seed, &mut r#final.config.seed].into_iter().chain(of_posterior) {
            // A TOML file has no larger integers.
            *seed = stream(*seed, purpose, "", number) >> 1;
        }
        recipe
    }

    /// The model that samples traces. Only the variational method has a choice: the others train on the
    /// reasoner's own samples.
    pub fn proposal(&self) -> Proposal {
        if self.method == Method::Variational { self.traces.from } else { Proposal::Reasoner }
    }

    /// Whether answers are sampled and verified: after the traces that are weighed, and after those that q learns from.
    pub fn draws_answers(&self) -> bool {
        match self.method {
            Method::Variational | Method::SelfDistillation => {
                self.weights.answer == AnswerEstimator::Accuracy
            }
            Method::Verifree | Method::Sft => false,
            Method::Rft | Method::BinaryRl | Method::Grpo | Method::MaxRl => true,
        }
    }

    /// Whether log pi of the reference answer is needed: for the weights, or for bounds, which there are if
    /// traces and answers are sampled from the distributions that are scored.
    pub fn scores_references(&self) -> bool {
        let Drawn { traces, answers } = self.drawn();
        let has_bounds = traces.into_iter().chain(answers).all(|distribution| distribution.is_plain());
        has_bounds || self.weigh_config().reads_references()
    }

    /// How traces and answers are sampled.
    pub fn drawn(&self) -> Drawn {
        let answers = self.draws_answers().then(|| self.answers.params.into());
        Drawn { traces: Some(self.traces.sampling.params.into()), answers }
    }

    /// Training of pi_theta. Rewarded samples need the policy-gradient loss, whatever loss the recipe sets.
    pub fn final_config(&self) -> TrainConfig {
        let mut config = self.r#final.config.clone();
        if self.method.is_policy_gradient() {
            config.loss = Loss::ClippedPolicyGradient;
        }
        config
    }

    /// The settings of the trainings that there are.
    pub fn trained(&self) -> Vec<&TrainConfig> {
        let PosteriorModel { train, config, refine, .. } = &self.posterior;
        let all = [
            (self.initial.train, &self.initial.config),
            (*train, config),
            (refine.rounds > 0, &refine.config),
            (true, &self.r#final.config),
        ];
        all.into_iter().filter(|(takes_place, _)| *takes_place).map(|(_, config)| config).collect()
    }

    /// How traces are weighed.
    pub fn weigh_config(&self) -> WeighConfig {
        let mut config = self.weights;
        // VeriFree uses no verdicts (26), which the default estimator would need.
        if self.method == Method::Verifree && config.answer == AnswerEstimator::Accuracy {
            config.answer = AnswerEstimator::Likelihood;
        }
        config
    }

    /// Sets the date of chat templates where the recipe does not: that of the run in `folder`, so that it resumes with
    /// the same prompts, or today's if the run is to begin.
    ///
    /// # Errors
    /// A run of another layout.
    pub fn set_date(&mut self, folder: &Path) -> Result<()> {
        if self.prompts.date.is_none() {
            self.prompts.date = begun(folder)?.map_or(Some(today()), |begun| begun.prompts.date);
        }
        Ok(())
    }

    /// Replaces `engine.compute = "auto"` by what it was when the run in `folder` began, or by what it is on this machine if
    /// the run is to begin.
    ///
    /// # Errors
    /// A run of another layout.
    pub fn set_compute(&mut self, folder: &Path) -> Result<()> {
        if self.engine.compute == ComputeType::Auto {
            let here = self.engine.compute.settled();
            self.engine.compute = begun(folder)?.map_or(here, |begun| begun.engine.compute);
        }
        Ok(())
    }

    /// All settings as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).context("cannot write the recipe as TOML")
    }
}

/// The recipe of the run in `folder`, if one has begun there.
fn begun(folder: &Path) -> Result<Option<RunRecipe>> {
    folder.join(layout::RECIPE).is_file().then(|| of_run(folder)).transpose()
}

/// The resolved recipe of a run folder.
///
/// # Errors
/// The folder is not a run folder, or has another layout version.
pub fn of_run(run: &Path) -> Result<RunRecipe> {
    layout::check(run)?;
    let path = run.join(layout::RECIPE);
    if path.is_file() { RunRecipe::read(&path, &[]) } else { Err(no_recipe(run).into()) }
}

/// The source of questions as a recipe has it that names none.
///
/// # Errors
/// Defaults that are no settings.
pub fn default_questions() -> Result<Source> {
    let mut table: Table = toml::from_str(DEFAULTS).context("the defaults are not TOML")?;
    seed_stages(&mut table);
    let questions = table.remove("questions").context("the defaults have no questions")?;
    questions.try_into().context("the defaults are no source of questions")
}

/// The settings of engines beside the built-in one, by `key=value` settings such as `servers.kind=sglang`.
///
/// # Errors
/// Settings of something else, or that an engine refuses.
pub fn engine_settings(settings: &[String]) -> Result<(ServersConfig, TorchrunConfig)> {
    const SOURCE: &str = "--engine-setting";
    let mut layers = Layers::new(settings, SOURCE, check_engine_keys)?;
    // A recipe is all defaults but for its questions.
    let task = Table::from_iter([("task".to_owned(), Value::String("walk".to_owned()))]);
    layers.add(SOURCE.to_owned(), Table::from_iter([("questions".to_owned(), Value::Table(task))]));
    let recipe = layers.read(resolve)?;
    Ok((recipe.servers, recipe.torchrun))
}

fn check_engine_keys(given: &Table, source: &str) -> Result<()> {
    let is_other = |key: &&String| !["servers", "torchrun"].contains(&key.as_str());
    if let Some(other) = given.keys().find(is_other) {
        let message = format!("{source}: expected a setting of servers or torchrun, got one of \"{other}\"");
        return Err(Failure::usage(message).into());
    }
    check_keys(given, source)
}

fn no_recipe(run: &Path) -> Failure {
    Failure::work(format!("{} is not a run folder: it has no recipe.toml", run.display()))
        .hint("`latrace run` creates run folders, with recipe.toml and a folder for each stage")
}

fn defaults() -> Result<Table> {
    toml::from_str(DEFAULTS).context("the defaults are not TOML")
}

/// The whole recipe. Baselines are validated here, too: an error in one should not surface after hours of work.
fn resolve(given: &Table) -> Result<RunRecipe> {
    let mut table = defaults()?;
    merge(&mut table, given.clone());
    let recipe = typed(table)?;
    recipe.baselines.keys().try_for_each(|name| recipe.variant(name).map(drop))?;
    Ok(recipe)
}

/// The failure of a baseline's setting, by its key in the recipe.
fn of_baseline(name: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => failure.preceded_by(&format!("baselines.{name}.")).into(),
        Err(error) => error.context(format!("baselines.{name}")),
    }
}

fn typed(mut table: Table) -> Result<RunRecipe> {
    seed_stages(&mut table);
    let recipe: RunRecipe = settings::typed(table.clone()).map_err(|refused| {
        Failure::from(in_full(&table, refused)).or_hint("`docs/recipe.md` lists every setting")
    })?;
    recipe.check()?;
    Ok(recipe)
}

/// Sections that are trainings, whose settings are flattened into them.
const TRAININGS: [&str; 4] = ["initial", "posterior", "posterior.refine", "final"];

/// A refusal with the whole key: serde reads what is flattened as one, and names the section alone.
fn in_full(table: &Table, refused: RefusedSetting) -> RefusedSetting {
    let section = refused.key.clone();
    let Some((key, value)) = wrong_setting(table, &refused) else { return refused };
    let of_training = || {
        let alone = settings::typed::<TrainConfig>(Table::from_iter([(key.clone(), value)]));
        Some(alone.err()?.under(&section)).filter(|_| TRAININGS.contains(&section.as_str()))
    };
    of_training().unwrap_or_else(|| refused.at(format!("{section}.{key}")))
}

/// The setting at fault in a section with flattened settings: the one whose default in its place ends the error, or gives
/// way to the next.
fn wrong_setting(table: &Table, refused: &RefusedSetting) -> Option<(String, Value)> {
    let (mut whole, mut defaults, section) = (table.clone(), defaults().ok()?, &refused.key);
    // A table that has no defaults, such as one of markers, has no key to try them for.
    let of_default = section_of(&mut defaults, section)?;
    let is_given = |(key, value): &(&String, &Value)| of_default.get(*key) != Some(*value);
    let is_at_fault = |(key, _): &(&String, &Value)| {
        let healed = settings::typed::<RunRecipe>(with_default(table, section, key));
        healed.err().is_none_or(|other| other != *refused)
    };
    let mut given = section_of(&mut whole, section)?.iter().filter(is_given);
    given.find(is_at_fault).map(|(key, value)| (key.clone(), value.clone()))
}

fn with_default(table: &Table, section: &str, key: &str) -> Table {
    let mut without = table.clone();
    if let Some(settings) = section_of(&mut without, section) {
        settings.remove(key);
    }
    let mut healed = defaults().unwrap_or_default();
    merge(&mut healed, without);
    healed
}

impl RunRecipe {
    /// Checks what the types of the settings leave open.
    fn check(&self) -> Result<()> {
        self.check_trainings()?;
        adapters::check(self)?;
        self.check_samplings()?;
        self.questions.check()?;
        self.prompts.markers()?;
        self.weights.check().map_err(|failure| failure.preceded_by("weights."))?;
        self.check_counts()?;
        self.check_starts()?;
        self.posterior.refine.check()?;
        self.check_contrast()?;
        self.check_signs()?;
        self.dataset.check()?;
        self.verifier.check().or_else(|error| usage(format!("verifier.{error}")))?;
        self.check_names()?;
        self.check_skipped()
    }

    /// The verifier of the user's own, if there is one.
    pub fn own_verifier(&self) -> Option<CommandSettings> {
        Some(&self.verifier).filter(|verifier| !verifier.command.is_empty()).cloned()
    }

    fn check_trainings(&self) -> Result<()> {
        let trainings = [
            ("initial", &self.initial.config),
            ("posterior", &self.posterior.config),
            ("posterior.refine", &self.posterior.refine.config),
            ("final", &self.r#final.config),
        ];
        trainings.into_iter().try_for_each(|(name, config)| {
            config.validate().map_err(|error| Failure::usage(format!("{name}.{error}")).into())
        })
    }

    fn check_starts(&self) -> Result<()> {
        if !self.initial.train && self.model.folder.is_empty() {
            return usage(
                "initial.train: a random model must be trained; model.folder names another".to_owned(),
            );
        }
        if self.evaluation.base != BaseEvaluation::None && self.model.folder.is_empty() {
            return usage(
                "evaluation.base: a random model has nothing to measure: expected none, or a model.folder"
                    .to_owned(),
            );
        }
        if !self.posterior.is_trained() && self.posterior.start == Some(StartFrom::Previous) {
            return usage(
                "posterior.start: a posterior that is not trained has no last round: expected base or initial, or \
                 nothing for the reasoner to be improved"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Under the same hints twice, every advantage would be 0.
    fn check_contrast(&self) -> Result<()> {
        if self.distillation.contrast == Contrast::None || self.questions.hint != HintKind::Wrong {
            return Ok(());
        }
        usage(
            "distillation.contrast: wrong hints have no contrast with wrong hints (questions.hint)"
                .to_owned(),
        )
    }

    /// Leave-one-out weights are signed, and under a negative weight the negative log-likelihood has no lower bound.
    fn check_signs(&self) -> Result<()> {
        if self.weights.weighting != Weighting::LeaveOneOut {
            return Ok(());
        }
        let message = "weights.weighting: \"leave-one-out\" weights may be negative, and a likelihood can be made \
                       small without end: `latrace weigh` computes them, a run does not train on them";
        usage(message.to_owned())
    }

    fn check_samplings(&self) -> Result<()> {
        self.traces.sampling.check("traces")?;
        self.traces.check_mixture()?;
        self.answers.check("answers")?;
        self.evaluation.sampling.check("evaluation")
    }

    fn check_counts(&self) -> Result<()> {
        at_least_one("rounds", self.rounds)?;
        if self.rounds > MOST_ROUNDS {
            return usage(format!("rounds: expected at most {MOST_ROUNDS}, got {}", self.rounds));
        }
        self.engine.check()?;
        self.servers.validate().or_else(|error| usage(error.to_string()))?;
        self.torchrun.validate()
    }

    /// A baseline's name is that of its folder, and stands beside the run's own models.
    fn check_names(&self) -> Result<()> {
        let is_plain = |name: &String| {
            let allowed = |letter: char| letter.is_alphanumeric() || "-_.".contains(letter);
            !name.is_empty() && !name.starts_with('.') && name.chars().all(allowed)
        };
        for name in self.baselines.keys() {
            if OWN_MODELS.contains(&name.as_str()) {
                return usage(format!(
                    "baselines.{name}: \"{name}\" is a model of the run's own: choose another name"
                ));
            }
            if !is_plain(name) {
                return usage(format!(
                    "baselines.\"{name}\": expected a name of letters, digits, hyphens, underscores and dots, which \
                     does not begin with a dot"
                ));
            }
        }
        Ok(())
    }

    /// A misspelt name would run the baseline that was to be skipped.
    fn check_skipped(&self) -> Result<()> {
        let unknown = self.skip.iter().find(|&name| !self.baselines.contains_key(name));
        let refused = |name| usage(format!("skip: the recipe has no baseline \"{name}\""));
        unknown.map_or(Ok(()), refused)
    }
}

/// More rounds than anyone has done: a slip of the keyboard would plan for hours.
const MOST_ROUNDS: u64 = 1000;

/// Names of a run's own models in tables and summaries.
const OWN_MODELS: [&str; 4] = ["base", "initial", "posterior", "final"];

impl Sampling {
    fn check(&self, name: &str) -> Result<()> {
        self.params.validate().map_err(|error| Failure::usage(format!("{name}.{error}")))?;
        at_least_one(&format!("{name}.n"), self.n)
    }
}

impl Dataset {
    fn check(&self) -> Result<()> {
        let Dataset { originals, question_exponent, .. } = *self;
        if !question_exponent.is_finite() {
            return usage(format!(
                "dataset.question_exponent: expected a finite number, got {question_exponent}"
            ));
        }
        if originals.is_finite() && originals >= 0.0 {
            return Ok(());
        }
        usage(format!("dataset.originals: expected a finite number of at least 0, got {originals}"))
    }
}

pub(super) fn at_least_one(name: &str, number: u64) -> Result<()> {
    if number > 0 { Ok(()) } else { usage(format!("{name}: expected at least 1, got 0")) }
}

pub(super) fn usage(message: String) -> Result<()> {
    Err(Failure::usage(message).into())
}

/// Gives the run's seed to every stage that does not set its own.
fn seed_stages(table: &mut Table) {
    let Some(seed) = table.get("seed") else { return };
    // A seed that is none is refused by its own name, and not by those of the stages.
    let seed = Value::Integer(seed.as_integer().map_or(0, |seed| seed.max(0)));
    // Equal seeds are independent draws: the stage's name is part of every key of a random stream.
    for stage in ["questions", "initial", "posterior", "weights", "final"] {
        if let Some(Value::Table(stage)) = table.get_mut(stage) {
            stage.entry("seed").or_insert_with(|| seed.clone());
        }
    }
    let refinement = table.get_mut("posterior").and_then(|posterior| posterior.get_mut("refine"));
    if let Some(Value::Table(refinement)) = refinement {
        refinement.entry("seed").or_insert(seed);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shipped() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
        let in_folder =
            |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> = in_folder(folder.clone())
            .chain(in_folder(folder.join("science")))
            .chain(in_folder(folder.join("engines")))
            .filter(|path| path.is_file())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn every_shipped_recipe_resolves_and_reads_back_the_same() {
        let files = shipped();
        assert!(files.len() >= 10, "{files:?}");
        for file in files {
            let recipe =
                RunRecipe::read(&file, &[]).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
            let text = recipe.to_toml().unwrap();
            assert_eq!(toml::from_str::<RunRecipe>(&text).unwrap(), recipe, "{}", file.display());
            for (name, variant) in recipe.variants().unwrap() {
                variant.check().unwrap_or_else(|error| panic!("{}, {name}: {error:#}", file.display()));
            }
        }
    }

    #[test]
    fn a_run_keeps_the_date_of_its_prompts() {
        let folder = tempfile::tempdir().unwrap();
        let (file, run) = (folder.path().join("recipe.toml"), folder.path().join("run"));
        std::fs::write(&file, "[questions]\ntask = \"walk\"\n").unwrap();
        let read = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
            RunRecipe::read(&file, &settings)
        };
        let date_in_run = |settings: &[&str]| {
            let mut recipe = read(settings).unwrap();
            recipe.set_date(&run).unwrap();
            recipe.prompts.date.map(|date| date.to_string())
        };
        assert_eq!(date_in_run(&[]), Some(today().to_string()));
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join("layout.json"), "{\"layout\": 3, \"version\": \"0\"}").unwrap();
        let begun = |settings: &[&str]| {
            std::fs::write(run.join("recipe.toml"), read(settings).unwrap().to_toml().unwrap()).unwrap();
        };
        for spelling in ["prompts.date=2001-02-03", "prompts.date=\"2001-02-03\""] {
            begun(&[spelling]);
            assert_eq!(date_in_run(&[]), Some("2001-02-03".to_owned()));
        }
        assert_eq!(date_in_run(&["prompts.date=2002-02-03"]), Some("2002-02-03".to_owned()));
        // A run that was begun without one has none in its keys.
        begun(&[]);
        assert_eq!(date_in_run(&[]), None);
        let error = format!("{:#}", read(&["prompts.date=2001-02-30"]).unwrap_err());
        assert!(error.contains("prompts.date") && error.contains("YYYY-MM-DD"), "{error}");
    }

    #[test]
    fn a_run_keeps_the_arithmetic_it_began_with() {
        let folder = tempfile::tempdir().unwrap();
        let (file, run) = (folder.path().join("recipe.toml"), folder.path().join("run"));
        std::fs::write(&file, "[questions]\ntask = \"walk\"\n").unwrap();
        let read = |compute: &str| RunRecipe::read(&file, &[format!("engine.compute={compute}")]).unwrap();
        let settled = |compute: &str| {
            let mut recipe = read(compute);
            recipe.set_compute(&run).unwrap();
            recipe.engine.compute
        };
        let here = match ComputeType::Auto.here() {
            latrace_engine::Compute::F32 => ComputeType::F32,
            latrace_engine::Compute::Bf16 => ComputeType::Bf16,
        };
        assert_eq!(settled("auto"), here);
        std::fs::create_dir(&run).unwrap();
        std::fs::write(run.join("layout.json"), "{\"layout\": 3, \"version\": \"0\"}").unwrap();
        for begun in ["f32", "bf16"] {
            std::fs::write(run.join("recipe.toml"), read(begun).to_toml().unwrap()).unwrap();
            assert_eq!(settled("auto"), read(begun).engine.compute);
            assert_eq!((settled("f32"), settled("bf16")), (ComputeType::F32, ComputeType::Bf16));
        }
    }

    #[test]
    fn every_method_is_one_line_away() {
        let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
        for method in
            ["variational", "sft", "rft", "binary-rl", "grpo", "maxrl", "verifree", "self-distillation"]
        {
            let recipe = RunRecipe::read(&file, &[format!("method={method}")]).unwrap();
            assert_eq!(recipe.proposal() == Proposal::Posterior, method == "variational", "{method}");
            assert_eq!(
                recipe.final_config().loss == Loss::ClippedPolicyGradient,
                ["binary-rl", "grpo", "maxrl", "self-distillation"].contains(&method),
                "{method}"
            );
        }
    }

    #[test]
    fn any_cut_of_any_distribution_that_is_scored_shows() {
        let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
        let recipe = |changes: &[&str]| {
            let plain = [
                "traces.temperature=1.0",
                "traces.top_p=1.0",
                "traces.top_k=0",
                "answers.temperature=1.0",
                "answers.top_p=1.0",
                "answers.top_k=0",
            ];
            let overrides: Vec<String> = plain.iter().chain(changes).map(|&text| text.to_owned()).collect();
            RunRecipe::read(&file, &overrides).unwrap()
        };
        // References are scored for the bounds alone, and not where there are none.
        let check = |changes: &[&str], traces: &str, answers: &str| {
            let recipe = recipe(changes);
            let drawn = recipe.drawn();
            let said = [drawn.traces, drawn.answers].map(|drawn| drawn.unwrap().to_string());
            assert_eq!(said, [traces, answers]);
            assert_eq!(recipe.scores_references(), traces.is_empty() && answers.is_empty());
        };
        check(&[], "", "");
        check(&["traces.temperature=0.7"], "tempered (temperature 0.7)", "");
        check(&["traces.min_p=0.1"], "truncated (min_p 0.1)", "");
        check(&["answers.top_p=0.9"], "", "truncated (top_p 0.9)");
        // Without answers, how they would be sampled does not matter.
        let by_likelihood = recipe(&["answers.top_p=0.9", "weights.answer=likelihood"]);
        assert_eq!(by_likelihood.drawn().answers, None);
    }

    #[test]
    fn a_recipe_stands_on_its_base_and_under_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "base.toml",
            "seed = 3\n[questions]\ntask = \"walk\"\n[traces]\nn = 4\n[baselines.rft]\nmethod = \"rft\"\n",
        );
        write("top.toml", "base = \"base.toml\"\n[traces]\ntemperature = 1.0\n");
        let recipe = RunRecipe::read(
            &folder.path().join("top.toml"),
            &["traces.n=5".to_owned(), "skip=[\"rft\"]".to_owned()],
        )
        .unwrap();
        assert_eq!(
            (
                recipe.seed,
                recipe.initial.config.seed,
                recipe.traces.sampling.n,
                recipe.traces.sampling.params.temperature
            ),
            (3, 3, 5, 1.0)
        );
        assert!(recipe.variants().unwrap().is_empty());
        write("wrong.toml", "base = \"base.toml\"\n[trace]\nn = 4\n");
        let error = format!("{:#}", RunRecipe::read(&folder.path().join("wrong.toml"), &[]).unwrap_err());
        assert!(error.contains("trace"), "{error}");
    }

    #[test]
    fn files_of_a_base_are_beside_it_and_those_of_the_command_line_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("bases")).unwrap();
        write("bases/base.toml", "[questions]\ntrain = \"train.jsonl\"\ntest = \"test.jsonl\"\n");
        write("top.toml", "base = \"bases/base.toml\"\n[questions]\nvalidation = \"train.jsonl\"\n");
        ["bases/train.jsonl", "test.jsonl"].into_iter().for_each(|name| write(name, ""));
        let read = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
            RunRecipe::read(&folder.path().join("top.toml"), &settings).unwrap().questions
        };
        let questions = read(&[]);
        assert_eq!(questions.train, folder.path().join("bases/train.jsonl").display().to_string());
        assert_eq!([questions.validation, questions.test], ["train.jsonl", "test.jsonl"]);
        assert_eq!(read(&["questions.train=test.jsonl"]).train, "test.jsonl");
    }

    #[track_caller]
    fn check_refused(overrides: &[&str], expected: &str) {
        let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let error = format!("{:#}", RunRecipe::read(&file, &overrides).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn keys_that_were_renamed_or_are_not_there_yet_are_refused_by_name() {
        check_refused(&["start=base"], "the key \"start\" was renamed: write final.start");
        check_refused(&["baselines.x.start=base"], "\"baselines.x.start\" was renamed");
        check_refused(&["initial.start=base"], "unknown key \"initial.start\"");
        check_refused(
            &["baselines.rft.engine.compute=bf16"],
            "baselines.rft.engine: a run has the same engines for all of its methods",
        );
        check_refused(
            &["torchrun.lora=8"],
            "\"torchrun.lora\" is not there yet: adapters are trained by the built-in engine",
        );
    }

    #[test]
    fn kinds_have_fallbacks_and_tests_of_their_own() {
        check_refused(
            &["weights.fallbacks.cod=skip"],
            "unknown key \"weights.fallbacks.cod\"; the nearest known key is \"code\"",
        );
        check_refused(
            &["weights.fallbacks.code=drop"],
            "weights.fallbacks.code: expected one of original-row, skip, geometric-likelihood, got \"drop\"",
        );
        check_refused(
            &["questions.tests.colum=io"],
            "unknown key \"questions.tests.colum\"; the nearest known key is \"column\"",
        );
        let files = ["questions.task=", "questions.train=x.jsonl"];
        let with = |setting| [files[0], files[1], setting];
        check_refused(&with("questions.kinds.taco=codes"), "questions.kinds.\"taco\": expected one of math,");
        check_refused(
            &with("questions.tests={from = \"y\", key = \"\"}"),
            "questions.tests.key: expected a name",
        );
        // The likelihood of the reference answer is scored where some kind needs it.
        let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
        let scored = |settings: &[&str]| {
            let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
            RunRecipe::read(&file, &settings).unwrap().scores_references()
        };
        assert!(!scored(&["traces.top_p=0.9", "weights.fallbacks.text=skip"]));
        assert!(scored(&["traces.top_p=0.9", "weights.fallbacks.code=geometric-likelihood"]));
    }

    #[test]
    fn settings_of_questions_are_refused_by_name() {
        let columns = "the command line: unknown key \"questions.columns.questoin\"; the nearest known key is \"question\"";
        check_refused(&["questions.columns.questoin=problem"], columns);
        check_refused(
            &[
                "questions.task=",
                "questions.train=x.jsonl",
                "questions.format=gsm8k",
                "questions.columns.trace=t",
            ],
            "the command line: unknown key \"questions.columns.trace\"",
        );
        let kinds = "expected one of math, choice, text, code, command, or a built-in task, got";
        check_refused(
            &["questions.kind=maths"],
            &format!("questions.kind: {kinds} \"maths\"; the nearest is \"math\""),
        );
        check_refused(
            &["questions.question_kinds.Write=cod"],
            &format!("{kinds} \"cod\"; the nearest is \"code\""),
        );
        check_refused(&["questions.task=wlak"], "got \"wlak\"; the nearest is \"walk\"");
        check_refused(
            &["model.shape.hiden_size=8"],
            "unknown key \"model.shape.hiden_size\"; the nearest known key is \"hidden_size\"",
        );
        check_refused(
            &["baselines.rft.skip=[]"],
            "baselines.rft.skip: a baseline has no baselines of its own",
        );
        check_refused(
            &["questions.limit=-1"],
            "questions.limit: expected a number of questions, or one for each of train, validation and test, got -1",
        );
        check_refused(&["questions.limit=many"], "expected a number of questions, or one for each of train");
        check_refused(
            &["questions.limit.tests=5"],
            "unknown key \"questions.limit.tests\"; the nearest known key is \"test\"",
        );
        check_refused(
            &["questions.answer_rule=units"],
            "questions.answer_rule: expected one of as-is, without-units, after-hashes, got \"units\"",
        );
        check_refused(&["questions.shuffle=true"], "questions.shuffle: expected files of questions");
        let limit = quickstart(&["questions.limit.test=5"]).to_toml().unwrap();
        let limit = toml::from_str::<Table>(&limit).unwrap()["questions"]["limit"].clone();
        assert_eq!(limit["test"].as_integer(), Some(5));
    }

    #[test]
    fn markers_of_a_recipe_are_a_name_or_a_table() {
        check_refused(&["prompts.markers=thing"], "prompts.markers: unknown marker family \"thing\"");
        check_refused(
            &["prompts.markers=3"],
            "prompts.markers: expected the name of a marker family, or a table with open and close, got 3",
        );
        check_refused(
            &["prompts.markers={open = \"<a>\"}"],
            "prompts.markers.close: expected a value, got nothing",
        );
        check_refused(
            &["prompts.markers={open = \"a\", close = \"b\", end = \"c\"}"],
            "unknown key \"prompts.markers.end\"; the nearest known key is",
        );
        let own = quickstart(&["prompts.markers={open = \"<a>\", close = \"</a>\"}"]);
        assert_eq!(own.prompts.markers().unwrap().cut, "</a>");
        assert_eq!(toml::from_str::<RunRecipe>(&own.to_toml().unwrap()).unwrap(), own);
    }

    #[test]
    fn models_start_where_they_can() {
        check_refused(&["evaluation.base=chat"], "evaluation.base: a random model has nothing to measure");
        check_refused(&["initial.train=false"], "initial.train: a random model must be trained");
        check_refused(&["posterior.train=false", "posterior.start=previous"], "has no last round");
        check_refused(
            &["posterior.start=final"],
            "posterior.start: expected one of base, initial, previous, got \"final\"",
        );
        check_refused(
            &["final.start=posterior"],
            "final.start: expected one of base, initial, previous, got \"posterior\"",
        );
        check_refused(&["initial.epochs=many"], "initial.epochs: expected a whole number, got \"many\"");
        check_refused(&["traces.n=-1"], "traces.n: expected a whole number of at least 0, got -1");
        check_refused(&["traces.mixture=0.01"], "traces.mixture: expected 0, or a share");
        check_refused(&["traces.mixture=1"], "traces.mixture: expected 0, or a share");
        check_refused(&["rounds=0"], "rounds: expected at least 1");
        check_refused(&["seed=x"], "the command line: seed: expected a whole number, got \"x\"");
        check_refused(&["seed=-1"], "the command line: seed: expected a whole number of at least 0, got -1");
        check_refused(&["questions.hint=wrong", "distillation.contrast=wrong-hint"], "have no contrast");
        check_refused(&["posterior.refine.n=1"], "posterior.refine.n: expected at least 2, got 1");
        let single = ["posterior.refine.n=0", "posterior.refine.objective=iwae-phi"];
        check_refused(&single, "posterior.refine.n: expected at least 1");
        check_refused(
            &["posterior.refine.loss=nll"],
            "posterior.refine.loss: expected clipped-policy-gradient",
        );
        check_refused(
            &["posterior.refine.objective=grpo"],
            "posterior.refine.objective: expected one of reverse-kl, elbo-single, iwae-phi, got \"grpo\"",
        );
        check_refused(
            &["posterior.refine.epochs=many"],
            "posterior.refine.epochs: expected a whole number, got \"many\"",
        );
        check_refused(&["posterior.refine.batch_size=0"], "posterior.refine.batch_size: expected");
        check_refused(&["posterior.refine.round=1"], "unknown key \"posterior.refine.round\"");
    }

    #[test]
    fn weights_that_may_be_negative_are_not_trained_on() {
        check_refused(&["weights.weighting=leave-one-out"], "may be negative");
    }

    fn quickstart(changes: &[&str]) -> RunRecipe {
        let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
        let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
        RunRecipe::read(&file, &changes).unwrap()
    }

    #[test]
    fn q_learns_from_all_samples_with_right_answers_weighted_by_their_share() {
        let recipe =
            quickstart(&["weights.weighting=rho", "weights.selection=best", "weights.fallback=original-row"]);
        let weights = recipe.of_posterior().weights;
        assert_eq!(
            (weights.weighting, weights.selection, weights.fallback),
            (Weighting::AccuracyOnly, Selection::Weighted, Fallback::Skip)
        );
        // What is not of the weights or of chance stays as it is.
        let seeds = |mut recipe: RunRecipe| {
            recipe.weights = quickstart(&[]).weights;
            (recipe.seed, recipe.posterior.config.seed, recipe.r#final.config.seed) = (0, 0, 0);
            recipe.posterior.refine.config.seed = 0;
            recipe
        };
        assert_eq!(seeds(recipe.of_posterior()), seeds(recipe));
    }

    #[test]
    fn the_recipe_of_a_round_can_be_written_as_toml() {
        let recipe = quickstart(&[]);
        assert_eq!(recipe.of_round(1), recipe);
        for round in 2..20 {
            let of_round = recipe.of_round(round);
            let seeds = [
                (of_round.seed, recipe.seed),
                (of_round.posterior.config.seed, recipe.posterior.config.seed),
                (of_round.posterior.refine.config.seed, recipe.posterior.refine.config.seed),
                (of_round.weights.seed, recipe.weights.seed),
                (of_round.r#final.config.seed, recipe.r#final.config.seed),
            ];
            assert!(seeds.iter().all(|(seed, first)| seed != first), "{seeds:?}");
            // A baseline's settings are merged in as TOML, whose integers are signed.
            assert_eq!(of_round.variant("rft").unwrap().seed, of_round.seed);
        }
    }

    #[test]
    fn a_runs_seed_is_that_of_every_stage_that_has_none_of_its_own() {
        let seeds = |changes: &[&str]| {
            let RunRecipe { seed, questions, initial, posterior, weights, r#final, .. } = quickstart(changes);
            [
                seed,
                questions.seed,
                initial.config.seed,
                posterior.config.seed,
                posterior.refine.config.seed,
                weights.seed,
                r#final.config.seed,
            ]
        };
        assert_eq!(seeds(&["seed=9"]), [9; 7]);
        let changes = [
            "seed=9",
            "questions.seed=1",
            "initial.seed=2",
            "posterior.seed=3",
            "posterior.refine.seed=4",
            "weights.seed=5",
            "final.seed=6",
        ];
        assert_eq!(seeds(&changes), [9, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn free_tables_are_free_in_baselines_too() {
        // The field by which tests are found is read, whatever it is called.
        let joined = ["questions.tests={ from = \"t\", key = \"pid\" }", "questions.columns.pid=problem_id"];
        assert_eq!(quickstart(&joined).questions.columns["pid"], "problem_id");
        assert_eq!(
            quickstart(&["model.shape.use_cache=true"]).model.shape["use_cache"].as_bool(),
            Some(true)
        );
        let columns = ["questions.columns.question=problem", "baselines.rft.questions.columns.question=text"];
        let recipe = quickstart(&columns);
        assert_eq!(recipe.questions.columns["question"], "problem");
        assert_eq!(recipe.variant("rft").unwrap().questions.columns["question"], "text");
        let shape = quickstart(&["baselines.rft.model.shape.hidden_size=64"]);
        assert_eq!(shape.variant("rft").unwrap().model.shape["hidden_size"].as_integer(), Some(64));
    }

    #[test]
    fn verifree_weighs_by_the_likelihood_of_the_reference_answer() {
        let answer = |changes: &[&str]| quickstart(changes).weigh_config().answer;
        assert_eq!(answer(&["method=verifree"]), AnswerEstimator::Likelihood);
        let geometric = ["method=verifree", "weights.answer=geometric-likelihood"];
        assert_eq!(answer(&geometric), AnswerEstimator::GeometricLikelihood);
        assert_eq!(answer(&[]), AnswerEstimator::Accuracy);
    }
}
