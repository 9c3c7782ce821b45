//! Answers behind words such as "the answer is".

/// What follows the last of `words`, to the end of its sentence or one of `ends`.
pub(super) fn after(text: &str, words: &[String], ends: &[String]) -> Option<String> {
    // ASCII lower case keeps every byte's place.
    let lower = text.to_ascii_lowercase();
    let start = words.iter().filter_map(|word| last_end(&lower, word)).max()?;
    let rest = text[start..].trim_start_matches([':', '*', ' ', '\n', '\t', '#', '=', '\r']);
    let answer =
        // The sentence's point and emphasis marks in either order.
        sentence(rest, ends).trim().trim_end_matches('*').trim_end_matches('.').trim_end_matches('*').trim();
    // `The answer is: **` announces nothing.
    let has_content = answer.chars().any(char::is_alphanumeric) || answer.contains('\\');
    has_content.then(|| answer.to_owned())
}

/// Where the last occurrence of `word` ends; "answer isn't" is none of "answer is".
fn last_end(text: &str, word: &str) -> Option<usize> {
    // The apostrophe of `isn't` too.
    let goes_on = |end: &usize| {
        word.ends_with(char::is_alphabetic)
            && text[*end..].starts_with(|c: char| c.is_alphabetic() || matches!(c, '\'' | '’'))
    };
    text.rmatch_indices(word).map(|(at, _)| at + word.len()).find(|end| !goes_on(end))
}

/// The formula that `text` begins with, or its first sentence.
fn sentence<'a>(text: &'a str, ends: &[String]) -> &'a str {
    for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
        if let Some(inner) = text.strip_prefix(open)
            && let Some(end) = inner.find(close)
        {
            let after = &inner[end + close.len()..];
            // Several formulas, or a unit behind one, are one answer up to the sentence's end.
            let tail = first_line(after, ends);
            return if tail.trim_matches(['.', ' ', '*']).is_empty() {
                &inner[..end]
            } else {
                &text[..open.len() + end + close.len() + tail.len()]
            };
        }
    }
    first_line(text, ends)
}

fn first_line<'a>(text: &'a str, ends: &[String]) -> &'a str {
    let line = text.lines().next().unwrap_or("");
    let end = ends.iter().filter_map(|end| line.find(end.as_str())).min().unwrap_or(line.len());
    &line[..end]
}
