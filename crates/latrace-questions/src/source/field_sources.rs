//! Which columns of a file hold our fields: a column of another name, or several that a template joins.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use latrace_core::{Error, PromptTemplate};
use latrace_io::failure::Failure;
use latrace_io::rows::{FieldProblem, Row};
use latrace_io::settings::nearest;
use serde_json::{Value, json};

/// How a template uses a column that not every row has.
const OPTIONAL: &str = "of a column that some rows lack, write {% if NAME is defined %}{{ NAME }}{% endif %}";

/// The sources of the fields that a file does not have under their own names.
#[derive(Debug, Default)]
pub(super) struct FieldSources {
    /// Ours and theirs.
    renamed: Vec<(String, String)>,
    joined: Vec<(String, Joined)>,
    /// The columns of the rows that were read.
    seen: RefCell<BTreeSet<String>>,
}

/// A field that a template makes of a row's columns.
#[derive(Debug)]
struct Joined {
    text: String,
    template: PromptTemplate,
}

impl FieldSources {
    /// The sources that `columns` names: ours = theirs, or ours = a template.
    ///
    /// # Errors
    /// A template that does not compile.
    pub(super) fn new(columns: &BTreeMap<String, String>) -> Result<FieldSources> {
        let mut sources = FieldSources::default();
        for (ours, theirs) in columns {
            if is_template(theirs) {
                let template = PromptTemplate::new(theirs).map_err(|error| not_a_template(ours, &error))?;
                sources.joined.push((ours.clone(), Joined { text: theirs.clone(), template }));
            } else {
                sources.renamed.push((ours.clone(), theirs.clone()));
            }
        }
        Ok(sources)
    }

    /// The row with our fields. Templates see the columns as the file has them, whatever is renamed beside.
    ///
    /// # Errors
    /// A template that uses a column which the row lacks.
    pub(super) fn read(&self, mut row: Row) -> Result<Row, FieldProblem> {
        self.note(&row);
        let fill = |(ours, joined): &(String, Joined)| Ok((ours.clone(), joined.fill(ours, &row)?));
        let joined: Vec<(String, Value)> =
            self.joined.iter().map(fill).collect::<Result<_, FieldProblem>>()?;
        for (ours, theirs) in &self.renamed {
            // Shifted, not swapped: the other fields keep the order in which the file has them.
            if let Some(value) = row.shift_remove(theirs) {
                row.insert(ours.clone(), value);
            }
        }
        row.extend(joined);
        Ok(row)
    }

    fn note(&self, row: &Row) {
        let mut seen = self.seen.borrow_mut();
        for name in row.keys().filter(|_| !self.renamed.is_empty()) {
            if !seen.contains(name) {
                seen.insert(name.clone());
            }
        }
    }

    /// Checks that each column that a field is read from is one of some row: a misspelt one would silently do nothing.
    ///
    /// # Errors
    /// Names the field and the column.
    pub(super) fn check_found(&self) -> Result<()> {
        let seen = self.seen.borrow();
        let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
        // Of no rows at all, there is nothing to say here.
        let renamed = self.renamed.iter().filter(|_| !seen.is_empty());
        renamed
            .into_iter()
            .try_for_each(|(ours, theirs)| check_column(&format!("questions.columns.{ours}"), theirs, &seen))
    }
}

/// Checks that `theirs`, which a setting or flag names, is one of the columns of rows, or a template of them.
///
/// # Errors
/// Names the nearest column, and lists all.
pub fn check_column(setting: &str, theirs: &str, columns: &[&str]) -> Result<()> {
    if is_template(theirs) || columns.contains(&theirs) {
        return Ok(());
    }
    let nearest = nearest(theirs, columns).unwrap_or_default();
    let message = format!("{setting}: no row has a column {theirs:?}; the nearest is {nearest:?}");
    Err(Failure::usage(message).hint(format!("the rows have {}", columns.join(", "))).into())
}

fn is_template(theirs: &str) -> bool {
    ["{{", "{%"].iter().any(|opening| theirs.contains(opening))
}

fn not_a_template(ours: &str, error: &Error) -> Failure {
    let message =
        format!("questions.columns.{ours}: expected a column's name or a template of columns: {error}");
    Failure::usage(message)
        .hint("a template names columns in braces: question = \"{{ body }} {{ question }}\"")
}

impl Joined {
    fn fill(&self, ours: &str, row: &Row) -> Result<Value, FieldProblem> {
        // Null is no value, and a template that used it would write "none".
        let given = row.iter().filter(|(_, value)| !value.is_null());
        let given: Row = given.map(|(name, value)| (name.clone(), value.clone())).collect();
        match self.template.fill(&given) {
            Ok(text) => Ok(json!(text.trim())),
            Err(error) => Err(self.refused(ours, &given, error)),
        }
    }

    fn refused(&self, ours: &str, given: &Row, error: Error) -> FieldProblem {
        let reason = match error {
            Error::RenderPrompt { reason } => reason,
            other => other.to_string(),
        };
        let names = given.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let expected = format!("columns for the template {:?}", self.text);
        FieldProblem::new(ours, expected, format!("{names} ({reason})")).hint(OPTIONAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(columns: &[(&str, &str)]) -> Result<FieldSources> {
        let table = columns.iter().map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned()));
        FieldSources::new(&table.collect())
    }

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_template_joins_columns_as_the_file_has_them() {
        let sources = sources(&[
            ("question", "{{ body }} {{ question }}{% if unit is defined %} In {{ unit }}.{% endif %}"),
            ("id", "asdiv-{{ idx }}"),
            ("difficulty", "body"),
        ])
        .unwrap();
        let read = sources
            .read(row(json!({"body": "Two.", "question": "How many?", "idx": 7, "unit": null})))
            .unwrap();
        let expected = json!({"question": "Two. How many?", "idx": 7, "unit": null, "difficulty": "Two.", "id": "asdiv-7"});
        assert_eq!(Value::Object(read), expected);
    }

    #[test]
    fn a_missing_column_and_a_broken_template_are_named() {
        let of = sources(&[("question", "{{ body }} {{ question }}")]).unwrap();
        let problem = of.read(row(json!({"question": "q", "text": "t"}))).unwrap_err();
        let said = problem.to_string();
        assert!(said.starts_with("field \"question\": expected columns for the template"), "{said}");
        assert!(said.contains("got question, text (undefined value"), "{said}");
        assert_eq!(problem.its_hint(), Some(OPTIONAL));
        let error = sources(&[("question", "{{ body")]).unwrap_err().to_string();
        assert!(
            error.starts_with("questions.columns.question: expected a column's name or a template"),
            "{error}"
        );
    }
}
