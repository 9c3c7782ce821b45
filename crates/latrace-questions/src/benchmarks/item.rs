//! A benchmark's question: converts a published row to a prompt and a reference.

use latrace_core::PromptTemplate;
use latrace_verify::code::{self, Fencing};
use serde_json::{Value, json};

use super::choices::{self, Choices, MOST};
use super::{Benchmark, Columns, Kind, Tests};
use latrace_io::rows::{FieldProblem, Row, describe, field};

/// A question of a benchmark.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// Its id, if the data has one.
    pub id: Option<String>,
    /// The question as published.
    pub question: String,
    /// The question as posed to the model.
    pub asked: String,
    /// Its subject or difficulty.
    pub subset: Option<String>,
    /// The reference that answers are compared with.
    pub reference: ItemReference,
}

/// The reference that answers are compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum ItemReference {
    /// Accepted answers.
    Answers(Vec<String>),
    /// Options and the correct one.
    Choice(Choices),
    /// A built-in task's question, by which answers are judged, and one correct answer.
    Task {
        /// The question.
        question: String,
        /// A correct answer.
        answer: String,
    },
    /// Tests of a program by its input and output, or by calls of a function.
    Tests(Value),
    /// The beginning of a program to be completed, and a check of its function.
    Check {
        /// The given beginning.
        start: String,
        /// Defines `check`.
        check: String,
        /// The name of the function.
        function: String,
        /// A correct completion.
        solution: Option<String>,
    },
}

/// The name of the function that runs a check, for the verifier to call.
const CHECKED: &str = "latrace_checked";

impl ItemReference {
    /// A row of `latrace verify` without its `prediction`: the same for every answer.
    pub fn row(&self, kind: Kind, convention: Option<&str>) -> Row {
        let mut row =
            Row::from_iter([("kind".to_owned(), json!(kind.name())), ("gold".to_owned(), self.gold())]);
        let mut add = |name: &str, value: Value| row.insert(name.to_owned(), value);
        match self {
            ItemReference::Choice(choices) => add("options", json!(choices.options)),
            ItemReference::Check { .. } => add("bare", json!(true)),
            ItemReference::Task { question, .. } => add("question", json!(question)),
            _ => None,
        };
        if let Some(convention) = convention {
            add("convention", json!(convention));
        }
        row
    }

    fn gold(&self) -> Value {
        match self {
            ItemReference::Answers(golds) => json!(golds),
            ItemReference::Choice(choices) => json!(choices.right.to_string()),
            ItemReference::Tests(tests) => tests.clone(),
            ItemReference::Task { answer, .. } => json!(answer),
            ItemReference::Check { .. } => json!({"fn_name": CHECKED, "inputs": [[]], "outputs": [true]}),
        }
    }

    /// What is judged of an answer: all of it, or the program that it completes, with the check.
    pub fn prediction(&self, answer: &str) -> String {
        match self {
            ItemReference::Check { start, check, function, .. } => code::program(answer, Fencing::Required)
                .map_or_else(String::new, |program| checked(start, &program, check, function)),
            _ => answer.to_owned(),
        }
    }

    /// A correct response, to check that the benchmark accepts it; `None` if there are only tests.
    pub fn right_response(&self) -> Option<String> {
        match self {
            ItemReference::Answers(golds) => Some(format!("The answer is \\boxed{{{}}}.", golds.first()?)),
            ItemReference::Choice(choices) => Some(format!("The answer is \\boxed{{{}}}.", choices.right)),
            ItemReference::Task { answer, .. } => Some(answer.clone()),
            ItemReference::Check { start, solution: Some(solution), .. } => {
                Some(format!("```python\n{start}{solution}\n```"))
            }
            ItemReference::Tests(_) | ItemReference::Check { solution: None, .. } => None,
        }
    }

    /// The reference as shown in results; tests are omitted as too long.
    pub fn shown(&self) -> Value {
        match self {
            ItemReference::Answers(golds) if golds.len() == 1 => json!(golds[0]),
            ItemReference::Answers(golds) => json!(golds),
            ItemReference::Choice(choices) => json!(choices.right.to_string()),
            ItemReference::Task { answer, .. } => json!(answer),
            ItemReference::Tests(_) | ItemReference::Check { .. } => Value::Null,
        }
    }

    /// The options as shown.
    pub fn options(&self) -> Option<&[String]> {
        match self {
            ItemReference::Choice(choices) => Some(&choices.options),
            _ => None,
        }
    }
}

/// The program that a check runs. If the response defines the function, it follows the imports and helpers
/// that precede it in the given text; otherwise it is appended to that text.
fn checked(start: &str, program: &str, check: &str, function: &str) -> String {
    let definition = format!("def {function}(");
    let given = match start.find(&definition) {
        Some(at) if program.contains(&definition) => &start[..at],
        _ => start,
    };
    format!("{given}{program}\n\n{check}\n\ndef {CHECKED}():\n    check({function})\n    return True\n")
}

