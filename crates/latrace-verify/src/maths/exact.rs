//! Exact values: rationals, and fractions of polynomials whose atoms are variables and whatever else cannot
//! be expanded.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Pow, Signed, ToPrimitive, Zero};

use super::syntax::{Constant, Expression, Function, Rational};
use super::work;

// Bounds on work. What is beyond them has no normal form here, and is left to comparison at random points.

/// The most terms that a polynomial may have.
const MOST_TERMS: usize = 300;
/// The most products of terms in one multiplication.
const MOST_PRODUCTS: usize = 10_000;
/// The most bits of a power or a factorial.
const MOST_BITS: u64 = 200_000;
// 3000! has 9,131 digits; an answer with a greater one means the expression, not the number.
/// The greatest argument of a factorial.
const MOST_FACTORIAL: u32 = 3_000;

// Ordered maps, so that equal polynomials also have equal canonical texts.
/// Powers of atoms, by the atom's canonical text.
type Monomial = BTreeMap<String, u32>;

/// A polynomial over the rationals; no coefficient is zero.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Polynomial(BTreeMap<Monomial, Rational>);

impl Polynomial {
    fn constant(value: Rational) -> Polynomial {
        let terms = (!value.is_zero()).then(|| (Monomial::new(), value));
        Polynomial(terms.into_iter().collect())
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

    fn add(mut self, other: Polynomial) -> Option<Polynomial> {
        for (monomial, value) in other.0 {
            self.add_term(monomial, value)?;
        }
        self.bounded()
    }

    fn bounded(self) -> Option<Polynomial> {
        (self.0.len() <= MOST_TERMS).then_some(self)
    }

    fn add_term(&mut self, monomial: Monomial, value: Rational) -> Option<()> {
        work::spend(weight(&monomial))?;
        let sum = match self.0.remove(&monomial) {
            Some(other) => sum_of(&other, &value)?,
            None => value,
        };
        // No zero coefficients: equal polynomials must have equal maps.
        if !sum.is_zero() {
            self.0.insert(monomial, sum);
        }
        Some(())
    }

    fn multiply(&self, other: &Polynomial) -> Option<Polynomial> {
        // The work is known before it is done; how many terms are left is known only afterwards.
        if self.0.len() * other.0.len() > MOST_PRODUCTS {
            return None;
        }
        let mut product = Polynomial(BTreeMap::new());
        for (one, left) in &self.0 {
            for (two, right) in &other.0 {
                work::spend(weight(one))?;
                let (monomial, is_negative) = multiply_monomials(one, two)?;
                let value = product_of(left, right)?;
                product.add_term(monomial, if is_negative { -value } else { value })?;
            }
        }
        product.bounded().filter(|product| product.bits() <= MOST_BITS)
    }

    fn bits(&self) -> u64 {
        self.0.values().map(bits).max().unwrap_or(0)
    }

    fn scale(&self, factor: &Rational) -> Option<Polynomial> {
        let scaled = |(monomial, value): (&Monomial, &Rational)| {
            work::spend(weight(monomial))?;
            Some((monomial.clone(), product_of(value, factor)?))
        };
        self.0.iter().map(scaled).collect::<Option<_>>().map(Polynomial)
    }

    /// The greatest monomial that divides all terms.
    fn content(&self) -> Monomial {
        let mut monomials = self.0.keys();
        let first = monomials.next().cloned().unwrap_or_default();
        monomials.fold(first, |common, monomial| common_factor(&common, monomial))
    }

    fn over(&self, divisor: &Monomial) -> Polynomial {
        let divided =
            |(monomial, value): (&Monomial, &Rational)| (monomial_over(monomial, divisor), value.clone());
        Polynomial(self.0.iter().map(divided).collect())
    }

    /// The rational factor between the other polynomial and this one, if there is one.
    fn ratio(&self, other: &Polynomial) -> Option<Rational> {
        let (term, value) = other.0.first_key_value()?;
        let ratio = product_of(self.0.get(term)?, &value.recip())?;
        (*self == other.scale(&ratio)?).then_some(ratio)
    }
}

/// The greatest monomial that divides both.
fn common_factor(one: &Monomial, two: &Monomial) -> Monomial {
    let least = |(atom, power): (&String, &u32)| Some((atom.clone(), *power.min(two.get(atom)?)));
    one.iter().filter_map(least).collect()
}

/// A monomial over one that divides it.
fn monomial_over(monomial: &Monomial, divisor: &Monomial) -> Monomial {
    let rest = |(atom, power): (&String, &u32)| (atom.clone(), power - divisor.get(atom).unwrap_or(&0));
    monomial.iter().map(rest).filter(|(_, power)| *power > 0).collect()
}

/// The atom whose square is −1.
const IMAGINARY: &str = "i";

/// The product of two monomials, and whether it is negative.
fn multiply_monomials(one: &Monomial, two: &Monomial) -> Option<(Monomial, bool)> {
    const MOST_DEGREE: u32 = 1_000;
    let mut product = one.clone();
    for (atom, power) in two {
        let entry = product.entry(atom.clone()).or_insert(0);
        *entry = entry.checked_add(*power).filter(|sum| *sum <= MOST_DEGREE)?;
    }
    let is_negative = reduce_imaginary(&mut product);
    Some((product, is_negative))
}

/// i² = −1 holds in every form, so that \((1+i)^2\) is 2i without numerics. Returns whether a minus sign is
/// left.
fn reduce_imaginary(monomial: &mut Monomial) -> bool {
    let power = monomial.remove(IMAGINARY).unwrap_or(0);
    if power % 2 == 1 {
        monomial.insert(IMAGINARY.to_owned(), 1);
    }
    power % 4 >= 2
}

/// The units that it takes to copy a monomial and to find its place among others.
fn weight(monomial: &Monomial) -> u64 {
    2 + monomial.keys().map(|atom| 2 + atom.len() as u64 / 64).sum::<u64>()
}

/// The sum of two rationals, unless that takes too much work.
pub(super) fn sum_of(one: &Rational, two: &Rational) -> Option<Rational> {
    // Whole numbers need no common divisor, which takes time quadratic in their length.
    if one.is_integer() && two.is_integer() {
        work::spend(1 + (words(one) + words(two)) / 64)?;
        return Some(Rational::from_integer(one.numer() + two.numer()));
    }
    work::spend(reduction(words(one) + words(two)))?;
    Some(one + two)
}

/// The product of two rationals, unless that takes too much work.
pub(super) fn product_of(one: &Rational, two: &Rational) -> Option<Rational> {
    let (left, right) = (words(one), words(two));
    if one.is_integer() && two.is_integer() {
        work::spend(1 + left * right / 64)?;
        return Some(Rational::from_integer(one.numer() * two.numer()));
    }
    work::spend(reduction(left + right))?;
    Some(one * two)
}

/// The units that it takes to reduce a fraction of so many words.
fn reduction(words: u64) -> u64 {
    2 + words * words / 3
}

/// How many words of 64 bits a rational takes.
fn words(value: &Rational) -> u64 {
    bits(value) / 64
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
        Fraction::from(Polynomial::constant(value))
    }

