//! The gated unit of the MLP (Shazeer, 2020): y = silu(gate) · up, with silu(g) = g / (1 + e^{−g}).

use crate::parallel::{Shared, for_each, grain};
use crate::simd::{dispatched, exp};

/// # Shapes
/// All of one length.
pub(crate) fn swiglu(y: &mut [f32], gate: &[f32], up: &[f32]) {
    let (length, grain) = (y.len(), grain());
    let shared = Shared::new(y);
    for_each(length.div_ceil(grain), |task| {
        let first = task * grain;
        let range = first..(first + grain).min(length);
        // SAFETY: one block per task.
        let y = unsafe { shared.part(first, range.len()) };
        forward(y, &gate[range.clone()], &up[range]);
    });
}

dispatched! {
    fn forward(y: &mut [f32], gate: &[f32], up: &[f32]) {
        for ((y, &g), &u) in y.iter_mut().zip(gate).zip(up) {
            *y = gated(g, u);
        }
    }
}

#[inline(always)]
fn gated(gate: f32, up: f32) -> f32 {
    // For large negative gates the exponential is infinite, and the result −0, as it should be.
    gate / (1.0 + exp(-gate)) * up
}

/// [`swiglu`] whose result takes the place of `gate`.
pub(crate) fn swiglu_in_place(gate: &mut [f32], up: &[f32]) {
    let (length, grain) = (up.len(), grain());
    let shared = Shared::new(gate);
    for_each(length.div_ceil(grain), |task| {
        let first = task * grain;
        let range = first..(first + grain).min(length);
        // SAFETY: one block per task.
        in_place(unsafe { shared.part(first, range.len()) }, &up[range]);
    });
}

dispatched! {
    fn in_place(gate: &mut [f32], up: &[f32]) {
        for (g, &u) in gate.iter_mut().zip(up) {
            *g = gated(*g, u);
        }
    }
}

/// With s = sigmoid(gate): dgate = dy·up·s·(1 + gate·(1 − s)); dup = dy·gate·s.
///
/// The gradients overwrite `gate` and `up`: nothing needs them afterwards.
pub(crate) fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    let (length, grain) = (dy.len(), grain());
    let (gate, up) = (Shared::new(gate), Shared::new(up));
    for_each(length.div_ceil(grain), |task| {
        let first = task * grain;
        let count = grain.min(length - first);
        // SAFETY: one block per task.
        let (gate, up) = unsafe { (gate.part(first, count), up.part(first, count)) };
        backward(gate, up, &dy[first..first + count]);
    });
}

dispatched! {
    fn backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
        for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
            let (g, u) = (*gate, *up);
            let s = 1.0 / (1.0 + exp(-g));
            *gate = dy * u * s * (1.0 + g * (1.0 - s));
            *up = dy * g * s;
        }
    }
}

/// The definition.
pub fn swiglu_reference(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

/// Gradients (dgate, dup) of the definition.
pub fn swiglu_backward_reference(dy: &[f64], gate: &[f64], up: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let one = |i: usize| {
        let s = 1.0 / (1.0 + (-gate[i]).exp());
        (dy[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s)), dy[i] * gate[i] * s)
    };
    (0..dy.len()).map(one).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::GRAIN;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn follows_the_reference_whose_gradient_is_the_derivative() {
        let n = GRAIN + 37;
        let (gate, up, dy): (Vec<f32>, _, _) =
            (values(n, 1).iter().map(|v| v * 9.0).collect(), values(n, 2), values(n, 3));
        let mut y = vec![0.0; n];
        swiglu(&mut y, &gate, &up);
        close("y", &y, &swiglu_reference(&wide(&gate), &wide(&up)));
        let mut in_place = gate.clone();
        swiglu_in_place(&mut in_place, &up);
        assert_eq!(in_place, y);
        let (mut dgate, mut dup) = (gate.clone(), up.clone());
        swiglu_backward(&mut dgate, &mut dup, &dy);
        let (expected_gate, expected_up) = swiglu_backward_reference(&wide(&dy), &wide(&gate), &wide(&up));
        close("dgate", &dgate, &expected_gate);
        close("dup", &dup, &expected_up);
        let (gate, up, dy) = (wide(&gate[..20]), wide(&up[..20]), wide(&dy[..20]));
        derivative("dgate", &gate, &expected_gate[..20], |g| inner(&swiglu_reference(g, &up), &dy));
        derivative("dup", &up, &expected_up[..20], |u| inner(&swiglu_reference(&gate, u), &dy));
    }
}
