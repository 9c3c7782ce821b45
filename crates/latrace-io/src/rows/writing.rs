//! Rows out: a file appears whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::exact::WrittenRow;
use super::{Format, Row, parquet};
use crate::files::write_atomically;
use crate::stdout::StandardOutput;

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
            // Checked before the work begins: a wrong extension should not cost its results.
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

/// Writes what `produce` passes to the sink. A file is written atomically: on failure it does not appear.
pub fn write_rows<T>(out: &Output, produce: impl FnOnce(&mut dyn RowSink) -> Result<T>) -> Result<T> {
    match out {
        Output::Stdout => {
            let mut writer = io::BufWriter::new(StandardOutput);
            let value = produce(&mut JsonLinesSink { writer: &mut writer })?;
            writer.flush().context("cannot write to standard output")?;
            Ok(value)
        }
        Output::File(path) => match Format::of(path)? {
            Format::JsonLines => write_atomically(path, |writer| produce(&mut JsonLinesSink { writer })),
            Format::Parquet => {
                let mut collected = Collected(Vec::new());
                let value = produce(&mut collected)?;
                write_atomically(path, |writer| parquet::write(writer, &collected.0))?;
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
        write_line(self.writer, &row).context("cannot write a row")
    }
}

fn write_line(writer: &mut impl Write, row: &Row) -> io::Result<()> {
    serde_json::to_writer(&mut *writer, &WrittenRow(row))?;
    writer.write_all(b"\n")
}

/// All rows, for Parquet: its schema is known only once every row is.
struct Collected(Vec<Value>);

impl RowSink for Collected {
    fn write(&mut self, row: Row) -> Result<()> {
        self.0.push(Value::Object(row));
        Ok(())
    }
}
