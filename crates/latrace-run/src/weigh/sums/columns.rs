//! Sums from the columns of Parquet files, including those written by other tools: lists of f32 or f64, and
//! ids that are strings or integers.

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
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::{Origin, RowSums, STOP_REASON, Sums, is_cut_off, is_parquet};
use crate::weigh::drawn::{Distribution, SAMPLING};
use latrace_io::failure::Failure;
use latrace_io::progress::SharedProgress;
use latrace_io::rows::{BadRow, FieldProblem, Place, describe, files_of, shortest};

/// Rows decoded in one batch: a few megabytes of tokens.
const BATCH: usize = 64;

/// The required columns.
const NEEDED: [&str; 3] = ["id", "sample", "logprobs"];

/// The optional columns: whether a trace is finished, why it stopped, and what it was drawn from.
const CLOSED: &str = "closed";
const OPTIONAL: [&str; 3] = [CLOSED, STOP_REASON, SAMPLING];

/// The number of rows of all files of all paths; `None` if only reading them would tell.
pub(in crate::weigh) fn count_rows(paths: &[&Path]) -> Result<Option<u64>> {
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

/// The sums of a file, in the order of its rows.
pub(super) fn read(path: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    let metadata = metadata_of(path)?;
    let mask = needed_columns(path, &metadata)?;
    let shared: Arc<Path> = Arc::from(path);
    let (mut groups, mut first) = (Vec::new(), 0);
    for (number, group) in metadata.metadata().row_groups().iter().enumerate() {
        groups.push((number, first));
        first += group.num_rows() as u64;
    }
    let read_group = |(group, first)| {
        let reader = open_group(path, &metadata, &mask, group)?;
        read_group(reader, &shared, first, progress)
    };
    let of_groups: Vec<Vec<Sums>> = groups.into_par_iter().map(read_group).collect::<Result<_>>()?;
    Ok(of_groups.into_iter().flatten().collect())
}

fn metadata_of(path: &Path) -> Result<ArrowReaderMetadata> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    ArrowReaderMetadata::load(&file, ArrowReaderOptions::new().with_skip_arrow_metadata(true))
        .with_context(cannot)
}

/// The columns to read from a file.
fn needed_columns(path: &Path, metadata: &ArrowReaderMetadata) -> Result<ProjectionMask> {
    let schema = metadata.schema();
    if let Some(missing) = NEEDED.iter().find(|name| schema.column_with_name(name).is_none()) {
        let there: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        let message = format!("{}: expected a column \"{missing}\", got {there}", path.display());
        return Err(Failure::work(message).into());
    }
    let read = NEEDED.iter().chain(&OPTIONAL).filter_map(|name| schema.column_with_name(name));
    let descriptor = metadata.metadata().file_metadata().schema_descr();
    Ok(ProjectionMask::roots(descriptor, read.map(|(at, _)| at)))
}

fn open_group(
    path: &Path,
    metadata: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    group: usize,
) -> Result<ParquetRecordBatchReader> {
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let builder = builder.with_row_groups(vec![group]).with_projection(mask.clone());
    builder.with_batch_size(BATCH).build().with_context(cannot)
}

/// The sums of a row group whose first row is row `first` (from 0) of the file.
fn read_group(
    reader: ParquetRecordBatchReader,
    path: &Arc<Path>,
    mut first: u64,
    progress: &SharedProgress,
) -> Result<Vec<Sums>> {
    let mut all = Vec::new();
    for batch in reader {
        let batch = batch.with_context(|| format!("cannot read {}", path.display()))?;
        let columns = Columns::of(&batch).with_context(|| format!("cannot read {}", path.display()))?;
        for row in 0..batch.num_rows() {
            let place = Place::Row(first + row as u64 + 1);
            let sums = columns.sums(row).map_err(|problem| BadRow::new(path, place, problem))?;
            all.push(sums.at(Origin { file: path.clone(), place }));
        }
        first += batch.num_rows() as u64;
        progress.advance(batch.num_rows() as u64);
    }
    Ok(all)
}

/// The columns of a batch.
struct Columns<'a> {
    ids: &'a ArrayRef,
    samples: &'a ArrayRef,
    logprobs: &'a ArrayRef,
    closed: Option<&'a ArrayRef>,
    stop_reason: Option<&'a ArrayRef>,
    sampling: Option<&'a ArrayRef>,
}

impl Columns<'_> {
    fn of(batch: &RecordBatch) -> Result<Columns<'_>> {
        let column =
            |name: &str| batch.column_by_name(name).with_context(|| format!("column \"{name}\" is missing"));
        Ok(Columns {
            ids: column("id")?,
            samples: column("sample")?,
            logprobs: column("logprobs")?,
            closed: batch.column_by_name(CLOSED),
            stop_reason: batch.column_by_name(STOP_REASON),
            sampling: batch.column_by_name(SAMPLING),
        })
    }

    fn sums(&self, row: usize) -> Result<RowSums, FieldProblem> {
        let problem = |name, expected, column| FieldProblem::new(name, expected, what_is_there(column, row));
        let id = scalar(self.ids, row).ok_or_else(|| problem("id", "a string or an integer", self.ids))?;
        let sample = scalar(self.samples, row).and_then(|sample| sample.as_u64());
        let sample = sample.ok_or_else(|| problem("sample", "the trace's number, from 0", self.samples))?;
        let (sum, tokens) = sum_list(self.logprobs, row)?;
        let stop_reason = self.stop_reason.and_then(|column| scalar(column, row));
        let cut_off = stop_reason.as_ref().and_then(Value::as_str).is_some_and(is_cut_off);
        let sampling = self.sampling.map_or(Ok(None), |column| distribution(column, row))?;
        RowSums { id, sample, sum, tokens, closed: self.closed(row)?, cut_off, sampling }.checked()
    }

    fn closed(&self, row: usize) -> Result<bool, FieldProblem> {
        let Some(column) = self.closed.filter(|column| !column.is_null(row)) else { return Ok(true) };
        let flags = column.as_boolean_opt();
        flags.map(|flags| flags.value(row)).ok_or_else(|| {
            FieldProblem::new(CLOSED, "true or false", format!("a column of {}", column.data_type()))
        })
    }
}

/// Describes a column's value where a string or an integer is expected.
fn what_is_there(column: &ArrayRef, row: usize) -> String {
    match scalar(column, row) {
        Some(value) => describe(&value),
        None if column.is_null(row) => "nothing".to_owned(),
        None => format!("a column of {}", column.data_type()),
    }
}

/// A string or an integer.
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

/// A struct of four numbers.
fn distribution(column: &ArrayRef, row: usize) -> Result<Option<Distribution>, FieldProblem> {
    if column.is_null(row) {
        return Ok(None);
    }
    let number = |name: &str| number(column.as_struct_opt()?.column_by_name(name)?, row);
    let read = || {
        Some(Distribution {
            temperature: number("temperature")?,
            top_p: number("top_p")?,
            top_k: number("top_k")? as u64,
            min_p: number("min_p")?,
        })
    };
    let got = || format!("a column of {}", column.data_type());
    read().map(Some).ok_or_else(|| Distribution::problem(got()))
}

/// A number of any type that a data file may hold it in.
fn number(column: &ArrayRef, row: usize) -> Option<f64> {
    match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => shortest(column.as_primitive::<Float32Type>().value(row)),
        _ => scalar(column, row)?.as_f64(),
    }
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
    Ok((sum, values.len()))
}
