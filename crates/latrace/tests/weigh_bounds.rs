//! What `latrace weigh` calls a bound: that of the definition, over all questions, and nothing else.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use latrace_io::rows::{Output, write_rows};
use latrace_objective::Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The four files of a weighing, row by row.
#[derive(Clone, Default)]
struct Rows {
    traces: Vec<Value>,
    scores: Vec<Value>,
    verdicts: Vec<Value>,
    references: Vec<Value>,
}

impl Rows {
    /// A trace of the full log ratio `log_ratio`, after which the reference answer has the likelihood
    /// `of_reference`. An answer is correct or not, and the reference answer or not.
    fn add(&mut self, at: (&str, u64), log_ratio: f64, of_reference: f64, answers: &[(bool, bool)]) {
        let (id, sample) = at;
        let row = |logprobs: &[f64]| json!({"id": id, "sample": sample, "logprobs": logprobs});
        let mut trace = row(&[-3.0, -1.0]);
        trace["stop_reason"] = json!("stop_string");
        trace["sampling"] = plain();
        self.traces.push(trace);
        self.scores.push(row(&[-3.0 + log_ratio, -1.0]));
        self.references.push(row(&[of_reference.ln()]));
        for (number, &(is_correct, is_reference)) in answers.iter().enumerate() {
            let verdict = if is_correct { "correct" } else { "wrong" };
            let row = json!({"id": id, "sample": sample, "answer": number, "verdict": verdict, "is_reference": is_reference});
            self.verdicts.push(row);
        }
    }

    /// Two questions, of two and of three traces.
    fn small() -> Rows {
        let mut rows = Rows::default();
        rows.add(("a", 0), -1.0, 0.2, &[(true, true), (true, false), (false, false), (false, false)]);
        rows.add(("a", 1), 0.5, 0.1, &[(false, false), (false, false), (false, false), (false, false)]);
        rows.add(("b", 0), -0.5, 0.3, &[(true, true), (true, true)]);
        rows.add(("b", 1), -0.5, 0.3, &[(true, false), (true, false)]);
        rows.add(("b", 2), -0.5, 0.3, &[(false, false), (false, false)]);
        rows
    }

    fn write(&self, folder: &Path) {
        let text = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
        let files = [&self.traces, &self.scores, &self.verdicts, &self.references];
        for (name, rows) in ["traces", "scores", "verdicts", "references"].iter().zip(files) {
            fs::write(folder.join(format!("{name}.jsonl")), text(rows)).unwrap();
        }
    }
}

fn plain() -> Value {
    json!({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0})
}

const FILES: &str = "--traces traces.jsonl --scores scores.jsonl --verdicts verdicts.jsonl";

/// What is written to `--bounds` and said, with log rho of `small` known.
fn weigh(folder: &Path, arguments: &str) -> (Value, String) {
    let output = Command::cargo_bin("latrace")
        .unwrap()
        .current_dir(folder)
        .args(["weigh", "--out", "weights.jsonl", "--bounds", "bounds.json"])
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (serde_json::from_slice(&fs::read(folder.join("bounds.json")).unwrap()).unwrap(), stderr)
}

fn with_references(rows: &Rows) -> (Value, String, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    rows.write(folder.path());
    let (bounds, stderr) = weigh(folder.path(), &format!("{FILES} --references references.jsonl"));
    (bounds, stderr, folder)
}

fn near(got: &Value, expected: f64) -> bool {
    got.as_f64().is_some_and(|got| (got - expected).abs() < 1e-9)
}

