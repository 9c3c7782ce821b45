//! A verifier of the user's own, in `latrace verify`, `eval` and `run`. Without a sandbox, what should run in one is
//! undetermined.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod support;

use std::collections::BTreeSet;
use std::fs;

use latrace_core::Reason;
use latrace_io::table::Table;
use latrace_run::pipeline::records::VerdictRecord;
use serde_json::{Value, json};
use support::Bench;

/// Right is what has the reference in it. What else a row's reference says, it does.
const JUDGE: &str = r#"
import json, sys
mode = sys.argv[1] if len(sys.argv) > 1 else ""
if mode == "late":
    import time
    time.sleep(600)
for line in sys.stdin:
    row = json.loads(line)
    gold = row["gold"][0] if isinstance(row["gold"], list) else row["gold"]
    if gold == "missing":
        continue
    verdict = "correct" if str(gold) in row["prediction"] else "wrong"
    said = {"id": row["id"], "verdict": "maybe" if gold == "malformed" else verdict}
    if gold == "unclear":
        said.update(verdict="undetermined", reason="cannot tell")
    if "question" in row:
        said["extracted"] = row["question"]
    print(json.dumps(said), flush=True)
    if gold == "twice":
        print(json.dumps(said))
    if gold == "noise":
        print("thinking ...")
if mode == "crash":
    raise ValueError("no more")
"#;

impl Bench {
    fn new() -> Bench {
        let bench = Bench::empty();
        fs::write(bench.path("judge.py"), JUDGE).unwrap();
        bench
    }

    /// The reasons of the verdicts on `rows.jsonl` by a command; `None` without a sandbox.
    fn verify(&self, command: &str, options: &[&str]) -> (Option<Vec<String>>, String) {
        let all = ["verify", "--data", "rows.jsonl", "--out", "out.jsonl", "--verifier-command", command];
        let said = self.done(&[&all, options].concat());
        if said.contains("programs are not run") {
            println!("no sandbox here: {said}");
            return (None, said);
        }
        let rows = self.rows("out.jsonl");
        let reasons = rows.iter().map(|row| row["reason"].as_str().unwrap().to_owned());
        (Some(reasons.collect()), said)
    }
}

/// Rows of the kind with these references, all with the prediction "6".
fn rows(golds: &[&str]) -> Vec<Value> {
    let row = |(number, gold): (usize, &&str)| json!({"id": "a", "sample": number, "kind": "command", "gold": gold, "prediction": "6"});
    golds.iter().enumerate().map(row).collect()
}

#[test]
fn rows_are_judged_and_whatever_is_no_verdict_is_undetermined() {
    let bench = Bench::new();
    let mut all = rows(&["6", "5", "unclear", "missing", "malformed", "twice", "noise"]);
    // Other kinds are judged as ever, and questions are passed on.
    all.insert(1, json!({"id": "b", "kind": "math", "gold": "6", "prediction": "\\boxed{6}"}));
    all.push(json!({"id": "c", "kind": "command", "gold": 12_345_678_901_234_567_890_u64, "question": "q?", "prediction": "12345678901234567890"}));
    bench.write_rows("rows.jsonl", &all);
    let expected = [
        "equal",
        "equal",
        "different",
        "undecided",
        "no_verdict",
        "bad_verdict",
        "bad_verdict",
        "different",
        "equal",
    ];
    for options in [
        &[][..],
        &["--verifier-batch", "1"],
        &["--verifier-batch", "2", "--jobs", "1"],
        &["--verifier-no-sandbox"],
    ] {
        let (reasons, said) = bench.verify("python3 judge.py", options);
        let Some(reasons) = reasons else { continue };
        assert_eq!(reasons, expected, "{options:?}");
        assert!(said.contains("1 lines of the verifier are about no row"), "{said}");
        let out = bench.rows("out.jsonl");
        assert_eq!(
            (&out[3]["verdict"], &out[3]["verifier_reason"]),
            (&json!("undetermined"), &json!("cannot tell"))
        );
        assert_eq!((&out[8]["extracted"], out[8].get("verifier_reason")), (&json!("q?"), None));
    }
}

