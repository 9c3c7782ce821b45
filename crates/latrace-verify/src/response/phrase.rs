//! Answers behind words such as "the answer is".

/// What follows the last of `words`, to the end of its sentence or one of `ends`.
pub(super) fn after(text: &str, words: &[String], ends: &[String]) -> Option<String> {
    // ASCII lower case keeps every byte's place.
    let lower = text.to_ascii_lowercase();
    // The last announcement counts: earlier ones may be of steps, or of answers that were revised.
    let start = words.iter().filter_map(|word| last_end(&lower, word)).max()?;
    let rest = text[start..].trim_start_matches([':', '*', ' ', '\n', '\t', '#', '=', '\r']);
    let answer = without_close(sentence(rest, ends));
    has_content(answer).then(|| answer.to_owned())
}

/// A sentence without its full stop and emphasis marks, in either order.
fn without_close(sentence: &str) -> &str {
    sentence.trim().trim_end_matches('*').trim_end_matches('.').trim_end_matches('*').trim()
}

/// `The answer is: **` announces nothing.
fn has_content(answer: &str) -> bool {
    answer.chars().any(char::is_alphanumeric) || answer.contains('\\')
}

/// Where the last occurrence of `word` ends; "answer isn't" is none of "answer is".
fn last_end(text: &str, word: &str) -> Option<usize> {
    let continues = |end: &usize| text[*end..].starts_with(continues_word);
    let mut ends = text.rmatch_indices(word).map(|(at, _)| at + word.len());
    if word.ends_with(char::is_alphabetic) { ends.find(|end| !continues(end)) } else { ends.next() }
}

/// Letters, and the apostrophe of `isn't`.
fn continues_word(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '\'' | '’')
}

/// Delimiters of formulas, the longer before their beginnings.
const DELIMITERS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")];

/// The formula that `text` begins with, or its first sentence.
fn sentence<'a>(text: &'a str, ends: &[String]) -> &'a str {
    DELIMITERS
        .iter()
        .find_map(|delimiters| formula(text, *delimiters, ends))
        .unwrap_or_else(|| first_line(text, ends))
}

/// The formula between these delimiters; with what follows it, if that says more.
fn formula<'a>(text: &'a str, (open, close): (&str, &str), ends: &[String]) -> Option<&'a str> {
    let (inner, after) = text.strip_prefix(open)?.split_once(close)?;
    // Several formulas, or a unit behind one, are one answer up to the sentence's end.
    let tail = first_line(after, ends);
    let length = open.len() + inner.len() + close.len() + tail.len();
    Some(if tail.trim_matches(['.', ' ', '*']).is_empty() { inner } else { &text[..length] })
}

fn first_line<'a>(text: &'a str, ends: &[String]) -> &'a str {
    let line = text.lines().next().unwrap_or("");
    let end = ends.iter().filter_map(|end| line.find(end.as_str())).min().unwrap_or(line.len());
    &line[..end]
}
