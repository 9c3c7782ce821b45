//! Rotary position embedding: the angles, not their application.
//!
//! Position `t` turns pair `i` of a head by `t · f_i`; the plain frequencies are `f_i = theta^(-2i/d)` (Su et
//! al., RoFormer, arXiv 2104.09864, §3.2.2, eq. 15). The variants change `f_i`, and YaRN also scales cos and
//! sin.
//!
//! Differs in: transformers 5.19 (`modeling_rope_utils.py`), which we follow, computes in f32; we compute in
//! f64 and round once. Frequencies agree within a few units in the last place of f32.

use std::f64::consts::PI;

use crate::error::Error;
use crate::fields::Fields;

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base `theta` of the plain frequencies.
    pub theta: f64,
    /// How the plain frequencies are changed for longer contexts.
    pub kind: RopeKind,
}

/// How the plain frequencies are changed for longer contexts. Every `factor` is new length over old length.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeKind {
    /// Not at all.
    Default,
    /// Divided by `factor`: position interpolation (Chen et al., arXiv 2306.15595, eq. 4).
    Linear {
        /// The stretch of positions.
        factor: f64,
    },
    /// Llama 3.1 (`apply_scaling` in Meta's `llama-models`): long wavelengths are divided by `factor`, short
    /// ones kept, those between `original / high_freq_factor` and `original / low_freq_factor` blended.
    Llama3 {
        /// The stretch of long wavelengths.
        factor: f64,
        /// Turns over the original context below which a pair is stretched in full.
        low_freq_factor: f64,
        /// Turns over the original context above which a pair is kept.
        high_freq_factor: f64,
        /// Context length of pretraining, in tokens; none: the model's `max_positions`.
        original_max_positions: Option<f64>,
    },
    /// YaRN (Peng et al., arXiv 2309.00071): §3.2 "NTK-by-parts" for the frequencies (with its definition 2),
    /// §3.4 for the attention scaling `0.1 ln(s) + 1`.
    ///
    /// Differs in: as in the authors' code and transformers, the ramp is linear in the index of the pair, not
    /// in the number of its turns, and its ends are rounded outwards to whole indices (`truncate`).
    Yarn {
        /// The stretch `s`; none: `max_positions / original_max_positions`.
        factor: Option<f64>,
        /// The scaling of cos and sin; none: from `s` by the paper's formula.
        attention_factor: Option<f64>,
        /// DeepSeek's weight of the logarithm in the scaling's numerator; used only with `mscale_all_dim`.
        mscale: Option<f64>,
        /// The same in the denominator.
        mscale_all_dim: Option<f64>,
        /// Turns over the original context above which a pair is kept.
        beta_fast: f64,
        /// Turns over the original context below which a pair is stretched in full.
        beta_slow: f64,
        /// Whether the ramp's ends are rounded outwards.
        truncate: bool,
        /// Context length of pretraining, in tokens; none: the model's `max_positions`.
        original_max_positions: Option<f64>,
    },
}

