//! `latrace verify`: judges whether answers are correct.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use latrace_io::progress::Progress;
use latrace_io::rows::{Output, Row, RowReader, RowSink, UniqueIds, text_of, write_rows};
use latrace_questions::query::Query;
use latrace_questions::verdict_journal::Journal;
use latrace_questions::verifiers::{Answered, Verifiers};
use latrace_verify::command::CommandSettings;
use latrace_verify::{Convention, Judgement};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;
use tracing::info;

use super::at_least_one;
use super::input::{Parsed, open_rows};
use super::output::add_fields;
use super::verifier::VerifierArguments;

/// Rows read, judged and written before the next are read.
const WINDOW_ROWS: usize = 4096;
/// The maximum number of programs in a window: a program may run for minutes, and verdicts are saved only
/// when a window is complete.
const WINDOW_PROGRAMS: usize = 64;

/// The text after the options in `--help`: input and output rows, and the conventions with their own
/// descriptions.
fn help() -> String {
    // Listed from the registry, so that a new convention's file is all that its documentation needs.
    let conventions: String = Convention::names().map(convention_line).collect();
    format!("{ROWS}{conventions}{EXAMPLES}")
}

fn convention_line(name: &str) -> String {
    let about = Convention::named(name).map_or("", Convention::about);
    format!("  {name}{}: {about}\n", default_of(name))
}

/// The kind whose default convention this is, in words.
fn default_of(convention: &str) -> &'static str {
    match convention {
        _ if convention == Convention::maths().name() => " (default of `math`)",
        _ if convention == Convention::choices().name() => " (default of `choice`)",
        _ if convention == Convention::words().name() => " (default of `text`)",
        _ => "",
    }
}

const ROWS: &str = "\
Input rows: `id` (optionally with `sample` and `answer`), `kind` (`math`, `choice`, `text`, `code`, `command`),
`gold` (a string or a list of accepted ones), `prediction` (a full response or a bare answer), and for choices
optionally `options` (a list of strings). For `code`, `gold` holds the tests (`inputs`, `outputs`, optionally
`fn_name`; or a list of LiveCodeBench tests; or `prompt`, `test` and `entry_point` as HumanEval has them; or any
as a JSON string), `prediction` is a response whose last fenced block is the program, one tagged as Python before
others (or with `bare: true` the program itself), and `limits` may set `time_s`, `memory_mb`, `output_mb` and
`processes`. Programs run in a bubblewrap sandbox; without one their verdict is `undetermined` (`no_sandbox`), as
it is where `gold` is null, for want of tests (`no_verifier`).
The built-in tasks (`walk`, `countdown`, `arithmetic`, `graph`, `latin`) are kinds too: they judge by
`question` and need no `gold`.
Rows of the kind `command` go to the program of --verifier-command, in batches, with all of their fields, as
JSON Lines; it writes a line for each: its `id`, `verdict`, optionally `reason` (written as `verifier_reason`)
and `extracted`. A row without a verdict, with several or with one that cannot be read is `undetermined`
(`no_verdict`, `bad_verdict`), and so is a batch whose program fails (`verifier_failed`) or is late
(`verifier_time_limit`).
Output rows, in the same order: the row's other fields, `verdict` (`correct`, `wrong`, `undetermined`),
`reason`, `extracted` (the answer that was judged, or null).

The optional field `convention` names where the answer is found in the response, always after the thought:
";

const EXAMPLES: &str = "
Examples:
  latrace verify --data answers.jsonl --out verdicts.jsonl
  latrace verify --data answers.jsonl --jobs 2 | head
  latrace verify --data answers.jsonl --verifier-command \"python3 judge.py\"";

/// Arguments of `latrace verify`.
#[derive(Args, Debug)]
#[command(after_help = help())]
pub struct VerifyArguments {
    /// Rows to judge (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Output file for the verdicts (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Rows judged in parallel; default: the number of threads. Verdicts do not depend on it
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    jobs: Option<u64>,
    /// Default time limit of a program, in seconds per test
    #[arg(long, value_name = "S", default_value_t = 6.0, value_parser = positive)]
    time_limit: f64,
    #[command(flatten)]
    verifier: VerifierArguments,
    /// Skip and count bad rows instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
}

/// Runs `latrace verify`.
pub fn run(arguments: &VerifyArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let reader = open_rows(&arguments.data, arguments.skip_bad_rows)?;
    let pool = judging_pool(arguments.jobs)?;
    let settings = arguments.verifier.settings()?;
    let verifiers = Verifiers::new(&settings)?;
    let journal = open_journal(arguments, &settings, &verifiers, &out)?;
    let rows = Rows { reader, ids: UniqueIds::default(), time_limit: arguments.time_limit };
    let mut judging = Judging { rows, pool, verifiers, journal };
    let summary = write_rows(&out, |sink| judging.judge_all(sink))?;
    // Removed only now: until the output is complete, it is what a kill leaves to resume from.
    judging.journal.close()?;
    info!("{summary}, {} bad rows skipped", judging.rows.reader.skipped());
    Ok(())
}

