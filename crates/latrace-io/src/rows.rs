//! Rows of data files: JSON Lines or Parquet by extension, in and out, unknown fields and field order kept.
//!
//! Numbers that JSON cannot hold (NaN and infinities, from Parquet) are read as the strings `NaN`, `inf` and
//! `-inf`, so that a check of a field names them.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::files::write_atomically;
use crate::parquet_rows;

/// One row: fields in file order.
pub type Row = Map<String, Value>;

/// Where a row stands in its file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of JSON Lines.
    Line(u64),
    /// A row of a Parquet file, or an element of a JSON array.
    Row(u64),
}

impl Place {
    /// The line or row number.
    pub fn number(self) -> u64 {
        match self {
            Place::Line(number) | Place::Row(number) => number,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Line(number) => write!(f, "line {number}"),
            Place::Row(number) => write!(f, "row {number}"),
        }
    }
}

/// What is wrong with a field: what is expected and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    field: String,
    expected: String,
    got: String,
}

impl FieldProblem {
    /// `field` holds `got` where `expected` is due.
    pub fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> FieldProblem {
        FieldProblem { field: field.into(), expected: expected.into(), got: got.into() }
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field \"{}\": expected {}, got {}", self.field, self.expected, self.got)
    }
}

/// A row that cannot be used: file, line or row, and what is wrong. The one kind of error that may be
/// skipped.
#[derive(Debug)]
pub struct BadRow {
    file: PathBuf,
    place: Place,
    problem: String,
}

impl BadRow {
    /// A bad row of `file`.
    pub fn new(file: &Path, place: Place, problem: impl fmt::Display) -> BadRow {
        BadRow { file: file.to_owned(), place, problem: problem.to_string() }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.file.display(), self.place, self.problem)
    }
}

impl std::error::Error for BadRow {}

/// What to do with a row that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRows {
    /// Stop the work.
    Stop,
    /// Leave it out, say so, and count it.
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
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let rows: RowIterator = match format {
            Format::JsonLines => json_rows(path, file)?,
            Format::Parquet => Box::new(
                parquet_rows::read(path, file)?
                    .map(|read| read.map(|(place, row)| Source { place, row, text: None })),
            ),
        };
        Ok(RowReader { path: path.to_owned(), rows, bad_rows, skipped: 0 })
    }

    /// The next row as `parse` reads it; `None` at the end. A row that `parse` refuses is a bad row.
    pub fn next_with<T, E: fmt::Display>(
        &mut self,
        mut parse: impl FnMut(Place, Row) -> Result<T, E>,
    ) -> Result<Option<T>> {
        self.next_with_text(|place, row, _| parse(place, row))
    }

    /// The same with the row's JSON text where it holds integers that a [`Value`] may not hold exactly.
    pub fn next_with_text<T, E: fmt::Display>(
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    JsonLines,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Format> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        match extension.to_ascii_lowercase().as_str() {
            "jsonl" | "json" | "ndjson" => Ok(Format::JsonLines),
            "parquet" => Ok(Format::Parquet),
            _ => Err(Failure::usage(format!(
                "{}: expected an extension of .jsonl, .ndjson, .json or .parquet",
                path.display()
            ))
            .into()),
        }
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
fn json_rows(path: &Path, file: File) -> Result<RowIterator> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let cannot = || format!("cannot read {}", path.display());
    skip_byte_order_mark(&mut reader).with_context(cannot)?;
    let first = reader.fill_buf().with_context(cannot)?.trim_ascii_start().first().copied();
    if first == Some(b'[') {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).with_context(cannot)?;
        let values: Vec<Box<RawValue>> = serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is not valid JSON", path.display()))?;
        let path = path.to_owned();
        return Ok(Box::new(
            values
                .into_iter()
                .zip(1..)
                .map(move |(value, number)| source(&path, Place::Row(number), value.get().as_bytes())),
        ));
    }
    Ok(Box::new(JsonLines { path: path.to_owned(), reader, line: 0, buffer: Vec::new() }))
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
                Err(error) => {
                    let failed = anyhow::Error::from(error).context(format!(
                        "cannot read {} after line {}",
                        self.path.display(),
                        self.line
                    ));
                    return Some(Err(failed));
                }
            }
            if !self.buffer.trim_ascii().is_empty() {
                return Some(self.parse_line());
            }
        }
    }
}

