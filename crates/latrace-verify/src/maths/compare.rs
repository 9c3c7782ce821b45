//! Whether an answer is the reference: by kind, exactly where that is possible.

use std::borrow::Cow;

use num_traits::{Signed, Zero};

use super::closed;
use super::collection::{same_bracketed, same_collection, same_union};
use super::parts::Same;
use super::syntax::{Expression, Function, Rational, Written};
use super::value::{literal, same_value};
use super::{exact, matrix, numeric, record, region, relation, signs, unit, work};

/// Whether `answer` says what `gold` says.
pub(crate) fn same(gold: &Expression, answer: &Expression) -> bool {
    if gold == answer {
        return true;
    }
    // Every step below walks through both trees.
    if work::spend((gold.nodes() + answer.nodes()) as u64).is_none() {
        return false;
    }
    let answer = &counted(gold, answer);
    let (gold, answer) = (&closed::written_out(gold), &closed::written_out(answer));
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

/// `C(5,2)` in an answer is the number where the reference has no names, and so no point C.
fn counted<'a>(gold: &Expression, answer: &'a Expression) -> Cow<'a, Expression> {
    if numeric::has_variables(gold) { Cow::Borrowed(answer) } else { closed::counted(answer) }
}

/// Compares by kind. The order of the arms counts: a pair of kinds is decided by the one that says more, so
/// relations come before lists, lists before units, units before brackets, and values last.
fn same_kind(gold: &Expression, answer: &Expression) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Chain(..), _) | (_, E::Chain(..)) => relation::same_chain(gold, answer, same),
        (E::List(..), E::List(..)) if relation::is_system(gold) || relation::is_system(answer) => {
            relation::same_system(gold, answer, same)
        }
        (E::List(..) | E::Set(_), _) | (_, E::List(..) | E::Set(_)) => same_collection(gold, answer, same),
        (E::Union(_), _) | (_, E::Union(_)) => same_union(gold, answer, same),
        (E::Percent(one), E::Percent(two)) | (E::Degrees(one), E::Degrees(two)) => same(one, two),
        (E::Percent(one), two) if !is_counted(two) => same_percent(one, two, same_value),
        (one, E::Percent(two)) if !is_counted(one) => same_percent(two, one, |two, one| same_value(one, two)),
        (E::Quantity(..), _) | (_, E::Quantity(..)) => same_quantity(gold, answer),
        (E::Degrees(one), two) if is_signed_number(two) => same(one, two),
        (one, E::Degrees(two)) if is_signed_number(one) => same(one, two),
        (E::Bracketed(..), _) | (_, E::Bracketed(..)) => same_bracketed(gold, answer, same),
        _ if matrix::is_matrix(gold) || matrix::is_matrix(answer) => matrix::same_matrix(gold, answer, same),
        _ => same_single(gold, answer),
    }
}

fn is_signed_number(expression: &Expression) -> bool {
    match expression {
        Expression::Number(..) => true,
        Expression::Negative(inner) => matches!(**inner, Expression::Number(..)),
        _ => false,
    }
}

/// What remains: words, ratios, numerals, remainders and values.
fn same_single(gold: &Expression, answer: &Expression) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Text(one), E::Text(two)) => same_text(one, two),
        // `\text{A}` is set as words and names a variable.
        (E::Text(one), E::Symbol(two)) | (E::Symbol(two), E::Text(one)) => one.eq_ignore_ascii_case(two),
        (E::Ratio(_) | E::Time(_), _) | (_, E::Ratio(_) | E::Time(_)) => same_ratio(gold, answer),
        (E::InBase(..), _) | (_, E::InBase(..)) => same_in_base(gold, answer),
        (E::Constant(_), E::Constant(_)) => exact::canonical(gold) == exact::canonical(answer),
        (E::Text(_), _) | (_, E::Text(_)) => false,
        _ if modulus(gold).is_some() && modulus(answer).is_some() => same_congruence(gold, answer),
        _ => same_value(gold, answer),
    }
}

/// Whether a number has a unit, or is a phrase: then a percent sign on the other side is compared as a unit.
fn is_counted(expression: &Expression) -> bool {
    matches!(expression, Expression::Quantity(..) | Expression::Text(_))
}

/// Policy: a percentage is its hundredth part; the sign may be left out where the number is above 1.
/// `equal` compares a percentage with another value, with the reference first.
fn same_percent(inner: &Expression, other: &Expression, equal: Same) -> bool {
    // Below 1 the sign matters: 0.5 % is not 0.5, and no reader would take it for 50 %.
    let above_one =
        || exact::rational(inner).is_some_and(|value| value.abs() > Rational::from_integer(1.into()));
    equal(&Expression::percent(inner.clone()), other) || (above_one() && equal(inner, other))
}

fn same_quantity(gold: &Expression, answer: &Expression) -> bool {
    let (gold, gold_unit) = measured(gold);
    let (value, unit) = measured(answer);
    match gold_unit.zip(unit) {
        Some((gold_unit, unit)) => same_measure((gold, gold_unit), (value, unit)),
        // A unit that one side leaves out is no difference. Words are: what looks like their unit may be a
        // part of the phrase.
        None => {
            may_be_left_out([gold, value], gold_unit, unit)
                && !is_text(gold)
                && !is_text(value)
                && same(gold, value)
        }
    }
}