/// A pool of its own, so that `--jobs` bounds how many programs run at once.
fn judging_pool(jobs: Option<u64>) -> Result<ThreadPool> {
    // 0 leaves the number to rayon.
    let threads = jobs.map_or(0, |jobs| jobs as usize);
    ThreadPoolBuilder::new().num_threads(threads).build().context("cannot start threads")
}

/// The journal of judgements beside the output, with those of an interrupted run of the same options.
fn open_journal(
    arguments: &VerifyArguments,
    verifier: &CommandSettings,
    verifiers: &Verifiers,
    out: &Output,
) -> Result<Journal> {
    let own = json!([verifier, verifiers.checksums()]);
    let options = format!("{} {} {own}", arguments.time_limit, arguments.skip_bad_rows);
    let journal = Journal::open(out, &arguments.data, &options)?;
    note_earlier(journal.count_earlier());
    Ok(journal)
}

fn note_earlier(rows: usize) {
    if rows > 0 {
        info!("{rows} rows were already judged by an interrupted run");
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

/// A row to judge, its query and its prediction.
type RowToJudge = (Row, Query, String);

/// Rows on their way from the file through the judges, window by window.
struct Judging {
    rows: Rows,
    pool: ThreadPool,
    verifiers: Verifiers,
    journal: Journal,
}

impl Judging {
    fn judge_all(&mut self, sink: &mut dyn RowSink) -> Result<Summary> {
        // The number of rows is not known: they are read as they are judged.
        let mut progress = Progress::new("rows judged", 0, None);
        let mut summary = Summary::default();
        let mut window = self.rows.read_window()?;
        while !window.is_empty() {
            let (judged, next) = self.judge_and_read_on(&window)?;
            progress.advance(window.len() as u64);
            for ((row, ..), judgement) in window.into_iter().zip(judged) {
                summary.count(&judgement);
                sink.write(with_verdict(row, judgement))?;
            }
            // Only now: what stands before a bad row is judged and kept.
            window = next?;
        }
        progress.finish();
        Ok(summary)
    }

    /// The judgements of a window's rows: those that an interrupted run left in the journal, then new ones,
    /// which the journal keeps before any of them is used. The next window is read meanwhile, since reading
    /// takes as long as judging does.
    fn judge_and_read_on(
        &mut self,
        window: &[RowToJudge],
    ) -> Result<(Vec<Judgement>, Result<Vec<RowToJudge>>)> {
        let Judging { rows, pool, verifiers, journal } = self;
        // The journal holds judgements in row order, so those of an interrupted run come first.
        let mut judged = journal.take(window.len());
        let answers: Vec<Answered<'_>> = window[judged.len()..]
            .iter()
            .map(|(_, query, prediction)| (query, prediction.as_str()))
            .collect();
        let mut fresh = Ok(Vec::new());
        let next = pool.in_place_scope(|scope| {
            scope.spawn(|_| fresh = verifiers.judge_all(&answers));
            rows.read_window()
        });
        let fresh = fresh?;
        journal.add(&fresh)?;
        judged.extend(fresh);
        Ok((judged, next))
    }
}

/// The rows of a file, checked.
struct Rows {
    reader: RowReader,
    ids: UniqueIds,
    /// Default time limit of a program, in seconds per test.
    time_limit: f64,
}

impl Rows {
    fn read_window(&mut self) -> Result<Vec<RowToJudge>> {
        let mut window: Vec<RowToJudge> = Vec::new();
        let mut programs = 0;
        while window.len() < WINDOW_ROWS && programs < WINDOW_PROGRAMS {
            let Some(next) = self.next_row()? else { break };
            programs += usize::from(next.1.runs_a_program());
            window.push(next);
        }
        Ok(window)
    }

    fn next_row(&mut self) -> Result<Option<RowToJudge>> {
        let Rows { reader, ids, time_limit } = self;
        // With the row's text: a parsed row may not hold the large integers of a program's tests exactly.
        reader.next_with_text(|_, row, text| parse(row, text, ids, *time_limit))
    }
}

fn with_verdict(mut row: Row, judgement: Judgement) -> Row {
    add_fields(
        &mut row,
        [
            ("verdict", json!(judgement.verdict().name())),
            ("reason", json!(judgement.reason.code())),
            ("extracted", json!(judgement.extracted)),
        ],
    );
    // Only where there is one: the built-in kinds have none.
    row.extend(judgement.note.map(|note| ("verifier_reason".to_owned(), json!(note))));
    row
}

fn parse(row: Row, source: Option<&str>, ids: &mut UniqueIds, time_limit: f64) -> Parsed<RowToJudge> {
    ids.take_sample(&row)?;
    let prediction = text_of(&row, "prediction")?.to_owned();
    let query = Query::of(&row, source, time_limit)?;
    Ok((row, query, prediction))
}

pub(super) fn positive(text: &str) -> Result<f64, String> {
    text.parse::<f64>()
        .ok()
        .filter(|number| *number > 0.0 && number.is_finite())
        .ok_or("expected a number of seconds above 0".to_owned())
}
