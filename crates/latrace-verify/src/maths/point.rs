//! Points at which expressions are compared.

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
}

impl Point {
    /// The value of the variable `name`: positive in the first trials, negative in the next, of either sign
    /// after it.
    pub(super) fn value(self, name: &str) -> Rational {
        const POSITIVE: u64 = 4;
        // A hash of name and trial: the same point for both sides, in every process.
        let seed = name.bytes().fold(
            0xcbf2_9ce4_8422_2325_u64 ^ self.trial.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3),
        );
        let mixed = mix(seed);
        // Remainders and minima look like their argument near zero.
        let far = self.wide && self.trial % 3 == 2;
        if self.whole {
            return Rational::from_integer(BigInt::from(1 + mixed % if far { 10_007 } else { 23 }));
        }
        let fraction = (mixed >> 20) % 1_000_003;
        let scale = [1_000_003, 400_009, 150_001, 2_000_003][(self.trial % 4) as usize];
        let size =
            Rational::new(BigInt::from(fraction + 1) * if far { 1_009 } else { 1 }, BigInt::from(scale));
        // All variables are negative once, so that |x| and x differ for certain; then signs are mixed.
        let negative = self.trial == POSITIVE || (self.trial > POSITIVE && mixed & 1 == 1);
        if negative { -size } else { size }
    }
}

fn mix(seed: u64) -> u64 {
    let one = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let two = (one ^ (one >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    two ^ (two >> 31)
}

/// The expression with its variables replaced by their values at a point.
pub(super) fn at_point(expression: &Expression, point: &Point) -> Expression {
    match expression {
        Expression::Symbol(name) => Expression::Number(point.value(name), Written::Exactly),
        other => other.map(&mut |part| at_point(part, point)),
    }
}
