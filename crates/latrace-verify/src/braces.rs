//! Braces of LaTeX, for whatever reads an answer or looks for one.

/// The inside of the braces that `text` begins with.
pub(crate) fn group(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('{')?;
    closing_brace(inside).map(|end| &inside[..end])
}

/// Whether every brace of a text has its counterpart.
pub(crate) fn is_balanced(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut escaped = false;
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return false,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    depth == 0
}

/// Where the brace is that closes one before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            // `\{` and `\}` are characters of the text.
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}
