//! The value of an expression at a point.

use astro_float_num::BigFloat;
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::complex::{Arithmetic, Complex, FUNCTION, OPERATION, ROUNDING, one, zero};
use super::point::{Point, at_point};
use super::syntax::{Constant, Expression, Function, Rational};
use super::{closed, exact};

impl Arithmetic {
    /// The value of an expression at a point; `None` if it is undefined or too large to compute, or the work
    /// is used up.
    pub(super) fn value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        self.spend(OPERATION)?;
        Arithmetic::checked(self.raw_value(expression, point)?)
    }

    fn raw_value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        use Expression as E;
        match expression {
            E::Number(value, _) => self.rational(value),
            E::InBase(_, _, value) => Some(Arithmetic::real(self.integer(value)?)),
            E::Symbol(name) => self.rational(&point.value(name)),
            // What cannot be evaluated is a variable by its canonical text: two sums with the same bounds and
            // terms are equal, and others almost surely differ.
            E::Opaque(..) => match closed::at(expression, point) {
                Some(written_out) => self.value(&written_out, point),
                None => self.rational(&point.value(&exact::canonical(expression))),
            },
            E::Constant(constant) => self.constant(*constant),
            E::Sum(parts) => self.sum(parts, point),
            E::Product(parts) => self.product(parts, point),
            E::Quotient(pair) => {
                let (above, below) = (self.value(&pair.0, point)?, self.value(&pair.1, point)?);
                self.divide(&above, &below)
            }
            E::Negative(inner) => self.value(inner, point).map(negative),
            E::Percent(inner) => {
                let hundred = self.small(100);
                self.value(inner, point).and_then(|value| self.divide(&value, &hundred))
            }
            E::Degrees(inner) => self.degrees(inner, point),
            E::Root(inner, index) => {
                let value = self.value(inner, point)?;
                self.rational_power(&value, &Rational::new(BigInt::from(1), BigInt::from(*index)))
            }
            E::Power(pair) => self.power(&pair.0, &pair.1, point),
            E::Call(function, arguments) => self.call(*function, arguments, point),
            _ => None,
        }
    }

    fn small(&self, value: i64) -> Complex {
        Arithmetic::real(BigFloat::from_i64(value, self.precision))
    }

    fn constant(&mut self, constant: Constant) -> Option<Complex> {
        match constant {
            Constant::Pi => Some(Arithmetic::real(self.pi())),
            Constant::Euler => {
                Some(Arithmetic::real(one().exp(self.precision, ROUNDING, &mut self.constants)))
            }
            Constant::Imaginary => Some(Complex { re: zero(), im: one() }),
            // Infinity is compared by its sign, and has no place in arithmetic.
            Constant::Infinity | Constant::NumberSet(_) | Constant::EmptySet => None,
        }
    }

    fn product(&mut self, parts: &[Expression], point: &Point) -> Option<Complex> {
        let mut product = Arithmetic::real(one());
        for part in parts {
            let value = self.value(part, point)?;
            product = self.multiply(&product, &value);
        }
        Some(product)
    }

    fn degrees(&mut self, inner: &Expression, point: &Point) -> Option<Complex> {
        let value = self.value(inner, point)?;
        let degree = self.pi().div(&self.small(180).re, self.precision, ROUNDING);
        Some(self.multiply(&value, &Arithmetic::real(degree)))
    }

    fn sum(&mut self, parts: &[Expression], point: &Point) -> Option<Complex> {
        let mut sum = Arithmetic::real(zero());
        for part in parts {
            let value = self.value(part, point)?;
            // Cancellation is measured against the greatest term, not against the sum.
            self.note(self.magnitude(&value));
            sum = self.add(&sum, &value);
        }
        Some(sum)
    }

    fn power(&mut self, base: &Expression, exponent: &Expression, point: &Point) -> Option<Complex> {
        // The exponential itself: the logarithm of a rounded e would lose digits for no reason.
        if *base == Expression::Constant(Constant::Euler) {
            let exponent = self.value(exponent, point)?;
            return self.exponential(&exponent);
        }
        let base = self.value(base, point)?;
        if let Some(exponent) = exact::rational(exponent) {
            return self.rational_power(&base, &exponent);
        }
        let exponent = self.value(exponent, point)?;
        // 0 to a power is defined for positive ones alone; a logarithm of zero is not.
        if self.is_nothing(&base) {
            return (self.is_real(&exponent) && exponent.re.is_positive()).then(|| Arithmetic::real(zero()));
        }
        self.principal_power(&base, &exponent)
    }

    fn principal_power(&mut self, base: &Complex, exponent: &Complex) -> Option<Complex> {
        let logarithm = self.logarithm(base)?;
        self.exponential(&self.multiply(&logarithm, exponent))
    }

    fn rational_power(&mut self, base: &Complex, exponent: &Rational) -> Option<Complex> {
        // Up to here repeated squaring takes at most forty multiplications, and no logarithm.
        const MOST_SQUARINGS: u32 = 1 << 20;
        if exponent.is_integer() && exponent.abs().to_integer() <= BigInt::from(MOST_SQUARINGS) {
            return self.whole_power(base, &exponent.to_integer());
        }
        if self.is_nothing(base) {
            return exponent.is_positive().then(|| Arithmetic::real(zero()));
        }
        if self.is_real(base) && *exponent.denom() == BigInt::from(2) {
            return self.power_of_root(base, exponent.numer());
        }
        // School convention: \(\sqrt[3]{-8}\) is −2, where the principal value would be complex.
        let odd_root = exponent.denom().bit(0) && !exponent.is_integer();
        if odd_root && self.is_real(base) && base.re.is_negative() {
            return self.odd_root(base, exponent);
        }
        let power = self.rational(exponent)?;
        self.principal_power(base, &power)
    }

    /// A power of a real number's square root, which takes no logarithm.
    fn power_of_root(&mut self, base: &Complex, exponent: &BigInt) -> Option<Complex> {
        let is_negative = base.re.is_negative();
        if is_negative && self.is_real_alone {
            return None;
        }
        let size = base.re.abs().sqrt(self.precision, ROUNDING);
        let root = if is_negative { Complex { re: zero(), im: size } } else { Arithmetic::real(size) };
        self.whole_power(&root, exponent)
    }

    /// The real power of a negative number.
    fn odd_root(&mut self, base: &Complex, exponent: &Rational) -> Option<Complex> {
        let power = self.rational(exponent)?;
        let size = self.principal_power(&Arithmetic::real(base.re.abs()), &power)?;
        Some(if exponent.numer().bit(0) { Complex { re: size.re.neg(), ..size } } else { size })
    }

    fn whole_power(&mut self, base: &Complex, exponent: &BigInt) -> Option<Complex> {
        // \(0^0\) is 1, as everywhere in combinatorics.
        if base.re.is_zero() && base.im.is_zero() && !exponent.is_positive() {
            return exponent.is_zero().then(|| Arithmetic::real(one()));
        }
        let power = self.repeated_square(base, exponent.abs().to_u64()?)?;
        if exponent.is_negative() { self.divide(&Arithmetic::real(one()), &power) } else { Some(power) }
    }

    fn repeated_square(&mut self, base: &Complex, mut exponent: u64) -> Option<Complex> {
        let (mut power, mut square) = (Arithmetic::real(one()), base.clone());
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = Arithmetic::checked(self.multiply(&power, &square))?;
            }
            exponent >>= 1;
            square = self.multiply(&square, &square);
        }
        Some(power)
    }

    fn call(&mut self, function: Function, arguments: &[Expression], point: &Point) -> Option<Complex> {
        if let Some(exact) = exact_call(function, arguments, point) {
            return self.rational(&exact);
        }
        let values =
            arguments.iter().map(|argument| self.value(argument, point)).collect::<Option<Vec<_>>>()?;
        match (function, values.as_slice()) {
            (Function::Logarithm, [value, ..]) => self.logarithm(value),
            (Function::LogarithmTo, [base, value, ..]) => {
                let (base, value) = (self.logarithm(base)?, self.logarithm(value)?);
                self.divide(&value, &base)
            }
            (Function::Absolute, [value, ..]) => Some(Arithmetic::real(self.magnitude(value))),
            (Function::Minimum | Function::Maximum, values) => self.extreme(function, values),
            // The other functions are computed for real arguments alone.
            (_, [value, ..]) if self.is_real(value) => self.real_function(function, &value.re),
            _ => None,
        }
    }

    fn extreme(&mut self, function: Function, values: &[Complex]) -> Option<Complex> {
        let mut best = values.first()?.re.clone();
        for value in values {
            // Complex numbers have no order.
            self.is_real(value).then_some(())?;
            best = if function == Function::Minimum { best.min(&value.re) } else { best.max(&value.re) };
        }
        Some(Arithmetic::real(best))
    }

    fn real_function(&mut self, function: Function, value: &BigFloat) -> Option<Complex> {
        const MOST_EXPONENT: i32 = 64;
        // The sine of a number beyond 2^64 takes as many digits of π as the number has.
        if value.exponent().is_some_and(|exponent| exponent > MOST_EXPONENT) {
            return None;
        }
        // A sine is at most 1 whatever its argument, so its rounding is that of a term of 1.
        self.note(one());
        self.note(value.abs());
        match self.elementary(function, value) {
            Some(result) => Some(Arithmetic::real(result)),
            None => self.derived(function, value),
        }
    }

    /// Functions that the arithmetic has.
    fn elementary(&mut self, function: Function, value: &BigFloat) -> Option<BigFloat> {
        self.spend(FUNCTION)?;
        let (precision, constants) = (self.precision, &mut self.constants);
        Some(match function {
            Function::Sine => value.sin(precision, ROUNDING, constants),
            Function::Cosine => value.cos(precision, ROUNDING, constants),
            Function::Tangent => value.tan(precision, ROUNDING, constants),
            Function::ArcTangent => value.atan(precision, ROUNDING, constants),
            Function::ArcSine if value.abs() <= one() => value.asin(precision, ROUNDING, constants),
            Function::ArcCosine if value.abs() <= one() => value.acos(precision, ROUNDING, constants),
            Function::HyperbolicSine => value.sinh(precision, ROUNDING, constants),
            Function::HyperbolicCosine => value.cosh(precision, ROUNDING, constants),
            Function::HyperbolicTangent => value.tanh(precision, ROUNDING, constants),
            Function::AreaSine => value.asinh(precision, ROUNDING, constants),
            Function::AreaCosine if *value >= one() => value.acosh(precision, ROUNDING, constants),
            Function::AreaTangent if value.abs() < one() => value.atanh(precision, ROUNDING, constants),
            Function::Floor => value.floor(),
            Function::Ceiling => value.ceil(),
            _ => return None,
        })
    }

    /// Functions that are ratios of others, or others of the reciprocal.
    fn derived(&mut self, function: Function, value: &BigFloat) -> Option<Complex> {
        if function == Function::ArcCotangent {
            // Between 0 and π, as ISO 80000-2 has it.
            let complement = self.elementary(Function::ArcTangent, value)?;
            let quarter = self.quarter_turn();
            return Some(Arithmetic::real(quarter.sub(&complement, self.precision, ROUNDING)));
        }
        if let Some((_, above, below)) = RATIOS.iter().find(|(name, ..)| *name == function) {
            let above = above.map_or(Some(one()), |above| self.elementary(above, value))?;
            let below = self.elementary(*below, value)?;
            return self.divide(&Arithmetic::real(above), &Arithmetic::real(below));
        }
        let (_, other) = OF_RECIPROCALS.iter().find(|(name, _)| *name == function)?;
        let reciprocal = self.divide(&Arithmetic::real(one()), &Arithmetic::real(value.clone()))?;
        self.elementary(*other, &reciprocal.re).map(Arithmetic::real)
    }
}

