//! Sums of per-token log-probs from files of any size: only three columns are read, row groups side by side,
//! and no token becomes a JSON value.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use rayon::prelude::*;
use serde_json::{Value, json};

use latrace_io::failure::Failure;
use latrace_io::progress::SharedProgress;
use latrace_io::rows::{
    BadRow, BadRows, FieldProblem, Place, Row, RowReader, describe, field, files_of, id_of,
};

/// Rows decoded at once: a few megabytes of tokens.
const BATCH: usize = 64;

/// Rows of JSON between two updates of the progress bar.
const ROWS_SHOWN_AT_ONCE: u64 = 1024;

/// How far above 0 rounding may carry a log-prob (nats per token): log-softmax in f32 stays within some units
/// of 1e-7.
const ROUNDING: f64 = 1e-5;

/// The columns that are read.
const COLUMNS: [&str; 3] = ["id", "sample", "logprobs"];

/// Where a row comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    file: Arc<Path>,
    place: Place,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.file.display(), self.place)
    }
}

/// The log-probs of one sequence, summed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// Σ log p, nats.
    pub sum: f64,
    /// Tokens, at least one.
    pub tokens: usize,
    /// Where the row is.
    pub origin: Origin,
}

/// The sums of a file (.jsonl, .parquet), or of all such files of a folder in order of their names.
///
/// # Errors
/// A file that cannot be read; a row without an id, a sample number or finite log-probs, named by file and
/// row.
pub fn read(path: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    let mut all = Vec::new();
    for file in files_of(path)? {
        if is_parquet(&file) {
            all.extend(read_parquet(&file, progress)?);
        } else {
            read_file(&file, progress, sums_of, |(id, sample, sum, tokens), origin| {
                all.push(Sums { id, sample, sum, tokens, origin: origin.clone() });
            })?;
        }
    }
    Ok(all)
}

/// Rows of all files of `path`, as `parse` reads them.
pub(super) fn read_rows<T>(
    path: &Path,
    progress: &SharedProgress,
    parse: impl Fn(&Row) -> Result<T, FieldProblem>,
    mut take: impl FnMut(T, &Origin),
) -> Result<()> {
    files_of(path)?.iter().try_for_each(|file| read_file(file, progress, &parse, &mut take))
}

fn read_file<T>(
    path: &Path,
    progress: &SharedProgress,
    parse: impl Fn(&Row) -> Result<T, FieldProblem>,
    mut take: impl FnMut(T, &Origin),
) -> Result<()> {
    let mut reader = RowReader::open(path, BadRows::Stop)?;
    let mut origin = Origin { file: Arc::from(path), place: Place::Row(0) };
    let mut read = 0;
    while let Some((place, parsed)) =
        reader.next_with(|place, row| parse(&row).map(|parsed| (place, parsed)))?
    {
        origin.place = place;
        take(parsed, &origin);
        read += 1;
        if read == ROWS_SHOWN_AT_ONCE {
            progress.advance(std::mem::take(&mut read));
        }
    }
    progress.advance(read);
    Ok(())
}

/// The rows of all files of all paths; `None` where only reading them would tell.
pub(super) fn count_rows(paths: &[&Path]) -> Result<Option<u64>> {
    let mut count = 0;
    for path in paths {
        for file in files_of(path)? {
            if !is_parquet(&file) {
                return Ok(None);
            }
            count += metadata_of(&file)?.metadata().file_metadata().num_rows() as u64;
        }
    }
    Ok(Some(count))
}

fn is_parquet(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// A row's question, trace, Σ log p and tokens.
fn sums_of(row: &Row) -> Result<(Value, u64, f64, usize), FieldProblem> {
    let (id, sample) = key_of(row)?;
    let Some(Value::Array(logprobs)) = field(row, "logprobs") else {
        return Err(FieldProblem::new(
            "logprobs",
            "a list of log-probs",
            field(row, "logprobs").map_or("nothing".to_owned(), describe),
        ));
    };
    let mut sum = 0.0;
    for (at, value) in logprobs.iter().enumerate() {
        sum += value.as_f64().ok_or_else(|| {
            FieldProblem::new(format!("logprobs[{at}]"), "a finite number", describe(value))
        })?;
    }
    check_sum(sum, logprobs.len())?;
    Ok((id, sample, sum, logprobs.len()))
}

/// A sequence has tokens, and no probability is above 1 but by rounding.
fn check_sum(sum: f64, tokens: usize) -> Result<(), FieldProblem> {
    let wrong = |expected: &str, got: String| Err(FieldProblem::new("logprobs", expected, got));
    match tokens {
        0 => wrong("at least one log-prob", "an empty list".to_owned()),
        _ if !sum.is_finite() => wrong("a list of finite numbers", format!("values whose sum is {sum}")),
        _ if sum > ROUNDING * tokens as f64 => {
            wrong("log-probs, of which none is above 0", format!("values whose sum is {sum}"))
        }
        _ => Ok(()),
    }
}

/// A row's question and trace.
pub(super) fn key_of(row: &Row) -> Result<(Value, u64), FieldProblem> {
    let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    let sample = field(row, "sample");
    let number = sample.and_then(Value::as_u64);
    Ok((
        id,
        number.ok_or_else(|| {
            FieldProblem::new(
                "sample",
                "the trace's number, from 0",
                sample.map_or("nothing".to_owned(), describe),
            )
        })?,
    ))
}

fn metadata_of(path: &Path) -> Result<ArrowReaderMetadata> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
        .with_context(cannot)
}

