//! From an answer's characters to the tokens that the parser reads: digit groups are joined, and words are
//! classified as functions, joints, units or products of letters.

use super::token::{Kind, Token, tokens};
use super::{counted, unit};

/// Function names that need no backslash.
const PLAIN_FUNCTIONS: [&str; 28] = [
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "ln", "log", "lg", "exp", "pi", "infinity", "infty", "min", "max", "gcd", "lcm", "det", "mod", "inf",
    "abs",
];

/// `text` without what surrounds its content: formula delimiters, digit groups, closing punctuation.
pub(crate) fn without_surroundings(text: &str) -> String {
    let plain = RESPELLED.iter().fold(text.to_owned(), |plain, (from, to)| plain.replace(from, to));
    let joined = join_grouped(&plain);
    let mut trimmed = joined.trim();
    // Each mark may uncover another: `**5.**`.
    loop {
        let shorter = without_closing_marks(trimmed);
        if shorter.len() == trimmed.len() {
            return trimmed.to_owned();
        }
        trimmed = shorter;
    }
}

/// Spellings that the steps after this one would misread, in the order in which they are replaced.
const RESPELLED: [(&str, &str); 6] = [
    // Commas that TeX is kept from spacing stand within a number.
    ("{,}", "\\!"),
    ("{, }", "\\!"),
    ("\\,\\!", "\\!"),
    ("{\\,}", "\\,"),
    // Before points are read as ends of sentences.
    ("p.m", "pm"),
    ("a.m", "am"),
];

fn without_closing_marks(text: &str) -> &str {
    let shorter = text.trim_end_matches([',', ';', ':', '*']).trim_start_matches("**").trim();
    let shorter = without_full_stop(shorter);
    // A single backslash at the end is a space that was cut off; two are a line break.
    match shorter.strip_suffix('\\') {
        Some(rest) if !rest.ends_with('\\') => rest,
        _ => shorter,
    }
}

/// A text without the full stop at its end. Several are an ellipsis: `7...` goes on.
fn without_full_stop(text: &str) -> &str {
    match text.strip_suffix('.').map(str::trim_end) {
        Some(rest) if !rest.ends_with('.') => rest,
        _ => text,
    }
}

/// Joins digits around `\!`, and before it a comma: `11,\! 111` and `12\!345`.
fn join_grouped(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\!") {
        let core = before.strip_suffix(',').unwrap_or(before);
        let after = after.trim_start_matches("\\!");
        let follows = after.trim_start();
        // `\!` draws digits together only between digits; elsewhere it is spacing.
        let digits = core.ends_with(is_digit) && follows.starts_with(is_digit);
        joined.push_str(if digits { core } else { before });
        rest = if digits { follows } else { after };
    }
    joined + rest
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

/// Whether the tokens are words alone: an answer in prose, or the letters of a figure, whose order counts.
pub(crate) fn is_prose(tokens: &[Token]) -> bool {
    names_a_figure(tokens) || (tokens.iter().all(is_wordy) && tokens.iter().any(is_telling))
}

/// `ABC` is a triangle: as a product of letters it would equal `ACB`.
fn names_a_figure(tokens: &[Token]) -> bool {
    let [Token { kind: Kind::Word(letters) | Kind::Text(letters), .. }] = tokens else {
        return false;
    };
    letters.len() > 2 && is_capitals(letters)
}

fn is_capitals(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_wordy(token: &Token) -> bool {
    match &token.kind {
        Kind::Word(_) | Kind::Text(_) => true,
        // Letters outside ASCII that no command writes are of another script, or have a diacritic.
        Kind::Mark(mark) => "'-,.\"!?’。".contains(*mark) || is_letter_of_a_script(*mark),
        _ => false,
    }
}

fn is_telling(token: &Token) -> bool {
    match &token.kind {
        Kind::Word(word) => is_telling_word(word),
        // Words of other scripts have no formulas to be confused with.
        Kind::Text(text) => !text.is_ascii() || words_in(text).any(is_telling_word),
        Kind::Mark(mark) => is_letter_of_a_script(*mark),
        _ => false,
    }
}

fn is_letter_of_a_script(mark: char) -> bool {
    !mark.is_ascii() && mark.is_alphabetic()
}

fn words_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
}

