//! Sets, lists of solutions, unions, tuples and intervals.
//!
//! Policy: order counts in brackets alone; repetition counts where a reference that is a list of values
//! repeats one, as a factorisation does, and not in sets, nor in lists of points; braces around the only
//! solution are no difference, but within another collection they are.

use std::collections::{BTreeMap, HashMap};

use super::compare::{infinite, same};
use super::syntax::{Bracket, Constant, Expression};
use super::{exact, record};

/// The most members that are compared one by one, when all with the same normal form are gone.
const MOST_UNPAIRED: usize = 24;

/// Two collections, or one and its only member.
pub(super) fn same_collection(gold: &Expression, answer: &Expression) -> bool {
    let is_empty_set = |expression: &Expression| *expression == Expression::Constant(Constant::EmptySet);
    if is_empty_set(gold) || is_empty_set(answer) {
        return is_empty_set(gold) && is_empty_set(answer);
    }
    let (one, two) = (members(gold), members(answer));
    let (Some(one), Some(two)) = (record::unlabelled(&one), record::unlabelled(&two)) else {
        return false;
    };
    let repeats = matches!(gold, Expression::List(..))
        && !one.iter().any(|part| matches!(part, Expression::Bracketed(..)))
        && by_name(&one).len() < one.len();
    if repeats { are_paired(&one, &two) } else { same_members(&one, &two) }
}

/// Whether each member of either is one of the other's.
pub(super) fn same_members(gold: &[Expression], answer: &[Expression]) -> bool {
    let (gold, answer) = (by_name(gold), by_name(answer));
    let left =
        |one: &BTreeMap<String, &Expression>, other: &BTreeMap<String, &Expression>| -> Vec<Expression> {
            one.iter()
                .filter(|(name, _)| !other.contains_key(*name))
                .map(|(_, member)| Expression::clone(member))
                .collect()
        };
    let (gold_left, answer_left) = (left(&gold, &answer), left(&answer, &gold));
    if gold_left.is_empty() && answer_left.is_empty() {
        return true;
    }
    let within = |inner: &[Expression], outer: &BTreeMap<String, &Expression>| {
        inner.iter().all(|one| outer.values().any(|two| same_part(one, two)))
    };
    gold.len().max(answer.len()) <= MOST_UNPAIRED
        && within(&gold_left, &answer)
        && within(&answer_left, &gold)
}

/// Members by canonical text: each once.
fn by_name(members: &[Expression]) -> BTreeMap<String, &Expression> {
    members.iter().map(|member| (exact::canonical(member), member)).collect()
}

/// Whether the members can be paired off.
fn are_paired(gold: &[Expression], answer: &[Expression]) -> bool {
    if gold.len() != answer.len() {
        return false;
    }
    let mut open: HashMap<String, Vec<&Expression>> = HashMap::new();
    for member in answer {
        open.entry(exact::canonical(member)).or_default().push(member);
    }
    let unpaired: Vec<&Expression> = gold
        .iter()
        .filter(|member| open.get_mut(&exact::canonical(member)).and_then(Vec::pop).is_none())
        .collect();
    let mut others: Vec<&Expression> = open.into_values().flatten().collect();
    unpaired.len() <= MOST_UNPAIRED
        && unpaired.iter().all(|one| match others.iter().position(|two| same_part(one, two)) {
            Some(at) => {
                others.swap_remove(at);
                true
            }
            None => false,
        })
}

/// Parts of collections: a collection is only ever another collection.
pub(super) fn same_part(gold: &Expression, answer: &Expression) -> bool {
    let is_collection = |part: &Expression| {
        matches!(part, Expression::Set(_) | Expression::List(..) | Expression::Constant(Constant::EmptySet))
    };
    is_collection(gold) == is_collection(answer) && same(gold, answer)
}

fn members(expression: &Expression) -> Vec<Expression> {
    match expression {
        Expression::List(_, parts) | Expression::Set(parts) => parts.clone(),
        other => vec![other.clone()],
    }
}

/// Unions: the same parts in any order.
pub(super) fn same_union(gold: &Expression, answer: &Expression) -> bool {
    let parts = |expression: &Expression| match expression {
        Expression::Union(parts) => parts.clone(),
        other => vec![other.clone()],
    };
    same_members(&parts(gold), &parts(answer))
}

/// Tuples and intervals: the same brackets, the same parts in order.
pub(super) fn same_bracketed(gold: &Expression, answer: &Expression) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Bracketed(left, right, one), E::Bracketed(other_left, other_right, two)) => {
            let brackets = (vector_like(*left), vector_like(*right))
                == (vector_like(*other_left), vector_like(*other_right));
            brackets && in_order(one, two)
        }
        (
            E::Bracketed(Bracket::Round | Bracket::Angle, Bracket::Round | Bracket::Angle, parts),
            E::Matrix(rows),
        ) => is_column(rows, parts),
        (
            E::Matrix(rows),
            E::Bracketed(Bracket::Round | Bracket::Angle, Bracket::Round | Bracket::Angle, parts),
        ) => is_column(rows, parts),
        (E::Bracketed(_, _, parts), E::Constant(Constant::NumberSet('R')))
        | (E::Constant(Constant::NumberSet('R')), E::Bracketed(_, _, parts)) => {
            parts.len() == 2 && infinite(&parts[0]) == Some(-1) && infinite(&parts[1]) == Some(1)
        }
        _ => false,
    }
}

/// Parts one by one.
pub(super) fn in_order(gold: &[Expression], answer: &[Expression]) -> bool {
    gold.len() == answer.len() && gold.iter().zip(answer).all(|(one, two)| same_part(one, two))
}

fn is_column(rows: &[Vec<Expression>], parts: &[Expression]) -> bool {
    rows.iter().all(|row| row.len() == 1) && in_order(&rows.concat(), parts)
}

/// Angle brackets write the same vectors as round ones.
fn vector_like(bracket: Bracket) -> Bracket {
    if bracket == Bracket::Angle { Bracket::Round } else { bracket }
}
