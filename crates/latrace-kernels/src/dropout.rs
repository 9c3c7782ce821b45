//! Dropout (Srivastava et al., 2014), and a product with a number: what low-rank adapters need beside products.

use crate::parallel::{Shared, for_each, grain, rows_per_task};

/// x *= factor.
pub(crate) fn scale(x: &mut [f32], factor: f32) {
    let (length, grain) = (x.len(), grain());
    let shared = Shared::new(x);
    for_each(length.div_ceil(grain), |task| {
        let first = task * grain;
        // SAFETY: one block per task.
        let x = unsafe { shared.part(first, grain.min(length - first)) };
        x.iter_mut().for_each(|x| *x *= factor);
    });
}

/// y = x / (1 − rate) where a value is kept, else 0; value i of a row is kept with probability 1 − rate, as a
/// function of the row's key and i alone. Forward and backward passes, which are the same, draw alike.
///
/// # Shapes
/// `y`, `x`: rows×width; `keys`: rows.
pub(crate) fn dropout(y: &mut [f32], x: &[f32], keys: &[u64], rate: f32, width: usize) {
    each_row(y, x, keys, width, |y, x, key| {
        let factor = 1.0 / (1.0 - rate);
        y.iter_mut()
            .zip(x)
            .enumerate()
            .for_each(|(i, (y, x))| *y = if is_kept(key, i, rate) { x * factor } else { 0.0 });
    });
}

/// dx += dy / (1 − rate) where [`dropout`] kept the value.
///
/// # Shapes
/// As [`dropout`].
pub(crate) fn dropout_backward(dx: &mut [f32], dy: &[f32], keys: &[u64], rate: f32, width: usize) {
    each_row(dx, dy, keys, width, |dx, dy, key| {
        let factor = 1.0 / (1.0 - rate);
        let kept = dx.iter_mut().zip(dy).enumerate().filter(|(i, _)| is_kept(key, *i, rate));
        kept.for_each(|(_, (dx, dy))| *dx += dy * factor);
    });
}

fn each_row(
    y: &mut [f32],
    x: &[f32],
    keys: &[u64],
    width: usize,
    row: impl Fn(&mut [f32], &[f32], u64) + Sync + Send,
) {
    let (rows, step) = (keys.len(), rows_per_task(width));
    let shared = Shared::new(y);
    for_each(rows.div_ceil(step), |task| {
        for at in task * step..rows.min((task + 1) * step) {
            // SAFETY: one row of one task.
            let y = unsafe { shared.part(at * width, width) };
            row(y, &x[at * width..][..width], keys[at]);
        }
    });
}

/// Whether value `i` of the row with this key is kept: a uniform number of 24 bits, by the finaliser of
/// SplitMix64 (Steele et al., 2014), is at least the rate.
pub fn is_kept(key: u64, i: usize, rate: f32) -> bool {
    let mut bits = key.wrapping_add((i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    (bits >> 40) as f32 >= rate * (1 << 24) as f32
}

/// The definition of dropout.
pub fn dropout_reference(x: &[f64], keys: &[u64], rate: f32, width: usize) -> Vec<f64> {
    let factor = 1.0 / (1.0 - f64::from(rate));
    let value =
        |(at, x): (usize, &f64)| if is_kept(keys[at / width], at % width, rate) { x * factor } else { 0.0 };
    x.iter().enumerate().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, derivative, inner, values, wide};

    #[test]
    fn follows_the_reference_whose_gradient_is_the_derivative() {
        let (width, keys) = (37, [1, 2, 3, 1]);
        let (x, dy) = (values(4 * width, 1), values(4 * width, 2));
        let (mut y, mut dx) = (vec![9.0; x.len()], values(x.len(), 3));
        let before = wide(&dx);
        dropout(&mut y, &x, &keys, 0.3, width);
        dropout_backward(&mut dx, &dy, &keys, 0.3, width);
        close("y", &y, &dropout_reference(&wide(&x), &keys, 0.3, width));
        let gradient = dropout_reference(&wide(&dy), &keys, 0.3, width);
        let added: Vec<f64> = before.iter().zip(&gradient).map(|(b, g)| b + g).collect();
        close("dx", &dx, &added);
        derivative("dx", &wide(&x), &gradient, |x| {
            inner(&dropout_reference(x, &keys, 0.3, width), &wide(&dy))
        });
        let dropped = |row: usize| (0..width).map(|i| y[row * width + i] == 0.0).collect::<Vec<_>>();
        assert!(dropped(0) == dropped(3) && dropped(0) != dropped(1));
    }

    #[test]
    fn keeps_the_share_that_is_asked_for() {
        assert!((0..100_000).all(|i| is_kept(5, i, 0.0)));
        for rate in [0.05_f32, 0.5, 0.9] {
            let kept = (0..100_000).filter(|&i| is_kept(i as u64 / 100, i % 100, rate)).count() as f64 / 1e5;
            // Five standard deviations of a share of 100,000 draws.
            assert!((kept - f64::from(1.0 - rate)).abs() < 5.0 * (0.25_f64 / 1e5).sqrt(), "{rate} {kept}");
        }
    }

    #[test]
    fn scales_every_value() {
        let mut x = values(40_000, 1);
        let expected: Vec<f64> = wide(&x).iter().map(|x| 0.3 * x).collect();
        scale(&mut x, 0.3);
        close("x", &x, &expected);
    }
}
