//! `latrace weigh` from outside: what it joins, computes and refuses.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const TRACES: &str = r#"{"id": "q", "sample": 1, "logprobs": [-1.0, -3.0]}
{"id": "q", "sample": 0, "logprobs": [-0.5, -0.5, -2.0, -1.0]}
{"id": 7, "sample": 0, "logprobs": [-1.0]}
"#;
const SCORES: &str = r#"{"id": 7, "sample": 0, "logprobs": [-2.0]}
{"id": "q", "sample": 0, "logprobs": [-1.0, -1.0, -1.0, -3.0]}
{"id": "q", "sample": 1, "logprobs": [-1.0, -1.0]}
"#;
const VERDICTS: &str = r#"{"id": "q", "sample": 0, "verdict": "correct"}
{"id": "q", "sample": 1, "verdict": "wrong"}
{"id": "q", "sample": 1, "verdict": "correct"}
{"id": 7, "sample": 0, "verdict": "undetermined"}
"#;
const FILES: &str = "--traces traces.jsonl --scores scores.jsonl --verdicts verdicts.jsonl";

fn bench() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("traces", TRACES), ("scores", SCORES), ("verdicts", VERDICTS)] {
        fs::write(folder.path().join(format!("{name}.jsonl")), text).unwrap();
    }
    folder
}

fn weigh(folder: &Path, arguments: &str) -> (i32, String, String) {
    let output = Command::cargo_bin("latrace").unwrap().current_dir(folder).arg("weigh").args(arguments.split_whitespace()).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn weights_are_those_of_the_definition() {
    let folder = bench();
    let (code, stdout, stderr) = weigh(folder.path(), FILES);
    assert_eq!(code, 0, "{stderr}");
    let rows = rows(&stdout);
    // Trace 0: ratio e^{(-6 + 4) / 4}, accuracy 1. Trace 1: ratio e^{(-2 + 4) / 2}, accuracy 1/2.
    let rho = [(-0.5_f64).exp(), 0.5 * 1.0_f64.exp()];
    for (row, rho_k) in rows.iter().zip(rho) {
        assert!((row["weight"].as_f64().unwrap() - rho_k / (rho[0] + rho[1])).abs() < 1e-12, "{row}");
    }
    let chosen: Vec<(u64, f64)> = rows[..2].iter().map(|row| (row["sample"].as_u64().unwrap(), row["chosen"].as_f64().unwrap())).collect();
    assert_eq!(chosen, [(0, 0.0), (1, 1.0)]);
    assert_eq!((rows[2]["weight"].as_f64(), rows[2]["log_answer"].is_null(), rows[2]["chosen"].as_f64()), (Some(0.0), true, Some(0.0)));
    assert!(stderr.contains("surrogate (not a bound) L^1") && stderr.contains("1 questions without a usable trace"), "{stderr}");
}

#[test]
fn parquet_and_json_lines_give_the_same() {
    let folder = bench();
    let expected = weigh(folder.path(), FILES).1;
    for (name, text) in [("traces", TRACES), ("scores", SCORES)] {
        // In Parquet a column has one type: the number 7 becomes a text, in both files alike.
        let texts = text.replace("\"id\": 7", "\"id\": \"7\"");
        write_parquet(&folder.path().join(format!("{name}.parquet")), &rows(&texts));
    }
    fs::write(folder.path().join("verdicts.jsonl"), VERDICTS.replace("\"id\": 7", "\"id\": \"7\"")).unwrap();
    let (code, got, stderr) = weigh(folder.path(), "--traces traces.parquet --scores scores.parquet --verdicts verdicts.jsonl");
    assert_eq!((code, got), (0, expected.replace("\"id\":7", "\"id\":\"7\"")), "{stderr}");
}

fn write_parquet(path: &Path, rows: &[Value]) {
    use arrow_array::builder::{Float32Builder, ListBuilder};
    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    let mut lists = ListBuilder::new(Float32Builder::new());
    for row in rows {
        row["logprobs"].as_array().unwrap().iter().for_each(|value| lists.values().append_value(value.as_f64().unwrap() as f32));
        lists.append(true);
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("sample", std::sync::Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row["sample"].as_i64().unwrap())))),
        ("id", std::sync::Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned())))),
        ("logprobs", std::sync::Arc::new(lists.finish())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn what_does_not_join_is_named() {
    let check = |file: &str, text: &str, expected: &str| {
        let folder = bench();
        fs::write(folder.path().join(file), text).unwrap();
        let (code, _, stderr) = weigh(folder.path(), FILES);
        assert_eq!((code, stderr.contains(expected)), (1, true), "{stderr}");
    };
    check("scores.jsonl", &SCORES.lines().skip(1).collect::<Vec<_>>().join("\n"), "scores.jsonl has nothing for id 7, sample 0 of traces.jsonl");
    check("traces.jsonl", &TRACES.lines().take(2).collect::<Vec<_>>().join("\n"), "scores.jsonl: 1 records have no trace, such as id 7, sample 0");
    check("scores.jsonl", &SCORES.replace("[-2.0]", "[-2.0, -1.0]"), "id 7, sample 0: 1 log-probs of the trace, 2 of its score");
    check("scores.jsonl", &SCORES.replace("[-2.0]", "[\"x\"]"), "line 1: field \"logprobs[0]\": expected a finite number");
    check("scores.jsonl", &SCORES.repeat(2), "scores.jsonl: id 7, sample 0 comes twice");
    check("verdicts.jsonl", &VERDICTS.replace("undetermined", "maybe"), "line 4: field \"verdict\": expected \"correct\", \"wrong\" or \"undetermined\"");
    let folder = bench();
    let (code, _, stderr) = weigh(folder.path(), "--traces traces.jsonl --scores scores.jsonl");
    assert_eq!((code, stderr.contains("--answer accuracy needs --verdicts")), (2, true), "{stderr}");
}
