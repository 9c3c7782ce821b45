//! Parts of an answer, which are compared as answers are.

use super::syntax::{Constant, Expression};

/// The comparison of two answers, reference first. [`compare`](super::compare) passes it to the files that
/// compare one kind each, so that they can compare parts of any kind without importing each other.
pub(super) type Same = fn(&Expression, &Expression) -> bool;

/// Parts of collections: a collection is only ever another collection, so that `{{1}}` is not `{1}`.
pub(super) fn same_part(gold: &Expression, answer: &Expression, same: Same) -> bool {
    is_collection(gold) == is_collection(answer) && same(gold, answer)
}

fn is_collection(part: &Expression) -> bool {
    matches!(part, Expression::Set(_) | Expression::List(..) | Expression::Constant(Constant::EmptySet))
}

/// Parts one by one.
pub(super) fn in_order(gold: &[Expression], answer: &[Expression], same: Same) -> bool {
    gold.len() == answer.len() && gold.iter().zip(answer).all(|(one, two)| same_part(one, two, same))
}
