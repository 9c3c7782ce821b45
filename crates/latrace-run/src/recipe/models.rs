//! The models of a recipe: what each starts from, whether it is trained, and how.

use anyhow::Result;
use latrace_engine::TrainConfig;
use latrace_engine::train_config::Loss;
use latrace_objective::Objective;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};

use super::checks::{at_least_one, usage};

/// What q or pi_theta starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StartFrom {
    /// The base model, which pi_theta0 starts from.
    Base,
    /// pi_theta0.
    Initial,
    /// The model of the last round; pi_theta0 in the first (algorithm 1, line 1).
    Previous,
}

/// pi_theta0 and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InitialModel {
    /// Whether it is trained; if not, pi_theta0 is the base model.
    pub train: bool,
    /// Its training.
    #[serde(flatten)]
    pub config: TrainConfig,
}

/// What q learns from in the first round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PosteriorRows {
    /// The traces in the data, as in the paper's runs.
    Data,
    /// Samples of pi_theta0, weighted by w~ (9), as in later rounds.
    Samples,
}

/// q and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PosteriorModel {
    /// Whether it is trained; if not, q is the model that it starts from, with the hint in its prompt.
    pub train: bool,
    /// What it starts from in every round. If not given: base in the first round and the last round's q in later
    /// ones, or, if it is not trained, the reasoner to be improved.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "unless_empty")]
    pub start: Option<StartFrom>,
    /// What it learns from in the first round.
    pub rows: PosteriorRows,
    /// Its training.
    #[serde(flatten)]
    pub config: TrainConfig,
    /// Its refinement by policy gradient.
    pub refine: Refinement,
}

impl PosteriorModel {
    /// Whether q differs from the model that it starts from.
    pub fn is_trained(&self) -> bool {
        self.train || self.refine.rounds > 0
    }
}

/// What q is refined to do by policy gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefinementObjective {
    /// Reverse KL to the true posterior, with the other traces' mean reward as a baseline: (34).
    ReverseKl,
    /// The ELBO by its score function: (27).
    ElboSingle,
    /// The multi-trace bound: (15).
    IwaePhi,
}

impl RefinementObjective {
    /// The objective, as weights on traces.
    pub fn objective(self) -> Objective {
        match self {
            RefinementObjective::ReverseKl => Objective::ReverseKl,
            RefinementObjective::ElboSingle => Objective::ElboSingle,
            RefinementObjective::IwaePhi => Objective::IwaePhi,
        }
    }
}

/// The refinement of q in each round of algorithm 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refinement {
    /// What it is refined to do.
    pub objective: RefinementObjective,
    /// How often it is sampled anew and trained on the samples; 0: not at all.
    pub rounds: u64,
    /// Traces of each question and round.
    pub n: u64,
    /// Its training.
    #[serde(flatten)]
    pub config: TrainConfig,
}

impl Refinement {
    /// Checks what the types leave open, but for the training.
    pub(super) fn check(&self) -> Result<()> {
        let Refinement { objective, n, config, .. } = self;
        if config.loss != Loss::ClippedPolicyGradient {
            return usage(
                "posterior.refine.loss: expected clipped-policy-gradient, the only loss with advantages"
                    .to_owned(),
            );
        }
        if *objective == RefinementObjective::ReverseKl && *n < 2 {
            return usage(format!(
                "posterior.refine.n: expected at least 2, got {n}: reverse-kl compares a trace with the others"
            ));
        }
        at_least_one("posterior.refine.n", *n)
    }
}

/// pi_theta and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinalModel {
    /// What it starts from in every round.
    pub start: StartFrom,
    /// Its training.
    #[serde(flatten)]
    pub config: TrainConfig,
}

/// An empty text stands for a value that is not given, as everywhere in a recipe.
fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StartFrom>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let start = || StartFrom::deserialize(text.as_str().into_deserializer());
    if text.is_empty() { Ok(None) } else { start().map(Some) }
}
