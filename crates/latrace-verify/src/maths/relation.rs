//! Equations, inequalities and labelled values.
//!
//! Policy: `x = 5` says what `5` says; `x = 5` and `y = 5` differ; equations are the same up to a constant factor, and
//! inequalities up to a positive one. An inequality in one variable, solved for it, is the interval of its solutions.

use super::compare::{names_a_value, same_members, same_value};
use super::exact;
use super::numeric::{self, Agreement};
use super::syntax::{Bracket, Constant, Expression, Joint, Relation};

/// Compares two answers of which at least one is a chain of relations.
pub(crate) fn same(gold: &Expression, answer: &Expression) -> bool {
    same_relation(gold, answer)
}

fn same_relation(gold: &Expression, answer: &Expression) -> bool {
    if let (Some((name, value)), Some((other, other_value))) = (labelled(gold), labelled(answer)) {
        if exact::canonical(name) == exact::canonical(other) {
            return super::compare::same(&value, &other_value);
        }
        return same_equation(gold, answer);
    }
    match (bounds(gold), bounds(answer)) {
        (Some(one), Some(two)) => return same_bounds(&one, &two),
        (Some(one), None) => return is_interval_of(answer, &one),
        (None, Some(two)) => return is_interval_of(gold, &two),
        (None, None) => {}
    }
    match (gold, answer) {
        (Expression::Chain(..), Expression::Chain(..)) => same_equation(gold, answer),
        (Expression::Chain(..), other) => value_of(gold).is_some_and(|value| super::compare::same(&value, other)),
        (other, chain) => value_of(chain).is_some_and(|value| super::compare::same(other, &value)),
    }
}

/// The value that a chain gives: what it names, or what all its sides agree on.
fn value_of(chain: &Expression) -> Option<Expression> {
    if let Some((_, value)) = labelled(chain) {
        return Some(value);
    }
    let Expression::Chain(sides, relations) = chain else {
        return None;
    };
    let first = sides.first()?;
    match relations.as_slice() {
        // The exact value comes before its approximation.
        [Relation::Approximate] => Some(first.clone()),
        _ if relations.iter().all(|relation| *relation == Relation::Equal) => sides[1..].iter().all(|side| same_value(first, side)).then(|| first.clone()),
        _ => None,
    }
}

/// The name and the value of `x = 5`, `f(x) = x^2`, `(x, y) = (1, 2)`, `x \in [0, 1]`; a chain of equals must agree.
fn labelled(expression: &Expression) -> Option<(&Expression, Expression)> {
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
    let agree = (1..values.len()).all(|at| approximates(at) || super::compare::same(value, &values[at]));
    agree.then(|| (name, value.clone()))
}

/// Whether an expression only names something: letters side by side, with brackets of letters.
fn is_name(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) | Expression::Text(_) => true,
        Expression::Constant(Constant::Euler) => true,
        Expression::Product(parts) => parts.iter().all(is_name),
        Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => parts.iter().all(is_name),
        Expression::Opaque(name, parts) => matches!(name.as_str(), "angle" | "overline" | "vec" | "triangle" | "hat" | "bar") && parts.iter().all(is_name),
        _ => false,
    }
}

/// The values of a list in which at most one name occurs; `None` where several do.
pub(crate) fn unlabelled(parts: &[Expression]) -> Option<Vec<Expression>> {
    let names: Vec<String> = parts.iter().filter_map(|part| labelled(part).map(|(name, _)| exact::canonical(name))).collect();
    if names.windows(2).any(|pair| pair[0] != pair[1]) {
        return None;
    }
    Some(parts.iter().map(|part| labelled(part).map_or_else(|| part.clone(), |(_, value)| value)).collect())
}

/// Records such as `a = 1, b = 2`: by name where both have names, else by place.
pub(crate) fn same_record(gold: &[Expression], answer: &[Expression]) -> bool {
    match (entries(gold), entries(answer)) {
        (Some(one), Some(two)) => {
            let covered = |(name, value): &(String, Expression), others: &[(String, Expression)]| {
                others.iter().any(|(other, other_value)| name == other && super::compare::same(value, other_value))
            };
            one.len() == two.len() && one.iter().all(|entry| covered(entry, &two)) && two.iter().all(|entry| covered(entry, &one))
        }
        (Some(one), None) => in_order(&one.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), answer),
        (None, Some(two)) => in_order(gold, &two.into_iter().map(|(_, value)| value).collect::<Vec<_>>()),
        (None, None) => same_members(gold, answer),
    }
}

fn in_order(gold: &[Expression], answer: &[Expression]) -> bool {
    let parts = |side: &[Expression]| match side {
        [Expression::Bracketed(Bracket::Round, Bracket::Round, parts)] => parts.clone(),
        other => other.to_vec(),
    };
    let (gold, answer) = (parts(gold), parts(answer));
    gold.len() == answer.len() && gold.iter().zip(&answer).all(|(one, two)| super::compare::same(one, two))
}

fn entries(parts: &[Expression]) -> Option<Vec<(String, Expression)>> {
    parts.iter().map(|part| labelled(part).map(|(name, value)| (exact::canonical(name), value))).collect()
}

