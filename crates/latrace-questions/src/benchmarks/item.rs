//! A benchmark's question: converts a published row to a prompt and a reference.

use latrace_core::PromptTemplate;
use serde_json::{Value, json};

use super::choices::{self, Choices, MOST};
use super::{Benchmark, Columns, Kind, Tests};
use latrace_io::rows::{FieldProblem, Row, describe, field, number_text, text_of};

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
    /// What a verifier of the user's own is given.
    Command {
        /// The answer as published; null where there is none.
        gold: Value,
        /// The published row, with the question.
        fields: Row,
    },
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

impl ItemReference {
    /// A row of `latrace verify` without its `prediction`: the same for every answer.
    pub fn row(&self, kind: Kind, convention: Option<&str>) -> Row {
        let mut row = self.own_fields();
        row.insert("kind".to_owned(), json!(kind.name()));
        row.insert("gold".to_owned(), self.gold());
        row.extend(convention.map(|convention| ("convention".to_owned(), json!(convention))));
        row
    }

    fn gold(&self) -> Value {
        match self {
            ItemReference::Answers(golds) => json!(golds),
            ItemReference::Choice(choices) => json!(choices.right.to_string()),
            ItemReference::Tests(tests) => tests.clone(),
            ItemReference::Task { answer, .. } => json!(answer),
            ItemReference::Command { gold, .. } => gold.clone(),
            // The names that `latrace verify` knows them by, whatever the data calls them.
            ItemReference::Check { start, check, function, .. } => {
                json!({"prompt": start, "test": check, "entry_point": function})
            }
        }
    }

    /// The fields that rows of this form alone have.
    fn own_fields(&self) -> Row {
        let one = |name: &str, value| Row::from_iter([(name.to_owned(), value)]);
        match self {
            ItemReference::Choice(choices) => one("options", json!(choices.options)),
            ItemReference::Task { question, .. } => one("question", json!(question)),
            ItemReference::Command { fields, .. } => fields.clone(),
            ItemReference::Answers(_) | ItemReference::Tests(_) | ItemReference::Check { .. } => Row::new(),
        }
    }

    /// A correct response, to check that the benchmark accepts it; `None` if there are only tests.
    pub fn right_response(&self) -> Option<String> {
        match self {
            ItemReference::Answers(golds) => golds.first().map(|gold| boxed(gold)),
            ItemReference::Choice(choices) => Some(boxed(&choices.right.to_string())),
            ItemReference::Task { answer, .. } => Some(answer.clone()),
            // In a fence: a program outside one is not looked for in a response.
            ItemReference::Check { start, solution, .. } => {
                solution.as_ref().map(|solution| format!("```python\n{start}{solution}\n```"))
            }
            ItemReference::Command { gold: Value::Null, .. } | ItemReference::Tests(_) => None,
            ItemReference::Command { gold, .. } => Some(plain(gold)),
        }
    }

