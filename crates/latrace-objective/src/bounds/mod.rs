//! Bounds on `log P(Y_x|x)`, section 2: [`elbo()`], [`iwae_bounds`] for every K, their mean over all questions
//! ([`BoundMean`]), and the surrogates that look like bounds and are not ([`BoundSummary`]).
//!
//! L^K is a bound where traces are drawn from q itself, ratios are [full](crate::ratio::full), and the answer
//! probability is [never zero](crate::answer::reference_and_rest) and at most pi(Y_x|x,z) in expectation. The
//! geometric and the clipped ratio are not importance weights. Accuracy is zero whenever none of n answers is
//! correct: L^K is then minus infinity for some questions, and a mean over the others is over questions that
//! the samples chose.

pub mod elbo;
pub mod iwae;
pub mod mean;
pub mod monte_carlo_error;
pub mod subsets;
pub mod summary;
pub mod surrogate;

pub use elbo::{Elbo, elbo};
pub use iwae::{IwaePoint, gap, iwae_bounds};
pub use mean::BoundMean;
pub use subsets::{SubsetAverage, SubsetPlan};
pub use summary::BoundSummary;
pub use surrogate::surrogate_bias;
