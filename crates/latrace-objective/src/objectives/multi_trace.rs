//! theta-gradient of L^K — (6): `Σ_k rho~_k ∇ [log pi(z_k|x) + log pi(Y_x|x,z_k)]`, z_k ~ q.
//!
//! `∇ log pi(Y_x|x,z)` is the mean of `∇ log pi(y|x,z)` over the correct ones of the same n sampled answers.
//! It is unbiased given that one of the n is correct; a trace with none has accuracy 0 and drops out.
//! Assumption: log-ratios and answer probabilities by any estimator; (8) by default. With another
//! [`Weighting`] it is one of the ablations. With GML, give the reference answer as the one correct answer of
//! each trace. Weight per question: 1, for every accuracy above 0. Limit case: K = 1 is the theta-gradient of
//! the ELBO (2).

use super::{Group, SequenceWeights};
use crate::Weighting;
use crate::error::Result;

/// Weights on traces and correct answers.
///
/// # Shapes
/// Reads log-ratios and log answer probabilities over k (nats), verdicts over (k, m).
///
/// # Errors
/// One of them is missing.
pub fn weights(group: &Group<'_>, weighting: Weighting) -> Result<SequenceWeights> {
    let operation = "multi-trace";
    group.verdicts(operation)?;
    let (weight_k, summary) = weighting.weights(group.log_ratio(operation)?, group.log_answer(operation)?)?;
    Ok(SequenceWeights::with_correct_answers(weight_k, group, summary.outcome))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
