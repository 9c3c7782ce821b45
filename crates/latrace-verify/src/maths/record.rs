//! Labelled values: `x = 5`, `(x, y) = (1, 2)`, `a = 1, b = 2`.
//!
//! Policy: `x = 5` says what `5` says; values with several names are compared by name where both sides have
//! names, else by place. Neighbouring letters (x, y; a, b, c) and letters with subscripts have the alphabet's
//! places, others as written.

use super::collection::{in_order, same_part};
use super::compare::{is_decimal, literal, near_enough, same, same_value};
use super::exact;
use super::syntax::{Bracket, Constant, Expression, Relation};

/// The names of one solution and their values, in the order they are written.
type Record = Vec<(String, Expression)>;

/// A relation between values that leaves the left side's name out.
fn names_a_value(relation: Relation) -> bool {
    matches!(relation, Relation::Equal | Relation::In | Relation::Approximate | Relation::Congruent)
}

/// The name and the value of `x = 5`, `f(x) = x^2`, `(x, y) = (1, 2)`, `x \in [0, 1]`; a chain of equals must
/// agree.
pub(super) fn labelled(expression: &Expression) -> Option<(&Expression, Expression)> {
    let Expression::Chain(sides, relations) = expression else {
        return None;
    };
    if !relations.iter().all(|relation| names_a_value(*relation)) {
        return None;
    }
    let (name, values) = match (sides.first()?, sides.last()?) {
        (first, _) if is_name(first) => (first, &sides[1..]),
        (_, last) if is_name(last) && sides.len() == 2 => (last, &sides[..1]),
        _ => return None,
    };
    let value = values.first()?;
    let approximates = |at: usize| relations.get(at) == Some(&Relation::Approximate);
    let agree = (1..values.len()).all(|at| approximates(at) || same(value, &values[at]));
    agree.then(|| (name, value.clone()))
}

/// Whether an expression only names something: letters side by side, with brackets of letters.
pub(super) fn is_name(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) | Expression::Text(_) => true,
        Expression::Constant(Constant::Euler) => true,
        Expression::Product(parts) => parts.iter().all(is_name),
        Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => parts.iter().all(is_name),
        // `\frac{dy}{dx}`
        Expression::Quotient(pair) => [&pair.0, &pair.1].into_iter().all(is_differential),
        Expression::Opaque(name, parts) => {
            matches!(name.as_str(), "angle" | "overline" | "vec" | "triangle" | "hat" | "bar")
                && parts.iter().all(is_name)
        }
        _ => false,
    }
}

fn is_differential(expression: &Expression) -> bool {
    let is_d = |part: &Expression| matches!(part, Expression::Symbol(letter) if letter == "d");
    is_d(expression)
        || matches!(expression, Expression::Product(parts) if parts.first().is_some_and(is_d) && parts.iter().all(is_name))
}

/// The values that a chain gives: what it names or what all its sides agree on, and the decimal it rounds
/// that to.
pub(super) fn values_of(chain: &Expression) -> Vec<Expression> {
    let Expression::Chain(sides, relations) = chain else {
        return vec![chain.clone()];
    };
    let exact = match labelled(chain) {
        Some((_, value)) => Some(value),
        None => agreed(sides, relations),
    };
    let rounded = rounded(exact.as_ref(), sides, relations);
    exact.into_iter().chain(rounded).collect()
}

/// The value of all sides of a chain that names nothing.
fn agreed(sides: &[Expression], relations: &[Relation]) -> Option<Expression> {
    let first = sides.first()?;
    match relations {
        // The exact value comes before its approximation.
        [Relation::Approximate] => Some(first.clone()),
        _ if relations.iter().all(|relation| *relation == Relation::Equal) => {
            sides[1..].iter().all(|side| same_value(first, side)).then(|| first.clone())
        }
        _ => None,
    }
}

/// The written decimal at the end of `\sqrt2 \approx 1.41`, if that is what its value rounds to.
fn rounded(exact: Option<&Expression>, sides: &[Expression], relations: &[Relation]) -> Option<Expression> {
    let last = sides.last().filter(|_| relations.last() == Some(&Relation::Approximate))?;
    let (value, _) = literal(last).filter(|_| is_decimal(last))?;
    near_enough(exact?, &value).then(|| last.clone())
}

/// The values of a list in which at most one name occurs; `None` where several do.
pub(super) fn unlabelled(parts: &[Expression]) -> Option<Vec<Expression>> {
    let names: Vec<String> =
        parts.iter().filter_map(|part| labelled(part).map(|(name, _)| exact::canonical(name))).collect();
    if names.windows(2).any(|pair| pair[0] != pair[1]) {
        return None;
    }
    Some(parts.iter().map(|part| labelled(part).map_or_else(|| part.clone(), |(_, value)| value)).collect())
}

