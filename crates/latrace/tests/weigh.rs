//! `latrace weigh` from outside: what it joins, computes and refuses.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use latrace_io::rows::{Output, write_rows};
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
    let output = Command::cargo_bin("latrace")
        .unwrap()
        .current_dir(folder)
        .arg("weigh")
        .args(arguments.split_whitespace())
        .output()
        .unwrap();
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
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
    let chosen: Vec<(u64, f64)> = rows[..2]
        .iter()
        .map(|row| (row["sample"].as_u64().unwrap(), row["chosen"].as_f64().unwrap()))
        .collect();
    assert_eq!(chosen, [(0, 0.0), (1, 1.0)]);
    assert_eq!(
        (rows[2]["weight"].as_f64(), rows[2]["log_answer"].is_null(), rows[2]["chosen"].as_f64()),
        (Some(0.0), true, Some(0.0))
    );
    assert_eq!(
        rows.iter().map(|row| row["resolution"].as_str().unwrap()).collect::<Vec<_>>(),
        ["main", "main", "original-row"]
    );
    for expected in [
        "no bound: the traces do not state how they were sampled (`sampling`)",
        "surrogate (not a bound), geometric ratio, accuracy: L^2",
        "1 questions without a usable trace",
        "without a correct trace: 1 of 2 judged questions (50.0 %)",
    ] {
        assert!(stderr.contains(expected), "{expected:?} in {stderr}");
    }
}

fn near(got: &Value, expected: f64) -> bool {
    (got.as_f64().unwrap() - expected).abs() < 1e-12
}

#[test]
fn surrogates_and_counts_are_those_of_the_definition() {
    let folder = bench();
    let (code, _, stderr) =
        weigh(folder.path(), &format!("{FILES} --bounds bounds.json --out weights.jsonl"));
    assert_eq!(code, 0, "{stderr}");
    let bounds: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("bounds.json")).unwrap()).unwrap();
    // Question "q" alone has the usual number of traces. Geometric log rho: −1/2, and 1 + log 1/2.
    let half = 0.5_f64.ln();
    let log_rho = [-0.5, 1.0 + half];
    let (mean, log_mean) =
        ((log_rho[0] + log_rho[1]) / 2.0, ((log_rho[0].exp() + log_rho[1].exp()) / 2.0).ln());
    let of_k = &bounds["surrogates"]["of_k"];
    assert!(near(&of_k[0]["mean"], mean) && near(&of_k[1]["mean"], log_mean), "{of_k}");
    // Half the distance of two traces is the standard error of their mean.
    assert!(near(&of_k[0]["monte_carlo_error"], (log_rho[1] - log_rho[0]).abs() / 2.0), "{of_k}");
    assert_eq!(
        (&of_k[0]["standard_error"], &of_k[0]["questions"], &of_k[1]["traces"], of_k[2].is_null()),
        (&Value::Null, &1.into(), &2.into(), true)
    );
    assert!(near(&bounds["surrogates"]["gap"]["mean"], log_mean - mean));
    // With the full ratio: −2, and 2 + log 1/2.
    assert!(near(&bounds["surrogate_bias"][0]["mean"], mean - half / 2.0));
    assert_eq!(
        ["kind", "is_bound", "ratio"].map(|field| &bounds["surrogates"][field]),
        [&Value::from("surrogate"), &false.into(), &"geometric".into()]
    );
    let rho: [f64; 2] = [(-0.5_f64).exp(), 0.5 * 1.0_f64.exp()];
    let shares = rho.map(|rho_k| rho_k / (rho[0] + rho[1]));
    assert!(near(
        &bounds["effective_sample_size"],
        1.0 / shares.map(|share| share * share).iter().sum::<f64>()
    ));
    assert!(near(&bounds["entropy"], -shares.map(|share| share * share.ln()).iter().sum::<f64>()));
    assert!(near(&bounds["share_without_correct_trace"], 0.5));
    assert_eq!(
        bounds["resolutions"],
        serde_json::json!({"main": 1, "geometric-likelihood": 0, "original-row": 1, "skipped": 0})
    );
    let counts = [
        "questions",
        "traces",
        "too_long",
        "without_usable_trace",
        "without_correct_trace",
        "without_verdicts",
    ];
    assert_eq!(counts.map(|name| bounds[name].as_u64().unwrap()), [2, 3, 0, 1, 1, 0]);
    // Lengths 4, 2, 1 against log-ratios −2, 2, −1 (their means −1/2, 1, −1).
    assert!(
        near(&bounds["length_bias"]["summed"], -0.5) && near(&bounds["length_bias"]["mean"], 0.5),
        "{}",
        bounds["length_bias"]
    );
}

