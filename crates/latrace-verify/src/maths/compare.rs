//! Whether an answer is the reference: by kind, exactly where that is possible.

use num_traits::{Signed, Zero};

use super::collection::{same_bracketed, same_collection, same_union};
use super::syntax::{Expression, Function, Rational, Written};
use super::value::{literal, same_value};
use super::{exact, matrix, record, region, relation, signs, unit};

/// Whether `answer` says what `gold` says.
pub(crate) fn same(gold: &Expression, answer: &Expression) -> bool {
    if gold == answer {
        return true;
    }
    // Plus-minus signs go first, since `x = \pm 2` and `x = 2, -2` are different kinds until they are written
    // out.
    let (gold, answer) = (&signs::written_out(gold), &signs::written_out(answer));
    // Several named values decide alone: falling through to lists would compare them without their names.
    if let Some(same) = record::compare(gold, answer, same) {
        return same;
    }
    // Sets of numbers have many notations of several kinds, so they come last and across kinds.
    same_kind(gold, answer) || region::same(gold, answer)
}

/// Compares by kind, the more telling kinds first.
fn same_kind(gold: &Expression, answer: &Expression) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Chain(..), _) | (_, E::Chain(..)) => relation::same_chain(gold, answer, same),
        (E::List(..), E::List(..)) if relation::is_system(gold) || relation::is_system(answer) => {
            relation::same_system(gold, answer, same)
        }
        (E::List(..) | E::Set(_), _) | (_, E::List(..) | E::Set(_)) => same_collection(gold, answer, same),
        (E::Union(_), _) | (_, E::Union(_)) => same_union(gold, answer, same),
        (E::Percent(one), E::Percent(two)) => same(one, two),
        (E::Percent(inner), other) | (other, E::Percent(inner))
            if !matches!(other, E::Quantity(..) | E::Text(_)) =>
        {
            same_percent(inner, other, matches!(gold, E::Percent(_)))
        }
        (E::Quantity(..), _) | (_, E::Quantity(..)) => same_quantity(gold, answer),
        (E::Degrees(one), E::Degrees(two)) => same(one, two),
        (E::Degrees(inner), other) if matches!(other, E::Number(..)) => same(inner, other),
        (other, E::Degrees(inner)) if matches!(other, E::Number(..)) => same(other, inner),
        (E::Bracketed(..), _) | (_, E::Bracketed(..)) => same_bracketed(gold, answer, same),
        _ if matrix::is_matrix(gold) || matrix::is_matrix(answer) => matrix::same_matrix(gold, answer, same),
        (E::Text(one), E::Text(two)) => same_text(one, two),
        (E::Text(text), E::Symbol(name)) | (E::Symbol(name), E::Text(text)) => {
            text.eq_ignore_ascii_case(name)
        }
        (E::Ratio(_) | E::Time(_), _) | (_, E::Ratio(_) | E::Time(_)) => same_ratio(gold, answer),
        (E::InBase(..), _) | (_, E::InBase(..)) => same_in_base(gold, answer),
        (E::Constant(_), E::Constant(_)) => exact::canonical(gold) == exact::canonical(answer),
        (E::Text(_), _) | (_, E::Text(_)) => false,
        _ if congruence(gold).is_some() && congruence(answer).is_some() => same_congruence(gold, answer),
        _ => same_value(gold, answer),
    }
}

/// Policy: a percentage is its hundredth part; the sign may be left out where the number is above 1.
fn same_percent(inner: &Expression, other: &Expression, gold_is_percent: bool) -> bool {
    let as_fraction = Expression::percent(inner.clone());
    let (one, two) = if gold_is_percent { (&as_fraction, other) } else { (other, &as_fraction) };
    if same_value(one, two) {
        return true;
    }
    // Below 1 the sign matters: 0.5 % is not 0.5, and no reader would take it for 50 %.
    let above_one =
        exact::rational(inner).is_some_and(|value| value.abs() > Rational::from_integer(1.into()));
    above_one && if gold_is_percent { same_value(inner, other) } else { same_value(other, inner) }
}

fn same_quantity(gold: &Expression, answer: &Expression) -> bool {
    let (gold_value, gold_unit) = measured(gold);
    let (value, unit) = measured(answer);
    // A unit that one side leaves out is no difference. Words are: what looks like their unit may be a part
    // of the phrase.
    let (Some(gold_unit), Some(unit)) = (gold_unit, unit) else {
        let words = [&gold_value, &value].iter().any(|side| matches!(side, Expression::Text(_)));
        return !words && same(&gold_value, &value);
    };
    match unit::compare(&unit, &gold_unit) {
        unit::Match::Same => same(&gold_value, &value),
        unit::Match::Factor(factor) => {
            converted(&value, &factor).is_some_and(|value| same(&gold_value, &value))
        }
        unit::Match::Different => false,
    }
}

