//! Sets of real numbers: unions of intervals and points, however they are written.
//!
//! `x < -2 or x > 2`, `(-\infty, -2) \cup (2, \infty)` and `\mathbb{R} \setminus [-2, 2]` are one set. Where
//! ends cannot be put in order, because they are no numbers, nothing is said.

use std::cmp::Ordering;

use super::label::is_name;
use super::numeric;
use super::syntax::{Bracket, Constant, Expression, Joint, Relation};
use super::value::infinite;

/// The most pieces of a set.
const MOST_PIECES: usize = 40;

/// A place between real numbers: below or above a value, or at an end of the line.
#[derive(Clone, Debug)]
enum Cut {
    Start,
    Below(Expression),
    Above(Expression),
    End,
}

/// What lies between two cuts; pieces do not touch and stand in order.
type Pieces = Vec<(Cut, Cut)>;

/// A set, and the name of whose values it consists where there is one.
struct Region {
    pieces: Pieces,
    name: Option<String>,
}

/// Whether both are the same set of real numbers, and at least one is written so that it can be nothing else.
pub(super) fn same(gold: &Expression, answer: &Expression) -> bool {
    if !is_telling(gold) && !is_telling(answer) {
        return false;
    }
    let (Some(one), Some(two)) = (region(gold), region(answer)) else {
        return false;
    };
    // `x > 2` and the bare ray are one set; `x > 2` and `y > 2` are two.
    let names = one.name.is_none() || two.name.is_none() || one.name == two.name;
    let equal = |left: &Cut, right: &Cut| order(left, right) == Some(Ordering::Equal);
    names
        && one.pieces.len() == two.pieces.len()
        && one.pieces.iter().zip(&two.pieces).all(|(one, two)| equal(&one.0, &two.0) && equal(&one.1, &two.1))
}

/// Whether an answer is a set of numbers beyond doubt: a pair in brackets may be a point.
fn is_telling(expression: &Expression) -> bool {
    match expression {
        Expression::Union(_) => true,
        Expression::Opaque(name, _) => {
            matches!(name.as_str(), "cap" | "setminus" | "backslash" | "such that")
        }
        Expression::List(_, parts) => parts.iter().any(is_telling),
        Expression::Chain(_, relations) => relations.iter().any(|relation| {
            !matches!(relation, Relation::Equal | Relation::Approximate | Relation::Congruent)
        }),
        _ => false,
    }
}

fn region(expression: &Expression) -> Option<Region> {
    let unnamed = |pieces| Some(Region { pieces, name: None });
    match expression {
        Expression::Constant(Constant::NumberSet('R')) => unnamed(vec![(Cut::Start, Cut::End)]),
        Expression::Constant(Constant::EmptySet) => unnamed(Vec::new()),
        Expression::Bracketed(left, right, parts) => unnamed(interval(*left, *right, parts)?),
        Expression::Set(parts) => unnamed(union(parts.iter().map(|part| vec![point(part)]).collect())?),
        Expression::Union(parts) => unnamed(union(
            parts.iter().map(|part| region(part).map(|region| region.pieces)).collect::<Option<_>>()?,
        )?),
        Expression::Opaque(name, parts) => operation(name, parts),
        Expression::Chain(sides, relations) => chain(sides, relations),
        Expression::List(joint, parts) => joined(*joint, parts),
        _ => None,
    }
}

fn interval(left: Bracket, right: Bracket, parts: &[Expression]) -> Option<Pieces> {
    let [low, high] = parts else {
        return None;
    };
    let low = match (infinite(low), left) {
        (Some(-1), _) => Cut::Start,
        (None, Bracket::Round) => Cut::Above(low.clone()),
        (None, Bracket::Square) => Cut::Below(low.clone()),
        _ => return None,
    };
    let high = match (infinite(high), right) {
        (Some(1), _) => Cut::End,
        (None, Bracket::Round) => Cut::Below(high.clone()),
        (None, Bracket::Square) => Cut::Above(high.clone()),
        _ => return None,
    };
    // `(2, 1)` is a point of the plane or a mistake, and never an interval.
    (order(&low, &high)? == Ordering::Less).then(|| vec![(low, high)])
}

fn point(value: &Expression) -> (Cut, Cut) {
    (Cut::Below(value.clone()), Cut::Above(value.clone()))
}

fn operation(name: &str, parts: &[Expression]) -> Option<Region> {
    let [one, two] = parts else {
        return None;
    };
    let (one, two) = match (name, one) {
        ("such that", Expression::Symbol(name)) => {
            (Region { pieces: vec![(Cut::Start, Cut::End)], name: Some(name.clone()) }, region(two)?)
        }
        _ => (region(one)?, region(two)?),
    };
    let pieces = match name {
        "such that" if one.name != two.name => return None,
        "such that" | "cap" => intersection(&one.pieces, &two.pieces)?,
        "setminus" | "backslash" => intersection(&one.pieces, &complement(&two.pieces))?,
        _ => return None,
    };
    Some(Region { pieces, name: None })
}

