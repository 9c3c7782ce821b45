//! Sums of per-token log-probs from files of any size: only three columns are read, row groups side by side, and no token becomes a JSON value.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::rows::{BadRow, BadRows, FieldProblem, Place, Row, RowReader, describe, field, id_of};

/// Rows decoded at once: a few megabytes of tokens.
const BATCH: usize = 64;

/// The columns that are read.
const COLUMNS: [&str; 3] = ["id", "sample", "logprobs"];

/// The log-probs of one sequence, summed.
#[derive(Clone, Debug, PartialEq)]
pub struct Sums {
    /// The question.
    pub id: Value,
    /// The trace's number.
    pub sample: u64,
    /// Σ log p, nats.
    pub sum: f64,
    /// Tokens.
    pub tokens: usize,
}

/// The sums of a file (.jsonl, .parquet), or of all such files of a folder in order of their names.
///
/// # Errors
/// A file that cannot be read; a row without an id, a sample number or finite log-probs, named by file and row.
pub fn read(path: &Path) -> Result<Vec<Sums>> {
    let mut all = Vec::new();
    for file in files_of(path)? {
        let is_parquet = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        all.extend(if is_parquet { read_parquet(&file)? } else { read_json_lines(&file)? });
    }
    Ok(all)
}

/// The data files that a path stands for.
pub(crate) fn files_of(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let cannot = || format!("cannot read the folder {}", path.display());
    let entries = std::fs::read_dir(path).with_context(cannot)?.collect::<std::io::Result<Vec<_>>>().with_context(cannot)?;
    let is_data = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "parquet" || extension == "jsonl");
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_data).collect();
    files.sort();
    if files.is_empty() {
        return Err(Failure::work(format!("{} has no .parquet or .jsonl file", path.display())).into());
    }
    Ok(files)
}

fn read_json_lines(path: &Path) -> Result<Vec<Sums>> {
    let mut reader = RowReader::open(path, BadRows::Stop)?;
    let mut all = Vec::new();
    while let Some(sums) = reader.next_with(|_, row| sums_of(&row))? {
        all.push(sums);
    }
    Ok(all)
}

fn sums_of(row: &Row) -> Result<Sums, FieldProblem> {
    let (id, sample) = key_of(row)?;
    let Some(Value::Array(logprobs)) = field(row, "logprobs") else {
        return Err(FieldProblem::new("logprobs", "a list of log-probs", field(row, "logprobs").map_or("nothing".to_owned(), describe)));
    };
    let mut sum = 0.0;
    for (at, value) in logprobs.iter().enumerate() {
        sum += value.as_f64().ok_or_else(|| FieldProblem::new(format!("logprobs[{at}]"), "a finite number", describe(value)))?;
    }
    Ok(Sums { id, sample, sum, tokens: logprobs.len() })
}

/// A row's question and trace.
pub(super) fn key_of(row: &Row) -> Result<(Value, u64), FieldProblem> {
    let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    let sample = field(row, "sample");
    let number = sample.and_then(Value::as_u64);
    Ok((id, number.ok_or_else(|| FieldProblem::new("sample", "the trace's number, from 0", sample.map_or("nothing".to_owned(), describe)))?))
}

fn read_parquet(path: &Path) -> Result<Vec<Sums>> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true)).with_context(cannot)?;
    let schema = metadata.schema();
    if let Some(missing) = COLUMNS.iter().find(|name| schema.column_with_name(name).is_none()) {
        let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let message = format!("{}: expected a column \"{missing}\", got {}", path.display(), there.join(", "));
        return Err(Failure::work(message).into());
    }
    let roots = COLUMNS.iter().filter_map(|name| schema.column_with_name(name)).map(|(at, _)| at);
    let mask = ProjectionMask::roots(metadata.metadata().file_metadata().schema_descr(), roots);
    let groups = metadata.metadata().row_groups();
    let starts: Vec<u64> = groups.iter().scan(0, |start, group| Some(std::mem::replace(start, *start + group.num_rows() as u64))).collect();
    let read_group = |group: usize| -> Result<Vec<Sums>> {
        let file = File::open(path).with_context(cannot)?;
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let reader = builder.with_row_groups(vec![group]).with_projection(mask.clone()).with_batch_size(BATCH).build().with_context(cannot)?;
        let (mut all, mut row) = (Vec::new(), starts[group]);
        for batch in reader {
            let batch = batch.with_context(cannot)?;
            append(&mut all, &batch, path, row)?;
            row += batch.num_rows() as u64;
        }
        Ok(all)
    };
    let parts: Vec<Vec<Sums>> = (0..groups.len()).into_par_iter().map(read_group).collect::<Result<_>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// Adds a batch whose first row is row `first` (from 0) of the file.
fn append(all: &mut Vec<Sums>, batch: &RecordBatch, path: &Path, first: u64) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("{}: column \"{name}\" is gone", path.display()));
    let (ids, samples, lists) = (column("id")?, column("sample")?, column("logprobs")?);
    for row in 0..batch.num_rows() {
        let read = || -> Result<Sums, FieldProblem> {
            let id = scalar(ids, row).filter(|id| id.is_string() || id.is_i64() || id.is_u64());
            let id = id.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "something else"))?;
            let sample = scalar(samples, row).and_then(|sample| sample.as_u64());
            let sample = sample.ok_or_else(|| FieldProblem::new("sample", "the trace's number, from 0", "something else"))?;
            let (sum, tokens) = sum_list(lists, row)?;
            Ok(Sums { id, sample, sum, tokens })
        };
        all.push(read().map_err(|problem| BadRow::new(path, Place::Row(first + row as u64 + 1), problem))?);
    }
    Ok(())
}

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
        DataType::Float32 => values.as_primitive::<Float32Type>().values().iter().map(|&value| f64::from(value)).sum(),
        DataType::Float64 => values.as_primitive::<Float64Type>().values().iter().sum(),
        other => return Err(wrong(format!("a list of {other}"))),
    };
    if sum.is_finite() { Ok((sum, values.len())) } else { Err(wrong(format!("values whose sum is {sum}"))) }
}

/// Sums by question and trace; a pair that comes twice is an error.
pub(super) fn by_key(path: &Path, all: Vec<Sums>) -> Result<std::collections::HashMap<(String, u64), Sums>> {
    let mut map = std::collections::HashMap::with_capacity(all.len());
    for sums in all {
        let key = (sums.id.to_string(), sums.sample);
        if let Some(twice) = map.insert(key, sums) {
            bail!(Failure::work(format!("{}: id {}, sample {} comes twice", path.display(), twice.id, twice.sample)));
        }
    }
    Ok(map)
}
