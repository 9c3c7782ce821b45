//! Exact values: rationals, and fractions of polynomials whose atoms are variables and whatever else cannot
//! be expanded.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::syntax::{Constant, Expression, Function, Rational};

/// The most terms that a polynomial may have.
const MOST_TERMS: usize = 300;
/// The most products of terms in one multiplication.
const MOST_PRODUCTS: usize = 10_000;
/// The most bits of a power or a factorial.
const MOST_BITS: u64 = 200_000;
/// The greatest argument of a factorial.
const MOST_FACTORIAL: u32 = 3_000;

/// Powers of atoms, by the atom's canonical text.
type Monomial = BTreeMap<String, u32>;

/// A polynomial over the rationals; no coefficient is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Polynomial(BTreeMap<Monomial, Rational>);

impl Polynomial {
    fn constant(value: Rational) -> Polynomial {
        let mut terms = BTreeMap::new();
        if !value.is_zero() {
            terms.insert(Monomial::new(), value);
        }
        Polynomial(terms)
    }

    fn atom(name: String) -> Polynomial {
        Polynomial(BTreeMap::from([(Monomial::from([(name, 1)]), Rational::one())]))
    }

    /// The value, if no atom occurs.
    fn as_constant(&self) -> Option<Rational> {
        match self.0.len() {
            0 => Some(Rational::zero()),
            1 => self.0.get(&Monomial::new()).cloned(),
            _ => None,
        }
    }

    fn add(&self, other: &Polynomial) -> Option<Polynomial> {
        let mut sum = self.clone();
        for (monomial, coefficient) in &other.0 {
            sum.add_term(monomial.clone(), coefficient.clone());
        }
        (sum.0.len() <= MOST_TERMS).then_some(sum)
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: Rational) {
        let entry = self.0.entry(monomial.clone()).or_insert_with(Rational::zero);
        *entry += coefficient;
        // No zero coefficients: equal polynomials must have equal maps.
        if entry.is_zero() {
            self.0.remove(&monomial);
        }
    }

    fn multiply(&self, other: &Polynomial) -> Option<Polynomial> {
        if self.0.len() * other.0.len() > MOST_PRODUCTS {
            return None;
        }
        let mut product = Polynomial(BTreeMap::new());
        for (one, left) in &self.0 {
            for (two, right) in &other.0 {
                let (monomial, sign) = multiply_monomials(one, two)?;
                product.add_term(monomial, left * right * sign);
            }
        }
        (product.0.len() <= MOST_TERMS && product.bits() <= MOST_BITS).then_some(product)
    }

    fn bits(&self) -> u64 {
        self.0.values().map(bits).max().unwrap_or(0)
    }

    fn scale(&self, factor: &Rational) -> Polynomial {
        Polynomial(
            self.0.iter().map(|(monomial, coefficient)| (monomial.clone(), coefficient * factor)).collect(),
        )
    }

    /// The rational that the other times it gives this one, if there is one.
    fn ratio(&self, other: &Polynomial) -> Option<Rational> {
        let (monomial, coefficient) = other.0.iter().next()?;
        let ratio = self.0.get(monomial)? / coefficient;
        (*self == other.scale(&ratio)).then_some(ratio)
    }
}

/// The atom whose square is −1.
const IMAGINARY: &str = "i";

fn multiply_monomials(one: &Monomial, two: &Monomial) -> Option<(Monomial, Rational)> {
    const MOST_DEGREE: u32 = 1_000;
    let mut product = one.clone();
    for (atom, power) in two {
        let entry = product.entry(atom.clone()).or_insert(0);
        *entry = entry.checked_add(*power).filter(|sum| *sum <= MOST_DEGREE)?;
    }
    let mut sign = Rational::one();
    if let Some(power) = product.remove(IMAGINARY) {
        // i² = −1 holds in every form, so that \((1+i)^2\) is 2i without numerics.
        if power % 4 >= 2 {
            sign = -sign;
        }
        if power % 2 == 1 {
            product.insert(IMAGINARY.to_owned(), 1);
        }
    }
    Some((product, sign))
}

