//! From an answer's characters to the tokens that the parser reads: digit groups are joined, and words are
//! classified as functions, joints, units or products of letters.

use super::token::{Kind, Token, tokens};
use super::unit;

/// Function names that need no backslash.
const PLAIN_FUNCTIONS: [&str; 28] = [
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh",
    "ln", "log", "lg", "exp", "pi", "infinity", "infty", "min", "max", "gcd", "lcm", "det", "mod", "inf",
    "abs",
];

/// Words after a number that make it no quantity.
const NO_UNIT: [&str; 9] = ["not", "is", "are", "but", "if", "then", "than", "for", "where"];

/// `text` without what surrounds its content: formula delimiters, digit groups, closing punctuation.
pub(crate) fn undress(text: &str) -> String {
    let mut plain = text
        .replace("{,}", "\\!")
        .replace("{, }", "\\!")
        .replace("\\,\\!", "\\!")
        .replace("{\\,}", "\\,")
        // Before points are read as ends of sentences.
        .replace("p.m", "pm")
        .replace("a.m", "am");
    plain = join_grouped(&plain);
    let mut trimmed = plain.trim();
    loop {
        let shorter = trimmed.trim_end_matches(['.', ',', ';', ':', '*']).trim_start_matches("**").trim();
        // A single backslash at the end is a space that was cut off; two are a line break.
        let shorter = shorter.strip_suffix("\\").filter(|_| !shorter.ends_with("\\\\")).unwrap_or(shorter);
        if shorter.len() == trimmed.len() {
            return trimmed.to_owned();
        }
        trimmed = shorter;
    }
}

/// Joins digits around `\!`, and before it a comma: `11,\! 111` and `12\!345`.
fn join_grouped(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\\!") {
        let before = &rest[..at];
        let core = before.strip_suffix(',').unwrap_or(before);
        let after = rest[at + 2..].trim_start_matches("\\!");
        let follows = after.trim_start();
        let digits =
            core.ends_with(|c: char| c.is_ascii_digit()) && follows.starts_with(|c: char| c.is_ascii_digit());
        // `\!` draws digits together only between digits; elsewhere it is spacing.
        joined.push_str(if digits { core } else { before });
        rest = if digits { follows } else { after };
    }
    joined.push_str(rest);
    joined
}

/// Whether the tokens are words alone: an answer in prose, or the letters of a figure, whose order counts.
pub(crate) fn is_prose(tokens: &[Token]) -> bool {
    // `ABC` is a triangle: as a product of letters it would equal `ACB`.
    if let [Token { kind: Kind::Word(letters) | Kind::Text(letters), .. }] = tokens
        && letters.len() > 2
        && letters.bytes().all(|byte| byte.is_ascii_uppercase())
    {
        return true;
    }
    let wordy = |token: &Token| {
        matches!(
            &token.kind,
            Kind::Word(_) | Kind::Text(_) | Kind::Mark('\'' | '-' | ',' | '.' | '"' | '!' | '?' | '’')
        )
    };
    let telling = |token: &Token| match &token.kind {
        Kind::Word(word) => is_telling(word),
        Kind::Text(text) => text.split(|c: char| !c.is_alphanumeric()).any(is_telling) || !text.is_ascii(),
        _ => false,
    };
    tokens.iter().all(wordy) && tokens.iter().any(telling)
}

/// Whether a word is one, and neither a joint nor letters side by side.
fn is_telling(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    let known = PLAIN_FUNCTIONS.contains(&lower.as_str()) || matches!(lower.as_str(), "and" | "or");
    // Up to four capitals name points of a figure, and `AB` may be multiplied or divided as a length.
    let letters_of_a_figure = word.len() <= 4 && word.chars().all(|c| c.is_ascii_uppercase());
    !known && !letters_of_a_figure && (word.len() > 2 || matches!(lower.as_str(), "no" | "up" | "on" | "it"))
}

/// Tokens with plain words read as functions, joints, units or single letters.
pub(crate) fn refine(raw: Vec<Token>) -> Vec<Token> {
    let mut refined: Vec<Token> = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        at += refine_one(&raw[at..], &mut refined);
    }
    refined
}