    fn atom(name: impl Into<String>) -> Fraction {
        Fraction::from(Polynomial::atom(name.into()))
    }

    fn one() -> Fraction {
        Fraction::constant(Rational::one())
    }

    /// The fraction in which a constant denominator is 1.
    fn new(numerator: Polynomial, denominator: Polynomial) -> Option<Fraction> {
        match denominator.as_constant() {
            Some(value) if value.is_zero() => None,
            Some(value) if value.is_one() => Some(Fraction::from(numerator)),
            Some(value) => Some(Fraction::from(numerator.scale(&value.recip())?)),
            None => Some(Fraction { numerator, denominator }),
        }
    }

    pub(crate) fn as_constant(&self) -> Option<Rational> {
        self.denominator.as_constant().and_then(|_| self.numerator.as_constant())
    }

    fn add(self, other: Fraction) -> Option<Fraction> {
        if self.denominator == other.denominator {
            return Fraction::new(self.numerator.add(other.numerator)?, self.denominator);
        }
        // Cross-multiplication needs no common divisor of polynomials, which is not computed here.
        let (left, right) = self.crossed(&other)?;
        Fraction::new(left.add(right)?, self.denominator.multiply(&other.denominator)?)
    }

    /// The numerators of both over the product of their denominators.
    fn crossed(&self, other: &Fraction) -> Option<(Polynomial, Polynomial)> {
        let left = self.numerator.multiply(&other.denominator)?;
        Some((left, other.numerator.multiply(&self.denominator)?))
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
        const MOST_EXPANDED: u32 = 40;
        if let Some(value) = self.as_constant() {
            return power_of(&value, &BigInt::from(exponent)).map(Fraction::constant);
        }
        // Terms of a power grow like a binomial coefficient of its exponent.
        (exponent <= MOST_EXPANDED)
            .then(|| (0..exponent).try_fold(Fraction::one(), |power, _| power.multiply(self)))?
    }

