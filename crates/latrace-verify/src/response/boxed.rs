//! The last box of a response, found in one pass, unless its own sentence denies it: "obviously not
//! `\boxed{A}`", "`\boxed{A}` is wrong". Then the one before it is the last.

use crate::braces::group;
use crate::stance::is_box_denied;

/// What a response holds in boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boxed<'a> {
    /// The content of the last balanced box that is in no other.
    Found(&'a str),
    /// There are boxes, but the last is empty, or none is closed.
    Unusable,
    /// There is no box, or none that its sentence does not deny.
    Absent,
}

const COMMANDS: [&str; 2] = ["\\boxed", "\\fbox"];

/// Finds the last box that is balanced, within no other, and not denied by its sentence.
pub(super) fn last(text: &str) -> Boxed<'_> {
    // A response that denies more boxes than this states nothing.
    const MOST_DENIED: usize = 8;
    let boxes = all(text);
    let Some(boxes) = boxes else {
        return Boxed::Absent;
    };
    // A box that was begun and not closed was cut off: what stands before it is no answer.
    if boxes.is_empty() {
        return Boxed::Unusable;
    }
    let kept = (0..boxes.len()).rev().take(MOST_DENIED).find(|at| !is_denied(text, &boxes[..=*at]));
    kept.map_or(Boxed::Absent, |at| inner(boxes[at].content(text)))
}

/// What follows the last box that is in no other.
pub(super) fn behind_last(text: &str) -> &str {
    all(text).and_then(|boxes| boxes.last().map(|last| &text[last.behind..])).unwrap_or("")
}

/// Whether the last of some boxes, or the list that it ends, is denied by its sentence.
fn is_denied(text: &str, boxes: &[Span]) -> bool {
    let Some(last) = boxes.last() else {
        return false;
    };
    let joins = |pair: &[Span]| is_joint(&text[pair[0].behind..pair[1].at], 0);
    let members = 1 + boxes.windows(2).rev().take_while(|pair| joins(pair)).count();
    is_box_denied(&text[..boxes[boxes.len() - members].at], &text[last.behind..])
}

/// Where a box stands.
struct Span {
    /// Where its command begins.
    at: usize,
    start: usize,
    end: usize,
    /// Where what follows it begins.
    behind: usize,
}

impl Span {
    fn content<'a>(&self, text: &'a str) -> &'a str {
        &text[self.start..self.end]
    }
}

/// All boxes that are balanced and within no other, in order; `None` where there is none at all.
fn all(text: &str) -> Option<Vec<Span>> {
    let mut search = Search { text, open: Vec::new(), found: Vec::new(), any: false };
    let mut at = 0;
    // Byte by byte: all that is looked for is ASCII, which is never part of another character.
    while at < text.len() {
        at = search.step(at);
    }
    search.any.then_some(search.found)
}

/// One pass over a text.
struct Search<'a> {
    text: &'a str,
    /// Braces that are open: where, and where the command stands if a box begins there.
    open: Vec<(usize, Option<usize>)>,
    /// The boxes that were closed and are in no other that was.
    found: Vec<Span>,
    /// Whether there was a box at all.
    any: bool,
}

impl Search<'_> {
    /// Reads what stands at `at`, and returns where to continue.
    fn step(&mut self, at: usize) -> usize {
        match self.text.as_bytes()[at] {
            b'\\' => return self.command(at),
            b'{' => self.open.push((at, None)),
            b'}' => self.close(at),
            _ => {}
        }
        at + 1
    }

    fn close(&mut self, at: usize) {
        // A brace that closes nothing, or no box, changes nothing.
        if let Some((brace, Some(command))) = self.open.pop() {
            // Boxes close from the inside out: what was found within this one is a part of it.
            self.found.truncate(self.found.partition_point(|inner| inner.at < command));
            self.found.push(Span { at: command, start: brace + 1, end: at, behind: at + 1 });
        }
    }

    fn command(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let Some(command) = COMMANDS.iter().find(|command| rest.starts_with(**command)) else {
            // Escaped braces do not count.
            return at + 2;
        };
        self.any = true;
        self.after_command(at, at + command.len())
    }

    /// Takes the brace that opens a box, or the one word that is boxed without braces.
    fn after_command(&mut self, command: usize, at: usize) -> usize {
        let content = self.text[at..].trim_start_matches(' ');
        let start = self.text.len() - content.len();
        if content.starts_with('{') {
            self.open.push((start, Some(command)));
            return start + 1;
        }
        // `\boxed 7` boxes one word; `\boxedx` is no box.
        let word = content.find(ends_word).unwrap_or(content.len());
        if start > at && word > 0 {
            self.found.push(Span { at: command, start, end: start + word, behind: start + word });
        }
        start
    }
}

fn ends_word(character: char) -> bool {
    character.is_whitespace() || matches!(character, '$' | '\\' | '}' | ',' | '.')
}

/// A box's content without boxes around all of it.
fn inner(content: &str) -> Boxed<'_> {
    let mut content = content.trim();
    while let Some(nested) = nested(content) {
        content = nested.trim();
    }
    if content.is_empty() { Boxed::Unusable } else { Boxed::Found(content) }
}

/// The content of the one box that a text is.
fn nested(text: &str) -> Option<&str> {
    let rest = COMMANDS.iter().find_map(|command| text.strip_prefix(command))?.trim_start();
    group(rest).filter(|nested| nested.len() + 2 == rest.len())
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
    let parts = joined_contents(text, nouns)?;
    let is_list = parts.len() > 1 && !parts.contains(&"");
    is_list.then(|| parts.join(", "))
}

/// The contents of the last boxes that are joined, as they stand in the text.
fn joined_contents(text: &str, nouns: usize) -> Option<Vec<&str>> {
    // From the last box back, since that is the answer if nothing joins it to another.
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
    Some(contents)
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
    let plain = without_layout(gap);
    let words: Vec<&str> = plain.split_whitespace().collect();
    let words = without_name(&words);
    let others = words.iter().filter(|word| !joins(word)).count();
    // At least one joint, and nothing but letters beside it: a corrected result has a sentence between.
    words.len() > others && others <= nouns && words.iter().all(|word| joins(word) || is_alphabetic(word))
}

/// Commands and marks that lay out what stands between boxes.
const LAYOUT: [&str; 14] = [
    "\\text", "\\textbf", "\\quad", "\\qquad", "\\(", "\\)", "\\[", "\\]", "\\,", "\\;", "\\ ", "$", "{", "}",
];

fn without_layout(gap: &str) -> String {
    let plain = LAYOUT.iter().fold(gap.to_owned(), |gap, mark| gap.replace(mark, " "));
    plain.replace([',', ';'], " , ").replace('=', " = ")
}

/// The words before a name of the next box, `x =`.
fn without_name<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    match words {
        [before @ .., name, "="] if name.len() <= 3 => before,
        other => other,
    }
}

fn joins(word: &str) -> bool {
    matches!(word, "," | "and" | "or" | "&")
}

fn is_alphabetic(word: &str) -> bool {
    word.chars().all(char::is_alphabetic)
}
