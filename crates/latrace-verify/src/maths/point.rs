//! Points at which expressions are compared.

use latrace_core::random::finalise;
use num_bigint::BigInt;

use super::syntax::{Expression, Rational, Written};

/// Where variables are evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    pub(super) trial: u64,
    /// Only at whole numbers above zero.
    pub(super) whole: bool,
    /// At times far from zero.
    pub(super) wide: bool,
    pub(super) signs: Signs,
}

/// Which variables are negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signs {
    /// None in the first trials, all in the next, any after it.
    Varied,
    Positive,
    /// One alone, by the hash of its name.
    Negative(u64),
}

impl Point {
    /// The value of the variable `name`.
    pub(super) fn value(self, name: &str) -> Rational {
        // Hashes of similar names are similar; their points must not be.
        let random = finalise(self.seed(name));
        let size = if self.whole { self.whole_size(random) } else { self.size(random) };
        if !self.whole && self.is_negative(random, name) { -size } else { size }
    }

    /// How many of the variables are negative.
    pub(super) fn negatives(self, names: &[String]) -> usize {
        let is_negative = |name: &&String| self.is_negative(finalise(self.seed(name)), name);
        names.iter().filter(is_negative).count()
    }

    fn seed(self, name: &str) -> u64 {
        hash(name, self.trial)
    }

    fn whole_size(self, random: u64) -> Rational {
        // Small ones, since factorials and powers are taken of them.
        let most = if self.is_far() { 10_007 } else { 23 };
        Rational::from_integer(BigInt::from(1 + random % most))
    }

    fn size(self, random: u64) -> Rational {
        // Large, and another at each trial, so that terms seldom cancel by chance.
        const SCALES: [u64; 4] = [1_000_003, 400_009, 150_001, 2_000_003];
        let fraction = BigInt::from((random >> 20) % 1_000_003 + 1);
        let factor = if self.is_far() { 1_009 } else { 1 };
        Rational::new(fraction * factor, BigInt::from(SCALES[(self.trial % 4) as usize]))
    }

    /// Remainders and minima look like their argument near zero.
    fn is_far(self) -> bool {
        self.wide && self.trial % 3 == 2
    }

    fn is_negative(self, random: u64, name: &str) -> bool {
        const POSITIVE: u64 = 4;
        match self.signs {
            // All variables are negative once, so that |x| and x differ for certain; then signs are mixed.
            Signs::Varied => self.trial == POSITIVE || (self.trial > POSITIVE && random & 1 == 1),
            Signs::Positive => false,
            Signs::Negative(name_hash) => hash(name, 0) == name_hash,
        }
    }
}

impl Signs {
    /// One variable is negative.
    pub(super) fn negative(name: &str) -> Signs {
        Signs::Negative(hash(name, 0))
    }
}

/// A hash (FNV-1a) of name and trial: the same point for both sides, in every process.
fn hash(name: &str, trial: u64) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let basis = BASIS ^ trial.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    name.bytes().fold(basis, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The expression with its variables replaced by their values at a point.
pub(super) fn at_point(expression: &Expression, point: &Point) -> Expression {
    match expression {
        Expression::Symbol(name) => Expression::Number(point.value(name), Written::Exactly),
        other => other.map(&mut |part| at_point(part, point)),
    }
}
