//! Which traces of a question become training examples. The list is [`Selection::ALL`].

use crate::Rng;
use crate::error::{Error, Result, check_log_weights, same_length, unknown_name};
use crate::weights::normalise;

pub mod best;
pub mod resample;
pub mod weighted;

pub use resample::Scheme;

/// The published length limit: traces of this many tokens or more are dropped.
pub const PUBLISHED_LENGTH_LIMIT: usize = 28_000;

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
    /// Seeded draws in proportion to rho~: see [`resample`].
    Resample {
        /// How draws depend on each other.
        scheme: Scheme,
        /// Draws per question, ≥ 1.
        draws: usize,
    },
}

impl Selection {
    /// Every selection, resampling with one draw.
    pub const ALL: [Self; 4] = [
        Self::Weighted,
        Self::Best,
        Self::Resample {
            scheme: Scheme::Multinomial,
            draws: 1,
        },
        Self::Resample {
            scheme: Scheme::Systematic,
            draws: 1,
        },
    ];

    /// The name in recipes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Best => "best",
            Self::Resample {
                scheme: Scheme::Multinomial,
                ..
            } => "resample-multinomial",
            Self::Resample {
                scheme: Scheme::Systematic,
                ..
            } => "resample-systematic",
        }
    }

    /// The selection of a name.
    ///
    /// # Errors
    /// Unknown names, with the list of those there are.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL
            .into_iter()
            .find(|selection| selection.name() == name);
        found.ok_or_else(|| unknown_name("selection", name, Self::ALL.iter().map(Self::name)))
    }

    /// Chooses among a question's traces; no pick where every rho is zero (then [`crate::fallback`] decides).
    ///
    /// # Shapes
    /// `log_rho_k`: K ≥ 1 log-weights, nats, -inf for zero or dropped.
    ///
    /// # Errors
    /// No trace, NaN, +inf, or zero draws.
    pub fn select(&self, log_rho_k: &[f64], rng: &mut Rng) -> Result<Vec<Pick>> {
        check_log_weights("Selection::select", log_rho_k)?;
        Ok(match *self {
            Self::Best => best::select(log_rho_k),
            Self::Weighted => weighted::select(&normalise(log_rho_k)?.0),
            Self::Resample { draws: 0, .. } => {
                return Err(Error::Empty {
                    operation: "Selection::select",
                    noun: "draw",
                });
            }
            Self::Resample { scheme, draws } => {
                resample::select(&normalise(log_rho_k)?.0, scheme, draws, rng)
            }
        })
    }
}

/// Drops traces of `limit` tokens or more by setting their log-weight to -inf; returns how many.
///
/// # Shapes
/// `log_weight_k`: K log-weights (or log-ratios), changed in place. `tokens_k`: K trace lengths, tokens.
///
/// # Errors
/// Lengths that differ.
pub fn drop_long_traces(
    log_weight_k: &mut [f64],
    tokens_k: &[usize],
    limit: usize,
) -> Result<usize> {
    same_length("drop_long_traces", log_weight_k.len(), tokens_k.len())?;
    let mut dropped = 0;
    for (log_weight, _) in log_weight_k
        .iter_mut()
        .zip(tokens_k)
        .filter(|(_, tokens)| **tokens >= limit)
    {
        *log_weight = f64::NEG_INFINITY;
        dropped += 1;
    }
    Ok(dropped)
}
