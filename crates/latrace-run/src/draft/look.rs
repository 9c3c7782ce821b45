//! What a file of questions holds, as far as a recipe has to say it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRows, FieldProblem, Row, RowReader};
use latrace_io::settings::unknown_key;
use latrace_questions::source::{AnswerRule, Format, check_column};
use serde_json::Value;

use super::columns::{guess, has};

/// Rows whose columns are looked at; the others are counted.
const LOOKED_AT: usize = 20;

/// A file of questions, as a recipe would read it.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionFile {
    /// As the recipe names it.
    pub name: String,
    /// Its rows.
    pub rows: usize,
    /// The columns of any row, in the order of the first that has each.
    pub names: Vec<String>,
    /// The format of its rows.
    pub format: Format,
    /// Fields under other names: ours and theirs.
    pub columns: BTreeMap<String, String>,
    /// What of the answer column is the answer.
    pub answer_rule: AnswerRule,
    /// Whether its rows have traces.
    pub has_traces: bool,
    /// The kind of verifier, where the columns tell.
    pub kind: Option<&'static str>,
}

impl QuestionFile {
    /// Looks into a file, which the recipe will call `name`; `given` are columns that the user names. Of worked solutions
    /// that end in `#### NUMBER`, the working is a trace if `traces_wanted`, and a hint otherwise.
    ///
    /// # Errors
    /// A file that cannot be read or has no rows; columns in which no question or no answer is found.
    pub fn look(
        path: &Path,
        name: &str,
        given: &[(String, String)],
        traces_wanted: bool,
    ) -> Result<QuestionFile> {
        check_fields(given)?;
        let Rows { first, count, names, filled } = Rows::read(path)?;
        let shown = path.display().to_string();
        if first.is_empty() {
            return Err(Failure::work(format!("{shown} has no rows")).into());
        }
        let plain = QuestionFile::plain(name, count, &names);
        if has(&names, "conversations") {
            return Ok(QuestionFile { format: Format::Conversations, has_traces: true, ..plain });
        }
        let mut columns = guess(&names, given);
        let is_known = |field: &str| has(&names, field) || columns.contains_key(field);
        if !["question", "prompt", "messages"].into_iter().any(is_known) {
            return Err(unknown_column(&shown, "question", &names, &first).into());
        }
        // A column of nulls has none, as Parquet has a value for every field of every row.
        let is_filled = |field: &str| has(&filled, columns.get(field).map_or(field, String::as_str));
        let has_traces =
            ["trace", "response", "messages"].into_iter().any(|field| is_known(field) && is_filled(field));
        let kind = kind(&first, &is_known);
        let judged_by = ["answer", "tests", "messages", "response"];
        if !judged_by.into_iter().any(is_known) {
            return Err(unknown_column(&shown, "answer", &names, &first).into());
        }
        let mut file = QuestionFile { has_traces, kind, ..plain };
        let answers = columns.get("answer").map_or("answer", String::as_str).to_owned();
        if !has_traces && all_worked(&first, &answers) {
            if traces_wanted {
                (file.format, file.has_traces) = (Format::Gsm8k, true);
                columns.retain(|ours, _| Format::Gsm8k.fields().contains(&ours.as_str()));
            } else {
                file.answer_rule = AnswerRule::AfterHashes;
                columns.insert("hint".to_owned(), format!("{{{{ {answers} }}}}"));
            }
        }
        Ok(QuestionFile { columns, ..file })
    }

    /// Checks the columns that the user names.
    ///
    /// # Errors
    /// A column that this file does not have.
    pub fn check_given(&self, given: &[(String, String)]) -> Result<()> {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        given.iter().try_for_each(|(ours, theirs)| check_column(&format!("--column {ours}"), theirs, &names))
    }

    fn plain(name: &str, rows: usize, names: &[String]) -> QuestionFile {
        QuestionFile {
            name: name.to_owned(),
            rows,
            names: names.to_owned(),
            format: Format::Rows,
            columns: BTreeMap::new(),
            answer_rule: AnswerRule::AsIs,
            has_traces: false,
            kind: None,
        }
    }
}

/// Checks that rows of some format have the fields that the user names columns for.
fn check_fields(given: &[(String, String)]) -> Result<()> {
    let fields = [Format::Rows, Format::Conversations].map(Format::fields).concat();
    match given.iter().find(|(ours, _)| !fields.contains(&ours.as_str())) {
        None => Ok(()),
        Some((ours, _)) => Err(unknown_key(ours, &Format::Rows.fields()).preceded_by("--column: ").into()),
    }
}

/// The rows of a file.
#[derive(Default)]
struct Rows {
    /// Those that are looked at.
    first: Vec<Row>,
    /// How many there are.
    count: usize,
    /// The columns of all.
    names: Vec<String>,
    /// Those that are more than null.
    filled: Vec<String>,
}

impl Rows {
    fn read(path: &Path) -> Result<Rows> {
        let mut reader = RowReader::open(path, BadRows::Stop)?;
        let mut rows = Rows::default();
        while let Some(row) = reader.next_with(|_, row| Ok::<Row, FieldProblem>(row))? {
            rows.add(row);
        }
        Ok(rows)
    }

    fn add(&mut self, row: Row) {
        self.count += 1;
        for (name, value) in &row {
            note(&mut self.names, name);
            if !value.is_null() {
                note(&mut self.filled, name);
            }
        }
        if self.first.len() < LOOKED_AT {
            self.first.push(row);
        }
    }
}

fn note(names: &mut Vec<String>, name: &str) {
    if !has(names, name) {
        names.push(name.to_owned());
    }
}

/// The kind that a file's columns tell: programs have tests, choices have options.
fn kind(rows: &[Row], is_known: &dyn Fn(&str) -> bool) -> Option<&'static str> {
    // Where rows say their kind themselves, the recipe's is that of none.
    if rows.iter().all(|row| row.get("kind").is_some_and(Value::is_string)) {
        return Some("math");
    }
    let told = [("tests", "code"), ("options", "choice")];
    told.into_iter().find(|(field, _)| is_known(field)).map(|(_, kind)| kind)
}

/// Whether every answer is a worked solution that ends in `#### NUMBER`.
fn all_worked(rows: &[Row], column: &str) -> bool {
    rows.iter().all(|row| row.get(column).and_then(Value::as_str).is_some_and(|text| text.contains("#### ")))
}

fn unknown_column(file: &str, field: &str, names: &[String], rows: &[Row]) -> Failure {
    let columns = names.join(", ");
    let failure =
        Failure::usage(format!("{file}: no column is known to hold the {field}; the rows have {columns}"));
    let nested = rows.iter().flatten().find(|(_, value)| value.is_object()).map(|(name, _)| name);
    failure.hint(match nested {
        Some(name) => format!(
            "say where it is: --column {field}=NAME, or within {name}: --column '{field}={{{{ {name}.NAME }}}}'"
        ),
        None => format!("say which column it is: --column {field}=NAME"),
    })
}
