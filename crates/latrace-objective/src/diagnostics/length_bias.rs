//! Length bias — Figure 4: length against summed log-scores, and against their means per token.
//!
//! Assumption: a strong correlation under the sum that fades under the mean is what the geometric estimators
//! are for. Limit case: traces of one length have no ranks, and no correlation (`None`).

use super::rank_correlation::rank_correlation;
use crate::error::Result;
use crate::{AnswerScore, TraceScore};

/// Rank correlations of length in tokens, in [−1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LengthBias {
    /// With the log-score summed over tokens (`full` ratio, `likelihood`).
    pub summed: Option<f64>,
    /// With its mean per token (`geometric`, `geometric-likelihood`).
    pub mean: Option<f64>,
}

/// Trace length against `log pi/q`.
///
/// # Shapes
/// `score_k`: traces of any number of questions.
///
/// # Errors
/// NaN among the scores.
pub fn trace_length_bias(score_k: &[TraceScore]) -> Result<LengthBias> {
    length_bias(score_k.iter().map(|score| (score.tokens, score.log_ratio_sum())))
}

/// Answer length against `log pi(y|x,z)`.
///
/// # Shapes
/// `score_k`: answers of any number of questions.
///
/// # Errors
/// NaN among the scores.
pub fn answer_length_bias(score_k: &[AnswerScore]) -> Result<LengthBias> {
    length_bias(score_k.iter().map(|score| (score.tokens, score.logp_sum)))
}

fn length_bias(tokens_and_sum: impl Iterator<Item = (usize, f64)>) -> Result<LengthBias> {
    let (tokens, summed): (Vec<f64>, Vec<f64>) =
        tokens_and_sum.map(|(tokens, sum)| (tokens as f64, sum)).unzip();
    let mean: Vec<f64> = summed.iter().zip(&tokens).map(|(sum, tokens)| sum / tokens).collect();
    Ok(LengthBias { summed: rank_correlation(&tokens, &summed)?, mean: rank_correlation(&tokens, &mean)? })
}
