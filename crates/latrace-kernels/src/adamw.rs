//! AdamW (Loshchilov and Hutter, 2019), with decoupled decay, and the global norm of the gradients.

use crate::parallel::{GRAIN, Shared, for_each};
use crate::simd::{dispatched, dot};

/// One update's constants.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the first moment. In f64: 1 − β₂ would lose four digits in f32.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// Updates done, this one included: 1 at the first.
    pub step: u64,
    /// Factor on the gradient, from clipping by the global norm.
    pub gradient_scale: f32,
}

/// g = scale·gradient; m ← β₁m + (1−β₁)g; v ← β₂v + (1−β₂)g²; w ← w(1 − lr·decay) − lr·m̂ / (√v̂ + ε).
///
/// # Shapes
/// All of one length.
pub(crate) fn adamw(w: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], update: AdamW) {
    let length = w.len();
    let (w, m, v) = (Shared::new(w), Shared::new(m), Shared::new(v));
    for_each(length.div_ceil(GRAIN), |task| {
        let first = task * GRAIN;
        let count = GRAIN.min(length - first);
        // SAFETY: one block per task.
        let (w, m, v) = unsafe { (w.part(first, count), m.part(first, count), v.part(first, count)) };
        adamw_block(w, m, v, &gradient[first..first + count], update);
    });
}

dispatched! {
    fn adamw_block(w: &mut [f32], m: &mut [f32], v: &mut [f32], gradient: &[f32], update: AdamW) {
        let AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, step, gradient_scale } = update;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let (new1, new2, keep2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32, beta2 as f32);
        // Both corrections are constants of the step, computed in f64 and applied in f32.
        let rate = (f64::from(learning_rate) / correction(beta1)) as f32;
        let root = (1.0 / correction(beta2)).sqrt() as f32;
        let keep = 1.0 - learning_rate * weight_decay;
        for i in 0..w.len() {
            let g = gradient[i] * gradient_scale;
            m[i] = (g - m[i]).mul_add(new1, m[i]);
            v[i] = new2.mul_add(g * g, keep2 * v[i]);
            w[i] = w[i] * keep - rate * m[i] / v[i].sqrt().mul_add(root, epsilon);
        }
    }
}

/// Σ x², blocks summed in f64 in order.
pub(crate) fn squared_norm(x: &[f32]) -> f64 {
    use rayon::prelude::*;
    // Blocks of fixed size, collected in order: the sum is the same for any number of threads.
    let blocks: Vec<f64> = x.par_chunks(GRAIN).map(block_norm).collect();
    blocks.iter().sum()
}

dispatched! {
    fn block_norm(x: &[f32]) -> f64 {
        // Short runs in f32, so that no sum of many squares loses the small ones. A loop: the closure of an iterator would be
        // compiled without this function's instructions, and call the C library for each multiply-add.
        let mut sum = 0.0;
        for run in x.chunks(256) {
            sum += f64::from(dot(run, run));
        }
        sum
    }
}

/// The definition, for one value: returns (w, m, v).
pub fn adamw_reference(w: f64, m: f64, v: f64, gradient: f64, update: AdamW) -> (f64, f64, f64) {
    let [lr, eps, decay, scale] =
        [update.learning_rate, update.epsilon, update.weight_decay, update.gradient_scale].map(f64::from);
    let (b1, b2) = (update.beta1, update.beta2);
    let g = gradient * scale;
    let (m, v) = (b1 * m + (1.0 - b1) * g, b2 * v + (1.0 - b2) * g * g);
    let (m_hat, v_hat) = (m / (1.0 - b1.powf(update.step as f64)), v / (1.0 - b2.powf(update.step as f64)));
    (w * (1.0 - lr * decay) - lr * m_hat / (v_hat.sqrt() + eps), m, v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, values, wide};

    #[test]
    fn follows_the_reference_over_steps() {
        let n = GRAIN + 5;
        let mut update = AdamW {
            learning_rate: 0.05,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-3,
            weight_decay: 0.1,
            step: 0,
            gradient_scale: 0.7,
        };
        let (mut w, mut m, mut v) = (values(n, 1), vec![0.0; n], vec![0.0; n]);
        let mut exact: Vec<(f64, f64, f64)> = wide(&w).into_iter().map(|w| (w, 0.0, 0.0)).collect();
        for step in 1..=5 {
            update.step = step;
            let gradient = values(n, 10 + step);
            adamw(&mut w, &mut m, &mut v, &gradient, update);
            exact
                .iter_mut()
                .zip(&gradient)
                .for_each(|(e, &g)| *e = adamw_reference(e.0, e.1, e.2, f64::from(g), update));
        }
        close("w", &w, &exact.iter().map(|e| e.0).collect::<Vec<_>>());
        close("m", &m, &exact.iter().map(|e| e.1).collect::<Vec<_>>());
        close("v", &v, &exact.iter().map(|e| e.2).collect::<Vec<_>>());
    }

    #[test]
    fn norm_is_exact_in_f64() {
        let x = values(3 * GRAIN + 11, 1);
        let exact: f64 = wide(&x).iter().map(|v| v * v).sum();
        assert!((squared_norm(&x) - exact).abs() < 1e-6 * exact);
    }
}