/// The bound proper of a mean likelihood is that of the likelihood itself: the reference answer stands for all
/// correct ones.
#[test]
fn a_mean_likelihood_makes_no_bound() {
    let folder = bench();
    fs::write(folder.path().join("references.jsonl"), SCORES).unwrap();
    let sampling = r#""sampling": {"temperature": 1, "top_p": 1.0, "top_k": 0, "min_p": 0.0}, "logprobs""#;
    fs::write(folder.path().join("traces.jsonl"), TRACES.replace("\"logprobs\"", sampling)).unwrap();
    let files = "--traces traces.jsonl --scores scores.jsonl --references references.jsonl";
    let (code, _, stderr) = weigh(
        folder.path(),
        &format!("{files} --answer geometric-likelihood --ratio full --bounds bounds.json"),
    );
    assert_eq!(code, 0, "{stderr}");
    let bounds: Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("bounds.json")).unwrap()).unwrap();
    let of = |name: &str| ["kind", "ratio", "answer"].map(|field| bounds[name][field].as_str().unwrap());
    assert_eq!(of("bounds"), ["bound", "full", "likelihood"]);
    assert_eq!(of("surrogates"), ["surrogate", "geometric", "geometric-likelihood"]);
    // log-ratios −2 and 2, log-likelihoods −6 and −2; of the other question −1 and −2. It has one trace.
    let of_k = &bounds["bounds"]["of_k"];
    assert!(near(&of_k[0]["mean"], (-4.0 - 3.0) / 2.0) && of_k[1].is_null(), "{bounds}");
}

