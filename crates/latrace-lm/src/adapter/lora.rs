//! The settings of a new adapter.

use super::Part;
use crate::error::Result;
use crate::train_config::check;
use serde::{Deserialize, Serialize};

/// The projections of a decoder's layer, by the last part of their names.
pub const PROJECTIONS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// A low-rank adapter to be trained, its base frozen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lora {
    /// Rank r of B·A.
    pub rank: usize,
    /// B·A counts alpha / rank times.
    pub alpha: f64,
    /// Whether B·A counts alpha / √rank times instead (rsLoRA; Kalajdzievski, 2023).
    pub rslora: bool,
    /// Share of A's inputs that are left out at random in training.
    pub dropout: f64,
    /// The adapted projections, by the last part of their names.
    pub targets: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        let targets = PROJECTIONS.map(str::to_owned).to_vec();
        Self { rank: 16, alpha: 32.0, rslora: false, dropout: 0.0, targets }
    }
}

impl Lora {
    /// s, by which B·A is multiplied.
    pub(crate) fn scale(&self) -> f32 {
        scale(self.alpha, self.rank, self.rslora)
    }

    pub(super) fn adapts(&self, module: &str) -> bool {
        self.targets.iter().any(|target| is_named(module, target))
    }

    /// Checks every value.
    ///
    /// # Errors
    /// The first field out of its range, with what is expected.
    pub fn validate(&self) -> Result<()> {
        let Self { rank, alpha, dropout, .. } = self;
        check((1..=MOST_RANK).contains(rank), "lora.rank", &format!("from 1 to {MOST_RANK}"), rank)?;
        check(alpha.is_finite() && *alpha > 0.0, "lora.alpha", "a finite number above 0", alpha)?;
        check((0.0..1.0).contains(dropout), "lora.dropout", "at least 0 and below 1", dropout)?;
        check(!self.targets.is_empty(), "lora.targets", "at least one projection", "none")
    }

    /// Fails if a target names no projection of the model.
    pub(super) fn check_targets(&self, parts: &[Part]) -> Result<()> {
        let is_unknown = |target: &&String| !parts.iter().any(|part| is_named(&part.module, target));
        let unknown = self.targets.iter().find(is_unknown);
        let expected = format!("names among {}", PROJECTIONS.join(", "));
        unknown.map_or(Ok(()), |target| check(false, "lora.targets", &expected, target))
    }
}

/// Far above any rank in use: a mistyped one would otherwise end in an allocation that fails.
const MOST_RANK: usize = 4096;

pub(super) fn scale(alpha: f64, rank: usize, rslora: bool) -> f32 {
    let rank = rank as f64;
    (alpha / if rslora { rank.sqrt() } else { rank }) as f32
}

/// Whether a module has that name, or ends with it as whole parts.
pub(super) fn is_named(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}
