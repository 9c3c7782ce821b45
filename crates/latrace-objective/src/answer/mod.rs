//! Estimators of the answer probability `pi(Y_x|x,z)`, section 3. The list is [`AnswerEstimator::ALL`].

use crate::bounds::BoundKind;
use crate::error::{Error, Result};
use crate::names::named;

pub mod accuracy;
pub mod geometric_likelihood;
pub mod likelihood;

pub use accuracy::AnswerAccuracy;

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

/// What is known about the answers of one trace. Each estimator reads one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AnswerEvidence {
    /// Verdicts over sampled answers.
    pub accuracy: Option<AnswerAccuracy>,
    /// Log-probs of the reference answer.
    pub reference: Option<AnswerScore>,
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

    /// Whether L^K of this estimate is a bound on `log P(Y_x|x)`, as far as the answer goes: accuracy is
    /// unbiased, the likelihood of one correct answer is at most that of all.
    #[must_use]
    pub const fn bound_kind(&self) -> BoundKind {
        match self {
            Self::Accuracy | Self::Likelihood => BoundKind::Bound,
            Self::GeometricLikelihood => BoundKind::Surrogate,
        }
    }
}

/// Theorem 1: in the worst case over pi at `pi(Y_x|x,z) = probability` > 0, one sampled verdict varies no
/// more than the likelihood, iff `probability ≥ 1/|Y_x|`.
#[must_use]
pub fn accuracy_varies_less(probability: f64, correct_answers: usize) -> bool {
    probability >= 1.0 / correct_answers as f64
}
