//! A small counter-based generator: draw i of a stream is a hash of (key, i), so no draw depends on another's
//! order.
//!
//! The hash is the finaliser of SplitMix64 (Steele, Lea, Flood 2014), the stream is that of SplitMix64
//! started at the key. Good for choices and Monte Carlo; not for secrets.

/// The increment of SplitMix64: 2^64 over the golden ratio, made odd.
pub const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64: a bijection that mixes all 64 bits.
#[must_use]
pub const fn finalise(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The key of the stream at a path below a seed: (run seed; stage, question, trace, …). Order and length of the
/// path count.
#[must_use]
pub fn key(seed: u64, path: &[u64]) -> u64 {
    // Each part is hashed before it is added, so that neighbouring ids do not give neighbouring keys, and the
    // key after each step, so that the order of the parts counts.
    path.iter().fold(finalise(seed ^ GOLDEN), |key, &part| {
        finalise(key.wrapping_add(GOLDEN) ^ finalise(part.wrapping_add(GOLDEN)))
    })
}

/// A text as a part of a path.
#[must_use]
pub fn text(text: &str) -> u64 {
    let words: Vec<u64> = text.as_bytes().chunks(8).map(word).collect();
    // The length is the seed, because the last word is padded with zeros.
    key(text.len() as u64, &words)
}

/// Up to eight bytes as a number, the first the least significant.
fn word(chunk: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..chunk.len()].copy_from_slice(chunk);
    u64::from_le_bytes(word)
}

/// Draw `counter` of the stream of a key, counted from 0: what SplitMix64 seeded with the key gives then.
#[must_use]
pub const fn draw(key: u64, counter: u64) -> u64 {
    finalise(key.wrapping_add(counter.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// A number in [0, 1), on the grid of 2^-53, from 64 random bits.
#[must_use]
pub fn unit(bits: u64) -> f64 {
    // 53 bits are all that an f64 holds below 1; rounding 64 of them could give 1 itself.
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// A stream of draws that is a pure function of its seed and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rng {
    key: u64,
    counter: u64,
}

impl Rng {
    /// The stream of one seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::at(seed, &[])
    }

    /// The stream at a path below a seed, as for [`key`].
    #[must_use]
    pub fn at(seed: u64, path: &[u64]) -> Self {
        Self { key: key(seed, path), counter: 0 }
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let bits = draw(self.key, self.counter);
        self.counter = self.counter.wrapping_add(1);
        bits
    }

    /// A number in [0, 1), on the grid of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        unit(self.next_u64())
    }

    /// An index below `count`, each equally likely (rejection, so without modulo bias); 0 where `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        let count = count as u64;
        if count == 0 {
            return 0;
        }
        // The largest multiple of `count` that fits: draws from it on would favour the low indices.
        let unbiased = u64::MAX - u64::MAX % count;
        loop {
            let draw = self.next_u64();
            if draw < unbiased {
                return (draw % count) as usize;
            }
        }
    }

    /// An index drawn in proportion to weights ≥ 0 of positive sum; never one of weight 0.
    ///
    /// # Shapes
    /// `weight_k`: K weights. `None` where they sum to zero.
    pub fn weighted(&mut self, weight_k: &[f64]) -> Option<usize> {
        let total: f64 = weight_k.iter().sum();
        let mut left = self.uniform() * total;
        // Where rounding leaves a remainder after the last weight, the last positive one takes it.
        let mut last = None;
        for (k, &weight) in weight_k.iter().enumerate().filter(|&(_, &weight)| weight > 0.0) {
            last = Some(k);
            left -= weight;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// Fisher–Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            // An item may also stay in place: leaving that out would make only cyclic permutations.
            items.swap(end, self.below(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The first outputs of the published generator, seeded with 0.
    #[test]
    fn draws_are_those_of_split_mix() {
        let published = [0xE220_A839_7B1D_CDAF, 0x6E78_9E6A_A1B9_65F4, 0x06C4_5D18_8009_454F];
        assert_eq!([0, 1, 2].map(|counter| draw(0, counter)), published);
    }

    #[test]
    fn streams_differ_in_every_part_of_their_path() {
        let paths: [(u64, &[u64]); 7] =
            [(0, &[]), (1, &[]), (0, &[0]), (0, &[1]), (0, &[0, 1]), (0, &[1, 0]), (0, &[0, 1, 0])];
        let keys: BTreeSet<u64> = paths.iter().map(|&(seed, path)| key(seed, path)).collect();
        assert_eq!(keys.len(), paths.len());
    }

    #[test]
    fn texts_differ_in_every_byte_and_in_length() {
        let texts = ["", "a", "b", "a\0", "ab", "ba", "a long text", "a long texu", "a long text\0"];
        let parts: BTreeSet<u64> = texts.iter().map(|&part| text(part)).collect();
        assert_eq!(parts.len(), texts.len());
    }

    #[test]
    fn uniform_numbers_are_spread() {
        let mut rng = Rng::new(0);
        let mean = (0..10_000).map(|_| rng.uniform()).sum::<f64>() / 1e4;
        // The mean of 10,000 has a standard deviation of 0.0029.
        assert!((mean - 0.5).abs() < 0.012, "{mean}");
        assert_eq!((unit(0), unit(u64::MAX)), (0.0, 1.0 - f64::EPSILON / 2.0));
    }

    /// Finished runs were drawn with these: other values would be other runs under the same seed.
    #[test]
    fn keys_are_those_of_earlier_runs() {
        assert_eq!(key(7, &[1, 2]), 8_369_709_966_882_780_815);
        assert_eq!(text("question 12"), 2_046_273_040_364_079_677);
    }
}
