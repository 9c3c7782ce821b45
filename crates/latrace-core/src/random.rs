//! Counter-based random numbers, without state: a draw does not depend on earlier draws, on batching, or on
//! where a run was resumed. Every stream is keyed by a seed and a path below it; see [`latrace_objective::rng`].

use latrace_objective::rng::{GOLDEN, text};

pub use latrace_objective::rng::{Rng, draw, finalise, key, unit};

/// A step of a hash: a bijection that mixes all 64 bits.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    finalise(x.wrapping_add(GOLDEN))
}

/// The key of one sample's stream of random numbers: at the path (stage, question, sample) below the run's
/// seed.
#[must_use]
pub fn stream(seed: u64, stage: &str, id: &str, sample: u64) -> u64 {
    key(seed, &[text(stage), text(id), sample])
}

/// The random number in [0, 1) of a stream for the token at `position` of the sample.
#[must_use]
pub fn uniform(stream: u64, position: usize) -> f64 {
    unit(draw(stream, position as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let keys = [
            (0, "a", "b", 0),
            (1, "a", "b", 0),
            (0, "c", "b", 0),
            (0, "a", "c", 0),
            (0, "a", "b", 1),
            (0, "ab", "", 0),
            (0, "", "ab", 0),
            (0, "a\0", "b", 0),
        ];
        let streams: BTreeSet<u64> =
            keys.iter().map(|&(seed, stage, id, sample)| stream(seed, stage, id, sample)).collect();
        assert_eq!(streams.len(), keys.len());
    }

    /// Finished runs were drawn with these: another value would be another run under the same seed.
    #[test]
    fn keys_and_draws_are_those_of_earlier_runs() {
        assert_eq!(stream(7, "traces", "question 12", 3), 476_126_971_355_836_627);
        assert_eq!(uniform(7, 5), 0.249_431_522_282_743_35);
    }
}