impl Rope {
    /// The inverse frequencies, in radians per token, and the factor for cos and sin.
    ///
    /// # Shapes
    /// `head_dim / 2` frequencies, one for each pair `(i, i + head_dim / 2)` of a head.
    #[must_use]
    pub fn frequencies(&self, head_dim: usize, max_positions: usize) -> (Vec<f32>, f32) {
        let plain = plain_frequencies(self.theta, head_dim);
        let max_positions = max_positions as f64;
        let (frequencies, scaling) = match &self.kind {
            RopeKind::Default => (plain, 1.0),
            RopeKind::Linear { factor } => (plain.iter().map(|f| f / factor).collect(), 1.0),
            RopeKind::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_positions } => {
                let original = original_max_positions.unwrap_or(max_positions);
                let scale =
                    |f: &f64| llama3_frequency(*f, *factor, *low_freq_factor, *high_freq_factor, original);
                (plain.iter().map(scale).collect(), 1.0)
            }
            RopeKind::Yarn { factor, beta_fast, beta_slow, truncate, original_max_positions, .. } => {
                let original = original_max_positions.unwrap_or(max_positions);
                let factor = factor.unwrap_or(max_positions / original);
                let (low, high) =
                    yarn_range(self.theta, head_dim, original, *beta_fast, *beta_slow, *truncate);
                (yarn_frequencies(&plain, factor, low, high), self.kind.yarn_scaling(factor))
            }
        };
        (frequencies.iter().map(|&f| f as f32).collect(), scaling as f32)
    }

    /// Reads both spellings: `rope_theta` beside `rope_scaling` (with `type` or `rope_type`), or
    /// `rope_parameters`. As in transformers, a non-empty `rope_scaling` hides `rope_parameters`, and a
    /// `rope_theta` inside hides the one outside.
    pub(crate) fn read(config: &Fields<'_>) -> Result<Self, Error> {
        let scaling = match config.object("rope_scaling")? {
            Some(fields) if !fields.is_empty() => Some(fields),
            _ => config.object("rope_parameters")?,
        };
        let outer_theta = config.number("rope_theta")?.unwrap_or(10_000.0);
        config.require_whole_rotation()?;
        let Some(fields) = scaling else {
            return Ok(Self {
                theta: above(config, "rope_theta", outer_theta, 1.0)?,
                kind: RopeKind::Default,
            });
        };
        fields.require_whole_rotation()?;
        fields.require_flat()?;
        let theta = above(&fields, "rope_theta", fields.number("rope_theta")?.unwrap_or(outer_theta), 1.0)?;
        let spelling = if fields.has("rope_type") { "rope_type" } else { "type" };
        let original = match config.number("original_max_position_embeddings")? {
            Some(outer) => Some(above(config, "original_max_position_embeddings", outer, 0.0)?),
            None => positive(&fields, "original_max_position_embeddings")?,
        };
        let kind = RopeKind::read(&fields, spelling, original)?;
        Ok(Self { theta, kind })
    }
}

impl RopeKind {
    fn read(fields: &Fields<'_>, spelling: &str, original: Option<f64>) -> Result<Self, Error> {
        let unknown = |expected: &str, got: String| Err(fields.error(spelling, expected, got));
        match fields.text(spelling)?.unwrap_or("default") {
            "default" => Ok(Self::Default),
            "linear" => Ok(Self::Linear { factor: required(fields, "factor")? }),
            "llama3" => read_llama3(fields, original),
            "yarn" => read_yarn(fields, original),
            known @ ("dynamic" | "longrope") => {
                unknown("a supported rope type", format!("{known:?}, which is unsupported"))
            }
            other => unknown("\"default\", \"linear\", \"llama3\" or \"yarn\"", format!("{other:?}")),
        }
    }

    /// YaRN §3.4, with DeepSeek's `mscale` extension: the factor for cos and sin.
    fn yarn_scaling(&self, factor: f64) -> f64 {
        let grow = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
        match self {
            Self::Yarn { attention_factor: Some(given), .. } => *given,
            Self::Yarn { mscale: Some(up), mscale_all_dim: Some(down), .. } if *up != 0.0 && *down != 0.0 => {
                grow(*up) / grow(*down)
            }
            _ => grow(1.0),
        }
    }
}

fn plain_frequencies(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect()
}

fn llama3_frequency(frequency: f64, factor: f64, low_factor: f64, high_factor: f64, original: f64) -> f64 {
    let turns = original * frequency / (2.0 * PI);
    if turns > high_factor {
        frequency
    } else if turns < low_factor {
        frequency / factor
    } else {
        let kept = (turns - low_factor) / (high_factor - low_factor);
        (1.0 - kept) * frequency / factor + kept * frequency
    }
}