    /// Whether both are the same function.
    pub(crate) fn equals(&self, other: &Fraction) -> Option<bool> {
        self.crossed(other).map(|(left, right)| left == right)
    }

    /// Whether the numerators are multiples of one another, when factors that a numerator shares with its
    /// denominator are cancelled.
    pub(crate) fn has_the_zeros_of(&self, other: &Fraction) -> bool {
        let (one, two) = (self.reduced_numerator(), other.reduced_numerator());
        let is_constant = one.as_constant().or_else(|| two.as_constant()).is_some();
        !is_constant && one.ratio(&two).is_some()
    }

    /// The numerator without the powers of atoms that divide it and the denominator.
    fn reduced_numerator(&self) -> Polynomial {
        let common = common_factor(&self.numerator.content(), &self.denominator.content());
        self.numerator.over(&common)
    }

    /// The rational factor between `other` and this one; the inner `None` if the ratio is no rational.
    pub(crate) fn ratio(&self, other: &Fraction) -> Option<Option<Rational>> {
        self.crossed(other).map(|(left, right)| left.ratio(&right))
    }
}

impl From<Polynomial> for Fraction {
    fn from(numerator: Polynomial) -> Fraction {
        Fraction { numerator, denominator: Polynomial::constant(Rational::one()) }
    }
}

/// A rational to an integer power, unless it has too many digits.
pub(crate) fn power_of(base: &Rational, exponent: &BigInt) -> Option<Rational> {
    if base.is_zero() {
        return exponent.is_positive().then(Rational::zero);
    }
    // Powers of 1 and −1 are cheap for exponents of any size.
    if base.is_one() || exponent.is_zero() {
        return Some(Rational::one());
    }
    if *base == -Rational::one() {
        return Some(if exponent.is_even() { Rational::one() } else { base.clone() });
    }
    let size = u32::try_from(exponent.abs()).ok().filter(|size| is_computed(base, *size))?;
    let length = words(base) * u64::from(size) + u64::from(size) / 64;
    work::spend(1 + length * length / 256)?;
    let power: Rational = Pow::pow(base, size);
    Some(if exponent.is_negative() { power.recip() } else { power })
}

fn is_computed(base: &Rational, exponent: u32) -> bool {
    u64::from(exponent).checked_mul(bits(base)).is_some_and(|bits| bits <= MOST_BITS)
}

/// The expression as a fraction of polynomials; `None` where it is no number or too large.
pub(crate) fn normal(expression: &Expression) -> Option<Fraction> {
    use Expression as E;
    work::spend(2)?;
    match expression {
        E::Number(value, _) => Some(Fraction::constant(value.clone())),
        E::InBase(_, _, value) => Some(Fraction::constant(Rational::from_integer(value.clone()))),
        E::Symbol(name) => Some(Fraction::atom(name)),
        E::Constant(constant) => atom_of(*constant).map(Fraction::atom),
        E::Sum(parts) => {
            parts.iter().try_fold(Fraction::constant(Rational::zero()), |sum, part| sum.add(normal(part)?))
        }
        E::Product(parts) => {
            parts.iter().try_fold(Fraction::one(), |product, part| product.multiply(&normal(part)?))
        }
        E::Quotient(pair) => normal(&pair.0)?.multiply(&normal(&pair.1)?.reciprocal()?),
        E::Negative(inner) => normal(inner)?.multiply(&Fraction::constant(-Rational::one())),
        E::Percent(inner) => normal(inner)?.multiply(&one_over(100)),
        E::Degrees(inner) => normal(inner)?.multiply(&Fraction::atom(PI).multiply(&one_over(180))?),
        E::Power(pair) => power(&pair.0, &pair.1),
        E::Root(inner, index) => root(inner, *index),
        E::Call(function, arguments) => call(*function, arguments),
        E::Opaque(..) => Some(Fraction::atom(canonical(expression))),
        // Intervals, sets, words: nothing that is added or multiplied.
        _ => None,
    }
}

fn one_over(value: i32) -> Fraction {
    Fraction::constant(Rational::new(BigInt::one(), BigInt::from(value)))
}

const PI: &str = "π";

