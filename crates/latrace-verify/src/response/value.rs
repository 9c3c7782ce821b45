//! Answers that nothing marks: bare ones, numbers.

use crate::lexicon::Role;
use crate::sentence::{Kind, Token, tokens};

/// The text if it may be an answer rather than prose around one, without an equals sign before it.
pub(super) fn bare(text: &str) -> Option<&str> {
    let text = text.trim();
    // A box that is passed over was denied.
    let may_be_answer = is_bare(text) && !text.contains("\\boxed");
    may_be_answer.then(|| text.trim_start_matches(['=', ' ']))
}

/// Whether a text may be an answer rather than prose around one.
pub(super) fn is_bare(text: &str) -> bool {
    const MOST_WORDS: usize = 4;
    const MOST_LINES: usize = 3;
    let outside = without_formulas(text);
    let words = count_words(&outside);
    // `He has 3 apples left` begins with words; `125 miles` with its value.
    let holds_value = text.contains('$') || text.bytes().any(|byte| byte.is_ascii_digit());
    let is_prose = holds_value && ((words > 2 && starts_in_prose(&outside)) || is_statement(&outside));
    words <= MOST_WORDS && !is_prose && text.lines().count() <= MOST_LINES
}

/// Whether words of a statement stand beside a value, "42 is the answer", or a sentence before it.
fn is_statement(outside: &str) -> bool {
    let tokens = tokens(outside);
    let states = |(at, token): (usize, &Token<'_>)| match token.role {
        // Behind a value such words may be what it counts, "3 solutions", change it, "5 below zero", or explain it, "where".
        Some(Role::Answer | Role::Verb | Role::Doubt) => {
            !tokens[..at].iter().any(|token| token.kind == Kind::Number)
        }
        Some(Role::Setting) => at == 0,
        Some(Role::Joint | Role::Quote | Role::Lead) | None => false,
        // Letters are variables here.
        Some(_) => token.text.len() > 1,
    };
    tokens.iter().enumerate().any(states) || is_sentence_before_value(outside)
}

/// Whether a line with words ends before the last one: `Compute 6*7.` above `42`.
fn is_sentence_before_value(outside: &str) -> bool {
    let mut lines = outside.trim().lines().rev();
    lines.next();
    lines.any(|line| count_words(line) > 0 && line.trim_end().ends_with(['.', ':', '!', '?']))
}

/// Whether a text holds no word of any language outside of formulas.
pub(super) fn is_wordless(text: &str) -> bool {
    let outside = without_formulas(text);
    !outside.split(|c: char| !c.is_alphabetic()).any(|word| word.chars().count() > 1)
}

fn count_words(text: &str) -> usize {
    text.split(|c: char| !c.is_ascii_alphabetic() && c != '\'').filter(|word| is_prose_word(word)).count()
}

/// Words of prose have several letters, and are not all capitals, which name things in formulas.
fn is_prose_word(word: &str) -> bool {
    word.len() > 1 && word.chars().any(|c| c.is_ascii_lowercase())
}

fn starts_in_prose(text: &str) -> bool {
    let is_word = |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic());
    text.split_whitespace().take_while(is_word).count() >= 2
}

/// The text with the formulas and commands in it blanked out.
fn without_formulas(text: &str) -> String {
    // Dollar signs come in pairs around formulas: every other part is inside one.
    let parts = text.split('$').enumerate().map(|(at, part)| if at % 2 == 0 { part } else { " " });
    let outside: String = parts.collect();
    let mut parts = outside.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        // A command's name is no word of prose.
        plain.push(' ');
        plain.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphabetic()));
    }
    plain
}

/// The last number with its sign, digit groups, fraction and percent sign.
pub(super) fn last_number(text: &str) -> Option<(usize, String)> {
    let last = text.bytes().rposition(|byte| byte.is_ascii_digit())? + 1;
    let before = unsigned(before_number(&text[..last]));
    // "It is not 5" gives no answer.
    let lower = before.trim_end().to_ascii_lowercase();
    if lower.ends_with(" not") || lower.ends_with("n't") {
        return None;
    }
    // A percent sign changes the value, so it belongs to the number.
    let percent = usize::from(text[last..].starts_with('%'));
    Some((last, text[before.len()..last + percent].to_owned()))
}

/// What stands before the number that `text` ends in.
fn before_number(text: &str) -> &str {
    let before = text.trim_end_matches(|c: char| c.is_ascii_digit() || is_separator(c));
    let digits = text[before.len()..].trim_start_matches(is_separator);
    // A comma or a slash before the first digit belongs to the text; a point begins `.5`.
    let before = &text[..text.len() - digits.len()];
    before.strip_suffix('.').unwrap_or(before)
}

fn is_separator(character: char) -> bool {
    matches!(character, '.' | ',' | '/')
}

/// The text before a number without the number's minus sign: `x-3` and `5-3` are differences.
fn unsigned(before: &str) -> &str {
    match before.strip_suffix('-') {
        Some(rest) if !rest.ends_with(|c: char| c.is_ascii_alphanumeric()) => rest,
        _ => before,
    }
}
