//! Answers that nothing marks: bare ones, formulas, numbers.

/// Whether a text is an answer rather than prose around one.
pub(super) fn is_bare(text: &str) -> bool {
    const MOST_WORDS: usize = 4;
    const MOST_LINES: usize = 3;
    let outside = without_formulas(text);
    let words = count_words(&outside);
    // `He has 3 apples left` begins with words; `125 miles` with its value.
    let holds_value = text.contains('$') || text.bytes().any(|byte| byte.is_ascii_digit());
    let is_prose = words > 2 && holds_value && starts_in_prose(&outside);
    words <= MOST_WORDS && !is_prose && text.lines().count() <= MOST_LINES
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

/// The formula or the number that ends last.
pub(super) fn last_value(text: &str) -> Option<String> {
    // The number first: of two that end together the formula, which is later here, holds the number.
    let values = [last_number(text), last_formula(text)].into_iter().flatten();
    values.max_by_key(|(end, _)| *end).map(|(_, value)| value)
}

fn last_formula(text: &str) -> Option<(usize, String)> {
    let delimited = [("\\(", "\\)"), ("\\[", "\\]")].map(|(open, close)| last_between(text, open, close));
    let formulas = delimited.into_iter().chain([last_between_dollars(text)]).flatten();
    formulas.filter(|(_, formula)| !formula.trim().is_empty()).max_by_key(|(end, _)| *end)
}

/// What stands between the last of two delimiters, and where the second ends.
fn last_between(text: &str, open: &str, close: &str) -> Option<(usize, String)> {
    let (before, after) = text.rsplit_once(close)?;
    let (_, formula) = before.rsplit_once(open)?;
    Some((text.len() - after.len(), formula.to_owned()))
}

fn last_between_dollars(text: &str) -> Option<(usize, String)> {
    // An odd number of signs is money, not a formula.
    if !text.matches('$').count().is_multiple_of(2) {
        return None;
    }
    let end = text.rfind('$')?;
    let (_, formula) = text[..end].trim_end_matches('$').rsplit_once('$')?;
    Some((end + 1, formula.to_owned()))
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
