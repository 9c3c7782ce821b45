//! No bytes make the reader of Parquet panic or give rows without end.
#![no_main]

use std::convert::Infallible;

use latrace_io::rows::{BadRows, RowReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a temporary file");
    std::fs::write(file.path(), bytes).expect("the file can be written");
    let Ok(mut reader) = RowReader::open(file.path(), BadRows::Skip) else { return };
    while let Ok(Some(_)) = reader.next_with(|_, row| Ok::<_, Infallible>(row)) {}
});
