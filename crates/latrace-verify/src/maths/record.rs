//! Several values with their names: `(x, y) = (1, 2)`, `a = 1, b = 2`.
//!
//! Policy: values with several names are compared by name where both sides have
//! names, else by place. Neighbouring letters (x, y; a, b, c) and letters with subscripts have the alphabet's
//! places, others as written.

use super::label::{labelled, name_of};
use super::parts::{Same, in_order, same_part};
use super::syntax::{Bracket, Expression};

/// The names of one solution and their values, in the order they are written.
type Record = Vec<(String, Expression)>;

/// Two answers of which at least one gives values to several names; `None` where neither does.
pub(super) fn compare(gold: &Expression, answer: &Expression, same: Same) -> Option<bool> {
    match (records(gold, same), records(answer, same)) {
        (None, None) => None,
        (Some(one), Some(two)) => Some(same_records(&one, &two, same)),
        (Some(one), None) => Some(is_in_places(&one, answer, matches!(answer, Expression::List(..)), same)),
        (None, Some(two)) => Some(is_in_places(&two, gold, false, same)),
    }
}

/// The records of `a=1, b=2` (one), `(x,y)=(1,2)` (one), `x=1,y=2 or x=2,y=1` (two).
fn records(expression: &Expression, same: Same) -> Option<Vec<Record>> {
    match expression {
        Expression::Chain(..) => Some(vec![tuple(expression, same)?]),
        Expression::List(_, parts) => listed(parts, same).filter(|records| have_the_same_names(records)),
        _ => None,
    }
}

/// The members of a list by records, each of which ends where one of its names comes again.
fn listed(parts: &[Expression], same: Same) -> Option<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    for part in parts {
        let (name, value) = labelled(part, same)?;
        let name = name_of(name);
        match records.last_mut().filter(|record| record.iter().all(|(known, _)| *known != name)) {
            Some(record) => record.push((name, value)),
            None => records.push(vec![(name, value)]),
        }
    }
    Some(records)
}

/// Whether all records have the same names, and several.
fn have_the_same_names(records: &[Record]) -> bool {
    let names = |record: &Record| sorted(record).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let first = records.first().map(names).unwrap_or_default();
    first.len() > 1 && records.iter().all(|record| names(record) == first)
}

/// The record of `(x, y) = (1, 2)`.
fn tuple(expression: &Expression, same: Same) -> Option<Record> {
    let (name, value) = labelled(expression, same)?;
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
fn same_records(gold: &[Record], answer: &[Record], same: Same) -> bool {
    let same_one = |one: &Record, two: &Record| {
        let (one, two) = (sorted(one), sorted(two));
        one.len() == two.len()
            && one.iter().zip(&two).all(|((name, value), (other, other_value))| {
                name == other && same_part(value, other_value, same)
            })
    };
    let within = |inner: &[Record], outer: &[Record]| {
        inner.iter().all(|one| outer.iter().any(|two| same_one(one, two)))
    };
    const MOST: usize = 24;
    gold.len() == answer.len() && gold.len() <= MOST && within(gold, answer) && within(answer, gold)
}

/// Whether values without names are those of the records, by place; `as_written` where the records say which
/// order is asked.
fn is_in_places(records: &[Record], values: &Expression, as_written: bool, same: Same) -> bool {
    // The answer names its values in another order than the alphabet's; which place each has is anyone's
    // guess.
    if !as_written && !records.iter().all(stands_in_order) {
        return false;
    }
    let is_one = |record: &Record, tuple: &Expression| is_point(record, tuple, same);
    match (records, values) {
        ([record], Expression::Bracketed(..)) => is_one(record, values),
        ([record], Expression::List(_, parts)) => in_order(&values_of(record), parts, same),
        (_, Expression::List(_, parts) | Expression::Set(parts)) => {
            let is_of = |part: &Expression| records.iter().any(|record| is_one(record, part));
            let stands = |record: &Record| parts.iter().any(|part| is_one(record, part));
            parts.len() == records.len() && parts.iter().all(is_of) && records.iter().all(stands)
        }
        _ => false,
    }
}

fn values_of(record: &Record) -> Vec<Expression> {
    record.iter().map(|(_, value)| value.clone()).collect()
}

/// Whether a tuple holds the record's values in their places.
fn is_point(record: &Record, tuple: &Expression, same: Same) -> bool {
    match tuple {
        Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => {
            in_order(&values_of(record), parts, same)
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
    // x, y, z and a, b, c have places by convention; m and b of a line do not.
    let neighbours = letters && (greatest - least) as usize + 1 == record.len();
    let subscripts = least == greatest && record.iter().all(|(name, _)| name.contains('_'));
    in_alphabet || !(neighbours || subscripts)
}
