//! Queries: how to judge answers, from the fields of a row of `latrace verify`: kind, references, tests,
//! limits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use latrace_io::rows::{FieldProblem, Row, describe, field, text_of};
use latrace_verify::code::{Fencing, Json, Limits, Sandbox, Tests};
use latrace_verify::{ChoiceReferences, Convention, Judgement, MathReferences, Reason, WordReferences, code};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::tasks::Task;

/// How to judge the answers to one question: parsed once, used for every answer.
#[derive(Debug)]
pub enum Query {
    /// Mathematics.
    Math {
        /// Accepted answers.
        references: MathReferences,
        /// Where to find the answer in a response.
        convention: &'static Convention,
    },
    /// Words.
    Text {
        /// Accepted answers.
        references: WordReferences,
        /// Where to find the answer in a response.
        convention: &'static Convention,
    },
    /// One of several options.
    Choice {
        /// The accepted options, and all options if known.
        references: ChoiceReferences,
        /// Where to find the answer in a response.
        convention: &'static Convention,
    },
    /// A program.
    Code {
        /// Its tests, or the reason why they cannot be read.
        tests: Result<Tests, String>,
        /// Whether a response without a fenced block is a program.
        fencing: Fencing,
        /// Its resource limits.
        limits: Limits,
    },
    /// A built-in task, which judges by the question.
    Task {
        /// The task.
        task: Task,
        /// The question.
        question: String,
    },
}

impl Query {
    /// Parses the query of a row with `kind`, `gold` and the fields of its kind. `source` is the row's JSON
    /// text, which preserves large integers that a parsed row does not. `time_limit` (s) is the default for
    /// programs.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn of(row: &Row, source: Option<&str>, time_limit: f64) -> Result<Query, FieldProblem> {
        let kind = text_of(row, "kind")?;
        if let Some(task) = Task::named(kind) {
            return Ok(Query::Task { task, question: text_of(row, "question")?.to_owned() });
        }
        let convention = convention(row)?;
        match kind {
            "math" => Ok(Query::Math {
                references: MathReferences::new(texts(row, "gold")?),
                convention: convention.unwrap_or(Convention::maths()),
            }),
            "text" => Ok(Query::Text {
                references: WordReferences::new(&texts(row, "gold")?),
                convention: convention.unwrap_or(Convention::words()),
            }),
            "choice" => Ok(Query::Choice {
                references: ChoiceReferences::new(texts(row, "gold")?, options(row)?),
                convention: convention.unwrap_or(Convention::choices()),
            }),
            "code" => Ok(Query::Code {
                tests: tests(row, source)?,
                fencing: fencing(row),
                limits: limits(row, time_limit)?,
            }),
            other => Err(FieldProblem::new(
                "kind",
                "\"math\", \"choice\", \"text\", \"code\" or a built-in task",
                format!("string {other:?}"),
            )),
        }
    }

    /// Judges an answer, or a response that contains one. A panic of the verifier affects only this answer.
    pub fn judge(&self, prediction: &str, sandbox: &SharedSandbox) -> Judgement {
        catch_unwind(AssertUnwindSafe(|| self.judge_or_panic(prediction, sandbox)))
            .unwrap_or_else(|_| Judgement::new(Reason::VerifierFailed, None))
    }

    /// Whether judging runs a program, which may take up to its time limit.
    pub fn runs_a_program(&self) -> bool {
        matches!(self, Query::Code { tests: Ok(_), .. })
    }

    fn judge_or_panic(&self, prediction: &str, sandbox: &SharedSandbox) -> Judgement {
        match self {
            Query::Math { references, convention } => references.judge(prediction, convention),
            Query::Text { references, convention } => references.judge(prediction, convention),
            Query::Choice { references, convention } => references.judge(prediction, convention),
            Query::Task { task, question } => task.judge(question, prediction),
            Query::Code { tests: Err(_), .. } => Judgement::new(Reason::BadGold, None),
            Query::Code { tests: Ok(tests), fencing, limits } => match sandbox.get() {
                Some(sandbox) => {
                    // Each thread of the pool has its own slot in the sandbox.
                    let place = rayon::current_thread_index().unwrap_or(0) as u32;
                    code::judge(tests, prediction, *fencing, limits, sandbox, place)
                }
                None => Judgement::new(Reason::NoSandbox, code::program(prediction, *fencing)),
            },
        }
    }
}