impl Benchmark {
    /// The question of a row; `None` if the benchmark filters the row out.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub(super) fn item(&self, row: &Row, template: &PromptTemplate) -> Result<Option<Item>, FieldProblem> {
        if !self.keeps(row) {
            return Ok(None);
        }
        let question = match found(row, &self.columns.question)? {
            Value::String(text) => text.clone(),
            other => return Err(FieldProblem::new(shown(&self.columns.question), "a text", describe(other))),
        };
        let reference = self.reference(row, &question)?;
        let options: Vec<Value> = reference
            .options()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(place, text)| json!({"letter": choices::letter(place), "text": text}))
            .collect();
        let asked = template.fill(&json!({"question": question, "options": options, "row": row}));
        let asked = asked.map_err(|error| {
            FieldProblem::new("prompt", "columns that the template has", error.to_string())
        })?;
        let text = |names: &[String]| first(row, names).map(plain);
        Ok(Some(Item {
            id: text(&self.columns.id),
            subset: text(&self.columns.subset),
            asked: asked.trim().to_owned(),
            question,
            reference,
        }))
    }

    fn keeps(&self, row: &Row) -> bool {
        self.source.keep.as_ref().is_none_or(|keep| {
            first(row, &keep.column).is_some_and(|value| keep.values.contains(&plain(value)))
        })
    }

    fn reference(&self, row: &Row, question: &str) -> Result<ItemReference, FieldProblem> {
        match (self.kind, &self.tests) {
            (Kind::Choice, _) => choice(&self.columns, row, question).map(ItemReference::Choice),
            (Kind::Code, Some(tests)) => program(tests, row),
            (kind, _) if kind.task().is_some() => Ok(ItemReference::Task {
                question: question.to_owned(),
                answer: answers(&self.columns, row)?.swap_remove(0),
            }),
            _ => answers(&self.columns, row).map(ItemReference::Answers),
        }
    }
}

fn answers(columns: &Columns, row: &Row) -> Result<Vec<String>, FieldProblem> {
    let wrong = |value: &Value| {
        FieldProblem::new(shown(&columns.answer), "a text, a number or a list of them", describe(value))
    };
    let one = |value: &Value| match value {
        Value::String(text) => cut(columns, text),
        Value::Number(_) | Value::Bool(_) => Ok(plain(value)),
        other => Err(wrong(other)),
    };
    match found(row, &columns.answer)? {
        Value::Array(values) if !values.is_empty() => values.iter().map(one).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// Extracts the answer from a column's text.
fn cut(columns: &Columns, text: &str) -> Result<String, FieldProblem> {
    let Some(mark) = &columns.answer_after else {
        return Ok(text.trim().to_owned());
    };
    let behind = text.rsplit_once(mark.as_str()).map(|(_, answer)| answer.trim().to_owned());
    behind.ok_or_else(|| {
        FieldProblem::new(
            shown(&columns.answer),
            format!("an answer behind {mark:?}"),
            describe(&json!(text)),
        )
    })
}

fn choice(columns: &Columns, row: &Row, question: &str) -> Result<Choices, FieldProblem> {
    let text = |name: &String| match field(row, name) {
        Some(value @ (Value::String(_) | Value::Number(_))) => Ok(plain(value).trim().to_owned()),
        other => Err(FieldProblem::new(name, "a text", other.map_or_else(|| "nothing".to_owned(), describe))),
    };
    if let Some(right) = &columns.right {
        return Ok(choices::mixed(
            text(right)?,
            columns.wrong.iter().map(text).collect::<Result<_, _>>()?,
            question,
        ));
    }
    let options = match found(row, &columns.options)? {
        Value::Array(options) if (2..=MOST).contains(&options.len()) => {
            options.iter().map(|option| plain(option).trim().to_owned()).collect::<Vec<_>>()
        }
        other => {
            return Err(FieldProblem::new(
                shown(&columns.options),
                format!("a list of 2 to {MOST} options"),
                describe(other),
            ));
        }
    };
    let answer = found(row, &columns.answer)?;
    let right = place_of(answer, &options);
    let expected = || format!("a number below {}, a letter or the text of an option", options.len());
    let right =
        right.ok_or_else(|| FieldProblem::new(shown(&columns.answer), expected(), describe(answer)))?;
    Ok(choices::shuffled(options, right, question))
}

/// The index of the correct option, given as a number from 0, a letter, or its text.
fn place_of(answer: &Value, options: &[String]) -> Option<usize> {
    let place = match answer {
        Value::Number(number) => number.as_u64()? as usize,
        Value::String(text) => {
            let by_letter =
                (0..options.len()).find(|&place| text.trim().chars().eq([choices::letter(place)]));
            by_letter.or_else(|| options.iter().position(|option| option == text.trim()))?
        }
        _ => return None,
    };
    (place < options.len()).then_some(place)
}

fn program(tests: &Tests, row: &Row) -> Result<ItemReference, FieldProblem> {
    let text = |name: &String| match field(row, name) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(FieldProblem::new(name, "a text", other.map_or_else(|| "nothing".to_owned(), describe))),
    };
    match tests {
        Tests::Column { column } => {
            Ok(ItemReference::Tests(found(row, std::slice::from_ref(column))?.clone()))
        }
        Tests::Lists { public, private, metadata } => {
            let list = |name: &String| field(row, name).cloned().unwrap_or(Value::Null);
            if [public, private].iter().all(|name| field(row, name).is_none()) {
                return Err(FieldProblem::new(public, "tests", "nothing"));
            }
            Ok(ItemReference::Tests(
                json!({"public_test_cases": list(public), "private_test_cases": list(private), "metadata": list(metadata)}),
            ))
        }
        Tests::Check { start, check, function, solution } => Ok(ItemReference::Check {
            start: text(start)?,
            check: text(check)?,
            function: text(function)?,
            solution: solution.as_ref().map(text).transpose()?,
        }),
    }
}

/// The first of the columns that the row has.
fn first<'a>(row: &'a Row, names: &[String]) -> Option<&'a Value> {
    names.iter().find_map(|name| field(row, name))
}

fn found<'a>(row: &'a Row, names: &[String]) -> Result<&'a Value, FieldProblem> {
    first(row, names).ok_or_else(|| FieldProblem::new(shown(names), "a value", "nothing"))
}

fn shown(names: &[String]) -> String {
    names.join("\" or \"")
}

/// A string unchanged, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
