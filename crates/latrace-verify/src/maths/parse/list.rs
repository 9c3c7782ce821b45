//! The outer levels of an answer: lists of chains of unions of ratios.

use super::parser::Parser;
use super::quantity;
use crate::maths::syntax::{Expression, Joint, Relation};
use crate::maths::token::Kind;

impl Parser {
    /// Parts between commas, `and`, `or`.
    pub(super) fn list(&mut self) -> Option<Expression> {
        let mut parts = vec![self.chain()?];
        let mut joint = Joint::Comma;
        while let Some(next) = self.joint() {
            // `1, 2 and 3`: the last joint tells how all of them are joined.
            if next != Joint::Comma {
                joint = next;
            }
            parts.push(self.chain()?);
        }
        // `3 hours and 20 minutes` is one value.
        let one = || parts[1..].iter().try_fold(parts[0].clone(), |sum, part| quantity::together(&sum, part));
        match (parts.len(), joint) {
            (1, _) => parts.pop(),
            (_, Joint::And) if one().is_some() => one(),
            _ => Some(Expression::List(joint, parts)),
        }
    }

    pub(super) fn joint(&mut self) -> Option<Joint> {
        let comma = self.take_mark(',') || self.take_mark(';');
        if self.take_command("and") || self.take_command("land") || self.take_command("wedge") {
            return Some(Joint::And);
        }
        if self.take_command("or") || self.take_command("lor") || self.take_command("vee") {
            return Some(Joint::Or);
        }
        comma.then_some(Joint::Comma)
    }

    /// Sides between relations.
    pub(super) fn chain(&mut self) -> Option<Expression> {
        let mut sides = vec![self.union()?];
        let mut relations = Vec::new();
        while let Some(relation) = self.relation() {
            relations.push(relation);
            sides.push(self.union()?);
        }
        if relations.is_empty() { sides.pop() } else { Some(Expression::Chain(sides, relations)) }
    }

    pub(super) fn relation(&mut self) -> Option<Relation> {
        let (relation, length) = match (self.peek()?, self.kind_at(1)) {
            (Kind::Mark('<'), Some(Kind::Mark('='))) => (Relation::LessOrEqual, 2),
            (Kind::Mark('>'), Some(Kind::Mark('='))) => (Relation::GreaterOrEqual, 2),
            (Kind::Mark('!'), _) if self.is_unequal() => (Relation::NotEqual, 2),
            (Kind::Mark('='), Some(Kind::Mark('='))) => (Relation::Equal, 2),
            (Kind::Mark(':'), Some(Kind::Mark('='))) => (Relation::Equal, 2),
            (Kind::Mark('='), _) => (Relation::Equal, 1),
            (Kind::Mark('<'), _) => (Relation::Less, 1),
            (Kind::Mark('>'), _) => (Relation::Greater, 1),
            (Kind::Command(name), _) => (relation_named(name)?, 1),
            _ => return None,
        };
        self.at += length;
        Some(relation)
    }

    pub(super) fn union(&mut self) -> Option<Expression> {
        let mut parts = vec![self.ratio()?];
        loop {
            if self.take_command("cup") {
                parts.push(self.ratio()?);
            } else if self.take_command("cap")
                || self.take_command("setminus")
                || self.take_command("backslash")
            {
                let Some(Kind::Command(name)) = self.tokens.get(self.at - 1).map(|token| token.kind.clone())
                else {
                    return None;
                };
                // Differences and intersections take all that stands left of them; unions go on from the
                // result.
                let left = join_union(parts)?;
                let right = self.ratio()?;
                parts = vec![Expression::Opaque(name, vec![left, right])];
            } else {
                return join_union(parts);
            }
        }
    }

    pub(super) fn ratio(&mut self) -> Option<Expression> {
        let mut parts = vec![self.quantity()?];
        if let Some(time) = self.time(&parts[0]) {
            return Some(time);
        }
        // `:=` defines and divides nothing.
        while self.is_mark(':') && self.kind_at(1) != Some(&Kind::Mark('=')) {
            self.at += 1;
            parts.push(self.quantity()?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Expression::Ratio(parts)) }
    }
}

pub(super) fn relation_named(name: &str) -> Option<Relation> {
    Some(match name {
        "lt" => Relation::Less,
        "gt" => Relation::Greater,
        "le" | "leq" | "leqslant" | "leqq" => Relation::LessOrEqual,
        "ge" | "geq" | "geqslant" | "geqq" => Relation::GreaterOrEqual,
        "ne" | "neq" => Relation::NotEqual,
        "in" => Relation::In,
        "approx" | "simeq" | "doteq" => Relation::Approximate,
        "equiv" => Relation::Congruent,
        _ => return None,
    })
}

fn join_union(mut parts: Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { Some(Expression::Union(parts)) }
}
