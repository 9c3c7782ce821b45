//! The parser's state, and how its tokens are looked at and taken.

use crate::maths::token::{Kind, Token};

/// How deep brackets, roots and powers may nest.
const MOST_DEPTH: usize = 200;

/// How a comma between groups of digits is read outside brackets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commas {
    /// `1,234` is one number.
    InNumbers,
    /// Every comma separates.
    Separate,
}

/// Reads tokens from the left. Each file beside this one adds what reads one level of the grammar.
pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    /// Absolute values that are open, so that a bar closes rather than opens.
    pub(super) bars: usize,
    pub(super) commas: Commas,
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>, commas: Commas) -> Parser {
        Parser { tokens, at: 0, depth: 0, bars: 0, commas }
    }

    pub(super) fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    pub(super) fn kind_at(&self, offset: usize) -> Option<&Kind> {
        self.tokens.get(self.at + offset).map(|token| &token.kind)
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Kind::Mark(mark))
    }

    pub(super) fn is_command(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Kind::Command(command)) if command == name)
    }

    pub(super) fn take_mark(&mut self, mark: char) -> bool {
        let found = self.is_mark(mark);
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_command(&mut self, name: &str) -> bool {
        let found = self.is_command(name);
        self.at += usize::from(found);
        found
    }

    /// `(C)` before a value, as options are quoted.
    pub(super) fn skip_choice_label(&mut self) {
        if let [Kind::Mark('('), Kind::Word(letter), Kind::Mark(')'), next] = &self.kinds::<4>()[..]
            && letter.starts_with(|c: char| c.is_ascii_uppercase())
            && matches!(next, Kind::Number(_) | Kind::Command(_))
        {
            self.at += 3;
        }
    }

    pub(super) fn kinds<const N: usize>(&self) -> Vec<Kind> {
        self.tokens.iter().skip(self.at).take(N).map(|token| token.kind.clone()).collect()
    }

    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
        // The parser recurses, and the stack is finite.
        if self.depth >= MOST_DEPTH {
            return None;
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Inside brackets every comma separates, and bars outside are not ours to close.
    pub(super) fn inside<T>(&mut self, read: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
        let (commas, bars) =
            (std::mem::replace(&mut self.commas, Commas::Separate), std::mem::replace(&mut self.bars, 0));
        let value = self.deeper(read);
        (self.commas, self.bars) = (commas, bars);
        value
    }
}
