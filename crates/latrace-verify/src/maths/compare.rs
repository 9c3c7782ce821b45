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
    let (gold, answer) = (&signs::written_out(gold), &signs::written_out(answer));
    if let Some(same) = record::compare(gold, answer, same) {
        return same;
    }
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
    let as_fraction = Expression::Percent(Box::new(inner.clone()));
    let (one, two) = if gold_is_percent { (&as_fraction, other) } else { (other, &as_fraction) };
    if same_value(one, two) {
        return true;
    }
    let above_one =
        exact::rational(inner).is_some_and(|value| value.abs() > Rational::from_integer(1.into()));
    above_one && if gold_is_percent { same_value(inner, other) } else { same_value(other, inner) }
}

fn same_quantity(gold: &Expression, answer: &Expression) -> bool {
    let (gold_value, gold_unit) = measured(gold);
    let (value, unit) = measured(answer);
    let (Some(gold_unit), Some(unit)) = (gold_unit, unit) else {
        return !matches!((&gold_value, &value), (Expression::Text(_), _) | (_, Expression::Text(_)))
            && same(&gold_value, &value);
    };
    match unit::compare(&unit, &gold_unit) {
        unit::Match::Same => same(&gold_value, &value),
        unit::Match::Factor(factor) => {
            same(
                &gold_value,
                &Expression::Number(
                    exact::rational(&value).map_or_else(Rational::zero, |value| value * &factor),
                    decimal_of(&value),
                ),
            ) && exact::rational(&value).is_some()
        }
        unit::Match::Different => false,
    }
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
    use Expression as E;
    if let (E::Time(one), E::Time(two)) = (gold, answer) {
        return one == two;
    }
    let parts = |expression: &Expression| match expression {
        E::Ratio(parts) => Some(parts.clone()),
        E::Time(parts) => Some(parts.iter().map(|part| Expression::integer(i64::from(*part))).collect()),
        E::Quotient(pair) => Some(vec![pair.0.clone(), pair.1.clone()]),
        _ => None,
    };
    let (Some(one), Some(two)) = (parts(gold), parts(answer)) else {
        return false;
    };
    let cross = |left: (&Expression, &Expression), right: (&Expression, &Expression)| {
        let product = |one: &Expression, two: &Expression| E::Product(vec![one.clone(), two.clone()]);
        same_value(&product(left.0, right.1), &product(left.1, right.0))
    };
    let nothing = |parts: &[Expression]| {
        parts.iter().any(|part| exact::rational(part).is_some_and(|value| value.is_zero()))
    };
    if nothing(&one) || nothing(&two) {
        return one.len() == two.len() && one.iter().zip(&two).all(|(one, two)| same_value(one, two));
    }
    one.len() == two.len() && (1..one.len()).all(|at| cross((&one[0], &one[at]), (&two[0], &two[at])))
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
