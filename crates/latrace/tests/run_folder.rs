//! A run folder from outside: its tables as pyarrow, DuckDB, polars and latrace's own verbs read them, the
//! snippets of docs/run-folder.md, and what becomes of a folder of another layout.
//!
//! The readers are those of oracle/requirements-tables.txt, in the environment whose Python is
//! `LATRACE_PYTHON`.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use latrace_core::{Reason, Split};
use latrace_io::table::{Record, Table};
use latrace_questions::tasks::tokenizer::tokenizer_json;
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, QuestionRecord, ResponseRecord, ScoreRecord, TraceRecord, VerdictRecord,
    WeightRecord,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the page's snippets look for a run.
const RUN: &str = "runs/quickstart";

/// A tokenizer's first word after its special tokens.
const WORD: u32 = 5;

/// A folder with a run in it, of one question with three traces, whose first part of every table is empty.
fn bench() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join(RUN);
    let model = run.join("00-model");
    fs::create_dir_all(&model).unwrap();
    let words = ["seven", "eight"].map(str::to_owned);
    fs::write(model.join("tokenizer.json"), tokenizer_json(&words)).unwrap();
    write(&run.join("00-questions"), &[question()]);
    write(
        &run.join("03-traces"),
        &[trace(0, &[-1.0, -0.5], true), trace(1, &[-0.25], true), trace(2, &[], false)],
    );
    write(&run.join("04-scores"), &[score(0, &[-1.5, -0.5]), score(1, &[-0.75])]);
    write(&run.join("05-answers"), &[answer(0, 0), answer(0, 1), answer(1, 0), answer(1, 1)]);
    let verdicts =
        [(0, 0, Reason::Equal), (0, 1, Reason::Equal), (1, 0, Reason::Equal), (1, 1, Reason::NoAnswer)];
    write(
        &run.join("06-verdicts"),
        &verdicts.map(|(sample, answer, reason)| verdict(sample, answer, reason)),
    );
    write(&run.join("07-weights"), &[weight(0), weight(1)]);
    write(&run.join("08-dataset"), &[example()]);
    write(&run.join("10-evaluation/initial"), &[response()]);
    folder
}

/// A table of two empty parts and one of records, beside a stage's record, as a stage leaves them.
fn write<R: Record>(folder: &Path, records: &[R]) {
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("stage.json"), "{}").unwrap();
    let table = Table::<R>::create(folder, "key");
    let parts: [&[R]; 3] = [&[], &[], records];
    parts.into_iter().enumerate().for_each(|(part, records)| table.write(part, records).unwrap());
}

fn question() -> QuestionRecord {
    QuestionRecord {
        id: "a".to_owned(),
        split: Split::Train,
        question: "7?".to_owned(),
        hint: None,
        difficulty: None,
        kind: "text".to_owned(),
        reference: "{\"gold\": \"seven\"}".to_owned(),
        prompt_ids: vec![WORD],
        posterior_prompt_ids: None,
        trace_ids: None,
        answer_ids: None,
    }
}

fn trace(sample: u64, logprobs: &[f32], closed: bool) -> TraceRecord {
    let token_ids = logprobs.iter().map(|_| WORD + 1).collect();
    TraceRecord { id: "a".to_owned(), sample, token_ids, logprobs: logprobs.to_vec(), closed }
}

fn score(sample: u64, logprobs: &[f32]) -> ScoreRecord {
    ScoreRecord { id: "a".to_owned(), sample, logprobs: logprobs.to_vec(), reference_logprobs: None }
}

/// Answers of one trace differ, or they would be one example.
fn answer(sample: u64, answer: u64) -> AnswerRecord {
    AnswerRecord {
        id: "a".to_owned(),
        sample,
        answer,
        token_ids: vec![WORD + answer as u32],
        given: 0,
        logprobs: vec![-0.5],
        ended: true,
        text: "seven".to_owned(),
    }
}

