//! Equations and inequalities.
//!
//! Policy: `x = 5` and `y = 5` differ; equations are the same up to a constant factor, and inequalities up to
//! a positive one. An inequality in one variable, solved for it, is the interval of its solutions.

use num_traits::Signed;

use super::exact;
use super::label::{is_name, labelled, values_of};
use super::numeric::{self, Agreement};
use super::parts::Same;
use super::syntax::{Bracket, Constant, Expression, Joint, Rational, Relation};
use super::univariate::variables;

/// Compares two answers of which at least one is a chain of relations.
pub(super) fn same_chain(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let names = [gold, answer].map(|side| labelled(side, same).map(|(name, _)| name));
    // Values with different names differ, but `x = y` and `y = x` are one equation.
    if matches!(names, [Some(one), Some(two)] if !same_name(one, two)) {
        return same_equation(gold, answer, same);
    }
    // Inequalities next: their sides are no values that could be shared.
    match (bounds(gold), bounds(answer)) {
        (Some(one), Some(two)) => same_bounds(&one, &two, same),
        (Some(one), None) => is_interval_of(answer, &one, same),
        (None, Some(two)) => is_interval_of(gold, &two, same),
        (None, None) => same_equality(gold, answer, names == [None, None], same),
    }
}

/// Two chains of equals, or one and a value.
fn same_equality(gold: &Expression, answer: &Expression, unnamed: bool, same: Same) -> bool {
    let both = matches!((gold, answer), (Expression::Chain(..), Expression::Chain(..)));
    // `5 = 6` and `6 = 6` share a value, but an equation between values is not one of them.
    let between_values = both && unnamed;
    (!between_values && share_a_value(gold, answer, same)) || (both && same_equation(gold, answer, same))
}

fn same_name(one: &Expression, two: &Expression) -> bool {
    exact::canonical(one) == exact::canonical(two)
}

fn share_a_value(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let others = values_of(answer, same);
    values_of(gold, same).iter().any(|one| others.iter().any(|two| same(one, two)))
}

/// Two equations, or two chains with the same relations.
fn same_equation(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let (Expression::Chain(one, relations), Expression::Chain(two, others)) = (gold, answer) else {
        return false;
    };
    if relations != others || one.len() != two.len() {
        return false;
    }
    let sides_agree = || one.iter().zip(two).all(|(one, two)| same(one, two));
    match relations.as_slice() {
        [Relation::Equal | Relation::NotEqual] => {
            // A factor may have either sign here, not in an inequality.
            let (one, two) = (difference(&one[0], &one[1]), difference(&two[0], &two[1]));
            sides_agree() || is_multiple(&one, &two, false) || has_the_same_zeros(&one, &two)
        }
        _ => sides_agree(),
    }
}

fn difference(left: &Expression, right: &Expression) -> Expression {
    left.plus(&Expression::negative(right.clone()))
}

/// Whether one expression is a constant times the other, a positive one if `positive`.
fn is_multiple(one: &Expression, two: &Expression, positive: bool) -> bool {
    // Numbers alone are multiples of one another whatever they are.
    if !numeric::has_variables(one) || !numeric::has_variables(two) {
        return false;
    }
    let sampled = || numeric::proportional(one, two, positive) == Agreement::Same;
    match ratio(one, two) {
        Some(Some(ratio)) => !positive || ratio.is_positive(),
        // Rational functions whose ratio is no rational may still have a constant one, such as π or i.
        Some(None) if exact::is_rational_function(one) && exact::is_rational_function(two) => {
            (has_constant(one) || has_constant(two)) && sampled()
        }
        _ => sampled(),
    }
}

/// Whether two rational functions of several variables are zero at the same points where both have a value,
/// as those of `y = x/(2x-1)` and `1/x + 1/y = 2` are. With one variable these would be an equation and its
/// solution.
fn has_the_same_zeros(one: &Expression, two: &Expression) -> bool {
    let are_rational = exact::is_rational_function(one) && exact::is_rational_function(two);
    let names = variables(one);
    are_rational
        && names.len() > 1
        && names == variables(two)
        && exact::normal(one).zip(exact::normal(two)).is_some_and(|(one, two)| one.has_the_zeros_of(&two))
}

/// The ratio of two normal forms: `None` without normal forms, `Some(None)` where it is no rational.
fn ratio(one: &Expression, two: &Expression) -> Option<Option<Rational>> {
    exact::normal(one)?.ratio(&exact::normal(two)?)
}

fn has_constant(expression: &Expression) -> bool {
    expression.any(&|part| matches!(part, Expression::Constant(Constant::Pi | Constant::Imaginary)))
}

/// `low < high`, or `low ≤ high`.
#[derive(Clone, Debug)]
struct Bound {
    low: Expression,
    high: Expression,
    strict: bool,
}

/// The most inequalities that are compared.
const MOST_BOUNDS: usize = 40;

/// Inequalities that hold together, or of which one holds.
#[derive(Clone, Debug)]
struct Bounds {
    bounds: Vec<Bound>,
    joint: Joint,
}

fn bounds(expression: &Expression) -> Option<Bounds> {
    match expression {
        Expression::Chain(sides, relations) => bounds_of_chain(sides, relations),
        Expression::List(joint, parts) => bounds_of_list(*joint, parts),
        _ => None,
    }
}

