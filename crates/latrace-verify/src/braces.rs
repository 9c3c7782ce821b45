//! Braces of LaTeX, for whoever reads an answer or looks for one.

/// The inside of the braces that `text` begins with.
pub(crate) fn group(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            // `\{` and `\}` are characters of the text.
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '{' => depth += 1,
            '}' if depth == 1 => return Some(&text[1..at]),
            '}' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}
