//! Agreement of two expressions at random points, in 192-bit arithmetic over the complex numbers.
//!
//! Points depend on nothing but the variables' names and the trial's number. A root of odd index of a negative real is
//! the real one; every other power is the principal one. Where one side is undefined and the other is not, they differ.

use astro_float_num::{BigFloat, Consts, RoundingMode, Sign};
use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive, Zero};

use super::exact;
use super::point::{Point, at_point};
use super::syntax::{Constant, Expression, Function, Rational};

const PRECISION: usize = 192;
const ROUNDING: RoundingMode = RoundingMode::None;
/// Bits to which two values must agree, relative to the greater.
const AGREEMENT_BITS: i32 = 100;
/// Bits below the greatest term of a sum at which a difference is rounding.
const CANCELLATION_BITS: i32 = 150;
/// Points at which both sides must be defined and agree.
const POINTS: usize = 10;
/// Points tried.
const TRIALS: u64 = 48;
/// Above this many operations an expression is not evaluated.
const MOST_NODES: usize = 4_000;

/// How two expressions compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    Same,
    Different,
    /// Too few points at which both can be evaluated.
    Unknown,
}

/// Compares two expressions at random points; without variables at one.
pub(crate) fn compare(one: &Expression, two: &Expression) -> Agreement {
    agree(one, two, &mut |arithmetic, left, right| arithmetic.same(left, right))
}

/// Whether `one` is a constant times `two`, a positive one if `positive`.
pub(crate) fn proportional(one: &Expression, two: &Expression, positive: bool) -> Agreement {
    let mut first: Option<Complex> = None;
    agree(one, two, &mut |arithmetic, left, right| {
        let (left_zero, right_zero) = (arithmetic.is_nothing(left), arithmetic.is_nothing(right));
        if left_zero || right_zero {
            return left_zero && right_zero;
        }
        let Some(ratio) = arithmetic.divide(left, right) else {
            return false;
        };
        let sign_fits = !positive || (arithmetic.is_real(&ratio) && ratio.re.is_positive());
        match &first {
            _ if !sign_fits => false,
            Some(known) => {
                let known = known.clone();
                arithmetic.same(&ratio, &known)
            }
            None => {
                first = Some(ratio);
                true
            }
        }
    })
}

/// Whether an expression without variables is within `tolerance`, relative to `reference`, of it; `None` without a value.
pub(crate) fn approximate(expression: &Expression, tolerance: f64, reference: &Rational) -> Option<bool> {
    let mut arithmetic = Arithmetic::new()?;
    let value = arithmetic.value(expression, &Point { trial: 0, whole: false })?;
    let reference = arithmetic.rational(reference)?;
    let difference = arithmetic.subtract(&value, &reference);
    let size = arithmetic.magnitude(&difference);
    let bound = arithmetic.magnitude(&reference).mul(&BigFloat::from_f64(tolerance, PRECISION), PRECISION, ROUNDING);
    Some(size.cmp(&bound)? <= 0)
}

fn agree(one: &Expression, two: &Expression, matches: &mut dyn FnMut(&mut Arithmetic, &Complex, &Complex) -> bool) -> Agreement {
    if nodes(one) + nodes(two) > MOST_NODES {
        return Agreement::Unknown;
    }
    let Some(mut arithmetic) = Arithmetic::new() else {
        return Agreement::Unknown;
    };
    let whole = needs_integers(one) || needs_integers(two);
    let (needed, trials) = if has_variables(one) || has_variables(two) { (POINTS, TRIALS) } else { (1, 1) };
    let mut agreed = 0;
    let mut undefined = 0;
    for trial in 0..trials {
        let point = Point { trial, whole };
        arithmetic.greatest = None;
        match (arithmetic.value(one, &point), arithmetic.value(two, &point)) {
            (Some(left), Some(right)) if !matches(&mut arithmetic, &left, &right) => return Agreement::Different,
            (Some(_), Some(_)) => agreed += 1,
            (None, None) => {}
            _ => undefined += 1,
        }
        if agreed >= needed {
            return if undefined == 0 { Agreement::Same } else { Agreement::Different };
        }
    }
    Agreement::Unknown
}

fn nodes(expression: &Expression) -> usize {
    1 + expression.children().into_iter().map(nodes).sum::<usize>()
}

fn has_variables(expression: &Expression) -> bool {
    expression.any(&|part| matches!(part, Expression::Symbol(_) | Expression::Opaque(..)))
}