fn verdict(sample: u64, answer: u64, reason: Reason) -> VerdictRecord {
    VerdictRecord { id: "a".to_owned(), sample, answer, reason, is_reference: false }
}

/// rho of trace 0: e^{((-1.5 - 0.5) + (1 + 0.5)) / 2} times accuracy 1; of trace 1: e^{-0.75 + 0.25} times 1/2.
fn rho() -> [f64; 2] {
    let rho = [(-0.25_f64).exp(), 0.5 * (-0.5_f64).exp()];
    rho.map(|rho_k| rho_k / (rho[0] + rho[1]))
}

fn weight(sample: u64) -> WeightRecord {
    let weight = rho()[sample as usize];
    let (log_ratio, log_answer) = (Some(-0.25), None);
    let by_reference = false;
    WeightRecord { id: "a".to_owned(), sample, log_ratio, log_answer, weight, chosen: weight, by_reference }
}

fn example() -> ExampleRecord {
    ExampleRecord {
        id: "a".to_owned(),
        source: -1,
        prompt_ids: vec![WORD],
        response_ids: vec![WORD, WORD],
        trace_tokens: 1,
        weight: 1.0,
        given: 0,
        old_logprobs: None,
        advantages: None,
    }
}

fn response() -> ResponseRecord {
    ResponseRecord {
        id: "a".to_owned(),
        sample: 0,
        difficulty: None,
        token_ids: vec![],
        text: None,
        reason: Reason::NoAnswer,
        truncated: true,
        without_thought: None,
    }
}

/// The Python that has the readers. Without one nothing is held, which is said, and in CI fails.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("LATRACE_PYTHON").map(PathBuf::from);
    if python.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "LATRACE_PYTHON names no Python");
        // Not caught by the test harness, as what a test prints is.
        let _ = writeln!(
            std::io::stderr(),
            "LATRACE_PYTHON names no Python: other readers of tables are not tried"
        );
    }
    python
}

/// What a program in Python prints, run in `folder` with `input`.
fn printed(mut command: Command, folder: &Path, input: &str) -> String {
    let output = command.current_dir(folder).write_stdin(input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_table_is_one_table_to_every_reader() {
    let Some(python) = python() else { return };
    let (bench, mut command) = (bench(), Command::new(python));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../oracle/read_tables.py");
    command.arg(script).arg(RUN);
    let tables: BTreeMap<String, Vec<Value>> =
        serde_json::from_str(&printed(command, bench.path(), "")).unwrap();
    let rows: Vec<(&str, usize)> = tables.iter().map(|(name, rows)| (name.as_str(), rows.len())).collect();
    let expected = [
        ("00-questions", 1),
        ("03-traces", 3),
        ("04-scores", 2),
        ("05-answers", 4),
        ("06-verdicts", 4),
        ("07-weights", 2),
        ("08-dataset", 1),
        ("10-evaluation/initial", 1),
    ];
    assert_eq!(rows, expected);
    let trace =
        json!({"id": "a", "sample": 0, "token_ids": [6, 6], "logprobs": [-1.0, -0.5], "closed": true});
    assert_eq!(tables["03-traces"][0], trace);
    let verdict = json!({"id": "a", "sample": 1, "answer": 1, "reason": "no_answer", "is_reference": false, "verdict": "wrong"});
    assert_eq!(tables["06-verdicts"][3], verdict);
    assert_eq!(tables["00-questions"][0]["split"], "train");
    assert_eq!(tables["04-scores"][0]["reference_logprobs"], Value::Null);
}

/// The page's code in a language, piece by piece.
fn snippets<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    page.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_snippets_of_the_page_work() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run-folder.md");
    let page = fs::read_to_string(page).unwrap();
    let (queries, programs) = (snippets(&page, "sql"), snippets(&page, "python"));
    assert_eq!((queries.len(), programs.len()), (1, 2), "the page's snippets, of which each is run here");
    let Some(python) = python() else { return };
    let bench = bench();
    let run = |program: &str, input: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", program]);
        printed(command, bench.path(), input)
    };
    let rows = run("import sys, duckdb; print(duckdb.sql(sys.stdin.read()).fetchall())", queries[0]);
    let [first, second] = rho();
    assert_eq!(rows.trim(), format!("[('a', 0, {first:?}, 1.0), ('a', 1, {second:?}, 0.5)]"));
    assert_eq!(run(programs[0], "").trim(), "eight eight");
    let told = run(programs[1], "");
    assert!(told.contains("shape: (2, 3)") && told.contains("correct") && told.contains("wrong"), "{told}");
}

