//! Where the answer stands in a response.
//!
//! The thought is dropped; then the last balanced box counts, else the last of the forms in `ANSWER_FORMS`, else the
//! whole text if it is a bare answer, else the last formula or number. An empty or unclosed box is no answer.

mod boxed;
mod thought;

use boxed::Boxed;
pub use thought::visible;

/// Words before an answer, lower case. The last place at which one of them stands counts.
const ANSWER_FORMS: [&str; 9] = ["answer is", "answer:", "answers are", "answer**:", "answer:**", "# answer", "####", "answer =", "answer\n"];

/// Words that end an answer within its sentence.
const ENDS: [&str; 9] = [", not ", ", because", ", since", " because ", " since ", ", so ", ", which", ". ", " (since"];

/// The answer of a response, as it stands there; `None` where there is none.
pub fn answer(response: &str) -> Option<String> {
    let text = visible(response)?;
    match boxed::last(text) {
        Boxed::Found(content) => return non_empty(content),
        Boxed::Unusable => return None,
        Boxed::Absent => {}
    }
    if let Some(answer) = after_form(text) {
        return non_empty(&answer);
    }
    let trimmed = text.trim();
    if is_bare(trimmed) { non_empty(trimmed) } else { last_value(trimmed).and_then(|value| non_empty(&value)) }
}

/// The answer that a box or one of the forms marks.
pub fn marked(response: &str) -> Option<String> {
    let text = visible(response)?;
    match boxed::last(text) {
        Boxed::Found(content) => non_empty(content),
        Boxed::Unusable => None,
        Boxed::Absent => after_form(text).and_then(|answer| non_empty(&answer)),
    }
}

/// The answer in a reference: its last box, what follows `####`, or all of it.
pub fn reference(gold: &str) -> String {
    if let Boxed::Found(content) = boxed::last(gold) {
        return content.trim().to_owned();
    }
    match gold.rfind("####") {
        Some(at) => gold[at + 4..].trim().to_owned(),
        None => gold.trim().to_owned(),
    }
}

fn non_empty(text: &str) -> Option<String> {
    let blank = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{feff}');
    let trimmed = text.trim_matches(blank);
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// What follows the last of the forms, to the end of its sentence.
fn after_form(text: &str) -> Option<String> {
    // ASCII lower case keeps every byte's place.
    let lower = text.to_ascii_lowercase();
    let (start, _) = ANSWER_FORMS.iter().filter_map(|form| lower.rfind(form).map(|at| (at + form.len(), form))).max_by_key(|(at, _)| *at)?;
    let rest = text[start..].trim_start_matches([':', '*', ' ', '\n', '\t', '#', '=', '\r']);
    let answer = sentence(rest).trim().trim_end_matches('*').trim_end_matches('.').trim_end_matches('*').trim();
    let has_content = answer.chars().any(char::is_alphanumeric) || answer.contains('\\');
    has_content.then(|| answer.to_owned())
}

/// The formula that `text` begins with, or its first sentence.
fn sentence(text: &str) -> &str {
    for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
        if let Some(inner) = text.strip_prefix(open)
            && let Some(end) = inner.find(close)
        {
            let after = &inner[end + close.len()..];
            // Several formulas, or a unit behind one, are one answer up to the sentence's end.
            let tail = first_line(after);
            return if tail.trim_matches(['.', ' ', '*']).is_empty() { &inner[..end] } else { &text[..open.len() + end + close.len() + tail.len()] };
        }
    }
    first_line(text)
}

fn first_line(text: &str) -> &str {
    let line = text.lines().next().unwrap_or("");
    let end = ENDS.iter().filter_map(|end| line.find(end)).min().unwrap_or(line.len());
    &line[..end]
}

