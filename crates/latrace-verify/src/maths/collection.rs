//! Sets, lists of solutions, unions, tuples and intervals.
//!
//! Policy: order counts in brackets alone; repetition counts where a reference that is a list of values
//! repeats one, as a factorisation does, and not in sets, nor in lists of points; braces around the only
//! solution are no difference, but within another collection they are.

use std::collections::{BTreeMap, HashMap};

use super::exact;
use super::label::unlabelled;
use super::parts::{Same, in_order, same_part};
use super::syntax::{Bracket, Constant, Expression};
use super::value::infinite;

/// The most members that are compared one by one, when all with the same normal form are gone.
const MOST_UNPAIRED: usize = 24;

/// Two collections, or one and its only member.
pub(super) fn same_collection(gold: &Expression, answer: &Expression, same: Same) -> bool {
    // The empty set is a constant, not a list without members; it equals itself alone.
    let is_empty_set = |expression: &Expression| *expression == Expression::Constant(Constant::EmptySet);
    if is_empty_set(gold) || is_empty_set(answer) {
        return is_empty_set(gold) && is_empty_set(answer);
    }
    let (one, two) = (members(gold), members(answer));
    let (Some(one), Some(two)) = (unlabelled(&one, same), unlabelled(&two, same)) else {
        return false;
    };
    // A set has each member once, so repetition is compared only where the reference is a list that repeats:
    // 2, 2, 3 as prime factors. Points are solutions, which models like to state twice.
    let repeats = matches!(gold, Expression::List(..))
        && !one.iter().any(|part| matches!(part, Expression::Bracketed(..)))
        && by_name(&one).len() < one.len();
    if repeats { are_paired(&one, &two, same) } else { same_members(&one, &two, same) }
}

/// Whether each member of either is one of the other's.
pub(super) fn same_members(gold: &[Expression], answer: &[Expression], same: Same) -> bool {
    // Members with the same canonical text pair off without a comparison: lists of thousands of numbers stay
    // cheap.
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
        inner.iter().all(|one| outer.values().any(|two| same_part(one, two, same)))
    };
    // What is left is compared each with each, and any comparison may sample points: hence the bound.
    gold.len().max(answer.len()) <= MOST_UNPAIRED
        && within(&gold_left, &answer)
        && within(&answer_left, &gold)
}

/// Members by canonical text: each once.
fn by_name(members: &[Expression]) -> BTreeMap<String, &Expression> {
    members.iter().map(|member| (exact::canonical(member), member)).collect()
}

/// Whether the members can be paired off.
fn are_paired(gold: &[Expression], answer: &[Expression], same: Same) -> bool {
    if gold.len() != answer.len() {
        return false;
    }
    // Answers not yet taken by a member of the reference, by canonical text.
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
        && unpaired.iter().all(|one| match others.iter().position(|two| same_part(one, two, same)) {
            Some(at) => {
                others.swap_remove(at);
                true
            }
            None => false,
        })
}

fn members(expression: &Expression) -> Vec<Expression> {
    match expression {
        Expression::List(_, parts) | Expression::Set(parts) => parts.clone(),
        other => vec![other.clone()],
    }
}

/// Unions: the same parts in any order.
pub(super) fn same_union(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let parts = |expression: &Expression| match expression {
        Expression::Union(parts) => parts.clone(),
        other => vec![other.clone()],
    };
    same_members(&parts(gold), &parts(answer), same)
}

/// Tuples and intervals: the same brackets, the same parts in order.
pub(super) fn same_bracketed(gold: &Expression, answer: &Expression, same: Same) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Bracketed(left, right, one), E::Bracketed(other_left, other_right, two)) => {
            let brackets = (vector_like(*left), vector_like(*right))
                == (vector_like(*other_left), vector_like(*other_right));
            brackets && in_order(one, two, same)
        }
        (
            E::Bracketed(Bracket::Round | Bracket::Angle, Bracket::Round | Bracket::Angle, parts),
            E::Matrix(rows),
        ) => is_column(rows, parts, same),
        (
            E::Matrix(rows),
            E::Bracketed(Bracket::Round | Bracket::Angle, Bracket::Round | Bracket::Angle, parts),
        ) => is_column(rows, parts, same),
        (E::Bracketed(_, _, parts), E::Constant(Constant::NumberSet('R')))
        | (E::Constant(Constant::NumberSet('R')), E::Bracketed(_, _, parts)) => {
            parts.len() == 2 && infinite(&parts[0]) == Some(-1) && infinite(&parts[1]) == Some(1)
        }
        _ => false,
    }
}

fn is_column(rows: &[Vec<Expression>], parts: &[Expression], same: Same) -> bool {
    rows.iter().all(|row| row.len() == 1) && in_order(&rows.concat(), parts, same)
}

/// Angle brackets write the same vectors as round ones.
fn vector_like(bracket: Bracket) -> Bracket {
    if bracket == Bracket::Angle { Bracket::Round } else { bracket }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members that no normal form shows equal, only the comparison of two.
    fn members(count: i64, written: fn(i64) -> Expression) -> Vec<Expression> {
        (0..count).map(written).collect()
    }

    #[test]
    fn members_are_compared_one_by_one_up_to_a_bound() {
        let pair: Same = |one, two| match (one, two) {
            (Expression::Symbol(_), Expression::Symbol(_)) => one == two,
            (Expression::Negative(inner), other) | (other, Expression::Negative(inner)) => **inner == *other,
            _ => false,
        };
        let symbol = |at: i64| Expression::Symbol(format!("x_{at}"));
        let negative = |at: i64| Expression::negative(Expression::Symbol(format!("x_{at}")));
        let most = 24;
        for compare in [same_members, are_paired] {
            assert!(compare(&members(most, symbol), &members(most, negative), pair));
            assert!(!compare(&members(most + 1, symbol), &members(most + 1, negative), pair));
            assert!(compare(&members(most + 1, symbol), &members(most + 1, symbol), pair));
            assert!(!compare(&members(3, symbol), &members(2, negative), pair));
            assert!(!compare(&members(2, symbol), &members(3, negative), pair));
        }
    }
}