fn bits(value: &Rational) -> u64 {
    value.numer().bits() + value.denom().bits()
}

/// A fraction of polynomials; the denominator is not zero.
#[derive(Clone, Debug)]
pub(crate) struct Fraction {
    numerator: Polynomial,
    denominator: Polynomial,
}

impl Fraction {
    fn constant(value: Rational) -> Fraction {
        Fraction {
            numerator: Polynomial::constant(value),
            denominator: Polynomial::constant(Rational::one()),
        }
    }

    fn atom(name: String) -> Fraction {
        Fraction { numerator: Polynomial::atom(name), denominator: Polynomial::constant(Rational::one()) }
    }

    /// The fraction in which a constant denominator is 1.
    fn new(numerator: Polynomial, denominator: Polynomial) -> Option<Fraction> {
        match denominator.as_constant() {
            Some(value) if value.is_zero() => None,
            Some(value) => Some(Fraction {
                numerator: numerator.scale(&value.recip()),
                denominator: Polynomial::constant(Rational::one()),
            }),
            None => Some(Fraction { numerator, denominator }),
        }
    }

    pub(crate) fn as_constant(&self) -> Option<Rational> {
        self.denominator.as_constant().and_then(|_| self.numerator.as_constant())
    }

    fn add(&self, other: &Fraction) -> Option<Fraction> {
        if self.denominator == other.denominator {
            return Fraction::new(self.numerator.add(&other.numerator)?, self.denominator.clone());
        }
        // Cross-multiplication needs no common divisor of polynomials, which we do not compute.
        let left = self.numerator.multiply(&other.denominator)?;
        let right = other.numerator.multiply(&self.denominator)?;
        Fraction::new(left.add(&right)?, self.denominator.multiply(&other.denominator)?)
    }

    fn multiply(&self, other: &Fraction) -> Option<Fraction> {
        Fraction::new(
            self.numerator.multiply(&other.numerator)?,
            self.denominator.multiply(&other.denominator)?,
        )
    }

    fn reciprocal(&self) -> Option<Fraction> {
        Fraction::new(self.denominator.clone(), self.numerator.clone())
    }

    fn power(&self, exponent: u32) -> Option<Fraction> {
        if let Some(value) = self.as_constant() {
            return power_of(&value, &BigInt::from(exponent)).map(Fraction::constant);
        }
        const MOST_EXPANDED: u32 = 40;
        if exponent > MOST_EXPANDED {
            return None;
        }
        (0..exponent).try_fold(Fraction::constant(Rational::one()), |power, _| power.multiply(self))
    }

    /// Whether both are the same function.
    pub(crate) fn equals(&self, other: &Fraction) -> Option<bool> {
        Some(self.numerator.multiply(&other.denominator)? == other.numerator.multiply(&self.denominator)?)
    }

    /// The constant that `other` times it gives this one, if it is one.
    pub(crate) fn ratio(&self, other: &Fraction) -> Option<Option<Rational>> {
        let left = self.numerator.multiply(&other.denominator)?;
        let right = other.numerator.multiply(&self.denominator)?;
        Some(left.ratio(&right))
    }
}

/// A rational to an integer power, unless it has too many digits.
pub(crate) fn power_of(base: &Rational, exponent: &BigInt) -> Option<Rational> {
    if base.is_zero() {
        return exponent.is_positive().then(Rational::zero);
    }
    // Powers of 0, 1 and −1 are cheap for exponents of any size.
    if base.is_one() || exponent.is_zero() {
        return Some(Rational::one());
    }
    if *base == -Rational::one() {
        return Some(if exponent.is_even() { Rational::one() } else { base.clone() });
    }
    let size = exponent
        .abs()
        .to_u64()
        .filter(|size| size.checked_mul(bits(base)).is_some_and(|bits| bits <= MOST_BITS))?;
    let power: Rational = Pow::pow(base, u32::try_from(size).ok()?);
    Some(if exponent.is_negative() { power.recip() } else { power })
}

