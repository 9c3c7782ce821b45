//! Complex numbers of any precision, and the size below which a result is rounding error.

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::syntax::Rational;

pub(super) const ROUNDING: RoundingMode = RoundingMode::None;
/// Bits of the precision that two values that agree may differ in, relative to the greater.
const DISAGREEING_BITS: usize = 92;
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
}

pub(super) fn zero() -> BigFloat {
    BigFloat::from_i64(0, 64)
}

pub(super) fn one() -> BigFloat {
    BigFloat::from_i64(1, 64)
}

impl Arithmetic {
    pub(super) fn new(precision: usize) -> Option<Arithmetic> {
        Some(Arithmetic {
            constants: Consts::new().ok()?,
            precision,
            greatest: None,
            greatest_ever: i32::MIN,
            least: i32::MAX,
        })
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
        // An exact zero, or what cancellation has left of terms that were much greater.
        if let Some(exponent) = size.exponent().filter(|_| !size.is_zero()) {
            // Both ends of the range of terms: the confirming precision must cover it.
            (self.greatest_ever, self.least) = (self.greatest_ever.max(exponent), self.least.min(exponent));
        }
        let greater =
            self.greatest.as_ref().is_none_or(|known| size.cmp(known).is_some_and(|order| order > 0));
        if greater {
            self.greatest = Some(size);
        }
    }

    pub(super) fn magnitude(&self, value: &Complex) -> BigFloat {
        if value.im.is_zero() {
            return value.re.abs();
        }
        let square = value.re.mul(&value.re, self.precision, ROUNDING).add(
            &value.im.mul(&value.im, self.precision, ROUNDING),
            self.precision,
            ROUNDING,
        );
        square.sqrt(self.precision, ROUNDING)
    }

    fn lowered(value: &BigFloat, bits: usize) -> BigFloat {
        let mut scaled = value.clone();
        if let Some(exponent) = value.exponent() {
            scaled.set_exponent(exponent.saturating_sub(i32::try_from(bits).unwrap_or(i32::MAX)));
        }
        scaled
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
        size.is_zero()
            || self.greatest.as_ref().is_some_and(|greatest| {
                size.cmp(&Arithmetic::lowered(greatest, self.precision - ROUNDED_BITS))
                    .is_some_and(|order| order <= 0)
            })
    }

    pub(super) fn same(&mut self, left: &Complex, right: &Complex) -> bool {
        let difference = self.subtract(left, right);
        if self.is_nothing(&difference) {
            return true;
        }
        let size = self.magnitude(&difference);
        let (left, right) = (self.magnitude(left), self.magnitude(right));
        let bound = Arithmetic::lowered(&left.max(&right), self.precision - DISAGREEING_BITS);
        size.cmp(&bound).is_some_and(|order| order <= 0)
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
        if left.im.is_zero() && right.im.is_zero() {
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
        let size = right.re.mul(&right.re, self.precision, ROUNDING).add(
            &right.im.mul(&right.im, self.precision, ROUNDING),
            self.precision,
            ROUNDING,
        );
        let conjugate = Complex {
            re: right.re.div(&size, self.precision, ROUNDING),
            im: right.im.neg().div(&size, self.precision, ROUNDING),
        };
        Arithmetic::checked(self.multiply(left, &conjugate))
    }

    pub(super) fn integer(&mut self, value: &BigInt) -> Option<BigFloat> {
        if let Some(small) = value.to_i64() {
            return Some(BigFloat::from_i64(small, self.precision));
        }
        // Only the leading bits of a number with thousands of digits can matter.
        let kept = self.precision + 64;
        let drop = value.bits().saturating_sub(kept as u64);
        let top: BigInt = value.abs() >> drop;
        let (_, words) = top.to_u64_digits();
        let word = |value: u64| BigFloat::from_u64(value, 64);
        let two_64 = Arithmetic::raised(&one(), 64);
        let float = words
            .iter()
            .rev()
            .fold(zero(), |sum, digits| sum.mul(&two_64, kept, ROUNDING).add(&word(*digits), kept, ROUNDING));
        let mut float = Arithmetic::raised(&float, i32::try_from(drop).ok()?);
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
        const MOST_EXPONENT: i32 = 28;
        let small = |part: &BigFloat| {
            part.is_zero() || part.exponent().is_some_and(|exponent| exponent <= MOST_EXPONENT)
        };
        if !small(&power.re) || !small(&power.im) {
            return None;
        }
        let size = power.re.exp(self.precision, ROUNDING, &mut self.constants);
        // As in products: no imaginary rounding for real powers.
        if power.im.is_zero() {
            return Some(Arithmetic::real(size));
        }
        self.note(size.clone());
        let (sine, cosine) = (
            power.im.sin(self.precision, ROUNDING, &mut self.constants),
            power.im.cos(self.precision, ROUNDING, &mut self.constants),
        );
        Some(Complex {
            re: size.mul(&cosine, self.precision, ROUNDING),
            im: size.mul(&sine, self.precision, ROUNDING),
        })
    }

    /// The principal logarithm.
    pub(super) fn logarithm(&mut self, value: &Complex) -> Option<Complex> {
        let size = self.magnitude(value);
        if size.is_zero() {
            return None;
        }
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
        let two = BigFloat::from_i64(2, self.precision);
        if value.re.is_zero() {
            let quarter = self.pi().div(&two, self.precision, ROUNDING);
            return if value.im.is_negative() { quarter.neg() } else { quarter };
        }
        let principal = value.im.div(&value.re, self.precision, ROUNDING).atan(
            self.precision,
            ROUNDING,
            &mut self.constants,
        );
        match (value.re.is_negative(), value.im.is_negative()) {
            (false, _) => principal,
            (true, false) => principal.add(&self.pi(), self.precision, ROUNDING),
            (true, true) => principal.sub(&self.pi(), self.precision, ROUNDING),
        }
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
