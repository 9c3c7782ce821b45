//! The mathematics of variational reasoning (Zhou et al., arXiv 2509.22637 v2): estimators of rho, bounds on
//! `log P(Y_x|x)`, objectives as weights, selection and diagnostics.
//!
//! Pure f64 functions of log-probs and verdicts. This crate never sees a model, the text of a token, a
//! device, a file or a clock; every draw takes a seed. Equation numbers are the paper's. Reading order is the
//! order of a run:
//!
//! 1. [`TraceScore`], [`AnswerScore`], [`Verdict`]: what sampling, scoring and verifying leave per trace;
//! 2. [`ratio`] × [`answer`] = rho, normalised in [`weights`] (or by an ablation, [`weighting`]);
//! 3. [`bounds`]: ELBO and L^K;
//! 4. [`objectives`]: one weight per trace and per answer, for each method of section 6;
//! 5. [`selection`], [`fallback`], [`answer_choice`]: from weights to rows of a data set;
//! 6. [`diagnostics`].
//!
//! Axes in names: q question, k trace, m answer, t token. A zero weight is `-inf` in log space.
//!
//! ```
//! use latrace_objective::Verdict::{Correct, Malformed, Wrong};
//! use latrace_objective::{AnswerAccuracy, RatioEstimator, TraceScore, weights};
//!
//! // Two traces of three and two tokens, four sampled answers each.
//! let score_k = [
//!     TraceScore::from_tokens(&[-0.1, -0.4, -0.2], &[-0.2, -0.3, -0.3])?,
//!     TraceScore::from_tokens(&[-1.0, -0.8], &[-0.5, -0.4])?,
//! ];
//! let accuracy_k = [
//!     AnswerAccuracy::from_verdicts(&[Correct, Wrong, Correct, Correct])?,
//!     AnswerAccuracy::from_verdicts(&[Wrong, Wrong, Correct, Malformed])?,
//! ];
//! let log_rho = |k: usize| {
//!     let log_ratio = RatioEstimator::Geometric.log_ratio(&score_k[k]);
//!     weights::log_rho(log_ratio, accuracy_k[k].log_probability())
//! };
//! let (rho_tilde, summary) = weights::normalise(&[log_rho(0), log_rho(1)])?;
//! assert!(rho_tilde[0] > 0.8 && summary.effective_sample_size < 2.0);
//! # Ok::<(), latrace_objective::Error>(())
//! ```

pub mod answer;
pub mod answer_choice;
pub mod bounds;
pub mod diagnostics;
mod error;
pub mod fallback;
pub mod log_space;
mod mixture;
mod names;
pub mod objectives;
mod provenance;
pub mod ratio;
pub mod rng;
mod score;
pub mod selection;
pub mod statistics;
mod verdict;
pub mod weighting;
pub mod weights;

pub use answer::{AnswerAccuracy, AnswerEstimator, AnswerEvidence, JudgedAnswer, SampledRest};
pub use answer_choice::AnswerChoice;
pub use bounds::{BoundMean, SubsetPlan};
pub use error::{Error, Result};
pub use fallback::{Fallback, Resolution};
pub use objectives::{Group, Objective, SequenceWeights};
pub use provenance::Provenance;
pub use ratio::RatioEstimator;
pub use rng::Rng;
pub use score::{AnswerScore, TraceScore};
pub use selection::{Pick, Selection};
pub use verdict::Verdict;
pub use weighting::Weighting;
pub use weights::{GroupOutcome, GroupSummary};
