//! Complex numbers of any precision, and the size below which a result is rounding error.

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::syntax::Rational;
use super::work;

// Results are not rounded to the last bit: agreement allows for far larger errors.
pub(super) const ROUNDING: RoundingMode = RoundingMode::None;
// At 192 bits, 100 must agree: evaluation loses far fewer than 92, and different values of an answer's size
// agree in 100 only by being built to do so, which the confirmation at a higher precision catches.
/// Bits of the precision that two values that agree may differ in, relative to the greater.
const DISAGREEING_BITS: usize = 92;
// At 192 bits, what cancels to below 2^-150 of its greatest term is zero.
/// Bits of the precision that may be wrong in a sum, relative to its greatest term.
const ROUNDED_BITS: usize = 42;

#[derive(Clone, Debug)]
pub(super) struct Complex {
    pub(super) re: BigFloat,
    pub(super) im: BigFloat,
}

/// Arithmetic of one precision, and what it has added so far.
pub(super) struct Arithmetic {
    pub(super) constants: Consts,
    pub(super) precision: usize,
    /// The greatest term that has been added: differences far below it are rounding.
    greatest: Option<BigFloat>,
    /// The exponents of the greatest and the smallest term at all points so far.
    greatest_ever: i32,
    least: i32,
    /// Logarithms and even roots of negative numbers have no value.
    pub(super) is_real_alone: bool,
}

/// What an operation costs at 192 bits.
pub(super) const OPERATION: u64 = 4;
/// What a function costs at 192 bits.
pub(super) const FUNCTION: u64 = 500;

// Small integers are exact at any precision.
pub(super) fn zero() -> BigFloat {
    BigFloat::from_i64(0, 64)
}

pub(super) fn one() -> BigFloat {
    BigFloat::from_i64(1, 64)
}

/// Whether e to a number is within the range of exponents: up to 2^28, whatever the sign.
fn has_exponential(part: &BigFloat) -> bool {
    const MOST_EXPONENT: i32 = 28;
    part.is_zero() || part.exponent().is_some_and(|exponent| exponent <= MOST_EXPONENT)
}

fn is_at_most(value: &BigFloat, bound: &BigFloat) -> bool {
    value.cmp(bound).is_some_and(|order| order <= 0)
}

/// The number with these words of 64 bits, the least significant first.
fn from_words(words: &[u64], precision: usize) -> BigFloat {
    let base = Arithmetic::raised(&one(), 64);
    words.iter().rev().fold(zero(), |sum, word| {
        let word = BigFloat::from_u64(*word, 64);
        sum.mul(&base, precision, ROUNDING).add(&word, precision, ROUNDING)
    })
}

impl Arithmetic {
    pub(super) fn new(precision: usize) -> Option<Arithmetic> {
        // Constants are computed anew.
        work::spend(2 * FUNCTION)?;
        Some(Arithmetic {
            constants: Consts::new().ok()?,
            precision,
            greatest: None,
            greatest_ever: i32::MIN,
            least: i32::MAX,
            is_real_alone: false,
        })
    }

    /// Takes the units that something costs which takes so many at 192 bits.
    pub(super) fn spend(&self, units: u64) -> Option<()> {
        // Products take time quadratic in the precision, but much of the time at 192 bits is none of theirs.
        let words = (self.precision / 64) as u64;
        work::spend(units * (words * words + 27) / 36)
    }

    /// Continues at another precision, with no terms recorded.
    pub(super) fn begin(&mut self, precision: usize) {
        self.precision = precision;
        (self.greatest_ever, self.least) = (i32::MIN, i32::MAX);
    }

    /// Drops the terms of the last point, but keeps the range of their sizes.
    pub(super) fn forget(&mut self) {
        self.greatest = None;
    }

    /// Bits between the greatest and the smallest term that has been added.
    pub(super) fn spread(&self) -> usize {
        usize::try_from(i64::from(self.greatest_ever) - i64::from(self.least)).unwrap_or(0)
    }

    pub(super) fn real(re: BigFloat) -> Complex {
        Complex { re, im: zero() }
    }

    pub(super) fn is_real(&self, value: &Complex) -> bool {
        value.im.is_zero()
    }

    pub(super) fn checked(value: Complex) -> Option<Complex> {
        let usable = |part: &BigFloat| !part.is_nan() && !part.is_inf();
        (usable(&value.re) && usable(&value.im)).then_some(value)
    }

