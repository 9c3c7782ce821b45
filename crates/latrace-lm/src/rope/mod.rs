//! Rotary position embedding: the angles, not their application.
//!
//! Position `t` turns pair `i` of a head by `t · f_i`; the plain frequencies are `f_i = theta^(-2i/d)` (Su et
//! al., RoFormer, arXiv 2104.09864, §3.2.2, eq. 15). The variants change `f_i`, and YaRN also scales cos and
//! sin.
//!
//! Differs in: transformers 5.19 (`modeling_rope_utils.py`), which we follow, computes in f32; we compute in
//! f64 and round once. Frequencies agree within a few units in the last place of f32.

mod llama3;
mod yarn;

pub use llama3::Llama3;
pub use yarn::Yarn;

use crate::error::Result;
use crate::fields::Fields;
use serde::Serialize;

/// The rotary embedding of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// The base `theta` of the plain frequencies.
    pub theta: f64,
    /// How the plain frequencies are changed for longer contexts.
    pub kind: RopeKind,
}

/// How the plain frequencies are changed for longer contexts. Every `factor` is new length over old length.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeKind {
    /// Not at all.
    Default,
    /// Divided by `factor`: position interpolation (Chen et al., arXiv 2306.15595, eq. 4).
    Linear {
        /// The stretch of positions.
        factor: f64,
    },
    /// Stretched by wavelength.
    Llama3(Llama3),
    /// Stretched by the index of the pair, with scaled attention.
    Yarn(Yarn),
}

impl RopeKind {
    /// All of it, in the terms of `config.json`.
    pub(crate) fn words(&self) -> String {
        let fields = serde_json::to_value(self).unwrap_or_default();
        let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        let words = fields.map(|(name, value)| format!("{name} {}", value.to_string().replace('"', "")));
        words.collect::<Vec<_>>().join(", ")
    }
}

impl Rope {
    /// The inverse frequencies, in radians per token, and the factor for cos and sin.
    ///
    /// # Shapes
    /// `head_dim / 2` frequencies, one for each pair `(i, i + head_dim / 2)` of a head.
    #[must_use]
    pub fn frequencies(&self, head_dim: usize, max_positions: usize) -> (Vec<f32>, f32) {
        let (frequencies, scaling) = self.exact(&plain_frequencies(self.theta, head_dim), max_positions);
        // Rounded here and nowhere before, unlike in transformers: the error is half a unit in the last place.
        (frequencies.iter().map(|&f| f as f32).collect(), scaling as f32)
    }

    /// What the plain frequencies are divided by, one number for each pair of a head.
    pub(crate) fn divisors(&self, head_dim: usize, max_positions: usize) -> Vec<f64> {
        let plain = plain_frequencies(self.theta, head_dim);
        let (frequencies, _) = self.exact(&plain, max_positions);
        plain.iter().zip(frequencies).map(|(plain, frequency)| plain / frequency).collect()
    }

    /// The frequencies before they are rounded, and the factor for cos and sin.
    fn exact(&self, plain: &[f64], max_positions: usize) -> (Vec<f64>, f64) {
        let max_positions = max_positions as f64;
        match &self.kind {
            RopeKind::Default => (plain.to_vec(), 1.0),
            RopeKind::Linear { factor } => (plain.iter().map(|f| f / factor).collect(), 1.0),
            RopeKind::Llama3(llama3) => (llama3.frequencies(plain, max_positions), 1.0),
            RopeKind::Yarn(yarn) => yarn.frequencies(plain, self.theta, max_positions),
        }
    }

    /// Reads both spellings: `rope_theta` beside `rope_scaling` (with `type` or `rope_type`), or
    /// `rope_parameters`. As in transformers, a non-empty `rope_scaling` hides `rope_parameters`, and a
    /// `rope_theta` inside hides the one outside.
    pub(crate) fn read(config: &Fields<'_>) -> Result<Self> {
        let scaling = read_scaling(config)?;
        let theta = config.number("rope_theta")?.unwrap_or(10_000.0);
        config.require_whole_rotation()?;
        // Only the theta in effect is checked: one that is hidden may be anything.
        match scaling {
            Some(fields) => Self::read_scaled(config, &fields, theta),
            None => {
                let theta = above(config, "rope_theta", theta, 1.0)?;
                Ok(Self { theta, kind: RopeKind::Default })
            }
        }
    }

