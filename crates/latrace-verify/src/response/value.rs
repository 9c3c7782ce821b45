//! Answers that nothing marks: bare ones, formulas, numbers.

/// Whether a text is an answer rather than prose around one.
pub(super) fn is_bare(text: &str) -> bool {
    const MOST_WORDS: usize = 4;
    let outside = without_formulas(text);
    let words = outside
        .split(|c: char| !c.is_ascii_alphabetic() && c != '\'')
        .filter(|word| word.len() > 1 && word.chars().any(|c| c.is_ascii_lowercase()))
        .count();
    // `He has 3 apples left` begins with words; `125 miles` with its value.
    let starts_in_prose = outside
        .split_whitespace()
        .take_while(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic()))
        .count()
        >= 2;
    let holds_value = text.contains('$') || text.bytes().any(|byte| byte.is_ascii_digit());
    words <= MOST_WORDS && !(starts_in_prose && holds_value && words > 2) && text.lines().count() <= 3
}

/// The text with the formulas and commands in it blanked out.
fn without_formulas(text: &str) -> String {
    let mut outside = String::new();
    for (at, part) in text.split('$').enumerate() {
        // Dollar signs come in pairs around formulas: every other part is inside one.
        outside.push_str(if at % 2 == 0 { part } else { " " });
    }
    let mut plain = String::new();
    for part in outside.split('\\') {
        let rest = if plain.is_empty() && outside.starts_with(part) {
            part
        } else {
            // A command's name is no word of prose.
            part.trim_start_matches(|c: char| c.is_ascii_alphabetic())
        };
        plain.push(' ');
        plain.push_str(rest);
    }
    plain
}

/// The formula or the number that ends last.
pub(super) fn last_value(text: &str) -> Option<String> {
    match (last_formula(text), last_number(text)) {
        (Some((end, formula)), Some((other, number))) => Some(if end >= other { formula } else { number }),
        (Some((_, value)), None) | (None, Some((_, value))) => Some(value),
        (None, None) => None,
    }
}

fn last_formula(text: &str) -> Option<(usize, String)> {
    let delimited = [("\\(", "\\)"), ("\\[", "\\]")].into_iter().filter_map(|(open, close)| {
        let end = text.rfind(close)?;
        let start = text[..end].rfind(open)? + open.len();
        Some((end + close.len(), text[start..end].to_owned()))
    });
    let dollars = || {
        let closing = text.rfind('$')?;
        let end = text[..closing].trim_end_matches('$').len();
        let start = text[..end].rfind('$')? + 1;
        // An odd number of signs is money, not a formula.
        text.matches('$').count().is_multiple_of(2).then(|| (closing + 1, text[start..end].to_owned()))
    };
    delimited.chain(dollars()).filter(|(_, formula)| !formula.trim().is_empty()).max_by_key(|(end, _)| *end)
}

/// The last number with its sign, digit groups, fraction and percent sign.
pub(super) fn last_number(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let last = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    // All bytes looked at are ASCII, so every index is a character's.
    let belongs = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'/');
    let mut start = last;
    while start > 0 && belongs(bytes[start - 1]) {
        start -= 1;
    }
    // A comma or a slash before the first digit belongs to the text; a point begins `.5`.
    while matches!(bytes[start], b'.' | b',' | b'/')
        && !(bytes[start] == b'.' && bytes[start + 1].is_ascii_digit())
    {
        start += 1;
    }
    let signed =
        start > 0 && bytes[start - 1] == b'-' && !(start > 1 && bytes[start - 2].is_ascii_alphanumeric());
    // `x-3` and `5-3` are differences; their last number has no sign.
    let from = start - usize::from(signed);
    let percent = usize::from(bytes.get(last) == Some(&b'%'));
    // "It is not 5" says nothing.
    let before = text[..from].trim_end().to_ascii_lowercase();
    if before.ends_with(" not") || before.ends_with("n't") {
        return None;
    }
    Some((last, text[from..last + percent].to_owned()))
}
