//! The last box of a response, found in one pass.

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
fn after_command(text: &str, at: usize, open: &mut Vec<(usize, bool)>, found: &mut Option<(usize, usize)>) -> usize {
    let rest = &text[at..];
    let blanks = rest.len() - rest.trim_start_matches(' ').len();
    let start = at + blanks;
    if text[start..].starts_with('{') {
        open.push((start, true));
        return start + 1;
    }
    let word = text[start..].find(|c: char| c.is_whitespace() || matches!(c, '$' | '\\' | '}' | ',' | '.')).unwrap_or(text.len() - start);
    if blanks > 0 && word > 0 {
        *found = Some((start, start + word));
    }
    start
}

/// A box's content without boxes around all of it.
fn inner(content: &str) -> Boxed<'_> {
    let trimmed = content.trim();
    let nested = COMMANDS.iter().find_map(|command| trimmed.strip_prefix(command)).and_then(|rest| rest.trim_start().strip_prefix('{'));
    match nested.and_then(|rest| rest.strip_suffix('}')) {
        Some(unwrapped) => inner(unwrapped),
        None if trimmed.is_empty() => Boxed::Unusable,
        None => Boxed::Found(trimmed),
    }
}
