//! Equations and inequalities.
//!
//! Policy: `x = 5` and `y = 5` differ; equations are the same up to a constant factor, and inequalities up to
//! a positive one. An inequality in one variable, solved for it, is the interval of its solutions.

use super::exact;
use super::label::{is_name, labelled, values_of};
use super::numeric::{self, Agreement};
use super::parts::Same;
use super::syntax::{Bracket, Constant, Expression, Joint, Relation};

/// Compares two answers of which at least one is a chain of relations.
pub(super) fn same_chain(gold: &Expression, answer: &Expression, same: Same) -> bool {
    if let (Some((name, _)), Some((other, _))) = (labelled(gold, same), labelled(answer, same))
        && exact::canonical(name) != exact::canonical(other)
    {
        return same_equation(gold, answer, same);
    }
    match (bounds(gold), bounds(answer)) {
        (Some(one), Some(two)) => return same_bounds(&one, &two, same),
        (Some(one), None) => return is_interval_of(answer, &one, same),
        (None, Some(two)) => return is_interval_of(gold, &two, same),
        (None, None) => {}
    }
    let (values, others) = (values_of(gold, same), values_of(answer, same));
    let same_values = values.iter().any(|one| others.iter().any(|two| same(one, two)));
    let both = matches!((gold, answer), (Expression::Chain(..), Expression::Chain(..)));
    // `5 = 6` and `6 = 6` share a value, but an equation between values is not one of them.
    let unlabelled = both && labelled(gold, same).is_none() && labelled(answer, same).is_none();
    if unlabelled {
        same_equation(gold, answer, same)
    } else {
        same_values || both && same_equation(gold, answer, same)
    }
}

/// Two equations, or two chains with the same relations.
fn same_equation(gold: &Expression, answer: &Expression, same: Same) -> bool {
    let (Expression::Chain(one, relations), Expression::Chain(two, others)) = (gold, answer) else {
        return false;
    };
    if relations != others || one.len() != two.len() {
        return false;
    }
    match relations.as_slice() {
        // A factor may have either sign here, not in an inequality.
        [Relation::Equal | Relation::NotEqual] => {
            let sides_agree = same(&one[0], &two[0]) && same(&one[1], &two[1]);
            sides_agree || is_multiple(&difference(&one[0], &one[1]), &difference(&two[0], &two[1]), false)
        }
        _ => one.iter().zip(two).all(|(one, two)| same(one, two)),
    }
}

fn difference(left: &Expression, right: &Expression) -> Expression {
    Expression::Sum(vec![left.clone(), Expression::negative(right.clone())])
}

/// Whether one expression is a constant times the other, a positive one if `positive`.
fn is_multiple(one: &Expression, two: &Expression, positive: bool) -> bool {
    // Numbers alone are multiples of one another whatever they are.
    if !numeric::has_variables(one) || !numeric::has_variables(two) {
        return false;
    }
    if let (Some(left), Some(right)) = (exact::normal(one), exact::normal(two))
        && let Some(ratio) = left.ratio(&right)
    {
        match ratio {
            Some(ratio) => return !positive || ratio > num_traits::Zero::zero(),
            None if exact::is_rational_function(one) && exact::is_rational_function(two) => {
                return irrational_multiple(one, two, positive);
            }
            None => {}
        }
    }
    numeric::proportional(one, two, positive) == Agreement::Same
}

/// Rational functions whose ratio is no rational may still have a constant one, such as π.
fn irrational_multiple(one: &Expression, two: &Expression, positive: bool) -> bool {
    let has_pi =
        |expression: &Expression| expression.any(&|part| *part == Expression::Constant(Constant::Pi));
    (has_pi(one) || has_pi(two)) && numeric::proportional(one, two, positive) == Agreement::Same
}

/// `low < high`, or `low ≤ high`.
#[derive(Clone, Debug)]
struct Bound {
    low: Expression,
    high: Expression,
    strict: bool,
}

/// Inequalities that hold together, or of which one holds.
#[derive(Clone, Debug)]
struct Bounds {
    bounds: Vec<Bound>,
    joint: Joint,
}