/// Functions that are ratios of others, with 1 for the first where there is none.
const RATIOS: [(Function, Option<Function>, Function); 6] = [
    (Function::Cotangent, Some(Function::Cosine), Function::Sine),
    (Function::Secant, None, Function::Cosine),
    (Function::Cosecant, None, Function::Sine),
    (Function::HyperbolicCotangent, Some(Function::HyperbolicCosine), Function::HyperbolicSine),
    (Function::HyperbolicSecant, None, Function::HyperbolicCosine),
    (Function::HyperbolicCosecant, None, Function::HyperbolicSine),
];

/// Functions whose value is that of another one at the reciprocal.
const OF_RECIPROCALS: [(Function, Function); 5] = [
    (Function::ArcSecant, Function::ArcCosine),
    (Function::ArcCosecant, Function::ArcSine),
    (Function::AreaCotangent, Function::AreaTangent),
    (Function::AreaSecant, Function::AreaCosine),
    (Function::AreaCosecant, Function::AreaSine),
];

/// Functions of whole numbers, where the arguments are such at this point.
fn exact_call(function: Function, arguments: &[Expression], point: &Point) -> Option<Rational> {
    if !function.is_of_integers() {
        return None;
    }
    let values = arguments.iter().map(|argument| exact_value(argument, point)).collect::<Option<Vec<_>>>()?;
    match (function, values.as_slice()) {
        // The remainder has the sign of the modulus, as in number theory: −1 mod 7 is 6.
        (Function::Modulo, [value, modulus]) if !modulus.is_zero() => {
            Some(value - (value / modulus).floor() * modulus)
        }
        _ => exact::on_rationals(function, &values),
    }
}

/// The exact value at a point: floating point would have to guess whether it is whole.
fn exact_value(part: &Expression, point: &Point) -> Option<Rational> {
    let part = at_point(part, point);
    if part.any(&is_large_factorial) { None } else { exact::rational(&part) }
}

/// Whether it is a factorial too large to be multiplied and reduced at every point.
fn is_large_factorial(expression: &Expression) -> bool {
    const MOST: u32 = 200;
    let most = Rational::from_integer(MOST.into());
    match expression {
        Expression::Call(Function::Factorial | Function::DoubleFactorial, arguments) => {
            arguments.first().and_then(exact::rational).is_some_and(|value| value > most)
        }
        _ => false,
    }
}

fn negative(value: Complex) -> Complex {
    Complex { re: value.re.neg(), im: value.im.neg() }
}
