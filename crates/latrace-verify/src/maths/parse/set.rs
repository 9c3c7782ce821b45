//! What stands between the braces of a set: its members, and perhaps the condition that they meet.

use super::list::relation_named;
use super::parser::Parser;
use crate::maths::syntax::Expression;
use crate::maths::token::Kind;

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
        let parts = vec![members, self.inside(Parser::list)?];
        Some(Expression::Opaque("such that".to_owned(), parts))
    }

    /// Whether a condition stands in the braces that were opened last: behind a bar that belongs to no pair,
    /// or behind a colon that a relation follows, as none does behind that of a ratio.
    fn has_condition(&self) -> bool {
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
