//! YaRN.

use super::{above, positive};
use crate::error::Result;
use crate::fields::Fields;
use serde::Serialize;
use std::f64::consts::PI;

/// YaRN (Peng et al., arXiv 2309.00071): §3.2 "NTK-by-parts" for the frequencies (with its definition 2),
/// §3.4 for the attention scaling `0.1 ln(s) + 1`.
///
/// Differs in: as in the authors' code and transformers, the ramp is linear in the index of the pair, not in
/// the number of its turns, and its ends are rounded outwards to whole indices (`truncate`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Yarn {
    /// The stretch `s`; none: `max_positions / original_max_positions`.
    pub factor: Option<f64>,
    /// The scaling of cos and sin; none: from `s` by the paper's formula.
    pub attention_factor: Option<f64>,
    /// DeepSeek's weight of the logarithm in the scaling's numerator; used only with `mscale_all_dim`.
    pub mscale: Option<f64>,
    /// The same in the denominator.
    pub mscale_all_dim: Option<f64>,
    /// Turns over the original context above which a pair is kept.
    pub beta_fast: f64,
    /// Turns over the original context below which a pair is stretched in full.
    pub beta_slow: f64,
    /// Whether the ramp's ends are rounded outwards.
    pub truncate: bool,
    /// Context length of pretraining, in tokens; none: the model's `max_positions`.
    pub original_max_positions: Option<f64>,
}

impl Yarn {
    pub(super) fn read(fields: &Fields<'_>, original_max_positions: Option<f64>) -> Result<Self> {
        let (beta_fast, beta_slow) = read_turns(fields)?;
        Ok(Self {
            factor: positive(fields, "factor")?,
            attention_factor: positive(fields, "attention_factor")?,
            mscale: fields.number("mscale")?,
            mscale_all_dim: fields.number("mscale_all_dim")?,
            beta_fast,
            beta_slow,
            truncate: fields.flag("truncate", true)?,
            original_max_positions,
        })
    }

    /// The frequencies, and the factor for cos and sin.
    pub(super) fn frequencies(&self, plain: &[f64], theta: f64, max_positions: f64) -> (Vec<f64>, f64) {
        let original = self.original_max_positions.unwrap_or(max_positions);
        let factor = self.factor.unwrap_or(max_positions / original);
        // A pair has two elements of the head.
        let range = self.range(theta, 2 * plain.len(), original);
        (blend(plain, factor, range), self.scaling(factor))
    }

    /// The indices of the pairs between which frequencies are blended: those that make `beta_fast` and
    /// `beta_slow` turns over the original context.
    fn range(&self, theta: f64, head_dim: usize, original: f64) -> (f64, f64) {
        let dim = head_dim as f64;
        let index_of = |turns| index_with_turns(turns, dim, theta, original);
        let (mut low, mut high) = (index_of(self.beta_fast), index_of(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low.max(0.0), high.min(dim - 1.0))
    }

    /// §3.4, with DeepSeek's `mscale` extension.
    fn scaling(&self, factor: f64) -> f64 {
        let grow = |weight| grown(factor, weight);
        // Zero counts as absent, as in transformers, which tests both with Python's truth value.
        let weights = self.mscale.zip(self.mscale_all_dim).filter(|(up, down)| *up != 0.0 && *down != 0.0);
        match (self.attention_factor, weights) {
            (Some(given), _) => given,
            (None, Some((up, down))) => grow(up) / grow(down),
            (None, None) => grow(1.0),
        }
    }
}

/// The index, with fraction, of the pair that makes `turns` turns over the original context: the inverse of
/// `turns = original · theta^(-2i/dim) / 2π`.
fn index_with_turns(turns: f64, dim: f64, theta: f64, original: f64) -> f64 {
    dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln())
}

/// The attention scaling `0.1 ln(s) + 1`, its logarithm weighted; 1 where nothing is stretched.
fn grown(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}

/// `beta_fast` and `beta_slow`.
fn read_turns(fields: &Fields<'_>) -> Result<(f64, f64)> {
    let (slow, fast) = (turns(fields, "beta_slow", 1.0)?, turns(fields, "beta_fast", 32.0)?);
    if fast >= slow {
        return Ok((fast, slow));
    }
    Err(fields.error("beta_fast", format!("at least beta_slow ({slow})"), fast))
}

fn turns(fields: &Fields<'_>, name: &str, default: f64) -> Result<f64> {
    // Absent, null and zero all mean the default, as Python's `or` has it.
    let value = fields.number(name)?.filter(|&value| value != 0.0).unwrap_or(default);
    above(fields, name, value, 0.0)
}

/// From kept frequencies at index `low` to stretched ones at index `high`.
fn blend(plain: &[f64], factor: f64, (low, high): (f64, f64)) -> Vec<f64> {
    // As in the authors' code: a ramp of no width would divide by zero.
    let width = if low == high { 0.001 } else { high - low };
    let blend = |(i, f): (usize, &f64)| {
        let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
        f / factor * stretched + f * (1.0 - stretched)
    };
    plain.iter().enumerate().map(blend).collect()
}
