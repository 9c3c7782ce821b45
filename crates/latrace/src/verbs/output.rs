//! Outputs that several verbs have: standard output, fields of rows, a folder that must be unused.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::sampling::journal::FinishedSample;
use latrace_io::failure::Failure;
use latrace_io::files::is_absent_or_empty;
use latrace_io::rows::Row;
use latrace_io::stdout::StandardOutput;
use serde_json::{Value, json};

/// Prints a text and a line break. Unlike `println!`, which panics, a closed pipe is an error, which ends the verb
/// quietly.
pub(super) fn print(text: &str) -> Result<()> {
    write(format!("{text}\n").as_bytes())
}

/// Writes to standard output.
pub(super) fn write(bytes: &[u8]) -> Result<()> {
    let written = StandardOutput.write_all(bytes).and_then(|()| StandardOutput.flush());
    written.context("cannot write to standard output")
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> Result<()> {
    print(&serde_json::to_string_pretty(value)?)
}

/// Adds fields to a row, in order. A field that the row already has keeps its place.
pub(super) fn add_fields<const N: usize>(row: &mut Row, fields: [(&str, Value); N]) {
    row.extend(fields.map(|(name, value)| (name.to_owned(), value)));
}

/// Adds the fields of what was sampled.
pub(super) fn add_sampled(row: &mut Row, finished: &FinishedSample) {
    add_fields(
        row,
        [
            ("token_ids", json!(finished.token_ids)),
            ("logprobs", json!(finished.logprobs)),
            ("stop_reason", json!(finished.stop_reason)),
        ],
    );
}

/// Refuses an output folder that has files in it, which a verb would mix with its own.
pub(super) fn check_unused(out: &Path, hint: &str) -> Result<()> {
    if is_absent_or_empty(out)? {
        return Ok(());
    }
    Err(not_empty(out).hint(hint).into())
}

fn not_empty(out: &Path) -> Failure {
    Failure::work(format!("the output folder {} is not empty", out.display()))
}
