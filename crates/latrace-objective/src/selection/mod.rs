//! Which traces of a question become training examples. The list is [`Selection::ALL`].

use crate::Rng;
use crate::error::{Error, Result, check_log_weights, unknown_name};
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
    pub const ALL: [Self; 4] =
        [Self::Weighted, Self::Best, Self::Resample { scheme: Scheme::Multinomial, draws: 1 }, Self::Resample { scheme: Scheme::Systematic, draws: 1 }];

    /// The name in recipes.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Weighted => "weighted",
            Self::Best => "best",
            Self::Resample { scheme: Scheme::Multinomial, .. } => "resample-multinomial",
            Self::Resample { scheme: Scheme::Systematic, .. } => "resample-systematic",
        }
    }

    /// The selection of a name.
    ///
    /// # Errors
    /// Unknown names, with the list of those there are.
    pub fn from_name(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|selection| selection.name() == name);
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
                return Err(Error::Empty { operation: "Selection::select", noun: "draw" });
            }
            Self::Resample { scheme, draws } => resample::select(&normalise(log_rho_k)?.0, scheme, draws, rng),
        })
    }
}