/// The expression as a fraction of polynomials; `None` where it is no number or too large.
pub(crate) fn normal(expression: &Expression) -> Option<Fraction> {
    use Expression as E;
    match expression {
        E::Number(value, _) => Some(Fraction::constant(value.clone())),
        E::InBase(_, _, value) => Some(Fraction::constant(Rational::from_integer(value.clone()))),
        E::Symbol(name) => Some(Fraction::atom(name.clone())),
        E::Constant(Constant::Pi) => Some(Fraction::atom("π".to_owned())),
        E::Constant(Constant::Euler) => Some(Fraction::atom("ℯ".to_owned())),
        E::Constant(Constant::Imaginary) => Some(Fraction::atom(IMAGINARY.to_owned())),
        E::Sum(parts) => {
            parts.iter().try_fold(Fraction::constant(Rational::zero()), |sum, part| sum.add(&normal(part)?))
        }
        E::Product(parts) => parts
            .iter()
            .try_fold(Fraction::constant(Rational::one()), |product, part| product.multiply(&normal(part)?)),
        E::Quotient(pair) => normal(&pair.0)?.multiply(&normal(&pair.1)?.reciprocal()?),
        E::Negative(inner) => normal(inner)?.multiply(&Fraction::constant(-Rational::one())),
        E::Percent(inner) => {
            normal(inner)?.multiply(&Fraction::constant(Rational::new(BigInt::one(), BigInt::from(100))))
        }
        E::Degrees(inner) => {
            let factor = Fraction::atom("π".to_owned())
                .multiply(&Fraction::constant(Rational::new(BigInt::one(), BigInt::from(180))))?;
            normal(inner)?.multiply(&factor)
        }
        E::Power(pair) => power(&pair.0, &pair.1),
        E::Root(inner, index) => root(inner, *index),
        E::Call(function, arguments) => call(*function, arguments),
        E::Opaque(..) => Some(Fraction::atom(canonical(expression))),
        _ => None,
    }
}

/// The exact rational value, if it has one that is found without numerics.
pub(crate) fn rational(expression: &Expression) -> Option<Rational> {
    match expression {
        Expression::Number(value, _) => Some(value.clone()),
        Expression::Negative(inner) => rational(inner).map(|value| -value),
        _ => normal(expression)?.as_constant(),
    }
}

fn power(base: &Expression, exponent: &Expression) -> Option<Fraction> {
    let exponent_form = normal(exponent)?;
    match exponent_form.as_constant().filter(Rational::is_integer) {
        Some(whole) => {
            let base_form = normal(base)?;
            if let Some(value) = base_form.as_constant() {
                return power_of(&value, &whole.to_integer()).map(Fraction::constant);
            }
            let raised = base_form.power(whole.to_integer().abs().to_u32()?)?;
            if whole.is_negative() { raised.reciprocal() } else { Some(raised) }
        }
        None => match exponent_form.as_constant().filter(|value| value.denom().to_u32().is_some()) {
            Some(value) => {
                // \(a^{p/q}\) is the q-th root to the power p, so that both notations share their atom.
                let inner = Expression::root(base.clone(), value.denom().to_u32()?);
                let exponent = Expression::Number(
                    Rational::from_integer(value.numer().clone()),
                    super::syntax::Written::Exactly,
                );
                power(&inner, &exponent)
            }
            None => {
                // An exponent with variables: the whole power is an atom, and \(2^{n+1} = 2 \cdot 2^n\) is
                // left to numerics.
                Some(Fraction::atom(format!("({})^({})", canonical(base), canonical_form(&exponent_form))))
            }
        },
    }
}

