//! The last box of a response, found in one pass.

use crate::braces::group;

/// What a response holds in boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boxed<'a> {
    /// The content of the last balanced box that is in no other.
    Found(&'a str),
    /// There are boxes, but the last is empty, or none is closed.
    Unusable,
    /// There is no box.
    Absent,
}

const COMMANDS: [&str; 2] = ["\\boxed", "\\fbox"];

/// Finds the last box that is balanced and within no other.
pub(super) fn last(text: &str) -> Boxed<'_> {
    let mut open: Vec<(usize, bool)> = Vec::new();
    let mut found: Option<(usize, usize)> = None;
    let mut any = false;
    let mut at = 0;
    let bytes = text.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => match COMMANDS.iter().find(|command| text[at..].starts_with(**command)) {
                Some(command) => {
                    any = true;
                    at = after_command(text, at + command.len(), &mut open, &mut found);
                }
                // Escaped braces do not count.
                None => at += 2,
            },
            b'{' => {
                open.push((at, false));
                at += 1;
            }
            b'}' => {
                if let Some((start, true)) = open.pop() {
                    found = Some((start + 1, at));
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    match found {
        Some((start, end)) => inner(&text[start..end]),
        None if any => Boxed::Unusable,
        None => Boxed::Absent,
    }
}

/// Takes the brace that opens a box, or the one word that is boxed without braces.
fn after_command(
    text: &str,
    at: usize,
    open: &mut Vec<(usize, bool)>,
    found: &mut Option<(usize, usize)>,
) -> usize {
    let rest = &text[at..];
    let blanks = rest.len() - rest.trim_start_matches(' ').len();
    let start = at + blanks;
    if text[start..].starts_with('{') {
        open.push((start, true));
        return start + 1;
    }
    let word = text[start..]
        .find(|c: char| c.is_whitespace() || matches!(c, '$' | '\\' | '}' | ',' | '.'))
        .unwrap_or(text.len() - start);
    if blanks > 0 && word > 0 {
        *found = Some((start, start + word));
    }
    start
}

/// A box's content without boxes around all of it.
fn inner(content: &str) -> Boxed<'_> {
    let mut content = content.trim();
    while let Some(rest) =
        COMMANDS.iter().find_map(|command| content.strip_prefix(command)).map(str::trim_start)
        && let Some(nested) = group(rest).filter(|nested| nested.len() + 2 == rest.len())
    {
        content = nested.trim();
    }
    if content.is_empty() { Boxed::Unusable } else { Boxed::Found(content) }
}

/// The contents of the last box and those side by side with it, as a list; `None` where it stands alone. Only
/// `and`, `or` and commas stand between boxes of one list, perhaps with a name of the next: `x=\boxed{1}` or
/// `x=\boxed{2}`.
pub(super) fn joined(text: &str) -> Option<String> {
    joined_over(text, 0)
}

/// The same for a reference, where the noun that a box counts may follow it: `\boxed{1} papers and \boxed{2}
/// bins`.
pub(super) fn joined_with_nouns(text: &str) -> Option<String> {
    joined_over(text, 1)
}

fn joined_over(text: &str, nouns: usize) -> Option<String> {
    let mut start = text.rfind(COMMANDS[0])?;
    let mut contents = vec![content_at(text, start)?.1];
    while let Some(before) = text[..start].rfind(COMMANDS[0]) {
        let (end, content) = content_at(text, before)?;
        if end > start || !is_joint(&text[end..start], nouns) {
            break;
        }
        contents.push(content);
        start = before;
    }
    contents.reverse();
    (contents.len() > 1 && contents.iter().all(|content| !content.is_empty())).then(|| contents.join(", "))
}

/// Where the box that begins at `at` ends, and what it holds.
fn content_at(text: &str, at: usize) -> Option<(usize, &str)> {
    let inside = text[at + COMMANDS[0].len()..].trim_start();
    let content = group(inside)?;
    Some((text.len() - inside.len() + content.len() + 2, content.trim()))
}

/// Whether what stands between two boxes joins them, with at most so many other words.
fn is_joint(gap: &str, nouns: usize) -> bool {
    const MOST: usize = 60;
    if gap.len() > MOST {
        return false;
    }
    let plain = [
        "\\text", "\\textbf", "\\quad", "\\qquad", "\\(", "\\)", "\\[", "\\]", "\\,", "\\;", "\\ ", "$", "{",
        "}",
    ]
    .iter()
    .fold(gap.to_owned(), |gap, mark| gap.replace(mark, " "));
    let plain = plain.replace([',', ';'], " , ").replace('=', " = ");
    let words: Vec<&str> = plain.split_whitespace().collect();
    let is_comma = |word: &str| matches!(word, "," | "and" | "or" | "&");
    // A name of the next box, `x =`.
    let words = match words.as_slice() {
        [before @ .., name, "="] if name.len() <= 3 => before.to_vec(),
        other => other.to_vec(),
    };
    let others = words.iter().filter(|word| !is_comma(word)).count();
    words.len() > others
        && others <= nouns
        && words.iter().all(|word| is_comma(word) || word.chars().all(char::is_alphabetic))
}
