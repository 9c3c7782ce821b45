//! What questions are used for.

use serde::{Deserialize, Serialize};

/// A split of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Trained on.
    Train,
    /// For choices.
    Validation,
    /// Measured once, at the end.
    Test,
}
