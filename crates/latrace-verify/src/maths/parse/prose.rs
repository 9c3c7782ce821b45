//! Answers in words, and answers with values among words.

use crate::maths::token::{Kind, Token};

/// Whether a text that is no formula is a phrase with values in it, such as `3 hours 30 minutes`.
pub(super) fn is_phrase(text: &str, tokens: &[Token]) -> bool {
    let words = tokens
        .iter()
        .filter(|token| matches!(&token.kind, Kind::Word(word) | Kind::Text(word) if word.len() > 1))
        .count();
    // A formula that does not parse is unreadable, and must not become a phrase that equals its own text
    // alone.
    let formula = text.contains(['\\', '_', '^', '{', '(', '[', '=', '<', '>']);
    words > 0 && !formula && tokens.first().is_some_and(|token| !matches!(token.kind, Kind::Mark(_)))
}

/// A prose answer in words alone: case, markup and blanks removed.
pub(crate) fn plain_text(text: &str) -> String {
    let mut plain = text.to_lowercase();
    for name in ["\\text", "\\textbf", "\\textit", "\\mathrm", "\\mbox", "\\operatorname", "\\quad", "\\ "] {
        plain = plain.replace(&format!("{name}{{"), " {").replace(name, " ");
    }
    // `3.5 cups` is not `35 cups`; the point at a sentence's end is nothing.
    let point = |at: usize| {
        plain[..at].ends_with(|c: char| c.is_ascii_digit())
            && plain[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    };
    let keep = |at: usize, c: char| {
        c.is_alphanumeric()
            || matches!(c, ',' | '-' | '+' | '=' | '<' | '>' | '/')
            || (matches!(c, '.' | ':') && point(at))
    };
    let kept: String = plain.char_indices().map(|(at, c)| if keep(at, c) { c } else { ' ' }).collect();
    let words = kept.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the"));
    words.collect::<Vec<_>>().join(" ")
}
