//! What to look at before trusting a run's weights.

pub mod diversity;
pub mod easy_bias;
pub mod length_bias;
pub mod rank_correlation;

pub use diversity::{distinct_n, mean_pairwise_overlap};
pub use easy_bias::{GradientShare, gradient_share, weight_curve};
pub use length_bias::{LengthBias, answer_length_bias, trace_length_bias};
pub use rank_correlation::rank_correlation;
