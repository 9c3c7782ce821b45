//! From an answer's characters to the tokens that the parser reads: digit groups are joined, and words are
//! classified as functions, joints, units or products of letters.

use super::characters::in_ascii;
use super::functions::is_plain_command;
use super::parse::EACH;
use super::token::{Kind, Token, digits, tokens};
use super::{counted, unit};

/// `text` without what surrounds its content: formula delimiters, digit groups, closing punctuation.
pub(crate) fn without_surroundings(text: &str) -> String {
    let plain = RESPELLED.iter().fold(with_decimal_points(&in_ascii(text)), respelled);
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
const RESPELLED: [(&str, &str); 8] = [
    // Commas that TeX is kept from spacing stand within a number.
    ("{,}", "\\!"),
    ("{, }", "\\!"),
    ("\\,\\!", "\\!"),
    ("{\\,}", "\\,"),
    // Nor are these relations.
    ("{:}", ":"),
    ("{=}", "="),
    // Before points are read as ends of sentences.
    ("p.m", "pm"),
    ("a.m", "am"),
];

fn respelled(text: String, (from, to): &(&str, &str)) -> String {
    // Most answers hold none of them, and are not copied.
    if text.contains(from) { text.replace(from, to) } else { text }
}

/// Signs that the answer is reached, behind it.
const ENDINGS: [&str; 8] = ["\\checkmark", "\\blacksquare", "\\qed", "✓", "✔", "✅", "∎", "\\\\"];

/// What an answer is set off from the steps before it with: signs of equality and conclusion.
const BEGINNINGS: [&str; 15] = [
    "&",
    "=",
    "\\approx",
    "\\simeq",
    "\\doteq",
    "\\therefore",
    "\\implies",
    "\\Rightarrow",
    "\\Longrightarrow",
    "≈",
    "≃",
    "∴",
    "⇒",
    "⟹",
    "\\\\",
];

fn without_closing_marks(text: &str) -> &str {
    let shorter = text.trim_end_matches([',', ';', ':', '*']).trim_start_matches("**").trim();
    let shorter = without_beginning(without_ending(without_full_stop(shorter)));
    // A single backslash at the end is a space that was cut off.
    shorter.strip_suffix('\\').unwrap_or(shorter)
}

fn without_ending(text: &str) -> &str {
    let shorter = ENDINGS.iter().find_map(|ending| text.strip_suffix(ending));
    // An answer of nothing but such a sign is that sign.
    shorter.filter(|shorter| !shorter.is_empty()).unwrap_or(text)
}

fn without_beginning(text: &str) -> &str {
    let begins = |beginning: &str| text.strip_prefix(beginning).filter(|rest| ends_a_sign(beginning, rest));
    BEGINNINGS.iter().find_map(|beginning| begins(beginning)).map_or(text, str::trim_start)
}

/// Whether a sign ends before `rest`: `==` and `=>` are others than `=`, and `\approxeq` than `\approx`.
fn ends_a_sign(sign: &str, rest: &str) -> bool {
    let is_word = sign.ends_with(|c: char| c.is_ascii_alphabetic());
    let is_longer = sign == "=" && rest.starts_with(['=', '>', '<']);
    let goes_on = is_word && rest.starts_with(is_letter);
    !(rest.is_empty() || is_longer || goes_on)
}

fn is_letter(character: char) -> bool {
    character.is_ascii_alphabetic()
}

/// A comma that TeX is kept from spacing.
const COMMA: &str = "{,}";

/// Commas in braces between digits are decimal points where they separate no groups of three: `0{,}5`.
fn with_decimal_points(text: &str) -> String {
    let pieces: Vec<&str> = text.split(COMMA).collect();
    let mut written = pieces[0].to_owned();
    for at in 1..pieces.len() {
        written.push_str(if is_decimal_comma(&pieces, at) { "." } else { COMMA });
        written.push_str(pieces[at]);
    }
    written
}

/// Whether the comma before a piece has digits on both sides that are no groups, and is the only one in them.
fn is_decimal_comma(pieces: &[&str], at: usize) -> bool {
    let (before, after) = (pieces[at - 1], pieces[at]);
    let whole = &before[before.trim_end_matches(is_digit).len()..];
    let fraction = &after[..digits(after)];
    let alone =
        (at == 1 || whole.len() < before.len()) && (at + 1 == pieces.len() || fraction.len() < after.len());
    let grouped = fraction.len() == 3 && whole.len() <= 3 && whole != "0";
    alone && !grouped && !whole.is_empty() && !fraction.is_empty()
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
        let after = after.trim_start_matches("\\!");
        let follows = after.trim_start();
        // A comma belongs to the number where a group of three digits follows it.
        let core = before.strip_suffix(',').filter(|_| digits(follows) == 3).unwrap_or(before);
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
    let known =
        is_plain_command(&lower) || with_variable(&lower).is_some() || matches!(lower.as_str(), "and" | "or");
    // Up to four capitals name points of a figure, and `AB` may be multiplied or divided as a length.
    let letters_of_a_figure = word.len() <= 4 && is_capitals(word);
    // Of two letters, only words that answer something: other pairs are products.
    let is_long = word.len() > 2 || matches!(lower.as_str(), "no" | "up" | "on" | "it");
    !known && !letters_of_a_figure && is_long
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
        Kind::Command(name) if name == "mu" && follows_value(refined) => refine_micro(raw, refined),
        // The name of an environment is no product of letters.
        Kind::Command(name) if matches!(name.as_str(), "begin" | "end") && raw.len() > 3 => {
            refined.extend_from_slice(&raw[..3]);
            3
        }
        other => replace_first(raw, other.clone(), refined),
    }
}