/// The atom that a constant is. Its sign is no letter that an answer could have for a variable.
fn atom_of(constant: Constant) -> Option<&'static str> {
    match constant {
        Constant::Pi => Some(PI),
        Constant::Euler => Some("ℯ"),
        Constant::Imaginary => Some(IMAGINARY),
        Constant::Infinity | Constant::NumberSet(_) | Constant::EmptySet => None,
    }
}

/// The exact rational value, if it has one that is found without numerics.
pub(crate) fn rational(value: &Expression) -> Option<Rational> {
    match value {
        // Most are plain numbers, which need no polynomial.
        Expression::Number(value, _) => Some(value.clone()),
        Expression::Negative(inner) => rational(inner).map(|value| -value),
        _ => normal(value)?.as_constant(),
    }
}

fn power(base: &Expression, exponent: &Expression) -> Option<Fraction> {
    let exponent = normal(exponent)?;
    let Some(value) = exponent.as_constant() else {
        return power_atom(base, &exponent);
    };
    if value.is_integer() {
        return whole_power(&normal(base)?, &value.to_integer());
    }
    match value.denom().to_u32() {
        // \(a^{p/q}\) is the q-th root to the power p, so that both notations share their atom.
        Some(index) => whole_power(&root(base, index)?, value.numer()),
        None => power_atom(base, &exponent),
    }
}

/// An exponent with variables: the whole power is an atom, and \(2^{n+1} = 2 \cdot 2^n\) is left to numerics.
fn power_atom(base: &Expression, exponent: &Fraction) -> Option<Fraction> {
    Some(Fraction::atom(format!("({})^({})", canonical(base), canonical_form(exponent))))
}

fn whole_power(base: &Fraction, exponent: &BigInt) -> Option<Fraction> {
    if let Some(value) = base.as_constant() {
        return power_of(&value, exponent).map(Fraction::constant);
    }
    let raised = base.power(exponent.abs().to_u32()?)?;
    if exponent.is_negative() { raised.reciprocal() } else { Some(raised) }
}

fn root(radicand: &Expression, index: u32) -> Option<Fraction> {
    let form = normal(radicand)?;
    let exact = form.as_constant().and_then(|value| exact_root(&value, index));
    // By the normal form of the radicand, so that √(2x+2) and √(2(x+1)) are one atom.
    let atom = || Fraction::atom(format!("root{index}({})", canonical_form(&form)));
    Some(exact.map_or_else(atom, Fraction::constant))
}

fn exact_root(value: &Rational, index: u32) -> Option<Rational> {
    // Even roots of negative numbers are imaginary; odd ones are real by the school's convention.
    if index == 0 || (value.is_negative() && index.is_multiple_of(2)) {
        return None;
    }
    Some(Rational::new(whole_root(value.numer(), index)?, whole_root(value.denom(), index)?))
}

fn whole_root(value: &BigInt, index: u32) -> Option<BigInt> {
    let length = value.bits() / 64;
    work::spend(2 + length * length / 8)?;
    let root = value.nth_root(index);
    (Pow::pow(&root, index) == *value).then_some(root)
}

fn call(function: Function, arguments: &[Expression]) -> Option<Fraction> {
    let forms = arguments.iter().map(normal).collect::<Option<Vec<_>>>()?;
    let values: Option<Vec<Rational>> = forms.iter().map(Fraction::as_constant).collect();
    // As with roots: sin(2x) and sin(x+x) are one atom.
    let names = || forms.iter().map(canonical_form).collect::<Vec<_>>().join(",");
    match values.and_then(|values| on_rationals(function, &values)) {
        Some(value) => Some(Fraction::constant(value)),
        None => Some(Fraction::atom(format!("{function:?}({})", names()))),
    }
}

/// Functions that take rationals to rationals.
pub(crate) fn on_rationals(function: Function, values: &[Rational]) -> Option<Rational> {
    match function {
        Function::Absolute => values.first().map(Signed::abs),
        Function::Floor => values.first().map(Rational::floor),
        Function::Ceiling => values.first().map(Rational::ceil),
        Function::Minimum => values.iter().min().cloned(),
        Function::Maximum => values.iter().max().cloned(),
        _ => on_integers(function, values).map(Rational::from_integer),
    }
}

