//! Two values, neither with parts that are compared by themselves: numbers and formulas.

use num_traits::Signed;

use super::exact;
use super::numeric::{self, Agreement};
use super::syntax::{Constant, Expression, Rational, Written};

/// One over how far a written decimal may be from another, relative to the reference. Never applies to
/// integers and fractions.
const INVERSE_TOLERANCE: i32 = 1_000_000;

/// Two values: exactly if both are rational, within a tolerance if both are written decimals, else at random
/// points.
pub(super) fn same_value(gold: &Expression, answer: &Expression) -> bool {
    if let (Some(one), Some(two)) = (infinite(gold), infinite(answer)) {
        return one == two;
    }
    if let (Some((gold_value, gold_written)), Some((value, written))) = (literal(gold), literal(answer)) {
        return gold_value == value
            || (gold_written == Written::Decimal
                && written == Written::Decimal
                && near(&gold_value, &value));
    }
    match (exact::normal(gold), exact::normal(answer)) {
        (Some(one), Some(two)) => match one.equals(&two) {
            Some(true) => return true,
            Some(false) if exact::is_rational_function(gold) && exact::is_rational_function(answer) => {
                return false;
            }
            Some(false) if one.as_constant().is_some() && two.as_constant().is_some() => return false,
            _ => {}
        },
        _ if exact::canonical(gold) == exact::canonical(answer) => return true,
        _ => {}
    }
    if let Some((value, Written::Decimal)) = literal(gold)
        && !value.is_integer()
        && exact::rational(answer).is_none()
        && numeric::approximate(answer, &Rational::new(1.into(), INVERSE_TOLERANCE.into()), &value)
            == Some(true)
    {
        return true;
    }
    numeric::compare(gold, answer) == Agreement::Same
}

/// +1 or −1 for an infinity.
pub(super) fn infinite(expression: &Expression) -> Option<i8> {
    match expression {
        Expression::Constant(Constant::Infinity) => Some(1),
        Expression::Negative(inner) => infinite(inner).map(|sign| -sign),
        _ => None,
    }
}

/// A number as it is written, with a sign or a power of ten.
pub(super) fn literal(expression: &Expression) -> Option<(Rational, Written)> {
    match expression {
        Expression::Number(value, written) => Some((value.clone(), *written)),
        Expression::Negative(inner) => literal(inner).map(|(value, written)| (-value, written)),
        Expression::Product(parts) => match parts.as_slice() {
            [Expression::Number(..) | Expression::Negative(_), Expression::Power(pair)]
                if pair.0 == Expression::integer(10) =>
            {
                let (value, written) = literal(&parts[0])?;
                let power = exact::rational(&parts[1])?;
                Some((value * power, written))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether an answer is one written decimal with a fraction.
pub(super) fn is_decimal(expression: &Expression) -> bool {
    literal(expression).is_some_and(|(value, written)| written == Written::Decimal && !value.is_integer())
}

/// Whether two written decimals, neither a whole number, are within the tolerance.
fn near(gold: &Rational, value: &Rational) -> bool {
    if gold.is_integer() || value.is_integer() {
        return false;
    }
    (value - gold).abs() * Rational::from_integer(INVERSE_TOLERANCE.into()) <= gold.abs()
}

/// Whether a value rounds to a decimal with some digits of it.
pub(super) fn near_enough(exact: &Expression, rounded: &Rational) -> bool {
    numeric::approximate(exact, &Rational::new(1.into(), 200.into()), rounded) == Some(true)
}
