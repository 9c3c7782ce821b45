//! `latrace verify` from outside: rows in, verdicts out.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(rows: &[Value]) -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        fs::write(bench.path("rows.jsonl"), lines.join("\n")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, options: &[&str]) -> (i32, String) {
        let output = Command::cargo_bin("latrace")
            .unwrap()
            .current_dir(self.folder.path())
            .args(["verify", "--data", "rows.jsonl", "--out", "out.jsonl"])
            .args(options)
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    fn verdicts(&self) -> Vec<Value> {
        fs::read_to_string(self.path("out.jsonl"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn reasons(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["reason"].as_str().unwrap()).collect()
}

#[test]
fn each_kind_is_judged_and_other_fields_are_kept() {
    let bench = Bench::new(&[
        json!({"id": 1, "kind": "math", "gold": "1/2", "prediction": "so \\boxed{0.5}", "note": [1]}),
        json!({"id": 2, "kind": "math", "gold": ["3", "4"], "prediction": "\\boxed{5}"}),
        json!({"id": 3, "kind": "choice", "gold": "C", "prediction": "The answer is (C)."}),
        json!({"id": 4, "kind": "choice", "gold": "B", "prediction": "\\boxed{A, B}", "options": ["x", "y"]}),
        json!({"id": 5, "kind": "text", "gold": "an ellipse", "prediction": "Ellipse."}),
        json!({"id": 6, "kind": "math", "gold": "\\frac{1}{", "prediction": "1"}),
        json!({"id": 7, "kind": "code", "gold": {}, "prediction": "```\nprint(1)\n```"}),
    ]);
    let (code, stderr) = bench.verify(&[]);
    assert_eq!(code, 0, "{stderr}");
    let rows = bench.verdicts();
    assert_eq!(reasons(&rows), ["equal", "different", "equal", "no_answer", "equal", "bad_gold", "bad_gold"]);
    assert_eq!(
        rows[0],
        json!({"id": 1, "kind": "math", "gold": "1/2", "prediction": "so \\boxed{0.5}", "note": [1], "verdict": "correct", "reason": "equal", "extracted": "0.5"})
    );
    assert_eq!(rows[5]["verdict"], "undetermined");
    assert!(stderr.contains("7 rows judged"), "{stderr}");
}

#[test]
fn a_row_may_name_where_its_answer_stands() {
    let row = |id: u64, convention: &str, prediction: &str| json!({"id": id, "kind": "math", "gold": "42", "prediction": prediction, "convention": convention});
    let bench = Bench::new(&[
        row(1, "boxed-first", "\\boxed{41} of 42"),
        row(2, "last-number", "\\boxed{41} of 42"),
        row(3, "gsm8k", "\\boxed{41}\n#### 42"),
        row(4, "strict-boxed", "The answer is 42."),
        json!({"id": 5, "kind": "choice", "gold": "B", "prediction": "I take (B)", "convention": "strict-boxed"}),
        json!({"id": 6, "kind": "choice", "gold": "B", "prediction": "I take (B)", "convention": null}),
    ]);
    let (code, stderr) = bench.verify(&[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        reasons(&bench.verdicts()),
        ["different", "equal", "equal", "no_answer", "no_answer", "equal"]
    );
}

#[test]
fn an_unknown_convention_is_a_bad_row() {
    let bench = Bench::new(&[
        json!({"id": 1, "kind": "math", "gold": "1", "prediction": "1", "convention": "boxed"}),
    ]);
    let (code, stderr) = bench.verify(&[]);
    assert_eq!(code, 1);
    let expected =
        "rows.jsonl line 1: field \"convention\": expected one of \"boxed-first\", \"strict-boxed\"";
    assert!(stderr.contains(expected) && stderr.contains("got string \"boxed\""), "{stderr}");
}

#[test]
fn every_convention_is_told_by_help() {
    let output = Command::cargo_bin("latrace").unwrap().args(["verify", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for name in latrace_verify::Convention::names() {
        assert!(help.contains(&format!("  {name}")), "{name}: {help}");
    }
}

#[test]
fn integers_beyond_64_bits_stay_exact_in_tests_of_functions() {
    let big = "123456789012345678901234567890";
    let text =
        |expected: &str| format!("{{\"fn_name\": \"f\", \"inputs\": [[{big}]], \"outputs\": [{expected}]}}");
    let row = |id: u64, gold: String| {
        format!(
            "{{\"id\": {id}, \"kind\": \"code\", \"bare\": true, \"prediction\": \"def f(x): return x\", \"gold\": {gold}}}"
        )
    };
    let off = "123456789012345678901234567891";
    let quoted = |text: String| Value::from(text).to_string();
    let bench = Bench::new(&[]);
    let rows = [row(1, text(big)), row(2, text(off)), row(3, quoted(text(big))), row(4, quoted(text(off)))];
    fs::write(bench.path("rows.jsonl"), rows.join("\n")).unwrap();
    let (code, stderr) = bench.verify(&[]);
    assert_eq!(code, 0, "{stderr}");
    if !stderr.contains("no program is run") {
        assert_eq!(reasons(&bench.verdicts()), ["equal", "different", "equal", "different"]);
    }
}

#[test]
fn order_is_that_of_the_input_for_any_number_of_jobs() {
    let rows: Vec<Value> =
        (0..5000).map(|id| json!({"id": id, "kind": "math", "gold": id.to_string(), "prediction": format!("\\boxed{{{}}}", id + id % 3)})).collect();
    let bench = Bench::new(&rows);
    bench.verify(&["--jobs", "1"]);
    let one = bench.verdicts();
    bench.verify(&["--jobs", "4"]);
    assert_eq!(one, bench.verdicts());
    assert!(
        one.iter()
            .enumerate()
            .all(|(at, row)| row["id"] == at && (row["verdict"] == "correct") == (at % 3 == 0))
    );
}

#[test]
fn a_bad_row_stops_the_work_or_is_counted() {
    let bench = Bench::new(&[
        json!({"id": 1, "kind": "maths", "gold": "1", "prediction": "1"}),
        json!({"id": 2, "kind": "math", "gold": "1", "prediction": "1"}),
    ]);
    let (code, stderr) = bench.verify(&[]);
    assert_eq!(code, 1);
    assert!(stderr.contains("rows.jsonl line 1: field \"kind\""), "{stderr}");
    assert!(!bench.path("out.jsonl").exists());
    let (code, stderr) = bench.verify(&["--skip-bad-rows"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("1 bad rows skipped"), "{stderr}");
    assert_eq!(bench.verdicts().len(), 1);
}

#[test]
fn what_an_earlier_run_judged_is_not_judged_again() {
    let bench = Bench::new(&[
        json!({"id": 1, "kind": "math", "gold": "1", "prediction": "1"}),
        json!({"id": 2, "kind": "math", "gold": "1", "prediction": "2"}),
    ]);
    // The journal of a run that ends is gone, so one is kept by making its end impossible: the output is a
    // folder.
    fs::create_dir_all(bench.path("out.jsonl/x")).unwrap();
    assert_eq!(bench.verify(&[]).0, 1);
    fs::remove_dir_all(bench.path("out.jsonl")).unwrap();
    let journal = bench.path(".out.jsonl.journal");
    let text = fs::read_to_string(&journal).unwrap();
    assert_eq!(text.lines().count(), 3);
    // An earlier judgement that no judge would give shows that it was taken over.
    fs::write(&journal, text.replace("[\"different\",\"2\"]", "[\"crashed\",\"2\"]")).unwrap();
    assert_eq!(bench.verify(&[]).0, 0);
    assert_eq!(reasons(&bench.verdicts()), ["equal", "crashed"]);
    assert!(!journal.exists());
}

/// A row's limits and its `bare` reach the sandbox. What programs may do there is tested in `latrace-verify`.
/// Only where a sandbox works; elsewhere all must be `no_sandbox`.
#[test]
fn programs_run_in_the_sandbox_or_not_at_all() {
    let double = json!({"inputs": ["3\n", "10\n"], "outputs": ["6\n", "20\n"]});
    let called = json!({"fn_name": "f", "inputs": [[[1, 5, 2]]], "outputs": [[1, 5]]});
    let limits = json!({"time_s": 3, "memory_mb": 256, "output_mb": 1, "processes": 16});
    let fenced = |program: &str| {
        let prediction = format!("```python\n{program}\n```");
        json!({"id": program, "kind": "code", "gold": double, "prediction": prediction, "limits": limits})
    };
    let bare = |program: &str| json!({"id": program, "kind": "code", "gold": called.to_string(), "prediction": program, "bare": true});
    let cases = [
        (fenced("print(2 * int(input()))"), "equal"),
        (fenced("print(6)"), "different"),
        (fenced("import time; time.sleep(60)"), "time_limit"),
        (fenced("b = bytearray(b'x') * (280 << 20); import time; time.sleep(60)"), "memory_limit"),
        (fenced("while True: print('x' * 1000)"), "output_limit"),
        (fenced("import os, time\nfor i in range(20):\n  if os.fork() == 0: time.sleep(9)"), "crashed"),
        (bare("def f(x): return (min(x), max(x))"), "equal"),
        (bare("def f(x): return [5, 1]"), "different"),
    ];
    let bench = Bench::new(&cases.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>());
    let (code, stderr) = bench.verify(&["--jobs", "2"]);
    assert_eq!(code, 0, "{stderr}");
    let judged = bench.verdicts();
    if stderr.contains("no program is run") {
        println!("no sandbox here: {stderr}");
        assert!(judged.iter().all(|row| row["verdict"] == "undetermined" && row["reason"] == "no_sandbox"));
        return;
    }
    assert_eq!(reasons(&judged), cases.map(|(_, reason)| reason));
}
