//! What the operations' tests share.

/// `n` values in −1..1, the same for the same seed.
pub(crate) fn values(n: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
        })
        .collect()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&value| f64::from(value)).collect()
}

/// Norm of the difference over the norm of what is expected.
pub(crate) fn relative(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let difference: f64 = got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    difference.sqrt() / norm.sqrt().max(1e-30)
}

/// Fails unless the f32 result is within 2e-6 of the f64 definition: some tens of roundings of 6e-8.
#[track_caller]
pub(crate) fn close(name: &str, got: &[f32], expected: &[f64]) {
    let error = relative(got, expected);
    assert!(error < 2e-6, "{name}: relative error {error}");
}

/// Fails unless `gradient` is the derivative of `f` at `x`, by central differences in f64.
///
/// With a step of 1e-5 the difference quotient is exact to about 1e-10 in truncation and 1e-11 in rounding;
/// 1e-7 leaves room for third derivatives of some hundreds.
#[track_caller]
pub(crate) fn derivative(name: &str, x: &[f64], gradient: &[f64], mut f: impl FnMut(&[f64]) -> f64) {
    let mut at = x.to_vec();
    for i in 0..x.len() {
        let step = 1e-5;
        at[i] = x[i] + step;
        let above = f(&at);
        at[i] = x[i] - step;
        let below = f(&at);
        at[i] = x[i];
        let quotient = (above - below) / (2.0 * step);
        assert!(
            (quotient - gradient[i]).abs() < 1e-7 * (1.0 + quotient.abs()),
            "{name}[{i}]: difference quotient {quotient}, gradient {}",
            gradient[i]
        );
    }
}

/// Σ a·b: the scalar whose gradient a backward pass computes for the output gradient b.
pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
