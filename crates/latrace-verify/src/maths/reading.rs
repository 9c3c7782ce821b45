//! What a reference is read as: a check of data, which judging a reference against itself is not.

use std::fmt;

use super::prepare::{raw_tokens, without_surroundings};
use super::syntax::{Bracket, Constant, Expression};
use super::token::{Kind, Token};

/// What a reference is read as, and so what it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// A number, a percentage, a ratio, a time or a numeral.
    Number,
    /// A number with its unit.
    Quantity,
    /// A formula.
    Expression,
    /// Equations and inequalities.
    Relation,
    /// A set in braces.
    Set,
    /// Several values, in any order.
    List,
    /// Values in round brackets, in order. Two of them may be an open interval.
    Tuple,
    /// An interval with a closed end or an infinite one, or a union of several.
    Interval,
    /// A matrix.
    Matrix,
    /// Words, compared without case and punctuation.
    Words,
    /// A number beside words that are no unit: the number alone is not accepted.
    NumberBesideWords,
    /// Not understood: only the same text is accepted.
    Unreadable,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reading::Number => "number",
            Reading::Quantity => "number with a unit",
            Reading::Expression => "expression",
            Reading::Relation => "equation or inequality",
            Reading::Set => "set",
            Reading::List => "list",
            Reading::Tuple => "tuple",
            Reading::Interval => "interval",
            Reading::Matrix => "matrix",
            Reading::Words => "words",
            Reading::NumberBesideWords => "number beside words",
            Reading::Unreadable => "text to the letter",
        })
    }
}

impl Reading {
    /// What a tree is.
    pub(super) fn of(read: &Expression) -> Reading {
        use Expression as E;
        match read {
            E::Number(..) | E::InBase(..) | E::Ratio(_) | E::Time(_) => Reading::Number,
            E::Negative(inner) | E::Percent(inner) | E::Degrees(inner) => Reading::of(inner),
            E::Quantity(..) => Reading::Quantity,
            E::Chain(..) => Reading::Relation,
            E::Set(_) | E::Constant(Constant::EmptySet) => Reading::Set,
            E::List(..) => Reading::List,
            E::Bracketed(Bracket::Round | Bracket::Angle, Bracket::Round | Bracket::Angle, parts)
                if !parts.iter().any(is_infinite) =>
            {
                Reading::Tuple
            }
            E::Bracketed(..) | E::Union(_) | E::Constant(Constant::NumberSet(_)) => Reading::Interval,
            E::Matrix(_) => Reading::Matrix,
            E::Text(_) => Reading::Words,
            _ => Reading::Expression,
        }
    }
}

fn is_infinite(part: &Expression) -> bool {
    part.any(&|part| *part == Expression::Constant(Constant::Infinity))
}

/// The one number of a text that holds nothing else but words, as `9 (apples)`.
pub(super) fn number_beside_words(text: &str) -> Option<String> {
    let tokens = raw_tokens(&without_surroundings(text))?;
    let numbers: Vec<&str> = tokens.iter().filter_map(digits).collect();
    let [number] = numbers[..] else {
        return None;
    };
    let beside = tokens.iter().all(|token| digits(token).is_some() || stands_beside(token));
    (beside && has_word(&tokens)).then(|| number.to_owned())
}

fn digits(token: &Token) -> Option<&str> {
    match &token.kind {
        Kind::Number(digits) => Some(digits),
        _ => None,
    }
}

/// Whether there is a word that is no factor: `2abc` is a product.
fn has_word(tokens: &[Token]) -> bool {
    let is_factor = |pair: &[Token]| digits(&pair[0]).is_some() && is_joined_word(&pair[1]);
    tokens.first().is_some_and(is_word) || tokens.windows(2).any(|pair| is_word(&pair[1]) && !is_factor(pair))
}

fn is_joined_word(token: &Token) -> bool {
    !token.spaced && matches!(token.kind, Kind::Word(_))
}

/// Letters side by side may be a product; words are longer, or set as words.
fn is_word(token: &Token) -> bool {
    const LONGEST_PRODUCT: usize = 2;
    match &token.kind {
        Kind::Word(word) => word.len() > LONGEST_PRODUCT,
        Kind::Text(_) => true,
        _ => false,
    }
}

fn stands_beside(token: &Token) -> bool {
    match &token.kind {
        Kind::Word(_) | Kind::Text(_) => true,
        Kind::Mark(mark) => "()[].,;:'’-".contains(*mark),
        Kind::Number(_) | Kind::Command(_) => false,
    }
}
