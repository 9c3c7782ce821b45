//! Sums from the columns of Parquet files, including those written by other tools: lists of f32 or f64, and
//! ids that are strings or integers.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde_json::Value;

use super::{Origin, RowSums, STOP_REASON, Sums, is_cut_off, is_parquet};
use crate::weigh::drawn::{Distribution, SAMPLING};
use latrace_io::columnar::{
    Field, FieldKind, FloatListReader, LeafReader, ListRow, ParquetFile, RowGroup, Scalar,
};
use latrace_io::failure::Failure;
use latrace_io::progress::SharedProgress;
use latrace_io::rows::{BadRow, FieldProblem, Place, Row, describe, files_of};

/// Rows between two updates of the progress bar: a few megabytes of tokens.
const ROWS_SHOWN_AT_ONCE: u64 = 64;

/// The required columns.
const NEEDED: [&str; 3] = ["id", "sample", "logprobs"];

/// The optional column that says whether a trace is finished.
const CLOSED: &str = "closed";

/// The number of rows of all files of all paths; `None` if only reading them would tell.
pub(in crate::weigh) fn count_rows(paths: &[&Path]) -> Result<Option<u64>> {
    let mut count = 0;
    for path in paths {
        for file in files_of(path)? {
            if !is_parquet(&file) {
                return Ok(None);
            }
            count += ParquetFile::open(&file)?.group_rows().sum::<u64>();
        }
    }
    Ok(Some(count))
}

/// The sums of a file, in the order of its rows.
pub(super) fn read(path: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    let file = ParquetFile::open(path)?;
    check_columns(&file)?;
    let (mut groups, mut before) = (Vec::new(), 0);
    for (number, rows) in file.group_rows().enumerate() {
        groups.push((number, before..before + rows));
        before += rows;
    }
    let shared: Arc<Path> = Arc::from(path);
    let read_group = |(number, rows)| read_group(&file, number, rows, &shared, progress);
    let of_groups: Vec<Vec<Sums>> = groups.into_par_iter().map(read_group).collect::<Result<_>>()?;
    Ok(of_groups.into_iter().flatten().collect())
}

fn check_columns(file: &ParquetFile) -> Result<()> {
    let Some(missing) = NEEDED.iter().find(|name| file.field(name).is_none()) else { return Ok(()) };
    let there: Vec<&str> = file.fields().iter().map(|field| field.name.as_str()).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    let message = format!("{}: expected a column \"{missing}\", got {there}", file.path().display());
    Err(Failure::work(message).into())
}

/// The sums of a row group, which has these rows (from 0) of the file.
fn read_group(
    file: &ParquetFile,
    number: usize,
    rows: std::ops::Range<u64>,
    path: &Arc<Path>,
    progress: &SharedProgress,
) -> Result<Vec<Sums>> {
    let at = |row: u64| move |error: anyhow::Error| placed(error, path, Place::Row(row + 1));
    let mut columns = Columns::open(file, &file.group(number)?).map_err(at(rows.start))?;
    let mut all = Vec::new();
    let mut unshown = 0;
    for row in rows {
        let sums = columns.read().map_err(at(row))?;
        all.push(sums.at(Origin { file: path.clone(), place: Place::Row(row + 1) }));
        unshown += 1;
        if unshown == ROWS_SHOWN_AT_ONCE {
            progress.advance(std::mem::take(&mut unshown));
        }
    }
    progress.advance(unshown);
    Ok(all)
}

/// A problem with a field as one of its row, any other as one of the file.
fn placed(error: anyhow::Error, path: &Path, place: Place) -> anyhow::Error {
    match error.downcast::<FieldProblem>() {
        Ok(problem) => BadRow::new(path, place, problem).into(),
        Err(error) => error.context(format!("cannot read {}", path.display())),
    }
}

/// What the columns' fields should hold.
const ID: &str = "a string or an integer";
const SAMPLE: &str = "the trace's number, from 0";
const LOGPROBS: &str = "a list of finite numbers";
const FLAG: &str = "true or false";

/// The columns of a row group.
struct Columns {
    ids: LeafReader,
    samples: LeafReader,
    logprobs: FloatListReader,
    closed: Option<LeafReader>,
    stop_reasons: Option<LeafReader>,
    sampling: Option<DistributionReader>,
    /// The log-probs of the row last read.
    row: Vec<f64>,
}

