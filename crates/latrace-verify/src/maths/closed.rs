//! Sums, products and integrals between given bounds, and numbers of choices, by their values.
//!
//! A sum or product whose bounds are whole numbers is written out, or added up where its terms are rational.
//! An integral is evaluated where an antiderivative is known without a table: of polynomials, powers, the
//! exponential, sines and cosines of linear arguments, and their sums. Everything else stays an operator that
//! is compared by its parts.

use std::borrow::Cow;

use num_traits::{One, Signed, ToPrimitive, Zero};

use super::point::{Point, at_point};
use super::syntax::{Constant, Expression, Function, Rational, Relation, Written};
use super::univariate::{Polynomial, contains, polynomial, substitute};
use super::{exact, numeric, work};

/// The most operations that operators are written out to.
const MOST_NODES: usize = 2_000;

/// The most operations in the terms of a sum that is added up.
const MOST_TERMS: u64 = 40_000;

/// The expression with the operators in it that have values by their values.
pub(super) fn written_out(expression: &Expression) -> Cow<'_, Expression> {
    if !expression.any(&|part| matches!(part, Expression::Opaque(..))) {
        return Cow::Borrowed(expression);
    }
    Cow::Owned(Writer { nodes: MOST_NODES }.written(expression))
}

/// The answer with `C(5,2)` and its like as numbers, for a reference that they cannot be names in.
pub(super) fn counted(expression: &Expression) -> Cow<'_, Expression> {
    if !expression.any(&is_count) {
        return Cow::Borrowed(expression);
    }
    Cow::Owned(with_counts(expression))
}

fn with_counts(expression: &Expression) -> Expression {
    match expression {
        Expression::Opaque(name, parts) if is_count(expression) => count(name, parts),
        other => other.map(&mut with_counts),
    }
}

fn is_count(expression: &Expression) -> bool {
    match expression {
        Expression::Opaque(name, parts) => matches!(name.as_str(), "C" | "P") && parts.len() == 2,
        _ => false,
    }
}

fn count(name: &str, parts: &[Expression]) -> Expression {
    let choices = Expression::Call(Function::Binomial, parts.to_vec());
    if name == "C" {
        choices
    } else {
        choices.times(&Expression::Call(Function::Factorial, vec![parts[1].clone()]))
    }
}

/// A sum or product with an index, its bounds and its terms.
struct Operator<'a> {
    is_sum: bool,
    index: &'a Expression,
    low: &'a Expression,
    high: &'a Expression,
    body: &'a Expression,
}

impl<'a> Operator<'a> {
    fn of(expression: &'a Expression) -> Option<Operator<'a>> {
        let Expression::Opaque(name, parts) = expression else {
            return None;
        };
        let (is_sum, [Expression::Chain(sides, relations), high, body]) = (
            match name.as_str() {
                "sum_^" => true,
                "prod_^" => false,
                _ => return None,
            },
            parts.as_slice(),
        ) else {
            return None;
        };
        let ([index, low], [Relation::Equal]) = (sides.as_slice(), relations.as_slice()) else {
            return None;
        };
        // An index `i` is read as the imaginary unit.
        let is_index = matches!(index, Expression::Symbol(_) | Expression::Constant(Constant::Imaginary));
        (is_index && !has_indexed_names(body, index)).then_some(Operator { is_sum, index, low, high, body })
    }

    /// The first and the last value of the index.
    fn range(&self, value: impl Fn(&Expression) -> Option<Rational>) -> Option<(i64, i64)> {
        let whole = |bound| value(bound).filter(Rational::is_integer)?.to_integer().to_i64();
        let (low, high) = (whole(self.low)?, whole(self.high)?);
        // With the last value before the first there are no terms; further down conventions differ.
        (high >= low.checked_sub(1)?).then_some((low, high))
    }

    fn term(&self, index: i64) -> Expression {
        substitute(self.body, self.index, &Expression::integer(index))
    }

    fn joined(&self, terms: Vec<Expression>) -> Expression {
        match (terms.is_empty(), self.is_sum) {
            (true, is_sum) => Expression::integer(i64::from(!is_sum)),
            (false, true) => Expression::Sum(terms),
            (false, false) => Expression::Product(terms),
        }
    }
}

/// Whether the index may stand in the name of a variable, as in `a_k`.
fn has_indexed_names(body: &Expression, index: &Expression) -> bool {
    let letter = match index {
        Expression::Symbol(name) => name.as_str(),
        _ => "i",
    };
    body.any(&|part| match part {
        Expression::Symbol(name) => name.split_once('_').is_some_and(|(_, below)| below.contains(letter)),
        _ => false,
    })
}

/// The sum or product with its index written out, where its bounds are whole at a point.
pub(super) fn at(expression: &Expression, point: &Point) -> Option<Expression> {
    let operator = Operator::of(expression)?;
    let (low, high) = operator.range(|bound| exact::rational(&at_point(bound, point)))?;
    let terms = usize::try_from(high - low + 1).ok()?;
    let nodes = terms.checked_mul(operator.body.nodes()).filter(|nodes| *nodes <= MOST_NODES)?;
    work::spend(nodes as u64)?;
    Some(operator.joined((low..=high).map(|index| operator.term(index)).collect()))
}

/// Whether an expression is a sum or product over whole numbers, so that its bounds are such.
pub(super) fn is_over_integers(expression: &Expression) -> bool {
    Operator::of(expression).is_some()
}

/// How many more operations may be written out.
struct Writer {
    nodes: usize,
}

impl Writer {
    fn written(&mut self, expression: &Expression) -> Expression {
        if let Some(value) = self.operator(expression) {
            return self.written(&value);
        }
        let written = expression.map(&mut |part| self.written(part));
        integral(&written).unwrap_or(written)
    }

