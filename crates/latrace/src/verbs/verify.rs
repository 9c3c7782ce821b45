//! `latrace verify`: whether answers are right.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use clap::Args;
use latrace_verify::code::{Fencing, Json, Limits, Sandbox, Tests};
use latrace_verify::{Convention, Judgement, Reason, choice, code, maths, words};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::progress::Progress;
use crate::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, RowSink, UniqueIds, describe, field, text_of, write_rows,
};
use crate::tasks::Task;
use crate::verdict_journal::Journal;

/// Rows read, judged and written before the next are read.
const WINDOW_ROWS: usize = 4096;
/// The most programs among them: they may run for minutes, and what is judged is kept window by window.
const WINDOW_PROGRAMS: usize = 64;

/// What `--help` says behind the options: rows in and out, and the conventions from their files.
fn help() -> String {
    let default = |name: &str| match name {
        _ if name == Convention::maths().name() => " (default of `math`)",
        _ if name == Convention::choices().name() => " (default of `choice`)",
        _ if name == Convention::words().name() => " (default of `text`)",
        _ => "",
    };
    let about = |name: &str| Convention::named(name).map_or("", Convention::about);
    let conventions: String =
        Convention::names().map(|name| format!("  {name}{}: {}\n", default(name), about(name))).collect();
    format!(
        "\
Rows in: `id` (and perhaps `sample` and `answer`), `kind` (`math`, `choice`, `text`, `code`), `gold` (a text or a list of accepted ones), `prediction` (a full
response or a bare answer), for choices perhaps `options` (a list of texts). For `code`, `gold` holds the tests (`inputs`,
`outputs`, perhaps `fn_name`; or a list of LiveCodeBench tests; or such as a JSON text), `prediction` a response whose last
fenced block is the program (or with `bare: true` the program), and `limits` perhaps `time_s`, `memory_mb`, `output_mb`,
`processes`. Programs run in a sandbox of bubblewrap; without one their rows are `undetermined` (`no_sandbox`).
A built-in task (`walk`, `countdown`, `arithmetic`) is a kind too: it judges by `question`, and needs no `gold`.
Rows out, in the same order: the row's other fields, `verdict` (`correct`, `wrong`, `undetermined`), `reason`, `extracted`
(the answer that was judged, or null).

`convention` in a row perhaps names where its answer stands in the response, behind the thought in any case:
{conventions}
Examples:
  latrace verify --data answers.jsonl --out verdicts.jsonl
  latrace verify --data answers.jsonl --jobs 2 | head"
    )
}

/// Arguments of `latrace verify`.
#[derive(Args, Debug)]
#[command(after_help = help())]
pub struct VerifyArguments {
    /// Rows to judge (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Where verdicts go (.jsonl or .parquet); `-` or nothing is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Rows judged at once; default: the number of threads. Verdicts do not depend on it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// Seconds that a program may run per test, where the row does not say
    #[arg(long, value_name = "S", default_value_t = 6.0, value_parser = positive)]
    time_limit: f64,
    /// Leave bad rows out and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
}

/// Runs `latrace verify`.
pub fn run(arguments: &VerifyArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let pool = rayon::ThreadPoolBuilder::new();
    let pool = arguments
        .jobs
        .map_or(pool, |jobs| rayon::ThreadPoolBuilder::new().num_threads(jobs as usize))
        .build()
        .context("cannot start threads")?;
    let options = format!("{} {}", arguments.time_limit, arguments.skip_bad_rows);
    let mut journal = Journal::open(&out, &arguments.data, &options)?;
    if journal.count_earlier() > 0 {
        tracing::info!("{} rows were judged by a run that did not end", journal.count_earlier());
    }
    let summary = write_rows(&out, |sink| judge_all(arguments, &pool, &mut reader, &mut journal, sink))?;
    journal.close()?;
    tracing::info!("{summary}, {} bad rows skipped", reader.skipped());
    Ok(())
}

/// What a row asks.
#[derive(Debug)]
pub(crate) enum Asked {
    Math {
        golds: Vec<String>,
        prediction: String,
        convention: &'static Convention,
    },
    Text {
        golds: Vec<String>,
        prediction: String,
        convention: &'static Convention,
    },
    Choice {
        golds: Vec<String>,
        prediction: String,
        options: Option<Vec<String>>,
        convention: &'static Convention,
    },
    Code {
        tests: Result<Tests, String>,
        prediction: String,
        fencing: Fencing,
        limits: Limits,
    },
    Task {
        task: Task,
        question: String,
        prediction: String,
    },
}

impl Asked {
    fn judge(&self, sandbox: &SharedSandbox) -> Judgement {
        match self {
            Asked::Math { golds, prediction, convention } => maths::judge(golds, prediction, convention),
            Asked::Text { golds, prediction, convention } => words::judge(golds, prediction, convention),
            Asked::Choice { golds, prediction, options, convention } => {
                choice::judge(golds, prediction, options.as_deref(), convention)
            }
            Asked::Task { task, question, prediction } => task.judge(question, prediction),
            Asked::Code { tests: Err(_), .. } => Judgement::new(Reason::BadGold, None),
            Asked::Code { tests: Ok(tests), prediction, fencing, limits } => match sandbox.get() {
                Some(sandbox) => code::judge(
                    tests,
                    prediction,
                    *fencing,
                    limits,
                    sandbox,
                    rayon::current_thread_index().unwrap_or(0) as u32,
                ),
                None => Judgement::new(Reason::NoSandbox, code::program(prediction, *fencing)),
            },
        }
    }