/// The indices of the pairs between which YaRN blends: those that make `beta_fast` and `beta_slow` turns over
/// the original context.
fn yarn_range(
    theta: f64,
    head_dim: usize,
    original: f64,
    beta_fast: f64,
    beta_slow: f64,
    truncate: bool,
) -> (f64, f64) {
    let dim = head_dim as f64;
    let index_of = |turns: f64| dim * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) = (index_of(beta_fast), index_of(beta_slow));
    if truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low.max(0.0), high.min(dim - 1.0))
}

fn yarn_frequencies(plain: &[f64], factor: f64, low: f64, high: f64) -> Vec<f64> {
    // As in the authors' code: a ramp of no width would divide by zero.
    let width = if low == high { 0.001 } else { high - low };
    let blend = |(i, f): (usize, &f64)| {
        let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
        f / factor * stretched + f * (1.0 - stretched)
    };
    plain.iter().enumerate().map(blend).collect()
}

fn read_llama3(fields: &Fields<'_>, original_max_positions: Option<f64>) -> Result<RopeKind, Error> {
    let low_freq_factor = required(fields, "low_freq_factor")?;
    let high_freq_factor = required(fields, "high_freq_factor")?;
    above(fields, "high_freq_factor", high_freq_factor, low_freq_factor)?;
    Ok(RopeKind::Llama3 {
        factor: required(fields, "factor")?,
        low_freq_factor,
        high_freq_factor,
        original_max_positions,
    })
}