/// `1 < x < 3`, `x \ne 3`, `x = 2`, `x \in [0, 1]`.
fn chain(sides: &[Expression], relations: &[Relation]) -> Option<Region> {
    // The name stands on one side of two, or in the middle of three.
    let at = sides.iter().position(is_name).filter(|at| sides.len() == 2 || *at == 1)?;
    let Expression::Symbol(name) = &sides[at] else {
        return None;
    };
    if sides.len() > 3 || sides.iter().filter(|side| is_name(side)).count() != 1 {
        return None;
    }
    let mut pieces = vec![(Cut::Start, Cut::End)];
    for (place, relation) in relations.iter().enumerate() {
        let (other, relation) =
            if place == at { (&sides[at + 1], *relation) } else { (&sides[place], mirrored(*relation)?) };
        pieces = intersection(&pieces, &ray(relation, other)?)?;
    }
    Some(Region { pieces, name: Some(name.clone()) })
}

/// The relation read from its right side.
fn mirrored(relation: Relation) -> Option<Relation> {
    Some(match relation {
        Relation::Less => Relation::Greater,
        Relation::LessOrEqual => Relation::GreaterOrEqual,
        Relation::Greater => Relation::Less,
        Relation::GreaterOrEqual => Relation::LessOrEqual,
        Relation::Equal | Relation::NotEqual => relation,
        _ => return None,
    })
}

/// What a name may be that stands in a relation to a value.
fn ray(relation: Relation, value: &Expression) -> Option<Pieces> {
    let (below, above) = (Cut::Below(value.clone()), Cut::Above(value.clone()));
    Some(match relation {
        Relation::In => return region(value).map(|region| region.pieces),
        // `x < \infty` is a way to say nothing; it is not read as a ray without an end.
        _ if infinite(value).is_some() => return None,
        Relation::Less => vec![(Cut::Start, below)],
        Relation::LessOrEqual => vec![(Cut::Start, above)],
        Relation::Greater => vec![(above, Cut::End)],
        Relation::GreaterOrEqual => vec![(below, Cut::End)],
        Relation::Equal => vec![(below, above)],
        Relation::NotEqual => vec![(Cut::Start, below), (above, Cut::End)],
        _ => return None,
    })
}

/// Conditions on one name: all hold, or one of them does; commas mean the former, unless nothing would be
/// left.
fn joined(joint: Joint, parts: &[Expression]) -> Option<Region> {
    let regions = parts.iter().map(region).collect::<Option<Vec<_>>>()?;
    let name = regions.first()?.name.clone();
    if name.is_none() || regions.iter().any(|region| region.name != name) {
        return None;
    }
    let all: Vec<Pieces> = regions.into_iter().map(|region| region.pieces).collect();
    let common =
        || all.iter().skip(1).try_fold(all[0].clone(), |common, pieces| intersection(&common, pieces));
    let pieces = match joint {
        Joint::Or => union(all)?,
        Joint::And => common()?,
        // `x > 1, x < 3` means both, `x < 1, x > 3` either: whichever leaves something.
        Joint::Comma => Some(common()?).filter(|common| !common.is_empty()).or_else(|| union(all.clone()))?,
    };
    Some(Region { pieces, name })
}

fn order(one: &Cut, two: &Cut) -> Option<Ordering> {
    let place = |cut: &Cut| match cut {
        Cut::Start => 0,
        Cut::Below(_) | Cut::Above(_) => 1,
        Cut::End => 2,
    };
    let value = |cut: &Cut| match cut {
        Cut::Below(value) => Some((value.clone(), false)),
        Cut::Above(value) => Some((value.clone(), true)),
        Cut::Start | Cut::End => None,
    };
    match (value(one), value(two)) {
        (Some((one, above)), Some((two, other))) => Some(numeric::order(&one, &two)?.then(above.cmp(&other))),
        _ => Some(place(one).cmp(&place(two))),
    }
}

/// All pieces as disjoint ones in order.
fn union(all: Vec<Pieces>) -> Option<Pieces> {
    let mut merged: Pieces = Vec::new();
    for (low, high) in sorted(all)? {
        match merged.last_mut() {
            // Pieces that touch are one: (0, 1] and (1, 2) have no cut between them.
            Some((_, end)) if order(&low, end)? != Ordering::Greater => {
                if order(&high, end)? == Ordering::Greater {
                    *end = high;
                }
            }
            _ => merged.push((low, high)),
        }
    }
    Some(merged)
}

/// All pieces by their lower ends; `None` where two of those have no known order, or there are too many.
fn sorted(all: Vec<Pieces>) -> Option<Pieces> {
    let mut sorted: Pieces = Vec::new();
    for piece in all.into_iter().flatten() {
        // Insertion by hand: two ends may have no known order, and then the search must stop.
        let mut at = sorted.len();
        while at > 0 && order(&piece.0, &sorted[at - 1].0)? == Ordering::Less {
            at -= 1;
        }
        sorted.insert(at, piece);
        if sorted.len() > MOST_PIECES {
            return None;
        }
    }
    Some(sorted)
}

fn complement(pieces: &Pieces) -> Pieces {
    let mut rest = Vec::new();
    let mut from = Cut::Start;
    for (low, high) in pieces {
        if !matches!(low, Cut::Start) {
            rest.push((from, low.clone()));
        }
        from = high.clone();
    }
    if !matches!(from, Cut::End) {
        rest.push((from, Cut::End));
    }
    rest
}

fn intersection(one: &Pieces, two: &Pieces) -> Option<Pieces> {
    Some(complement(&union(vec![complement(one), complement(two)])?))
}
