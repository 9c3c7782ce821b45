//! Settings in TOML files: read and typed, with errors in plain words that say where and what is wrong.
//!
//! serde's own messages name types of Rust (`u64`, `struct Traces`), which mean nothing to who writes a recipe. Values
//! are therefore read by a deserialiser of our own, whose error type says what was expected as a person would.

mod given;
mod names;
mod problem;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::failure::Failure;
use given::Given;

pub use names::{nearest, unknown_key};
pub use problem::{RefusedSetting, SettingProblem};

/// Reads a TOML file.
///
/// # Errors
/// A file that is absent or cannot be read; one that is not TOML, with line and column.
pub fn read_table(path: &Path) -> Result<Table> {
    let shown = path.display().to_string();
    if !path.exists() {
        return Err(Failure::usage(format!("there is no file {shown}")).into());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    parse_table(&text, &shown)
}

/// Parses TOML, which errors call `shown`.
///
/// # Errors
/// A text that is not TOML, with line and column.
pub fn parse_table(text: &str, shown: &str) -> Result<Table> {
    toml::from_str(text).map_err(|error| not_toml(text, shown, &error).into())
}

fn not_toml(text: &str, shown: &str, error: &toml::de::Error) -> Failure {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
    let message = error.message().trim().replace('\n', ", ");
    let failure = Failure::usage(format!("{shown} line {line}, column {column}: not valid TOML: {message}"));
    // The commonest mistake, of which TOML's own message says that some other value was expected.
    let is_bare_word = text.get(at..).is_some_and(|rest| rest.starts_with(char::is_alphabetic))
        && before[line_start..].trim_end().ends_with('=');
    if is_bare_word { failure.hint("texts stand in quotes: key = \"text\"") } else { failure }
}

/// The settings as a type.
///
/// # Errors
/// The first setting that the type does not take, with its dotted key.
pub fn typed<T: DeserializeOwned>(table: Table) -> Result<T, RefusedSetting> {
    serde_path_to_error::deserialize(Given(Value::Table(table))).map_err(|error| {
        // The path of the table itself is a dot.
        let key = Some(error.path().to_string()).filter(|path| path != ".").unwrap_or_default();
        RefusedSetting::new(key, error.into_inner())
    })
}

#[cfg(test)]
mod tests;
