//! Tests of programs from a second file or data set, joined to the questions by position or by a field of both.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_core::Question;
use latrace_io::failure::Failure;
use latrace_io::hub;
use latrace_io::rows::{BadRows, FieldProblem, Place, Row, RowReader, describe, field, number_text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::is_code;

/// Where the tests of programs are, if not in the questions' own rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestSource {
    /// A file or a data set on the hub, as for training questions; empty: none.
    pub from: String,
    /// `index`: row n belongs to training question n; or a field that both rows have with the same value.
    pub key: String,
    /// The column with the tests.
    pub column: String,
}

/// The key of rows that belong together by position.
const BY_POSITION: &str = "index";

/// How many questions of kind `code` have tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TestCounts {
    /// Those with tests in their own rows.
    pub own: u64,
    /// Those with tests from the second file.
    pub joined: u64,
    /// Those without any, which have no verifier.
    pub none: u64,
    /// Rows of the second file that belong to no question.
    pub unmatched: u64,
}

/// The key by which a question's tests are found; none where it has none.
pub(super) type TestKey = Option<String>;

impl TestSource {
    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [("key", &self.key), ("column", &self.column)] {
            if !self.from.is_empty() && value.is_empty() {
                return Err(
                    Failure::usage(format!("questions.tests.{name}: expected a name, got \"\"")).into()
                );
            }
        }
        Ok(())
    }

    /// Whether the tests of a question are found by the field `name`.
    pub(super) fn is_keyed_by(&self, name: &str) -> bool {
        !self.from.is_empty() && self.key == name
    }

    /// The files, after downloading those on the hub.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>> {
        if self.from.is_empty() { Ok(Vec::new()) } else { hub::part_files(&self.from, "train") }
    }

    /// The key of a question. `position` counts the training questions from 0; others have none.
    pub(super) fn key(&self, row: &Row, position: Option<usize>) -> TestKey {
        if self.from.is_empty() {
            None
        } else if self.key == BY_POSITION {
            position.map(|position| position.to_string())
        } else {
            key_text(field(row, &self.key)?)
        }
    }

    /// Gives programs without tests those of the files, a row at a time: tests may be larger than memory.
    pub(super) fn join(&self, mut rows: Vec<(&mut Question, TestKey)>) -> Result<TestCounts> {
        let own = rows.iter().filter(|(question, _)| is_code(question) && question.tests.is_some()).count();
        let places = places(&rows);
        let (mut seen, mut unmatched) = (HashSet::new(), 0);
        for path in self.files()? {
            self.each(&path, &mut seen, |key, tests| match places.get(&key) {
                None => unmatched += 1,
                Some(places) => places.iter().for_each(|&place| {
                    let question = &mut *rows[place].0;
                    if is_code(question) && question.tests.is_none() {
                        question.tests.clone_from(&tests);
                    }
                }),
            })?;
        }
        let code = rows.iter().filter(|(question, _)| is_code(question));
        let (with, none): (Vec<_>, Vec<_>) = code.partition(|(question, _)| question.tests.is_some());
        let joined = (with.len() - own) as u64;
        Ok(TestCounts { own: own as u64, joined, none: none.len() as u64, unmatched })
    }

    /// Calls `visit` with the key and the tests of each row.
    fn each(
        &self,
        path: &Path,
        seen: &mut HashSet<String>,
        mut visit: impl FnMut(String, Option<Value>),
    ) -> Result<()> {
        let mut reader = RowReader::open(path, BadRows::Stop)?;
        let mut parse = |_: Place, row: Row, text: Option<&str>| -> Result<_, FieldProblem> {
            let key = if self.key == BY_POSITION { Some(seen.len().to_string()) } else { self.key_of(&row)? };
            let key = key.ok_or_else(|| FieldProblem::new(&self.key, "a text or a number", "nothing"))?;
            if !seen.insert(key.clone()) {
                return Err(FieldProblem::new(
                    &self.key,
                    "a value that no other row has",
                    format!("{key:?} again"),
                ));
            }
            Ok((key, self.tests(&row, text)?))
        };
        while let Some((key, tests)) = reader.next_with_text(&mut parse)? {
            visit(key, tests);
        }
        Ok(())
    }

    fn key_of(&self, row: &Row) -> Result<TestKey, FieldProblem> {
        let wrong = |value: &Value| FieldProblem::new(&self.key, "a text or a number", describe(value));
        field(row, &self.key).map(|value| key_text(value).ok_or_else(|| wrong(value))).transpose()
    }

    /// The tests of a row; none where they are null. As text where the row has integers that a value may not hold.
    fn tests(&self, row: &Row, text: Option<&str>) -> Result<Option<Value>, FieldProblem> {
        let missing = || FieldProblem::new(&self.column, "tests, or null", "nothing");
        let tests = row.get(&self.column).ok_or_else(missing)?;
        if tests.is_null() {
            return Ok(None);
        }
        let exact = text.filter(|_| !tests.is_string()).and_then(|text| raw(text, &self.column));
        Ok(Some(exact.map_or_else(|| tests.clone(), Value::String)))
    }
}