fn bounds(expression: &Expression) -> Option<Bounds> {
    match expression {
        Expression::Chain(sides, relations) => {
            let bounds = relations
                .iter()
                .enumerate()
                .map(|(at, relation)| bound(&sides[at], *relation, &sides[at + 1]))
                .collect::<Option<Vec<_>>>()?;
            Some(Bounds { bounds, joint: Joint::And })
        }
        Expression::List(joint, parts) => {
            let inner = parts.iter().map(bounds).collect::<Option<Vec<_>>>()?;
            let single = inner.iter().all(|one| one.bounds.len() == 1);
            (single || *joint == Joint::And).then(|| Bounds {
                bounds: inner.into_iter().flat_map(|one| one.bounds).collect(),
                joint: *joint,
            })
        }
        _ => None,
    }
}

fn bound(left: &Expression, relation: Relation, right: &Expression) -> Option<Bound> {
    let made = |low: &Expression, high: &Expression, strict| {
        Some(Bound { low: low.clone(), high: high.clone(), strict })
    };
    match relation {
        Relation::Less => made(left, right, true),
        Relation::LessOrEqual => made(left, right, false),
        Relation::Greater => made(right, left, true),
        Relation::GreaterOrEqual => made(right, left, false),
        _ => None,
    }
}

fn same_bounds(one: &Bounds, two: &Bounds, same: Same) -> bool {
    let joined = one.joint == two.joint || [one.joint, two.joint].contains(&Joint::Comma);
    let equal = |left: &Bound, right: &Bound| left.strict == right.strict && same_gap(left, right, same);
    let covered = |inner: &Bounds, outer: &Bounds| {
        inner.bounds.iter().all(|left| outer.bounds.iter().any(|right| equal(left, right)))
    };
    joined && one.bounds.len() == two.bounds.len() && covered(one, two) && covered(two, one)
}

fn same_gap(one: &Bound, two: &Bound, same: Same) -> bool {
    let ends = same(&one.low, &two.low) && same(&one.high, &two.high);
    ends || is_multiple(&difference(&one.high, &one.low), &difference(&two.high, &two.low), true)
}

/// Whether `interval` holds what the bounds allow to the one name in them.
fn is_interval_of(interval: &Expression, bounds: &Bounds, same: Same) -> bool {
    solution(bounds).is_some_and(|solution| same(interval, &solution))
}

/// The interval, or the union of two rays, that bounds on one name describe.
fn solution(bounds: &Bounds) -> Option<Expression> {
    let mut name = None;
    let mut rays = Vec::new();
    for bound in &bounds.bounds {
        let (this, ray) = if is_name(&bound.low) {
            (&bound.low, ray(None, Some(bound)))
        } else {
            (&bound.high, ray(Some(bound), None))
        };
        let known = name.get_or_insert_with(|| exact::canonical(this));
        if !is_name(this) || *known != exact::canonical(this) {
            return None;
        }
        rays.push(ray);
    }
    match (bounds.bounds.as_slice(), bounds.joint) {
        ([_], _) => rays.pop(),
        ([_, _], Joint::Or) => Some(Expression::Union(rays)),
        ([one, two], _) if is_name(&one.high) && is_name(&two.low) => Some(ray(Some(one), Some(two))),
        ([one, two], _) if is_name(&one.low) && is_name(&two.high) => Some(ray(Some(two), Some(one))),
        _ => None,
    }
}

/// From the lower bound's low end to the upper bound's high end; infinity where there is none.
fn ray(lower: Option<&Bound>, upper: Option<&Bound>) -> Expression {
    let infinity = Expression::Constant(Constant::Infinity);
    let bracket = |bound: Option<&Bound>| {
        if bound.is_none_or(|bound| bound.strict) { Bracket::Round } else { Bracket::Square }
    };
    let low = lower.map_or_else(|| Expression::negative(infinity.clone()), |bound| bound.low.clone());
    let high = upper.map_or(infinity, |bound| bound.high.clone());
    Expression::Bracketed(bracket(lower), bracket(upper), vec![low, high])
}

/// Whether a list is of inequalities.
pub(super) fn is_system(expression: &Expression) -> bool {
    bounds(expression).is_some()
}

/// Two lists of inequalities.
pub(super) fn same_system(gold: &Expression, answer: &Expression, same: Same) -> bool {
    match (bounds(gold), bounds(answer)) {
        (Some(one), Some(two)) => same_bounds(&one, &two, same),
        _ => false,
    }
}
