//! Rotary position embedding (Su et al., 2021), in the half-split layout of the Llama and Qwen families:
//! the pair (x_i, x_{i + half}) of a head turns by the angle position · frequency_i.

use crate::parallel::{Shared, for_each, rows_per_task};
use crate::simd::dispatched;

/// Which way to turn: the backward pass turns back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// By the angle.
    Forward,
    /// By minus the angle: the transpose, hence the gradient.
    Backward,
}

/// cos and sin tables of `positions` rows: row p holds cos(p·f_i)·scale, then sin(p·f_i)·scale.
///
/// The angle is rounded to f32 before its cosine is taken, as the models were trained (transformers computes
/// it in f32 at every precision).
pub(crate) fn rotary_table(frequencies: &[f32], scale: f32, positions: usize) -> Vec<f32> {
    let half = frequencies.len();
    let mut table = vec![0.0; positions * 2 * half];
    let step = rows_per_task(64 * half);
    let shared = Shared::new(&mut table);
    for_each(positions.div_ceil(step), |task| {
        for position in task * step..((task + 1) * step).min(positions) {
            // SAFETY: one block of rows per task.
            let row = unsafe { shared.part(position * 2 * half, 2 * half) };
            let (cos, sin) = row.split_at_mut(half);
            for (i, &frequency) in frequencies.iter().enumerate() {
                let angle = f64::from(position as f32 * frequency);
                cos[i] = (angle.cos() * f64::from(scale)) as f32;
                sin[i] = (angle.sin() * f64::from(scale)) as f32;
            }
        }
    });
    table
}

/// Turns every head of every token, in place.
///
/// # Shapes
/// `x`: T × heads·head_dim; `positions`: T; `table`: as [`rotary_table`] makes it, with head_dim values a
/// row.
pub(crate) fn rotary(
    x: &mut [f32],
    positions: &[u32],
    table: &[f32],
    heads: usize,
    head_dim: usize,
    rotation: Rotation,
) {
    let width = heads * head_dim;
    let step = rows_per_task(width);
    let shared = Shared::new(x);
    for_each(positions.len().div_ceil(step), |task| {
        let first = task * step;
        let count = step.min(positions.len() - first);
        // SAFETY: one block of rows per task.
        let x = unsafe { shared.part(first * width, count * width) };
        rotate_rows(x, &positions[first..first + count], table, head_dim, rotation);
    });
}

dispatched! {
    fn rotate_rows(x: &mut [f32], positions: &[u32], table: &[f32], head_dim: usize, rotation: Rotation) {
        let (half, width) = (head_dim / 2, x.len() / positions.len());
        let sign = if rotation == Rotation::Forward { 1.0 } else { -1.0 };
        for (row, &position) in x.chunks_exact_mut(width).zip(positions) {
            let (cos, sin) = table[position as usize * head_dim..][..head_dim].split_at(half);
            for head in row.chunks_exact_mut(head_dim) {
                let (a, b) = head.split_at_mut(half);
                for i in 0..half {
                    let (x, y, s) = (a[i], b[i], sign * sin[i]);
                    // Both elements are read above, before either is overwritten.
                    a[i] = x.mul_add(cos[i], -(y * s));
                    b[i] = y.mul_add(cos[i], x * s);
                }
            }
        }
    }
}

/// The definition: one head at one position, each pair times scale·e^{i·angle}.
pub fn rotary_reference(x: &[f64], position: u32, frequencies: &[f32], scale: f64) -> Vec<f64> {
    let half = frequencies.len();
    let mut y = vec![0.0; 2 * half];
    for i in 0..half {
        let (sin, cos) = f64::from(position as f32 * frequencies[i]).sin_cos();
        y[i] = scale * (x[i] * cos - x[i + half] * sin);
        y[i + half] = scale * (x[i + half] * cos + x[i] * sin);
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, derivative, inner, values, wide};

    const FREQUENCIES: [f32; 3] = [1.0, 0.3, 0.05];

    #[test]
    fn follows_the_reference_and_turns_back() {
        let (heads, positions) = (2, [0_u32, 5, 700, 1]);
        let table = rotary_table(&FREQUENCIES, 1.1, 701);
        let x = values(4 * heads * 6, 1);
        let mut y = x.clone();
        rotary(&mut y, &positions, &table, heads, 6, Rotation::Forward);
        let expected: Vec<f64> = wide(&x)
            .chunks_exact(6)
            .enumerate()
            .flat_map(|(i, head)| {
                rotary_reference(head, positions[i / heads], &FREQUENCIES, f64::from(1.1_f32))
            })
            .collect();
        close("y", &y, &expected);
        rotary(&mut y, &positions, &table, heads, 6, Rotation::Backward);
        let scaled: Vec<f64> = wide(&x).iter().map(|v| v * 1.21).collect();
        close("back", &y, &scaled);
    }

    #[test]
    fn backward_is_the_derivative() {
        let (x, dy) = (values(6, 1), values(6, 2));
        let table = rotary_table(&FREQUENCIES, 1.0, 10);
        let mut dx = dy.clone();
        rotary(&mut dx, &[7], &table, 1, 6, Rotation::Backward);
        let exact = rotary_reference(&wide(&dy), 7, &FREQUENCIES.map(|f| -f), 1.0);
        derivative("dx", &wide(&x), &exact, |x| {
            inner(&rotary_reference(x, 7, &FREQUENCIES, 1.0), &wide(&dy))
        });
        close("dx", &dx, &exact);
    }
}
