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
    if is_empty_set(gold) || is_empty_set(answer) {
        return is_empty_set(gold) && is_empty_set(answer);
    }
    // `x = 1 or x = 2` lists what `1, 2` lists.
    let (one, two) = (unlabelled(&members(gold), same), unlabelled(&members(answer), same));
    let (Some(one), Some(two)) = (one, two) else {
        return false;
    };
    let repeats = matches!(gold, Expression::List(..)) && is_repetitive(&one);
    if repeats { are_paired(&one, &two, same) } else { same_members(&one, &two, same) }
}

fn is_empty_set(expression: &Expression) -> bool {
    *expression == Expression::Constant(Constant::EmptySet)
}

/// Whether a list has a member twice on purpose: 2, 2, 3 as prime factors. Points are solutions, which models
/// like to state twice, and a set has each member once.
fn is_repetitive(list: &[Expression]) -> bool {
    let is_point = |part: &Expression| matches!(part, Expression::Bracketed(..));
    !list.iter().any(is_point) && by_name(list).len() < list.len()
}

/// Whether each member of either is one of the other's.
pub(super) fn same_members(gold: &[Expression], answer: &[Expression], same: Same) -> bool {
    // Members with the same canonical text pair off without a comparison: lists of thousands of numbers stay
    // cheap.
    let (gold, answer) = (by_name(gold), by_name(answer));
    let (gold_left, answer_left) = (missing(&gold, &answer), missing(&answer, &gold));
    if gold_left.is_empty() && answer_left.is_empty() {
        return true;
    }
    let within = |inner: &[&Expression], outer: &Named<'_>| {
        inner.iter().all(|one| outer.values().any(|two| same_part(one, two, same)))
    };
    // What is left is compared each with each, and any comparison may sample points: hence the bound.
    gold.len().max(answer.len()) <= MOST_UNPAIRED
        && within(&gold_left, &answer)
        && within(&answer_left, &gold)
}

/// Members by canonical text: each once.
type Named<'a> = BTreeMap<String, &'a Expression>;

/// Members of `one` whose texts `other` lacks.
fn missing<'a>(one: &Named<'a>, other: &Named<'_>) -> Vec<&'a Expression> {
    one.iter().filter(|(name, _)| !other.contains_key(*name)).map(|(_, member)| *member).collect()
}

fn by_name(members: &[Expression]) -> Named<'_> {
    members.iter().map(|member| (exact::canonical(member), member)).collect()
}

/// Whether the members can be paired off.
fn are_paired(gold: &[Expression], answer: &[Expression], same: Same) -> bool {
    if gold.len() != answer.len() {
        return false;
    }
    let (unpaired, mut others) = without_twins(gold, answer);
    // First come, first served: partners are equal, so it does not matter which of them is taken.
    unpaired.len() <= MOST_UNPAIRED
        && unpaired.iter().all(|one| {
            let partner = others.iter().position(|two| same_part(one, two, same));
            partner.map(|at| others.swap_remove(at)).is_some()
        })
}

/// The members of either that are left when all with a twin of the same canonical text are gone.
fn without_twins<'a>(
    gold: &'a [Expression],
    answer: &'a [Expression],
) -> (Vec<&'a Expression>, Vec<&'a Expression>) {
    let mut open: HashMap<String, Vec<&Expression>> = HashMap::new();
    for member in answer {
        open.entry(exact::canonical(member)).or_default().push(member);
    }
    // Each twin is used once, so that 2, 2, 3 is not 2, 3, 3.
    let mut has_twin =
        |member: &Expression| open.get_mut(&exact::canonical(member)).and_then(Vec::pop).is_some();
    let unpaired = gold.iter().filter(|member| !has_twin(member)).collect();
    (unpaired, open.into_values().flatten().collect())
}

fn members(expression: &Expression) -> Vec<Expression> {
    match expression {
        Expression::List(_, parts) | Expression::Set(parts) => parts.clone(),
        other => vec![other.clone()],
    }
}

/// Unions: the same parts in any order.
pub(super) fn same_union(gold: &Expression, answer: &Expression, same: Same) -> bool {
    same_members(&united(gold), &united(answer), same)
}

fn united(expression: &Expression) -> Vec<Expression> {
    match expression {
        Expression::Union(parts) => parts.clone(),
        other => vec![other.clone()],
    }
}

/// Tuples and intervals: the same brackets, the same parts in order.
pub(super) fn same_bracketed(gold: &Expression, answer: &Expression, same: Same) -> bool {
    use Expression as E;
    match (gold, answer) {
        (E::Bracketed(left, right, one), E::Bracketed(other_left, other_right, two)) => {
            let ends = |left: &Bracket, right: &Bracket| (vector_like(*left), vector_like(*right));
            ends(left, right) == ends(other_left, other_right) && in_order(one, two, same)
        }
        // `(1, 2)` and the column of 1 and 2 are one vector.
        (E::Bracketed(left, right, parts), E::Matrix(rows))
        | (E::Matrix(rows), E::Bracketed(left, right, parts)) => {
            is_vector(*left, *right) && is_column(rows, parts, same)
        }
        (E::Bracketed(_, _, parts), E::Constant(Constant::NumberSet('R')))
        | (E::Constant(Constant::NumberSet('R')), E::Bracketed(_, _, parts)) => is_whole_line(parts),
        _ => false,
    }
}

fn is_vector(left: Bracket, right: Bracket) -> bool {
    vector_like(left) == Bracket::Round && vector_like(right) == Bracket::Round
}

/// `(-\infty, \infty)`
fn is_whole_line(parts: &[Expression]) -> bool {
    matches!(parts, [low, high] if infinite(low) == Some(-1) && infinite(high) == Some(1))
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