/// Factorials, and powers of negative numbers, are meant at whole numbers.
fn needs_integers(expression: &Expression) -> bool {
    expression.any(&|part| match part {
        Expression::Call(Function::Factorial | Function::Binomial | Function::GreatestDivisor | Function::LeastMultiple | Function::Modulo, _) => true,
        Expression::Power(pair) => exact::rational(&pair.0).is_some_and(|base| base.is_negative()) && has_variables(&pair.1),
        _ => false,
    })
}

#[derive(Clone, Debug)]
struct Complex {
    re: BigFloat,
    im: BigFloat,
}

struct Arithmetic {
    constants: Consts,
    /// The greatest term that has been added: differences far below it are rounding.
    greatest: Option<BigFloat>,
}

fn zero() -> BigFloat {
    BigFloat::from_i64(0, PRECISION)
}

fn one() -> BigFloat {
    BigFloat::from_i64(1, PRECISION)
}

impl Arithmetic {
    fn new() -> Option<Arithmetic> {
        Some(Arithmetic { constants: Consts::new().ok()?, greatest: None })
    }

    fn real(re: BigFloat) -> Complex {
        Complex { re, im: zero() }
    }

    fn is_real(&self, value: &Complex) -> bool {
        value.im.is_zero()
    }

    fn checked(value: Complex) -> Option<Complex> {
        let usable = |part: &BigFloat| !part.is_nan() && !part.is_inf();
        (usable(&value.re) && usable(&value.im)).then_some(value)
    }

    fn note(&mut self, size: BigFloat) {
        let greater = self.greatest.as_ref().is_none_or(|known| size.cmp(known).is_some_and(|order| order > 0));
        if greater {
            self.greatest = Some(size);
        }
    }

    fn magnitude(&self, value: &Complex) -> BigFloat {
        if value.im.is_zero() {
            return value.re.abs();
        }
        let square = value.re.mul(&value.re, PRECISION, ROUNDING).add(&value.im.mul(&value.im, PRECISION, ROUNDING), PRECISION, ROUNDING);
        square.sqrt(PRECISION, ROUNDING)
    }

    fn scaled(value: &BigFloat, bits: i32) -> BigFloat {
        let mut scaled = value.clone();
        if let Some(exponent) = value.exponent() {
            scaled.set_exponent(exponent.saturating_sub(bits));
        }
        scaled
    }

    /// Whether a value is zero up to the rounding of the sums before it.
    fn is_nothing(&self, value: &Complex) -> bool {
        let size = self.magnitude(value);
        size.is_zero()
            || self.greatest.as_ref().is_some_and(|greatest| size.cmp(&Arithmetic::scaled(greatest, CANCELLATION_BITS)).is_some_and(|order| order <= 0))
    }

    fn same(&mut self, left: &Complex, right: &Complex) -> bool {
        let difference = self.subtract(left, right);
        if self.is_nothing(&difference) {
            return true;
        }
        let size = self.magnitude(&difference);
        let (left, right) = (self.magnitude(left), self.magnitude(right));
        let bound = Arithmetic::scaled(&left.max(&right), AGREEMENT_BITS);
        size.cmp(&bound).is_some_and(|order| order <= 0)
    }

    fn add(&self, left: &Complex, right: &Complex) -> Complex {
        Complex { re: left.re.add(&right.re, PRECISION, ROUNDING), im: left.im.add(&right.im, PRECISION, ROUNDING) }
    }

    fn subtract(&self, left: &Complex, right: &Complex) -> Complex {
        Complex { re: left.re.sub(&right.re, PRECISION, ROUNDING), im: left.im.sub(&right.im, PRECISION, ROUNDING) }
    }

    fn multiply(&self, left: &Complex, right: &Complex) -> Complex {
        let product = |one: &BigFloat, two: &BigFloat| one.mul(two, PRECISION, ROUNDING);
        if left.im.is_zero() && right.im.is_zero() {
            return Arithmetic::real(product(&left.re, &right.re));
        }
        let re = product(&left.re, &right.re).sub(&product(&left.im, &right.im), PRECISION, ROUNDING);
        let im = product(&left.re, &right.im).add(&product(&left.im, &right.re), PRECISION, ROUNDING);
        Complex { re, im }
    }