/// What the verb prints, a row for each line.
fn verb(folder: &Path, arguments: &str) -> Vec<Value> {
    let mut command = Command::cargo_bin("latrace").unwrap();
    command.args(arguments.split_whitespace());
    printed(command, folder, "").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn weigh_and_build_take_the_tables_of_a_run() {
    let bench = bench();
    let weighed = verb(
        bench.path(),
        "weigh --traces runs/quickstart/03-traces --scores runs/quickstart/04-scores \
         --verdicts runs/quickstart/06-verdicts --selection weighted --bounds bounds.json",
    );
    let weights: Vec<f64> = weighed.iter().map(|row| row["weight"].as_f64().unwrap()).collect();
    // The trace without an end has no score, and weighs nothing.
    assert_eq!(weights.len(), 2);
    // The same few operations, in another order.
    weights.iter().zip(rho()).for_each(|(weight, rho)| assert!((weight - rho).abs() < 1e-15, "{weights:?}"));
    let bounds: Value = serde_json::from_slice(&fs::read(bench.path().join("bounds.json")).unwrap()).unwrap();
    assert_eq!(bounds["surrogates"]["of_k"].as_array().unwrap().len(), 3, "it counts in K: {bounds}");
    let built = verb(
        bench.path(),
        "build --questions runs/quickstart/00-questions --traces runs/quickstart/03-traces \
         --weights runs/quickstart/07-weights --answers runs/quickstart/05-answers \
         --verdicts runs/quickstart/06-verdicts",
    );
    let rows: Vec<(i64, f64)> =
        built.iter().map(|row| (row["source"].as_i64().unwrap(), row["weight"].as_f64().unwrap())).collect();
    let [first, second] = rho();
    assert_eq!(rows, [(0, first / 2.0), (0, first / 2.0), (1, second)]);
}

/// Every command that takes a run folder.
const VERBS: [&str; 7] = [
    "run tiny.toml --run-dir old",
    "run tiny.toml --run-dir old --dry-run",
    "status old",
    "report old",
    "export old --format trl --out exported",
    "compare old old",
    "serve old --port 0",
];

#[test]
fn a_run_of_another_layout_is_refused_by_all_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old");
    fs::create_dir_all(old.join("03-traces")).unwrap();
    fs::write(old.join("recipe.toml"), "[questions]\ntask = \"walk\"\n").unwrap();
    fs::write(old.join("03-traces/stage.json"), "{}").unwrap();
    fs::write(old.join("summary.json"), "{\"models\": {}}").unwrap();
    fs::write(folder.path().join("tiny.toml"), "[questions]\ntask = \"walk\"\n").unwrap();
    let names = || {
        let entries = fs::read_dir(&old).unwrap().map(|entry| entry.unwrap().file_name());
        entries.collect::<std::collections::BTreeSet<_>>()
    };
    let before = names();
    for verb in VERBS {
        let output = Command::cargo_bin("latrace")
            .unwrap()
            .current_dir(folder.path())
            .args(verb.split_whitespace())
            .timeout(std::time::Duration::from_secs(60))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{verb}: {said}");
        assert!(said.contains("old is a run of layout 1"), "{verb}: {said}");
        assert!(said.contains("hint: `latrace run RECIPE.toml --run-dir NEW`"), "{verb}: {said}");
    }
    assert_eq!(names(), before);
}