    /// The reference as shown in results; tests are omitted as too long.
    pub fn shown(&self) -> Value {
        match self {
            ItemReference::Answers(golds) if golds.len() == 1 => json!(golds[0]),
            ItemReference::Answers(golds) => json!(golds),
            ItemReference::Choice(choices) => json!(choices.right.to_string()),
            ItemReference::Task { answer, .. } => json!(answer),
            ItemReference::Command { gold, .. } => gold.clone(),
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

fn boxed(answer: &str) -> String {
    format!("The answer is \\boxed{{{answer}}}.")
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
        let question = self.question(row)?;
        let reference = self.reference(row, &question)?;
        let text = |names: &[String]| first(row, names).map(plain);
        Ok(Some(Item {
            id: text(&self.columns.id),
            subset: text(&self.columns.subset),
            asked: asked(template, row, &question, &reference)?,
            question,
            reference,
        }))
    }

    fn question(&self, row: &Row) -> Result<String, FieldProblem> {
        match found(row, &self.columns.question)? {
            Value::String(text) => Ok(text.clone()),
            other => Err(wrong(&self.columns.question, "a text", other)),
        }
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
            (Kind::Command, _) => command(&self.columns, row, question),
            (kind, _) if kind.task().is_some() => Ok(ItemReference::Task {
                question: question.to_owned(),
                // There is at least one, and any will do: a task judges by its question.
                answer: answers(&self.columns, row)?.swap_remove(0),
            }),
            _ => answers(&self.columns, row).map(ItemReference::Answers),
        }
    }
}

/// The question as the template poses it.
fn asked(
    template: &PromptTemplate,
    row: &Row,
    question: &str,
    reference: &ItemReference,
) -> Result<String, FieldProblem> {
    let options = reference.options().unwrap_or_default().iter().enumerate();
    let options: Vec<Value> =
        options.map(|(place, text)| json!({"letter": choices::letter(place), "text": text})).collect();
    match template.fill(&json!({"question": question, "options": options, "row": row})) {
        // A template in a file ends in a line feed, which is no part of the question.
        Ok(asked) => Ok(asked.trim().to_owned()),
        Err(error) => Err(FieldProblem::new("prompt", "columns that the template has", error.to_string())),
    }
}

fn answers(columns: &Columns, row: &Row) -> Result<Vec<String>, FieldProblem> {
    match found(row, &columns.answer)? {
        Value::Array(values) if !values.is_empty() => {
            values.iter().map(|value| answer_in(columns, value)).collect()
        }
        value => Ok(vec![answer_in(columns, value)?]),
    }
}

fn answer_in(columns: &Columns, value: &Value) -> Result<String, FieldProblem> {
    let expected = "a text, a number or a list of them";
    match value {
        Value::String(text) => cut(columns, text),
        Value::Bool(_) => Ok(plain(value)),
        other => number_text(other).ok_or_else(|| wrong(&columns.answer, expected, other)),
    }
}

/// Extracts the answer from a column's text.
fn cut(columns: &Columns, text: &str) -> Result<String, FieldProblem> {
    let Some(mark) = &columns.answer_after else {
        return Ok(text.trim().to_owned());
    };
    // The last mark: the solution before the answer may contain others.
    let Some((_, answer)) = text.rsplit_once(mark.as_str()) else {
        let expected = format!("an answer behind {mark:?}");
        return Err(wrong(&columns.answer, expected, &json!(text)));
    };
    Ok(answer.trim().to_owned())
}

fn choice(columns: &Columns, row: &Row, question: &str) -> Result<Choices, FieldProblem> {
    if let Some(right) = &columns.right {
        let wrong: Result<_, _> = columns.wrong.iter().map(|name| option_of(row, name)).collect();
        return Ok(choices::mixed(option_of(row, right)?, wrong?, question));
    }
    let options = options(columns, row)?;
    let right = right_place(columns, row, &options)?;
    Ok(choices::shuffled(options, right, question))
}

/// An option with a column of its own.
fn option_of(row: &Row, name: &str) -> Result<String, FieldProblem> {
    match field(row, name).and_then(number_text) {
        Some(number) => Ok(number),
        None => Ok(text_of(row, name)?.trim().to_owned()),
    }
}

/// Options that share a column.
fn options(columns: &Columns, row: &Row) -> Result<Vec<String>, FieldProblem> {
    match found(row, &columns.options)? {
        Value::Array(options) if (2..=MOST).contains(&options.len()) => {
            Ok(options.iter().map(|option| plain(option).trim().to_owned()).collect())
        }
        other => Err(wrong(&columns.options, format!("a list of 2 to {MOST} options"), other)),
    }
}

fn right_place(columns: &Columns, row: &Row, options: &[String]) -> Result<usize, FieldProblem> {
    let answer = found(row, &columns.answer)?;
    place_of(answer, options).ok_or_else(|| {
        let count = options.len();
        wrong(&columns.answer, format!("a number below {count}, a letter or the text of an option"), answer)
    })
}

/// The index of the correct option, given as a number from 0, a letter, or its text.
fn place_of(answer: &Value, options: &[String]) -> Option<usize> {
    let place = match answer {
        Value::Number(number) => number.as_u64()? as usize,
        Value::String(text) => place_of_text(text.trim(), options)?,
        _ => return None,
    };
    (place < options.len()).then_some(place)
}

/// A letter first: an option whose text is a letter would otherwise hide the one at that letter.
fn place_of_text(text: &str, options: &[String]) -> Option<usize> {
    let by_letter = (0..options.len()).find(|&place| text.chars().eq([choices::letter(place)]));
    by_letter.or_else(|| options.iter().position(|option| option == text))
}

fn command(columns: &Columns, row: &Row, question: &str) -> Result<ItemReference, FieldProblem> {
    let gold = match first(row, &columns.answer) {
        Some(Value::String(text)) => json!(cut(columns, text)?),
        other => other.cloned().unwrap_or(Value::Null),
    };
    let mut fields = row.clone();
    fields.insert("question".to_owned(), json!(question));
    Ok(ItemReference::Command { gold, fields })
}

fn program(tests: &Tests, row: &Row) -> Result<ItemReference, FieldProblem> {
    let text = |name: &String| text_of(row, name).map(str::to_owned);
    match tests {
        Tests::Column { column } => {
            Ok(ItemReference::Tests(found(row, std::slice::from_ref(column))?.clone()))
        }
        Tests::Lists { public, private, metadata } => listed_tests(row, public, private, metadata),
        Tests::Check { start, check, function, solution } => Ok(ItemReference::Check {
            start: text(start)?,
            check: text(check)?,
            function: text(function)?,
            solution: solution.as_ref().map(text).transpose()?,
        }),
    }
}

fn listed_tests(
    row: &Row,
    public: &str,
    private: &str,
    metadata: &str,
) -> Result<ItemReference, FieldProblem> {
    if [public, private].iter().all(|name| field(row, name).is_none()) {
        return Err(FieldProblem::new(public, "tests", "nothing"));
    }
    let [public, private, metadata] = [public, private, metadata].map(|name| row.get(name));
    // The names that `latrace verify` knows these lists by, whatever the data calls them.
    let tests = json!({"public_test_cases": public, "private_test_cases": private, "metadata": metadata});
    Ok(ItemReference::Tests(tests))
}

/// The first of the columns that the row has.
fn first<'a>(row: &'a Row, names: &[String]) -> Option<&'a Value> {
    names.iter().find_map(|name| field(row, name))
}

fn found<'a>(row: &'a Row, names: &[String]) -> Result<&'a Value, FieldProblem> {
    first(row, names).ok_or_else(|| FieldProblem::new(shown(names), "a value", "nothing"))
}

fn wrong(names: &[String], expected: impl Into<String>, got: &Value) -> FieldProblem {
    FieldProblem::new(shown(names), expected, describe(got))
}

fn shown(names: &[String]) -> String {
    names.join("\" or \"")
}

/// A string unchanged, anything else as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
