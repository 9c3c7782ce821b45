//! Fields of rows: access, errors and ids.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde_json::{Value, json};

use super::Row;
use super::exact::{hex_of, is_bytes, number_text};

/// A problem with a field: what was expected and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    field: String,
    /// The file's own name of the field, where that is another.
    column: Option<String>,
    expected: String,
    got: String,
    hint: Option<String>,
}

impl FieldProblem {
    /// `field` holds `got` where `expected` is due.
    pub fn new(
        field: impl Into<String>,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> FieldProblem {
        FieldProblem {
            field: field.into(),
            column: None,
            expected: expected.into(),
            got: got.into(),
            hint: None,
        }
    }

    /// The same of a field that the file calls as `columns` say, ours = theirs.
    #[must_use]
    pub fn in_columns(self, columns: &BTreeMap<String, String>) -> FieldProblem {
        FieldProblem { column: columns.get(&self.field).cloned().or(self.column), ..self }
    }

    /// The same of another field, which the one at fault was made from.
    #[must_use]
    pub fn of_field(self, field: &str) -> FieldProblem {
        FieldProblem { field: field.to_owned(), ..self }
    }

    /// The field at fault.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// Adds a hint on what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> FieldProblem {
        FieldProblem { hint: Some(hint.into()), ..self }
    }

    /// What to do about it, if there is a hint.
    pub fn its_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FieldProblem { field, column, expected, got, .. } = self;
        match column {
            Some(column) => {
                write!(f, "field \"{field}\" (column {column:?}): expected {expected}, got {got}")
            }
            None => write!(f, "field \"{field}\": expected {expected}, got {got}"),
        }
    }
}

impl std::error::Error for FieldProblem {}

/// A short description of a value, for messages.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("number {number}"),
        Value::String(text) => format!("string {}", quoted(text)),
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(_) => match (number_text(value), hex_of(value)) {
            (Some(number), _) => format!("number {number}"),
            (_, Some(hex)) => format!("bytes ({} of them), which are no text", hex.len() / 2),
            (None, None) => "an object".to_owned(),
        },
    }
}

/// A text in quotes, or the beginning of a long one.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 40;
    let start: String = text.chars().take(SHOWN).collect();
    // Characters are only ever left out at the end, so the lengths in bytes tell whether any are.
    if start.len() < text.len() { format!("{start:?}…") } else { format!("{text:?}") }
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
        Some(other) => Err(FieldProblem::new("id", expected_id(other), describe(other))),
    }
}

fn expected_id(got: &Value) -> &'static str {
    let is_number = number_text(got).is_some() && !got.is_number();
    if is_number { "a string or an integer of at most 64 bits" } else { "a string or an integer" }
}

fn required_id(row: &Row) -> Result<Value, FieldProblem> {
    id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))
}

/// Ids seen so far, for stages that join on them.
#[derive(Debug, Default)]
pub struct UniqueIds(HashSet<String>);

impl UniqueIds {
    /// A row's `id`, which must be present and not seen before. The number 1 and the string "1" are different
    /// ids.
    pub fn take(&mut self, row: &Row) -> Result<Value, FieldProblem> {
        let id = required_id(row)?;
        // As JSON, in which a string has quotes and a number does not.
        if self.0.insert(id.to_string()) {
            Ok(id)
        } else {
            Err(FieldProblem::new("id", "an id not used by an earlier row", describe(&id)))
        }
    }

    /// As [`UniqueIds::take`], for rows of samples: those of a question share its `id`, and differ in
    /// `sample` or in `answer`.
    pub fn take_sample(&mut self, row: &Row) -> Result<Value, FieldProblem> {
        let id = required_id(row)?;
        let numbers = ["sample", "answer"].map(|name| field(row, name).filter(|number| number.is_u64()));
        // The text of a list is never that of a bare id, so that both kinds of rows can be mixed.
        let [Some(_), answer] = numbers else { return self.take(row) };
        if self.0.insert(json!([id, numbers[0], answer]).to_string()) {
            return Ok(id);
        }
        Err(FieldProblem::new(
            "id",
            "a combination of id, `sample` and `answer` not used by an earlier row",
            describe(&id),
        ))
    }
}

/// The text in a field.
pub fn text_of<'a>(row: &'a Row, name: &str) -> Result<&'a str, FieldProblem> {
    match field(row, name) {
        Some(Value::String(text)) => Ok(text),
        other => Err(not_a_text(name, "a text", other)),
    }
}

/// The problem of a field that holds something else than a text.
pub fn not_a_text(name: &str, expected: &str, got: Option<&Value>) -> FieldProblem {
    let problem = FieldProblem::new(name, expected, got.map_or_else(|| "nothing".to_owned(), describe));
    match got {
        Some(value) if is_bytes(value) => {
            problem.hint("the column's type is binary: write it as a string column, such as with pyarrow's `cast(pa.string())`")
        }
        _ => problem,
    }
}