fn names(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_bound_is_that_of_the_definition_over_all_questions() {
    let (bounds, stderr, _) = with_references(&Rows::small());
    let a = [-1.0 + (0.2_f64 + 0.25).ln(), 0.5 + 0.1_f64.ln()];
    let b = [-0.5 + 0.3_f64.ln(), -0.5 + 1.3_f64.ln(), -0.5 + 0.3_f64.ln()];
    let log_mean = |log_rho: &[f64]| {
        (log_rho.iter().map(|log_rho| log_rho.exp()).sum::<f64>() / log_rho.len() as f64).ln()
    };
    let of_one = [(a[0] + a[1]) / 2.0, (b[0] + b[1] + b[2]) / 3.0];
    let of_two = [log_mean(&a), (2.0 * log_mean(&b[..2]) + log_mean(&[b[0], b[2]])) / 3.0];
    let series = &bounds["bounds"];
    assert_eq!((&series["is_bound"], &series["ratio"]), (&json!(true), &json!("full")));
    // A question of two traces has no L^3, and no mean leaves it out.
    assert_eq!(series["of_k"].as_array().unwrap().len(), 2);
    for (point, [a, b]) in series["of_k"].as_array().unwrap().iter().zip([of_one, of_two]) {
        assert!(near(&point["mean"], (a + b) / 2.0), "{point}");
        assert!(near(&point["standard_error"], (a - b).abs() / 2.0), "{point}");
        assert_eq!((&point["questions"], &point["unbounded"]), (&json!(2), &json!(0)));
    }
    // No number that is not over all questions stands beside a bound.
    assert_eq!(names(series), ["kind", "is_bound", "ratio", "answer", "of_k"]);
    let of_point = ["traces", "questions", "unbounded", "mean", "standard_error", "monte_carlo_error"];
    assert_eq!(names(&series["of_k"][0]), of_point);
    let said = format!("L^1 = {:.4}", (of_one[0] + of_one[1]) / 2.0);
    assert!(stderr.contains(&said) && stderr.contains("mean over all 2 questions"), "{stderr}");
}

#[track_caller]
fn check_no_bound(rows: &Rows, expected: &str) {
    let (bounds, stderr, _) = with_references(rows);
    assert_eq!(names(&bounds["bounds"]), ["is_bound", "reason"], "{stderr}");
    assert_eq!(
        (&bounds["bounds"]["is_bound"], &bounds["bounds"]["reason"]),
        (&json!(false), &json!(expected))
    );
    assert!(stderr.contains(&format!("no bound: {expected}")) && !stderr.contains("bound, full"), "{stderr}");
    assert!(stderr.contains("surrogate (not a bound), geometric ratio, accuracy: L^1"), "{stderr}");
    assert_eq!(bounds["surrogates"]["is_bound"], false);
}

#[test]
fn samples_of_other_distributions_make_no_bound() {
    let drawn = |of_traces: Value, of_answers: Value| {
        let mut rows = Rows::small();
        rows.traces[1]["sampling"] = of_traces;
        rows.verdicts[2]["sampling"] = of_answers;
        rows
    };
    let changed = |name: &str, value: f64| {
        let mut sampling = plain();
        sampling[name] = json!(value);
        sampling
    };
    check_no_bound(
        &drawn(changed("temperature", 0.7), plain()),
        "the traces were tempered (temperature 0.7)",
    );
    check_no_bound(&drawn(changed("top_k", 50.0), plain()), "the traces were truncated (top_k 50)");
    check_no_bound(&drawn(plain(), changed("min_p", 0.1)), "the answers were truncated (min_p 0.1)");
    let not_stated = "the traces do not state how they were sampled (`sampling`)";
    check_no_bound(&drawn(Value::Null, plain()), not_stated);
}

#[test]
fn what_a_bound_lacks_is_named() {
    let mut rows = Rows::small();
    rows.verdicts[2].as_object_mut().unwrap().remove("is_reference");
    let expected = "the verdicts of 1 of 2 questions do not state which answers are the reference answer (`is_reference`)";
    check_no_bound(&rows, expected);
    let folder = tempfile::tempdir().unwrap();
    Rows::small().write(folder.path());
    let (bounds, stderr) = weigh(folder.path(), FILES);
    let expected = "2 of 2 questions have no log-probs of a reference answer";
    assert_eq!(bounds["bounds"]["reason"], expected, "{stderr}");
}

#[test]
fn other_forms_of_the_fields_are_refused() {
    let check = |change: fn(&mut Rows), expected: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = Rows::small();
        change(&mut rows);
        rows.write(folder.path());
        let mut command = Command::cargo_bin("latrace").unwrap();
        command.current_dir(folder.path()).arg("weigh").args(FILES.split_whitespace());
        let output = command.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), stderr.contains(expected)), (Some(1), true), "{stderr}");
    };
    check(
        |rows| rows.traces[0]["sampling"] = json!({"temperature": 1}),
        "traces.jsonl line 1: field \"sampling\": expected an object of temperature, top_p, top_k and min_p",
    );
    check(
        |rows| rows.verdicts[1]["is_reference"] = json!("no"),
        "verdicts.jsonl line 2: field \"is_reference\": expected true or false, got string \"no\"",
    );
}

