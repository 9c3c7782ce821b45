//! The recipe of a whole run: resolves defaults, a file (possibly based on another) and `key=value` overrides
//! into complete, validated settings.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::random::stream;
use latrace_engine::servers::ServersConfig;
use latrace_engine::train_config::Loss;
use latrace_engine::{TorchrunConfig, TrainConfig};
use latrace_objective::{AnswerEstimator, Fallback, Selection, Weighting};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

pub use super::distillation::{Contrast, Distillation};
pub use super::engines::{ComputeType, EngineOptions, GenerateEngine, ScoreEngine, TrainEngine};
pub use super::markers::MarkerSource;
pub use super::models::{
    FinalModel, InitialModel, PosteriorModel, PosteriorRows, Refinement, RefinementObjective, StartFrom,
};
pub use super::prompts::Prompts;
pub use super::sections::{
    BaseEvaluation, Dataset, Duplicates, Evaluation, Method, ModelSource, Proposal, Sampling,
    TracedQuestions, Traces, Verdicts,
};

use super::keys::check_keys;
use super::layers::{COMMAND_LINE, Layers};
use super::resolve::{defaults, of_baseline, resolve, seed_stages, typed};
use super::table::merge;
use crate::layout;
use crate::weigh::{Drawn, Fallbacks, WeighConfig};
use latrace_io::clock::today;
use latrace_io::failure::Failure;
use latrace_io::settings::parse_table;
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
        layers.add_recipe_of(file, parse_table(text, &file.display().to_string())?)?;
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

    /// The verifier of the user's own, if there is one.
    pub fn own_verifier(&self) -> Option<CommandSettings> {
        Some(&self.verifier).filter(|verifier| !verifier.command.is_empty()).cloned()
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
    let mut table = defaults()?;
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

#[cfg(test)]
mod tests;