/// Reads the first of `raw`, and says how many tokens were read.
fn refine_one(raw: &[Token], refined: &mut Vec<Token>) -> usize {
    let token = &raw[0];
    match &token.kind {
        Kind::Text(text) => {
            refined.push(Token { kind: text_kind(text), spaced: token.spaced });
            1
        }
        Kind::Word(word) => refine_word(word, raw, refined),
        // The name of an environment is no product of letters.
        Kind::Command(name) if matches!(name.as_str(), "begin" | "end") && raw.len() > 3 => {
            refined.extend_from_slice(&raw[..3]);
            3
        }
        _ => {
            refined.push(token.clone());
            1
        }
    }
}

fn text_kind(text: &str) -> Kind {
    match text.to_ascii_lowercase().trim_matches([',', ' ']) {
        "and" => Kind::Command("and".to_owned()),
        "or" => Kind::Command("or".to_owned()),
        "percent" | "pct" | "per cent" => Kind::Mark('%'),
        "degrees" | "degree" => Kind::Command("degree".to_owned()),
        "mod" => Kind::Command("mod".to_owned()),
        "infinity" => Kind::Command("infty".to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

fn refine_word(word: &str, raw: &[Token], refined: &mut Vec<Token>) -> usize {
    let spaced = raw[0].spaced;
    let lower = word.to_ascii_lowercase();
    let known = text_kind(word);
    if !matches!(known, Kind::Text(_)) {
        refined.push(Token { kind: known, spaced });
        return 1;
    }
    let after_degrees = follows_degrees(refined);
    // Only behind a value can a word be a unit; elsewhere `m` is a variable.
    let after_value = after_degrees
        || matches!(
            refined.last().map(|token| &token.kind),
            Some(Kind::Number(_) | Kind::Mark('}' | ')' | '%'))
        );
    // Celsius and Fahrenheit, not variables.
    if after_degrees && matches!(word, "C" | "F") {
        refined.push(Token { kind: Kind::Text(word.to_owned()), spaced });
        return 1;
    }
    if after_value && let Some((phrase, length)) = unit_phrase(raw) {
        refined.push(Token { kind: Kind::Text(phrase), spaced });
        return length;
    }
    if PLAIN_FUNCTIONS.contains(&lower.as_str()) {
        refined.push(Token { kind: Kind::Command(lower), spaced });
        return 1;
    }
    // What is no word of ours is a product: `xy` is x times y.
    for (at, letter) in word.chars().enumerate() {
        refined.push(Token { kind: Kind::Word(letter.to_string()), spaced: spaced && at == 0 });
    }
    1
}

/// Whether the last token is a degree sign, or the end of braces around one.
fn follows_degrees(refined: &[Token]) -> bool {
    let kind = |back: usize| refined.len().checked_sub(back).map(|at| &refined[at].kind);
    let is_degree = |kind: Option<&Kind>| kind.is_some_and(|kind| kind.is_command(&["degree", "circ"]));
    is_degree(kind(1)) || (kind(1) == Some(&Kind::Mark('}')) && is_degree(kind(2)))
}

/// The words from the first of `raw` on, where they name a unit or a counted noun.
fn unit_phrase(raw: &[Token]) -> Option<(String, usize)> {
    let words: Vec<&str> = raw
        .iter()
        .map_while(|token| if let Kind::Word(word) = &token.kind { Some(word.as_str()) } else { None })
        .collect();
    let joint = words
        .iter()
        .position(|word| matches!(word.to_ascii_lowercase().as_str(), "and" | "or"))
        .unwrap_or(words.len());
    let words = &words[..joint];
    let first = words.first()?;
    let plain = PLAIN_FUNCTIONS.contains(first)
        || words.iter().any(|word| NO_UNIT.contains(&word.to_ascii_lowercase().as_str()));
    // `5 apples` counts apples, `5apples` is as likely a product; known units need no blank.
    let noun = raw[0].spaced && first.len() > 2;
    let measure =
        first.len() > 1 && (unit::is_known(first) || matches!(first.to_lowercase().as_str(), "am" | "pm"));
    (!plain && (noun || measure)).then(|| (words.join(" "), words.len()))
}

/// The tokens of an undressed answer, before [`refine`]; `None` where it is empty or too long.
pub(crate) fn raw_tokens(text: &str) -> Option<Vec<Token>> {
    tokens(text).filter(|tokens| !tokens.is_empty())
}
