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
    let (name, values) = name_and_values(sides)?;
    let value = values.first()?;
    let approximates = |at: usize| relations.get(at) == Some(&Relation::Approximate);
    // `x = 2 + 3 = 6` gives no value: its sides contradict each other.
    let agree = (1..values.len()).all(|at| approximates(at) || same(value, &values[at]));
    agree.then(|| (name, value.clone()))
}

/// The name on the left, or on the right of two, as in `5 = x`.
fn name_and_values(sides: &[Expression]) -> Option<(&Expression, &[Expression])> {
    match sides {
        [first, values @ ..] if is_name(first) => Some((first, values)),
        [value, last] if is_name(last) => Some((last, std::slice::from_ref(value))),
        _ => None,
    }
}

/// Whether an expression only names something: letters side by side, with brackets of letters.
pub(super) fn is_name(expression: &Expression) -> bool {
    match expression {
        Expression::Symbol(_) | Expression::Text(_) | Expression::Constant(Constant::Euler) => true,
        Expression::Product(parts) | Expression::Bracketed(Bracket::Round, Bracket::Round, parts) => {
            parts.iter().all(is_name)
        }
        // `\frac{dy}{dx}`
        Expression::Quotient(pair) => is_differential(&pair.0) && is_differential(&pair.1),
        // `f(2) = 5` gives the value of a function.
        Expression::Opaque(name, _) if name.ends_with("()") => true,
        Expression::Opaque(name, parts) => MARKS.contains(&name.as_str()) && parts.iter().all(is_name),
        _ => false,
    }
}

/// Marks that make a name of letters.
const MARKS: [&str; 6] = ["angle", "overline", "vec", "triangle", "hat", "bar"];

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
    // A rounded value is given beside the exact one, and a reference may hold either.
    let named = labelled(chain, same).map(|(_, value)| value);
    let exact = named.or_else(|| agreed(sides, relations));
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
    let labels: Vec<_> = parts.iter().map(|part| labelled(part, same)).collect();
    let names: Vec<String> = labels.iter().flatten().map(|(name, _)| exact::canonical(name)).collect();
    // `x = 1, y = 2` is a record; taken as a list it would equal `2, 1`.
    let one_name = names.windows(2).all(|pair| pair[0] == pair[1]);
    let values = parts.iter().zip(labels).map(|(part, label)| value_of(part, label));
    one_name.then(|| values.collect())
}

fn value_of(part: &Expression, label: Option<(&Expression, Expression)>) -> Expression {
    label.map_or_else(|| part.clone(), |(_, value)| value)
}

/// A name's text.
pub(super) fn name_of(name: &Expression) -> String {
    match name {
        Expression::Symbol(name) => name.clone(),
        other => exact::canonical(other),
    }
}