fn bounds_of_chain(sides: &[Expression], relations: &[Relation]) -> Option<Bounds> {
    let pairs = sides.iter().zip(&sides[1..]).zip(relations);
    let bounds =
        pairs.map(|((left, right), relation)| bound(left, *relation, right)).collect::<Option<_>>()?;
    Some(Bounds { bounds, joint: Joint::And })
}

fn bounds_of_list(joint: Joint, parts: &[Expression]) -> Option<Bounds> {
    let inner = parts.iter().map(bounds).collect::<Option<Vec<_>>>()?;
    // `1 < x < 2 or x > 3` is no flat list of bounds.
    let single = inner.iter().all(|one| one.bounds.len() == 1);
    let bounds = || inner.into_iter().flat_map(|one| one.bounds).collect();
    (single || joint == Joint::And).then(|| Bounds { bounds: bounds(), joint })
}

fn bound(left: &Expression, relation: Relation, right: &Expression) -> Option<Bound> {
    let (low, high, strict) = match relation {
        Relation::Less => (left, right, true),
        Relation::LessOrEqual => (left, right, false),
        Relation::Greater => (right, left, true),
        Relation::GreaterOrEqual => (right, left, false),
        _ => return None,
    };
    Some(Bound { low: low.clone(), high: high.clone(), strict })
}

fn same_bounds(one: &Bounds, two: &Bounds, same: Same) -> bool {
    // A comma may mean either.
    let joined = one.joint == two.joint || [one.joint, two.joint].contains(&Joint::Comma);
    let covered = |inner: &[Bound], outer: &[Bound]| {
        inner.iter().all(|left| outer.iter().any(|right| same_bound(left, right, same)))
    };
    let (one, two) = (&one.bounds, &two.bounds);
    // Each is compared with each.
    joined && one.len() == two.len() && one.len() <= MOST_BOUNDS && covered(one, two) && covered(two, one)
}

fn same_bound(one: &Bound, two: &Bound, same: Same) -> bool {
    one.strict == two.strict
        && (same(&one.low, &two.low) && same(&one.high, &two.high)
            || is_multiple(&difference(&one.high, &one.low), &difference(&two.high, &two.low), true))
}

/// Whether `interval` holds what the bounds allow to the one name in them.
fn is_interval_of(interval: &Expression, bounds: &Bounds, same: Same) -> bool {
    let name = bounds.bounds.first().and_then(bounded_name);
    // `x \in [0, 1]` says nothing of y.
    let other =
        || labelled(interval, same).is_some_and(|(other, _)| !name.is_some_and(|one| same_name(one, other)));
    solution(bounds).is_some_and(|solution| same(interval, &solution)) && !other()
}

/// The interval, or the union of two rays, that bounds on one name describe.
fn solution(bounds: &Bounds) -> Option<Expression> {
    let names = bounds.bounds.iter().map(bounded_name).collect::<Option<Vec<_>>>()?;
    if names.windows(2).any(|pair| !same_name(pair[0], pair[1])) {
        return None;
    }
    // Two bounds are an interval if one is from below and one from above; with `or` they are its outside.
    match (bounds.bounds.as_slice(), bounds.joint) {
        ([one], _) => Some(one.ray()),
        ([one, two], Joint::Or) => Some(Expression::Union(vec![one.ray(), two.ray()])),
        ([one, two], _) if is_name(&one.high) && is_name(&two.low) => Some(ray(Some(one), Some(two))),
        ([one, two], _) if is_name(&one.low) && is_name(&two.high) => Some(ray(Some(two), Some(one))),
        _ => None,
    }
}

/// The side of a bound that is a name.
fn bounded_name(bound: &Bound) -> Option<&Expression> {
    [&bound.low, &bound.high].into_iter().find(|side| is_name(side))
}

impl Bound {
    /// What the bound allows to the name in it.
    fn ray(&self) -> Expression {
        if is_name(&self.low) { ray(None, Some(self)) } else { ray(Some(self), None) }
    }
}

/// From the lower bound's low end to the upper bound's high end; infinity where there is none.
fn ray(lower: Option<&Bound>, upper: Option<&Bound>) -> Expression {
    let infinity = Expression::Constant(Constant::Infinity);
    let low = lower.map_or_else(|| Expression::negative(infinity.clone()), |bound| bound.low.clone());
    let high = upper.map_or(infinity, |bound| bound.high.clone());
    Expression::Bracketed(bracket(lower), bracket(upper), vec![low, high])
}

/// Infinity is never a member.
fn bracket(bound: Option<&Bound>) -> Bracket {
    if bound.is_none_or(|bound| bound.strict) { Bracket::Round } else { Bracket::Square }
}

/// Whether a list is of inequalities.
pub(super) fn is_system(expression: &Expression) -> bool {
    bounds(expression).is_some()
}

/// Two lists of inequalities.
pub(super) fn same_system(gold: &Expression, answer: &Expression, same: Same) -> bool {
    bounds(gold).zip(bounds(answer)).is_some_and(|(one, two)| same_bounds(&one, &two, same))
}
