//! Sets of real numbers: unions of intervals and points, however they are written.
//!
//! `x < -2 or x > 2`, `x^2 > 4`, `(-\infty, -2) \cup (2, \infty)` and `\mathbb{R} \setminus [-2, 2]` are one
//! set. Where ends cannot be put in order, because they are no numbers, nothing is said.

use std::cmp::Ordering;

use num_traits::One;

use super::inequality::{Solution, solve};
use super::label::{is_name, name_of};
use super::syntax::{Bracket, Constant, Expression, Joint, Rational, Relation};
use super::univariate::{contains, variables};
use super::value::infinite;
use super::{exact, numeric};

// Sorting them compares ends pairwise, and each comparison may need high precision.
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

impl Cut {
    /// The value that a cut is at, and whether it is above it.
    fn value(&self) -> Option<(&Expression, bool)> {
        match self {
            Cut::Below(value) => Some((value, false)),
            Cut::Above(value) => Some((value, true)),
            Cut::Start | Cut::End => None,
        }
    }

    fn place(&self) -> u8 {
        match self {
            Cut::Start => 0,
            Cut::Below(_) | Cut::Above(_) => 1,
            Cut::End => 2,
        }
    }
}

/// What lies between two cuts.
type Piece = (Cut, Cut);

/// Pieces that do not touch and stand in order.
type Pieces = Vec<Piece>;

/// A set, and the name of its elements if it is given by conditions on one.
struct Region {
    pieces: Pieces,
    name: Option<String>,
}

/// Whether both are the same set of real numbers, and at least one is written so that it can be nothing else.
pub(super) fn same(gold: &Expression, answer: &Expression) -> bool {
    (is_telling(gold) || is_telling(answer))
        && region(gold).zip(region(answer)).is_some_and(|(one, two)| one.equals(&two))
}

impl Region {
    fn unnamed(pieces: Pieces) -> Region {
        Region { pieces, name: None }
    }

    fn equals(&self, other: &Region) -> bool {
        // `x > 2` and the bare ray are one set; `x > 2` and `y > 2` are two.
        let names = self.name.is_none() || other.name.is_none() || self.name == other.name;
        let pieces = || self.pieces.iter().zip(&other.pieces);
        names && self.pieces.len() == other.pieces.len() && pieces().all(|(one, two)| same_piece(one, two))
    }
}

fn same_piece(one: &Piece, two: &Piece) -> bool {
    let equal = |left: &Cut, right: &Cut| order(left, right) == Some(Ordering::Equal);
    equal(&one.0, &two.0) && equal(&one.1, &two.1)
}

/// Whether an answer is a set of numbers beyond doubt: a pair in brackets may be a point.
fn is_telling(expression: &Expression) -> bool {
    match expression {
        Expression::Union(_) => true,
        Expression::Opaque(name, _) => SET_OPERATIONS.contains(&name.as_str()),
        Expression::List(_, parts) => parts.iter().any(is_telling),
        Expression::Chain(_, relations) => !relations.iter().all(gives_a_value),
        _ => false,
    }
}

/// Operators between sets, and set builders.
const SET_OPERATIONS: [&str; 4] = ["cap", "setminus", "backslash", "such that"];

/// `x = 2` is a value with its name rather than a set.
fn gives_a_value(relation: &Relation) -> bool {
    matches!(relation, Relation::Equal | Relation::Approximate | Relation::Congruent)
}

fn region(expression: &Expression) -> Option<Region> {
    Some(Region::unnamed(match expression {
        Expression::Constant(Constant::NumberSet('R')) => line(),
        Expression::Constant(Constant::EmptySet) => Vec::new(),
        Expression::Bracketed(left, right, parts) => interval(*left, *right, parts)?,
        Expression::Set(parts) => union(parts.iter().map(|part| vec![point(part)]).collect())?,
        Expression::Union(parts) => union(parts.iter().map(pieces).collect::<Option<_>>()?)?,
        Expression::Opaque(name, parts) => operation(name, parts)?,
        // Conditions name what they are about, so they are regions of that name.
        Expression::Chain(sides, relations) => return chain(sides, relations),
        Expression::List(joint, parts) => return joined(*joint, parts),
        _ => return None,
    }))
}

fn pieces(expression: &Expression) -> Option<Pieces> {
    region(expression).map(|region| region.pieces)
}