    fn divide(&self, left: &Complex, right: &Complex) -> Option<Complex> {
        if self.is_nothing(right) {
            return None;
        }
        let size = right.re.mul(&right.re, PRECISION, ROUNDING).add(&right.im.mul(&right.im, PRECISION, ROUNDING), PRECISION, ROUNDING);
        let conjugate = Complex { re: right.re.div(&size, PRECISION, ROUNDING), im: right.im.neg().div(&size, PRECISION, ROUNDING) };
        Arithmetic::checked(self.multiply(left, &conjugate))
    }

    fn integer(&mut self, value: &BigInt) -> Option<BigFloat> {
        if let Some(small) = value.to_i64() {
            return Some(BigFloat::from_i64(small, PRECISION));
        }
        const KEPT: u64 = 256;
        let drop = value.bits().saturating_sub(KEPT);
        let top: BigInt = value.abs() >> drop;
        let (_, words) = top.to_u64_digits();
        let two_64 = Arithmetic::scaled(&one(), -64);
        let mut float = words
            .iter()
            .rev()
            .fold(zero(), |sum, word| sum.mul(&two_64, KEPT as usize + 64, ROUNDING).add(&BigFloat::from_u64(*word, 64), KEPT as usize + 64, ROUNDING));
        float = Arithmetic::scaled(&float, -i32::try_from(drop).ok()?);
        float.set_sign(if value.is_negative() { Sign::Neg } else { Sign::Pos });
        Some(float)
    }

    fn rational(&mut self, value: &Rational) -> Option<Complex> {
        let numerator = self.integer(value.numer())?;
        if value.is_integer() {
            return Some(Arithmetic::real(numerator));
        }
        let denominator = self.integer(value.denom())?;
        Some(Arithmetic::real(numerator.div(&denominator, PRECISION, ROUNDING)))
    }

    fn pi(&mut self) -> BigFloat {
        self.constants.pi(PRECISION, ROUNDING)
    }

