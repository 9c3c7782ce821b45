//! Queries: how to judge answers, from the fields of a row of `latrace verify`: kind, references, tests,
//! limits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;

use latrace_io::rows::{FieldProblem, Row, describe, field, number_text, text_of};
use latrace_verify::code::{Fencing, Json, Limits, Sandbox, Tests};
use latrace_verify::{
    ChoiceReferences, Convention, Judgement, MathReferences, Reading, Reason, WordReferences, code,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::tasks::Task;
use crate::verifiers::exact_fields;

/// What questions of a kind are and which answers are right, where nothing else says so.
pub fn kind_text(kind: &str) -> &'static str {
    match kind {
        "math" => "Questions of mathematics. An answer is right if it has the value of the reference answer.",
        "choice" => "Questions with options to choose from. An answer is right if it names the right option.",
        "code" => "Programming problems. An answer is right if the program passes all tests.",
        "text" => {
            "Questions with an answer in words. An answer is right if it says the same as the reference answer."
        }
        _ => "An answer is right if a verifier of the user's own accepts it.",
    }
}

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
    /// A row for a verifier of the user's own.
    Command {
        /// Its fields.
        fields: Json,
    },
    /// A program without tests, which nothing can judge.
    Unverified,
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
        // Tasks read the answer as a whole, and so have no convention.
        if let Some(task) = Task::named(kind) {
            return Ok(Query::Task { task, question: text_of(row, "question")?.to_owned() });
        }
        let named = named_convention(row)?;
        let convention = |default| named.unwrap_or(default);
        match kind {
            "math" => Ok(Query::Math {
                references: MathReferences::new(golds(row)?),
                convention: convention(Convention::maths()),
            }),
            "text" => Ok(Query::Text {
                references: WordReferences::new(&golds(row)?),
                convention: convention(Convention::words()),
            }),
            "choice" => Ok(Query::Choice {
                references: ChoiceReferences::new(golds(row)?, options(row)?),
                convention: convention(Convention::choices()),
            }),
            // Null, and not missing: a row that lacks its tests by mistake is a bad row.
            "code" if row.get("gold") == Some(&Value::Null) => Ok(Query::Unverified),
            "code" => Ok(Query::Code {
                tests: tests(row, source)?,
                fencing: fencing(row),
                limits: limits(row, time_limit)?,
            }),
            COMMAND => {
                let fields = Json::from(&Value::Object(row.clone()));
                Ok(Query::Command { fields: exact_fields(fields, source) })
            }
            other => Err(unknown_kind(other)),
        }
    }

    /// The fields of a row that a verifier of the user's own is to judge.
    pub fn fields(&self) -> Option<&Json> {
        match self {
            Query::Command { fields } => Some(fields),
            _ => None,
        }
    }

    /// Judges an answer, or a response that contains one, by a built-in kind. A panic of the verifier affects only this answer.
    pub fn judge(&self, prediction: &str, sandbox: &SharedSandbox) -> Judgement {
        // Judging changes nothing of the query, so a panic leaves nothing half done.
        catch_unwind(AssertUnwindSafe(|| self.judge_or_panic(prediction, sandbox)))
            .unwrap_or_else(|_| Judgement::new(Reason::VerifierFailed, None))
    }

    /// What each reference is read as, where that is not always the same: in mathematics.
    pub fn readings(&self) -> Vec<Reading> {
        match self {
            // A panic of the verifier, which judging reports, leaves nothing to say here.
            Query::Math { references, .. } => {
                catch_unwind(AssertUnwindSafe(|| references.readings())).unwrap_or_default()
            }
            _ => Vec::new(),
        }
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
            Query::Unverified | Query::Command { .. } => Judgement::new(Reason::NoVerifier, None),
            Query::Code { tests: Err(_), .. } => Judgement::new(Reason::BadGold, None),
            Query::Code { tests: Ok(tests), fencing, limits } => {
                run_program(tests, prediction, *fencing, limits, sandbox)
            }
        }
    }
}

fn run_program(
    tests: &Tests,
    response: &str,
    fencing: Fencing,
    limits: &Limits,
    sandbox: &SharedSandbox,
) -> Judgement {
    let Some(sandbox) = sandbox.get() else {
        return Judgement::new(Reason::NoSandbox, code::program(response, fencing));
    };
    code::judge(tests, response, fencing, limits, sandbox, slot())
}

/// Tells apart programs that run at the same time: a thread runs one at a time.
pub(crate) fn slot() -> u32 {
    rayon::current_thread_index().unwrap_or(0) as u32
}

/// The kinds of `latrace verify` that are no built-in task.
pub const KINDS: [&str; 5] = ["math", "choice", "text", "code", COMMAND];

/// The kind of questions that a verifier of the user's own judges.
pub const COMMAND: &str = "command";

/// Whether there is a verifier of this kind.
pub fn is_kind(kind: &str) -> bool {
    KINDS.contains(&kind) || Task::named(kind).is_some()
}