    /// Records the size of a term.
    pub(super) fn note(&mut self, size: BigFloat) {
        // Zeros have no size: they are exact, or what cancellation has left of terms that were much greater.
        if let Some(exponent) = size.exponent().filter(|_| !size.is_zero()) {
            // Both ends of the range of terms: the confirming precision must cover it.
            self.greatest_ever = self.greatest_ever.max(exponent);
            self.least = self.least.min(exponent);
        }
        let is_greater = |known: &BigFloat| size.cmp(known).is_some_and(|order| order > 0);
        if self.greatest.as_ref().is_none_or(is_greater) {
            self.greatest = Some(size);
        }
    }

    pub(super) fn magnitude(&self, value: &Complex) -> BigFloat {
        // The real case apart: a square root would round it.
        if value.im.is_zero() { value.re.abs() } else { self.square(value).sqrt(self.precision, ROUNDING) }
    }

    /// The square of a value's magnitude.
    fn square(&self, value: &Complex) -> BigFloat {
        let square = |part: &BigFloat| part.mul(part, self.precision, ROUNDING);
        square(&value.re).add(&square(&value.im), self.precision, ROUNDING)
    }

    fn lowered(value: &BigFloat, bits: usize) -> BigFloat {
        Arithmetic::raised(value, i32::try_from(bits).map_or(i32::MIN, |bits| -bits))
    }

    fn raised(value: &BigFloat, bits: i32) -> BigFloat {
        let mut raised = value.clone();
        if let Some(exponent) = value.exponent() {
            raised.set_exponent(exponent.saturating_add(bits));
        }
        raised
    }

    /// Whether a value is zero up to the rounding of the sums before it.
    pub(super) fn is_nothing(&self, value: &Complex) -> bool {
        let size = self.magnitude(value);
        let is_rounding = |greatest: &BigFloat| {
            is_at_most(&size, &Arithmetic::lowered(greatest, self.precision - ROUNDED_BITS))
        };
        size.is_zero() || self.greatest.as_ref().is_some_and(is_rounding)
    }

    pub(super) fn same(&mut self, left: &Complex, right: &Complex) -> bool {
        let difference = self.subtract(left, right);
        if self.is_nothing(&difference) {
            return true;
        }
        let greater = self.magnitude(left).max(&self.magnitude(right));
        let bound = Arithmetic::lowered(&greater, self.precision - DISAGREEING_BITS);
        is_at_most(&self.magnitude(&difference), &bound)
    }

    pub(super) fn add(&self, left: &Complex, right: &Complex) -> Complex {
        Complex {
            re: left.re.add(&right.re, self.precision, ROUNDING),
            im: left.im.add(&right.im, self.precision, ROUNDING),
        }
    }

    pub(super) fn subtract(&self, left: &Complex, right: &Complex) -> Complex {
        Complex {
            re: left.re.sub(&right.re, self.precision, ROUNDING),
            im: left.im.sub(&right.im, self.precision, ROUNDING),
        }
    }

    pub(super) fn multiply(&self, left: &Complex, right: &Complex) -> Complex {
        let product = |one: &BigFloat, two: &BigFloat| one.mul(two, self.precision, ROUNDING);
        // Real products stay real: a computed imaginary part would be rounding, and `is_real` asks for an
        // exact zero.
        if self.is_real(left) && self.is_real(right) {
            return Arithmetic::real(product(&left.re, &right.re));
        }
        let re = product(&left.re, &right.re).sub(&product(&left.im, &right.im), self.precision, ROUNDING);
        let im = product(&left.re, &right.im).add(&product(&left.im, &right.re), self.precision, ROUNDING);
        Complex { re, im }
    }

    pub(super) fn divide(&self, left: &Complex, right: &Complex) -> Option<Complex> {
        if self.is_nothing(right) {
            return None;
        }
        // By the conjugate: 1/(a + bi) is (a − bi)/(a² + b²).
        let size = self.square(right);
        let over_size = |part: &BigFloat| part.div(&size, self.precision, ROUNDING);
        let reciprocal = Complex { re: over_size(&right.re), im: over_size(&right.im.neg()) };
        Arithmetic::checked(self.multiply(left, &reciprocal))
    }