#[test]
fn a_verifier_that_fails_or_is_late_makes_nothing_correct_and_says_why() {
    let bench = Bench::new();
    bench.write_rows("rows.jsonl", &rows(&["6", "5", "6"]));
    for sandbox in [&[][..], &["--verifier-no-sandbox"]] {
        let (reasons, said) = bench.verify("python3 'judge.py' crash", sandbox);
        let Some(reasons) = reasons else { continue };
        assert_eq!(reasons, ["verifier_failed"; 3]);
        assert!(said.contains("exit code 1") && said.contains("ValueError: no more"), "{said}");
        let note = bench.rows("out.jsonl")[0]["verifier_reason"].as_str().unwrap().to_owned();
        assert!(note.ends_with("ValueError: no more"), "{note}");
        let (reasons, said) =
            bench.verify("python3 judge.py late", &[sandbox, &["--verifier-time-limit", "1"]].concat());
        assert_eq!(reasons.unwrap(), ["verifier_time_limit"; 3]);
        assert!(said.contains("did not end within 1 s"), "{said}");
        let none = [
            "verify",
            "--data",
            "rows.jsonl",
            "--out",
            "none.jsonl",
            "--verifier-command",
            "no-such-program",
        ];
        let (code, said) = bench.run(&[&none[..], sandbox].concat());
        assert!(code != 0 && said.contains("no-such-program does not start"), "{said}");
        assert!(!bench.path("none.jsonl").exists());
    }
}

#[test]
fn what_is_missing_for_a_verifier_is_said() {
    let bench = Bench::new();
    bench.write_rows("rows.jsonl", &rows(&["6"]));
    for (options, expected) in [
        (&[][..], "need a verifier, and none is given"),
        (&["--verifier-command", "python3 'judge.py"], "expected a program and its arguments"),
        (&["--verifier-command", " "], "expected a program and its arguments"),
        (&["--verifier-batch", "3"], "--verifier-command"),
        (
            &["--verifier-command", "a", "--verifier-time-limit", "1e9"],
            "time_limit_s: expected seconds above 0",
        ),
    ] {
        let (code, said) =
            bench.run(&[&["verify", "--data", "rows.jsonl", "--out", "out.jsonl"], options].concat());
        assert!(code == 2 && said.contains(expected), "{options:?}: {code} {said}");
    }
}

#[test]
fn judgements_of_another_verifier_are_not_taken_over() {
    let bench = Bench::new();
    bench.write_rows("rows.jsonl", &rows(&["6", "5"]));
    let of = |judge: &str| {
        fs::write(bench.path("judge.py"), judge).unwrap();
        bench.verify("python3 judge.py", &["--verifier-no-sandbox"]).0.unwrap()
    };
    assert_eq!(of(JUDGE), ["equal", "different"]);
    // A journal as a kill leaves it, of the same command with another file.
    let options = json!([{"command": ["python3", "judge.py"], "sandbox": false, "time_limit_s": 60.0, "batch": 256}, {"judge.py": "00000000-1"}]);
    let data = fs::read(bench.path("rows.jsonl")).unwrap();
    let key = json!({"version": env!("CARGO_PKG_VERSION"), "options": format!("6 false {options}"), "bytes": data.len(), "crc32c": crc32c(&data)});
    fs::write(bench.path(".out.jsonl.journal"), format!("{key}\n[\"crashed\",null]\n")).unwrap();
    assert_eq!(of(JUDGE), ["equal", "different"]);
    let sum = format!("{:08x}-{}", crc32c(JUDGE.as_bytes()), JUDGE.len());
    let text = key.to_string().replace("00000000-1", &sum);
    fs::write(bench.path(".out.jsonl.journal"), format!("{text}\n[\"crashed\",null]\n")).unwrap();
    assert_eq!(of(JUDGE), ["crashed", "different"], "of the same file they are");
}

fn crc32c(bytes: &[u8]) -> u32 {
    let sum = latrace_io::files::checksum_of_bytes(bytes);
    u32::from_str_radix(sum.split('-').next().unwrap(), 16).unwrap()
}

const BENCHMARK: &str = r#"
title = "Own"
kind = "command"
k = 2

[source]
files = "questions.jsonl"

[columns]
id = "name"
question = "sum"
answer = "result"
"#;