    /// The value of an expression at a point; `None` where it has none or is beyond what is computed.
    fn value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        let value = self.raw_value(expression, point)?;
        Arithmetic::checked(value)
    }

    fn raw_value(&mut self, expression: &Expression, point: &Point) -> Option<Complex> {
        use Expression as E;
        match expression {
            E::Number(value, _) => self.rational(value),
            E::InBase(_, _, value) => Some(Arithmetic::real(self.integer(value)?)),
            E::Symbol(name) => self.rational(&point.value(name)),
            E::Opaque(..) => self.rational(&point.value(&exact::canonical(expression))),
            E::Constant(Constant::Pi) => Some(Arithmetic::real(self.pi())),
            E::Constant(Constant::Euler) => Some(Arithmetic::real(one().exp(PRECISION, ROUNDING, &mut self.constants))),
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
            E::Percent(inner) => self.value(inner, point).and_then(|value| self.divide(&value, &Arithmetic::real(BigFloat::from_i64(100, PRECISION)))),
            E::Degrees(inner) => {
                let value = self.value(inner, point)?;
                let factor = self.pi().div(&BigFloat::from_i64(180, PRECISION), PRECISION, ROUNDING);
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
            self.note(self.magnitude(&value));
            sum = self.add(&sum, &value);
        }
        Some(sum)
    }

    fn power(&mut self, base: &Expression, exponent: &Expression, point: &Point) -> Option<Complex> {
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
        if base.re.is_zero() && base.im.is_zero() && !exponent.is_positive() {
            return exponent.is_zero().then(|| Arithmetic::real(one()));
        }
        let (mut power, mut square, mut left) = (Arithmetic::real(one()), base.clone(), exponent.abs().to_u64()?);
        while left > 0 {
            if left & 1 == 1 {
                power = Arithmetic::checked(self.multiply(&power, &square))?;
            }
            left >>= 1;
            square = self.multiply(&square, &square);
        }
        if exponent.is_negative() { self.divide(&Arithmetic::real(one()), &power) } else { Some(power) }
    }

    /// e to a complex power, where the power's size lets it be computed.
    fn exponential(&mut self, power: &Complex) -> Option<Complex> {
        const MOST_EXPONENT: i32 = 28;
        let small = |part: &BigFloat| part.is_zero() || part.exponent().is_some_and(|exponent| exponent <= MOST_EXPONENT);
        if !small(&power.re) || !small(&power.im) {
            return None;
        }
        let size = power.re.exp(PRECISION, ROUNDING, &mut self.constants);
        if power.im.is_zero() {
            return Some(Arithmetic::real(size));
        }
        self.note(size.clone());
        let (sine, cosine) = (power.im.sin(PRECISION, ROUNDING, &mut self.constants), power.im.cos(PRECISION, ROUNDING, &mut self.constants));
        Some(Complex { re: size.mul(&cosine, PRECISION, ROUNDING), im: size.mul(&sine, PRECISION, ROUNDING) })
    }

    /// The principal logarithm.
    fn logarithm(&mut self, value: &Complex) -> Option<Complex> {
        let size = self.magnitude(value);
        if size.is_zero() {
            return None;
        }
        self.note(one());
        let re = size.ln(PRECISION, ROUNDING, &mut self.constants);
        let im = self.angle(value);
        Some(Complex { re, im })
    }

    /// The angle of a value, in (−π, π].
    fn angle(&mut self, value: &Complex) -> BigFloat {
        if value.im.is_zero() {
            return if value.re.is_negative() { self.pi() } else { zero() };
        }
        let two = BigFloat::from_i64(2, PRECISION);
        if value.re.is_zero() {
            let quarter = self.pi().div(&two, PRECISION, ROUNDING);
            return if value.im.is_negative() { quarter.neg() } else { quarter };
        }
        let principal = value.im.div(&value.re, PRECISION, ROUNDING).atan(PRECISION, ROUNDING, &mut self.constants);
        match (value.re.is_negative(), value.im.is_negative()) {
            (false, _) => principal,
            (true, false) => principal.add(&self.pi(), PRECISION, ROUNDING),
            (true, true) => principal.sub(&self.pi(), PRECISION, ROUNDING),
        }
    }

    fn call(&mut self, function: Function, arguments: &[Expression], point: &Point) -> Option<Complex> {
        if let Some(exact) = self.exact_call(function, arguments, point) {
            return self.rational(&exact);
        }
        let values = arguments.iter().map(|argument| self.value(argument, point)).collect::<Option<Vec<_>>>()?;
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
    fn exact_call(&mut self, function: Function, arguments: &[Expression], point: &Point) -> Option<Rational> {
        let whole = matches!(function, Function::Factorial | Function::Binomial | Function::GreatestDivisor | Function::LeastMultiple | Function::Modulo);
        if !whole {
            return None;
        }
        let values = arguments.iter().map(|argument| exact::rational(&at_point(argument, point))).collect::<Option<Vec<_>>>()?;
        match (function, values.as_slice()) {
            (Function::Modulo, [value, modulus]) if !modulus.is_zero() => Some(value - (value / modulus).floor() * modulus),
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
        if value.exponent().is_some_and(|exponent| exponent > MOST_EXPONENT) {
            return None;
        }
        self.note(one());
        let cc = &mut self.constants;
        let result = match function {
            Function::Sine => value.sin(PRECISION, ROUNDING, cc),
            Function::Cosine => value.cos(PRECISION, ROUNDING, cc),
            Function::Tangent => value.tan(PRECISION, ROUNDING, cc),
            Function::Cotangent | Function::Secant | Function::Cosecant => return self.reciprocal_function(function, value),
            Function::ArcTangent => value.atan(PRECISION, ROUNDING, cc),
            Function::ArcSine if value.abs().cmp(&one())? <= 0 => value.asin(PRECISION, ROUNDING, cc),
            Function::ArcCosine if value.abs().cmp(&one())? <= 0 => value.acos(PRECISION, ROUNDING, cc),
            Function::HyperbolicSine => value.sinh(PRECISION, ROUNDING, cc),
            Function::HyperbolicCosine => value.cosh(PRECISION, ROUNDING, cc),
            Function::HyperbolicTangent => value.tanh(PRECISION, ROUNDING, cc),
            Function::Floor => value.floor(),
            Function::Ceiling => value.ceil(),
            _ => return None,
        };
        Some(Arithmetic::real(result))
    }

    fn reciprocal_function(&mut self, function: Function, value: &BigFloat) -> Option<Complex> {
        let sine = Arithmetic::real(value.sin(PRECISION, ROUNDING, &mut self.constants));
        let cosine = Arithmetic::real(value.cos(PRECISION, ROUNDING, &mut self.constants));
        match function {
            Function::Cotangent => self.divide(&cosine, &sine),
            Function::Secant => self.divide(&Arithmetic::real(one()), &cosine),
            _ => self.divide(&Arithmetic::real(one()), &sine),
        }
    }
}
