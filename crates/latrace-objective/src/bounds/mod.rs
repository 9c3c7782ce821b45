//! Bounds on `log P(Y_x|x)`, section 2: [`elbo()`], [`iwae_bounds`] for every K, their mean over questions,
//! and the surrogates that look like bounds and are not.

pub mod elbo;
pub mod iwae;
pub mod monte_carlo_error;
pub mod subsets;
pub mod summary;
pub mod surrogate;

use crate::names::named;
use crate::{AnswerEstimator, RatioEstimator};

pub use elbo::{Elbo, elbo};
pub use iwae::{IwaePoint, gap, iwae_bounds};
pub use subsets::{SubsetAverage, SubsetPlan};
pub use summary::BoundSummary;
pub use surrogate::surrogate_bias;

/// What `L^K` of a choice of ratio and answer estimate is. Reports print this word beside the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundKind {
    /// At most `log P(Y_x|x)` in expectation.
    Bound,
    /// Bounds nothing: length-normalised or clipped ratios are not importance weights, nor is a mean per
    /// token a probability.
    Surrogate,
}

named!(BoundKind, "kind of bound", {
    Bound = "bound",
    Surrogate = "surrogate",
});

impl BoundKind {
    /// What L^K of a ratio and an answer estimate is: a bound only where both allow one.
    #[must_use]
    pub const fn of(ratio: &RatioEstimator, answer: &AnswerEstimator) -> Self {
        match (ratio.bound_kind(), answer.bound_kind()) {
            // Jensen needs E[rho] <= P(Y_x|x), so neither factor may be biased upwards.
            (Self::Bound, Self::Bound) => Self::Bound,
            _ => Self::Surrogate,
        }
    }
}