/// Two answers of which at least one gives values to several names; `None` where neither does.
pub(super) fn compare(gold: &Expression, answer: &Expression) -> Option<bool> {
    match (records(gold), records(answer)) {
        (None, None) => None,
        (Some(one), Some(two)) => Some(same_records(&one, &two)),
        (Some(one), None) => Some(is_in_places(&one, answer, matches!(answer, Expression::List(..)))),
        (None, Some(two)) => Some(is_in_places(&two, gold, false)),
    }
}

/// The records of `a=1, b=2` (one), `(x,y)=(1,2)` (one), `x=1,y=2 or x=2,y=1` (two).
fn records(expression: &Expression) -> Option<Vec<Record>> {
    match expression {
        Expression::Chain(..) => Some(vec![tuple(expression)?]),
        Expression::List(_, parts) => {
            let mut records: Vec<Record> = Vec::new();
            for part in parts {
                let (name, value) = labelled(part)?;
                let name = name_of(name);
                match records.last_mut().filter(|record| record.iter().all(|(known, _)| *known != name)) {
                    Some(record) => record.push((name, value)),
                    None => records.push(vec![(name, value)]),
                }
            }
            let names =
                |record: &Record| sorted(record).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
            let first = names(records.first()?);
            (first.len() > 1 && records.iter().all(|record| names(record) == first)).then_some(records)
        }
        _ => None,
    }
}

/// The record of `(x, y) = (1, 2)`.
fn tuple(expression: &Expression) -> Option<Record> {
    let (name, value) = labelled(expression)?;
    match (name, value) {
        (
            Expression::Bracketed(Bracket::Round, Bracket::Round, names),
            Expression::Bracketed(Bracket::Round, Bracket::Round, values),
        ) => (names.len() == values.len()).then(|| names.iter().map(name_of).zip(values).collect()),
        _ => None,
    }
}

fn sorted(record: &Record) -> Record {
    let mut sorted = record.clone();
    sorted.sort_by(|one, two| one.0.cmp(&two.0));
    sorted
}

/// The same records in any order, each with the same values of the same names.
fn same_records(gold: &[Record], answer: &[Record]) -> bool {
    let same_one = |one: &Record, two: &Record| {
        let (one, two) = (sorted(one), sorted(two));
        one.len() == two.len()
            && one
                .iter()
                .zip(&two)
                .all(|((name, value), (other, other_value))| name == other && same_part(value, other_value))
    };
    let within = |inner: &[Record], outer: &[Record]| {
        inner.iter().all(|one| outer.iter().any(|two| same_one(one, two)))
    };
    const MOST: usize = 24;
    gold.len() == answer.len() && gold.len() <= MOST && within(gold, answer) && within(answer, gold)
}

/// Whether values without names are those of the records, by place; `as_written` where the records say which
/// order is asked.
fn is_in_places(records: &[Record], values: &Expression, as_written: bool) -> bool {
    if !as_written && !records.iter().all(stands_in_order) {
        return false;
    }
    let places = |record: &Record| record.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let is_one = |record: &Record, tuple: &Expression| matches!(tuple, Expression::Bracketed(Bracket::Round, Bracket::Round, parts) if in_order(&places(record), parts));
    match (records, values) {
        ([record], Expression::Bracketed(..)) => is_one(record, values),
        ([record], Expression::List(_, parts)) => in_order(&places(record), parts),
        (_, Expression::List(_, parts) | Expression::Set(parts)) => {
            parts.len() == records.len()
                && parts.iter().all(|part| records.iter().any(|record| is_one(record, part)))
                && records.iter().all(|record| parts.iter().any(|part| is_one(record, part)))
        }
        _ => false,
    }
}

/// Whether names that have places of their own stand in them.
fn stands_in_order(record: &Record) -> bool {
    let in_alphabet = record.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let first: Vec<u32> = record.iter().filter_map(|(name, _)| name.chars().next().map(u32::from)).collect();
    let (Some(least), Some(greatest)) = (first.iter().min(), first.iter().max()) else {
        return true;
    };
    let letters = record.iter().all(|(name, _)| name.len() == 1);
    let neighbours = letters && (greatest - least) as usize + 1 == record.len();
    let subscripts = least == greatest && record.iter().all(|(name, _)| name.contains('_'));
    in_alphabet || !(neighbours || subscripts)
}

/// A name's text.
fn name_of(name: &Expression) -> String {
    match name {
        Expression::Symbol(name) => name.clone(),
        other => exact::canonical(other),
    }
}