/// `\mu\text{m}` and `μm` behind a number are micrometres; `\mu m` is a product.
fn refine_micro(raw: &[Token], refined: &mut Vec<Token>) -> usize {
    let unit = raw.get(1).and_then(|next| match &next.kind {
        Kind::Text(text) => Some(text),
        Kind::Word(word) => Some(word).filter(|word| !next.spaced && unit::is_known(word)),
        _ => None,
    });
    match unit {
        Some(unit) => replace_first(raw, Kind::Text(format!("μ{unit}")), refined) + 1,
        None => replace_first(raw, raw[0].kind.clone(), refined),
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
    if let Some(length) = quantifier(&lower, raw, refined) {
        return length;
    }
    if let Some(length) = logarithm_to(&lower, raw, refined) {
        return length;
    }
    if is_plain_command(&lower) {
        return replace_first(raw, Kind::Command(lower), refined);
    }
    if let Some((function, variable)) = with_variable(word) {
        replace_first(raw, Kind::Command(function.to_owned()), refined);
        refined.push(Token { kind: Kind::Word(variable.to_owned()), spaced: false });
        return 1;
    }
    if is_of_prose(word, raw) {
        return replace_first(raw, known, refined);
    }
    refined.extend(letters(word, raw[0].spaced));
    1
}

/// `for all real x` without its variable, as one text.
fn quantifier(word: &str, raw: &[Token], refined: &mut Vec<Token>) -> Option<usize> {
    let words: Vec<&str> = raw.iter().map_while(word_of).take_while(|word| word.len() > 1).collect();
    let quantifies = word == "for" && words.get(1).is_some_and(|word| EACH.contains(word));
    quantifies.then(|| replace_first(raw, Kind::Text(words.join(" ")), refined) - 1 + words.len())
}

/// `log2(8)` as `log_2(8)`. The number is the base only where a bracket follows: `log 2` is a value.
fn logarithm_to(word: &str, raw: &[Token], refined: &mut Vec<Token>) -> Option<usize> {
    let [_, base, bracket, ..] = raw else {
        return None;
    };
    let is_base = matches!(base.kind, Kind::Number(_)) && !base.spaced;
    let is_call = bracket.kind == Kind::Mark('(') && !bracket.spaced;
    (word == "log" && is_base && is_call).then(|| {
        replace_first(raw, Kind::Command("log".to_owned()), refined);
        refined.push(Token { kind: Kind::Mark('_'), spaced: false });
        // The blank ends the base where its digits could go on as the argument.
        refined.push(base.clone());
        2
    })
}

/// `sinx`: a function and the variable that it is most often of. Other letters would make words.
fn with_variable(word: &str) -> Option<(&str, &str)> {
    const OF_VARIABLES: [&str; 10] = ["sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "ln"];
    let at = word.len().checked_sub(1).filter(|at| word.is_char_boundary(*at))?;
    let (function, variable) = word.split_at(at);
    (OF_VARIABLES.contains(&function) && matches!(variable, "x" | "y")).then_some((function, variable))
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
    // `5 min` is a time, `5 min(1, 2)` a product.
    let is_function =
        |word: &str| is_plain_command(word) && (!unit::is_known(word) || is_called(&raw[length..]));
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

fn is_called(rest: &[Token]) -> bool {
    rest.first().is_some_and(|token| matches!(token.kind, Kind::Mark('(' | '^' | '_')))
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