/// Whether a word is one, and neither a joint nor letters side by side.
fn is_telling_word(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let known = is_function(&lower) || matches!(lower.as_str(), "and" | "or");
    // Up to four capitals name points of a figure, and `AB` may be multiplied or divided as a length.
    let letters_of_a_figure = word.len() <= 4 && is_capitals(word);
    // Of two letters, only words that answer something: other pairs are products.
    let is_long = word.len() > 2 || matches!(lower.as_str(), "no" | "up" | "on" | "it");
    !known && !letters_of_a_figure && is_long
}

fn is_function(word: &str) -> bool {
    PLAIN_FUNCTIONS.contains(&word)
}

/// Tokens with plain words read as functions, joints, units or single letters.
pub(crate) fn refine(raw: Vec<Token>) -> Vec<Token> {
    let mut refined = Vec::with_capacity(raw.len());
    let mut rest = raw.as_slice();
    while !rest.is_empty() {
        rest = &rest[refine_one(rest, &mut refined)..];
    }
    refined
}

/// Reads the first of `raw`, and returns how many tokens were read.
fn refine_one(raw: &[Token], refined: &mut Vec<Token>) -> usize {
    match &raw[0].kind {
        Kind::Word(word) => refine_word(word, raw, refined),
        Kind::Text(text) => replace_first(raw, text_kind(text), refined),
        // The name of an environment is no product of letters.
        Kind::Command(name) if matches!(name.as_str(), "begin" | "end") && raw.len() > 3 => {
            refined.extend_from_slice(&raw[..3]);
            3
        }
        other => replace_first(raw, other.clone(), refined),
    }
}

fn replace_first(raw: &[Token], kind: Kind, refined: &mut Vec<Token>) -> usize {
    refined.push(Token { kind, spaced: raw[0].spaced });
    1
}

/// What words stand for, wherever they stand.
fn text_kind(text: &str) -> Kind {
    let command = match text.to_ascii_lowercase().trim_matches([',', ' ']) {
        "percent" | "pct" | "per cent" | "percentage" => return Kind::Mark('%'),
        "and" => "and",
        "or" => "or",
        "degrees" | "degree" => "degree",
        "mod" => "mod",
        "infinity" => "infty",
        _ => return Kind::Text(text.to_owned()),
    };
    Kind::Command(command.to_owned())
}

/// Rules go from certain to uncertain: `mod` is a word everywhere, `C` a unit only behind degrees, `m` only
/// behind a value.
fn refine_word(word: &str, raw: &[Token], refined: &mut Vec<Token>) -> usize {
    let known = text_kind(word);
    if !matches!(known, Kind::Text(_)) {
        return replace_first(raw, known, refined);
    }
    // Celsius and Fahrenheit, not variables.
    let after_degrees = follows_degrees(refined);
    if after_degrees && matches!(word, "C" | "F") {
        return replace_first(raw, known, refined);
    }
    if (after_degrees || follows_value(refined))
        && let Some((phrase, length)) = unit_phrase(raw)
    {
        replace_first(raw, Kind::Text(phrase), refined);
        return length;
    }
    let lower = word.to_ascii_lowercase();
    if is_function(&lower) {
        return replace_first(raw, Kind::Command(lower), refined);
    }
    if is_of_prose(word, raw) {
        return replace_first(raw, known, refined);
    }
    refined.extend(letters(word, raw[0].spaced));
    1
}

/// Whether a word is no product of letters: `not 0` is not the product of n, o, t and 0, and none is written
/// with its number last.
fn is_of_prose(word: &str, raw: &[Token]) -> bool {
    let before_number = || matches!(raw.get(1), Some(Token { kind: Kind::Number(_), spaced: true }));
    match word.len() {
        0 | 1 => false,
        // Of two letters, `at` and `by` are products in formulas.
        2 => counted::is_function_word(word) && before_number(),
        _ => counted::is_function_word(word) || before_number(),
    }
}

/// Any other word is a product: `xy` is x times y.
fn letters(word: &str, spaced: bool) -> impl Iterator<Item = Token> {
    let kinds = word.chars().map(|letter| Kind::Word(letter.to_string()));
    kinds.enumerate().map(move |(at, kind)| Token { kind, spaced: spaced && at == 0 })
}