fn read_yarn(fields: &Fields<'_>, original_max_positions: Option<f64>) -> Result<RopeKind, Error> {
    // Absent, null and zero all mean the default, as Python's `or` has it.
    let turns = |name, default: f64| -> Result<f64, Error> {
        let value = fields.number(name)?.filter(|&value| value != 0.0).unwrap_or(default);
        above(fields, name, value, 0.0)
    };
    let beta_slow = turns("beta_slow", 1.0)?;
    let beta_fast = turns("beta_fast", 32.0)?;
    if beta_fast < beta_slow {
        return Err(fields.error(
            "beta_fast",
            format!("at least beta_slow ({beta_slow})"),
            beta_fast.to_string(),
        ));
    }
    Ok(RopeKind::Yarn {
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

fn above(fields: &Fields<'_>, name: &str, value: f64, bound: f64) -> Result<f64, Error> {
    if value > bound {
        Ok(value)
    } else {
        Err(fields.error(name, format!("a number above {bound}"), value.to_string()))
    }
}

fn positive(fields: &Fields<'_>, name: &str) -> Result<Option<f64>, Error> {
    fields.number(name)?.map(|value| above(fields, name, value, 0.0)).transpose()
}

fn required(fields: &Fields<'_>, name: &str) -> Result<f64, Error> {
    positive(fields, name)?.ok_or_else(|| fields.error(name, "a positive number", "nothing".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frequencies and scalings printed by transformers 5.19 (torch 2.13, f32), so the tolerance is f32's.
    fn check(rope: &Rope, head_dim: usize, max_positions: usize, expected: &[f64], expected_scaling: f64) {
        let (got, scaling) = rope.frequencies(head_dim, max_positions);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert!((f64::from(*got) / expected - 1.0).abs() < 1e-6, "expected {expected}, got {got}");
        }
        assert!(
            (f64::from(scaling) - expected_scaling).abs() < 1e-7,
            "expected {expected_scaling}, got {scaling}"
        );
    }

    fn yarn(change: impl FnOnce(&mut RopeKind)) -> RopeKind {
        let mut kind = RopeKind::Yarn {
            factor: Some(4.0),
            attention_factor: None,
            mscale: None,
            mscale_all_dim: None,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_positions: Some(4096.0),
        };
        change(&mut kind);
        kind
    }

    #[test]
    fn default_is_a_geometric_series() {
        let rope = Rope { theta: 10_000.0, kind: RopeKind::Default };
        check(&rope, 8, 4096, &[1.0, 0.1, 0.01, 0.001], 1.0);
    }

    #[test]
    fn linear_divides() {
        let rope = Rope { theta: 10_000.0, kind: RopeKind::Linear { factor: 4.0 } };
        check(&rope, 8, 4096, &[0.25, 0.025, 0.0025, 0.00025], 1.0);
    }

    #[test]
    fn llama3_keeps_blends_and_stretches() {
        let kind = RopeKind::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: Some(8192.0),
        };
        let expected = [
            1.0,
            0.193922758,
            0.0376060307,
            0.00729266508,
            0.000524846022,
            3.42810235e-05,
            6.64786967e-06,
            1.28917316e-06,
        ];
        check(&Rope { theta: 500_000.0, kind }, 16, 131_072, &expected, 1.0);
    }

    #[test]
    fn yarn_with_rounded_ends() {
        let kind = yarn(|kind| {
            if let RopeKind::Yarn { original_max_positions, .. } = kind {
                *original_max_positions = Some(8192.0);
            }
        });
        let expected = [
            1.0,
            0.177827939,
            0.0316227786,
            0.00421755994,
            0.000500000024,
            4.44569851e-05,
            7.90569356e-06,
            1.40585337e-06,
        ];
        check(&Rope { theta: 1e6, kind }, 16, 32_768, &expected, 1.138629436111989);
    }

    #[test]
    fn yarn_with_exact_ends_and_other_betas() {
        let kind = yarn(|kind| {
            if let RopeKind::Yarn { original_max_positions, truncate, beta_fast, beta_slow, .. } = kind {
                (*original_max_positions, *truncate, *beta_fast, *beta_slow) =
                    (Some(8192.0), false, 16.0, 2.0);
            }
        });
        let expected = [
            1.0,
            0.177827939,
            0.0316227786,
            0.00404065475,
            0.000250000012,
            4.44569851e-05,
            7.90569356e-06,
            1.40585337e-06,
        ];
        check(&Rope { theta: 1e6, kind }, 16, 32_768, &expected, 1.138629436111989);
    }

    #[test]
    fn yarn_with_mscale() {
        let kind = yarn(|kind| {
            if let RopeKind::Yarn { factor, mscale, mscale_all_dim, .. } = kind {
                (*factor, *mscale, *mscale_all_dim) = (Some(40.0), Some(1.0), Some(0.707));
            }
        });
        let expected = [
            1.0,
            0.316227764,
            0.100000001,
            0.0239147246,
            0.00512499968,
            0.000849862176,
            2.49999994e-05,
            7.90569447e-06,
        ];
        check(&Rope { theta: 1e4, kind }, 16, 32_768, &expected, 1.0857263992561355);
    }

    #[test]
    fn yarn_factor_from_the_lengths() {
        let kind = yarn(|kind| {
            if let RopeKind::Yarn { factor, .. } = kind {
                *factor = None;
            }
        });
        let expected = [
            1.0,
            0.316227764,
            0.100000001,
            0.0247052945,
            0.00562499976,
            0.00108703296,
            0.000125000006,
            3.95284733e-05,
        ];
        check(&Rope { theta: 1e4, kind }, 16, 32_768, &expected, 1.2079441541679836);
    }

    #[test]
    fn yarn_without_original_length_and_with_given_scaling() {
        let kind = yarn(|kind| {
            if let RopeKind::Yarn { factor, attention_factor, original_max_positions, .. } = kind {
                (*factor, *attention_factor, *original_max_positions) = (Some(8.0), Some(1.5), None);
            }
        });
        let expected = [
            1.0,
            0.316227764,
            0.100000001,
            0.0316227786,
            0.00999999978,
            0.00247052964,
            0.000562500034,
            0.000108703302,
        ];
        check(&Rope { theta: 1e4, kind }, 16, 32_768, &expected, 1.5);
    }
}