fn read_parquet(path: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    let cannot = || format!("cannot read {}", path.display());
    let metadata = metadata_of(path)?;
    let shared: Arc<Path> = Arc::from(path);
    let schema = metadata.schema();
    if let Some(missing) = COLUMNS.iter().find(|name| schema.column_with_name(name).is_none()) {
        let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let message =
            format!("{}: expected a column \"{missing}\", got {}", path.display(), there.join(", "));
        return Err(Failure::work(message).into());
    }
    let roots = COLUMNS.iter().filter_map(|name| schema.column_with_name(name)).map(|(at, _)| at);
    let mask = ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), roots);
    let groups = metadata.metadata().row_groups();
    let starts: Vec<u64> = groups
        .iter()
        .scan(0, |start, group| Some(std::mem::replace(start, *start + group.num_rows() as u64)))
        .collect();
    let read_group = |group: usize| -> Result<Vec<Sums>> {
        let file = File::open(path).with_context(cannot)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let reader = builder
            .with_row_groups(vec![group])
            .with_projection(mask.clone())
            .with_batch_size(BATCH)
            .build()
            .with_context(cannot)?;
        let (mut all, mut row) = (Vec::new(), starts[group]);
        for batch in reader {
            let batch = batch.with_context(cannot)?;
            append(&mut all, &batch, &shared, row)?;
            row += batch.num_rows() as u64;
            progress.advance(batch.num_rows() as u64);
        }
        Ok(all)
    };
    let parts: Vec<Vec<Sums>> = (0..groups.len()).into_par_iter().map(read_group).collect::<Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// Adds a batch whose first row is row `first` (from 0) of the file.
fn append(all: &mut Vec<Sums>, batch: &RecordBatch, path: &Arc<Path>, first: u64) -> Result<()> {
    let column = |name: &str| {
        batch.column_by_name(name).with_context(|| format!("{}: column \"{name}\" is gone", path.display()))
    };
    let (ids, samples, lists) = (column("id")?, column("sample")?, column("logprobs")?);
    for row in 0..batch.num_rows() {
        let place = Place::Row(first + row as u64 + 1);
        let read = || -> Result<Sums, FieldProblem> {
            let id = scalar(ids, row)
                .ok_or_else(|| FieldProblem::new("id", "a string or an integer", what_is_there(ids, row)))?;
            let sample = scalar(samples, row).and_then(|sample| sample.as_u64());
            let sample = sample.ok_or_else(|| {
                FieldProblem::new("sample", "the trace's number, from 0", what_is_there(samples, row))
            })?;
            let (sum, tokens) = sum_list(lists, row)?;
            Ok(Sums { id, sample, sum, tokens, origin: Origin { file: path.clone(), place } })
        };
        all.push(read().map_err(|problem| BadRow::new(path, place, problem))?);
    }
    Ok(())
}

/// What a column holds where a text or an integer is due.
fn what_is_there(column: &ArrayRef, row: usize) -> String {
    match scalar(column, row) {
        Some(value) => describe(&value),
        None if column.is_null(row) => "nothing".to_owned(),
        None => format!("a column of {}", column.data_type()),
    }
}

/// A text or an integer.
fn scalar(column: &ArrayRef, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    Some(match column.data_type() {
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => json!(column.as_string::<i64>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::UInt64 => json!(column.as_primitive::<UInt64Type>().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::UInt32 => json!(column.as_primitive::<UInt32Type>().value(row)),
        _ => return None,
    })
}

/// Σ and length of a row's list of f32 or f64.
fn sum_list(lists: &ArrayRef, row: usize) -> Result<(f64, usize), FieldProblem> {
    let wrong = |got: String| FieldProblem::new("logprobs", "a list of finite numbers", got);
    let values = match lists.data_type() {
        _ if lists.is_null(row) => return Err(wrong("nothing".to_owned())),
        DataType::List(_) => lists.as_list::<i32>().value(row),
        DataType::LargeList(_) => lists.as_list::<i64>().value(row),
        other => return Err(wrong(other.to_string())),
    };
    let sum: f64 = match values.data_type() {
        _ if values.null_count() > 0 => return Err(wrong("a list with a null".to_owned())),
        DataType::Float32 => {
            values.as_primitive::<Float32Type>().values().iter().map(|&value| f64::from(value)).sum()
        }
        DataType::Float64 => values.as_primitive::<Float64Type>().values().iter().sum(),
        other => return Err(wrong(format!("a list of {other}"))),
    };
    check_sum(sum, values.len())?;
    Ok((sum, values.len()))
}