/// All real numbers.
fn line() -> Pieces {
    vec![(Cut::Start, Cut::End)]
}

fn interval(left: Bracket, right: Bracket, parts: &[Expression]) -> Option<Pieces> {
    let [low, high] = parts else {
        return None;
    };
    let piece = (lower_end(left, low)?, upper_end(right, high)?);
    // `(2, 1)` is a point of the plane or a mistake, and never an interval.
    (order(&piece.0, &piece.1)? == Ordering::Less).then(|| vec![piece])
}

fn lower_end(bracket: Bracket, value: &Expression) -> Option<Cut> {
    match (infinite(value), bracket) {
        // Whatever the bracket: `[-\infty` is a slip that changes nothing.
        (Some(-1), _) => Some(Cut::Start),
        (None, Bracket::Round) => Some(Cut::Above(value.clone())),
        (None, Bracket::Square) => Some(Cut::Below(value.clone())),
        _ => None,
    }
}

fn upper_end(bracket: Bracket, value: &Expression) -> Option<Cut> {
    match (infinite(value), bracket) {
        (Some(1), _) => Some(Cut::End),
        (None, Bracket::Round) => Some(Cut::Below(value.clone())),
        (None, Bracket::Square) => Some(Cut::Above(value.clone())),
        _ => None,
    }
}

fn point(value: &Expression) -> (Cut, Cut) {
    (Cut::Below(value.clone()), Cut::Above(value.clone()))
}

fn operation(name: &str, parts: &[Expression]) -> Option<Pieces> {
    let [one, two] = parts else {
        return None;
    };
    match (name, one) {
        ("such that", Expression::Symbol(name)) => {
            members(Region { pieces: line(), name: Some(name.clone()) }, two)
        }
        ("such that", Expression::Chain(sides, _)) if is_of_integers(sides) => {
            let name = sides.first().filter(|name| matches!(name, Expression::Symbol(_)))?;
            integers(&members(Region { pieces: line(), name: Some(name_of(name)) }, two)?)
        }
        ("such that", domain) => members(region(domain)?, two),
        ("cap", _) => intersection(&pieces(one)?, &pieces(two)?),
        ("setminus" | "backslash", _) => intersection(&pieces(one)?, &complement(&pieces(two)?)),
        _ => None,
    }
}

/// `x \in \mathbb{Z}`
fn is_of_integers(sides: &[Expression]) -> bool {
    matches!(sides, [_, Expression::Constant(Constant::NumberSet('Z'))])
}

/// The whole numbers between rational ends.
fn integers(pieces: &Pieces) -> Option<Pieces> {
    let mut points = Vec::new();
    for (low, high) in pieces {
        let (low, is_low_out) = low.value()?;
        let (high, is_high_in) = high.value()?;
        let (low, high) = (exact::rational(low)?, exact::rational(high)?);
        let mut at = low.ceil();
        if at == low && is_low_out {
            at += Rational::one();
        }
        while at < high || (at == high && is_high_in) {
            points.push(point(&Expression::exactly(at.clone())));
            (points.len() <= MOST_PIECES).then_some(())?;
            at += Rational::one();
        }
    }
    Some(points)
}

/// What of a domain meets a condition on the same name.
fn members(domain: Region, condition: &Expression) -> Option<Pieces> {
    let condition = region(condition)?;
    (domain.name == condition.name).then(|| intersection(&domain.pieces, &condition.pieces))?
}

/// `1 < x < 3`, `x \ne 3`, `x = 2`, `x \in [0, 1]`.
fn chain(sides: &[Expression], relations: &[Relation]) -> Option<Region> {
    let Some(at) = place_of_name(sides) else {
        return solved(sides, relations);
    };
    let Expression::Symbol(name) = &sides[at] else {
        return None;
    };
    let mut pieces = line();
    for (place, relation) in relations.iter().enumerate() {
        // A relation before the name is read from its right side.
        let allowed = if place == at {
            ray(*relation, &sides[at + 1])?
        } else {
            ray(mirrored(*relation)?, &sides[place])?
        };
        pieces = intersection(&pieces, &allowed)?;
    }
    Some(Region { pieces, name: Some(name.clone()) })
}

