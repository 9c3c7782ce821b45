//! Estimators of the answer probability `pi(Y_x|x,z)`, section 3. The list of those that may enter a weight
//! is [`AnswerEstimator::ALL`]; a bound takes [`reference_and_rest`] alone.

use crate::error::{Error, Result};
use crate::names::named;

pub mod accuracy;
pub mod geometric_likelihood;
pub mod likelihood;
pub mod reference_and_rest;

pub use accuracy::AnswerAccuracy;
pub use reference_and_rest::{JudgedAnswer, SampledRest};

use crate::AnswerScore;

/// Which answer probability enters rho.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerEstimator {
    /// Share of correct sampled answers: see [`accuracy`].
    #[default]
    Accuracy,
    /// Geometric mean likelihood of the reference answer: see [`geometric_likelihood`].
    GeometricLikelihood,
    /// Likelihood of the reference answer: see [`likelihood`].
    Likelihood,
}

/// What is known about the answers of one trace. Each estimator of a weight reads one of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnswerEvidence {
    /// Verdicts over sampled answers.
    pub accuracy: Option<AnswerAccuracy>,
    /// Log-probs of the reference answer.
    pub reference: Option<AnswerScore>,
    /// Sampled answers that are correct and not the reference answer.
    pub rest: Option<SampledRest>,
}

named!(AnswerEstimator, "answer estimator", {
    Accuracy = "accuracy",
    GeometricLikelihood = "geometric-likelihood",
    Likelihood = "likelihood",
});

impl AnswerEstimator {
    /// Log of the estimated probability, nats; `-inf` is a weight of zero.
    ///
    /// # Shapes
    /// Scalar per trace.
    ///
    /// # Errors
    /// The evidence this estimator reads is absent.
    pub fn log_probability(&self, evidence: &AnswerEvidence) -> Result<f64> {
        let missing = |statistic| Error::Missing { operation: self.name(), statistic };
        let reference = || evidence.reference.as_ref().ok_or(missing("log-probs of the reference answer"));
        Ok(match self {
            Self::Accuracy => {
                evidence.accuracy.ok_or(missing("verdicts on sampled answers"))?.log_probability()
            }
            Self::GeometricLikelihood => geometric_likelihood::log_probability(reference()?),
            Self::Likelihood => likelihood::log_probability(reference()?),
        })
    }
}

/// Theorem 1: in the worst case over pi at `pi(Y_x|x,z) = probability` > 0, one sampled verdict varies no
/// more than the likelihood, iff `probability ≥ 1/|Y_x|`.
#[must_use]
pub fn accuracy_varies_less(probability: f64, correct_answers: usize) -> bool {
    probability >= 1.0 / correct_answers as f64
}