impl JsonLines {
    fn parse_line(&self) -> Result<Source> {
        source(&self.path, Place::Line(self.line), &self.buffer)
    }
}

/// The row that a JSON text holds.
fn source(path: &Path, place: Place, text: &[u8]) -> Result<Source> {
    let row = match serde_json::from_slice(text) {
        Ok(Value::Object(row)) => row,
        Ok(other) => {
            return Err(BadRow::new(
                path,
                place,
                format!("expected a JSON object, got {}", describe(&other)),
            )
            .into());
        }
        Err(error) => {
            let reason = error.to_string().replace(" at line 1 column ", " at column ");
            return Err(BadRow::new(
                path,
                place,
                format!("expected a JSON object, got invalid JSON: {reason}"),
            )
            .into());
        }
    };
    let text = has_long_integer(text).then(|| String::from_utf8_lossy(text).into_owned());
    Ok(Source { place, row, text })
}

/// Whether a text holds digits that may be an integer beyond 64 bits.
fn has_long_integer(text: &[u8]) -> bool {
    const LONG: usize = 19;
    let mut run = 0;
    text.iter().any(|byte| {
        run = if byte.is_ascii_digit() { run + 1 } else { 0 };
        run >= LONG
    })
}

/// The data files that a path stands for: itself, or the .jsonl and .parquet files of a folder in order of
/// their names.
///
/// # Errors
/// A folder that cannot be read, or without such files.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot read the folder {}", path.display());
    let entries = std::fs::read_dir(path)
        .with_context(cannot)?
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(cannot)?;
    let is_data = |file: &PathBuf| {
        file.extension().is_some_and(|extension| extension == "parquet" || extension == "jsonl")
    };
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_data).collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::work(format!("{} has no .parquet or .jsonl file", path.display())).into());
    }
    Ok(files)
}

/// Where rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// JSON Lines to standard output.
    Stdout,
    /// A file; the extension says the format.
    File(PathBuf),
}

impl Output {
    /// `-` or nothing is standard output. A path must have an extension that names a format.
    pub fn new(out: Option<&Path>) -> Result<Output> {
        match out {
            Some(path) if path != Path::new("-") => Format::of(path).map(|_| Output::File(path.to_owned())),
            _ => Ok(Output::Stdout),
        }
    }
}

/// Takes rows one by one.
pub trait RowSink {
    /// Adds a row.
    fn write(&mut self, row: Row) -> Result<()>;
}

/// Writes what `produce` hands to the sink. A file appears whole when all is well, otherwise not at all.
pub fn write_rows<T>(out: &Output, produce: impl FnOnce(&mut dyn RowSink) -> Result<T>) -> Result<T> {
    match out {
        Output::Stdout => {
            let mut writer = std::io::BufWriter::new(std::io::stdout().lock());
            let value = produce(&mut JsonLinesSink { writer: &mut writer })?;
            writer.flush().context("cannot write to standard output")?;
            Ok(value)
        }
        Output::File(path) => match Format::of(path)? {
            Format::JsonLines => write_atomically(path, |writer| produce(&mut JsonLinesSink { writer })),
            Format::Parquet => {
                let mut collected = Collected(Vec::new());
                let value = produce(&mut collected)?;
                write_atomically(path, |writer| parquet_rows::write(writer, &collected.0, &[]))?;
                Ok(value)
            }
        },
    }
}

struct JsonLinesSink<'a, W: Write> {
    writer: &'a mut W,
}

impl<W: Write> RowSink for JsonLinesSink<'_, W> {
    fn write(&mut self, row: Row) -> Result<()> {
        let write = |writer: &mut W| -> std::io::Result<()> {
            serde_json::to_writer(&mut *writer, &row)?;
            writer.write_all(b"\n")
        };
        write(self.writer).context("cannot write a row")
    }
}

/// All rows, for Parquet: its schema is known only once every row is.
struct Collected(Vec<Value>);