/// A rational value in another unit, written as it was.
fn converted(value: &Expression, factor: &Rational) -> Option<Expression> {
    Some(Expression::Number(exact::rational(value)? * factor, decimal_of(value)))
}

fn decimal_of(value: &Expression) -> Written {
    literal(value).map_or(Written::Exactly, |(_, written)| written)
}

fn measured(expression: &Expression) -> (Expression, Option<String>) {
    match expression {
        Expression::Quantity(value, unit) => (Expression::clone(value), Some(unit.clone())),
        Expression::Degrees(value) => (Expression::clone(value), Some("degree".to_owned())),
        Expression::Percent(value) => (Expression::clone(value), Some("percent".to_owned())),
        other => (other.clone(), None),
    }
}

/// Words: the same, or lists of the same.
fn same_text(gold: &str, answer: &str) -> bool {
    let letters = |text: &str| text.split_whitespace().collect::<String>();
    if gold == answer
        || (!gold.contains(',')
            && !answer.contains(',')
            && letters(gold) == letters(answer)
            && !letters(gold).is_empty())
    {
        return true;
    }
    let parts = |text: &str| {
        // Lists of words, such as `red and blue`, in any order.
        let commas = text.replace(" and ", ",");
        let mut parts: Vec<String> = commas.split(',').map(letters).filter(|part| !part.is_empty()).collect();
        parts.sort();
        parts
    };
    let gold = parts(gold);
    gold.len() > 1 && gold == parts(answer)
}

/// Ratios up to a common factor; times exactly; a ratio of two is their quotient.
fn same_ratio(gold: &Expression, answer: &Expression) -> bool {
    if let (Expression::Time(one), Expression::Time(two)) = (gold, answer) {
        return one == two;
    }
    let (Some(one), Some(two)) = (terms(gold), terms(answer)) else {
        return false;
    };
    if one.len() != two.len() {
        return false;
    }
    // A zero is no factor: cross products would all be zero.
    if one.iter().chain(&two).any(is_zero) {
        return one.iter().zip(&two).all(|(one, two)| same_value(one, two));
    }
    (1..one.len()).all(|at| is_proportion([&one[0], &one[at]], [&two[0], &two[at]]))
}

/// The terms of a ratio, of a time, which may stand for one, or of a quotient.
fn terms(expression: &Expression) -> Option<Vec<Expression>> {
    match expression {
        Expression::Ratio(parts) => Some(parts.clone()),
        Expression::Time(parts) => {
            Some(parts.iter().map(|part| Expression::integer(i64::from(*part))).collect())
        }
        Expression::Quotient(pair) => Some(vec![pair.0.clone(), pair.1.clone()]),
        _ => None,
    }
}

fn is_zero(expression: &Expression) -> bool {
    exact::rational(expression).is_some_and(|value| value.is_zero())
}

/// Whether `one[0] : one[1] = two[0] : two[1]`.
fn is_proportion(one: [&Expression; 2], two: [&Expression; 2]) -> bool {
    let product =
        |left: &Expression, right: &Expression| Expression::Product(vec![left.clone(), right.clone()]);
    same_value(&product(one[0], two[1]), &product(one[1], two[0]))
}

/// Numerals: the same digits in the same base. The base is what such an answer is about, so that the value
/// alone is none; without a base stands ten.
fn same_in_base(gold: &Expression, answer: &Expression) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::InBase(one, base, _), E::InBase(two, other, _)) => base == other && one == two,
        (E::InBase(_, 10, value), other) | (other, E::InBase(_, 10, value)) => {
            exact::rational(other).is_some_and(|other| other == Rational::from_integer(value.clone()))
        }
        _ => false,
    }
}

/// Remainders: the same modulus, the same class.
fn same_congruence(gold: &Expression, answer: &Expression) -> bool {
    congruence(gold)
        .zip(congruence(answer))
        .is_some_and(|((_, modulus), (_, other))| same_value(modulus, other))
        && same_value(gold, answer)
}

/// The value and the modulus of `3 \pmod 7`.
fn congruence(expression: &Expression) -> Option<(&Expression, &Expression)> {
    match expression {
        Expression::Call(Function::Modulo, parts) => Some((parts.first()?, parts.get(1)?)),
        _ => None,
    }
}
