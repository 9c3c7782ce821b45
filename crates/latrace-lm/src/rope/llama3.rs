//! Llama 3.1's stretch of long wavelengths.

use super::{above, required};
use crate::error::Result;
use crate::fields::Fields;
use serde::Serialize;
use std::f64::consts::PI;

/// Llama 3.1 (`apply_scaling` in Meta's `llama-models`): long wavelengths are divided by `factor`, short ones
/// kept, those between `original / high_freq_factor` and `original / low_freq_factor` blended.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Llama3 {
    /// The stretch of long wavelengths.
    pub factor: f64,
    /// Turns over the original context below which a pair is stretched in full.
    pub low_freq_factor: f64,
    /// Turns over the original context above which a pair is kept.
    pub high_freq_factor: f64,
    /// Context length of pretraining, in tokens; none: the model's `max_positions`.
    pub original_max_positions: Option<f64>,
}

impl Llama3 {
    pub(super) fn read(fields: &Fields<'_>, original_max_positions: Option<f64>) -> Result<Self> {
        let low_freq_factor = required(fields, "low_freq_factor")?;
        let high_freq_factor = required(fields, "high_freq_factor")?;
        // Equal bounds would divide by zero between them.
        above(fields, "high_freq_factor", high_freq_factor, low_freq_factor)?;
        let factor = required(fields, "factor")?;
        Ok(Self { factor, low_freq_factor, high_freq_factor, original_max_positions })
    }

    pub(super) fn frequencies(&self, plain: &[f64], max_positions: f64) -> Vec<f64> {
        let original = self.original_max_positions.unwrap_or(max_positions);
        plain.iter().map(|&frequency| self.frequency(frequency, original)).collect()
    }

    fn frequency(&self, frequency: f64, original: f64) -> f64 {
        let Self { factor, low_freq_factor: low, high_freq_factor: high, .. } = *self;
        // Meta's code compares wavelengths; turns are their inverse, times the context.
        let turns = original * frequency / (2.0 * PI);
        if turns > high {
            return frequency;
        }
        if turns < low {
            return frequency / factor;
        }
        let kept = (turns - low) / (high - low);
        (1.0 - kept) * frequency / factor + kept * frequency
    }
}
