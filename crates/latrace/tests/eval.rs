//! `latrace eval` and `latrace compare` from outside: questions in, results and tables out.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Words as tokens, thoughts' markers among them. A random model says each of them now and then.
const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 9, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "1": 1, "2": 2, "3": 3, "plus": 4, "is": 5, "<think>": 6, "</think>": 7, "user": 8, "<end>": 9}}
}"#;

const TEMPLATE: &str = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}";

const BENCHMARK: &str = r#"
title = "Sums"
kind = "math"
k = 4

[source]
files = "questions.jsonl"

[columns]
question = "sum"
answer = "result"
subset = "level"

[sampling]
temperature = 1.0
max_new_tokens = 12
"#;

const QUESTIONS: &str = r#"{"sum": "1 plus 1 is", "result": 2, "level": "easy"}
{"sum": "2 plus 1 is", "result": ["3", "3.0"], "level": "hard"}
{"sum": "1 is", "result": "1", "level": "easy"}
"#;

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        let config = json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": 10, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "tie_word_embeddings": true, "eos_token_id": 9
        });
        bench.write("shape/config.json", &config.to_string());
        bench.write("shape/tokenizer.json", TOKENIZER);
        bench.write(
            "shape/tokenizer_config.json",
            &json!({"chat_template": TEMPLATE, "eos_token": "<end>"}).to_string(),
        );
        bench.write("sums.toml", BENCHMARK);
        bench.write("questions.jsonl", QUESTIONS);
        bench.success("init --config shape --out model --seed 7");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_latrace"));
        // Nobody listens there: what needs a network must say so.
        command
            .current_dir(self.folder.path())
            .env("HF_HOME", self.path("hub-home"))
            .env("HF_ENDPOINT", "http://127.0.0.1:9");
        for name in ["HF_TOKEN", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "LATRACE_SIMD"] {
            command.env_remove(name);
        }
        command.args(["--log-level", "warn"]).args(arguments.split_whitespace());
        command
    }

    #[track_caller]
    fn success(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn failure(&self, arguments: &str, code: i32, expected: &[&str]) {
        check_failure(&self.command(arguments).output().unwrap(), code, expected);
    }
}