/// Whether prompts ask for a boxed answer to a question of this kind: for mathematics and choices. Training
/// and every evaluation use this one function, so that their prompts agree.
pub fn is_boxed(kind: &str) -> bool {
    kind == "math" || kind == "choice"
}

/// The sandbox, set up for the first program. If there is none, that is logged once.
#[derive(Debug, Default)]
pub struct SharedSandbox(OnceLock<Option<Sandbox>>);

impl SharedSandbox {
    fn get(&self) -> Option<&Sandbox> {
        let start = || {
            let launcher = std::env::current_exe().map_err(|error| error.to_string());
            let sandbox =
                launcher.and_then(|launcher| Sandbox::new(&launcher).map_err(|error| error.to_string()));
            sandbox
                .inspect_err(|error| {
                    tracing::warn!("programs are not run, and their verdicts are undetermined: {error}")
                })
                .ok()
        };
        self.0.get_or_init(start).as_ref()
    }
}

/// A string or a list of strings; a number is read as written.
fn texts(row: &Row, name: &str) -> Result<Vec<String>, FieldProblem> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(FieldProblem::new(name, "a text or a list of texts", describe(other))),
    };
    match field(row, name) {
        Some(Value::Array(values)) if !values.is_empty() => values.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
        None => Err(FieldProblem::new(name, "a text or a list of texts", "nothing")),
    }
}

fn convention(row: &Row) -> Result<Option<&'static Convention>, FieldProblem> {
    let known = || {
        format!(
            "one of {}",
            Convention::names().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
        )
    };
    let named = |name: &str| {
        Convention::named(name)
            .map_err(|error| FieldProblem::new("convention", known(), format!("string {:?}", error.name)))
    };
    match field(row, "convention") {
        None => Ok(None),
        Some(Value::String(name)) => named(name).map(Some),
        Some(other) => Err(FieldProblem::new("convention", known(), describe(other))),
    }
}

fn options(row: &Row) -> Result<Option<Vec<String>>, FieldProblem> {
    field(row, "options").map(|_| texts(row, "options")).transpose()
}

/// The tests of a program; the inner `Err` means that they are present but cannot be read. `source` is the
/// row's text, which preserves large integers that the row does not.
fn tests(row: &Row, source: Option<&str>) -> Result<Result<Tests, String>, FieldProblem> {
    #[derive(Deserialize)]
    struct Gold<'a> {
        #[serde(borrow)]
        gold: &'a RawValue,
    }
    let exact = || Json::read(serde_json::from_str::<Gold>(source?).ok()?.gold.get()).ok();
    match field(row, "gold") {
        Some(value) => Ok(Tests::read(&exact().unwrap_or_else(|| Json::from(value)))),
        None => Err(FieldProblem::new("gold", "tests", "nothing")),
    }
}

fn fencing(row: &Row) -> Fencing {
    if field(row, "bare") == Some(&Value::Bool(true)) { Fencing::Optional } else { Fencing::Required }
}

fn limits(row: &Row, time_s: f64) -> Result<Limits, FieldProblem> {
    let defaults = Limits { time_s, ..Limits::default() };
    let given = match field(row, "limits") {
        None => return Ok(defaults),
        Some(Value::Object(given)) => given,
        Some(other) => return Err(FieldProblem::new("limits", "an object", describe(other))),
    };
    let number = |name: &str, default: f64| match field(given, name) {
        None => Ok(default),
        Some(value) => value
            .as_f64()
            .filter(|number| *number > 0.0)
            .ok_or_else(|| FieldProblem::new(format!("limits.{name}"), "a number above 0", describe(value))),
    };
    let whole = |name: &str, default: u64| number(name, default as f64).map(|number| number.ceil() as u64);
    Ok(Limits {
        time_s: number("time_s", defaults.time_s)?,
        memory_mb: whole("memory_mb", defaults.memory_mb)?,
        output_mb: whole("output_mb", defaults.output_mb)?,
        processes: whole("processes", defaults.processes)?,
    })
}
