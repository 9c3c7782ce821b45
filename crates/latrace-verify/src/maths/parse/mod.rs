//! A parser for answers: LaTeX as models write it, and plain text.

mod build;
mod combination;
mod command;
mod list;
mod number;
mod operand;
mod operation;
mod operator;
mod parser;
mod prose;
mod quantifier;
mod quantity;
mod set;
mod structure;

pub(crate) use parser::Commas;
use parser::Parser;
pub(crate) use prose::plain_text;
pub(crate) use quantifier::EACH;

use super::prepare::{is_prose, raw_tokens, refine, without_surroundings};
use super::syntax::Expression;
use super::token::Token;

/// Parses an answer; `None` if it is not understood.
pub(crate) fn parse(text: &str, commas: Commas) -> Option<Expression> {
    let plain = without_surroundings(text);
    let raw = raw_tokens(&plain)?;
    let words = || Some(Expression::Text(plain_text(&plain)));
    // Words alone are never parsed: as products of letters, `no` and `on` would be equal.
    if is_prose(&raw) {
        return words();
    }
    let is_phrase = prose::is_phrase(&plain, &raw);
    let formula = formula(raw, commas);
    if is_phrase { formula.or_else(words) } else { formula }
}

fn formula(tokens: Vec<Token>, commas: Commas) -> Option<Expression> {
    if let Some(labels) = structure::labels(&tokens) {
        return Some(labels);
    }
    let mut parser = Parser::new(refine(structure::without_announcement(tokens)), commas);
    parser.skip_choice_label();
    let formula = parser.list()?;
    parser.skip_quantifier(&formula);
    // The whole answer must parse: a prefix that does says nothing about the rest.
    let vanishes = structure::vanishes(&formula);
    (parser.at == parser.tokens.len() && !vanishes).then_some(formula)
}

/// Whether commas between groups of digits may as well separate numbers: none begins with a zero.
pub(crate) fn has_grouped_digits(text: &str) -> bool {
    let groups = || text.as_bytes().windows(5).filter(|window| is_group(window));
    groups().count() > 0 && groups().all(|group| group[2] != b'0')
}

/// A digit, a comma and three digits.
fn is_group(bytes: &[u8]) -> bool {
    bytes[0].is_ascii_digit() && bytes[1] == b',' && bytes[2..].iter().all(u8::is_ascii_digit)
}
