//! theta-gradient of L^K — (6): `Σ_k rho~_k ∇ [log pi(z_k|x) + log pi(Y_x|x,z_k)]`, z_k ~ q.
//!
//! `∇ log pi(Y_x|x,z)` is the mean of `∇ log pi(y|x,z)` over the correct ones of the same n sampled answers.
//! It is unbiased given that one of the n is correct; a trace with none has accuracy 0 and drops out.
//! Assumption: log-ratios and answer probabilities by any estimator; (8) by default. With another
//! [`Weighting`] it is one of the ablations. With GML, give the reference answer as the one correct answer of
//! each trace. Weight per question: 1, for every accuracy above 0. Limit case: K = 1 is the theta-gradient of
//! the ELBO (2).
//!
//! A data set need not hold every trace: [`chosen_weights`] is (6) after [`crate::selection`], and
//! [`weights`] is its case in which each trace keeps its rho~ and all its correct answers.

use super::group::outcome_of;
use super::{Group, SequenceWeights};
use crate::error::{Result, check_domain, same_length};
use crate::{AnswerChoice, Rng, Weighting};

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
    let spread = with_all_correct_answers(group, &weight_k)?;
    Ok(SequenceWeights { outcome: summary.outcome, ..spread })
}

/// Weights on the chosen traces, each shared out among its answers by `answers`.
///
/// A trace without a correct answer keeps its weight and has no answer term, so its answers' weights sum to
/// less than its own.
///
/// # Shapes
/// Reads verdicts over (k, m). `chosen_k`: each trace's share of the question after selection, K finite
/// numbers, 0 where it was not picked ([`crate::Pick::weight`]; rho~ itself for `weighted`). `rng_of_trace`:
/// the stream of trace k, opened by [`AnswerChoice::One`] alone: a draw must not depend on which other traces
/// the group holds.
///
/// # Errors
/// Verdicts are missing, a length other than K, a share that is not finite.
pub fn chosen_weights(
    group: &Group<'_>,
    chosen_k: &[f64],
    answers: AnswerChoice,
    rng_of_trace: impl Fn(usize) -> Rng,
) -> Result<SequenceWeights> {
    let operation = "multi-trace";
    let verdict_km = group.verdicts(operation)?;
    same_length(operation, group.traces(), chosen_k.len())?;
    check_domain(operation, "a finite share", chosen_k, f64::is_finite)?;
    let mut answer_km = Vec::with_capacity(verdict_km.len());
    let mut without_answer = 0;
    for (k, &chosen) in chosen_k.iter().enumerate() {
        let verdict_m = group.verdict_m(k);
        let has_correct = verdict_m.iter().any(|verdict| verdict.is_correct());
        without_answer += usize::from(chosen != 0.0 && !has_correct);
        let share_m = answers.shares(verdict_m, || rng_of_trace(k));
        answer_km.extend(share_m.into_iter().map(|share| share * chosen));
    }
    let outcome = outcome_of(chosen_k, group.traces());
    Ok(SequenceWeights { trace_k: chosen_k.to_vec(), answer_km, outcome, without_answer })
}

/// Each trace's weight spread over its correct answers: the answer gradient of section 3.
pub(super) fn with_all_correct_answers(group: &Group<'_>, weight_k: &[f64]) -> Result<SequenceWeights> {
    // `All` draws nothing, so the stream is never opened.
    chosen_weights(group, weight_k, AnswerChoice::All, |_| Rng::new(0))
}

/// Weight per question at an accuracy: 1; 0 where nothing is ever correct.
#[must_use]
pub fn question_weight(accuracy: f64) -> f64 {
    super::one_unless_never_correct(accuracy)
}