#[test]
fn a_benchmark_is_judged_by_a_verifier_of_its_own() {
    let bench = Bench::new();
    fs::write(bench.path("own.toml"), BENCHMARK).unwrap();
    let question =
        |name: &str, result: Value| json!({"name": name, "sum": "3 + 3", "result": result, "level": 2});
    bench.write_rows("questions.jsonl", &[question("x", json!(6)), question("y", json!({"any": 1}))]);
    let response = |id: &str, text: &str| json!({"id": id, "response": text});
    let responses = [
        response("x", "<think>\n5\n</think>\n\n6"),
        response("x", "<think>\n6\n</think>\n\n5"),
        response("x", "<think>\n6"),
        response("y", "{'any': 1}"),
    ];
    bench.write_rows("given.jsonl", &responses);
    let eval = |judge: &str| {
        fs::write(bench.path("judge.py"), judge).unwrap();
        let command = ["--verifier-command", "python3 judge.py"];
        let said = bench.done(
            &[&["eval", "--bench", "own.toml", "--responses", "given.jsonl", "--out", "out"][..], &command]
                .concat(),
        );
        let reasons = bench.json("out/summary.json")["reasons"].clone();
        (!said.contains("programs are not run")).then_some(reasons)
    };
    if let Some(reasons) = eval(JUDGE) {
        assert_eq!(reasons, json!({"different": 1, "equal": 2, "no_answer": 1}));
        // The published row is there, and the answers of one question have ids of their own.
        let row = "row = json.loads(line)\n    assert row['level'] == 2 and row['id'] in ('x', 'x#2', 'y') and row['question'] == '3 + 3'";
        let reasons = eval(&JUDGE.replace("row = json.loads(line)", row));
        assert_eq!(reasons, Some(json!({"different": 1, "equal": 2, "no_answer": 1})));
        let reasons = eval(&JUDGE.replace("\"correct\" if", "\"wrong\" if"));
        assert_eq!(reasons, Some(json!({"different": 3, "no_answer": 1})));
    }
    let (code, said) =
        bench.run(&["eval", "--bench", "own.toml", "--responses", "given.jsonl", "--out", "none"]);
    assert!(code == 2 && said.contains("need a verifier"), "{said}");
}

/// Small enough for seconds, and trained enough to end its traces.
const RECIPE: &str = r#"
[model]
vocabulary = 300
shape = { architectures = ["Qwen3ForCausalLM"], model_type = "qwen3", hidden_size = 32, intermediate_size = 64, num_hidden_layers = 2, num_attention_heads = 2, num_key_value_heads = 1, head_dim = 16, max_position_embeddings = 512, rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }

[questions]
train = "train.jsonl"
test = "test.jsonl"

[prompts]
markers = "plain"
reasoner = "plain"
posterior = "plain_posterior"

[initial]
batch_size = 8
max_steps = 100
learning_rate = 1e-2

[posterior]
batch_size = 8
max_steps = 2

[traces]
n = 2
temperature = 0.7
max_new_tokens = 48

[answers]
n = 2
max_new_tokens = 48

[dataset]
originals = 0.0

[final]
batch_size = 8
max_steps = 2

[evaluation]
n = 1
max_new_tokens = 48

[verifier]
command = ["python3", "judge.py"]
batch = 3
"#;

#[test]
fn a_run_judges_by_a_verifier_of_its_own_and_again_when_that_changes() {
    let bench = Bench::new();
    let row = |n: usize| json!({"id": format!("m{n}"), "kind": "command", "question": format!("What is {n} plus {n} ?"), "trace": "add them", "solution": format!("\\boxed{{{}}}", 2 * n)});
    bench.write_rows("train.jsonl", &(1..=8).map(row).collect::<Vec<_>>());
    bench.write_rows("test.jsonl", &[row(9)]);
    fs::write(bench.path("own.toml"), RECIPE).unwrap();
    let said = bench.done(&["run", "own.toml", "--run-dir", "r"]);
    let reasons = || -> BTreeSet<Reason> {
        let verdicts = Table::<VerdictRecord>::open(&bench.path("r/06-verdicts"));
        verdicts.records().unwrap().map(|verdict| verdict.unwrap().reason).collect()
    };
    let first = reasons();
    if said.contains("programs are not run") {
        println!("no sandbox here: {said}");
        assert_eq!(first, BTreeSet::from([Reason::NoSandbox]));
        return;
    }
    assert!(
        !first.is_empty() && first.is_subset(&BTreeSet::from([Reason::Equal, Reason::Different])),
        "{first:?}"
    );
    // Unchanged, it is kept; changed, its verdicts are redone, and nothing before them.
    let said = bench.done(&["run", "own.toml", "--run-dir", "r", "--dry-run"]);
    assert!(!said.contains("verifier"), "{said}");
    fs::write(bench.path("judge.py"), JUDGE.replace("if gold == \"missing\":", "if True:")).unwrap();
    let said = bench.done(&["run", "own.toml", "--run-dir", "r", "--dry-run"]);
    assert!(said.contains("verifier"), "{said}");
    let before = fs::read(bench.path("r/05-answers/stage.json")).unwrap();
    bench.done(&["run", "own.toml", "--run-dir", "r", "--redo"]);
    assert_eq!(reasons(), BTreeSet::from([Reason::NoVerdict]));
    assert_eq!(fs::read(bench.path("r/05-answers/stage.json")).unwrap(), before);
    let (code, said) = bench.run(&["run", "own.toml", "--run-dir", "other", "verifier.command=[]"]);
    assert!(code != 0 && said.contains("need a verifier"), "{said}");
}