impl Columns {
    fn open(file: &ParquetFile, group: &RowGroup<'_>) -> Result<Columns> {
        let field = |name| file.field(name).with_context(|| format!("column \"{name}\" is missing"));
        let lists = field("logprobs")?;
        let wrong = || FieldProblem::new("logprobs", LOGPROBS, lists.to_string());
        let closed = file.field(CLOSED);
        Ok(Columns {
            ids: open_leaf(group, field("id")?, is_text_or_integer, ID)?,
            samples: open_leaf(group, field("sample")?, is_text_or_integer, SAMPLE)?,
            logprobs: FloatListReader::open(group, lists)?.ok_or_else(wrong)?,
            closed: closed.map(|field| open_leaf(group, field, is_flag, FLAG)).transpose()?,
            stop_reasons: optional_text(group, file.field(STOP_REASON))?,
            sampling: file.field(SAMPLING).map(|field| DistributionReader::open(group, field)).transpose()?,
            row: Vec::new(),
        })
    }

    fn read(&mut self) -> Result<RowSums> {
        let id = self.ids.take()?;
        if id.is_null() {
            return Err(FieldProblem::new("id", ID, "nothing").into());
        }
        let sample = self.samples.take()?;
        let number = sample.as_u64().ok_or_else(|| FieldProblem::new("sample", SAMPLE, got(&sample)))?;
        let (sum, tokens) = self.sum_list()?;
        let closed = self.closed.as_mut().map_or(Ok(Value::Null), LeafReader::take)?;
        // A row that does not say otherwise is finished.
        let closed = closed.as_bool().unwrap_or(true);
        let stop_reason = self.stop_reasons.as_mut().map_or(Ok(Value::Null), LeafReader::take)?;
        let cut_off = stop_reason.as_str().is_some_and(is_cut_off);
        let sampling = self.sampling.as_mut().map_or(Ok(None), DistributionReader::read)?;
        Ok(RowSums { id, sample: number, sum, tokens, closed, cut_off, sampling }.checked()?)
    }

    /// Σ and length of the next row's list.
    fn sum_list(&mut self) -> Result<(f64, usize)> {
        let wrong = |got: &str| FieldProblem::new("logprobs", LOGPROBS, got).into();
        match self.logprobs.read(&mut self.row)? {
            ListRow::Null => Err(wrong("nothing")),
            ListRow::Items { nulls: 1.. } => Err(wrong("a list with a null")),
            ListRow::Items { nulls: 0 } => Ok((self.row.iter().sum(), self.row.len())),
        }
    }
}

/// A column of objects that state how a row was sampled.
struct DistributionReader {
    /// Its numbers by name.
    numbers: Vec<(String, LeafReader)>,
}

impl DistributionReader {
    fn open(group: &RowGroup<'_>, field: &Field) -> Result<DistributionReader> {
        let wrong = || Distribution::problem(format!("a column of {field}"));
        let FieldKind::Struct(fields) = &field.kind else { return Err(wrong().into()) };
        let number = |field: &Field| match field.kind {
            FieldKind::Scalar(scalar, leaf) => {
                Ok((field.name.clone(), LeafReader::open(group, scalar, leaf)?))
            }
            _ => Err(wrong().into()),
        };
        Ok(DistributionReader { numbers: fields.iter().map(number).collect::<Result<_>>()? })
    }

    /// The next row's; `None` if the row does not state it.
    fn read(&mut self) -> Result<Option<Distribution>> {
        let mut row = Row::new();
        for (name, numbers) in &mut self.numbers {
            let value = numbers.take()?;
            if !value.is_null() {
                row.insert(name.clone(), value);
            }
        }
        if row.is_empty() {
            return Ok(None);
        }
        let stated = Row::from_iter([(SAMPLING.to_owned(), Value::Object(row))]);
        Ok(Distribution::of_row(&stated)?)
    }
}

/// A column of texts, if there is one; the reasons of other tools that are no texts say nothing to us.
fn optional_text(group: &RowGroup<'_>, field: Option<&Field>) -> Result<Option<LeafReader>> {
    match field.map(|field| &field.kind) {
        Some(&FieldKind::Scalar(Scalar::Text, leaf)) => {
            Ok(Some(LeafReader::open(group, Scalar::Text, leaf)?))
        }
        _ => Ok(None),
    }
}

/// Describes a value where another is expected.
fn got(value: &Value) -> String {
    if value.is_null() { "nothing".to_owned() } else { describe(value) }
}

/// Opens a column of scalars that have one of the expected types.
fn open_leaf(
    group: &RowGroup<'_>,
    field: &Field,
    is_expected: fn(Scalar) -> bool,
    expected: &str,
) -> Result<LeafReader> {
    match field.kind {
        FieldKind::Scalar(scalar, leaf) if is_expected(scalar) => LeafReader::open(group, scalar, leaf),
        _ => Err(FieldProblem::new(&field.name, expected, format!("a column of {field}")).into()),
    }
}

fn is_text_or_integer(scalar: Scalar) -> bool {
    matches!(scalar, Scalar::Text | Scalar::Integer { .. })
}

fn is_flag(scalar: Scalar) -> bool {
    scalar == Scalar::Boolean
}