/// Only behind a value can a word be a unit; elsewhere `m` is a variable.
fn follows_value(refined: &[Token]) -> bool {
    let last = refined.last().map(|token| &token.kind);
    matches!(last, Some(Kind::Number(_) | Kind::Mark('}' | ')' | '%')))
}

/// Whether the last token is a degree sign, or the end of braces around one.
fn follows_degrees(refined: &[Token]) -> bool {
    let last = match refined {
        [.., last, Token { kind: Kind::Mark('}'), .. }] | [.., last] => last,
        [] => return false,
    };
    last.kind.is_command(&["degree", "circ"])
}

/// The words from the first of `raw` on, and how many tokens they are, where they cannot be a product of
/// letters: they name a unit or a counted noun, or say something else about the number.
fn unit_phrase(raw: &[Token]) -> Option<(String, usize)> {
    let (phrase, length) = words_from(raw);
    let first = phrase.split(' ').next().filter(|first| !is_function(first))?;
    // `5 apples` counts apples, `5apples` is as likely a product; known units need no blank.
    let is_noun = || first.len() > 2 && counted::is_unit(&phrase);
    let says_more = || phrase.split(' ').any(|word| counted::says_more(word) && !is_function(word));
    let is_phrase = is_measure(first, raw[0].spaced) || (raw[0].spaced && (is_noun() || says_more()));
    is_phrase.then_some((phrase, length))
}

/// The words up to a joint, with hyphens and slashes between them, and how many tokens they are.
fn words_from(raw: &[Token]) -> (String, usize) {
    let mut phrase = String::new();
    let mut length = 0;
    while let Some(word) = raw.get(length).and_then(word_of).filter(|word| !is_joint(word)) {
        if length > 0 {
            phrase.push(' ');
        }
        phrase.push_str(word);
        length += 1 + usize::from(is_abbreviation(word, &raw[length + 1..]));
        while let Some((mark, part)) = compounded(&raw[length..]) {
            phrase.push(mark);
            phrase.push_str(part);
            length += 2;
        }
    }
    (phrase, length)
}

/// Whether the full stop that follows a word is that of an abbreviation: `sq. ft.`
fn is_abbreviation(word: &str, rest: &[Token]) -> bool {
    let stops = rest.first().is_some_and(|mark| mark.kind == Kind::Mark('.') && !mark.spaced);
    stops && (matches!(word, "sq" | "cu") || unit::is_known_among_letters(word))
}

/// The word behind a hyphen or a slash that no blank is before or behind, as in `push-ups`.
fn compounded(raw: &[Token]) -> Option<(char, &str)> {
    match raw {
        [Token { kind: Kind::Mark(mark @ ('-' | '/')), spaced: false }, part, ..] if !part.spaced => {
            Some((*mark, word_of(part)?))
        }
        _ => None,
    }
}

fn word_of(token: &Token) -> Option<&str> {
    match &token.kind {
        Kind::Word(word) => Some(word),
        _ => None,
    }
}

/// `5 cm and 3 cm` are two quantities.
fn is_joint(word: &str) -> bool {
    word.eq_ignore_ascii_case("and") || word.eq_ignore_ascii_case("or")
}

/// One letter behind a number is as likely a variable: `5 m` may be 5 times m. So are two without a blank
/// that physics multiplies: `5mg` is a weight.
fn is_measure(word: &str, spaced: bool) -> bool {
    let is_product = !spaced && PRODUCTS.contains(&word);
    let is_unit =
        matches!(word, "sq" | "cu") || unit::is_known_among_letters(word) || unit::is_time_of_day(word);
    word.len() > 1 && !is_product && is_unit
}

/// Symbols that without a blank before them are as likely products.
const PRODUCTS: [&str; 5] = ["am", "mg", "mi", "ml", "ms"];

/// The tokens of an answer without its surroundings, before [`refine`]; `None` where it is empty or too long.
pub(crate) fn raw_tokens(text: &str) -> Option<Vec<Token>> {
    tokens(text).filter(|tokens| !tokens.is_empty())
}