impl RowSink for Collected {
    fn write(&mut self, row: Row) -> Result<()> {
        self.0.push(Value::Object(row));
        Ok(())
    }
}

/// A value in a few words, for messages.
pub fn describe(value: &Value) -> String {
    const SHOWN: usize = 40;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("number {number}"),
        Value::String(text) if text.chars().count() > SHOWN => {
            let start: String = text.chars().take(SHOWN).collect();
            format!("string {start:?}…")
        }
        Value::String(text) => format!("string {text:?}"),
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A field's value; null is the same as absent, since Parquet has a value for every field of every row.
pub fn field<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    row.get(name).filter(|value| !value.is_null())
}

/// A row's `id`, if it has one: a string or an integer, kept as it is.
pub fn id_of(row: &Row) -> Result<Option<Value>, FieldProblem> {
    match field(row, "id") {
        None => Ok(None),
        Some(id) if id.is_string() || id.is_u64() || id.is_i64() => Ok(Some(id.clone())),
        Some(other) => Err(FieldProblem::new("id", "a string or an integer", describe(other))),
    }
}

/// Ids seen so far, for stages that join on them.
#[derive(Debug, Default)]
pub struct UniqueIds(HashSet<String>);

impl UniqueIds {
    /// A row's `id`: there, and not seen before. The number 1 and the string "1" are different ids.
    pub fn take(&mut self, row: &Row) -> Result<Value, FieldProblem> {
        let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
        if self.0.insert(id.to_string()) {
            Ok(id)
        } else {
            Err(FieldProblem::new("id", "an id that no earlier row has", describe(&id)))
        }
    }

    /// As [`UniqueIds::take`], for rows of samples: those of a question share its `id`, and differ in
    /// `sample` or in `answer`.
    pub fn take_sample(&mut self, row: &Row) -> Result<Value, FieldProblem> {
        let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
        let numbers = ["sample", "answer"].map(|name| field(row, name).filter(|number| number.is_u64()));
        let [Some(_), answer] = numbers else { return self.take(row) };
        if self.0.insert(json!([id, numbers[0], answer]).to_string()) {
            return Ok(id);
        }
        Err(FieldProblem::new(
            "id",
            "an id, `sample` and `answer` that no earlier row has together",
            describe(&id),
        ))
    }
}

/// The text in a field.
pub fn text_of<'a>(row: &'a Row, name: &str) -> Result<&'a str, FieldProblem> {
    match field(row, name) {
        Some(Value::String(text)) => Ok(text),
        other => Err(FieldProblem::new(name, "a text", other.map_or_else(|| "nothing".to_owned(), describe))),
    }
}

