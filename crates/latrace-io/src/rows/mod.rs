//! Rows of data files: JSON Lines or Parquet by extension, in and out, unknown fields and field order kept.
//!
//! Numbers that JSON cannot hold (NaN and infinities, from Parquet) are read as the strings `NaN`, `inf` and
//! `-inf`, so that a check of a field names them. Numbers of any size are exact, and bytes are no texts: `exact`.

mod decoded;
mod exact;
mod fields;
mod messages;
mod parquet;
mod reading;
mod writing;

use std::any::Any;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::failure::Failure;

use exact::bytes_of;
pub(crate) use exact::{bytes, number};
pub use exact::{is_bytes, json_text, number_of, number_text, row_text};
pub use fields::{FieldProblem, UniqueIds, describe, field, id_of, not_a_text, text_of};
pub use messages::messages_in;
pub use reading::{BadRows, RowReader};
pub use writing::{Output, RowSink, write_rows};

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

/// A row that cannot be used: file, line or row, and what is wrong. The one kind of error that may be
/// skipped.
#[derive(Debug)]
pub struct BadRow {
    file: PathBuf,
    place: Place,
    problem: String,
    hint: Option<String>,
}

impl BadRow {
    /// A bad row of `file`.
    pub fn new(file: &Path, place: Place, problem: impl fmt::Display + 'static) -> BadRow {
        let of_field = (&problem as &dyn Any).downcast_ref::<FieldProblem>();
        let hint = of_field.and_then(FieldProblem::its_hint).map(str::to_owned);
        BadRow { file: file.to_owned(), place, problem: problem.to_string(), hint }
    }

    /// Adds a hint on what to do about it.
    pub fn hint(self, hint: &str) -> BadRow {
        BadRow { hint: Some(hint.to_owned()), ..self }
    }

    /// What to do about it, if there is a hint.
    pub fn its_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.file.display(), self.place, self.problem)
    }
}

impl std::error::Error for BadRow {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    JsonLines,
    Parquet,
}

impl Format {
    fn of(path: &Path) -> Result<Format> {
        match extension(path).as_str() {
            "jsonl" | "json" | "ndjson" => Ok(Format::JsonLines),
            "parquet" => Ok(Format::Parquet),
            other => {
                let shown = path.display();
                let failure = Failure::usage(format!(
                    "{shown}: expected an extension of .jsonl, .ndjson, .json or .parquet"
                ));
                let is_table = ["csv", "tsv", "xlsx"].contains(&other);
                Err(if is_table { failure.hint(CONVERT) } else { failure }.into())
            }
        }
    }

    /// That of a file to read, which may be compressed as a whole.
    fn of_input(path: &Path) -> Result<Format> {
        let (inner, is_compressed) = match COMPRESSED.contains(&extension(path).as_str()) {
            true => (path.with_extension(""), true),
            false => (path.to_owned(), false),
        };
        match Format::of(&inner) {
            Ok(Format::Parquet) if is_compressed => Err(Failure::usage(format!(
                "{}: expected Parquet without compression around it, which its readers cannot seek in",
                path.display()
            ))
            .hint("unpack the file first; Parquet compresses its columns itself")
            .into()),
            Err(_) if is_compressed => Format::of(path),
            format => format,
        }
    }
}

/// How tables of other programs become rows.
const CONVERT: &str = "convert the table, such as with Python's `pandas.read_csv(\"a.csv\").to_json(\"a.jsonl\", orient=\"records\", lines=True)`";

/// The data files that a path stands for: itself, or the .jsonl and .parquet files of a folder in order of
/// their names.
///
/// # Errors
/// A folder that cannot be read, or without such files.
pub fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = entries(path).with_context(|| format!("cannot read the folder {}", path.display()))?;
    files.retain(|file| is_data(file));
    // The system lists them in no particular order.
    files.sort();
    if files.is_empty() {
        return Err(Failure::work(format!("{} has no .parquet or .jsonl file", path.display())).into());
    }
    Ok(files)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn is_data(file: &Path) -> bool {
    let inner = if COMPRESSED.contains(&extension(file).as_str()) {
        file.with_extension("")
    } else {
        file.to_owned()
    };
    inner.extension().is_some_and(|extension| extension == "jsonl")
        || file.extension().is_some_and(|extension| extension == "parquet")
}

/// Extensions of JSON that is compressed as a whole.
const COMPRESSED: [&str; 2] = ["gz", "zst"];

fn extension(path: &Path) -> String {
    path.extension().and_then(|extension| extension.to_str()).unwrap_or("").to_ascii_lowercase()
}

/// The `f64` whose shortest decimal is that of `number`, so that it prints as the `f32` does; `None` if not
/// finite.
pub fn shortest(number: f32) -> Option<f64> {
    number.to_string().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests;
