//! What self-distillation learns.

use serde::{Deserialize, Serialize};

/// What is subtracted from a token's log-prob under the hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contrast {
    /// Its log-prob under the model that sampled it: the reverse KL.
    None,
    /// Its log-prob under another question's hint.
    WrongHint,
}

/// Building of a self-distillation's examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// What is subtracted from the log-probs under the hint.
    pub contrast: Contrast,
}