fn on_integers(function: Function, values: &[Rational]) -> Option<BigInt> {
    let whole = |at: usize| values.get(at).filter(|value| value.is_integer()).map(Rational::to_integer);
    match function {
        Function::Factorial => factorial(&whole(0)?, 1),
        Function::DoubleFactorial => factorial(&whole(0)?, 2),
        Function::Binomial => binomial(&whole(0)?, &whole(1)?),
        Function::GreatestDivisor => divided(&whole(0)?, &whole(1)?).map(|(one, two)| one.gcd(two)),
        Function::LeastMultiple => divided(&whole(0)?, &whole(1)?).map(|(one, two)| one.lcm(two)),
        _ => None,
    }
}

/// Two numbers whose common divisor is within the work that is left.
fn divided<'a>(one: &'a BigInt, two: &'a BigInt) -> Option<(&'a BigInt, &'a BigInt)> {
    work::spend(reduction((one.bits() + two.bits()) / 64))?;
    Some((one, two))
}

/// The product of the value and every `step`-th number below it.
fn factorial(value: &BigInt, step: usize) -> Option<BigInt> {
    let most = value.to_u32().filter(|value| *value <= MOST_FACTORIAL)?;
    work::spend(1 + u64::from(most).pow(2) / 1_000)?;
    Some((1..=most).rev().step_by(step).map(BigInt::from).product())
}

fn binomial(upper: &BigInt, lower: &BigInt) -> Option<BigInt> {
    if !upper.is_negative() && (lower.is_negative() || lower > upper) {
        return Some(BigInt::zero());
    }
    let upper = upper.to_u32().filter(|upper| *upper <= MOST_FACTORIAL)?;
    let lower = lower.to_u32()?;
    work::spend(1 + u64::from(upper).pow(2) / 500)?;
    // Each product so far is a binomial coefficient itself, so every division is exact.
    let factors = 0..lower.min(upper - lower);
    Some(factors.fold(BigInt::one(), |product, at| product * (upper - at) / (at + 1)))
}

/// A text that equal expressions share where expansion shows them equal.
pub(crate) fn canonical(expression: &Expression) -> String {
    let form = match expression {
        // The normal form of an opaque operator is an atom named by this text; a numeral in a base is
        // identified by its digits, since `101_2` is not the answer 5.
        Expression::Opaque(..) | Expression::InBase(..) => None,
        other => normal(other),
    };
    form.map_or_else(|| canonical_parts(expression), |form| canonical_form(&form))
}

fn canonical_parts(expression: &Expression) -> String {
    let parts: Vec<String> = expression.children().into_iter().map(canonical).collect();
    format!("{}[{}]", label(expression), parts.join("|"))
}

/// What distinguishes an expression from others with the same parts.
fn label(expression: &Expression) -> String {
    match expression {
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
        // The rest differ by their kind alone.
        other => format!("{:?}", std::mem::discriminant(other)),
    }
}

fn canonical_form(form: &Fraction) -> String {
    let text = format!("({})/({})", canonical_sum(&form.numerator), canonical_sum(&form.denominator));
    // Too late for this text, but not for those that it becomes a part of.
    work::charge(text.len() as u64 / 32);
    text
}

fn canonical_sum(polynomial: &Polynomial) -> String {
    let term = |(monomial, coefficient): (&Monomial, &Rational)| {
        let atoms: Vec<String> = monomial.iter().map(|(atom, power)| format!("{atom}^{power}")).collect();
        format!("{coefficient}*{}", atoms.join("*"))
    };
    polynomial.0.iter().map(term).collect::<Vec<_>>().join("+")
}

/// Whether the exact form decides inequality too: nothing in it stands for another function of the variables.
pub(crate) fn is_rational_function(expression: &Expression) -> bool {
    use Expression as E;
    match expression {
        E::Number(..) | E::Symbol(_) | E::InBase(..) => true,
        E::Constant(constant) => matches!(constant, Constant::Pi | Constant::Imaginary),
        E::Sum(parts) | E::Product(parts) => parts.iter().all(is_rational_function),
        E::Quotient(pair) => is_rational_function(&pair.0) && is_rational_function(&pair.1),
        E::Negative(inner) | E::Percent(inner) => is_rational_function(inner),
        // Other powers are roots or exponentials, which satisfy equations that normal forms do not know.
        E::Power(pair) => is_rational_function(&pair.0) && is_whole(&pair.1),
        _ => false,
    }
}

fn is_whole(expression: &Expression) -> bool {
    rational(expression).is_some_and(|value| value.is_integer())
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