/// Two equations, or two chains with the same relations.
fn same_equation(gold: &Expression, answer: &Expression) -> bool {
    let (Expression::Chain(one, relations), Expression::Chain(two, others)) = (gold, answer) else {
        return false;
    };
    if relations != others || one.len() != two.len() {
        return false;
    }
    match relations.as_slice() {
        [Relation::Equal | Relation::NotEqual] => {
            let sides_agree = super::compare::same(&one[0], &two[0]) && super::compare::same(&one[1], &two[1]);
            sides_agree || is_multiple(&difference(&one[0], &one[1]), &difference(&two[0], &two[1]), false)
        }
        _ => one.iter().zip(two).all(|(one, two)| super::compare::same(one, two)),
    }
}

fn difference(left: &Expression, right: &Expression) -> Expression {
    Expression::Sum(vec![left.clone(), Expression::Negative(Box::new(right.clone()))])
}

/// Whether one expression is a constant times the other, a positive one if `positive`.
fn is_multiple(one: &Expression, two: &Expression, positive: bool) -> bool {
    if let (Some(left), Some(right)) = (exact::normal(one), exact::normal(two))
        && let Some(ratio) = left.ratio(&right)
    {
        match ratio {
            Some(ratio) => return !positive || ratio > num_traits::Zero::zero(),
            None if exact::is_rational_function(one) && exact::is_rational_function(two) => return irrational_multiple(one, two, positive),
            None => {}
        }
    }
    numeric::proportional(one, two, positive) == Agreement::Same
}

/// Rational functions whose ratio is no rational may still have a constant one, such as π.
fn irrational_multiple(one: &Expression, two: &Expression, positive: bool) -> bool {
    let has_pi = |expression: &Expression| expression.any(&|part| *part == Expression::Constant(Constant::Pi));
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
            let bounds = relations.iter().enumerate().map(|(at, relation)| bound(&sides[at], *relation, &sides[at + 1])).collect::<Option<Vec<_>>>()?;
            Some(Bounds { bounds, joint: Joint::And })
        }
        Expression::List(joint, parts) => {
            let inner = parts.iter().map(bounds).collect::<Option<Vec<_>>>()?;
            let single = inner.iter().all(|one| one.bounds.len() == 1);
            (single || *joint == Joint::And).then(|| Bounds { bounds: inner.into_iter().flat_map(|one| one.bounds).collect(), joint: *joint })
        }
        _ => None,
    }
}

fn bound(left: &Expression, relation: Relation, right: &Expression) -> Option<Bound> {
    let made = |low: &Expression, high: &Expression, strict| Some(Bound { low: low.clone(), high: high.clone(), strict });
    match relation {
        Relation::Less => made(left, right, true),
        Relation::LessOrEqual => made(left, right, false),
        Relation::Greater => made(right, left, true),
        Relation::GreaterOrEqual => made(right, left, false),
        _ => None,
    }
}

fn same_bounds(one: &Bounds, two: &Bounds) -> bool {
    let joined = one.joint == two.joint || one.joint == Joint::Comma || two.joint == Joint::Comma || one.bounds.len() == 1;
    let equal = |left: &Bound, right: &Bound| left.strict == right.strict && same_gap(left, right);
    let covered = |inner: &Bounds, outer: &Bounds| inner.bounds.iter().all(|left| outer.bounds.iter().any(|right| equal(left, right)));
    joined && one.bounds.len() == two.bounds.len() && covered(one, two) && covered(two, one)
}

fn same_gap(one: &Bound, two: &Bound) -> bool {
    let ends = super::compare::same(&one.low, &two.low) && super::compare::same(&one.high, &two.high);
    ends || is_multiple(&difference(&one.high, &one.low), &difference(&two.high, &two.low), true)
}

/// Whether `interval` holds what the bounds allow to the one name in them.
fn is_interval_of(interval: &Expression, bounds: &Bounds) -> bool {
    solution(bounds).is_some_and(|solution| super::compare::same(interval, &solution))
}

/// The interval, or the union of two rays, that bounds on one name describe.
fn solution(bounds: &Bounds) -> Option<Expression> {
    let mut name = None;
    let mut rays = Vec::new();
    for bound in &bounds.bounds {
        let (this, ray) = if is_name(&bound.low) { (&bound.low, ray(None, Some(bound))) } else { (&bound.high, ray(Some(bound), None)) };
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
    let bracket = |bound: Option<&Bound>| if bound.is_none_or(|bound| bound.strict) { Bracket::Round } else { Bracket::Square };
    let low = lower.map_or_else(|| Expression::Negative(Box::new(infinity.clone())), |bound| bound.low.clone());
    let high = upper.map_or(infinity, |bound| bound.high.clone());
    Expression::Bracketed(bracket(lower), bracket(upper), vec![low, high])
}

/// Whether a list is of inequalities.
pub(crate) fn is_system(expression: &Expression) -> bool {
    bounds(expression).is_some()
}

/// Two lists of inequalities.
pub(crate) fn same_system(gold: &Expression, answer: &Expression) -> bool {
    match (bounds(gold), bounds(answer)) {
        (Some(one), Some(two)) => same_bounds(&one, &two),
        _ => false,
    }
}
