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
    // Two numbers as written end here: equal, near if both are decimals, or different. A fraction never gets
    // a decimal's tolerance, or 1/3 would equal 0.3333333.
    if let (Some((gold_value, gold_written)), Some((value, written))) = (literal(gold), literal(answer)) {
        let both_decimals = gold_written == Written::Decimal && written == Written::Decimal;
        return gold_value == value || (both_decimals && near(&gold_value, &value));
    }
    decided_by_form(gold, answer)
        .unwrap_or_else(|| is_rounded(gold, answer) || numeric::compare(gold, answer) == Agreement::Same)
}

/// What normal forms say; `None` where that is nothing.
fn decided_by_form(gold: &Expression, answer: &Expression) -> Option<bool> {
    match (exact::normal(gold), exact::normal(answer)) {
        (Some(one), Some(two)) if one.equals(&two)? => Some(true),
        // Normal forms of rational functions are faithful: different forms are different functions. With
        // roots and other atoms in them, a difference proves nothing, since those of √2 √3 and √6 differ.
        (Some(one), Some(two)) => {
            let faithful = exact::is_rational_function(gold) && exact::is_rational_function(answer);
            let constant = one.as_constant().is_some() && two.as_constant().is_some();
            (faithful || constant).then_some(false)
        }
        // No normal form exists, as for intervals, or it would be too large: the same text part by part will
        // do.
        _ => (exact::canonical(gold) == exact::canonical(answer)).then_some(true),
    }
}

/// Whether the reference is a decimal that the answer, no rational, is within the tolerance of.
fn is_rounded(gold: &Expression, answer: &Expression) -> bool {
    // One way only: a decimal reference stands for a value that was rounded; an exact reference asks for
    // more than a decimal answer says.
    let Some((value, Written::Decimal)) = literal(gold) else {
        return false;
    };
    let tolerance = Rational::new(1.into(), INVERSE_TOLERANCE.into());
    !value.is_integer()
        && exact::rational(answer).is_none()
        && numeric::approximate(answer, &tolerance, &value) == Some(true)
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
    // `5.0` may be a count. Relative tolerance would let counts beyond a million differ by one.
    if gold.is_integer() || value.is_integer() {
        return false;
    }
    (value - gold).abs() * Rational::from_integer(INVERSE_TOLERANCE.into()) <= gold.abs()
}

/// Whether a value rounds to a decimal with some digits of it.
pub(super) fn near_enough(exact: &Expression, rounded: &Rational) -> bool {
    numeric::approximate(exact, &Rational::new(1.into(), 200.into()), rounded) == Some(true)
}