#[track_caller]
fn check_failure(output: &Output, code: i32, expected: &[&str]) {
    assert_eq!(output.status.code(), Some(code), "{}", text(output));
    let stderr = String::from_utf8_lossy(&output.stderr);
    expected
        .iter()
        .for_each(|words| assert!(stderr.contains(words), "expected {words:?} in {}", text(output)));
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

const EVAL: &str = "eval --model model --bench sums.toml --template plain --markers plain --seed 3";

fn questions(results: &Value) -> Vec<&Value> {
    (0..results.as_object().unwrap().len()).map(|place| &results[place.to_string()]).collect()
}

fn responses(question: &Value) -> &Vec<Value> {
    question["responses"].as_array().unwrap()
}

fn right(question: &Value) -> usize {
    responses(question).iter().filter(|response| response["correctness"] == true).count()
}

#[test]
fn a_model_is_measured_and_every_number_follows_from_the_responses() {
    let bench = Bench::new();
    let table = bench.success(&format!("{EVAL} --k 40 --out out"));
    let (results, summary) = (bench.json("out/results.json"), bench.json("out/summary.json"));
    let questions = questions(&results);
    assert_eq!(
        questions.iter().map(|question| question["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["0", "1", "2"]
    );
    assert_eq!(
        (&questions[0]["question"], &questions[0]["answer"], &questions[1]["subset"]),
        (&json!("1 plus 1 is"), &json!("2"), &json!("hard"))
    );
    assert_eq!(questions[0]["prompt"], "1 plus 1 is <think>");
    // 40 samples of each: some are right, some not, some thoughts have no end.
    let all: Vec<&Value> = questions.iter().flat_map(|question| responses(question)).collect();
    assert_eq!(all.len(), 120);
    for response in &all {
        let content = response["content"].as_str().unwrap();
        let closed = content.contains("</think>");
        assert_eq!(response["thought_tokens"].is_null(), !closed, "{response}");
        if !closed {
            assert_eq!(
                (&response["verdict"], &response["reason"], &response["extracted"]),
                (&json!("wrong"), &json!("no_answer"), &Value::Null),
                "{response}"
            );
        }
    }
    let count =
        |field: &str, value: &Value| all.iter().filter(|response| response[field] == *value).count() as u64;
    assert!(count("verdict", &json!("correct")) > 0 && count("reason", &json!("no_answer")) > 0);
    assert_eq!(summary["verdicts"]["correct"].as_u64(), Some(count("correctness", &json!(true))));
    assert_eq!(summary["reasons"]["no_answer"].as_u64(), Some(count("reason", &json!("no_answer"))));
    assert_eq!(summary["truncated"].as_u64(), Some(count("stop_reason", &json!("max_tokens"))));
    let shares: Vec<f64> = questions.iter().map(|question| right(question) as f64 / 40.0).collect();
    let close = |got: &Value, expected: f64| {
        assert!((got.as_f64().unwrap() - expected).abs() < 1e-12, "{got}, expected {expected}")
    };
    close(&summary["accuracy"], shares.iter().sum::<f64>() / 3.0);
    close(&summary["avg@k"]["mean"], shares.iter().sum::<f64>() / 3.0);
    close(&summary["by_subset"]["easy"]["accuracy"], (shares[0] + shares[2]) / 2.0);
    close(&summary["pass@k"]["1"]["mean"], shares.iter().sum::<f64>() / 3.0);
    close(
        &summary["pass@k"]["2"]["mean"],
        questions.iter().map(|question| pairs_with_a_right_one(question)).sum::<f64>() / 3.0,
    );
    close(&summary["pass_at_k"]["k=2"], 100.0 * summary["pass@k"]["2"]["mean"].as_f64().unwrap());
    assert_eq!(summary["pass@k"].as_object().unwrap().len(), 40);
    let tokens: u64 = questions
        .iter()
        .flat_map(|question| question["token_usages"].as_array().unwrap())
        .map(|usage| usage["completion_tokens"].as_u64().unwrap())
        .sum();
    assert_eq!(
        (summary["total_completion_tokens"].as_u64(), summary["samples"].as_u64()),
        (Some(tokens), Some(120))
    );
    assert!(
        table.starts_with("| Sums | questions | avg@40 |")
            && table.contains("| hard |         1 |")
            && table.contains("| pass@1"),
        "{table}"
    );
    for (name, value) in
        [("model", json!("model")), ("benchmark", json!("sums")), ("k", json!(40)), ("seed", json!(3))]
    {
        assert_eq!(summary[name], value, "{name}");
    }
    assert!(
        summary["hashes"]["model"]["model.safetensors"].is_string()
            && summary["settings"]["max_new_tokens"] == 12
    );
}

/// The share of pairs of responses of which at least one is right.
fn pairs_with_a_right_one(question: &Value) -> f64 {
    let is_right: Vec<bool> =
        responses(question).iter().map(|response| response["correctness"] == true).collect();
    let pairs = || (0..is_right.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
    pairs().filter(|&(i, j)| is_right[i] || is_right[j]).count() as f64 / pairs().count() as f64
}

#[test]
fn responses_do_not_depend_on_batches_threads_or_other_questions() {
    let bench = Bench::new();
    bench.success(&format!("{EVAL} --out out"));
    bench.success(&format!("{EVAL} --out again --threads 1 --batch 1 --prefill-tokens 1"));
    assert_eq!(bench.read("out/results.json"), bench.read("again/results.json"));
    assert_eq!(bench.read("out/responses.jsonl"), bench.read("again/responses.jsonl"));
    bench.success(&format!("{EVAL} --out hard --subset hard --k 2"));
    let (all, hard) = (bench.json("out/results.json"), bench.json("hard/results.json"));
    assert_eq!(responses(&hard["0"])[..], responses(&all["1"])[..2]);
    bench.success(&format!("{} --out other", EVAL.replace("--seed 3", "--seed 4")));
    assert_ne!(bench.read("out/responses.jsonl"), bench.read("other/responses.jsonl"));
}

/// The summary but for what the clock says.
fn timeless(mut summary: Value) -> Value {
    summary.as_object_mut().unwrap().remove("seconds");
    summary
}

#[test]
fn a_killed_evaluation_goes_on_to_the_same_files() {
    let bench = Bench::new();
    let command = format!("{EVAL} --k 60 --batch 2");
    bench.success(&format!("{command} --out whole"));
    let whole = ["responses.jsonl", "results.json"].map(|name| bench.read(&format!("whole/{name}")));
    let mut killed = 0;
    for (number, delay) in [5, 15, 30, 45, 60, 80, 100, 120, 150, 200].into_iter().enumerate() {
        let out = format!("out{}", number % 2);
        let mut child = bench
            .command(&format!("{command} --out {out}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        killed += u32::from(child.try_wait().unwrap().is_none());
        // The process may have ended just now.
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed > 0, "every run ended before it could be killed");
    for out in ["out0", "out1"] {
        bench.success(&format!("{command} --out {out}"));
        assert_eq!(
            ["responses.jsonl", "results.json"].map(|name| bench.read(&format!("{out}/{name}"))),
            whole
        );
        assert_eq!(
            timeless(bench.json(&format!("{out}/summary.json"))),
            timeless(bench.json("whole/summary.json"))
        );
        let mut names: Vec<String> = fs::read_dir(bench.path(out))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.retain(|name| !name.ends_with(".tmp"));
        names.sort();
        assert_eq!(
            names,
            ["responses.jsonl", "responses.jsonl.sampling.json", "results.json", "summary.json"]
        );
    }
}

#[test]
fn a_stopped_evaluation_draws_only_what_is_missing() {
    let bench = Bench::new();
    bench.success(&format!("{EVAL} --out out"));
    let (whole, results) = (bench.read("out/responses.jsonl"), bench.read("out/results.json"));
    let description =
        bench.read("out/responses.jsonl.sampling.json").replace("\"done\": true", "\"done\": false");
    // As a kill leaves it: lines in the order in which they finished, the last one cut.
    let lines: Vec<&str> = whole.lines().collect();
    bench.write("out/responses.jsonl", &format!("{}\n{}\n{}", lines[7], lines[1], &lines[2][..9]));
    bench.write("out/responses.jsonl.sampling.json", &description);
    fs::remove_file(bench.path("out/results.json")).unwrap();
    bench.success(&format!("{EVAL} --out out"));
    assert_eq!((bench.read("out/responses.jsonl"), bench.read("out/results.json")), (whole, results));
    assert_eq!(bench.json("out/summary.json")["seconds"]["earlier"], 2);
}

#[test]
fn another_evaluation_is_never_overwritten() {
    let bench = Bench::new();
    bench.success(&format!("{EVAL} --out out"));
    let before = bench.read("out/results.json");
    bench.failure(
        &format!("{EVAL} --out out --temperature 0.5"),
        1,
        &[
            "out holds a different evaluation: benchmark.sampling.temperature was 1.0, is 0.5",
            "hint: choose another --out",
        ],
    );
    bench.failure(
        "eval --bench sums.toml --responses gold --out out",
        1,
        &["out holds the evaluation of a model"],
    );
    bench.write("questions.jsonl", &QUESTIONS.replace("1 plus 1 is", "1 plus 2 is"));
    bench.failure(&format!("{EVAL} --out out"), 1, &["out holds a different evaluation: data changed"]);
    assert_eq!(bench.read("out/results.json"), before);
}

#[test]
fn the_chat_template_wraps_the_question() {
    let bench = Bench::new();
    bench.success(&format!(
        "{} --template chat --markers think --out out",
        EVAL.replace(" --template plain --markers plain", "")
    ));
    let prompt = bench.json("out/results.json")["0"]["prompt"].clone();
    assert!(
        prompt
            .as_str()
            .is_some_and(|prompt| prompt.starts_with("user 1 plus 1 is\n\nThink about it")
                && prompt.contains("\\boxed{}")),
        "{prompt}"
    );
    bench.write("own.jinja", "3 {{ question }} {{ open }}");
    bench.success(&format!("{} --template own.jinja --out own", EVAL.replace(" --template plain", "")));
    assert_eq!(bench.json("own/results.json")["0"]["prompt"], "3 1 plus 1 is <think>");
}

/// A benchmark of each kind with rows of made-up content under published names.
fn kinds() -> [(&'static str, Value); 4] {
    let check = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(-1) == 0\n";
    [
        ("gsm8k", json!({"question": "How many?", "answer": "3 + 4 = <<3+4=7>>7\n#### 7"})),
        (
            "mmlu_pro",
            json!({"question_id": 1, "question": "Which?", "options": ["red", "green", "blue"], "answer": "C", "answer_index": 2, "category": "art"}),
        ),
        (
            "gpqa_diamond",
            json!({"Record ID": "r", "Question": "Which?", "Correct Answer": "red", "Incorrect Answer 1": "a", "Incorrect Answer 2": "b", "Incorrect Answer 3": "c"}),
        ),
        (
            "humaneval",
            json!({"task_id": "H/0", "prompt": "def after(x: int) -> int:\n    \"\"\" The next number. \"\"\"\n", "entry_point": "after",
                "canonical_solution": "    return x + 1\n", "test": check}),
        ),
    ]
}

#[test]
fn references_judged_by_themselves_do_not_reassure() {
    let bench = Bench::new();
    bench.write("questions.jsonl", &QUESTIONS.replace("\"result\": \"1\"", "\"result\": \"1 (sum)\""));
    let output = bench.command("eval --bench sums.toml --responses gold --out out").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let readings = "references are read as: number (3), number beside words (1)";
    assert!(text(&output).contains(readings), "{}", text(&output));
    assert!(text(&output).contains("refuse the number alone"), "{}", text(&output));
}

#[test]
fn right_answers_are_right_in_every_kind() {
    let bench = Bench::new();
    for (name, row) in kinds() {
        bench.write("rows.jsonl", &format!("{row}\n"));
        let output = bench
            .command(&format!("eval --bench {name} --data rows.jsonl --responses gold --out {name}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let stderr = String::from_utf8_lossy(&output.stderr);
        if stderr.contains("no program is run") {
            println!("no sandbox here: {stderr}");
            assert!(stderr.contains("1 responses could not be judged"), "{stderr}");
            continue;
        }
        assert_eq!(
            bench.json(&format!("{name}/summary.json"))["accuracy"],
            1.0,
            "{}",
            bench.read(&format!("{name}/results.json"))
        );
    }
    for name in ["walk", "countdown", "arithmetic"] {
        let output = bench
            .command(&format!("eval --bench {name} --limit 50 --responses gold --out {name}"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        let summary = bench.json(&format!("{name}/summary.json"));
        assert_eq!(
            (&summary["accuracy"], &summary["questions"]),
            (&json!(1.0), &json!(50)),
            "{}",
            bench.read(&format!("{name}/results.json"))
        );
    }
}

#[test]
fn given_responses_are_judged_by_what_stands_behind_the_thought() {
    let bench = Bench::new();
    let rows = [
        json!({"id": 0, "response": "<think>\nwell\n</think>\n\n2"}),
        json!({"id": "0", "sample": 1, "text": "2", "stop_reason": "end", "token_ids": [2, 9]}),
        json!({"id": 0, "sample": 2, "text": "<think> 2", "stop_reason": "end"}),
        json!({"id": 0, "sample": 3, "text": "2", "stop_reason": "max_tokens"}),
        json!({"id": 1, "response": "3"}),
        json!({"id": 2, "response": "3"}),
        json!({"id": "nobody asked", "response": "3"}),
    ];
    bench.write("given.jsonl", &rows.map(|row| row.to_string()).join("\n"));
    let output = bench.command("eval --bench sums.toml --responses given.jsonl --out out").output().unwrap();
    assert!(
        output.status.success()
            && text(&output).contains("1 responses of given.jsonl are to questions outside this evaluation"),
        "{}",
        text(&output)
    );
    let results = bench.json("out/results.json");
    let verdicts = |place: &str| {
        responses(&results[place])
            .iter()
            .map(|response| (response["correctness"].clone(), response["reason"].clone()))
            .collect::<Vec<_>>()
    };
    let (right, none) = ((json!(true), json!("equal")), (json!(false), json!("no_answer")));
    assert_eq!(verdicts("0"), [right.clone(), right.clone(), none.clone(), none]);
    assert_eq!((verdicts("1"), verdicts("2")), (vec![right], vec![(json!(false), json!("different"))]));
    let summary = bench.json("out/summary.json");
    assert_eq!(
        (&summary["accuracy"], &summary["k"], &summary["unclosed"], &summary["truncated"]),
        (&json!(0.5), &json!(1), &json!(2), &json!(1))
    );
    bench.write("given.jsonl", "{\"id\": 1, \"response\": \"3\"}\n");
    bench.failure(
        "eval --bench sums.toml --responses given.jsonl --out less",
        1,
        &["given.jsonl has no response to 2 of 3 questions, such as \"0\""],
    );
    bench.write("given.jsonl", "{\"id\": 1, \"answer\": \"3\"}\n");
    bench.failure(
        "eval --bench sums.toml --responses given.jsonl --out less",
        1,
        &["given.jsonl line 1: field \"response\": expected a text, got nothing"],
    );
}

#[test]
fn models_and_data_sets_come_from_the_hubs_cache_without_a_network() {
    let bench = Bench::new();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    for file in fs::read_dir(bench.path("model")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        // As the hub's own tools lay it out: links to blobs.
        let blob = bench.path(&format!("hub-home/hub/models--some--model/blobs/{name}-hash"));
        fs::create_dir_all(blob.parent().unwrap()).unwrap();
        fs::copy(&path, &blob).unwrap();
        let link = bench.path(&format!("hub-home/hub/models--some--model/snapshots/{commit}/{name}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(Path::new("../../blobs").join(blob.file_name().unwrap()), link).unwrap();
    }
    bench.write("hub-home/hub/models--some--model/refs/main", commit);
    bench.write("hub-home/hub/datasets--openai--gsm8k/refs/main", "abc");
    let parquet = latrace_io::rows::Output::new(Some(&bench.path("test.parquet"))).unwrap();
    let row = json!({"question": "1 plus 1 is", "answer": "#### 2"});
    latrace_io::rows::write_rows(&parquet, |sink| sink.write(row.as_object().unwrap().clone())).unwrap();
    let data =
        bench.path("hub-home/hub/datasets--openai--gsm8k/snapshots/abc/main/test-00000-of-00001.parquet");
    fs::create_dir_all(data.parent().unwrap()).unwrap();
    fs::rename(bench.path("test.parquet"), data).unwrap();
    let eval = "eval --bench gsm8k --template plain --markers plain --max-new-tokens 4 --k 2";
    let mut offline = bench.command(&format!("{eval} --model some/model --out out"));
    let output = offline.env("HF_HUB_OFFLINE", "1").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    assert_eq!(bench.json("out/summary.json")["model"], "some/model");
    // With a network that does not answer, the cache serves too, and that is said.
    let output = bench.command(&format!("{eval} --model some/model --out again")).output().unwrap();
    assert!(
        output.status.success() && text(&output).contains("some/model is taken from the cache as it was"),
        "{}",
        text(&output)
    );
    bench.success(&format!(
        "sample --model some/model@{commit} --data questions.jsonl --out samples.jsonl --n 1 --skip-bad-rows"
    ));
}

#[test]
fn what_is_out_of_reach_is_named() {
    let bench = Bench::new();
    let unreachable =
        ["cannot reach http://127.0.0.1:9", "hint: put the model in a folder", "fill the cache"];
    for verb in [
        "eval --bench sums.toml --out out",
        "sample --data questions.jsonl",
        "score --data questions.jsonl",
        "train --data questions.jsonl --out out",
        "chat",
    ] {
        bench.failure(&format!("{verb} --model some/model"), 1, &unreachable);
    }
    bench.failure(
        "eval --model model --bench aime24 --out out",
        1,
        &[
            "cannot load the questions of AIME24",
            "cannot reach",
            "hint: give the rows in a file (--data FILE",
        ],
    );
    let mut offline = bench.command("score --data questions.jsonl --model some/model");
    check_failure(&offline.env("HF_HUB_OFFLINE", "1").output().unwrap(), 1, &["HF_HUB_OFFLINE is set"]);
    bench.failure(
        "eval --model model --bench nothing --out out",
        2,
        &["--bench nothing: no such benchmark", "known benchmarks: math500"],
    );
    bench.failure("eval --bench sums.toml --out out", 2, &["--model"]);
    bench.failure(
        &format!("{} --out out", EVAL.replace("--markers plain", "--markers nothing")),
        2,
        &["think, stratos, plain"],
    );
    bench.failure(
        &format!("{EVAL} --out out --top-p 2"),
        2,
        &["top_p: expected a number above 0 and at most 1"],
    );
    bench.write("questions.jsonl", &format!("{{\"sum\": \"{}\", \"result\": \"2\"}}\n", "1 ".repeat(80)));
    bench.failure(
        &format!("{EVAL} --out out"),
        1,
        &["question 0: expected fewer than the model's 64 tokens, got 81"],
    );
}

#[test]
fn evaluations_and_runs_stand_beside_each_other() {
    let bench = Bench::new();
    let given = |name: &str, right: [usize; 3]| {
        let golds = ["2", "3", "1"];
        let response = |id: usize, sample: usize| {
            json!({"id": id, "sample": sample, "response": if sample < right[id] { golds[id] } else { "plus" }}).to_string()
        };
        let rows: Vec<String> = (0..3)
            .flat_map(|id| (0..4).map(move |sample| (id, sample)))
            .map(|(id, sample)| response(id, sample))
            .collect();
        bench.write(&format!("{name}.jsonl"), &rows.join("\n"));
        bench.success(&format!("eval --bench sums.toml --responses {name}.jsonl --out evaluations/{name}"));
    };
    given("base", [1, 0, 2]);
    given("tuned", [3, 2, 3]);
    let table = bench.success("compare evaluations");
    assert!(
        table.contains("| model |       Sums avg@4 |")
            && table.contains("| base  |  25.0 (0.0–50.0) |")
            && table.contains("| tuned | 66.7 (50.0–75.0) |"),
        "{table}"
    );
    assert!(
        table.contains("| Sums      |    tuned | base |      +41.7 | +25.0 to +50.0 | 0.250 |         3 |"),
        "{table}"
    );
    let compared: Value =
        serde_json::from_str(&bench.success("compare --json evaluations/tuned evaluations/base")).unwrap();
    assert_eq!(
        (&compared["rows"][0]["model"], &compared["columns"][0]["benchmark"]),
        (&json!("tuned"), &json!("Sums"))
    );
    let pair = &compared["paired"][0];
    assert!(
        (pair["difference"]["mean"].as_f64().unwrap() + 5.0 / 12.0).abs() < 1e-12 && pair["questions"] == 3,
        "{pair}"
    );
    let accuracy = |accuracy: f64| json!({"accuracy": accuracy, "low": 0.1, "high": 0.9, "questions": 20, "samples": 40});
    let model = |mean: f64| {
        let mut model = accuracy(mean);
        model["by_difficulty"] = json!({"hard": accuracy(mean / 2.0), "easy": accuracy(0.8)});
        model
    };
    let summary = json!({"models": {"final": model(0.6), "initial": model(0.4), "rft": model(0.5)}, "bounds": [-1.0], "seed": 1});
    bench.write("runs/quick/summary.json", &summary.to_string());
    let table = bench.success("compare runs/quick evaluations/base");
    let names: Vec<&str> = table
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("| ").split(" |").next().unwrap().trim())
        .collect();
    assert_eq!(
        names,
        ["model", names[1], "runs/quick: initial", "runs/quick: final", "runs/quick: rft", "base"]
    );
    assert!(
        table.contains("held-out avg@2 | held-out easy avg@2 | held-out hard avg@2 |")
            && table.contains("20.0 (10.0–90.0)"),
        "{table}"
    );
    assert!(
        table.contains(
            "Not compared question by question: runs/quick: initial and runs/quick: final, runs/quick: rft on held-out: runs/quick has no per-question results."
        ),
        "{table}"
    );
}

#[test]
fn evaluations_of_one_model_are_taken_together_and_by_subset() {
    let bench = Bench::new();
    let benchmark = "title = \"Own\"\nkind = \"math\"\nk = 2\n[source]\nfiles = \"own.jsonl\"\n[columns]\nquestion = \"q\"\nanswer = \"a\"\nsubset = \"s\"\n";
    bench.write("own.toml", benchmark);
    bench.write(
        "own.jsonl",
        "{\"q\": \"x\", \"a\": 1, \"s\": \"easy\"}\n{\"q\": \"y\", \"a\": 2, \"s\": \"hard\"}\n",
    );
    // Right responses of two to each question, in two runs of two models.
    for (folder, name, right) in
        [("one/a", "a", [2, 0]), ("one/b", "b", [2, 2]), ("two/a", "a", [1, 0]), ("two/b", "b", [2, 1])]
    {
        let response = |id: usize, sample: usize| json!({"id": id, "sample": sample, "response": if sample < right[id] { id + 1 } else { 0 }.to_string()});
        let rows: Vec<String> =
            [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(id, sample)| response(id, sample).to_string()).to_vec();
        bench.write(&format!("{name}.jsonl"), &rows.join("\n"));
        bench.success(&format!("eval --bench own.toml --responses {name}.jsonl --out {folder}"));
    }
    let compare = |arguments: &str| -> Value {
        serde_json::from_str(&bench.success(&format!("compare --json {arguments}"))).unwrap()
    };
    let pooled = compare("--pooled one two --against b");
    let row =
        |at: usize| (pooled["rows"][at]["model"].clone(), pooled["rows"][at]["cells"][0]["accuracy"].clone());
    assert_eq!([row(0), row(1)], [(json!("a"), json!(3.0 / 8.0)), (json!("b"), json!(7.0 / 8.0))]);
    assert_eq!((&pooled["columns"][0]["k"], &pooled["paired"].as_array().unwrap().len()), (&json!(4), &1));
    let pair = &pooled["paired"][0];
    assert_eq!(
        (&pair["first"], &pair["second"], &pair["difference"]["mean"]),
        (&json!("b"), &json!("a"), &json!(-0.5))
    );
    let hard = compare("--pooled --only hard one two");
    assert_eq!(
        (&hard["rows"][0]["cells"][0]["accuracy"], &hard["rows"][1]["cells"][0]["accuracy"]),
        (&json!(0.0), &json!(0.75))
    );
    assert_eq!(hard["paired"][0]["questions"], 1);
    bench.failure(
        "compare --only medium one",
        2,
        &["--only medium: a has no such question on Own", "hint: it has easy, hard"],
    );
    bench.failure("compare --against c one", 2, &["--against c: no such model on Own", "hint: it has a, b"]);
    // Questions that one run alone asks count once.
    bench.success("eval --bench own.toml --responses a.jsonl --limit 1 --out three/a");
    let some = compare("--pooled one/a three/a");
    assert_eq!(
        (&some["rows"][0]["cells"][0]["accuracy"], &some["columns"][0]["k"]),
        (&json!(0.375), &Value::Null)
    );
    bench.write("own.jsonl", "{\"q\": \"z\", \"a\": 1, \"s\": \"easy\"}\n");
    bench.write("a.jsonl", "{\"id\": 0, \"response\": \"1\"}\n");
    bench.success("eval --bench own.toml --responses a.jsonl --out four/a");
    bench.failure(
        "compare --pooled one/a four/a",
        1,
        &["cannot pool one/a and four/a: question \"0\" has a different text"],
    );
}

#[test]
fn what_cannot_be_compared_is_named() {
    let bench = Bench::new();
    bench.success("eval --bench sums.toml --responses gold --out one");
    bench.success("eval --bench sums.toml --responses gold --limit 2 --out two");
    let table = bench.success("compare one two");
    assert!(
        table.contains("| right answers (one) |")
            && table.contains("their questions differ (3 and 2; \"2\" is in only one of them)"),
        "{table}"
    );
    bench.write("questions.jsonl", &QUESTIONS.replace("1 plus 1 is", "1 plus 2 is"));
    bench.success("eval --bench sums.toml --responses gold --out three");
    assert!(
        bench.success("compare one three").contains("their questions differ (\"0\" has a different text)")
    );
    fs::remove_file(bench.path("one/results.json")).unwrap();
    assert!(bench.success("compare one three").contains("one has no per-question results"));
    bench.failure("compare one nowhere", 1, &["cannot read the folder nowhere"]);
    fs::create_dir(bench.path("empty")).unwrap();
    bench.failure(
        "compare empty",
        1,
        &["empty has no summary.json, nor has any of its subfolders", "hint: it is written when"],
    );
    bench.write("empty/summary.json", "{\"accuracy\": 1}");
    bench.failure("compare empty", 1, &["empty/summary.json is not an evaluation's summary: missing field"]);
    bench.failure("compare", 2, &["<RUN|DIR>"]);
}

/// Places of results as an object's keys come out in their order, whatever a reader makes of it.
#[test]
fn results_are_read_back_as_they_were_written() {
    let bench = Bench::new();
    let rows: String =
        (0..12).map(|number| format!("{{\"sum\": \"1 {number}\", \"result\": \"{number}\"}}\n")).collect();
    bench.write("questions.jsonl", &rows);
    bench.success("eval --bench sums.toml --responses gold --out out");
    let read = latrace_run::evaluation::read_results(&bench.path("out")).unwrap().unwrap();
    let expected: BTreeMap<usize, String> = (0..12).map(|number| (number, format!("1 {number}"))).collect();
    assert_eq!(
        read.into_iter().map(|question| question.question).collect::<Vec<_>>(),
        expected.into_values().collect::<Vec<_>>()
    );
}
