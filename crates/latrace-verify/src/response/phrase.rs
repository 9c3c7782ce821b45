//! Answers behind words such as "the answer is".
//!
//! What follows the words is the answer, unless the sentence before them denies it ("I doubt that the answer
//! is", "if n is odd, the answer is"), or what follows takes it back ("which is wrong", "No, wait"). Then the
//! announcement before counts, as if these words were not there.

use std::ops::Range;

use super::value::is_wordless;
use crate::letter::is_letter;
use crate::lexicon::is_lead;
use crate::stance::{is_denial, is_denied_before, is_taken_back};

/// What follows the last of `words`, to the end of its sentence or one of `ends`.
pub(super) fn after(text: &str, words: &[String], ends: &[String]) -> Option<String> {
    // A response that denies more announcements than this states nothing.
    const MOST_DENIED: usize = 4;
    let lower = lower(text);
    let answers =
        announcements(&lower, words).take(MOST_DENIED).map(|(at, end)| (at, answer_at(text, end, ends)));
    let mut standing = answers.filter(|(at, answer)| {
        let (before, said, behind) = (&text[..*at], &text[answer.clone()], &text[answer.end..]);
        !is_denied_before(before) && !is_denial(said) && !is_taken_back(behind)
    });
    let (_, answer) = standing.next()?;
    let answer = without_close(&text[answer]);
    has_content(answer).then(|| answer.to_owned())
}

/// What follows the last of `words` if it is a value and nothing else, to the text's end, and nothing but
/// words that lead to an answer stands before it in its sentence.
pub(super) fn alone_after(text: &str, words: &[String]) -> Option<String> {
    let (start, end) = announcements(&lower(text), words).next()?;
    let sentence = text[..start].rsplit(['\n', '.', '!', '?', '。', '！', '？']).next().unwrap_or("");
    let lead = sentence.replace(['*', '#', ',', '，', '_'], " ");
    let answer = text[end..].trim_matches(is_around_value);
    (is_lead(&lead) && has_content(answer) && is_wordless(answer)).then(|| answer.to_owned())
}

/// Blanks, emphasis and the marks that end a sentence.
fn is_around_value(character: char) -> bool {
    character.is_whitespace() || matches!(character, '*' | '_' | '.' | '。' | ':' | '：')
}

/// Where the answer is that begins at `start`.
fn answer_at(text: &str, start: usize, ends: &[String]) -> Range<usize> {
    let rest = text[start..].trim_start_matches([':', '*', ' ', '\n', '\t', '#', '=', '\r']);
    let start = text.len() - rest.len();
    let answer = sentence(rest, ends);
    start + answer.start..start + answer.end
}

/// The text in lower case, with every byte in its place.
fn lower(text: &str) -> String {
    let lower = |c: char| {
        let mut lower = c.to_lowercase();
        lower.next().filter(|one| lower.len() == 0 && one.len_utf8() == c.len_utf8()).unwrap_or(c)
    };
    text.chars().map(lower).collect()
}

/// Where each of `words` stands, the last first: earlier ones may announce results of steps, or answers that
/// were revised.
fn announcements(lower: &str, words: &[String]) -> impl Iterator<Item = (usize, usize)> {
    let mut places: Vec<(usize, usize)> = words.iter().flat_map(|word| places(lower, word)).collect();
    places.sort_unstable_by_key(|(start, end)| std::cmp::Reverse((*end, *start)));
    places.into_iter()
}

/// Where a word stands; "answer isn't" is none of "answer is".
fn places(text: &str, word: &str) -> impl Iterator<Item = (usize, usize)> {
    let needs_end = word.ends_with(char::is_alphabetic) && word.is_ascii();
    let spans = text.match_indices(word).map(|(at, word)| (at, at + word.len()));
    let is_whole = move |(start, end): &(usize, usize)| {
        // Only words of ASCII letters are parted by blanks in every text.
        let begins = !word.starts_with(|c: char| c.is_ascii_alphabetic())
            || !text[..*start].ends_with(|c: char| c.is_ascii_alphabetic());
        begins && (!needs_end || !text[*end..].starts_with(continues_word))
    };
    spans.filter(is_whole)
}

/// A sentence without its full stop and emphasis marks, in either order.
fn without_close(sentence: &str) -> &str {
    let text = sentence.trim().trim_end_matches('*');
    // Dots at the end are more than a full stop: "7..." goes on.
    let is_stop = text.ends_with('.') && !text.ends_with("..");
    text.strip_suffix('.').filter(|_| is_stop).unwrap_or(text).trim_end_matches('*').trim()
}

/// `The answer is: **` announces nothing.
fn has_content(answer: &str) -> bool {
    answer.chars().any(char::is_alphanumeric) || answer.contains('\\')
}

/// Letters, and the apostrophe of `isn't`.
fn continues_word(character: char) -> bool {
    character.is_alphabetic() || matches!(character, '\'' | '’')
}

/// Delimiters of formulas, the longer before their beginnings.
const DELIMITERS: [(&str, &str); 4] = [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")];

/// Where the formula is that `text` begins with, or its first sentence.
fn sentence(text: &str, ends: &[String]) -> Range<usize> {
    DELIMITERS
        .iter()
        .find_map(|delimiters| formula(text, *delimiters, ends))
        .unwrap_or_else(|| 0..first_line(text, ends).len())
}

/// Where the formula between these delimiters is; with what follows it, if that says more.
fn formula(text: &str, (open, close): (&str, &str), ends: &[String]) -> Option<Range<usize>> {
    let (inner, after) = text.strip_prefix(open)?.split_once(close)?;
    // Several formulas, or a unit behind one, are one answer up to the sentence's end.
    let tail = first_line(after, ends);
    let end = open.len() + inner.len();
    let is_alone = tail.trim_matches(['.', ' ', '*']).is_empty();
    Some(if is_alone { open.len()..end } else { 0..end + close.len() + tail.len() })
}

/// Whether a line begins with an option's letter and a point: `B. False`.
fn begins_with_label(line: &str) -> bool {
    let core = line.trim_start_matches(['(', '*', '"']);
    let behind = core.get(1..).filter(|_| is_letter(&core[..1]));
    behind.is_some_and(|behind| behind.trim_start_matches([')', '*', '"']).starts_with(". "))
}

fn first_line<'a>(text: &'a str, ends: &[String]) -> &'a str {
    let line = text.lines().next().unwrap_or("");
    // The point behind an option's letter ends no sentence, whatever its text is.
    if begins_with_label(line) {
        return line;
    }
    let end = ends.iter().filter_map(|end| line.find(end.as_str())).min().unwrap_or(line.len());
    &line[..end]
}
