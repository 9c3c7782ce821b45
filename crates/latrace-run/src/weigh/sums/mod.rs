//! Sums of per-token log-probs from files of any size. Parquet is read by column and by row group in
//! parallel, and no token becomes a JSON value.

mod columns;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rayon::prelude::*;
use serde_json::Value;

use super::drawn::Distribution;
use latrace_core::StopReason;
use latrace_io::progress::SharedProgress;
use latrace_io::rows::{
    BadRows, FieldProblem, Place, Row, RowReader, describe, field, files_of, id_of, number_of,
};

pub(super) use columns::count_rows;

/// Rows of JSON between two updates of the progress bar.
const ROWS_SHOWN_AT_ONCE: u64 = 1024;

/// How far rounding may push a log-prob above 0 (nats per token): log-softmax in f32 is accurate to a few
/// times 1e-7.
const ROUNDING: f64 = 1e-5;

/// The field that says why a sequence stopped.
pub(super) const STOP_REASON: &str = "stop_reason";

/// Whether a sequence with this stop reason has no end.
fn is_cut_off(stop_reason: &str) -> bool {
    matches!(StopReason::from_name(stop_reason), Some(StopReason::MaxTokens | StopReason::Interrupted))
}

/// The origin of a row.
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
    /// Number of tokens; at least one for a finished sequence.
    pub tokens: usize,
    /// Whether the sequence is finished: the row's `closed`, or true without that field.
    pub closed: bool,
    /// Whether the row's `stop_reason` is that of a sequence that was cut off.
    pub cut_off: bool,
    /// The distribution that it was drawn from, if stated.
    pub sampling: Option<Distribution>,
    /// The row's origin.
    pub origin: Origin,
}

/// The sums of a file (.jsonl, .parquet), or of all such files in a folder, in order of their names.
///
/// # Errors
/// A file that cannot be read; a row without an id, a sample number or finite log-probs, named by file and
/// row.
pub fn read(path: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    // Files are read in parallel, because a run's table has many parts of a single row group each.
    let files = files_of(path)?;
    let of_files: Vec<Vec<Sums>> =
        files.par_iter().map(|file| read_sums(file, progress)).collect::<Result<_>>()?;
    Ok(of_files.into_iter().flatten().collect())
}

fn read_sums(file: &Path, progress: &SharedProgress) -> Result<Vec<Sums>> {
    if is_parquet(file) {
        return columns::read(file, progress);
    }
    let mut all = Vec::new();
    read_file(file, progress, sums_of, |sums: RowSums, origin| all.push(sums.at(origin.clone())))?;
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

fn is_parquet(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// A row's sums, without its origin, which the caller adds.
fn sums_of(row: &Row) -> Result<RowSums, FieldProblem> {
    let ((id, sample), closed) = (key_of(row)?, closed_of(row)?);
    let cut_off = field(row, STOP_REASON).and_then(Value::as_str).is_some_and(is_cut_off);
    let sampling = Distribution::of_row(row)?;
    let Some(Value::Array(logprobs)) = field(row, "logprobs") else {
        return Err(FieldProblem::new(
            "logprobs",
            "a list of log-probs",
            field(row, "logprobs").map_or("nothing".to_owned(), describe),
        ));
    };
    let mut sum = 0.0;
    for (at, value) in logprobs.iter().enumerate() {
        sum += number_of(value).ok_or_else(|| {
            FieldProblem::new(format!("logprobs[{at}]"), "a finite number", describe(value))
        })?;
    }
    RowSums { id, sample, sum, tokens: logprobs.len(), closed, cut_off, sampling }.checked()
}

/// Whether a row's sequence is finished, which it is unless the row says otherwise.
fn closed_of(row: &Row) -> Result<bool, FieldProblem> {
    match field(row, "closed") {
        None => Ok(true),
        Some(Value::Bool(closed)) => Ok(*closed),
        Some(other) => Err(FieldProblem::new("closed", "true or false", describe(other))),
    }
}

/// The contents of a row.
struct RowSums {
    id: Value,
    sample: u64,
    sum: f64,
    tokens: usize,
    closed: bool,
    cut_off: bool,
    sampling: Option<Distribution>,
}

impl RowSums {
    /// Refuses impossible sums: a finished sequence has tokens, and no probability exceeds 1 except by
    /// rounding.
    fn checked(self) -> Result<RowSums, FieldProblem> {
        let wrong = |expected: &str, got: String| Err(FieldProblem::new("logprobs", expected, got));
        let RowSums { sum, tokens, closed, .. } = self;
        match tokens {
            0 if closed => wrong("at least one log-prob", "an empty list".to_owned()),
            _ if !sum.is_finite() => wrong("a list of finite numbers", format!("values whose sum is {sum}")),
            _ if sum > ROUNDING * tokens as f64 => {
                wrong("log-probs, of which none is above 0", format!("values whose sum is {sum}"))
            }
            _ => Ok(self),
        }
    }

    fn at(self, origin: Origin) -> Sums {
        let RowSums { id, sample, sum, tokens, closed, cut_off, sampling } = self;
        Sums { id, sample, sum, tokens, closed, cut_off, sampling, origin }
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