/// Such a trace has log-probs of the reference answer, as `latrace score` gives them to any row, which must not
/// count.
#[test]
fn a_trace_without_an_end_counts_as_zero() {
    let mut rows = Rows::small();
    // As `latrace sample` and as `latrace answer` say it.
    rows.traces[3]["stop_reason"] = json!("max_tokens");
    rows.verdicts[0]["stop_reason"] = json!("open_trace");
    let (bounds, stderr, _) = with_references(&rows);
    let of_k = &bounds["bounds"]["of_k"];
    assert_eq!((&of_k[0]["mean"], &of_k[0]["unbounded"]), (&Value::Null, &json!(2)));
    assert_eq!((&of_k[0]["standard_error"], &of_k[0]["questions"]), (&Value::Null, &json!(2)));
    let said = "L^1 = -inf, because 2 of 2 questions have 1 or more traces without an end";
    assert!(stderr.contains(said), "{stderr}");
    let (a, b) = (0.5 + 0.1_f64.ln(), -0.5 + 0.3_f64.ln());
    let half = 2.0_f64.ln();
    assert!(near(&of_k[1]["mean"], (a - half + (2.0 * (b - half) + b) / 3.0) / 2.0), "{of_k}");
    // The same where nothing follows such a trace.
    rows.verdicts.retain(|verdict| (&verdict["id"], &verdict["sample"]) != (&json!("b"), &json!(1)));
    rows.references.retain(|row| (&row["id"], &row["sample"]) != (&json!("b"), &json!(1)));
    let (again, stderr, _) = with_references(&rows);
    assert_eq!(again["bounds"], bounds["bounds"], "{stderr}");
    // No trace of "a" ends: the mean of the other question would bound nothing.
    rows.traces[1]["stop_reason"] = json!("max_tokens");
    let (bounds, stderr, _) = with_references(&rows);
    let last = &bounds["bounds"]["of_k"][1];
    assert_eq!((&last["mean"], &last["unbounded"]), (&Value::Null, &json!(1)));
    assert!(stderr.contains("L^2 = -inf, because 1 of 2 questions have 2 or more"), "{stderr}");
}

/// pi = q, and P(correct) = p for every question: an answer is the reference answer with a probability between
/// 0.05 p and 0.9 p after each trace, and another correct one with the rest of p.
fn known(p: f64, questions: u64, traces: u64, answers: usize) -> Rows {
    let (mut rows, mut rng) = (Rows::default(), Rng::new(9));
    for (question, trace) in (0..questions).flat_map(|q| (0..traces).map(move |k| (q, k))) {
        let of_reference = (0.05 + 0.85 * rng.uniform()) * p;
        let mut answer = || {
            let place = rng.uniform();
            (place < p, place < of_reference)
        };
        let answers: Vec<(bool, bool)> = (0..answers).map(|_| answer()).collect();
        rows.add((&format!("q{question}"), trace), 0.0, of_reference, &answers);
    }
    rows
}

#[test]
fn the_bound_stays_below_the_truth_and_rises_with_traces() {
    for (p, traces) in [(0.05_f64, 4), (0.5, 4), (0.95, 8)] {
        let (bounds, stderr, _) = with_references(&known(p, 400, traces, 2));
        let number = |point: &Value, name: &str| point[name].as_f64().unwrap();
        let points = bounds["bounds"]["of_k"].as_array().unwrap();
        let bound_k: Vec<f64> = points.iter().map(|point| number(point, "mean")).collect();
        assert_eq!(bound_k.len(), traces as usize, "{stderr}");
        assert!(bound_k.windows(2).all(|pair| pair[0] < pair[1]), "p {p}: {bound_k:?}");
        for point in points {
            assert!(
                number(point, "mean") - 1.96 * number(point, "standard_error") < p.ln(),
                "p {p}: {point}"
            );
        }
    }
}

#[test]
fn parquet_states_how_traces_were_drawn_too() {
    let folder = tempfile::tempdir().unwrap();
    Rows::small().write(folder.path());
    let files = "--scores scores.jsonl --verdicts verdicts.jsonl --references references.jsonl --traces traces.parquet";
    let check = |temperature: f64, cut_off: &str| {
        write_parquet(&folder.path().join("traces.parquet"), &Rows::small().traces, temperature, cut_off);
        weigh(folder.path(), files).0["bounds"].clone()
    };
    let (_, _, lines) = with_references(&Rows::small());
    let expected: Value =
        serde_json::from_slice(&fs::read(lines.path().join("bounds.json")).unwrap()).unwrap();
    assert_eq!(check(1.0, "stop_string"), expected["bounds"]);
    assert_eq!(check(0.7, "stop_string")["reason"], "the traces were tempered (temperature 0.7)");
    assert_eq!(check(1.0, "max_tokens")["of_k"][0]["unbounded"], 2);
}

/// Traces as a Parquet file, all drawn at one temperature and with one end.
fn write_parquet(path: &Path, rows: &[Value], temperature: f64, stop_reason: &str) {
    let out = Output::new(Some(path)).unwrap();
    let stated = json!({"temperature": temperature, "top_p": 1.0, "top_k": 0, "min_p": 0.0});
    let row = |row: &Value| {
        let mut row = row.as_object().unwrap().clone();
        row.insert("stop_reason".to_owned(), json!(stop_reason));
        row.insert("sampling".to_owned(), stated.clone());
        row
    };
    write_rows(&out, |sink| rows.iter().try_for_each(|of| sink.write(row(of)))).unwrap();
}