    fn operator(&mut self, expression: &Expression) -> Option<Expression> {
        let operator = Operator::of(expression)?;
        let (low, high) = operator.range(exact::rational)?;
        if let Some(total) = self.total(&operator, low, high) {
            return Some(Expression::exactly(total));
        }
        let terms = usize::try_from(high - low + 1).ok()?;
        let nodes = terms.checked_mul(operator.body.nodes())?;
        self.nodes = self.nodes.checked_sub(nodes)?;
        Some(operator.joined((low..=high).map(|index| operator.term(index)).collect()))
    }

    /// The value of a sum or product of rationals.
    fn total(&mut self, operator: &Operator<'_>, low: i64, high: i64) -> Option<Rational> {
        let nodes = operator.body.nodes() as u64;
        (((high - low).unsigned_abs()).checked_mul(nodes)? <= MOST_TERMS).then_some(())?;
        let mut total = if operator.is_sum { Rational::zero() } else { Rational::one() };
        for index in low..=high {
            work::spend(nodes)?;
            let term = operator.term(index);
            let term = if term.any(&is_over_integers) { self.written(&term) } else { term };
            let value = exact::rational(&term)?;
            total = if operator.is_sum {
                exact::sum_of(&total, &value)
            } else {
                exact::product_of(&total, &value)
            }?;
        }
        Some(total)
    }
}

/// An integral between bounds by its antiderivative.
fn integral(expression: &Expression) -> Option<Expression> {
    let Expression::Opaque(name, parts) = expression else {
        return None;
    };
    let [low, high, body, variable] = parts.as_slice() else {
        return None;
    };
    if name != "int_^" {
        return None;
    }
    if contains(low, variable) || contains(high, variable) {
        return None;
    }
    let whole = antiderivative(body, variable)?;
    // A power or logarithm has a pole or an end at zero, so both bounds must be on its right.
    let is_inside = |bound| numeric::order(bound, &Expression::integer(0)).is_some_and(|order| order.is_gt());
    (!whole.is_of_positive || (is_inside(low) && is_inside(high))).then(|| {
        let at = |bound| substitute(&whole.value, variable, bound);
        at(high).plus(&Expression::negative(at(low)))
    })
}

/// An antiderivative, and whether it is one for positive numbers alone.
struct Antiderivative {
    value: Expression,
    is_of_positive: bool,
}

impl Antiderivative {
    fn everywhere(value: Expression) -> Antiderivative {
        Antiderivative { value, is_of_positive: false }
    }

    fn times(self, factor: &Expression) -> Antiderivative {
        Antiderivative { value: factor.times(&self.value), ..self }
    }

