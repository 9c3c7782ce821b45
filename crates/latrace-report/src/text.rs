//! Texts that several parts of the report share.

use std::path::Path;

/// The first `letters` characters of a text, with an ellipsis if there are more.
pub(crate) fn shortened(text: String, letters: usize) -> String {
    // By characters: a cut at a number of bytes could fall into the middle of one.
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A text with a capital first letter.
pub(crate) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// The context of an error of reading a file.
pub(crate) fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// The context of an error of reading a folder.
pub(crate) fn cannot_read_folder(path: &Path) -> String {
    format!("cannot read the folder {}", path.display())
}
