//! Rows in, one by one, with the policy for bad ones.

use std::collections::VecDeque;
use std::fmt;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::failure::Failure;

use super::{BadRow, FieldProblem, Format, Place, Row, decoded, describe, exact, parquet};

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
        if path.is_dir() {
            let message = format!("{} is a folder: expected a file of rows", path.display());
            return Err(Failure::usage(message).hint("name one of the files in it").into());
        }
        let format = Format::of_input(path)?;
        let rows: RowIterator = match format {
            Format::JsonLines => json_rows(path)?,
            Format::Parquet => Box::new(parquet::read(path)?.map(|read| {
                let (place, row) = read?;
                // As for JSON: who reads texts of tests has the numbers in full.
                let text = exact::holds_numbers(&row).then(|| exact::row_text(&row)).transpose()?;
                Ok(Source { place, row, text })
            })),
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

    /// The same with the row's JSON text where it holds numbers that a [`Value`] may not hold exactly.
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

/// JSON Lines, or a whole JSON array, in any of the encodings that [`decoded`] reads.
fn json_rows(path: &Path) -> Result<RowIterator> {
    let cannot = || format!("cannot read {}", path.display());
    let mut reader = decoded::open(path)?;
    let first = reader.fill_buf().with_context(cannot)?.trim_ascii_start().first().copied();
    // A line of JSON Lines begins with a brace, since it is an object.
    if first == Some(b'[') {
        return array_rows(path, reader);
    }
    Ok(Box::new(JsonLines {
        path: path.to_owned(),
        reader,
        line: 0,
        buffer: Vec::new(),
        waiting: VecDeque::new(),
    }))
}

fn array_rows(path: &Path, mut reader: impl Read) -> Result<RowIterator> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    // As texts: a `Value` would have rounded long numbers.
    let values: Vec<Box<RawValue>> =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid JSON", path.display()))?;
    let path = path.to_owned();
    let row = move |(value, number): (Box<RawValue>, u64)| {
        source(&path, Place::Row(number), value.get().as_bytes())
    };
    Ok(Box::new(values.into_iter().zip(1..).map(row)))
}

struct JsonLines {
    path: PathBuf,
    reader: Box<dyn BufRead>,
    line: u64,
    buffer: Vec<u8>,
    /// Rows of a line that ends in lone carriage returns, as older systems write them.
    waiting: VecDeque<Result<Source>>,
}

impl Iterator for JsonLines {
    type Item = Result<Source>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Some(row);
            }
            self.buffer.clear();
            match self.reader.read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(_) => self.line += 1,
                Err(error) => return Some(Err(error).with_context(|| self.cannot())),
            }
            self.parse_line();
        }
    }
}

impl JsonLines {
    fn cannot(&self) -> String {
        format!("cannot read {} after line {}", self.path.display(), self.line)
    }

    fn parse_line(&mut self) {
        let text = self.buffer.trim_ascii();
        // Files that were joined have one inside, too.
        let text = text.strip_prefix(decoded::UTF8_MARK).unwrap_or(text);
        if text.is_empty() {
            return;
        }
        let row = source(&self.path, Place::Line(self.line), text);
        // Only where the line is no row: within one, a carriage return is white space.
        if row.is_ok() || !text.contains(&b'\r') {
            self.waiting.push_back(row);
            return;
        }
        let mut line = self.line;
        for part in text.split(|byte| *byte == b'\r') {
            if !part.trim_ascii().is_empty() {
                self.waiting.push_back(source(&self.path, Place::Line(line), part));
            }
            line += 1;
        }
        self.line = line - 1;
    }
}

/// The row that a JSON text holds.
fn source(path: &Path, place: Place, text: &[u8]) -> Result<Source> {
    let is_inexact = exact::may_be_inexact(text);
    let parsed = if is_inexact { exact::parse(text) } else { serde_json::from_slice(text) };
    let row = match parsed {
        Ok(Value::Object(row)) => row,
        Ok(other) => return Err(no_object(path, place, &describe(&other)).into()),
        Err(error) => return Err(invalid(path, place, text, &error)),
    };
    let text = is_inexact.then(|| String::from_utf8_lossy(text).into_owned());
    Ok(Source { place, row, text })
}

fn no_object(path: &Path, place: Place, got: &str) -> BadRow {
    BadRow::new(path, place, format!("expected a JSON object, got {got}"))
}

const ONE_LINE: &str = "each row is one line, or else the whole file is one JSON list of rows";

fn invalid(path: &Path, place: Place, text: &[u8], error: &serde_json::Error) -> anyhow::Error {
    if let Err(error) = str::from_utf8(text) {
        let at = error.valid_up_to();
        let got = format!("the byte 0x{:02X} at byte {at} of the line, which is not UTF-8", text[at]);
        let bad = BadRow::new(path, place, format!("expected a JSON object in UTF-8, got {got}"));
        return bad.hint("convert the file, such as with `iconv -f latin1 -t utf-8`").into();
    }
    match exact::wrong_field(text) {
        Some((name, inner)) if inner.to_string().contains("hex escape") => {
            let got = "half of a character: a \\u escape of a surrogate without its partner";
            let problem = FieldProblem::new(name, "Unicode text", got);
            let hint = "repair the text, such as with Python's `text.encode(\"utf-16\", \"surrogatepass\").decode(\"utf-16\", \
                        \"replace\")`, or leave the row out";
            BadRow::new(path, place, problem.hint(hint)).into()
        }
        // serde counts lines from the beginning of the row, not of the file.
        _ => {
            let reason = error.to_string().replace(" at line 1 column ", " at column ");
            let bad = no_object(path, place, &format!("invalid JSON: {reason}"));
            // As the first line of a value over several is, and a line that was cut.
            if error.is_eof() { bad.hint(ONE_LINE).into() } else { bad.into() }
        }
    }
}
