//! Which traces of a question become training examples. The list is [`Selection::ALL`].

use crate::Rng;
use crate::error::{Error, Result, check_log_weights};
use crate::names::named;
use crate::weights::normalise;

pub mod best;
pub mod length;
pub mod resample;
pub mod weighted;

pub use length::{PUBLISHED_LENGTH_LIMIT, drop_long_traces};
pub use resample::Scheme;

/// One chosen trace and its share of the question's weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pick {
    /// k.
    pub trace: usize,
    /// Weight within the question; the picks of a question sum to 1.
    pub weight: f64,
}

/// How traces are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Selection {
    /// All, by rho~: see [`weighted`].
    Weighted,
    /// The first of highest rho: see [`best`].
    #[default]
    Best,
    /// This many independent draws (≥ 1) in proportion to rho~: see [`resample`].
    ResampleMultinomial(usize),
    /// This many evenly spaced draws (≥ 1) in proportion to rho~: see [`resample`].
    ResampleSystematic(usize),
}

named!(Selection, "selection", {
    Weighted = "weighted",
    Best = "best",
    ResampleMultinomial(1) = "resample-multinomial",
    ResampleSystematic(1) = "resample-systematic",
});

impl Selection {
    /// The same selection, with so many draws (≥ 1) for each question where it draws.
    #[must_use]
    pub const fn with_draws(self, draws: usize) -> Self {
        match self {
            Self::ResampleMultinomial(_) => Self::ResampleMultinomial(draws),
            Self::ResampleSystematic(_) => Self::ResampleSystematic(draws),
            other => other,
        }
    }

    /// Chooses among a question's traces; no pick where every rho is zero (then [`crate::fallback`] decides).
    ///
    /// # Shapes
    /// `log_rho_k`: K ≥ 1 log-weights, nats, -inf for zero or dropped.
    ///
    /// # Errors
    /// No trace, NaN, +inf, or zero draws.
    pub fn select(&self, log_rho_k: &[f64], rng: &mut Rng) -> Result<Vec<Pick>> {
        // Here for all variants: `best` compares log rho without normalising, and NaN is never the greater.
        check_log_weights("Selection::select", log_rho_k)?;
        Ok(match *self {
            Self::Best => best::select(log_rho_k),
            Self::Weighted => weighted::select(&normalise(log_rho_k)?.0),
            Self::ResampleMultinomial(draws) => resample(log_rho_k, Scheme::Multinomial, draws, rng)?,
            Self::ResampleSystematic(draws) => resample(log_rho_k, Scheme::Systematic, draws, rng)?,
        })
    }
}

fn resample(log_rho_k: &[f64], scheme: Scheme, draws: usize, rng: &mut Rng) -> Result<Vec<Pick>> {
    // Zero draws would leave every question out without a word.
    if draws == 0 {
        return Err(Error::Empty { operation: "Selection::select", noun: "draw" });
    }
    Ok(resample::select(&normalise(log_rho_k)?.0, scheme, draws, rng))
}
