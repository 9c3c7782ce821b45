//! Expressions as polynomials in one variable, whose coefficients are expressions without it.

use num_traits::{Signed, ToPrimitive, Zero};

use super::exact;
use super::syntax::Expression;

/// The highest degree.
const MOST_DEGREE: usize = 12;

/// Coefficients by their power, the constant first; never empty.
pub(super) type Polynomial = Vec<Expression>;

/// Whether a variable, or the index `i`, occurs in an expression.
pub(super) fn contains(expression: &Expression, variable: &Expression) -> bool {
    expression.any(&|part| part == variable)
}

/// The expression with a value for a variable.
pub(super) fn substitute(expression: &Expression, variable: &Expression, value: &Expression) -> Expression {
    if expression == variable {
        return value.clone();
    }
    expression.map(&mut |part| substitute(part, variable, value))
}

/// The names of variables, each once, in order.
pub(super) fn variables(expression: &Expression) -> Vec<String> {
    let mut names = Vec::new();
    collect(expression, &mut names);
    names.sort();
    names.dedup();
    names
}

fn collect(expression: &Expression, names: &mut Vec<String>) {
    if let Expression::Symbol(name) = expression {
        names.push(name.clone());
    }
    expression.children().into_iter().for_each(|part| collect(part, names));
}

/// A quotient of polynomials, uncancelled: where the lower one is zero it has no value.
#[derive(Clone, Debug)]
pub(super) struct Quotient {
    pub(super) above: Polynomial,
    pub(super) below: Polynomial,
}

impl Quotient {
    fn constant(value: &Expression) -> Quotient {
        Quotient { above: vec![value.clone()], below: vec![Expression::integer(1)] }
    }

    fn plus(&self, other: &Quotient) -> Option<Quotient> {
        let (left, right) = (multiply(&self.above, &other.below)?, multiply(&other.above, &self.below)?);
        Some(Quotient { above: add(&left, &right), below: multiply(&self.below, &other.below)? })
    }

    fn times(&self, other: &Quotient) -> Option<Quotient> {
        Some(Quotient {
            above: multiply(&self.above, &other.above)?,
            below: multiply(&self.below, &other.below)?,
        })
    }

    fn reciprocal(self) -> Quotient {
        Quotient { above: self.below, below: self.above }
    }

    fn power(&self, exponent: usize) -> Option<Quotient> {
        let one = Quotient::constant(&Expression::integer(1));
        (exponent <= MOST_DEGREE).then(|| (0..exponent).try_fold(one, |power, _| power.times(self)))?
    }
}

/// An expression as a quotient of polynomials; `None` where it is none or its degree is too high.
pub(super) fn quotient(expression: &Expression, variable: &Expression) -> Option<Quotient> {
    use Expression as E;
    let inner = |part: &Expression| quotient(part, variable);
    if expression == variable {
        let above = vec![Expression::integer(0), Expression::integer(1)];
        return Some(Quotient { above, below: vec![Expression::integer(1)] });
    }
    if !contains(expression, variable) {
        return Some(Quotient::constant(expression));
    }
    match expression {
        E::Negative(part) => inner(part)?.times(&Quotient::constant(&Expression::integer(-1))),
        E::Sum(parts) => {
            let zero = Quotient::constant(&Expression::integer(0));
            parts.iter().try_fold(zero, |sum, part| sum.plus(&inner(part)?))
        }
        E::Product(parts) => {
            let one = Quotient::constant(&Expression::integer(1));
            parts.iter().try_fold(one, |product, part| product.times(&inner(part)?))
        }
        E::Quotient(pair) => inner(&pair.0)?.times(&inner(&pair.1)?.reciprocal()),
        E::Power(pair) => {
            let exponent = exact::rational(&pair.1).filter(|exponent| exponent.is_integer())?;
            let power = inner(&pair.0)?.power(exponent.abs().to_integer().to_usize()?)?;
            Some(if exponent.is_negative() { power.reciprocal() } else { power })
        }
        _ => None,
    }
}

/// An expression as a polynomial.
pub(super) fn polynomial(expression: &Expression, variable: &Expression) -> Option<Polynomial> {
    let Quotient { above, below } = quotient(expression, variable)?;
    let [divisor] = below.as_slice() else {
        return None;
    };
    let divided = above.iter().map(|part| simplified(Expression::quotient(part.clone(), divisor.clone())));
    Some(divided.collect())
}

fn add(one: &Polynomial, two: &Polynomial) -> Polynomial {
    let (long, short) = if one.len() < two.len() { (two, one) } else { (one, two) };
    let mut sum = long.clone();
    for (term, other) in sum.iter_mut().zip(short) {
        *term = simplified(term.plus(other));
    }
    trimmed(sum)
}

fn multiply(one: &Polynomial, two: &Polynomial) -> Option<Polynomial> {
    let length = one.len() + two.len() - 1;
    let term = |power: usize| {
        let pairs = (0..one.len()).filter_map(|at| Some(one[at].times(two.get(power.checked_sub(at)?)?)));
        simplified(Expression::Sum(pairs.collect()))
    };
    (length <= MOST_DEGREE + 1).then(|| trimmed((0..length).map(term).collect()))
}

/// Without zeros in front of the highest power.
fn trimmed(mut polynomial: Polynomial) -> Polynomial {
    while polynomial.len() > 1 && polynomial.last().is_some_and(is_zero) {
        polynomial.pop();
    }
    polynomial
}

fn is_zero(value: &Expression) -> bool {
    exact::rational(value).is_some_and(|value| value.is_zero())
}

fn simplified(value: Expression) -> Expression {
    exact::rational(&value).map_or(value, Expression::exactly)
}
