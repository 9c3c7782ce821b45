//! Answers in words, and answers with values among words.

use crate::maths::token::{Kind, Token};

/// Whether a text that is no formula is a phrase with values in it, such as `3 hours 30 minutes`.
pub(super) fn is_phrase(text: &str, tokens: &[Token]) -> bool {
    let is_word =
        |token: &Token| matches!(&token.kind, Kind::Word(word) | Kind::Text(word) if word.len() > 1);
    let starts_plainly = tokens.first().is_some_and(|token| !matches!(token.kind, Kind::Mark(_)));
    starts_plainly && tokens.iter().any(is_word) && !has_notation(text)
}

/// A formula that does not parse is unreadable, and must not become a phrase that equals its own text alone.
fn has_notation(text: &str) -> bool {
    text.contains(['\\', '_', '^', '{', '(', '[', '=', '<', '>'])
}

/// A prose answer in words alone: case, markup and blanks removed.
pub(crate) fn plain_text(text: &str) -> String {
    let unmarked = without_commands(&text.to_lowercase());
    let kept: String =
        unmarked.char_indices().map(|(at, c)| if is_kept(&unmarked, at, c) { c } else { ' ' }).collect();
    // Articles say nothing in an answer, and models add them freely.
    let words: Vec<&str> =
        kept.split_whitespace().filter(|word| !matches!(*word, "a" | "an" | "the")).collect();
    words.join(" ")
}

const TYPE_COMMANDS: [&str; 8] =
    ["\\text", "\\textbf", "\\textit", "\\mathrm", "\\mbox", "\\operatorname", "\\quad", "\\ "];

fn without_commands(text: &str) -> String {
    TYPE_COMMANDS
        .iter()
        .fold(text.to_owned(), |plain, name| plain.replace(&format!("{name}{{"), " {").replace(name, " "))
}

/// Whether a character carries meaning in words. Signs and relations do, since they distinguish answers.
fn is_kept(text: &str, at: usize, character: char) -> bool {
    match character {
        // `3.5 cups` is not `35 cups`; the point at a sentence's end is nothing.
        '.' | ':' => is_between_digits(text, at),
        _ => character.is_alphanumeric() || ",-+=<>/".contains(character),
    }
}

fn is_between_digits(text: &str, at: usize) -> bool {
    let is_digit = |c: char| c.is_ascii_digit();
    text[..at].ends_with(is_digit) && text[at + 1..].starts_with(is_digit)
}