    fn plus(self, other: Antiderivative) -> Antiderivative {
        Antiderivative {
            value: self.value.plus(&other.value),
            is_of_positive: self.is_of_positive || other.is_of_positive,
        }
    }
}

fn antiderivative(body: &Expression, variable: &Expression) -> Option<Antiderivative> {
    use Expression as E;
    if let Some(polynomial) = polynomial(body, variable) {
        return Some(Antiderivative::everywhere(of_polynomial(&polynomial, variable)));
    }
    match body {
        E::Negative(inner) => Some(antiderivative(inner, variable)?.times(&E::integer(-1))),
        E::Sum(parts) => {
            let zero = Antiderivative::everywhere(E::integer(0));
            parts.iter().try_fold(zero, |sum, part| Some(sum.plus(antiderivative(part, variable)?)))
        }
        E::Product(parts) => {
            let (constant, rest) = parted(parts, variable);
            let [single] = rest.as_slice() else {
                return None;
            };
            Some(antiderivative(single, variable)?.times(&constant))
        }
        E::Quotient(pair) if !contains(&pair.1, variable) => {
            let factor = E::quotient(E::integer(1), pair.1.clone());
            Some(antiderivative(&pair.0, variable)?.times(&factor))
        }
        E::Quotient(pair) if !contains(&pair.0, variable) => {
            let reciprocal = E::power(pair.1.clone(), E::integer(-1));
            Some(antiderivative(&flattened(reciprocal), variable)?.times(&pair.0))
        }
        E::Root(inner, index) if **inner == *variable => {
            of_power(&Rational::new(One::one(), (*index).into()), variable)
        }
        E::Power(pair) if pair.0 == *variable => of_power(&exact::rational(&pair.1)?, variable),
        E::Power(pair) if pair.0 == E::Constant(Constant::Euler) => of_linear(body, &pair.1, variable),
        E::Call(Function::Sine, arguments) => {
            let cosine = E::Call(Function::Cosine, arguments.clone());
            of_linear(&E::negative(cosine), arguments.first()?, variable)
        }
        E::Call(Function::Cosine, arguments) => {
            of_linear(&E::Call(Function::Sine, arguments.clone()), arguments.first()?, variable)
        }
        _ => None,
    }
}

/// The product of the factors without the variable, and the other factors.
fn parted<'a>(parts: &'a [Expression], variable: &Expression) -> (Expression, Vec<&'a Expression>) {
    let (rest, constant): (Vec<_>, Vec<_>) = parts.iter().partition(|part| contains(part, variable));
    (Expression::Product(constant.into_iter().cloned().collect()), rest)
}

/// A power of a power as one, so that \\(1/x^2\\) is a power of x.
fn flattened(power: Expression) -> Expression {
    match &power {
        Expression::Power(pair) => match &pair.0 {
            Expression::Power(inner) => Expression::power(inner.0.clone(), inner.1.times(&pair.1)),
            Expression::Root(inner, index) => {
                let exponent = Expression::quotient(pair.1.clone(), Expression::integer(i64::from(*index)));
                Expression::power((**inner).clone(), exponent)
            }
            _ => power,
        },
        _ => power,
    }
}

fn of_polynomial(coefficients: &Polynomial, variable: &Expression) -> Expression {
    let term = |(power, coefficient): (usize, &Expression)| {
        let next = Expression::integer(power as i64 + 1);
        coefficient.times(&Expression::quotient(Expression::power(variable.clone(), next.clone()), next))
    };
    Expression::Sum(coefficients.iter().enumerate().map(term).collect())
}

fn of_power(exponent: &Rational, variable: &Expression) -> Option<Antiderivative> {
    let next = exponent + Rational::one();
    let value = if next.is_zero() {
        Expression::Call(Function::Logarithm, vec![variable.clone()])
    } else {
        let next = Expression::Number(next, Written::Exactly);
        Expression::quotient(Expression::power(variable.clone(), next.clone()), next)
    };
    Some(Antiderivative { value, is_of_positive: !(exponent.is_integer() && exponent.is_positive()) })
}

/// `whole` over the slope of the linear argument that it is taken of.
fn of_linear(whole: &Expression, argument: &Expression, variable: &Expression) -> Option<Antiderivative> {
    let polynomial = polynomial(argument, variable)?;
    let [_, slope] = polynomial.as_slice() else {
        return None;
    };
    Some(Antiderivative::everywhere(Expression::quotient(whole.clone(), slope.clone())))
}