/// The one name stands on either side of two, or in the middle of three, and nowhere else.
fn place_of_name(sides: &[Expression]) -> Option<usize> {
    let mut places = (0..sides.len()).filter(|at| is_name(&sides[*at]));
    let at = places.next().filter(|at| sides.len() == 2 || (sides.len() == 3 && *at == 1))?;
    let is_alone = sides.iter().filter(|side| contains(side, &sides[at])).count() == 1;
    (places.next().is_none() && is_alone).then_some(at)
}

/// `x^2 > 4`, `0 < |x| < 2`: what inequalities in one variable allow to it.
fn solved(sides: &[Expression], relations: &[Relation]) -> Option<Region> {
    let mut names: Vec<String> = sides.iter().flat_map(variables).collect();
    names.dedup();
    let name = names.pop().filter(|_| names.is_empty())?;
    let variable = Expression::Symbol(name.clone());
    let mut pieces = line();
    for (pair, relation) in sides.windows(2).zip(relations) {
        let solution = solve(&pair[0], *relation, &pair[1], &variable)?;
        pieces = intersection(&pieces, &union(pieces_of(&solution))?)?;
    }
    Some(Region { pieces, name: Some(name) })
}

/// A solution by its pieces, which touch.
fn pieces_of(solution: &Solution) -> Vec<Pieces> {
    let places = || solution.places.iter().cloned();
    let ends = std::iter::once(Cut::Start).chain(places().map(Cut::Above));
    let gaps = ends.zip(places().map(Cut::Below).chain([Cut::End])).zip(&solution.between);
    let points = solution.places.iter().map(point).zip(&solution.at);
    gaps.chain(points).filter(|(_, allowed)| **allowed).map(|(piece, _)| vec![piece]).collect()
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
    if relation == Relation::In {
        return pieces(value);
    }
    // `x < \infty` excludes nothing, and is not read as a ray without an end.
    if infinite(value).is_some() {
        return None;
    }
    let (below, above) = (Cut::Below(value.clone()), Cut::Above(value.clone()));
    Some(match relation {
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
    // Conditions on different names describe no set of numbers.
    let name = regions.first()?.name.clone();
    if name.is_none() || regions.iter().any(|region| region.name != name) {
        return None;
    }
    let all = regions.into_iter().map(|region| region.pieces).collect();
    Some(Region { pieces: joined_pieces(joint, all)?, name })
}

fn joined_pieces(joint: Joint, all: Vec<Pieces>) -> Option<Pieces> {
    if joint == Joint::Or {
        return union(all);
    }
    let (first, others) = all.split_first()?;
    let common = others.iter().try_fold(first.clone(), |common, pieces| intersection(&common, pieces))?;
    // `x > 1, x < 3` means both, `x < 1, x > 3` either: whichever leaves something.
    if joint == Joint::Comma && common.is_empty() { union(all) } else { Some(common) }
}

fn order(one: &Cut, two: &Cut) -> Option<Ordering> {
    match (one.value(), two.value()) {
        // Below a value comes before above it.
        (Some(one), Some(two)) => Some(numeric::order(one.0, two.0)?.then(one.1.cmp(&two.1))),
        _ => Some(one.place().cmp(&two.place())),
    }
}

/// All pieces as disjoint ones in order.
fn union(all: Vec<Pieces>) -> Option<Pieces> {
    let mut merged: Pieces = Vec::new();
    for (low, high) in sorted(all)? {
        match merged.last_mut() {
            // Pieces that touch are one: (0, 1] and (1, 2) have no cut between them.
            Some((_, end)) if order(&low, end)? != Ordering::Greater => extend(end, high)?,
            _ => merged.push((low, high)),
        }
    }
    Some(merged)
}

fn extend(end: &mut Cut, to: Cut) -> Option<()> {
    if order(&to, end)? == Ordering::Greater {
        *end = to;
    }
    Some(())
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
    let starts = std::iter::once(&Cut::Start).chain(pieces.iter().map(|(_, high)| high));
    let ends = pieces.iter().map(|(low, _)| low).chain(std::iter::once(&Cut::End));
    let gaps = starts.zip(ends).map(|(from, to)| (from.clone(), to.clone()));
    // Nothing lies before the start of the line, nor behind its end.
    gaps.filter(|(from, to)| !matches!(to, Cut::Start) && !matches!(from, Cut::End)).collect()
}

fn intersection(one: &Pieces, two: &Pieces) -> Option<Pieces> {
    // By De Morgan's law, so that only unions need an order of ends.
    Some(complement(&union(vec![complement(one), complement(two)])?))
}
