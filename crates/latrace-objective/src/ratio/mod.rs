//! Estimators of the likelihood ratio `pi(z|x) / q(z|x,y')`, section 3. The list is [`RatioEstimator::ALL`].

use crate::TraceScore;
use crate::names::named;

pub mod clipped;
pub mod full;
pub mod geometric;

/// Which likelihood ratio enters rho.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum RatioEstimator {
    /// `(pi/q)^(1/|z|)`: see [`geometric`].
    #[default]
    Geometric,
    /// `pi/q`: see [`full`].
    Full,
    /// Geometric, held within ± this many nats per token: see [`clipped`].
    Clipped(f64),
}

named!(RatioEstimator, "ratio estimator", {
    Geometric = "geometric",
    Full = "full",
    Clipped(clipped::DEFAULT_BOUND) = "clipped",
});

impl RatioEstimator {
    /// The same estimator, its bound (if it has one) set to `bound` nats per token, ≥ 0.
    #[must_use]
    pub const fn with_bound(self, bound: f64) -> Self {
        match self {
            Self::Clipped(_) => Self::Clipped(bound),
            other => other,
        }
    }

    /// Log of the estimated ratio, nats (per token for geometric and clipped, per trace for full).
    ///
    /// # Shapes
    /// Scalar per trace. `-inf` only where pi gives the trace probability zero.
    #[must_use]
    pub fn log_ratio(&self, score: &TraceScore) -> f64 {
        match *self {
            Self::Geometric => geometric::log_ratio(score),
            Self::Full => full::log_ratio(score),
            Self::Clipped(bound) => clipped::log_ratio(score, bound),
        }
    }

    /// Whether the ratio of a trace is at its bound, and no longer says how well pi explains it.
    #[must_use]
    pub fn clips(&self, score: &TraceScore) -> bool {
        matches!(self, Self::Clipped(_)) && self.log_ratio(score) != geometric::log_ratio(score)
    }
}
