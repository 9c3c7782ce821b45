//! Numbers of choices and arrangements under their letters: `C(5,2)`, `C_5^2`, `{}_5C_2`, `5C2`.
//!
//! The letters may also be names, as of a point C with coordinates 5 and 2. What they mean is decided where
//! an answer is compared.

use num_traits::Signed;

use super::parser::Parser;
use crate::maths::syntax::{Expression, Written};
use crate::maths::token::Kind;

/// Letters for choices, and for arrangements, which are written as the last of them.
const LETTERS: [(&str, &str); 3] = [("C", "C"), ("A", "P"), ("P", "P")];

impl Parser {
    /// `_5C_2` and `^5C_2`, whose first index stands before the letter.
    pub(super) fn combinations(&mut self) -> Option<Expression> {
        (self.take_mark('_') || self.take_mark('^')).then_some(())?;
        let count = self.argument()?;
        let letter = match self.peek()? {
            Kind::Word(letter) | Kind::Text(letter) => letter_for(letter)?,
            _ => return None,
        };
        self.at += 1;
        self.expect_mark('_')?;
        Some(chosen(letter, count, self.argument()?))
    }

    /// `(5,2)`, `_5^2` or `^2_5` behind a letter.
    pub(super) fn named_combinations(&mut self, letter: &str) -> Option<Expression> {
        let start = self.at;
        let found = letter_for(letter).and_then(|letter| self.indices(letter));
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn indices(&mut self, letter: &'static str) -> Option<Expression> {
        if self.take_mark('(') {
            let count = self.whole()?;
            self.expect_mark(',')?;
            let chosen_count = self.whole()?;
            self.expect_mark(')')?;
            // `P(5,2)` is as likely a probability or a point.
            return (letter == "C").then(|| choice(letter, count, chosen_count))?;
        }
        if self.take_mark('_') {
            let count = self.braced_whole()?;
            self.expect_mark('^')?;
            return choice(letter, count, self.braced_whole()?);
        }
        self.expect_mark('^')?;
        let chosen_count = self.braced_whole()?;
        self.expect_mark('_')?;
        choice(letter, self.braced_whole()?, chosen_count)
    }

    /// `C2` behind a number.
    pub(super) fn combinations_of(&mut self, count: &Expression) -> Option<Expression> {
        let [Kind::Word(letter), Kind::Number(_)] = &self.kinds::<2>()[..] else {
            return None;
        };
        let letter = letter_for(letter).filter(|_| self.is_close() && !self.tokens[self.at + 1].spaced)?;
        let start = self.at;
        self.at += 1;
        let found = self.whole().and_then(|chosen_count| choice(letter, count.clone(), chosen_count));
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn braced_whole(&mut self) -> Option<Expression> {
        let braced = self.take_mark('{');
        let value = self.whole()?;
        if braced {
            self.expect_mark('}')?;
        }
        Some(value)
    }

    /// Digits alone.
    fn whole(&mut self) -> Option<Expression> {
        let Some(Kind::Number(digits)) = self.peek() else {
            return None;
        };
        let value = digits.parse::<u32>().ok()?;
        self.at += 1;
        Some(Expression::integer(i64::from(value)))
    }
}

fn letter_for(letter: &str) -> Option<&'static str> {
    LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, letter)| *letter)
}

/// As many as there are can be chosen at the most; beyond that the letter is a name.
fn choice(letter: &str, count: Expression, chosen_count: Expression) -> Option<Expression> {
    let (Expression::Number(all, Written::Exactly), Expression::Number(some, _)) = (&count, &chosen_count)
    else {
        return None;
    };
    (some <= all && !some.is_negative()).then(|| chosen(letter, count, chosen_count))
}

fn chosen(letter: &str, count: Expression, chosen_count: Expression) -> Expression {
    Expression::Opaque(letter.to_owned(), vec![count, chosen_count])
}
