//! What the weight of a trace is made of: rho, or one of the ablations. The list is [`Weighting::ALL`].

use crate::error::{Result, same_length};
use crate::names::named;
use crate::weights::{GroupSummary, normalise_into};

pub mod accuracy_only;
pub mod leave_one_out;
pub mod ratio_only;
pub mod rho;
pub mod uniform;

/// Which weights multiply the K traces of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weighting {
    /// rho~: see [`rho`].
    #[default]
    Rho,
    /// See [`ratio_only`].
    RatioOnly,
    /// See [`accuracy_only`].
    AccuracyOnly,
    /// See [`uniform`].
    Uniform,
    /// rho~ less its leave-one-out mean, signed: see [`leave_one_out`].
    LeaveOneOut,
}

named!(Weighting, "weighting", {
    Rho = "rho",
    RatioOnly = "ratio-only",
    AccuracyOnly = "accuracy-only",
    Uniform = "uniform",
    LeaveOneOut = "leave-one-out",
});

impl Weighting {
    /// Log of a trace's weight before normalisation, nats.
    #[must_use]
    pub fn log_weight(&self, log_ratio: f64, log_answer: f64) -> f64 {
        match self {
            Self::Rho | Self::LeaveOneOut => rho::log_weight(log_ratio, log_answer),
            Self::RatioOnly => ratio_only::log_weight(log_ratio, log_answer),
            Self::AccuracyOnly => accuracy_only::log_weight(log_ratio, log_answer),
            Self::Uniform => uniform::log_weight(log_ratio, log_answer),
        }
    }

    /// Weights of a question's traces, normalised over the group; they sum to 1 (to 0 for leave-one-out).
    ///
    /// # Shapes
    /// `log_ratio_k`, `log_answer_k`: K ≥ 1, nats; a dropped trace has log-ratio -inf. Returns weights over
    /// k.
    ///
    /// # Errors
    /// Lengths that differ, NaN or +inf.
    pub fn weights(&self, log_ratio_k: &[f64], log_answer_k: &[f64]) -> Result<(Vec<f64>, GroupSummary)> {
        same_length("Weighting::weights", log_ratio_k.len(), log_answer_k.len())?;
        let pairs = log_ratio_k.iter().zip(log_answer_k);
        let log_weight_k: Vec<f64> = pairs.map(|(&ratio, &answer)| self.log_weight(ratio, answer)).collect();
        let mut weight_k = vec![0.0; log_weight_k.len()];
        let mut summary = normalise_into(&log_weight_k, &mut weight_k)?;
        // After normalisation, since the baseline is a mean of rho~.
        if *self == Self::LeaveOneOut {
            leave_one_out::centre(&mut weight_k, |k| log_ratio_k[k] == f64::NEG_INFINITY, &mut summary);
        }
        Ok((weight_k, summary))
    }
}
