//! Letters of options, as they stand in an answer or in a text.

use crate::sentence::tokens;
use crate::stance::is_taken_back;
use crate::statement::may_be_quote;

/// The most options: letters A to J.
// MMLU-Pro has ten. With more letters, more initials and units in a text would be taken for choices.
pub(crate) const MOST_OPTIONS: usize = 10;

/// Whether a text is the letter of an option.
pub(crate) fn is_letter(text: &str) -> bool {
    matches!(text.as_bytes(), [b'A'..=b'J'])
}

/// The letter that an answer consists of or begins with, as `(C)`, `C.`, `C) 42`; `None` where there are
/// several.
pub(crate) fn letter_in(answer: &str, letters: usize) -> Option<char> {
    let plain = unmarked(answer);
    let text = without_noun(&plain).trim();
    let core = text.trim_start_matches(['(', '[']);
    let first = core.chars().next().filter(char::is_ascii_alphabetic)?;
    let rest = &core[1..];
    // A lower-case letter is a choice only if it is all there is: `a + b` begins with one too.
    let letter = if rest.trim().trim_matches(LABELS).is_empty() {
        first.to_ascii_uppercase()
    } else {
        Some(first).filter(|_| is_label(rest, core.len() < text.len()))?
    };
    (is_option(letter, letters) && !joins_another(rest)).then_some(letter)
}

/// The letter of a label and the text behind it, as in `(C) 42`, `C - 42`, `option C, 42` and `C (42)`.
pub(crate) fn split_label(answer: &str) -> Option<(char, String)> {
    let plain = unmarked(answer);
    let text = without_noun(&plain).trim();
    let core = text.trim_start_matches(['(', '[']);
    let letter = core.chars().next().filter(char::is_ascii_uppercase)?;
    let behind = core[1..].trim_start();
    let text = match behind.strip_prefix('(') {
        Some(inside) => inside.strip_suffix(')').unwrap_or(inside),
        None => behind.strip_prefix([')', ']', '.', ':', '-', '–', '—', ',', '='])?,
    };
    Some((letter, text.trim().to_owned()))
}

/// The same for an answer: what stands behind the letter must not deny it, as in `(C) is wrong`.
pub(crate) fn letter_said(answer: &str, letters: usize) -> Option<char> {
    letter_in(answer, letters).filter(|_| !is_denied_behind_label(&unmarked_sentences(answer)))
}

fn is_denied_behind_label(text: &str) -> bool {
    let text = without_noun(text.trim()).trim_start_matches(['(', '[', ' ']);
    let Some(rest) = text.get(1..) else {
        return false;
    };
    let behind = rest.trim_start_matches([')', ']', '.', ':', ' ']);
    let words = tokens(behind);
    // A full stop ends a sentence, so that another one follows it.
    if rest.starts_with('.') { is_taken_back(rest) } else { !words.is_empty() && !may_be_quote(&words) }
}

/// What may follow the letter of an option.
const LABELS: [char; 4] = [')', ']', '.', ':'];

/// `Option C`, as models like to quote it, without the noun.
fn without_noun(text: &str) -> &str {
    let lower = text.to_ascii_lowercase();
    let noun = NOUNS.iter().find(|noun| lower.starts_with(**noun));
    noun.map_or(text, |noun| &text[noun.len()..])
}

const NOUNS: [&str; 4] = ["option ", "choice ", "letter ", "answer "];

/// Whether what follows a letter makes it a label: `C.5` has none, `(C)5` has.
fn is_label(rest: &str, bracketed: bool) -> bool {
    rest.strip_prefix(LABELS)
        .is_some_and(|after| bracketed || after.is_empty() || after.starts_with(char::is_whitespace))
}

/// Whether what follows a letter is another one, as in `A, C`, `(A) and (B)`, `(A)(B)` and `A. B. C`.
fn joins_another(rest: &str) -> bool {
    let label = rest.chars().next().filter(|mark| LABELS.contains(mark));
    let next = rest.trim_start_matches([')', ']', '.', ':', ' ', '\n']);
    let joint = JOINTS.iter().find_map(|joint| next.strip_prefix(joint));
    let other = joint.unwrap_or(next).trim_start();
    begins_with_letter(other) && {
        // A joint between two letters, or the same punctuation behind both, as in `A. B.`
        let behind = other.chars().nth(1);
        joint.is_some() || other.starts_with(['(', '[']) || (behind.is_some() && behind == label)
    }
}

/// What joins two letters. `A & B` and `A/B` are as common as words.
const JOINTS: [&str; 6] = ["and", "or", ",", "&", "/", ";"];

/// Whether a text begins with a capital letter that is a word: `A and Bob` joins no second letter.
fn begins_with_letter(text: &str) -> bool {
    let mut characters = text.trim_start_matches(['(', '[']).chars();
    characters.next().is_some_and(|c| c.is_ascii_uppercase())
        && !characters.next().is_some_and(char::is_alphanumeric)
}

/// The text with formula and emphasis marks removed.
pub(crate) fn unmarked(text: &str) -> String {
    let plain = without_markup(text).replace(['\'', '!', '?'], " ");
    plain.replace("( ", "(").replace(" )", ")").trim().to_owned()
}

/// The same with the marks that sentences have: their ends, and apostrophes within words.
pub(crate) fn unmarked_sentences(text: &str) -> String {
    let plain = without_markup(text);
    let is_of_word = |before: &str, behind: &str| {
        before.ends_with(char::is_alphanumeric) && behind.starts_with(char::is_alphanumeric)
    };
    // Around a word apostrophes are quotation marks, and underscores emphasis.
    let kept = plain.char_indices().map(|(at, c)| match c {
        '\'' | '’' | '‘' | '_' if !is_of_word(&plain[..at], &plain[at + c.len_utf8()..]) => ' ',
        other => other,
    });
    kept.collect()
}

fn without_markup(text: &str) -> String {
    let plain = MARKUP.iter().fold(text.to_owned(), |plain, command| plain.replace(command, " "));
    plain.replace(['{', '}', '$', '*', '~', '`', '\\', '"', '“', '”'], " ")
}

/// Commands of markup; a longer one before its own beginning.
#[rustfmt::skip]
const MARKUP: [&str; 17] = [
    "\\textbf", "\\textit", "\\textrm", "\\text", "\\emph", "\\mathrm", "\\mathbf", "\\mathit", "\\boxed",
    "\\left", "\\right", "\\quad", "\\ ", "\\,", "\\;", "\\(", "\\)",
];

fn is_option(letter: char, letters: usize) -> bool {
    letter.is_ascii_uppercase() && (letter as usize - 'A' as usize) < letters
}
