//! Fresh weights.

use super::CHUNK;
use crate::config::{Config, Parameter};
use latrace_core::random::{draw, key, unit};
use rayon::prelude::*;
use std::f64::consts::TAU;

/// Fresh weights as transformers makes them: norms 1, biases 0, everything else normal with mean 0 and
/// standard deviation `initializer_range`. Each value is a function of (seed, tensor, element) alone.
///
/// # Shapes
/// As for [`super::load`].
#[must_use]
pub fn initialise(config: &Config, seed: u64) -> Vec<Vec<f32>> {
    let deviation = f64::from(config.initializer_range);
    let fresh = |(tensor, parameter): (usize, &Parameter)| match constant(parameter) {
        Some(value) => vec![value; parameter.len()],
        // The tensor's number is part of the key, so that no two tensors get the same values.
        None => normal(key(seed, &[tensor as u64]), parameter.len(), deviation),
    };
    config.parameters().iter().enumerate().map(fresh).collect()
}

/// The value that a parameter starts with, unless it is drawn.
fn constant(parameter: &Parameter) -> Option<f32> {
    // Norms and biases are what weight decay may leave out.
    parameter.decay_exempt.then_some(if parameter.name.ends_with(".bias") { 0.0 } else { 1.0 })
}

/// Normal values, two from each pair of uniform ones; a task draws many pairs, since one takes nanoseconds.
fn normal(key: u64, len: usize, deviation: f64) -> Vec<f32> {
    let uniform = |counter| unit(draw(key, counter));
    let mut values = vec![0.0; len];
    values.par_chunks_mut(2).with_min_len(CHUNK / 2).enumerate().for_each(|(pair, out)| {
        let uniforms = [uniform(2 * pair as u64), uniform(2 * pair as u64 + 1)];
        out.iter_mut().zip(box_muller(uniforms, deviation)).for_each(|(out, value)| *out = value as f32);
    });
    values
}

/// Uniform values within ±`bound`.
pub(crate) fn uniform(key: u64, len: usize, bound: f64) -> Vec<f32> {
    (0..len as u64).map(|counter| ((2.0 * unit(draw(key, counter)) - 1.0) * bound) as f32).collect()
}

/// Two independent normal values from two uniform ones in [0, 1) (Box and Muller, 1958).
fn box_muller([u, v]: [f64; 2], deviation: f64) -> [f64; 2] {
    // 1 − u is in (0, 1], so that its logarithm is finite.
    let radius = deviation * (-2.0 * (1.0 - u).ln()).sqrt();
    let (sin, cos) = (TAU * v).sin_cos();
    [radius * cos, radius * sin]
}