/// The questions of each key.
fn places(rows: &[(&mut Question, TestKey)]) -> HashMap<String, Vec<usize>> {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, (_, key)) in rows.iter().enumerate() {
        key.iter().for_each(|key| places.entry(key.clone()).or_default().push(place));
    }
    places
}

/// The text of a column in a row's JSON text.
fn raw(text: &str, column: &str) -> Option<String> {
    let fields: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    Some(fields.get(column)?.get().to_owned())
}

/// Numbers and texts are one: data sets differ in which of the two an index is.
fn key_text(value: &Value) -> TestKey {
    match value {
        Value::String(text) => Some(text.clone()),
        other => number_text(other),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn question(kind: &str, tests: Option<Value>) -> Question {
        Question { kind: Some(kind.to_owned()), tests, ..Question::default() }
    }

    fn source(folder: &Path, key: &str, rows: &str) -> TestSource {
        let path = folder.join("tests.jsonl");
        fs::write(&path, rows).unwrap();
        TestSource { from: path.display().to_string(), key: key.to_owned(), column: "io".to_owned() }
    }

    fn join(key: &str, rows: &str, questions: &mut [(Question, Value)]) -> Result<TestCounts> {
        let folder = tempfile::tempdir().unwrap();
        let source = source(folder.path(), key, rows);
        let keyed = questions.iter_mut().enumerate().map(|(position, (question, row))| {
            let key = source.key(row.as_object().unwrap(), Some(position));
            (question, key)
        });
        source.join(keyed.collect())
    }

    fn tests_of(questions: &[(Question, Value)]) -> Vec<Option<&Value>> {
        questions.iter().map(|(question, _)| question.tests.as_ref()).collect()
    }

    #[test]
    fn rows_are_joined_by_position() {
        let mut questions =
            [question("math", None), question("code", None), question("code", Some(json!("own")))]
                .map(|question| (question, json!({})));
        let rows = "{\"io\": \"a\"}\n{\"io\": \"b\"}\n{\"io\": \"c\"}\n{\"io\": \"d\"}\n";
        let counts = join("index", rows, &mut questions).unwrap();
        assert_eq!(counts, TestCounts { own: 1, joined: 1, none: 0, unmatched: 1 });
        // Mathematics has no tests, and those of a row itself stay.
        assert_eq!(tests_of(&questions), [None, Some(&json!("b")), Some(&json!("own"))]);
    }

    #[test]
    fn rows_are_joined_by_a_field() {
        let mut questions = [7, 8, 9, 9].map(|key| (question("code", None), json!({"task": key})));
        questions[1].1 = json!({"task": null});
        let rows =
            "{\"task\": \"9\", \"io\": {\"n\": 12345678901234567890123}}\n{\"task\": 7, \"io\": null}\n";
        let counts = join("task", rows, &mut questions).unwrap();
        assert_eq!(counts, TestCounts { own: 0, joined: 2, none: 2, unmatched: 0 });
        // As text: the number would not be the same as a value.
        let exact = json!("{\"n\": 12345678901234567890123}");
        assert_eq!(tests_of(&questions), [None, None, Some(&exact), Some(&exact)]);
    }

    #[test]
    fn rows_that_cannot_be_joined_are_named() {
        let check = |key: &str, rows: &str, expected: &str| {
            let error = join(key, rows, &mut [(question("code", None), json!({}))]).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        check("task", "{\"task\": 1, \"io\": 2}\n{\"task\": \"1\", \"io\": 2}\n", "line 2: field \"task\"");
        check("task", "{\"io\": 2}\n", "field \"task\": expected a text or a number, got nothing");
        check("index", "{\"tests\": 2}\n", "field \"io\": expected tests, or null, got nothing");
    }
}
