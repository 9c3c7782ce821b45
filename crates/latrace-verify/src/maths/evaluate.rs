//! The value of an expression at a point.

use astro_float_num::BigFloat;
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::complex::{Arithmetic, Complex, ROUNDING, one, zero};
use super::exact;
use super::point::{Point, at_point};
use super::syntax::{Constant, Expression, Function, Rational};

impl Arithmetic {
    /// The value of an expression at a point; `None` where it has none or is beyond what is computed.
    pub(super) fn value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        let value = self.raw_value(expression, point)?;
        Arithmetic::checked(value)
    }

    fn raw_value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        use Expression as E;
        match expression {
            E::Number(value, _) => self.rational(value),
            E::InBase(_, _, value) => Some(Arithmetic::real(self.integer(value)?)),
            E::Symbol(name) => self.rational(&point.value(name)),
            // What cannot be evaluated is a variable by its canonical text: two sums with the same bounds and
            // terms are equal, and others almost surely differ.
            E::Opaque(..) => self.rational(&point.value(&exact::canonical(expression))),
            E::Constant(Constant::Pi) => Some(Arithmetic::real(self.pi())),
            E::Constant(Constant::Euler) => {
                Some(Arithmetic::real(one().exp(self.precision, ROUNDING, &mut self.constants)))
            }
            E::Constant(Constant::Imaginary) => Some(Complex { re: zero(), im: one() }),
            E::Sum(parts) => self.sum(parts, point),
            E::Product(parts) => parts.iter().try_fold(Arithmetic::real(one()), |product, part| {
                let value = self.value(part, point)?;
                Some(self.multiply(&product, &value))
            }),
            E::Quotient(pair) => {
                let (left, right) = (self.value(&pair.0, point)?, self.value(&pair.1, point)?);
                self.divide(&left, &right)
            }
            E::Negative(inner) => {
                let value = self.value(inner, point)?;
                Some(Complex { re: value.re.neg(), im: value.im.neg() })
            }
            E::Percent(inner) => self.value(inner, point).and_then(|value| {
                self.divide(&value, &Arithmetic::real(BigFloat::from_i64(100, self.precision)))
            }),
            E::Degrees(inner) => {
                let value = self.value(inner, point)?;
                let factor =
                    self.pi().div(&BigFloat::from_i64(180, self.precision), self.precision, ROUNDING);
                Some(self.multiply(&value, &Arithmetic::real(factor)))
            }
            E::Root(inner, index) => {
                let value = self.value(inner, point)?;
                self.rational_power(&value, &Rational::new(BigInt::from(1), BigInt::from(*index)))
            }
            E::Power(pair) => self.power(&pair.0, &pair.1, point),
            E::Call(function, arguments) => self.call(*function, arguments, point),
            _ => None,
        }
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
        if self.is_nothing(&base) {
            // 0 to a power is defined for positive ones alone; a logarithm of zero is not.
            return (self.is_real(&exponent) && exponent.re.is_positive()).then(|| Arithmetic::real(zero()));
        }
        let logarithm = self.logarithm(&base)?;
        self.exponential(&self.multiply(&logarithm, &exponent))
    }

    fn rational_power(&mut self, base: &Complex, exponent: &Rational) -> Option<Complex> {
        const MOST_SQUARINGS: u32 = 1 << 20;
        if exponent.is_integer() && exponent.abs().to_integer() <= BigInt::from(MOST_SQUARINGS) {
            return self.whole_power(base, &exponent.to_integer());
        }
        if self.is_nothing(base) {
            return (exponent.is_positive()).then(|| Arithmetic::real(zero()));
        }
        let power = self.rational(exponent)?;
        // School convention: \(\sqrt[3]{-8}\) is −2, where the principal value would be complex.
        let odd_root = exponent.denom().bit(0) && !exponent.is_integer();
        if self.is_real(base) && base.re.is_negative() && odd_root {
            let logarithm = self.logarithm(&Arithmetic::real(base.re.abs()))?;
            let mut value = self.exponential(&self.multiply(&logarithm, &power))?;
            if exponent.numer().bit(0) {
                value.re = value.re.neg();
            }
            return Some(value);
        }
        let logarithm = self.logarithm(base)?;
        self.exponential(&self.multiply(&logarithm, &power))
    }

    fn whole_power(&mut self, base: &Complex, exponent: &BigInt) -> Option<Complex> {
        // \(0^0\) is 1, as everywhere in combinatorics.
        if base.re.is_zero() && base.im.is_zero() && !exponent.is_positive() {
            return exponent.is_zero().then(|| Arithmetic::real(one()));
        }
        let (mut power, mut square, mut left) =
            (Arithmetic::real(one()), base.clone(), exponent.abs().to_u64()?);
        while left > 0 {
            if left & 1 == 1 {
                power = Arithmetic::checked(self.multiply(&power, &square))?;
            }
            left >>= 1;
            square = self.multiply(&square, &square);
        }
        if exponent.is_negative() { self.divide(&Arithmetic::real(one()), &power) } else { Some(power) }
    }

    fn call(&mut self, function: Function, arguments: &[Expression], point: &Point) -> Option<Complex> {
        if let Some(exact) = self.exact_call(function, arguments, point) {
            return self.rational(&exact);
        }
        let values =
            arguments.iter().map(|argument| self.value(argument, point)).collect::<Option<Vec<_>>>()?;
        let first = values.first()?;
        match function {
            Function::Logarithm => self.logarithm(first),
            Function::LogarithmTo => {
                let (base, argument) = (self.logarithm(first)?, self.logarithm(values.get(1)?)?);
                self.divide(&argument, &base)
            }
            Function::Absolute => Some(Arithmetic::real(self.magnitude(first))),
            Function::Minimum | Function::Maximum => self.extreme(function, &values),
            _ => {
                let real = self.is_real(first).then(|| first.re.clone())?;
                self.real_function(function, &real)
            }
        }
    }

    /// Functions of whole numbers, where the arguments are such at this point.
    fn exact_call(
        &mut self,
        function: Function,
        arguments: &[Expression],
        point: &Point,
    ) -> Option<Rational> {
        let whole = matches!(
            function,
            Function::Factorial
                | Function::DoubleFactorial
                | Function::Binomial
                | Function::GreatestDivisor
                | Function::LeastMultiple
                | Function::Modulo
        );
        if !whole {
            return None;
        }
        let value = |argument: &Expression| {
            // These functions have exact values at whole points, where floating point would have to guess
            // whether an argument is whole.
            let argument = at_point(argument, point);
            if argument.any(&is_large_factorial) { None } else { exact::rational(&argument) }
        };
        let values = arguments.iter().map(value).collect::<Option<Vec<_>>>()?;
        match (function, values.as_slice()) {
            (Function::Modulo, [value, modulus]) if !modulus.is_zero() => {
                Some(value - (value / modulus).floor() * modulus)
            }
            _ => exact::on_rationals(function, &values),
        }
    }

    fn extreme(&mut self, function: Function, values: &[Complex]) -> Option<Complex> {
        let mut best = values.first()?.re.clone();
        for value in values {
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
        let cc = &mut self.constants;
        let result = match function {
            Function::Sine => value.sin(self.precision, ROUNDING, cc),
            Function::Cosine => value.cos(self.precision, ROUNDING, cc),
            Function::Tangent => value.tan(self.precision, ROUNDING, cc),
            Function::Cotangent | Function::Secant | Function::Cosecant => {
                return self.reciprocal_function(function, value);
            }
            Function::ArcTangent => value.atan(self.precision, ROUNDING, cc),
            Function::ArcSine if value.abs().cmp(&one())? <= 0 => value.asin(self.precision, ROUNDING, cc),
            Function::ArcCosine if value.abs().cmp(&one())? <= 0 => value.acos(self.precision, ROUNDING, cc),
            Function::HyperbolicSine => value.sinh(self.precision, ROUNDING, cc),
            Function::HyperbolicCosine => value.cosh(self.precision, ROUNDING, cc),
            Function::HyperbolicTangent => value.tanh(self.precision, ROUNDING, cc),
            Function::Floor => value.floor(),
            Function::Ceiling => value.ceil(),
            _ => return None,
        };
        Some(Arithmetic::real(result))
    }

    fn reciprocal_function(&mut self, function: Function, value: &BigFloat) -> Option<Complex> {
        let sine = Arithmetic::real(value.sin(self.precision, ROUNDING, &mut self.constants));
        let cosine = Arithmetic::real(value.cos(self.precision, ROUNDING, &mut self.constants));
        match function {
            Function::Cotangent => self.divide(&cosine, &sine),
            Function::Secant => self.divide(&Arithmetic::real(one()), &cosine),
            _ => self.divide(&Arithmetic::real(one()), &sine),
        }
    }
}

/// Whether it is a factorial that is not to be multiplied by others at every point: thousands of digits, and
/// a common divisor with each.
fn is_large_factorial(expression: &Expression) -> bool {
    const MOST: u32 = 200;
    let large = |argument: &Expression| {
        exact::rational(argument).is_some_and(|value| value > Rational::from_integer(MOST.into()))
    };
    match expression {
        Expression::Call(Function::Factorial | Function::DoubleFactorial, arguments) => {
            arguments.first().is_some_and(large)
        }
        _ => false,
    }
}
