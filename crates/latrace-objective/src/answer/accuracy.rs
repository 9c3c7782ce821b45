//! Accuracy ("Acc") `(1/n) Σ_m 1(y_m in Y_x)`, y_m ~ pi(.|x,z) — second factor of (8), the default, n = 8.
//!
//! Assumption: a verifier exists. Unbiased; its variance is `p(1−p)/n` whatever pi does within Y_x (Theorem
//! 1, (7)). Limit case: n → ∞ gives pi(Y_x|x,z). An estimate of 0 of n is a zero weight, not proof of p = 0:
//! see [`AnswerAccuracy::wilson`]. differs in: answers the verifier could not judge are counted apart, and,
//! as in the release, as not correct.

use crate::Verdict;
use crate::error::{Error, Result};

/// Counts of verdicts over the answers sampled for one trace (or for one question). The accuracy of a model
/// over questions is [`crate::statistics::Accuracy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerAccuracy {
    /// Answers in Y_x.
    pub correct: usize,
    /// Answers the verifier could not judge; included in `sampled`.
    pub undetermined: usize,
    /// All answers, n.
    pub sampled: usize,
}

impl AnswerAccuracy {
    /// Counts verdicts.
    ///
    /// # Shapes
    /// `verdict_m`: n ≥ 1 verdicts.
    ///
    /// # Errors
    /// No verdict.
    pub fn from_verdicts(verdict_m: &[Verdict]) -> Result<Self> {
        if verdict_m.is_empty() {
            return Err(Error::Empty { operation: "AnswerAccuracy::from_verdicts", noun: "answer" });
        }
        Ok(Self {
            correct: count(verdict_m, Verdict::Correct),
            undetermined: count(verdict_m, Verdict::Undetermined),
            sampled: verdict_m.len(),
        })
    }

    /// Estimate of `pi(Y_x|x,z)`, in [0, 1].
    #[must_use]
    pub fn probability(&self) -> f64 {
        self.correct as f64 / self.sampled as f64
    }

    /// Log of the estimate, nats; `-inf` for none correct.
    #[must_use]
    pub fn log_probability(&self) -> f64 {
        self.probability().ln()
    }

    /// Estimated variance of the estimate: `p(1−p)/n` at the estimate itself, so 0 at 0 of n and n of n.
    #[must_use]
    pub fn variance(&self) -> f64 {
        variance(self.probability()) / self.sampled as f64
    }

    /// Wilson score interval (1927) at `z` standard normal deviations (1.96 for 95 %), within [0, 1].
    ///
    /// Limit case: 0 of n gives (0, z²/(n+z²)), which is 0.32 for n = 8 at 95 %.
    #[must_use]
    pub fn wilson(&self, z: f64) -> (f64, f64) {
        let (p, n) = (self.probability(), self.sampled as f64);
        // The normal interval around p would have no width at 0 of n; Wilson's inverts the score test instead.
        let shrink = 1.0 + z * z / n;
        let centre = (p + z * z / (2.0 * n)) / shrink;
        let half = z / shrink * (variance(p) / n + z * z / (4.0 * n * n)).sqrt();
        // Both ends are exact at 0 of n and n of n, where rounding would leave 1e-17 instead of 0.
        let low = if self.correct == 0 { 0.0 } else { (centre - half).max(0.0) };
        let high = if self.correct == self.sampled { 1.0 } else { (centre + half).min(1.0) };
        (low, high)
    }
}

fn count(verdict_m: &[Verdict], wanted: Verdict) -> usize {
    verdict_m.iter().filter(|&&verdict| verdict == wanted).count()
}

/// Variance of one indicator of probability `accuracy`: `p(1−p)`, right-hand side of (7) for this estimator.
#[must_use]
pub fn variance(accuracy: f64) -> f64 {
    accuracy * (1.0 - accuracy)
}