    pub(super) fn integer(&mut self, value: &BigInt) -> Option<BigFloat> {
        if let Some(small) = value.to_i64() {
            return Some(BigFloat::from_i64(small, self.precision));
        }
        // Only the leading bits of a number with thousands of digits can matter.
        let kept = self.precision + 64;
        let dropped = value.bits().saturating_sub(kept as u64);
        let leading = from_words(&(value.abs() >> dropped).to_u64_digits().1, kept);
        let mut float = Arithmetic::raised(&leading, i32::try_from(dropped).ok()?);
        float.set_sign(if value.is_negative() { Sign::Neg } else { Sign::Pos });
        Some(float)
    }

    pub(super) fn rational(&mut self, value: &Rational) -> Option<Complex> {
        let numerator = self.integer(value.numer())?;
        if value.is_integer() {
            return Some(Arithmetic::real(numerator));
        }
        let denominator = self.integer(value.denom())?;
        Some(Arithmetic::real(numerator.div(&denominator, self.precision, ROUNDING)))
    }

    pub(super) fn pi(&mut self) -> BigFloat {
        self.constants.pi(self.precision, ROUNDING)
    }

    /// e to a complex power, where the power's size lets it be computed.
    pub(super) fn exponential(&mut self, power: &Complex) -> Option<Complex> {
        if !has_exponential(&power.re) || !has_exponential(&power.im) {
            return None;
        }
        self.spend(FUNCTION)?;
        let size = power.re.exp(self.precision, ROUNDING, &mut self.constants);
        // As in products: no imaginary rounding for real powers.
        if power.im.is_zero() {
            return Some(Arithmetic::real(size));
        }
        self.note(size.clone());
        let cosine = power.im.cos(self.precision, ROUNDING, &mut self.constants);
        let sine = power.im.sin(self.precision, ROUNDING, &mut self.constants);
        let times_size = |part: &BigFloat| size.mul(part, self.precision, ROUNDING);
        Some(Complex { re: times_size(&cosine), im: times_size(&sine) })
    }

    /// The principal logarithm.
    pub(super) fn logarithm(&mut self, value: &Complex) -> Option<Complex> {
        let size = self.magnitude(value);
        if size.is_zero() || (self.is_real_alone && value.re.is_negative()) {
            return None;
        }
        self.spend(FUNCTION)?;
        self.note(one());
        let re = size.ln(self.precision, ROUNDING, &mut self.constants);
        let im = self.angle(value);
        Some(Complex { re, im })
    }

    /// The angle of a value, in (−π, π].
    pub(super) fn angle(&mut self, value: &Complex) -> BigFloat {
        if value.im.is_zero() {
            return if value.re.is_negative() { self.pi() } else { zero() };
        }
        if value.re.is_zero() {
            let quarter = self.quarter_turn();
            return if value.im.is_negative() { quarter.neg() } else { quarter };
        }
        let principal = self.arctangent(value);
        // The arctangent knows only half of the plane.
        match (value.re.is_negative(), value.im.is_negative()) {
            (false, _) => principal,
            (true, false) => principal.add(&self.pi(), self.precision, ROUNDING),
            (true, true) => principal.sub(&self.pi(), self.precision, ROUNDING),
        }
    }

    pub(super) fn quarter_turn(&mut self) -> BigFloat {
        self.pi().div(&BigFloat::from_i64(2, self.precision), self.precision, ROUNDING)
    }

    fn arctangent(&mut self, value: &Complex) -> BigFloat {
        let slope = value.im.div(&value.re, self.precision, ROUNDING);
        slope.atan(self.precision, ROUNDING, &mut self.constants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 to a power.
    fn power(exponent: i32) -> Complex {
        Arithmetic::real(Arithmetic::raised(&one(), exponent))
    }

    #[test]
    fn values_agree_up_to_the_bits_that_rounding_may_take() {
        // Bits of the arithmetic, those in which two values must agree, and those that a sum keeps.
        for (precision, exact, kept) in [(192, 100, 150), (1024, 932, 982)] {
            let mut arithmetic = Arithmetic::new(precision).unwrap();
            let beside = |bits: i32| arithmetic.add(&power(0), &power(-bits));
            let (near, far) = (beside(exact + 1), beside(exact - 2));
            assert!(arithmetic.same(&power(0), &near));
            assert!(!arithmetic.same(&power(0), &far));
            // What is left of a sum of ones is rounding below so many bits, and a value above.
            arithmetic.note(one());
            assert!(arithmetic.is_nothing(&power(-kept - 1)));
            assert!(!arithmetic.is_nothing(&power(2 - kept)));
        }
    }
}