/// References are there for the rows without a verifier: those fall back on them, the others on their own
/// row.
#[test]
fn rows_without_a_verifier_fall_back_on_the_geometric_likelihood() {
    let folder = bench();
    let fallback =
        format!("{FILES} --fallback geometric-likelihood --references references.jsonl --bounds bounds.json");
    let run = |references: &str, verdicts: &str| {
        fs::write(folder.path().join("references.jsonl"), references).unwrap();
        fs::write(folder.path().join("verdicts.jsonl"), verdicts).unwrap();
        let (code, stdout, stderr) = weigh(folder.path(), &fallback);
        assert_eq!(code, 0, "{stderr}");
        let bounds: Value =
            serde_json::from_str(&fs::read_to_string(folder.path().join("bounds.json")).unwrap()).unwrap();
        (rows(&stdout), bounds)
    };
    let none_correct = VERDICTS.replace("\"correct\"", "\"wrong\"");
    // Question "q" has no correct trace now; its references alone are there. GML scores: −0.5 − 3, and 1 − 1.
    let of_q = "{\"id\": \"q\", \"sample\": 1, \"logprobs\": [-1.0]}\n{\"id\": \"q\", \"sample\": 0, \"logprobs\": [-2.0, -4.0]}\n";
    let (rows, bounds) = run(of_q, &none_correct);
    let weight = 1.0 / (1.0 + (-3.5_f64).exp());
    let of = |row: &Value| (row["resolution"].as_str().unwrap().to_owned(), row["chosen"].as_f64().unwrap());
    assert_eq!(
        [of(&rows[0]), of(&rows[1]), of(&rows[2])].map(|(name, chosen)| format!("{name} {chosen}")),
        ["geometric-likelihood 0", "geometric-likelihood 1", "original-row 0"]
    );
    assert!(
        near(&rows[1]["weight"], weight)
            && near(&rows[1]["log_answer"], -1.0)
            && near(&rows[0]["log_answer"], -3.0),
        "{rows:?}"
    );
    assert_eq!(
        bounds["resolutions"],
        serde_json::json!({"main": 0, "geometric-likelihood": 1, "original-row": 1, "skipped": 0})
    );
    assert_eq!(
        (&bounds["without_usable_trace"], &bounds["without_correct_trace"], &bounds["without_verdicts"]),
        (&2.into(), &2.into(), &0.into())
    );
    // Without a verdict at all, a question is no part of any surrogate.
    let of_7: String =
        none_correct.lines().filter(|line| line.contains("7")).map(|line| format!("{line}\n")).collect();
    let (again, bounds) = run(of_q, &of_7);
    assert_eq!(again, rows);
    assert_eq!(
        (
            &bounds["without_verdicts"],
            &bounds["without_correct_trace"],
            &bounds["surrogates"]["of_k"][0]["questions"]
        ),
        (&1.into(), &1.into(), &1.into())
    );
    // What has a correct trace does not fall back.
    let (rows, _) = run(of_q, VERDICTS);
    assert_eq!(
        rows.iter().map(|row| row["resolution"].as_str().unwrap()).collect::<Vec<_>>(),
        ["main", "main", "original-row"]
    );
    // Part of a question's references, or of its verdicts, is a fault.
    let part = &of_q[..of_q.find('\n').unwrap() + 1];
    let check = |references: &str, verdicts: &str, expected: &str| {
        fs::write(folder.path().join("references.jsonl"), references).unwrap();
        fs::write(folder.path().join("verdicts.jsonl"), verdicts).unwrap();
        let (code, _, stderr) = weigh(folder.path(), &fallback);
        assert_eq!((code, stderr.contains(expected)), (1, true), "{stderr}");
    };
    check(part, &none_correct, "traces.jsonl line 2: id \"q\", sample 0 has no row in references.jsonl");
    let one = none_correct.lines().skip(1).collect::<Vec<_>>().join("\n");
    check(of_q, &one, "traces.jsonl line 2: id \"q\", sample 0 has no row in verdicts.jsonl");
    // Nor may a question have neither.
    check(
        of_q,
        none_correct.lines().take(3).collect::<Vec<_>>().join("\n").as_str(),
        "accuracy: needs verdicts on sampled answers",
    );
}

#[test]
fn weights_do_not_depend_on_the_order_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let lines = |value: &dyn Fn(u64, u64) -> String| -> Vec<String> {
        (0..30)
            .flat_map(|id| (0..4).map(move |sample| (id, sample)))
            .map(|(id, sample)| format!("{{\"id\": {id}, \"sample\": {sample}, {}}}", value(id, sample)))
            .collect()
    };
    let sides = [
        ("traces", lines(&|id, sample| format!("\"logprobs\": [-1.{id}, -0.{sample}]"))),
        ("scores", lines(&|id, sample| format!("\"logprobs\": [-0.{sample}, -1.{}]", id + sample))),
        (
            "verdicts",
            lines(&|id, sample| {
                format!("\"verdict\": \"{}\"", if (id + sample) % 3 == 0 { "wrong" } else { "correct" })
            }),
        ),
    ];
    let run = |order: &dyn Fn(&[String]) -> Vec<String>, seed: u64| {
        for (name, lines) in &sides {
            fs::write(folder.path().join(format!("{name}.jsonl")), order(lines).join("\n")).unwrap();
        }
        let (code, stdout, stderr) = weigh(
            folder.path(),
            &format!("{FILES} --selection resample-multinomial --draws 2 --seed {seed}"),
        );
        assert_eq!(code, 0, "{stderr}");
        let mut lines: Vec<String> = stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let forwards = run(&<[String]>::to_vec, 1);
    assert_eq!(run(&|lines| lines.iter().rev().cloned().collect(), 1), forwards);
    assert_ne!(run(&<[String]>::to_vec, 2), forwards);
    let questions = |lines: &[String]| lines.iter().filter(|line| line.contains("\"chosen\":0.5")).count();
    assert!(questions(&forwards) > 0, "two draws of a question fall on two traces now and then");
}

