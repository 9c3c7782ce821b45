//! The outer levels of an answer: lists of chains of unions of ratios.

use super::parser::Parser;
use super::quantifier::is_quantifier;
use super::quantity;
use crate::maths::syntax::{Expression, Joint, Relation};
use crate::maths::token::Kind;

impl Parser {
    /// Parts between commas, `and`, `or`.
    pub(super) fn list(&mut self) -> Option<Expression> {
        // Commas bind loosest: `x = 1, y = 2` is a list of equations.
        let mut parts = vec![self.chain()?];
        let mut joint = Joint::Comma;
        while let Some(next) = self.joint() {
            // `1, 2 and 3`: the last joint applies to all of them.
            if next != Joint::Comma {
                joint = next;
            }
            parts.push(self.chain()?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(joined(joint, parts)) }
    }

    fn joint(&mut self) -> Option<Joint> {
        // `f(x) = x^2, \forall x` is no list.
        if self.kind_at(1).is_some_and(is_quantifier) {
            return None;
        }
        let comma = self.take_mark(',') || self.take_mark(';');
        if self.take_one_of(&["and", "land", "wedge"]) {
            return Some(Joint::And);
        }
        if self.take_one_of(&["or", "lor", "vee"]) {
            return Some(Joint::Or);
        }
        comma.then_some(Joint::Comma)
    }

    /// Sides between relations.
    fn chain(&mut self) -> Option<Expression> {
        // Relations do not nest: `1 < x < 3` is one chain of three sides.
        let mut sides = vec![self.union()?];
        let mut relations = Vec::new();
        while let Some(relation) = self.relation() {
            relations.push(relation);
            sides.push(self.union()?);
        }
        if relations.is_empty() { sides.pop() } else { Some(Expression::Chain(sides, relations)) }
    }

    fn relation(&mut self) -> Option<Relation> {
        let (relation, length) = match (self.peek()?, self.kind_at(1)) {
            // Before single marks: a factorial and an equals sign apart are no relation.
            (Kind::Mark('!'), _) => (self.is_unequal().then_some(Relation::NotEqual)?, 2),
            (Kind::Mark(first), Some(Kind::Mark(second))) => relation_of_marks(*first, *second)?,
            (Kind::Mark(first), _) => relation_of_marks(*first, ' ')?,
            (Kind::Command(name), _) if name == "mid" && self.before_condition => return None,
            (Kind::Command(name), _) => (relation_named(name)?, 1),
            _ => return None,
        };
        self.at += length;
        Some(relation)
    }

    fn union(&mut self) -> Option<Expression> {
        let mut parts = vec![self.ratio()?];
        loop {
            if self.take_command("cup") {
                parts.push(self.ratio()?);
            } else if let Some(name) = self.set_operation() {
                // Differences and intersections apply to everything on their left; unions continue from the
                // result.
                let operands = vec![join_union(parts)?, self.ratio()?];
                parts = vec![Expression::Opaque(name.to_owned(), operands)];
            } else {
                return join_union(parts);
            }
        }
    }

    fn set_operation(&mut self) -> Option<&'static str> {
        ["cap", "setminus", "backslash"].into_iter().find(|name| self.take_command(name))
    }

    fn ratio(&mut self) -> Option<Expression> {
        let mut parts = vec![self.quantity()?];
        if !self.before_condition
            && let Some(time) = self.time(&parts[0])
        {
            return Some(time);
        }
        // `:=` defines, and is no division.
        while self.is_mark(':') && !self.before_condition && self.kind_at(1) != Some(&Kind::Mark('=')) {
            self.at += 1;
            parts.push(self.quantity()?);
        }
        if parts.len() == 1 { parts.pop() } else { Some(Expression::Ratio(parts)) }
    }
}

const RELATIONS: [(&str, Relation); 18] = [
    ("lt", Relation::Less),
    ("gt", Relation::Greater),
    ("le", Relation::LessOrEqual),
    ("leq", Relation::LessOrEqual),
    ("leqslant", Relation::LessOrEqual),
    ("leqq", Relation::LessOrEqual),
    ("ge", Relation::GreaterOrEqual),
    ("geq", Relation::GreaterOrEqual),
    ("geqslant", Relation::GreaterOrEqual),
    ("geqq", Relation::GreaterOrEqual),
    ("ne", Relation::NotEqual),
    ("neq", Relation::NotEqual),
    ("in", Relation::In),
    ("approx", Relation::Approximate),
    ("simeq", Relation::Approximate),
    ("doteq", Relation::Approximate),
    ("equiv", Relation::Congruent),
    ("mid", Relation::Divides),
];

pub(super) fn relation_named(name: &str) -> Option<Relation> {
    RELATIONS.iter().find(|(known, _)| *known == name).map(|(_, relation)| *relation)
}

/// The relation that marks write, and how many of the two belong to it.
fn relation_of_marks(first: char, second: char) -> Option<(Relation, usize)> {
    Some(match (first, second) {
        ('<', '=') => (Relation::LessOrEqual, 2),
        ('>', '=') => (Relation::GreaterOrEqual, 2),
        ('=' | ':', '=') => (Relation::Equal, 2),
        ('=', _) => (Relation::Equal, 1),
        ('<', _) => (Relation::Less, 1),
        ('>', _) => (Relation::Greater, 1),
        _ => return None,
    })
}

/// Parts as a list, or as the one value that they add up to, as `3 hours and 20 minutes`.
fn joined(joint: Joint, parts: Vec<Expression>) -> Expression {
    let (first, others) = (&parts[0], &parts[1..]);
    let total = || others.iter().try_fold(first.clone(), |sum, part| quantity::together(&sum, part));
    // A comma never adds: `3 hours, 20 minutes` may be two answers.
    let total = if joint == Joint::And { total() } else { None };
    total.unwrap_or(Expression::List(joint, parts))
}

fn join_union(mut parts: Vec<Expression>) -> Option<Expression> {
    if parts.len() == 1 { parts.pop() } else { Some(Expression::Union(parts)) }
}
