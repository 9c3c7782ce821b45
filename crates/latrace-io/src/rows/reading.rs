//! Rows in, one by one, with the policy for bad ones.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{BadRow, Format, Place, Row, describe, parquet};

/// What to do with a row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRows {
    /// Stop the work.
    Stop,
    /// Skip it with a warning, and count it.
    Skip,
}

/// Reads a file's rows one by one, applying the policy for bad rows and counting what it leaves out.
pub struct RowReader {
    path: PathBuf,
    rows: RowIterator,
    bad_rows: BadRows,
    skipped: u64,
}

impl fmt::Debug for RowReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowReader")
            .field("path", &self.path)
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

impl RowReader {
    /// Opens `path`; the extension says the format.
    pub fn open(path: &Path, bad_rows: BadRows) -> Result<RowReader> {
        let format = Format::of(path)?;
        let rows: RowIterator = match format {
            Format::JsonLines => json_rows(path)?,
            Format::Parquet => Box::new(
                parquet::read(path)?.map(|read| read.map(|(place, row)| Source { place, row, text: None })),
            ),
        };
        Ok(RowReader { path: path.to_owned(), rows, bad_rows, skipped: 0 })
    }

    /// The next row as `parse` reads it; `None` at the end. A row that `parse` refuses is a bad row.
    pub fn next_with<T, E: fmt::Display + 'static>(
        &mut self,
        mut parse: impl FnMut(Place, Row) -> Result<T, E>,
    ) -> Result<Option<T>> {
        self.next_with_text(|place, row, _| parse(place, row))
    }

    /// The same with the row's JSON text where it holds integers that a [`Value`] may not hold exactly.
    pub fn next_with_text<T, E: fmt::Display + 'static>(
        &mut self,
        mut parse: impl FnMut(Place, Row, Option<&str>) -> Result<T, E>,
    ) -> Result<Option<T>> {
        while let Some(next) = self.rows.next() {
            let parsed = next.and_then(|Source { place, row, text }| {
                parse(place, row, text.as_deref())
                    .map_err(|problem| BadRow::new(&self.path, place, problem).into())
            });
            match parsed {
                Ok(value) => return Ok(Some(value)),
                // Nothing else is skipped: after a failed read, the rows behind it may be damaged too.
                Err(error) if self.bad_rows == BadRows::Skip && error.is::<BadRow>() => {
                    self.skipped += 1;
                    tracing::warn!("skipped: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Bad rows left out so far.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

/// A row as it was read, with its JSON text where that says more than the row.
struct Source {
    place: Place,
    row: Row,
    text: Option<String>,
}

type RowIterator = Box<dyn Iterator<Item = Result<Source>>>;

/// JSON Lines, or a whole JSON array.
fn json_rows(path: &Path) -> Result<RowIterator> {
    let cannot = || format!("cannot read {}", path.display());
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).with_context(cannot)?);
    skip_byte_order_mark(&mut reader).with_context(cannot)?;
    let first = reader.fill_buf().with_context(cannot)?.trim_ascii_start().first().copied();
    // A line of JSON Lines begins with a brace, since it is an object.
    if first == Some(b'[') {
        return array_rows(path, reader);
    }
    Ok(Box::new(JsonLines { path: path.to_owned(), reader, line: 0, buffer: Vec::new() }))
}

fn array_rows(path: &Path, mut reader: impl Read) -> Result<RowIterator> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    // As texts: a `Value` would have rounded long integers.
    let values: Vec<Box<RawValue>> =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid JSON", path.display()))?;
    let path = path.to_owned();
    let row = move |(value, number): (Box<RawValue>, u64)| {
        source(&path, Place::Row(number), value.get().as_bytes())
    };
    Ok(Box::new(values.into_iter().zip(1..).map(row)))
}

fn skip_byte_order_mark(reader: &mut impl BufRead) -> std::io::Result<()> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if reader.fill_buf()?.starts_with(MARK) {
        reader.consume(MARK.len());
    }
    Ok(())
}

struct JsonLines {
    path: PathBuf,
    reader: BufReader<File>,
    line: u64,
    buffer: Vec<u8>,
}

impl Iterator for JsonLines {
    type Item = Result<Source>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.buffer.clear();
            match self.reader.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(error).with_context(|| self.cannot())),
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Some(self.parse_line());
            }
        }
    }
}

impl JsonLines {
    fn cannot(&self) -> String {
        format!("cannot read {} after line {}", self.path.display(), self.line)
    }

    fn parse_line(&self) -> Result<Source> {
        source(&self.path, Place::Line(self.line), &self.buffer)
    }
}

/// The row that a JSON text holds.
fn source(path: &Path, place: Place, text: &[u8]) -> Result<Source> {
    let row = match serde_json::from_slice(text) {
        Ok(Value::Object(row)) => row,
        Ok(other) => return Err(no_object(path, place, &describe(&other))),
        Err(error) => return Err(no_object(path, place, &invalid(&error))),
    };
    let text = has_long_integer(text).then(|| String::from_utf8_lossy(text).into_owned());
    Ok(Source { place, row, text })
}

fn no_object(path: &Path, place: Place, got: &str) -> anyhow::Error {
    BadRow::new(path, place, format!("expected a JSON object, got {got}")).into()
}

fn invalid(error: &serde_json::Error) -> String {
    // serde counts lines from the beginning of the row, not of the file.
    let reason = error.to_string().replace(" at line 1 column ", " at column ");
    format!("invalid JSON: {reason}")
}

/// Whether a text holds digits that may be an integer beyond 64 bits.
fn has_long_integer(text: &[u8]) -> bool {
    // An integer of 19 digits always fits `u64`, but one with a minus sign not always `i64`.
    const LONG: usize = 19;
    let mut run = 0;
    text.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= LONG
    })
}
