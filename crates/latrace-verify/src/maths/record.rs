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
        // A list without names is read in the order in which the reference names its values.
        (Some(one), None) if matches!(answer, Expression::List(..)) => Some(is_in_places(&one, answer, same)),
        (Some(records), None) => Some(is_in_order(&records) && is_in_places(&records, answer, same)),
        (None, Some(records)) => Some(is_in_order(&records) && is_in_places(&records, gold, same)),
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
        let field = (name_of(name), value);
        match records.last_mut().filter(|record| !has_name(record, &field.0)) {
            Some(record) => record.push(field),
            None => records.push(vec![field]),
        }
    }
    Some(records)
}

fn has_name(record: &Record, name: &str) -> bool {
    record.iter().any(|(known, _)| known == name)
}

/// Whether all records have the same names, and several.
fn have_the_same_names(records: &[Record]) -> bool {
    let first = records.first().map(names).unwrap_or_default();
    first.len() > 1 && records.iter().all(|record| names(record) == first)
}

fn names(record: &Record) -> Vec<String> {
    sorted(record).into_iter().map(|(name, _)| name).collect()
}

/// The record of `(x, y) = (1, 2)`.
fn tuple(expression: &Expression, same: Same) -> Option<Record> {
    // Round brackets alone: square ones are intervals, in which no names stand.
    let (name, value) = labelled(expression, same)?;
    let (names, values) = (point(name)?, point(&value)?);
    (names.len() == values.len()).then(|| names.iter().map(name_of).zip(values.iter().cloned()).collect())
}

/// The coordinates of a tuple in round brackets.
fn point(expression: &Expression) -> Option<&[Expression]> {
    match expression {
        Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => Some(parts),
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
    // Each is compared with each.
    const MOST: usize = 24;
    let within = |inner: &[Record], outer: &[Record]| {
        inner.iter().all(|one| outer.iter().any(|two| same_record(one, two, same)))
    };
    gold.len() == answer.len() && gold.len() <= MOST && within(gold, answer) && within(answer, gold)
}

fn same_record(one: &Record, two: &Record, same: Same) -> bool {
    let (one, two) = (sorted(one), sorted(two));
    let equal = |((name, value), (other, other_value)): (&(String, Expression), &(String, Expression))| {
        name == other && same_part(value, other_value, same)
    };
    one.len() == two.len() && one.iter().zip(&two).all(equal)
}

/// Whether values without names are those of the records, by place.
fn is_in_places(records: &[Record], values: &Expression, same: Same) -> bool {
    match (records, values) {
        ([record], Expression::Bracketed(..)) => is_point(record, values, same),
        ([record], Expression::List(_, parts)) => in_order(&values_of(record), parts, same),
        (_, Expression::List(_, parts) | Expression::Set(parts)) => are_points(records, parts, same),
        _ => false,
    }
}

/// Whether each record is one of the points, and each point one of the records.
fn are_points(records: &[Record], points: &[Expression], same: Same) -> bool {
    let is_record = |point: &Expression| records.iter().any(|record| is_point(record, point, same));
    let is_given = |record: &Record| points.iter().any(|point| is_point(record, point, same));
    points.len() == records.len() && points.iter().all(is_record) && records.iter().all(is_given)
}

fn values_of(record: &Record) -> Vec<Expression> {
    record.iter().map(|(_, value)| value.clone()).collect()
}

/// Whether a tuple holds the record's values in their places.
fn is_point(record: &Record, tuple: &Expression, same: Same) -> bool {
    point(tuple).is_some_and(|parts| in_order(&values_of(record), parts, same))
}

/// Whether all records name their values in the alphabet's order, where their names have one. Otherwise the
/// places of values without names would be a guess.
fn is_in_order(records: &[Record]) -> bool {
    records.iter().all(stands_in_order)
}

fn stands_in_order(record: &Record) -> bool {
    record.windows(2).all(|pair| pair[0].0 < pair[1].0) || !have_places(record)
}

/// Whether names have places by convention, as x, y, z and a, b, c do; m and b of a line do not.
fn have_places(record: &Record) -> bool {
    let initials = || record.iter().filter_map(|(name, _)| name.chars().next().map(u32::from));
    let Some((least, greatest)) = initials().min().zip(initials().max()) else {
        return false;
    };
    let letters = record.iter().all(|(name, _)| name.len() == 1);
    let neighbours = letters && (greatest - least) as usize + 1 == record.len();
    neighbours || (least == greatest && have_subscripts(record))
}

/// `x_1`, `x_2`: one letter, told apart by what stands below it.
fn have_subscripts(record: &Record) -> bool {
    record.iter().all(|(name, _)| name.contains('_'))
}
