//! The fused head: hidden states × vocabulary → the log-prob of each row's target, and the loss's gradient,
//! with never more than a chunk of logits in memory.

use crate::buffer::Buffer;
use crate::compute::Compute;
use crate::device::TokenLoss;
use crate::element::Element;
use crate::gemm::{Matrix, MatrixProduct, Start, Sum};
use crate::log_sum_exp::log_sum_exp;
use crate::parallel::{Shared, for_each};
use crate::simd::{dispatched, exp, exp_sum, max};

/// Values of the chunk of logits: 128 MiB. A row's result does not depend on how many rows share a chunk; in
/// bf16, the gradient of the weights does.
pub const LOGITS_CHUNK: usize = 1 << 25;

/// Rows at a time for a vocabulary, within [`LOGITS_CHUNK`].
pub(crate) fn chunk_rows(vocabulary: usize) -> usize {
    // Beyond 1,024 rows the product gains nothing.
    (LOGITS_CHUNK / vocabulary).clamp(1, 1024)
}

/// log p(target) in nats of each row.
///
/// # Shapes
/// `logp`, `targets`: rows; `hidden`: rows×d; `w`: vocabulary×d; `logits`: scratch of chunk_rows ×
/// vocabulary.
pub(crate) fn head_logp<T: Element>(
    compute: Compute,
    logp: &mut [f32],
    hidden: &[f32],
    w: &[T],
    targets: &[u32],
    d: usize,
    logits: &mut Buffer,
) {
    for_each_chunk(compute, logp, hidden, w, targets, d, logits, |_, _, _| {});
}

/// Log-probs, and the gradient of `loss` with respect to `hidden` (written) and, unless it is frozen, `w` (added).
///
/// # Shapes
/// As [`head_logp`]; `dhidden` as `hidden`, `dw` as `w`.
pub(crate) fn head_backward<T: Element>(
    compute: Compute,
    logp: &mut [f32],
    dhidden: &mut [f32],
    mut dw: Option<&mut [f32]>,
    hidden: &[f32],
    w: &[T],
    targets: &[u32],
    loss: TokenLoss<'_>,
    d: usize,
    logits: &mut Buffer,
) {
    let vocabulary = w.len() / d;
    for_each_chunk(compute, logp, hidden, w, targets, d, logits, |first, logp, logits| {
        let rows = logp.len();
        for_each_row(logits, vocabulary, |row, logits| {
            logit_gradient(logits, targets[first + row] as usize, loss.derivative(first + row, logp[row]));
        });
        let (hidden, dhidden) = (&hidden[first * d..][..rows * d], &mut dhidden[first * d..][..rows * d]);
        compute.product(Sum::Blocks).product(
            dhidden,
            d,
            rows,
            d,
            vocabulary,
            Matrix::new(logits, vocabulary),
            Matrix::new(w, d),
            Start::Zero,
        );
        let Some(dw) = dw.as_deref_mut() else { return };
        compute.product(Sum::Chain).product(
            dw,
            d,
            vocabulary,
            d,
            rows,
            Matrix::transposed(logits, vocabulary),
            Matrix::new(hidden, d),
            Start::Accumulate,
        );
    });
}

/// Calls `body(first row, log-probs, logits less their log-sum)` chunk by chunk.
fn for_each_chunk<T: Element>(
    compute: Compute,
    logp: &mut [f32],
    hidden: &[f32],
    w: &[T],
    targets: &[u32],
    d: usize,
    logits: &mut Buffer,
    mut body: impl FnMut(usize, &[f32], &mut [f32]),
) {
    let vocabulary = w.len() / d;
    let step = chunk_rows(vocabulary);
    for first in (0..targets.len()).step_by(step) {
        let rows = step.min(targets.len() - first);
        // Grown once: the first chunk is the largest.
        logits.reserve(rows * vocabulary);
        let logits = &mut logits[..rows * vocabulary];
        compute.product(Sum::Blocks).product(
            logits,
            vocabulary,
            rows,
            vocabulary,
            d,
            Matrix::new(&hidden[first * d..], d),
            Matrix::transposed(w, d),
            Start::Zero,
        );
        let logp = &mut logp[first..first + rows];
        let all_logp = Shared::new(logp);
        for_each_row(logits, vocabulary, |row, logits| {
            // SAFETY: one row per task.
            let logp = unsafe { all_logp.part(row, 1) };
            logp[0] = log_softmax(logits, targets[first + row] as usize);
        });
        body(first, logp, logits);
    }
}

/// Runs `task(row, its values)` on all rows, a task each.
fn for_each_row(matrix: &mut [f32], width: usize, task: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let (rows, shared) = (matrix.len() / width, Shared::new(matrix));
    // SAFETY: one row per task.
    for_each(rows, |row| task(row, unsafe { shared.part(row * width, width) }));
}

dispatched! {
    /// Replaces the logits by their exponentials over their sum, and returns log p of the target.
    fn log_softmax(logits: &mut [f32], target: usize) -> f32 {
        let top = max(logits);
        // Kept as a difference: the probability below may round to 0 or 1, and its logarithm with it.
        let chosen = logits[target] - top;
        let sum = exp_sum(logits, top);
        let inverse = 1.0 / sum;
        logits.iter_mut().for_each(|p| *p *= inverse);
        chosen - sum.ln()
    }
}

dispatched! {
    /// Probabilities → the gradient of the logits: dlogp · (1(target) − p).
    fn logit_gradient(p: &mut [f32], target: usize, dlogp: f32) {
        // In place: a gradient of its own would double the chunk.
        p.iter_mut().for_each(|p| *p *= -dlogp);
        p[target] += dlogp;
    }
}

