//! What a question without a usable trace becomes: named, and counted.
//!
//! Published rules (sail-sg/variational-reasoning 21bc48a, section 8 of the paper): rows with a verifier keep
//! their original trace; rows without an automatic one (RUC) are built from the GML score and the reference
//! answer. Limit case: where the GML scores are empty too (every trace too long), the original row is kept.

use crate::names::named;

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

named!(Fallback, "fallback", {
    OriginalRow = "original-row",
    Skip = "skip",
    GeometricLikelihood = "geometric-likelihood",
});

impl Fallback {
    /// The release's rule for a row.
    #[must_use]
    pub const fn published(has_automatic_verifier: bool) -> Self {
        if has_automatic_verifier { Self::OriginalRow } else { Self::GeometricLikelihood }
    }

    /// The log-weights by which a question's traces are selected.
    ///
    /// # Shapes
    /// `log_rho_k`: K of the main estimator, nats. `log_rho_gml_k`: K of the GML estimator, read only by
    /// [`Fallback::GeometricLikelihood`]; empty where unknown.
    #[must_use]
    pub fn resolve(&self, log_rho_k: &[f64], log_rho_gml_k: &[f64]) -> Resolution {
        match self {
            // A fallback never replaces a usable main estimate, not even a poor one.
            _ if is_usable(log_rho_k) => Resolution::Main,
            Self::GeometricLikelihood if is_usable(log_rho_gml_k) => Resolution::GeometricLikelihood,
            Self::GeometricLikelihood | Self::OriginalRow => Resolution::OriginalRow,
            Self::Skip => Resolution::Skipped,
        }
    }
}

fn is_usable(log_weight_k: &[f64]) -> bool {
    log_weight_k.iter().any(|&value| value > f64::NEG_INFINITY)
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

named!(Resolution, "resolution", {
    Main = "main",
    GeometricLikelihood = "geometric-likelihood",
    OriginalRow = "original-row",
    Skipped = "skipped",
});

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
        let fell_back = self.fell_back();
        let questions = self.main + fell_back;
        if questions == 0 { 0.0 } else { fell_back as f64 / questions as f64 }
    }

    fn fell_back(&self) -> usize {
        self.geometric_likelihood + self.original_row + self.skipped
    }
}
