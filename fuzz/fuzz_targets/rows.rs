//! What both readers of rows are fed.

use std::convert::Infallible;

use latrace_io::rows::{BadRows, RowReader};

/// Reads all rows of a file with these bytes and this extension.
pub fn read(bytes: &[u8], extension: &str) {
    let file = tempfile::Builder::new().suffix(extension).tempfile().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("the file can be written");
    let Ok(mut reader) = RowReader::open(file.path(), BadRows::Skip) else { return };
    while let Ok(Some(_)) = reader.next_with(|_, row| Ok::<_, Infallible>(row)) {}
}
