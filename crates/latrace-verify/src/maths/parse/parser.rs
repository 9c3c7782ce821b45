//! The parser's state, and how its tokens are looked at and taken.

use crate::maths::token::{Kind, Token};

// A bracket costs several levels, and a level several frames, which are large in debug builds.
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

/// Whether this may stand between the members of a set and their condition.
pub(super) fn begins_condition(kind: &Kind) -> bool {
    matches!(kind, Kind::Mark('|' | ':')) || kind.is_command(&["mid"])
}

/// Reads tokens from the left. The other files of this folder each add one level of the grammar.
pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    depth: usize,
    /// Absolute values that are open, so that a bar closes rather than opens.
    pub(super) bars: usize,
    pub(super) commas: Commas,
    /// Whether there is anything that a condition could stand behind.
    pub(super) has_conditions: bool,
    /// Within a set whose members are followed by a condition: a bar or a colon ends the members.
    pub(super) before_condition: bool,
    /// Within an integral that a differential ends.
    pub(super) before_differential: bool,
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>, commas: Commas) -> Parser {
        let has_conditions = tokens.iter().any(|token| begins_condition(&token.kind));
        Parser {
            has_conditions,
            tokens,
            at: 0,
            depth: 0,
            bars: 0,
            commas,
            before_condition: false,
            before_differential: false,
        }
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

    /// Takes the one of several commands that comes next.
    pub(super) fn take_one_of(&mut self, names: &[&str]) -> bool {
        names.iter().any(|name| self.take_command(name))
    }

    /// Takes a mark without which what was read so far is nothing.
    pub(super) fn expect_mark(&mut self, mark: char) -> Option<()> {
        self.take_mark(mark).then_some(())
    }

    /// The same for one of several commands.
    pub(super) fn expect_one_of(&mut self, names: &[&str]) -> Option<()> {
        self.take_one_of(names).then_some(())
    }

    /// Whether the next token follows its predecessor directly.
    pub(super) fn is_close(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|token| !token.spaced)
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

    /// The parser recurses, and the stack is finite.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        (self.depth < MOST_DEPTH).then_some(())?;
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    /// Inside brackets every comma separates, and nothing that was begun outside can be ended.
    pub(super) fn inside<T>(&mut self, read: impl FnOnce(&mut Parser) -> Option<T>) -> Option<T> {
        let outside = (self.commas, self.bars, self.before_condition, self.before_differential);
        (self.commas, self.bars) = (Commas::Separate, 0);
        (self.before_condition, self.before_differential) = (false, false);
        let value = self.deeper(read);
        (self.commas, self.bars, self.before_condition, self.before_differential) = outside;
        value
    }
}