fn root(radicand: &Expression, index: u32) -> Option<Fraction> {
    let form = normal(radicand)?;
    if let Some(value) = form.as_constant()
        && let Some(exact) = exact_root(&value, index)
    {
        return Some(Fraction::constant(exact));
    }
    Some(Fraction::atom(format!("root{index}({})", canonical_form(&form))))
}

fn exact_root(value: &Rational, index: u32) -> Option<Rational> {
    // Even roots of negative numbers are imaginary; odd ones are real by the school's convention.
    if index == 0 || (value.is_negative() && index.is_multiple_of(2)) {
        return None;
    }
    let (numerator, denominator) = (value.numer().nth_root(index), value.denom().nth_root(index));
    let exact =
        Pow::pow(&numerator, index) == *value.numer() && Pow::pow(&denominator, index) == *value.denom();
    exact.then(|| Rational::new(numerator, denominator))
}

fn call(function: Function, arguments: &[Expression]) -> Option<Fraction> {
    let values: Option<Vec<Rational>> =
        arguments.iter().map(|argument| normal(argument)?.as_constant()).collect();
    match values.and_then(|values| on_rationals(function, &values)) {
        Some(value) => Some(Fraction::constant(value)),
        None => {
            let names: Option<Vec<String>> =
                arguments.iter().map(|argument| normal(argument).map(|form| canonical_form(&form))).collect();
            Some(Fraction::atom(format!("{function:?}({})", names?.join(","))))
        }
    }
}

/// Functions that take rationals to rationals.
pub(crate) fn on_rationals(function: Function, values: &[Rational]) -> Option<Rational> {
    let whole = |at: usize| values.get(at).filter(|value| value.is_integer()).map(Rational::to_integer);
    let integer = |value: BigInt| Some(Rational::from_integer(value));
    match function {
        Function::Absolute => values.first().map(Signed::abs),
        Function::Floor => values.first().map(Rational::floor),
        Function::Ceiling => values.first().map(Rational::ceil),
        Function::Minimum => values.iter().min().cloned(),
        Function::Maximum => values.iter().max().cloned(),
        Function::Factorial => integer(factorial(&whole(0)?, 1)?),
        Function::DoubleFactorial => integer(factorial(&whole(0)?, 2)?),
        Function::Binomial => integer(binomial(&whole(0)?, &whole(1)?)?),
        Function::GreatestDivisor => integer(whole(0)?.gcd(&whole(1)?)),
        Function::LeastMultiple => integer(whole(0)?.lcm(&whole(1)?)),
        _ => None,
    }
}

/// The product of the value and every `step`-th number below it.
fn factorial(value: &BigInt, step: usize) -> Option<BigInt> {
    let most = value.to_u32().filter(|value| *value <= MOST_FACTORIAL)?;
    Some((1..=most).rev().step_by(step).fold(BigInt::one(), |product, factor| product * factor))
}

fn binomial(upper: &BigInt, lower: &BigInt) -> Option<BigInt> {
    if !upper.is_negative() && (lower.is_negative() || lower > upper) {
        return Some(BigInt::zero());
    }
    let (upper, lower) = (upper.to_u32().filter(|upper| *upper <= MOST_FACTORIAL)?, lower.to_u32()?);
    Some((0..lower.min(upper - lower)).fold(BigInt::one(), |product, at| product * (upper - at) / (at + 1)))
}

