//! The scaling of rotary embeddings: keys of the metadata, and for Llama 3's a tensor of divisors.

use super::file::GgufFile;
use super::writer::GgufEntry;
use super::{ROPE_FACTORS, import::Keys};
use crate::config::{Config, Family};
use crate::error::{Error, Result};
use crate::rope::{Llama3, Rope, RopeKind, Yarn};
use serde_json::{Value, json};

/// Of every published model with this scaling; GGUF has the divisors that follow from them, not the numbers.
const LOW_FREQ_FACTOR: f64 = 1.0;
const HIGH_FREQ_FACTOR: f64 = 4.0;
const ORIGINAL_POSITIONS: f64 = 8192.0;

/// Largest relative difference of a divisor that was computed in f32 elsewhere.
const TOLERANCE: f64 = 1e-4;

/// `rope_scaling` of `config.json`.
pub(super) fn read(keys: &Keys<'_>, theta: f64, head_dim: usize, positions: u64) -> Result<Value> {
    let divisors = divisors(keys.file, head_dim)?;
    let kind = keys.file.text(&keys.name("rope.scaling.type"))?.unwrap_or("none");
    match (kind, divisors) {
        ("none", None) => Ok(Value::Null),
        ("linear", None) => {
            Ok(json!({"rope_type": "linear", "factor": required(keys, "rope.scaling.factor")?}))
        }
        ("yarn", None) => read_yarn(keys),
        ("none" | "linear", Some(divisors)) => read_llama3(keys.file, &divisors, theta, positions),
        (other, _) => {
            Err(keys.error("rope.scaling.type", "none, linear or yarn, and no divisors beside yarn", other))
        }
    }
}

/// The tensor of divisors, unless it divides by nothing.
fn divisors(file: &GgufFile, head_dim: usize) -> Result<Option<Vec<f32>>> {
    let Some(stored) = file.tensor(ROPE_FACTORS) else { return Ok(None) };
    if stored.shape != [head_dim / 2] {
        return Err(bad_divisors(file, format!("shape [{}]", head_dim / 2), format!("{:?}", stored.shape)));
    }
    let divisors = file.values(stored);
    Ok(Some(divisors).filter(|divisors| divisors.iter().any(|&divisor| divisor != 1.0)))
}

fn bad_divisors(file: &GgufFile, expected: impl ToString, got: impl ToString) -> Error {
    let hint = "convert from the model's own folder; of such divisors only those of Llama 3 are known";
    Error::gguf(file.path(), &format!("tensor `{ROPE_FACTORS}`"), expected, got, hint)
}

fn read_yarn(keys: &Keys<'_>) -> Result<Value> {
    let factor = required(keys, "rope.scaling.factor")?;
    let original = required(keys, "rope.scaling.original_context_length")?;
    Ok(json!({"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original as u64}))
}

fn required(keys: &Keys<'_>, name: &str) -> Result<f64> {
    let number = keys.file.number(&keys.name(name))?;
    number.ok_or_else(|| keys.error(name, "a number", "nothing"))
}

fn read_llama3(file: &GgufFile, divisors: &[f32], theta: f64, positions: u64) -> Result<Value> {
    let factor = divisors.iter().fold(0.0_f32, |most, &divisor| most.max(divisor)).into();
    let scaling = |original| Llama3 {
        factor,
        low_freq_factor: LOW_FREQ_FACTOR,
        high_freq_factor: HIGH_FREQ_FACTOR,
        original_max_positions: Some(original),
    };
    let fits = |original: &f64| {
        let rope = Rope { theta, kind: RopeKind::Llama3(scaling(*original)) };
        let expected = rope.divisors(2 * divisors.len(), positions as usize);
        divisors
            .iter()
            .zip(expected)
            .all(|(got, expected)| (f64::from(*got) / expected - 1.0).abs() < TOLERANCE)
    };
    let originals = [ORIGINAL_POSITIONS, positions as f64 / factor];
    let original = originals.into_iter().find(fits).ok_or_else(|| {
        bad_divisors(file, format!("those of Llama 3 from {originals:?} tokens"), format!("{divisors:?}"))
    })?;
    Ok(json!({
        "rope_type": "llama3", "factor": factor, "low_freq_factor": LOW_FREQ_FACTOR,
        "high_freq_factor": HIGH_FREQ_FACTOR, "original_max_position_embeddings": original as u64,
    }))
}

/// Entries of the metadata, without the family's prefix.
///
/// # Errors
/// A scaling that llama.cpp does not know, or not in this family.
pub(super) fn entries(config: &Config) -> Result<Vec<(&'static str, GgufEntry)>> {
    let scaling = |kind: &str, factor: f64| {
        vec![
            ("rope.scaling.type", GgufEntry::Text(kind.to_owned())),
            ("rope.scaling.factor", GgufEntry::F32(factor as f32)),
        ]
    };
    match &config.rope.kind {
        RopeKind::Default => Ok(Vec::new()),
        RopeKind::Linear { factor } => Ok(scaling("linear", *factor)),
        RopeKind::Llama3(_) if config.family == Family::Llama => Ok(Vec::new()),
        RopeKind::Yarn(yarn) if is_plain(yarn) => {
            let positions = config.max_positions as f64;
            let original = yarn.original_max_positions.unwrap_or(positions);
            let mut entries = scaling("yarn", yarn.factor.unwrap_or(positions / original));
            entries.push(("rope.scaling.original_context_length", GgufEntry::U32(original as u32)));
            Ok(entries)
        }
        other => Err(Error::Invalid(format!(
            "cannot write rope scaling {other:?} of {}: llama.cpp reads linear and YaRN without further settings, \
             and Llama 3's in Llama models",
            config.family.architecture()
        ))),
    }
}

/// Whether nothing but the factor and the original context is set.
fn is_plain(yarn: &Yarn) -> bool {
    let plain = Yarn {
        factor: yarn.factor,
        attention_factor: None,
        mscale: None,
        mscale_all_dim: None,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: true,
        original_max_positions: yarn.original_max_positions,
    };
    *yarn == plain
}

/// The tensor of divisors, for the scaling that has no keys.
pub(super) fn factors(config: &Config) -> Option<Vec<f32>> {
    let is_llama3 = matches!(config.rope.kind, RopeKind::Llama3(_));
    let divisors = || config.rope.divisors(config.head_dim, config.max_positions);
    is_llama3.then(|| divisors().into_iter().map(|divisor| divisor as f32).collect())
}
