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
    let mut search = Search { text, open: Vec::new(), found: None, any: false };
    let mut at = 0;
    while at < text.len() {
        at = search.step(at);
    }
    match search.found {
        Some((start, end)) => inner(&text[start..end]),
        // A box that was begun and not closed was cut off: what stands before it is no answer.
        None if search.any => Boxed::Unusable,
        None => Boxed::Absent,
    }
}

/// One pass over a text.
struct Search<'a> {
    text: &'a str,
    /// Braces that are open: where, and whether a box begins there.
    open: Vec<(usize, bool)>,
    /// The content of the last box that was closed: the outermost, since boxes close from the inside out.
    found: Option<(usize, usize)>,
    /// Whether there was a box at all.
    any: bool,
}

impl Search<'_> {
    /// Reads what stands at `at`, and says where to go on.
    fn step(&mut self, at: usize) -> usize {
        match self.text.as_bytes()[at] {
            b'\\' => return self.command(at),
            b'{' => self.open.push((at, false)),
            b'}' => {
                if let Some((start, true)) = self.open.pop() {
                    self.found = Some((start + 1, at));
                }
            }
            _ => {}
        }
        at + 1
    }

    fn command(&mut self, at: usize) -> usize {
        match COMMANDS.iter().find(|command| self.text[at..].starts_with(**command)) {
            Some(command) => {
                self.any = true;
                self.after_command(at + command.len())
            }
            // Escaped braces do not count.
            None => at + 2,
        }
    }

    /// Takes the brace that opens a box, or the one word that is boxed without braces.
    fn after_command(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let blanks = rest.len() - rest.trim_start_matches(' ').len();
        let start = at + blanks;
        if self.text[start..].starts_with('{') {
            self.open.push((start, true));
            return start + 1;
        }
        let ends_word = |c: char| c.is_whitespace() || matches!(c, '$' | '\\' | '}' | ',' | '.');
        let word = self.text[start..].find(ends_word).unwrap_or(self.text.len() - start);
        // `\boxed 7` boxes one word; `\boxedx` is no box.
        if blanks > 0 && word > 0 {
            self.found = Some((start, start + word));
        }
        start
    }
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
        // A box around the next one, or prose between them: no list.
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
    // At least one joint, and nothing but letters beside it: a corrected result has a sentence between.
    words.len() > others
        && others <= nouns
        && words.iter().all(|word| is_comma(word) || word.chars().all(char::is_alphabetic))
}
