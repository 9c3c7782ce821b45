//! Fallbacks by kind of row: mixed data sets have rows with a verifier and rows without one, which the paper's runs
//! build in different ways (method.md section 8: only rows without a verifier take the geometric likelihood).

use latrace_objective::Fallback;
use serde::{Deserialize, Serialize};

/// How to handle a question without a usable trace, by its kind; none: as the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallbacks {
    /// Of mathematics.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub math: Option<Fallback>,
    /// Of multiple choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choice: Option<Fallback>,
    /// Of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Fallback>,
    /// Of programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Fallback>,
    /// Of what a verifier of the user's own judges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Fallback>,
}

impl Fallbacks {
    /// The fallback of a kind, if it has its own.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<Fallback> {
        match kind {
            "math" => self.math,
            "choice" => self.choice,
            "text" => self.text,
            "code" => self.code,
            "command" => self.command,
            // A built-in task is the only kind of its run, and takes the fallback of all.
            _ => None,
        }
    }

    /// Whether no kind has its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Fallbacks::default()
    }

    /// Whether some kind falls back so.
    #[must_use]
    pub fn any(&self, fallback: Fallback) -> bool {
        let Fallbacks { math, choice, text, code, command } = *self;
        [math, choice, text, code, command].contains(&Some(fallback))
    }
}
