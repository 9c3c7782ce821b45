//! Reference likelihood and sampled rest `pi(y*|x,z) + (1/n) Σ_m 1(y_m in Y_x, y_m ≠ y*)`, y_m ~ pi(.|x,z):
//! the answer probability of a bound (docs/bounds.md).
//!
//! `pi(Y_x|x,z) = pi(y*|x,z) + pi(Y_x without y*|x,z)`: the first term is computed, the second estimated, so
//! that the sum is unbiased and never zero. Assumption: y* is in Y_x, and the answers are drawn from pi
//! itself. It is low, and still bounds, where the rest is left out. It may exceed 1. Limit case: Y_x = {y*}
//! is `likelihood`.

use crate::error::{Error, Result};
use crate::log_space::log_sum_exp;
use crate::{AnswerScore, Verdict};

/// An answer sampled after a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JudgedAnswer {
    /// Whether it is in Y_x.
    pub verdict: Verdict,
    /// Whether it is y*, whose probability is computed.
    pub is_reference: bool,
}

/// Counts over the answers sampled for one trace, of which those equal to y* count as none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampledRest {
    /// Answers in Y_x other than y*.
    pub correct: usize,
    /// All answers, n.
    pub sampled: usize,
}

impl SampledRest {
    /// Counts answers.
    ///
    /// # Shapes
    /// `answer_m`: n ≥ 1 answers.
    ///
    /// # Errors
    /// No answer.
    pub fn from_answers(answer_m: &[JudgedAnswer]) -> Result<Self> {
        if answer_m.is_empty() {
            return Err(Error::Empty { operation: "SampledRest::from_answers", noun: "answer" });
        }
        let is_other = |answer: &&JudgedAnswer| answer.verdict.is_correct() && !answer.is_reference;
        Ok(Self { correct: answer_m.iter().filter(is_other).count(), sampled: answer_m.len() })
    }

    /// Estimate of `pi(Y_x without y*|x,z)`, in [0, 1].
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.correct as f64 / self.sampled as f64
    }
}

/// Log of the estimate, nats per answer; without `rest`, of its lower bound `pi(y*|x,z)`.
///
/// # Shapes
/// Scalar per trace; `reference` holds sums over t.
#[must_use]
pub fn log_probability(reference: &AnswerScore, rest: Option<&SampledRest>) -> f64 {
    let rest = rest.map_or(0.0, SampledRest::probability);
    log_sum_exp(&[reference.logp_sum, rest.ln()])
}
