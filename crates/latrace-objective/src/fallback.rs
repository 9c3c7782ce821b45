//! What a question without a usable trace becomes: named, and counted.
//!
//! Published rules (sail-sg/variational-reasoning 21bc48a, section 8 of the paper): rows with a verifier keep their
//! original trace; rows without an automatic one (RUC) are built from the GML score and the reference answer.
//! Limit case: where the GML scores are empty too (every trace too long), the original row is kept.

use crate::error::{Result, unknown_name};

/// What to do where the main estimator leaves every trace at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fallback {
    /// Keep the question's original trace and answer.
    #[default]
    OriginalRow,
    /// Leave the question out.
    Skip,
    /// Choose by geometric likelihood, with the reference answer; the original row where that is empty too.
    GeometricLikelihood,
}

impl Fallback {
    /// Every fallback.
    pub const ALL: [Self; 3] = [Self::OriginalRow, Self::Skip, Self::GeometricLikelihood];

    /// The name in recipes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OriginalRow => "original-row",
            Self::Skip => "skip",
            Self::GeometricLikelihood => "geometric-likelihood",
        }
    }

    /// The fallback of a name.
    ///
    /// # Errors
    /// Unknown names, with the list of those there are.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|fallback| fallback.name() == name);
        found.ok_or_else(|| unknown_name("fallback", name, Self::ALL.iter().map(Self::name)))
    }

    /// The release's rule for a row.
    #[must_use]
    pub const fn published(has_automatic_verifier: bool) -> Self {
        if has_automatic_verifier { Self::OriginalRow } else { Self::GeometricLikelihood }
    }

    /// Says from which log-weights a question's traces are to be selected.
    ///
    /// # Shapes
    /// `log_rho_k`: K of the main estimator, nats. `log_rho_gml_k`: K of the GML estimator, read only by
    /// [`Fallback::GeometricLikelihood`]; empty where unknown.
    #[must_use]
    pub fn resolve(&self, log_rho_k: &[f64], log_rho_gml_k: &[f64]) -> Resolution {
        let usable = |log_weight_k: &[f64]| log_weight_k.iter().any(|&value| value > f64::NEG_INFINITY);
        match self {
            _ if usable(log_rho_k) => Resolution::Main,
            Self::GeometricLikelihood if usable(log_rho_gml_k) => Resolution::GeometricLikelihood,
            Self::GeometricLikelihood | Self::OriginalRow => Resolution::OriginalRow,
            Self::Skip => Resolution::Skipped,
        }
    }
}

/// How a question enters the data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// Traces selected by the main estimator.
    Main,
    /// Traces selected by GML, paired with the reference answer.
    GeometricLikelihood,
    /// The question's own trace and answer.
    OriginalRow,
    /// Not at all.
    Skipped,
}

/// Questions per resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FallbackCounts {
    /// Built from the main estimator.
    pub main: usize,
    /// Built from GML.
    pub geometric_likelihood: usize,
    /// Kept as they were.
    pub original_row: usize,
    /// Left out.
    pub skipped: usize,
}

impl FallbackCounts {
    /// Counts one question.
    pub fn add(&mut self, resolution: Resolution) {
        match resolution {
            Resolution::Main => self.main += 1,
            Resolution::GeometricLikelihood => self.geometric_likelihood += 1,
            Resolution::OriginalRow => self.original_row += 1,
            Resolution::Skipped => self.skipped += 1,
        }
    }

    /// Share of questions without a usable trace under the main estimator, in [0, 1].
    #[must_use]
    pub fn without_usable_trace(&self) -> f64 {
        let fell_back = self.geometric_likelihood + self.original_row + self.skipped;
        let questions = self.main + fell_back;
        if questions == 0 { 0.0 } else { fell_back as f64 / questions as f64 }
    }
}
