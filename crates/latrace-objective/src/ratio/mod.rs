//! Estimators of the likelihood ratio `pi(z|x) / q(z|x,y')`, section 3. The list is [`RatioEstimator::ALL`].

use crate::TraceScore;
use crate::names::named;

pub use kernel::Kernel;

pub mod clipped;
pub mod full;
pub mod geometric;
pub mod kernel;

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
    /// A kernel on the geometric ratio: see [`kernel`].
    Kernel(Kernel),
}

named!(RatioEstimator, "ratio estimator", {
    Geometric = "geometric",
    Full = "full",
    Clipped(clipped::DEFAULT_BOUND) = "clipped",
    Kernel(Kernel::DEFAULT) = "kernel",
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

    /// The same estimator, with this kernel if it has one.
    #[must_use]
    pub const fn with_kernel(self, kernel: Kernel) -> Self {
        match self {
            Self::Kernel(_) => Self::Kernel(kernel),
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
            Self::Kernel(kernel) => kernel::log_ratio(score, kernel),
        }
    }

    /// Whether the ratio of a trace is at its bound, and no longer says how well pi explains it.
    #[must_use]
    pub fn clips(&self, score: &TraceScore) -> bool {
        matches!(self, Self::Clipped(_)) && self.log_ratio(score) != geometric::log_ratio(score)
    }
}
