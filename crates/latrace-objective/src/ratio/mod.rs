//! Estimators of the likelihood ratio `pi(z|x) / q(z|x,y')`, section 3. The list is [`RatioEstimator::ALL`].

use crate::TraceScore;
use crate::bounds::BoundKind;
use crate::error::{Result, unknown_name};

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

impl RatioEstimator {
    /// Every estimator, those with a parameter at its default.
    pub const ALL: [Self; 3] = [Self::Geometric, Self::Full, Self::Clipped(0.2)];

    /// The name in recipes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Geometric => "geometric",
            Self::Full => "full",
            Self::Clipped(_) => "clipped",
        }
    }

    /// The estimator of a name.
    ///
    /// # Errors
    /// Unknown names, with the list of those there are.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|estimator| estimator.name() == name);
        found.ok_or_else(|| unknown_name("ratio estimator", name, Self::ALL.iter().map(Self::name)))
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

    /// Whether L^K of this ratio is a bound on `log P(Y_x|x)`.
    #[must_use]
    pub const fn bound_kind(&self) -> BoundKind {
        match self {
            Self::Full => BoundKind::Bound,
            Self::Geometric | Self::Clipped(_) => BoundKind::Surrogate,
        }
    }
}
