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
        Self { key: finalise(seed ^ GOLDEN), counter: 0 }
    }

    /// The stream at a path below a seed: (run seed; stage, question, trace, …). Paths that differ in order or
    /// length have different streams.
    #[must_use]
    pub fn at(seed: u64, path: &[u64]) -> Self {
        let start = finalise(seed ^ GOLDEN);
        // Each part is hashed before it is added, so that neighbouring ids do not give neighbouring keys, and
        // the key after each step, so that the order of the parts counts.
        let key = path.iter().fold(start, |key, &part| {
            finalise(key.wrapping_add(GOLDEN) ^ finalise(part.wrapping_add(GOLDEN)))
        });
        Self { key, counter: 0 }
    }

    /// 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(1);
        finalise(self.key.wrapping_add(self.counter.wrapping_mul(GOLDEN)))
    }

    /// A number in [0, 1), on the grid of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        // An f64 below 1 holds 53 bits; rounding 64 of them could give 1 itself.
        (self.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
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
