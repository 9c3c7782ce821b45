//! The sections of a recipe that are small, and what their types leave open.

use anyhow::Result;
use latrace_core::{SamplingParams, Split};
use latrace_io::failure::Failure;
use latrace_objective::AnswerChoice;
use serde::{Deserialize, Serialize};
use serde_json::json;
use toml::Table;

use super::checks::{at_least_one, usage};

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
    pub(super) fn check_mixture(&self) -> Result<()> {
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

impl Sampling {
    pub(super) fn check(&self, name: &str) -> Result<()> {
        self.params.validate().map_err(|error| Failure::usage(format!("{name}.{error}")))?;
        at_least_one(&format!("{name}.n"), self.n)
    }
}

impl Dataset {
    pub(super) fn check(&self) -> Result<()> {
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