/// Whether the unit of one side is surely a unit, so that the other's number alone says the same.
fn may_be_left_out(values: [&Expression; 2], gold_unit: Option<&str>, unit: Option<&str>) -> bool {
    // `5 am` is a time or 5am; `5:30 am` is a time with and without it, and never a ratio.
    let is_time = values.iter().all(|value| matches!(value, Expression::Time(_)));
    let is_hour = |unit: Option<&str>| unit.is_some_and(unit::is_time_of_day) && !is_time;
    // The reference says what it means; an answer of `7 K` for 7 may mean seven thousand.
    !is_hour(gold_unit) && !is_hour(unit) && !unit.is_some_and(unit::is_abbreviation)
}

fn same_measure((gold, gold_unit): (&Expression, &str), (value, unit): (&Expression, &str)) -> bool {
    match unit::compare(unit, gold_unit) {
        unit::Match::Same => same(gold, value),
        unit::Match::Factor(factor) => converted(value, &factor).is_some_and(|value| same(gold, &value)),
        unit::Match::Different => false,
    }
}

fn is_text(expression: &Expression) -> bool {
    matches!(expression, Expression::Text(_))
}

/// A rational value in another unit, written as it was.
fn converted(value: &Expression, factor: &Rational) -> Option<Expression> {
    Some(Expression::Number(exact::rational(value)? * factor, written_as(value)))
}

fn written_as(value: &Expression) -> Written {
    literal(value).map_or(Written::Exactly, |(_, written)| written)
}

/// A value and its unit, if it has one.
fn measured(expression: &Expression) -> (&Expression, Option<&str>) {
    match expression {
        Expression::Quantity(value, unit) => (value, Some(unit)),
        Expression::Degrees(value) => (value, Some("degree")),
        Expression::Percent(value) => (value, Some("percent")),
        other => (other, None),
    }
}

/// Words: the same but for blanks, or lists of the same in any order.
fn same_text(gold: &str, answer: &str) -> bool {
    gold == answer || same_words(gold, answer) || {
        let listed = listed_words(gold);
        listed.len() > 1 && listed == listed_words(answer)
    }
}

fn same_words(gold: &str, answer: &str) -> bool {
    // With commas it is a list, in which `a, bc` is not `ab, c`.
    let is_list = gold.contains(',') || answer.contains(',');
    !is_list && letters(gold) == letters(answer) && !letters(gold).is_empty()
}

fn letters(text: &str) -> String {
    text.split_whitespace().collect()
}

/// The members of `red and blue`, in one order.
fn listed_words(text: &str) -> Vec<String> {
    let list = text.replace(" and ", ",");
    let mut parts: Vec<_> = list.split(',').filter(|part| !is_blank(part)).map(letters).collect();
    parts.sort();
    parts
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Ratios up to a common factor; times exactly; a ratio of two is their quotient. A reference that looks
/// like a time is one, and has no other ratio for an answer: `2:60` is not `1:30`. Its quotient can be no
/// time.
fn same_ratio(gold: &Expression, answer: &Expression) -> bool {
    match (gold, answer) {
        (Expression::Time(one), Expression::Time(two)) => one == two,
        (Expression::Time(_), Expression::Ratio(_)) => false,
        _ => terms(gold).zip(terms(answer)).is_some_and(|(one, two)| same_terms(&one, &two)),
    }
}

fn same_terms(one: &[Expression], two: &[Expression]) -> bool {
    if one.len() != two.len() {
        return false;
    }
    // A zero is no factor: cross products would all be zero.
    if one.iter().chain(two).any(is_zero) {
        return one.iter().zip(two).all(|(one, two)| same_value(one, two));
    }
    (1..one.len()).all(|at| is_proportion([&one[0], &one[at]], [&two[0], &two[at]]))
}

/// The terms of a ratio, of a time, which may stand for one, or of a quotient. Nobody writes `1:3` as `1:03`.
fn terms(expression: &Expression) -> Option<Vec<Expression>> {
    Some(match expression {
        Expression::Ratio(parts) => parts.clone(),
        Expression::Time(parts) if parts[1..].iter().any(|part| *part < 10) => return None,
        Expression::Time(parts) => parts.iter().map(|part| Expression::integer(i64::from(*part))).collect(),
        Expression::Quotient(pair) => vec![pair.0.clone(), pair.1.clone()],
        _ => return None,
    })
}

fn is_zero(expression: &Expression) -> bool {
    exact::rational(expression).is_some_and(|value| value.is_zero())
}

/// Whether `one[0] : one[1] = two[0] : two[1]`.
fn is_proportion(one: [&Expression; 2], two: [&Expression; 2]) -> bool {
    same_value(&one[0].times(two[1]), &one[1].times(two[0]))
}

/// Numerals: the same digits in the same base. The base is what such an answer is about, so that the value
/// alone is not the answer. An answer may leave out the base that the reference states, since the question
/// names it; in a reference without one the base is ten.
fn same_in_base(gold: &Expression, answer: &Expression) -> bool {
    use Expression::InBase;
    match (gold, answer) {
        (InBase(one, base, _), InBase(two, other, _)) => base == other && one == two,
        (InBase(_, 10, value), other) | (other, InBase(_, 10, value)) => {
            exact::rational(other) == Some(Rational::from_integer(value.clone()))
        }
        (InBase(digits, ..), Expression::Number(value, Written::Exactly)) => value.to_string() == *digits,
        _ => false,
    }
}

/// Remainders: the same modulus, the same class.
fn same_congruence(gold: &Expression, answer: &Expression) -> bool {
    let pair = modulus(gold).zip(modulus(answer));
    pair.is_some_and(|(one, two)| same_value(one, two)) && same_value(gold, answer)
}

/// The modulus of `3 \pmod 7`.
fn modulus(expression: &Expression) -> Option<&Expression> {
    match expression {
        Expression::Call(Function::Modulo, parts) => parts.get(1),
        _ => None,
    }
}
