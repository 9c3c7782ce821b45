//! A parser for answers: LaTeX as models write it, and plain text.

mod build;
mod command;
mod list;
mod number;
mod operand;
mod operator;
mod parser;
mod prose;
mod quantity;

pub(crate) use parser::Commas;
use parser::Parser;
pub(crate) use prose::plain_text;

use super::prepare::{is_prose, raw_tokens, refine, undress};
use super::syntax::Expression;

/// Reads an answer; `None` where it is none that is understood.
pub(crate) fn parse(text: &str, commas: Commas) -> Option<Expression> {
    let plain = undress(text);
    let raw = raw_tokens(&plain)?;
    // Words alone are never parsed: as products of letters, `no` and `on` would be equal.
    if is_prose(&raw) {
        return Some(Expression::Text(plain_text(&plain)));
    }
    let words = prose::is_phrase(&plain, &raw);
    let mut parser = Parser::new(refine(raw), commas);
    parser.skip_choice_label();
    // What is not read to its end is not understood: a prefix that parses says nothing about the rest.
    match parser.list().filter(|_| parser.at == parser.tokens.len()) {
        None if words => Some(Expression::Text(plain_text(&plain))),
        answer => answer,
    }
}

/// Whether commas between groups of digits may as well separate numbers: none begins with a zero.
pub(crate) fn has_grouped_digits(text: &str) -> bool {
    let groups = || {
        text.as_bytes().windows(5).filter(|five| {
            five[0].is_ascii_digit() && five[1] == b',' && five[2..].iter().all(u8::is_ascii_digit)
        })
    };
    groups().next().is_some() && groups().all(|five| five[2] != b'0')
}
