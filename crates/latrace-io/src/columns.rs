//! Renaming of row fields, `--column ours=theirs`, so that one verb can read what another writes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use crate::rows::{FieldProblem, Row, describe, field};

/// Names under which to read fields of rows.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    column: Vec<(String, String)>,
}

/// `ours=theirs` as a pair.
pub fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((ours, theirs)) if !ours.is_empty() && !theirs.is_empty() => {
            Ok((ours.to_owned(), theirs.to_owned()))
        }
        _ => Err("expected ours=theirs".to_owned()),
    }
}

/// Alternative fields for the same content: reading one from another column hides the others.
const FAMILIES: [[&str; 2]; 2] = [["prompt", "prompt_ids"], ["response", "response_ids"]];

impl Columns {
    /// Of pairs of our name and theirs.
    pub fn new(column: Vec<(String, String)>) -> Columns {
        Columns { column }
    }

    /// The names with what they are read from.
    pub fn names(&self) -> BTreeMap<String, String> {
        self.column.iter().cloned().collect()
    }

    /// The row as it is read. A prompt or response that is read from elsewhere hides the row's own, be it
    /// text or token ids.
    ///
    /// # Errors
    /// A field that the row does not have; concatenated fields that are not lists.
    pub fn view<'a>(&self, row: &'a Row) -> Result<Cow<'a, Row>, FieldProblem> {
        if self.column.is_empty() {
            return Ok(Cow::Borrowed(row));
        }
        let mut view = row.clone();
        self.column.iter().flat_map(|(ours, _)| family(ours)).for_each(|name| drop(view.shift_remove(*name)));
        // From the row, in which nothing is hidden: two fields may be read as each other.
        for (ours, theirs) in &self.column {
            view.insert(ours.clone(), value(row, ours, theirs)?);
        }
        Ok(Cow::Owned(view))
    }

    /// Takes the fields that were read out of the row; of `fields`, those that were hidden stay.
    pub fn remove_read(&self, row: &mut Row, fields: &[&str]) {
        let hidden: Vec<&str> = self.column.iter().flat_map(|(ours, _)| family(ours)).copied().collect();
        fields.iter().filter(|name| !hidden.contains(name)).for_each(|name| drop(row.shift_remove(*name)));
        // What is one of several parts, such as a prompt that a trace continues, is of use to later verbs.
        let whole = self.column.iter().filter(|(_, theirs)| !theirs.contains('+'));
        whole.for_each(|(_, theirs)| drop(row.shift_remove(theirs)));
    }
}

fn family(name: &str) -> &'static [&'static str] {
    FAMILIES.iter().find(|family| family.contains(&name)).map_or(&[], |family| family.as_slice())
}

fn value(row: &Row, ours: &str, theirs: &str) -> Result<Value, FieldProblem> {
    let of = |name: &str| {
        field(row, name)
            .ok_or_else(|| FieldProblem::new(name, format!("what is read as \"{ours}\""), "nothing"))
    };
    if !theirs.contains('+') {
        return of(theirs).cloned();
    }
    let mut joined = Vec::new();
    for name in theirs.split('+') {
        match of(name)? {
            Value::Array(values) => joined.extend(values.iter().cloned()),
            other => return Err(FieldProblem::new(name, "a list, to join with others", describe(other))),
        }
    }
    Ok(Value::Array(joined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn columns(pairs: &[&str]) -> Columns {
        Columns { column: pairs.iter().map(|text| pair(text).unwrap()).collect() }
    }

    #[track_caller]
    fn check(pairs: &[&str], row: Value, expected: Result<(Value, Value), &str>) {
        let (columns, mut row) = (columns(pairs), row.as_object().unwrap().clone());
        let view = columns.view(&row).map(|view| Value::Object(view.into_owned()));
        columns.remove_read(&mut row, &["prompt", "prompt_ids", "response_ids"]);
        match expected {
            Ok((seen, left)) => assert_eq!((view.unwrap(), Value::Object(row)), (seen, left)),
            Err(message) => assert!(view.unwrap_err().to_string().contains(message)),
        }
    }

    #[test]
    fn without_columns_a_row_is_what_it_is() {
        check(&[], json!({"id": 1, "prompt": "p"}), Ok((json!({"id": 1, "prompt": "p"}), json!({"id": 1}))));
    }

    #[test]
    fn what_is_read_from_elsewhere_hides_the_rows_own_and_leaves_it() {
        let row = json!({"id": 1, "prompt": "p", "prompt_ids": [1], "posterior_prompt": "q"});
        let seen = json!({"id": 1, "posterior_prompt": "q", "prompt": "q"});
        check(
            &["prompt=posterior_prompt"],
            row,
            Ok((seen, json!({"id": 1, "prompt": "p", "prompt_ids": [1]}))),
        );
    }

    #[test]
    fn lists_are_joined() {
        let row = json!({"prompt_ids": [1], "token_ids": [2, 3], "response_ids": [9]});
        let seen = json!({"token_ids": [2, 3], "response_ids": [9], "prompt_ids": [1, 2, 3]});
        check(
            &["prompt_ids=prompt_ids+token_ids"],
            row,
            Ok((seen, json!({"prompt_ids": [1], "token_ids": [2, 3]}))),
        );
        check(
            &["prompt_ids=prompt_ids+text"],
            json!({"prompt_ids": [1], "text": "x"}),
            Err("field \"text\": expected a list"),
        );
    }

    #[test]
    fn a_field_that_is_not_there_is_named() {
        check(
            &["prompt=qestion"],
            json!({"question": "q"}),
            Err("field \"qestion\": expected what is read as \"prompt\", got nothing"),
        );
        assert!(pair("prompt").is_err() && pair("=x").is_err() && pair("x=").is_err());
    }
}
