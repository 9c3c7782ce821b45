//! Mixing built rows with original ones (section 8: 1:1, which doubles the data set).
//!
//! Assumption: an original row is as good a neighbour as another, so whole passes over the originals come
//! first and a seeded sample without repetition makes up the rest. Limit cases: ratio 0 is built rows only;
//! ratio 1 with as many originals as built rows is the release: every row of both, once.

use crate::Rng;
use crate::error::{Error, Result};

/// One row of the mixed data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MixedRow {
    /// Index into the built rows.
    Built(usize),
    /// Index into the original rows.
    Original(usize),
}

/// All built rows plus `ratio` × that many originals (rounded to nearest), in a seeded order.
///
/// # Shapes
/// `built`, `originals`: row counts. `ratio` ≥ 0: original rows per built row.
///
/// # Errors
/// A ratio that is negative or not finite; originals asked for where there are none.
pub fn mix(built: usize, originals: usize, ratio: f64, seed: u64) -> Result<Vec<MixedRow>> {
    if !(ratio.is_finite() && ratio >= 0.0) {
        return Err(Error::Domain {
            operation: "mix",
            expected: "a finite ratio of at least 0",
            got: ratio,
            index: 0,
        });
    }
    let wanted = (built as f64 * ratio).round() as usize;
    if wanted > 0 && originals == 0 {
        return Err(Error::Empty { operation: "mix", noun: "original row" });
    }
    let mut order: Vec<usize> = (0..originals).collect();
    Rng::at(seed, &[0]).shuffle(&mut order);
    let drawn = order.into_iter().cycle().take(wanted).map(MixedRow::Original);
    let mut rows: Vec<MixedRow> = (0..built).map(MixedRow::Built).chain(drawn).collect();
    Rng::at(seed, &[1]).shuffle(&mut rows);
    Ok(rows)
}
