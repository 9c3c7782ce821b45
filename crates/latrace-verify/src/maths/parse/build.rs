//! Trees from their parts.

use num_bigint::BigInt;
use num_traits::{Pow, Zero};

use crate::maths::syntax::{Expression, Rational, Written};
use crate::maths::work;

/// Sums and products are flat, so that a long one nests no deeper than a short one.
pub(super) fn sum(left: Expression, right: Expression) -> Expression {
    Expression::Sum(match left {
        Expression::Sum(parts) => with_last(parts, right),
        left => vec![left, right],
    })
}

/// A quotient; the sign behind `1/3\%` and `45/2^\circ` is that of all of it.
pub(super) fn quotient(left: Expression, right: Expression) -> Expression {
    match unsigned(right) {
        (right, Some(sign)) => sign(quotient(left, right)),
        (right, None) => Expression::quotient(left, right),
    }
}

/// A value with a minus sign; the degree or percent sign of `-78^\circ` is that of all of it.
pub(super) fn negative(value: Expression) -> Expression {
    let (value, sign) = unsigned(value);
    signed(Expression::negative(value), sign)
}

pub(super) fn product(left: Expression, right: Expression) -> Expression {
    Expression::Product(match left {
        Expression::Product(parts) => with_last(parts, right),
        left => vec![left, right],
    })
}

fn with_last(mut parts: Vec<Expression>, last: Expression) -> Vec<Expression> {
    parts.push(last);
    parts
}

/// What a percent or degree sign behind a value stands for.
pub(super) type Sign = fn(Expression) -> Expression;

/// A value without the percent or degree sign behind it, and that sign.
pub(super) fn unsigned(value: Expression) -> (Expression, Option<Sign>) {
    match value {
        Expression::Percent(inner) => (*inner, Some(Expression::percent)),
        Expression::Degrees(inner) => (*inner, Some(Expression::degrees)),
        value => (value, None),
    }
}

/// A value with the sign that stood behind its last part.
pub(super) fn signed(value: Expression, sign: Option<Sign>) -> Expression {
    match sign {
        Some(sign) => sign(value),
        None => value,
    }
}

/// Whether it is written as one whole number over a greater one.
pub(super) fn is_proper_fraction(value: &Expression) -> bool {
    use Expression::{Number, Quotient};
    // A decimal above or below the bar is no part of a mixed number.
    match value {
        Quotient(pair) => match &**pair {
            (Number(above, Written::Exactly), Number(below, Written::Exactly)) => {
                !above.is_zero() && above < below
            }
            _ => false,
        },
        _ => false,
    }
}

/// Digits with at most one point, exactly.
pub(super) fn decimal(digits: &str) -> Option<Rational> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Digits are read, and a fraction is reduced, in time quadratic in their number.
    let (digits, places) = ((whole.len() + fraction.len()) as u64, fraction.len() as u64);
    work::spend(1 + digits * digits / 20_000 + digits * places / 1_000)?;
    let joined: BigInt = format!("0{whole}{fraction}").parse().ok()?;
    Some(Rational::new(joined, Pow::pow(BigInt::from(10), fraction.len() as u32)))
}