    /// What a row with `kind`, `gold`, `prediction` and what else its kind has asks. `source` is the row's
    /// text, which holds integers exactly that the row does not.
    pub(crate) fn of(row: &Row, source: Option<&str>, time_limit: f64) -> Result<Asked, FieldProblem> {
        let prediction = text_of(row, "prediction")?.to_owned();
        let kind = text_of(row, "kind")?;
        if let Some(task) = Task::named(kind) {
            return Ok(Asked::Task { task, question: text_of(row, "question")?.to_owned(), prediction });
        }
        let convention = convention(row)?;
        match kind {
            "math" => Ok(Asked::Math {
                golds: texts(row, "gold")?,
                prediction,
                convention: convention.unwrap_or(Convention::maths()),
            }),
            "text" => Ok(Asked::Text {
                golds: texts(row, "gold")?,
                prediction,
                convention: convention.unwrap_or(Convention::words()),
            }),
            "choice" => {
                let convention = convention.unwrap_or(Convention::choices());
                Ok(Asked::Choice {
                    golds: texts(row, "gold")?,
                    prediction,
                    options: options(row)?,
                    convention,
                })
            }
            "code" => Ok(Asked::Code {
                tests: tests(row, source)?,
                prediction,
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

    fn runs_a_program(&self) -> bool {
        matches!(self, Asked::Code { tests: Ok(_), .. })
    }

    /// The judgement; a failure of the judge costs this row alone.
    pub(crate) fn judge_safely(&self, sandbox: &SharedSandbox) -> Judgement {
        catch_unwind(AssertUnwindSafe(|| self.judge(sandbox)))
            .unwrap_or_else(|_| Judgement::new(Reason::VerifierFailed, None))
    }
}

/// The sandbox, started when the first program comes, and told of once if there is none.
#[derive(Debug, Default)]
pub(crate) struct SharedSandbox(OnceLock<Option<Sandbox>>);

impl SharedSandbox {
    fn get(&self) -> Option<&Sandbox> {
        let start = || {
            let launcher = std::env::current_exe().map_err(|error| error.to_string());
            let sandbox =
                launcher.and_then(|launcher| Sandbox::new(&launcher).map_err(|error| error.to_string()));
            sandbox
                .inspect_err(|error| {
                    tracing::warn!("no program is run, their rows are undetermined: {error}")
                })
                .ok()
        };
        self.0.get_or_init(start).as_ref()
    }
}

/// Rows by verdict and reason.
#[derive(Debug, Default)]
struct Summary(BTreeMap<(&'static str, &'static str), u64>);

impl Summary {
    fn count(&mut self, judgement: &Judgement) {
        *self.0.entry((judgement.verdict().name(), judgement.reason.code())).or_default() += 1;
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} rows judged", self.0.values().sum::<u64>())?;
        self.0.iter().try_for_each(|((verdict, reason), count)| write!(f, ", {count} {verdict} ({reason})"))
    }
}

fn judge_all(
    arguments: &VerifyArguments,
    pool: &rayon::ThreadPool,
    reader: &mut RowReader,
    journal: &mut Journal,
    sink: &mut dyn RowSink,
) -> Result<Summary> {
    let mut progress = Progress::new("rows judged", 0, None);
    let mut summary = Summary::default();
    let mut ids = UniqueIds::default();
    let sandbox = SharedSandbox::default();
    loop {
        let window = read_window(reader, &mut ids, arguments)?;
        if window.is_empty() {
            progress.finish();
            return Ok(summary);
        }
        let mut judged = journal.take(window.len());
        let rest = &window[judged.len()..];
        // Collecting keeps the rows' order whatever order their judgements end in.
        let fresh: Vec<Judgement> =
            pool.install(|| rest.par_iter().map(|(_, task)| task.judge_safely(&sandbox)).collect());
        journal.add(&fresh)?;
        judged.extend(fresh);
        progress.advance(window.len() as u64);
        for ((row, _), judgement) in window.into_iter().zip(judged) {
            summary.count(&judgement);
            sink.write(with_verdict(row, judgement))?;
        }
    }
}

fn read_window(
    reader: &mut RowReader,
    ids: &mut UniqueIds,
    arguments: &VerifyArguments,
) -> Result<Vec<(Row, Asked)>> {
    let mut window: Vec<(Row, Asked)> = Vec::new();
    let mut programs = 0;
    while window.len() < WINDOW_ROWS && programs < WINDOW_PROGRAMS {
        let Some(next) = reader.next_with_text(|_, row, text| parse(row, text, ids, arguments))? else {
            break;
        };
        programs += usize::from(next.1.runs_a_program());
        window.push(next);
    }
    Ok(window)
}

fn with_verdict(mut row: Row, judgement: Judgement) -> Row {
    row.insert("verdict".to_owned(), json!(judgement.verdict().name()));
    row.insert("reason".to_owned(), json!(judgement.reason.code()));
    row.insert("extracted".to_owned(), json!(judgement.extracted));
    row
}

fn parse(
    row: Row,
    source: Option<&str>,
    ids: &mut UniqueIds,
    arguments: &VerifyArguments,
) -> Result<(Row, Asked), FieldProblem> {
    ids.take_sample(&row)?;
    let asked = Asked::of(&row, source, arguments.time_limit)?;
    Ok((row, asked))
}

/// A text or a list of texts; a number is taken as it is written.
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

/// The tests of a program; `Err` within where they are there and cannot be read. `source` is the row's text,
/// which holds integers exactly that the row does not.
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

pub(crate) fn positive(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|number| *number > 0.0 && number.is_finite())
        .ok_or_else(|| "expected a number of seconds above 0".to_owned())
}