/// The `f64` whose shortest decimal is that of `number`, so that it prints as the `f32` does; `None` if not
/// finite.
pub fn shortest(number: f32) -> Option<f64> {
    number.to_string().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(path: &Path, bad_rows: BadRows) -> Result<(Vec<(Place, Row)>, u64)> {
        let mut reader = RowReader::open(path, bad_rows)?;
        let mut rows = Vec::new();
        while let Some(row) = reader.next_with(|place, row| Ok::<_, FieldProblem>((place, row)))? {
            rows.push(row);
        }
        Ok((rows, reader.skipped()))
    }

    fn row(value: Value) -> Row {
        match value {
            Value::Object(row) => row,
            other => panic!("expected an object, got {other}"),
        }
    }

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn json_lines_keep_field_order_and_count_blank_lines() {
        let (_folder, path) = file("data.jsonl", "{\"z\": 1, \"a\": 0.1}\n\n{\"b\": null}");
        let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
        assert_eq!(rows[0].1.keys().collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(rows[1].0, Place::Line(3));
    }

    #[test]
    fn a_json_array_is_read_row_by_row() {
        let (_folder, path) = file("data.json", " [{\"a\": 1}, {\"a\": 2}]");
        let (rows, _) = read_all(&path, BadRows::Stop).unwrap();
        assert_eq!(rows.iter().map(|(place, _)| *place).collect::<Vec<_>>(), [Place::Row(1), Place::Row(2)]);
    }

    #[test]
    fn a_bad_line_is_named_or_skipped_and_counted() {
        let (_folder, path) = file("data.jsonl", "{\"a\": 1}\n{\"a\": \n7\n{\"a\": 1e999}\n{\"a\": 2}\n");
        let message = read_all(&path, BadRows::Stop).unwrap_err().to_string();
        assert!(message.contains("data.jsonl line 2: expected a JSON object, got invalid JSON"), "{message}");
        let (rows, skipped) = read_all(&path, BadRows::Skip).unwrap();
        assert_eq!((rows.len(), skipped), (2, 3));
    }

    #[test]
    fn an_unknown_extension_is_wrong_usage() {
        let error = RowReader::open(Path::new("data.csv"), BadRows::Stop).unwrap_err();
        assert!(error.is::<Failure>(), "{error}");
    }

    #[test]
    fn ids_are_strings_or_integers_and_appear_once() {
        let mut seen = UniqueIds::default();
        assert_eq!(seen.take(&row(json!({"id": 1}))).unwrap(), json!(1));
        assert_eq!(seen.take(&row(json!({"id": "1"}))).unwrap(), json!("1"));
        assert!(seen.take(&row(json!({"id": 1}))).is_err());
        assert!(seen.take(&row(json!({"id": 1.5}))).is_err());
        assert!(seen.take(&row(json!({"id": null}))).is_err());
    }

    #[test]
    fn samples_share_an_id_and_differ_in_their_numbers() {
        let mut seen = UniqueIds::default();
        for fresh in [
            json!({"id": 1}),
            json!({"id": 1, "sample": 0}),
            json!({"id": 1, "sample": 1}),
            json!({"id": 1, "sample": 1, "answer": 0}),
            json!({"id": "1", "sample": 1}),
        ] {
            seen.take_sample(&row(fresh)).unwrap();
        }
        for known in [
            json!({"id": 1}),
            json!({"id": 1, "sample": 1, "answer": 0}),
            json!({"id": 1, "sample": 1, "note": 3}),
            json!({"id": 1, "answer": "a text"}),
        ] {
            assert!(seen.take_sample(&row(known)).is_err());
        }
    }

    #[test]
    fn parquet_holds_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let rows = [
            json!({"id": "a", "token_ids": [1, 2], "logprobs": [-0.1, -2.5], "nested": {"x": [{"y": "z"}]}, "flag": true}),
            json!({"id": "b", "token_ids": [], "logprobs": [], "nested": null, "flag": false}),
        ];
        let out = Output::new(Some(&path)).unwrap();
        write_rows(&out, |sink| rows.iter().try_for_each(|value| sink.write(row(value.clone())))).unwrap();
        let (read, _) = read_all(&path, BadRows::Stop).unwrap();
        let read: Vec<Value> = read.into_iter().map(|(_, row)| Value::Object(row)).collect();
        assert_eq!(read, rows);
        assert_eq!(row(read[0].clone()).keys().next().unwrap(), "id");
    }

    #[test]
    fn parquet_takes_mixed_ids_empty_lists_nulls_and_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let out = Output::new(Some(&path)).unwrap();
        let rows =
            [json!({"id": "a", "none": null, "empty": []}), json!({"id": 2, "none": null, "empty": []})];
        write_rows(&out, |sink| rows.iter().try_for_each(|value| sink.write(row(value.clone())))).unwrap();
        let (read, _) = read_all(&path, BadRows::Stop).unwrap();
        assert_eq!(read[1].1["id"], json!("2"));
        assert_eq!(read[1].1["empty"], json!([]));
        write_rows(&out, |_| Ok(())).unwrap();
        assert_eq!(read_all(&path, BadRows::Stop).unwrap().0.len(), 0);
    }

    #[test]
    fn a_failed_run_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let out = Output::new(Some(&path)).unwrap();
        let failed: Result<()> = write_rows(&out, |sink| {
            sink.write(row(json!({"a": 1})))?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_f32_prints_as_its_shortest_decimal() {
        assert_eq!(json!(shortest(-0.1)).to_string(), "-0.1");
        assert_eq!(json!(shortest(-1.1920929e-7)).to_string(), "-1.1920929e-7");
        assert_eq!(shortest(f32::NEG_INFINITY), None);
    }
}