    /// `fields` are those of the scaling, `outer_theta` that of `config`.
    fn read_scaled(config: &Fields<'_>, fields: &Fields<'_>, outer_theta: f64) -> Result<Self> {
        fields.require_whole_rotation()?;
        fields.require_flat()?;
        let theta = above(fields, "rope_theta", fields.number("rope_theta")?.unwrap_or(outer_theta), 1.0)?;
        let kind = RopeKind::read(fields, original_max_positions(config, fields)?)?;
        Ok(Self { theta, kind })
    }
}

impl RopeKind {
    fn read(fields: &Fields<'_>, original: Option<f64>) -> Result<Self> {
        let spelling = type_field(fields);
        let unknown = |expected: &str, got: String| Err(fields.error(spelling, expected, got));
        match fields.text(spelling)?.unwrap_or("default") {
            "default" => Ok(Self::Default),
            "linear" => Ok(Self::Linear { factor: required(fields, "factor")? }),
            "llama3" => Ok(Self::Llama3(Llama3::read(fields, original)?)),
            "yarn" => Ok(Self::Yarn(Yarn::read(fields, original)?)),
            known @ ("dynamic" | "longrope") => {
                unknown("a supported rope type", format!("{known:?}, which is unsupported"))
            }
            other => unknown("\"default\", \"linear\", \"llama3\" or \"yarn\"", format!("{other:?}")),
        }
    }
}

/// Older files spell the field `type`.
fn type_field(fields: &Fields<'_>) -> &'static str {
    if fields.has("rope_type") { "rope_type" } else { "type" }
}

fn read_scaling<'a>(config: &Fields<'a>) -> Result<Option<Fields<'a>>> {
    match config.object("rope_scaling")? {
        Some(fields) if !fields.is_empty() => Ok(Some(fields)),
        _ => config.object("rope_parameters"),
    }
}

/// Context length of pretraining: as in transformers, one outside the scaling hides the one inside.
fn original_max_positions(config: &Fields<'_>, fields: &Fields<'_>) -> Result<Option<f64>> {
    const NAME: &str = "original_max_position_embeddings";
    let outer = positive(config, NAME)?;
    if outer.is_some() { Ok(outer) } else { positive(fields, NAME) }
}

fn plain_frequencies(theta: f64, head_dim: usize) -> Vec<f64> {
    (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64)).collect()
}

fn above(fields: &Fields<'_>, name: &str, value: f64, bound: f64) -> Result<f64> {
    if value > bound { Ok(value) } else { Err(fields.error(name, format!("a number above {bound}"), value)) }
}

fn positive(fields: &Fields<'_>, name: &str) -> Result<Option<f64>> {
    fields.number(name)?.map(|value| above(fields, name, value, 0.0)).transpose()
}

fn required(fields: &Fields<'_>, name: &str) -> Result<f64> {
    positive(fields, name)?.ok_or_else(|| fields.error(name, "a positive number", "nothing"))
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

    /// YaRN by 4 from 4096 tokens.
    const YARN: Yarn = Yarn {
        factor: Some(4.0),
        attention_factor: None,
        mscale: None,
        mscale_all_dim: None,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        original_max_positions: Some(4096.0),
    };

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
        let kind = RopeKind::Llama3(Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_positions: Some(8192.0),
        });
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
        let kind = RopeKind::Yarn(Yarn { original_max_positions: Some(8192.0), ..YARN });
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
        let original_max_positions = Some(8192.0);
        let yarn = Yarn { original_max_positions, truncate: false, beta_fast: 16.0, beta_slow: 2.0, ..YARN };
        let kind = RopeKind::Yarn(yarn);
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
        let yarn = Yarn { factor: Some(40.0), mscale: Some(1.0), mscale_all_dim: Some(0.707), ..YARN };
        let kind = RopeKind::Yarn(yarn);
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
        let kind = RopeKind::Yarn(Yarn { factor: None, ..YARN });
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
        let (factor, attention_factor) = (Some(8.0), Some(1.5));
        let kind = RopeKind::Yarn(Yarn { factor, attention_factor, original_max_positions: None, ..YARN });
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