#[test]
fn settings_do_what_they_say() {
    let folder = bench();
    let weights = |options: &str| {
        let (code, stdout, stderr) = weigh(folder.path(), &format!("{FILES} {options}"));
        assert_eq!(code, 0, "{stderr}");
        rows(&stdout).iter().take(2).map(|row| row["weight"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    // Mean log-ratios −1/2 and 1, accuracies 1 and 1/2.
    let check = |options: &str, log_rho: [f64; 2]| {
        let odds = (log_rho[0] - log_rho[1]).exp();
        assert!((weights(options)[0] - odds / (1.0 + odds)).abs() < 1e-12, "{options}");
    };
    let half = 0.5_f64.ln();
    check("--ratio clipped", [-0.2, 0.2 + half]);
    check("--ratio clipped --clip 0.75", [-0.5, 0.75 + half]);
    check("--ratio full", [-2.0, 2.0 + half]);
    check("--weighting uniform", [0.0, 0.0]);
    check("--length-limit 3", [f64::NEG_INFINITY, 0.0]);
    // Signed weights reach what is chosen.
    let (_, stdout, _) =
        weigh(folder.path(), &format!("{FILES} --weighting leave-one-out --selection weighted"));
    let chosen: Vec<f64> = rows(&stdout).iter().map(|row| row["chosen"].as_f64().unwrap()).collect();
    assert!(chosen[0] < 0.0 && (chosen[0] + chosen[1]).abs() < 1e-12, "{chosen:?}");
    let refused = |options: &str, expected: &str| {
        let (code, _, stderr) = weigh(folder.path(), &format!("{FILES} {options}"));
        assert_eq!((code, stderr.contains(expected)), (2, true), "{stderr}");
    };
    refused("--clip=-1", "clip: expected a finite number of at least 0, got -1");
    refused("--clip NaN", "clip: expected a finite number of at least 0, got NaN");
    refused("--draws 0", "draws: expected at least 1, got 0");
    refused(
        "--ratio geometrical",
        "unknown ratio estimator \"geometrical\", expected one of: geometric, full, clipped",
    );
    refused("--fallback geometric-likelihood", "--fallback geometric-likelihood needs --references");
    refused("--answer likelihood", "--answer likelihood needs --references");
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let folder = bench();
    let (code, _, stderr) =
        weigh(folder.path(), &format!("{FILES} --bounds missing/bounds.json --out weights.jsonl"));
    assert_eq!((code, stderr.contains("cannot write missing/bounds.json")), (1, true), "{stderr}");
    assert!(!folder.path().join("weights.jsonl").exists());
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
    let (code, got, stderr) =
        weigh(folder.path(), "--traces traces.parquet --scores scores.parquet --verdicts verdicts.jsonl");
    assert_eq!((code, got), (0, expected.replace("\"id\":7", "\"id\":\"7\"")), "{stderr}");
}

#[test]
fn faults_of_parquet_rows_are_named_too() {
    let folder = bench();
    let check = |rows: &[Value], expected: &str| {
        write_parquet(&folder.path().join("scores.parquet"), rows);
        let (code, _, stderr) =
            weigh(folder.path(), "--traces traces.jsonl --scores scores.parquet --verdicts verdicts.jsonl");
        assert_eq!((code, stderr.contains(expected)), (1, true), "{stderr}");
    };
    let text = SCORES.replace("\"id\": 7", "\"id\": \"7\"");
    check(
        &rows(&text.replace("[-2.0]", "[]")),
        "scores.parquet row 1: field \"logprobs\": expected at least one log-prob, got an empty list",
    );
    check(
        &rows(&text.replace("\"sample\": 1", "\"sample\": -1")),
        "scores.parquet row 3: field \"sample\": expected the trace's number, from 0, got number -1",
    );
    // The number 7 of the traces is another id than the text "7".
    check(&rows(&text), "traces.jsonl line 3: id 7, sample 0 has no row in scores.parquet");
}

fn write_parquet(path: &Path, rows: &[Value]) {
    let out = Output::new(Some(path)).unwrap();
    let rows = rows.iter().map(|row| row.as_object().unwrap().clone());
    write_rows(&out, |sink| rows.into_iter().try_for_each(|row| sink.write(row))).unwrap();
}

#[test]
fn what_does_not_join_is_named() {
    let check = |file: &str, text: &str, expected: &str| {
        let folder = bench();
        fs::write(folder.path().join(file), text).unwrap();
        let (code, _, stderr) = weigh(folder.path(), FILES);
        assert_eq!((code, stderr.contains(expected)), (1, true), "{stderr}");
    };
    check(
        "scores.jsonl",
        &SCORES.lines().skip(1).collect::<Vec<_>>().join("\n"),
        "traces.jsonl line 3: id 7, sample 0 has no row in scores.jsonl",
    );
    check(
        "verdicts.jsonl",
        &VERDICTS.lines().take(3).collect::<Vec<_>>().join("\n"),
        "traces.jsonl line 3: id 7, sample 0 has no row in verdicts.jsonl",
    );
    check(
        "traces.jsonl",
        &TRACES.lines().take(2).collect::<Vec<_>>().join("\n"),
        "scores.jsonl line 1: id 7, sample 0 has no trace in traces.jsonl",
    );
    check(
        "traces.jsonl",
        TRACES.lines().next().unwrap(),
        "scores.jsonl line 1: id 7, sample 0 has no trace in traces.jsonl, nor have 1 others of scores.jsonl",
    );
    let expected = "scores.jsonl line 1: field \"logprobs\": expected 1 log-probs, as id 7, sample 0 has at traces.jsonl line 3, got a list of 2";
    check("scores.jsonl", &SCORES.replace("[-2.0]", "[-2.0, -1.0]"), expected);
    check(
        "scores.jsonl",
        &SCORES.replace("[-2.0]", "[]"),
        "scores.jsonl line 1: field \"logprobs\": expected at least one log-prob, got an empty list",
    );
    check(
        "scores.jsonl",
        &SCORES.replace("[-2.0]", "[0.5]"),
        "line 1: field \"logprobs\": expected log-probs, of which none is above 0, got values whose sum is 0.5",
    );
    check(
        "scores.jsonl",
        &SCORES.replace("[-2.0]", "[\"x\"]"),
        "line 1: field \"logprobs[0]\": expected a finite number",
    );
    check(
        "scores.jsonl",
        &SCORES.repeat(2),
        "scores.jsonl line 4: id 7, sample 0 appears again, after scores.jsonl line 1",
    );
    check(
        "traces.jsonl",
        &TRACES.repeat(2),
        "traces.jsonl line 4: id \"q\", sample 1 appears again, after traces.jsonl line 1",
    );
    check(
        "traces.jsonl",
        &TRACES.replace("\"sample\": 1", "\"sample\": -1"),
        "traces.jsonl line 1: field \"sample\": expected the trace's number, from 0, got number -1",
    );
    check(
        "verdicts.jsonl",
        &VERDICTS.replace("undetermined", "maybe"),
        "line 4: field \"verdict\": expected \"correct\", \"wrong\" or \"undetermined\"",
    );
    let folder = bench();
    let (code, _, stderr) = weigh(folder.path(), "--traces traces.jsonl --scores scores.jsonl");
    assert_eq!((code, stderr.contains("--answer accuracy needs --verdicts")), (2, true), "{stderr}");
}
