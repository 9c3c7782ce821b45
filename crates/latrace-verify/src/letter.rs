//! Letters of options, as they stand in an answer or in a text.

/// The most options: letters A to J.
// MMLU-Pro has ten. With more letters, more initials and units in a text would be taken for choices.
pub(crate) const MOST_OPTIONS: usize = 10;

/// The last letter of an option that stands in brackets or alone; none where it is one of several.
pub(crate) fn last_letter(text: &str, letters: usize) -> Option<char> {
    // Whichever stands later: a response may name letters in both forms on its way.
    let at = last_in_brackets(text, letters).max(last_alone(text, letters))?;
    let before = text[..at].trim_end_matches(['(', '[']);
    (!follows_another(before)).then(|| char::from(text.as_bytes()[at]))
}

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
    let plain = MARKUP.iter().fold(text.to_owned(), |plain, command| plain.replace(command, " "));
    let plain = plain.replace(['{', '}', '$', '*', '~', '`', '\\', '"', '\'', '“', '”', '!', '?'], " ");
    plain.replace("( ", "(").replace(" )", ")").trim().to_owned()
}

/// Commands of markup; a longer one before its own beginning.
const MARKUP: [&str; 13] = [
    "\\textbf", "\\text", "\\mathrm", "\\mathbf", "\\boxed", "\\left", "\\right", "\\quad", "\\ ", "\\,",
    "\\;", "\\(", "\\)",
];

fn is_option(letter: char, letters: usize) -> bool {
    letter.is_ascii_uppercase() && (letter as usize - 'A' as usize) < letters
}

fn last_in_brackets(text: &str, letters: usize) -> Option<usize> {
    let windows = text.as_bytes().windows(3).enumerate().rev();
    let mut bracketed = windows.filter(
        |(_, window)| matches!(window, [b'(', letter, b')'] if is_option(char::from(*letter), letters)),
    );
    bracketed.next().map(|(at, _)| at + 1)
}

/// Whether a letter after `text` is one of several: `A, `, `(A) or `, `(A)`, `A. `.
fn follows_another(text: &str) -> bool {
    let before = text.trim_end();
    let joint =
        [",", " and", " or", " nor", "&", "/", ";"].iter().find_map(|joint| before.strip_suffix(joint));
    let labelled = before.ends_with([')', ']', '.']);
    (joint.is_some() || labelled) && ends_in_letter(joint.unwrap_or(before))
}

/// Whether a text ends in a capital letter that is a word, perhaps with punctuation behind it.
fn ends_in_letter(text: &str) -> bool {
    let core = text.trim_end_matches([',', ' ']).trim_end_matches([')', ']', '.', '*', '$']);
    let mut characters = core.chars().rev();
    characters.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && !characters.next().is_some_and(char::is_alphanumeric)
}

/// The last capital letter that is a word; "A" and "I" before a word in lower case are words of the sentence.
fn last_alone(text: &str, letters: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let in_word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(is_of_word);
    let alone = |at: &usize| {
        let letter = char::from(bytes[*at]);
        is_option(letter, letters)
            && !in_word(at.checked_sub(1))
            && !in_word(Some(at + 1))
            && !is_in_sentence(letter, &text[at + 1..])
    };
    // From the end: what a response names last is what it settled on.
    (0..bytes.len()).rev().find(alone)
}

/// Letters outside ASCII, and the apostrophe of `I'm`, belong to words too.
fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | 0x80..)
}

/// `A good question` and `I think` are no choices.
fn is_in_sentence(letter: char, rest: &str) -> bool {
    matches!(letter, 'A' | 'I')
        && rest.trim_start().starts_with(|c: char| c.is_ascii_lowercase())
        && !rest.starts_with(['.', ')'])
}