/// A text that equal expressions share where expansion shows them equal.
pub(crate) fn canonical(expression: &Expression) -> String {
    // The normal form of an opaque operator is an atom by the name that is made here; a numeral in a base is
    // told by its digits, since `101_2` is not the answer 5.
    if !matches!(expression, Expression::Opaque(..) | Expression::InBase(..))
        && let Some(form) = normal(expression)
    {
        return canonical_form(&form);
    }
    let label = match expression {
        Expression::Opaque(name, _) => name.clone(),
        Expression::Chain(_, relations) => format!("{relations:?}"),
        Expression::Bracketed(left, right, _) => format!("{left:?}{right:?}"),
        Expression::Constant(constant) => format!("{constant:?}"),
        Expression::Text(text) => format!("{text:?}"),
        Expression::Quantity(_, unit) => format!("quantity {unit:?}"),
        Expression::Time(parts) => format!("time {parts:?}"),
        Expression::PlusMinus(_, lower) => format!("plus-minus {lower}"),
        Expression::Matrix(rows) => format!("matrix {:?}", rows.iter().map(Vec::len).collect::<Vec<_>>()),
        Expression::InBase(digits, base, _) => format!("{digits} in base {base}"),
        Expression::Call(function, _) => format!("{function:?}"),
        other => format!("{:?}", std::mem::discriminant(other)),
    };
    let parts: Vec<String> = expression.children().into_iter().map(canonical).collect();
    format!("{label}[{}]", parts.join("|"))
}

fn canonical_form(form: &Fraction) -> String {
    let text = |polynomial: &Polynomial| {
        let term = |(monomial, coefficient): (&Monomial, &Rational)| {
            let atoms: Vec<String> = monomial.iter().map(|(atom, power)| format!("{atom}^{power}")).collect();
            format!("{coefficient}*{}", atoms.join("*"))
        };
        polynomial.0.iter().map(term).collect::<Vec<_>>().join("+")
    };
    format!("({})/({})", text(&form.numerator), text(&form.denominator))
}

/// Whether the exact form decides inequality too: nothing in it stands for another function of the variables.
pub(crate) fn is_rational_function(expression: &Expression) -> bool {
    use Expression as E;
    match expression {
        E::Number(..) | E::Symbol(_) | E::InBase(..) | E::Constant(Constant::Pi | Constant::Imaginary) => {
            true
        }
        E::Sum(parts) | E::Product(parts) => parts.iter().all(is_rational_function),
        E::Quotient(pair) => is_rational_function(&pair.0) && is_rational_function(&pair.1),
        E::Negative(inner) | E::Percent(inner) => is_rational_function(inner),
        E::Power(pair) => {
            is_rational_function(&pair.0) && rational(&pair.1).is_some_and(|exponent| exponent.is_integer())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(count: usize) -> Expression {
        Expression::Sum((0..count).map(|at| Expression::Symbol(format!("x_{at}"))).collect())
    }

    #[test]
    fn polynomials_are_exact_up_to_a_size() {
        assert!(normal(&sum_of(300)).is_some());
        assert!(normal(&sum_of(301)).is_none());
        let square = |count: usize| Expression::Product(vec![sum_of(count), sum_of(count)]);
        // 23 terms have a square of 276, 24 one of 300, 25 one of 325.
        assert!(normal(&square(24)).is_some());
        assert!(normal(&square(25)).is_none());
        let power = |exponent: i64| {
            Expression::power(Expression::Symbol("x".to_owned()), Expression::integer(exponent))
        };
        assert!(normal(&power(40)).is_some());
        assert!(normal(&power(41)).is_none());
    }

    #[test]
    fn numbers_are_exact_up_to_a_length() {
        let two = Rational::from_integer(BigInt::from(2));
        // 2 takes two bits, its denominator one more: three for each factor of 200,000.
        assert!(power_of(&two, &BigInt::from(66_666)).is_some());
        assert!(power_of(&two, &BigInt::from(66_667)).is_none());
        assert!(power_of(&two, &BigInt::from(-66_667)).is_none());
        assert!(factorial(&BigInt::from(3_000), 1).is_some());
        assert!(factorial(&BigInt::from(3_001), 1).is_none());
        assert!(factorial(&BigInt::from(-1), 1).is_none());
        let choose = |upper: u32| binomial(&BigInt::from(upper), &BigInt::from(2));
        assert_eq!(choose(3_000), Some(BigInt::from(4_498_500)));
        assert_eq!(choose(3_001), None);
    }
}
