//! Self-distillation under the hint (OPSD, arXiv 2601.18734; π-Distill, 2602.04942): the student's own samples z ~
//! pi(z|x), each token with the advantage `A_t = log q(z_t|x,y',z_<t) − log pi(z_t|x,z_<t)`.
//!
//! `E Σ_t A_t ∇ log pi(z_t|x,z_<t)` is `−∇ Σ_t E_{z_<t} KL(pi(.|x,z_<t) || q(.|x,y',z_<t))` with the prefixes held
//! fixed: immediate rewards alone. What a token does to later ones is left out, which the gradient of the KL of whole
//! traces has in it. Assumption: z is sampled from pi at temperature 1. Needs no answer, verdict or ratio. Limit case:
//! q = pi, where every advantage is 0.
//!
//! With a contrast (RLCSD, arXiv 2606.11709) the gap under another question's hint is subtracted, and log pi cancels:
//! `A_t = log q(z_t|x,y',z_<t) − log q(z_t|x,y'',z_<t)`, the gradient of that reward's expectation at each prefix. What
//! q does to every trace, such as its style, counts no longer; nor does anything hold pi near q.
//!
//! Unlike the other objectives, it weighs tokens, not sequences, and so is not in [`super::Objective::ALL`].

use crate::error::{Error, Result, same_length};

/// The advantages of a trace's tokens: `baseline_t` is log pi, or log q under another question's hint.
///
/// # Shapes
/// `teacher_t`, `baseline_t`: T log-probs of the same tokens, nats per token. Returns T.
///
/// # Errors
/// Different lengths, or a log-prob that is not finite.
pub fn advantages<T: Copy + Into<f64>>(teacher_t: &[T], baseline_t: &[T]) -> Result<Vec<f64>> {
    let operation = "self-distillation";
    same_length(operation, teacher_t.len(), baseline_t.len())?;
    let gap_t: Vec<f64> = teacher_t
        .iter()
        .zip(baseline_t)
        .map(|(&teacher, &baseline)| teacher.into() - baseline.into())
        .collect();
    match gap_t.iter().position(|gap| !gap.is_finite()) {
        None => Ok(gap_t),
        Some(index) => {
            Err(Error::Domain { operation, expected: "a finite gap of log-probs", got: gap_t[index], index })
        }
    }
}