impl TokenLoss<'_> {
    /// Derivative of the loss with respect to log p of row `row`'s token.
    #[inline]
    pub(crate) fn derivative(&self, row: usize, logp: f32) -> f32 {
        match *self {
            Self::NegativeLogLikelihood { weights } => -weights[row],
            Self::ClippedPolicyGradient { weights, advantages, old_logp, low, high } => {
                let (ratio, advantage) = (exp(logp - old_logp[row]), advantages[row]);
                // Where the clipped branch of the minimum is the smaller one, it is constant in log p.
                let clipped =
                    (advantage > 0.0 && ratio > 1.0 + high) || (advantage < 0.0 && ratio < 1.0 - low);
                if clipped { 0.0 } else { -weights[row] * advantage * ratio }
            }
        }
    }

    /// The loss of row `row`'s token.
    pub fn value(&self, row: usize, logp: f32) -> f64 {
        match *self {
            Self::NegativeLogLikelihood { weights } => -f64::from(weights[row]) * f64::from(logp),
            Self::ClippedPolicyGradient { weights, advantages, old_logp, low, high } => {
                let (ratio, advantage) = (f64::from(logp - old_logp[row]).exp(), f64::from(advantages[row]));
                let clipped = ratio.clamp(1.0 - f64::from(low), 1.0 + f64::from(high));
                -f64::from(weights[row]) * (ratio * advantage).min(clipped * advantage)
            }
        }
    }
}

/// The definition: log-probs, and gradients (dhidden, dw) of Σ dlogp·logp.
pub fn head_reference(
    hidden: &[f64],
    w: &[f64],
    targets: &[u32],
    dlogp: &[f64],
    d: usize,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut logp, mut dhidden, mut dw) = (Vec::new(), vec![0.0; hidden.len()], vec![0.0; w.len()]);
    for (row, (&target, scale)) in targets.iter().zip(dlogp).enumerate() {
        let h = &hidden[row * d..][..d];
        let logits: Vec<f64> = w.chunks_exact(d).map(|w| w.iter().zip(h).map(|(w, h)| w * h).sum()).collect();
        let log_sum = log_sum_exp(&logits);
        logp.push(logits[target as usize] - log_sum);
        for (v, logit) in logits.iter().enumerate() {
            let dlogit = scale * (f64::from(u8::from(v == target as usize)) - (logit - log_sum).exp());
            for c in 0..d {
                dhidden[row * d + c] += dlogit * w[v * d + c];
                dw[v * d + c] += dlogit * h[c];
            }
        }
    }
    (logp, dhidden, dw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn reference_gradient_is_the_derivative() {
        let (d, targets) = (3, [4, 0]);
        let (hidden, w, scale) = (wide(&values(6, 1)), wide(&values(15, 2)), [0.7, -0.4]);
        let (_, dhidden, dw) = head_reference(&hidden, &w, &targets, &scale, d);
        derivative("dhidden", &hidden, &dhidden, |h| {
            inner(&head_reference(h, &w, &targets, &scale, d).0, &scale)
        });
        derivative("dw", &w, &dw, |w| inner(&head_reference(&hidden, w, &targets, &scale, d).0, &scale));
    }

    #[test]
    fn follows_the_reference_across_chunks() {
        // More rows than a chunk holds, so that chunks meet.
        let (d, vocabulary, rows) = (4, 50, 1024 + 9);
        let (hidden, w) = (values(rows * d, 1), values(vocabulary * d, 2));
        let targets: Vec<u32> = (0..rows as u32).map(|i| i * 7 % 50).collect();
        let weights = values(rows, 3);
        let (mut logp, mut again) = (vec![0.0; rows], vec![0.0; rows]);
        let (mut dhidden, mut dw, mut logits) =
            (vec![9.0; rows * d], vec![0.0; vocabulary * d], Buffer::default());
        head_logp(Compute::F32, &mut logp, &hidden, &w, &targets, d, &mut logits);
        head_backward(
            Compute::F32,
            &mut again,
            &mut dhidden,
            Some(&mut dw),
            &hidden,
            &w,
            &targets,
            TokenLoss::NegativeLogLikelihood { weights: &weights },
            d,
            &mut logits,
        );
        let dlogp: Vec<f64> = wide(&weights).iter().map(|w| -w).collect();
        let expected = head_reference(&wide(&hidden), &wide(&w), &targets, &dlogp, d);
        assert_eq!(logp, again);
        close("logp", &logp, &expected.0);
        close("dhidden", &dhidden, &expected.1);
        close("dw", &dw, &expected.2);
    }

    #[test]
    fn policy_gradient_clips_and_its_derivative_is_the_derivative() {
        let cases = [(0.1, 1.0), (0.3, 1.0), (-0.1, -1.0), (-0.4, -1.0), (-0.4, 1.0), (0.3, -1.0)];
        for (difference, advantage) in cases {
            let loss = TokenLoss::ClippedPolicyGradient {
                weights: &[0.5],
                advantages: &[advantage],
                old_logp: &[-1.0],
                low: 0.2,
                high: 0.25,
            };
            let logp = -1.0 + difference;
            let step = 1e-3;
            let quotient =
                (loss.value(0, logp + step) - loss.value(0, logp - step)) / (2.0 * f64::from(step));
            // A step of 1e-3 in f32: rounding of 1e-7 / 1e-3.
            assert!(
                (quotient - f64::from(loss.derivative(0, logp))).abs() < 5e-4,
                "{difference} {advantage}"
            );
        }
        let clipped = TokenLoss::ClippedPolicyGradient {
            weights: &[1.0],
            advantages: &[1.0],
            old_logp: &[-1.0],
            low: 0.2,
            high: 0.25,
        };
        assert_eq!(clipped.derivative(0, -0.7), 0.0);
    }
}