/// Whether a text is an answer rather than prose around one.
fn is_bare(text: &str) -> bool {
    const MOST_WORDS: usize = 4;
    let outside = without_formulas(text);
    let words =
        outside.split(|c: char| !c.is_ascii_alphabetic() && c != '\'').filter(|word| word.len() > 1 && word.chars().any(|c| c.is_ascii_lowercase())).count();
    let starts_in_prose = outside.split_whitespace().take_while(|word| word.len() > 1 && word.chars().all(|c| c.is_ascii_alphabetic())).count() >= 2;
    let holds_value = text.contains('$') || text.bytes().any(|byte| byte.is_ascii_digit());
    words <= MOST_WORDS && !(starts_in_prose && holds_value && words > 2) && text.lines().count() <= 3
}

/// The text with the formulas and commands in it blanked out.
fn without_formulas(text: &str) -> String {
    let mut outside = String::new();
    for (at, part) in text.split('$').enumerate() {
        outside.push_str(if at % 2 == 0 { part } else { " " });
    }
    let mut plain = String::new();
    for part in outside.split('\\') {
        let rest = if plain.is_empty() && outside.starts_with(part) { part } else { part.trim_start_matches(|c: char| c.is_ascii_alphabetic()) };
        plain.push(' ');
        plain.push_str(rest);
    }
    plain
}

/// The formula or the number that ends last.
fn last_value(text: &str) -> Option<String> {
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
fn last_number(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let last = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let belongs = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',' | b'/');
    let mut start = last;
    while start > 0 && belongs(bytes[start - 1]) {
        start -= 1;
    }
    while matches!(bytes[start], b'.' | b',' | b'/') && !(bytes[start] == b'.' && bytes[start + 1].is_ascii_digit()) {
        start += 1;
    }
    let signed = start > 0 && bytes[start - 1] == b'-' && !(start > 1 && bytes[start - 2].is_ascii_alphanumeric());
    let from = start - usize::from(signed);
    let percent = usize::from(bytes.get(last) == Some(&b'%'));
    Some((last, text[from..last + percent].to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Option<&str>) {
        assert_eq!(answer(response).as_deref(), expected, "{response:?}");
    }

    #[test]
    fn the_last_balanced_box_counts() {
        check("\\boxed{1} then \\boxed{2}.", Some("2"));
        check("\\boxed{\\boxed{5}}", Some("5"));
        check("\\boxed{\\frac{1}{2}} and \\boxed{3", Some("\\frac{1}{2}"));
        check("\\fbox{5}", Some("5"));
        check("$\\boxed 7$", Some("7"));
        check("the answer is 3, \\boxed{}", None);
        check("the answer is \\boxed{3", None);
        check("\\boxed{\\left\\{1,2\\right\\}}", Some("\\left\\{1,2\\right\\}"));
    }

    #[test]
    fn a_thought_holds_no_answer() {
        check("<think>\\boxed{1}</think> The answer is 2.", Some("2"));
        check("<think>\\boxed{1}", None);
        check("\\boxed{1}</think>\\boxed{2}", Some("2"));
        check("<|begin_of_thought|>\\boxed{1}<|end_of_thought|><|begin_of_solution|>\\boxed{6}<|end_of_solution|>", Some("6"));
    }

    #[test]
    fn forms_come_before_bare_values() {
        check("So the answer is: $42$", Some("42"));
        check("The final answer is $64$. I hope it is correct.", Some("64"));
        check("The answer is 5, not 6.", Some("5"));
        check("He has 3.\n#### 1,234", Some("1,234"));
        check("The final answer is **17**.", Some("17"));
        check("# Answer\n\n42", Some("42"));
    }

    #[test]
    fn without_a_form_the_last_value_counts() {
        check("There are 2 here and then we find 10", Some("10"));
        check("In the end we see that it costs $1,250.50 in all.", Some("1,250.50"));
        check("So we conclude that the sum equals $x+1$.", Some("x+1"));
        check("125 miles", Some("125 miles"));
        check("we cannot tell from what is given here", None);
    }
}
