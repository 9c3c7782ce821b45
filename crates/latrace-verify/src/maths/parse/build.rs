//! Trees from their parts.

use num_bigint::BigInt;
use num_traits::{Pow, Zero};

use crate::maths::syntax::{Expression, Rational, Written};

pub(super) fn sum(left: Expression, right: Expression) -> Expression {
    match left {
        Expression::Sum(mut parts) => {
            parts.push(right);
            Expression::Sum(parts)
        }
        left => Expression::Sum(vec![left, right]),
    }
}

/// A quotient; the sign behind `1/3\%` and `45/2^\circ` is that of all of it.
pub(super) fn quotient(left: Expression, right: Expression) -> Expression {
    match right {
        Expression::Percent(right) => Expression::percent(quotient(left, *right)),
        Expression::Degrees(right) => Expression::degrees(quotient(left, *right)),
        right => Expression::quotient(left, right),
    }
}

pub(super) fn product(left: Expression, right: Expression) -> Expression {
    match left {
        Expression::Product(mut parts) => {
            parts.push(right);
            Expression::Product(parts)
        }
        left => Expression::Product(vec![left, right]),
    }
}

/// Whether it is written as one whole number over a greater one.
pub(super) fn is_proper_fraction(value: &Expression) -> bool {
    let Expression::Quotient(pair) = value else {
        return false;
    };
    match &**pair {
        (Expression::Number(one, Written::Exactly), Expression::Number(other, Written::Exactly)) => {
            !one.is_zero() && one < other
        }
        _ => false,
    }
}

/// Digits with at most one point, exactly.
pub(super) fn decimal(digits: &str) -> Option<Rational> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let joined: BigInt = format!("0{whole}{fraction}").parse().ok()?;
    Some(Rational::new(joined, Pow::pow(BigInt::from(10), fraction.len() as u32)))
}
