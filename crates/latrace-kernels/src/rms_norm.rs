//! Root-mean-square normalisation (Zhang and Sennrich, 2019): y = x / sqrt(mean(x²) + ε) · w, per row.

use crate::parallel::{Shared, for_each, for_each_column_block, rows_per_task};
use crate::simd::{dispatched, dot};

/// # Shapes
/// `y`, `x`: rows×d; `w`: d; `inverse_rms`: rows, kept for the backward pass.
pub(crate) fn rms_norm(y: &mut [f32], inverse_rms: &mut [f32], x: &[f32], w: &[f32], epsilon: f32) {
    let (d, rows) = (w.len(), x.len() / w.len());
    let step = rows_per_task(d);
    let (y, inverse_rms) = (Shared::new(y), Shared::new(inverse_rms));
    for_each(rows.div_ceil(step), |task| {
        let first = task * step;
        let count = step.min(rows - first);
        // SAFETY: one block of rows per task.
        let (y, inverse_rms) = unsafe { (y.part(first * d, count * d), inverse_rms.part(first, count)) };
        forward_rows(y, inverse_rms, &x[first * d..][..count * d], w, epsilon);
    });
}

dispatched! {
    fn forward_rows(y: &mut [f32], inverse_rms: &mut [f32], x: &[f32], w: &[f32], epsilon: f32) {
        let d = w.len();
        for ((y, x), inverse) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(inverse_rms) {
            *inverse = 1.0 / (dot(x, x) / d as f32 + epsilon).sqrt();
            for i in 0..d {
                // In this order in every pass: another association would round differently.
                y[i] = x[i] * *inverse * w[i];
            }
        }
    }
}

/// With n = x·inverse_rms: dx += (dy·w − n·mean(dy·w·n))·inverse_rms; dw += Σ_rows dy·n, unless it is frozen.
///
/// # Shapes
/// `dx`, `dy`, `x`: rows×d; `dw`, `w`: d; `inverse_rms`: rows.
pub(crate) fn rms_norm_backward(
    dx: &mut [f32],
    dw: Option<&mut [f32]>,
    dy: &[f32],
    x: &[f32],
    w: &[f32],
    inverse_rms: &[f32],
) {
    let (d, rows) = (w.len(), x.len() / w.len());
    let step = rows_per_task(d);
    let shared = Shared::new(dx);
    for_each(rows.div_ceil(step), |task| {
        let first = task * step;
        let count = step.min(rows - first);
        // SAFETY: one block of rows per task.
        let dx = unsafe { shared.part(first * d, count * d) };
        let rows = first * d..(first + count) * d;
        backward_rows(dx, &dy[rows.clone()], &x[rows], w, &inverse_rms[first..first + count]);
    });
    let Some(dw) = dw else { return };
    // Summed over rows by tasks of columns, each in the order of rows.
    let shared = Shared::new(dw);
    for_each_column_block(d, |first, count| {
        // SAFETY: one block of columns per task.
        let dw = unsafe { shared.part(first, count) };
        weight_columns(dw, dy, x, inverse_rms, first, d);
    });
}

dispatched! {
    fn backward_rows(dx: &mut [f32], dy: &[f32], x: &[f32], w: &[f32], inverse_rms: &[f32]) {
        let d = w.len();
        for (((dx, dy), x), &inverse) in dx.chunks_exact_mut(d).zip(dy.chunks_exact(d)).zip(x.chunks_exact(d)).zip(inverse_rms) {
            // Partial sums as in `dot`, so that all instruction sets add in the same order.
            let mut lanes = [0.0_f32; crate::simd::LANES];
            for (i, value) in dy.iter().enumerate() {
                let lane = &mut lanes[i % crate::simd::LANES];
                *lane = (value * w[i]).mul_add(x[i], *lane);
            }
            let mean = crate::simd::sum_lanes(lanes) * inverse / d as f32;
            for i in 0..d {
                dx[i] += inverse * (dy[i] * w[i] - x[i] * inverse * mean);
            }
        }
    }
}

dispatched! {
    fn weight_columns(dw: &mut [f32], dy: &[f32], x: &[f32], inverse_rms: &[f32], first: usize, d: usize) {
        let count = dw.len();
        for (row, &inverse) in inverse_rms.iter().enumerate() {
            let at = row * d + first;
            let (dy, x) = (&dy[at..][..count], &x[at..][..count]);
            for i in 0..count {
                dw[i] = (dy[i] * inverse).mul_add(x[i], dw[i]);
            }
        }
    }
}

/// The definition.
pub fn rms_norm_reference(x: &[f64], w: &[f64], epsilon: f64) -> Vec<f64> {
    let d = w.len();
    let row = |x: &[f64]| {
        let rms = (x.iter().map(|v| v * v).sum::<f64>() / d as f64 + epsilon).sqrt();
        x.iter().zip(w).map(|(v, w)| v / rms * w).collect::<Vec<_>>()
    };
    x.chunks_exact(d).flat_map(row).collect()
}

/// Gradients (dx, dw) of the definition.
pub fn rms_norm_backward_reference(dy: &[f64], x: &[f64], w: &[f64], epsilon: f64) -> (Vec<f64>, Vec<f64>) {
    let d = w.len();
    let (mut dx, mut dw) = (Vec::new(), vec![0.0; d]);
    for (dy, x) in dy.chunks_exact(d).zip(x.chunks_exact(d)) {
        let rms = (x.iter().map(|v| v * v).sum::<f64>() / d as f64 + epsilon).sqrt();
        let mean = (0..d).map(|i| dy[i] * w[i] * x[i] / rms).sum::<f64>() / d as f64;
        for i in 0..d {
            dx.push((dy[i] * w[i] - x[i] / rms * mean) / rms);
            dw[i] += dy[i] * x[i] / rms;
        }
    }
    (dx, dw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn reference_gradient_is_the_derivative() {
        let (x, w, dy) = (wide(&values(15, 1)), wide(&values(5, 2)), wide(&values(15, 3)));
        let (dx, dw) = rms_norm_backward_reference(&dy, &x, &w, 1e-3);
        derivative("dx", &x, &dx, |x| inner(&rms_norm_reference(x, &w, 1e-3), &dy));
        derivative("dw", &w, &dw, |w| inner(&rms_norm_reference(&x, w, 1e-3), &dy));
    }

    #[test]
    fn follows_the_reference() {
        for (rows, d) in [(1, 1), (7, 12), (300, 130)] {
            let (x, w, dy) = (values(rows * d, 1), values(d, 2), values(rows * d, 3));
            let (mut y, mut inverse, mut dx, mut dw) =
                (vec![9.0; rows * d], vec![9.0; rows], vec![1.0; rows * d], vec![1.0; d]);
            rms_norm(&mut y, &mut inverse, &x, &w, 1e-6);
            rms_norm_backward(&mut dx, Some(&mut dw), &dy, &x, &w, &inverse);
            let (mut expected_dx, mut expected_dw) =
                rms_norm_backward_reference(&wide(&dy), &wide(&x), &wide(&w), 1e-6);
            close("y", &y, &rms_norm_reference(&wide(&x), &wide(&w), 1e-6));
            expected_dx.iter_mut().chain(&mut expected_dw).for_each(|v| *v += 1.0);
            close("dx", &dx, &expected_dx);
            close("dw", &dw, &expected_dw);
        }
    }
}
