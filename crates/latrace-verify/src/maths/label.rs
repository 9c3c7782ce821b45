//! Names of values: `x = 5`, `f(x) = x^2`, `(x, y) = (1, 2)`.
//!
//! Policy: `x = 5` says what `5` says.

use super::exact;
use super::parts::Same;
use super::syntax::{Bracket, Constant, Expression, Relation};
use super::value::{is_decimal, literal, near_enough, same_value};

/// A relation between values that leaves the left side's name out.
fn names_a_value(relation: Relation) -> bool {
    matches!(relation, Relation::Equal | Relation::In | Relation::Approximate | Relation::Congruent)
}

/// The name and the value of `x = 5`, `f(x) = x^2`, `(x, y) = (1, 2)`, `x \in [0, 1]`; a chain of equals must
/// agree.
pub(super) fn labelled(expression: &Expression, same: Same) -> Option<(&Expression, Expression)> {
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
    // `x = 2 + 3 = 6` gives no value: its sides contradict each other.
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
    match expression {
        Expression::Product(parts) => parts.first().is_some_and(is_d) && parts.iter().all(is_name),
        other => is_d(other),
    }
}

/// The values that a chain gives: what it names or what all its sides agree on, and the decimal it rounds
/// that to.
pub(super) fn values_of(chain: &Expression, same: Same) -> Vec<Expression> {
    let Expression::Chain(sides, relations) = chain else {
        return vec![chain.clone()];
    };
    let exact = match labelled(chain, same) {
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
pub(super) fn unlabelled(parts: &[Expression], same: Same) -> Option<Vec<Expression>> {
    let names: Vec<String> = parts
        .iter()
        .filter_map(|part| labelled(part, same).map(|(name, _)| exact::canonical(name)))
        .collect();
    // `x = 1, y = 2` is a record; taken as a list it would equal `2, 1`.
    if names.windows(2).any(|pair| pair[0] != pair[1]) {
        return None;
    }
    Some(
        parts
            .iter()
            .map(|part| labelled(part, same).map_or_else(|| part.clone(), |(_, value)| value))
            .collect(),
    )
}

/// A name's text.
pub(super) fn name_of(name: &Expression) -> String {
    match name {
        Expression::Symbol(name) => name.clone(),
        other => exact::canonical(other),
    }
}
