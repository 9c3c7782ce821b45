//! What stands between the braces of a set: its members, and perhaps the condition that they meet.

use super::list::relation_named;
use super::parser::Parser;
use crate::maths::syntax::{Expression, Joint, Relation};
use crate::maths::token::Kind;
use crate::maths::univariate::{contains, substitute};

impl Parser {
    /// The members of a set, up to its condition if it has one.
    pub(super) fn set_content(&mut self) -> Option<Expression> {
        let has_condition = self.has_condition();
        self.inside(|parser| {
            parser.before_condition = has_condition;
            parser.list()
        })
    }

    /// Whether what stands before a condition comes next.
    pub(super) fn takes_condition(&mut self) -> bool {
        self.take_mark('|') || self.take_mark(':') || self.take_command("mid")
    }

    /// `\{x : x > 2\}` from its condition on. `region` works out what it holds.
    pub(super) fn conditional(&mut self, members: Expression) -> Option<Expression> {
        let conditions = match self.inside(Parser::list)? {
            Expression::List(Joint::Comma | Joint::And, conditions) => conditions,
            single => vec![single],
        };
        let (members, conditions) = with_given_members(members, conditions);
        let set = Expression::Opaque("such that".to_owned(), vec![members, joined(conditions)]);
        Some(with_bound_name(set))
    }

    /// Whether a condition stands in the braces that were opened last: behind a bar that belongs to no pair,
    /// or behind a colon that a relation follows, as none does behind that of a ratio.
    fn has_condition(&self) -> bool {
        // Braces are common and conditions rare, and each pair of braces is looked through to its end.
        if !self.has_conditions {
            return false;
        }
        let (mut depth, mut bars, mut colon) = (0_usize, 0_usize, false);
        for token in &self.tokens[self.at..] {
            match &token.kind {
                kind if opens(kind) => depth += 1,
                kind if closes(kind) && depth == 0 => break,
                kind if closes(kind) => depth -= 1,
                _ if depth > 0 => {}
                Kind::Mark('|') => bars += 1,
                Kind::Mark(':') => colon = true,
                kind if kind.is_command(&["mid"]) => return true,
                kind if colon && is_relation(kind) => return true,
                _ => {}
            }
        }
        bars % 2 == 1
    }
}

/// `\{x | x = 3k, \ldots\}` as `\{3k | \ldots\}`.
fn with_given_members(members: Expression, mut conditions: Vec<Expression>) -> (Expression, Vec<Expression>) {
    let given = |condition: &Expression| match condition {
        Expression::Chain(sides, relations) if *relations == [Relation::Equal] => {
            (sides[0] == members && !contains(&sides[1], &members)).then(|| sides[1].clone())
        }
        _ => None,
    };
    let is_alone = conditions.len() == 1;
    let found =
        conditions.iter().enumerate().find_map(|(at, condition)| given(condition).map(|value| (at, value)));
    match found.filter(|_| !is_alone && matches!(members, Expression::Symbol(_))) {
        Some((at, value)) => {
            conditions.remove(at);
            (value, conditions)
        }
        None => (members, conditions),
    }
}

fn joined(mut conditions: Vec<Expression>) -> Expression {
    if conditions.len() == 1 { conditions.remove(0) } else { Expression::List(Joint::Comma, conditions) }
}

/// The set with one name for the variable of its condition, which is known in the set alone.
fn with_bound_name(set: Expression) -> Expression {
    const BOUND: &str = "•";
    let mut names = Vec::new();
    ranges_over(&set, &mut names);
    match names.as_slice() {
        [name] => substitute(&set, name, &Expression::Symbol(BOUND.to_owned())),
        _ => set,
    }
}

/// The variables of which a condition says where they are.
fn ranges_over(expression: &Expression, names: &mut Vec<Expression>) {
    match expression {
        Expression::Chain(sides, relations) if relations.first() == Some(&Relation::In) => {
            names.extend(sides.first().filter(|side| matches!(side, Expression::Symbol(_))).cloned());
        }
        other => other.children().into_iter().for_each(|part| ranges_over(part, names)),
    }
}

fn opens(kind: &Kind) -> bool {
    matches!(kind, Kind::Mark('{' | '(' | '[')) || kind.is_command(&["{", "lbrace", "langle"])
}

fn closes(kind: &Kind) -> bool {
    matches!(kind, Kind::Mark('}' | ')' | ']')) || kind.is_command(&["}", "rbrace", "rangle"])
}

fn is_relation(kind: &Kind) -> bool {
    match kind {
        Kind::Mark(mark) => "=<>".contains(*mark),
        Kind::Command(name) => relation_named(name).is_some(),
        _ => false,
    }
}
