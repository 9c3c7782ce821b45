//! Counter-based random numbers, without state: a draw does not depend on earlier draws, on batching, or on
//! where a run was resumed.

use latrace_objective::rng::{GOLDEN, finalise};

/// One step of SplitMix64 (Steele, Lea, Flood, 2014) from state `x`: a bijection that mixes all 64 bits.
#[must_use]
pub const fn mix(x: u64) -> u64 {
    finalise(x.wrapping_add(GOLDEN))
}

/// The 64 bits that SplitMix64 seeded with `key` gives as its `counter`-th output, counted from 0.
#[must_use]
pub const fn draw(key: u64, counter: u64) -> u64 {
    mix(key.wrapping_add(counter.wrapping_mul(GOLDEN)))
}

/// The key of one sample's stream of random numbers: a hash of the run's seed, the stage, the question's id
/// and the sample's index.
#[must_use]
pub fn stream(seed: u64, stage: &str, id: &str, sample: u64) -> u64 {
    mix(absorb(absorb(mix(seed), stage.as_bytes()), id.as_bytes()) ^ sample)
}

/// Hashes `bytes` into `state`. The length goes in last, so that moving text from one part of a key to the
/// next changes the hash.
fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let state = bytes.chunks(8).fold(state, |state, chunk| {
        // A last chunk is filled up with zeros, which the length tells apart from zeros of the text.
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state ^ u64::from_le_bytes(word))
    });
    mix(state ^ bytes.len() as u64)
}

/// A number in [0, 1), on the grid of 2^-53, from 64 random bits.
#[must_use]
pub fn unit(bits: u64) -> f64 {
    // 53 bits are what an f64 below 1 holds; more could round up to 1.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The random number in [0, 1) of a stream for the token at `position` of the sample.
#[must_use]
pub fn uniform(stream: u64, position: usize) -> f64 {
    unit(mix(stream ^ mix(position as u64)))
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
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF, "the first output of SplitMix64 seeded with 0");
        assert_eq!(stream(7, "traces", "question 12", 3), 0xE38C_D6C0_075C_251B);
        assert_eq!(uniform(7, 5), 0.5572075013668569);
    }

    /// The first outputs of the published generator, seeded with 0.
    #[test]
    fn draws_are_those_of_split_mix() {
        let published = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert_eq!([0, 1, 2].map(|counter| draw(0, counter)), published);
        assert_eq!(draw(7, 0), mix(7));
    }

    #[test]
    fn uniform_numbers_are_spread() {
        let mean = (0..10_000).map(|i| uniform(7, i)).sum::<f64>() / 1e4;
        // The mean of 10,000 has a standard deviation of 0.0029.
        assert!((mean - 0.5).abs() < 0.012, "{mean}");
        assert_eq!((unit(0), unit(u64::MAX)), (0.0, 1.0 - f64::EPSILON / 2.0));
    }
}
