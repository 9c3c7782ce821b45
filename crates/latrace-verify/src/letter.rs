//! Letters of options, as they stand in an answer or in a text.

/// The most options: letters A to J.
pub(crate) const MOST_OPTIONS: usize = 10;

/// The last letter of an option that stands in brackets or alone; none where it is one of several.
pub(crate) fn last_letter(text: &str, letters: usize) -> Option<char> {
    // Whichever stands later: a response may name letters in both forms on its way.
    let at = last_in_brackets(text, letters).max(last_alone(text, letters))?;
    (!follows_another(text[..at].trim_end_matches(['(', '[']))).then(|| char::from(text.as_bytes()[at]))
}

/// Whether a text is the letter of an option.
pub(crate) fn is_letter(text: &str) -> bool {
    matches!(text.as_bytes(), [b'A'..=b'J'])
}

/// The letter that an answer consists of or begins with, as `(C)`, `C.`, `C) 42`; `None` where there are
/// several.
pub(crate) fn letter_in(answer: &str, letters: usize) -> Option<char> {
    let plain = unmarked(answer);
    let lower = plain.to_ascii_lowercase();
    // `Option C`, as models like to quote it.
    let noun = ["option ", "choice ", "letter ", "answer "].iter().find(|noun| lower.starts_with(**noun));
    let text = noun.map_or(plain.as_str(), |noun| &plain[noun.len()..]).trim();
    let bracketed = text.starts_with(['(', '[']);
    let core = text.trim_start_matches(['(', '[']);
    let letter = core.chars().next().filter(char::is_ascii_alphabetic)?;
    let rest = &core[1..];
    let alone = rest.trim().trim_matches([')', ']', '.', ':']).is_empty();
    let labelled = rest.starts_with([')', ']', '.', ':'])
        && (bracketed || rest[1..].starts_with(char::is_whitespace) || rest.len() == 1);
    // A lower-case letter is a choice only if it is all there is: `a + b` begins with one too.
    let letter = if alone { letter.to_ascii_uppercase() } else { letter };
    ((alone || labelled) && is_option(letter, letters) && !joins_another(rest)).then_some(letter)
}

/// Whether what follows a letter is another one, as in `A, C`, `(A) and (B)`, `(A)(B)` and `A. B. C`.
fn joins_another(rest: &str) -> bool {
    let label = rest.chars().next().filter(|mark| matches!(mark, ')' | ']' | '.' | ':'));
    let next = rest.trim_start_matches([')', ']', '.', ':', ' ', '\n']);
    // Joints between two letters, or the same punctuation behind both, as in `A. B.`
    let joint = ["and", "or", ",", "&", "/", ";"].iter().find_map(|joint| next.strip_prefix(joint));
    let other = joint.unwrap_or(next).trim_start();
    let bracketed = other.starts_with(['(', '[']);
    let mut letters = other.trim_start_matches(['(', '[']).chars();
    let is_letter = letters.next().is_some_and(|c| c.is_ascii_uppercase());
    let then = letters.next();
    // `A and Bob` joins no second letter.
    let alone = !then.is_some_and(char::is_alphanumeric);
    let labelled_alike = then.is_some() && then == label;
    is_letter && alone && (joint.is_some() || bracketed || labelled_alike)
}

/// The text with formula and emphasis marks removed.
pub(crate) fn unmarked(text: &str) -> String {
    let mut plain = text.to_owned();
    for command in [
        "\\textbf", "\\text", "\\mathrm", "\\mathbf", "\\boxed", "\\left", "\\right", "\\quad", "\\ ", "\\,",
        "\\;", "\\(", "\\)",
    ] {
        plain = plain.replace(command, " ");
    }
    plain
        .replace(['{', '}', '$', '*', '~', '`', '\\', '"', '\'', '“', '”', '!', '?'], " ")
        .replace("( ", "(")
        .replace(" )", ")")
        .trim()
        .to_owned()
}

fn is_option(letter: char, letters: usize) -> bool {
    letter.is_ascii_uppercase() && (letter as usize - 'A' as usize) < letters
}

fn last_in_brackets(text: &str, letters: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let bracketed = |at: &usize| {
        bytes[at - 1] == b'(' && bytes[at + 1] == b')' && is_option(char::from(bytes[*at]), letters)
    };
    (1..bytes.len().saturating_sub(1)).rev().find(bracketed)
}

/// Whether a letter after `text` is one of several: `A, `, `(A) or `, `(A)`, `A. `.
fn follows_another(text: &str) -> bool {
    let before = text.trim_end();
    let joint =
        [",", " and", " or", " nor", "&", "/", ";"].iter().find_map(|joint| before.strip_suffix(joint));
    let labelled = before.ends_with([')', ']', '.']);
    if joint.is_none() && !labelled {
        return false;
    }
    let other = joint.unwrap_or(before).trim_end_matches([',', ' ']);
    let mut letters = other.trim_end_matches([')', ']', '.', '*', '$']).chars().rev();
    letters.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && !letters.next().is_some_and(char::is_alphanumeric)
}

/// The last capital letter that is a word; "A" and "I" before a word in lower case are words of the sentence.
fn last_alone(text: &str, letters: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let in_word = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | 0x80..))
    };
    let alone = |at: &usize| {
        let letter = char::from(bytes[*at]);
        // `A good question` and `I think` are no choices.
        let in_sentence = matches!(letter, 'A' | 'I')
            && text[at + 1..].trim_start().starts_with(|c: char| c.is_ascii_lowercase())
            && !text[at + 1..].starts_with(['.', ')']);
        is_option(letter, letters) && !in_word(at.checked_sub(1)) && !in_word(Some(at + 1)) && !in_sentence
    };
    (0..bytes.len()).rev().find(alone)
}
