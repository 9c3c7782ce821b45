//! Two values, neither with parts that are compared by themselves: numbers and formulas.

use num_bigint::BigInt;
use num_traits::{Signed, Zero};

use super::exact;
use super::numeric::{self, Agreement, Numbers};
use super::syntax::{Constant, Expression, Rational, Written};

// Six significant digits: decimals that agree in them were rounded from the same value.
/// One over how far a written decimal may be from another, relative to the reference. Never applies to
/// integers and fractions.
const INVERSE_TOLERANCE: i32 = 1_000_000;

/// Two values: exactly if both are rational, within a tolerance if both are written decimals, else at random
/// points.
pub(super) fn same_value(gold: &Expression, answer: &Expression) -> bool {
    if let (Some(one), Some(two)) = (infinite(gold), infinite(answer)) {
        return one == two;
    }
    // Two numbers as written are decided by what is written alone.
    if let (Some(one), Some(two)) = (literal(gold), literal(answer)) {
        return same_literal(one, two);
    }
    if is_shortened(gold, answer) {
        return true;
    }
    decided_by_form(gold, answer).unwrap_or_else(|| have_the_same_values(gold, answer))
}

/// At random points, over the reals alone or over the complex numbers.
fn have_the_same_values(gold: &Expression, answer: &Expression) -> bool {
    // The reals first: they need fewer points.
    [Numbers::Real, Numbers::Complex].into_iter().any(|numbers| {
        let near = match numbers {
            Numbers::Real => numeric::compare_reals(gold, answer),
            Numbers::Complex => numeric::compare(gold, answer),
        };
        near == Agreement::Same && numeric::agree_far(gold, answer, numbers)
    })
}

/// Equal, or near if both are decimals. A fraction never gets a decimal's tolerance, or 1/3 would equal
/// 0.3333333.
fn same_literal((gold, gold_written): (Rational, Written), (value, written): (Rational, Written)) -> bool {
    let both_decimals = gold_written == Written::Decimal && written == Written::Decimal;
    gold == value || (both_decimals && near(&gold, &value))
}

/// What normal forms say; `None` where that is nothing.
fn decided_by_form(gold: &Expression, answer: &Expression) -> Option<bool> {
    let (Some(one), Some(two)) = (exact::normal(gold), exact::normal(answer)) else {
        // No normal form exists, as for intervals, or it would be too large: the same text part by part will
        // do.
        return (exact::canonical(gold) == exact::canonical(answer)).then_some(true);
    };
    if one.equals(&two)? {
        return Some(true);
    }
    // Normal forms of rational functions are faithful: different forms are different functions. With roots
    // and other atoms in them, a difference proves nothing, since those of √2 √3 and √6 differ.
    let faithful = exact::is_rational_function(gold) && exact::is_rational_function(answer);
    let constant = one.as_constant().is_some() && two.as_constant().is_some();
    (faithful || constant).then_some(false)
}

/// Whether the reference is a decimal that the answer's exact value was rounded or truncated to.
///
/// Policy, for \(1/7\), \(\sqrt2\), e and π alike: a reference of at least seven significant digits stands
/// for the exact value, one of fewer for itself alone. One way only: an exact reference asks for more than
/// a decimal answer says.
fn is_shortened(gold: &Expression, answer: &Expression) -> bool {
    let Some((gold, Written::Decimal)) = literal(gold) else {
        return false;
    };
    // Rounding and truncating both stay within one unit of the last place.
    unit_in_last_place(&gold).is_some_and(|unit| match exact::rational(answer) {
        Some(answer) => (answer - gold).abs() < unit,
        None => numeric::approximate(answer, &(unit / gold.abs()), &gold) == Some(true),
    })
}

/// What one in the last place of a decimal is worth, if it has a fraction and enough significant digits.
fn unit_in_last_place(decimal: &Rational) -> Option<Rational> {
    const FEWEST_DIGITS: u32 = 7;
    // No reference has more.
    const MOST_PLACES: u32 = 100;
    let ten_to = |power: u32| Rational::from_integer(BigInt::from(10).pow(power));
    // Zeros at the end are lost, which makes the number shorter than it was written, and only asks for more.
    let places = (1..=MOST_PLACES).find(|places| (ten_to(*places).numer() % decimal.denom()).is_zero())?;
    let digits = decimal.abs() * ten_to(places);
    (!decimal.is_integer() && digits >= ten_to(FEWEST_DIGITS - 1)).then(|| ten_to(places).recip())
}

/// Whether a value is within one over `inverse`, relative to another, of it.
fn is_within(value: &Expression, inverse: i32, other: &Rational) -> bool {
    let tolerance = Rational::new(1.into(), inverse.into());
    numeric::approximate(value, &tolerance, other) == Some(true)
}

/// +1 or −1 for an infinity.
pub(super) fn infinite(value: &Expression) -> Option<i8> {
    match value {
        Expression::Constant(Constant::Infinity) => Some(1),
        Expression::Negative(inner) => Some(-infinite(inner)?),
        _ => None,
    }
}

/// A number as it is written, with a sign or a power of ten.
pub(super) fn literal(expression: &Expression) -> Option<(Rational, Written)> {
    match expression {
        Expression::Number(value, written) => Some((value.clone(), *written)),
        Expression::Negative(inner) => literal(inner).map(|(value, written)| (-value, written)),
        Expression::Product(parts) => scientific(parts),
        _ => None,
    }
}

/// `1.5 \times 10^3`
fn scientific(parts: &[Expression]) -> Option<(Rational, Written)> {
    match parts {
        [mantissa @ (Expression::Number(..) | Expression::Negative(_)), Expression::Power(pair)]
            if pair.0 == Expression::integer(10) =>
        {
            let (value, written) = literal(mantissa)?;
            Some((value * exact::rational(&parts[1])?, written))
        }
        _ => None,
    }
}

/// Whether an answer is one written decimal with a fraction.
pub(super) fn is_decimal(expression: &Expression) -> bool {
    literal(expression).is_some_and(|(value, written)| written == Written::Decimal && !value.is_integer())
}

/// Whether two written decimals, neither a whole number, are within the tolerance.
fn near(gold: &Rational, got: &Rational) -> bool {
    // `5.0` may be a count. Relative tolerance would let counts beyond a million differ by one.
    let counts = gold.is_integer() || got.is_integer();
    !counts && (got - gold).abs() * Rational::from_integer(INVERSE_TOLERANCE.into()) <= gold.abs()
}

/// Whether a value rounds to a decimal with some digits of it: `\sqrt2 \approx 1.41`.
pub(super) fn near_enough(exact: &Expression, rounded: &Rational) -> bool {
    // Half a percent, since two or three digits are all that such an answer shows.
    const INVERSE: i32 = 200;
    is_within(exact, INVERSE, rounded)
}