fn unknown_kind(kind: &str) -> FieldProblem {
    let expected = "\"math\", \"choice\", \"text\", \"code\", \"command\" or a built-in task";
    FieldProblem::new("kind", expected, format!("string {kind:?}"))
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
    pub(crate) fn get(&self) -> Option<&Sandbox> {
        let start = || start_sandbox().inspect_err(|error| warn(error)).ok();
        self.0.get_or_init(start).as_ref()
    }
}

fn start_sandbox() -> Result<Sandbox, String> {
    Sandbox::new(&launcher()?).map_err(|error| error.to_string())
}

/// This program again: called with the launcher's argument, it starts what runs in the sandbox.
pub(crate) fn launcher() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

fn warn(error: &str) {
    tracing::warn!("programs are not run, and their verdicts are undetermined: {error}");
}

fn golds(row: &Row) -> Result<Vec<String>, FieldProblem> {
    texts(row, "gold")
}

/// A string or a list of strings; a number is read as written.
fn texts(row: &Row, name: &str) -> Result<Vec<String>, FieldProblem> {
    let wrong = |got: String| FieldProblem::new(name, "a text or a list of texts", got);
    let one = |value: &Value| text_in(value).ok_or_else(|| wrong(describe(value)));
    match field(row, name) {
        Some(Value::Array(values)) if !values.is_empty() => values.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
        None => Err(wrong("nothing".to_owned())),
    }
}

fn text_in(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        other => number_text(other),
    }
}

fn named_convention(row: &Row) -> Result<Option<&'static Convention>, FieldProblem> {
    match field(row, "convention") {
        None => Ok(None),
        Some(Value::String(name)) => Convention::named(name)
            .map(Some)
            .map_err(|error| unknown_convention(format!("string {:?}", error.name))),
        Some(other) => Err(unknown_convention(describe(other))),
    }
}

fn unknown_convention(got: String) -> FieldProblem {
    let names: Vec<String> = Convention::names().map(|name| format!("{name:?}")).collect();
    FieldProblem::new("convention", format!("one of {}", names.join(", ")), got)
}

fn options(row: &Row) -> Result<Option<Vec<String>>, FieldProblem> {
    field(row, "options").map(|_| texts(row, "options")).transpose()
}

/// The tests of a program; the inner `Err` means that they are present but cannot be read. `source` is the
/// row's text, which preserves large integers that the row does not.
fn tests(row: &Row, source: Option<&str>) -> Result<Result<Tests, String>, FieldProblem> {
    let Some(value) = field(row, "gold") else {
        return Err(FieldProblem::new("gold", "tests", "nothing"));
    };
    let exact = source.and_then(exact_gold);
    Ok(Tests::read(&exact.unwrap_or_else(|| Json::from(value))))
}

/// `gold` of a row's text. A reference that is not an object has no such field, and is read from the row.
fn exact_gold(source: &str) -> Option<Json> {
    let Gold { gold } = serde_json::from_str(source).ok()?;
    Json::read(gold.get()).ok()
}

/// The one field of a row that is read from its text.
#[derive(Deserialize)]
struct Gold<'a> {
    #[serde(borrow)]
    gold: &'a RawValue,
}

fn fencing(row: &Row) -> Fencing {
    // Only a literal true: any other value keeps the stricter rule.
    if field(row, "bare") == Some(&Value::Bool(true)) { Fencing::Optional } else { Fencing::Required }
}

fn limits(row: &Row, time_s: f64) -> Result<Limits, FieldProblem> {
    let defaults = Limits { time_s, ..Limits::default() };
    let given = match field(row, "limits") {
        None => return Ok(defaults),
        Some(Value::Object(given)) => given,
        Some(other) => return Err(FieldProblem::new("limits", "an object", describe(other))),
    };
    Ok(Limits {
        time_s: limit(given, "time_s")?.unwrap_or(defaults.time_s),
        memory_mb: whole_limit(given, "memory_mb")?.unwrap_or(defaults.memory_mb),
        output_mb: whole_limit(given, "output_mb")?.unwrap_or(defaults.output_mb),
        processes: whole_limit(given, "processes")?.unwrap_or(defaults.processes),
    })
}

fn limit(given: &Row, name: &str) -> Result<Option<f64>, FieldProblem> {
    let Some(value) = field(given, name) else { return Ok(None) };
    let number = value.as_f64().filter(|number| *number > 0.0);
    let wrong = || FieldProblem::new(format!("limits.{name}"), "a number above 0", describe(value));
    number.ok_or_else(wrong).map(Some)
}

/// Rounded up: a limit of half a megabyte must not become none at all.
fn whole_limit(given: &Row, name: &str) -> Result<Option<u64>, FieldProblem> {
    Ok(limit(given, name)?.map(|number| number.ceil() as u64))
}
