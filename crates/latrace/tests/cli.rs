//! The command from outside: exit codes, what it prints, what it leaves behind.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Words as tokens, one special token, and a chat template.
const TOKENIZER: &str = r#"{
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 9, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
    "model": {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "one": 1, "two": 2, "three": 3, "four": 4,
              "plus": 5, "is": 6, "user": 7, "assistant": 8, "<end>": 9}}
}"#;

const TEMPLATE: &str = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <end> {% endfor %}{% if add_generation_prompt %}assistant {% endif %}";

const THREE_ROWS: &str = r#"{"id": "a", "prompt": "one plus one is", "response": "two <end>", "note": {"kept": [1]}}
{"id": 2, "prompt_ids": [1, 5, 2, 6], "response_ids": [3], "prompt": "not read"}
{"id": "c", "prompt": "two plus two is", "response": "four <end>"}
"#;

/// A folder to work in, with a tiny model in `model` and what else a test writes.
struct Bench {
    folder: TempDir,
}

/// What a command did.
struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn text(&self) -> String {
        format!("exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }

    #[track_caller]
    fn success(self) -> Outcome {
        assert_eq!(self.code, 0, "{}", self.text());
        self
    }

    #[track_caller]
    fn failure(self, code: i32, expected: &str) -> Outcome {
        assert_eq!(self.code, code, "{}", self.text());
        assert!(self.stderr.contains(expected), "expected {expected:?} in {}", self.text());
        self
    }
}

impl Bench {
    /// Without a model.
    fn empty() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    fn new() -> Bench {
        let bench = Bench::empty();
        bench.write("shape/config.json", &config(16).to_string());
        bench.write("shape/tokenizer.json", TOKENIZER);
        bench.write(
            "shape/tokenizer_config.json",
            &json!({"chat_template": TEMPLATE, "eos_token": "<end>"}).to_string(),
        );
        bench.run("init --config shape --out model --seed 7").success();
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
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn rows(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Runs the command in the folder; words are split at spaces.
    fn run(&self, arguments: &str) -> Outcome {
        run_in(self.folder.path(), &["--log-level", "error"], arguments)
    }

    /// As [`Bench::run`], with no wider instructions than named.
    fn run_with_simd(&self, simd: &str, arguments: &str) -> Outcome {
        outcome(
            command_in(self.folder.path(), &["--log-level", "error"], arguments).env("LATRACE_SIMD", simd),
        )
    }
}

fn run_in(folder: &Path, before: &[&str], arguments: &str) -> Outcome {
    outcome(&mut command_in(folder, before, arguments))
}

fn command_in(folder: &Path, before: &[&str], arguments: &str) -> Command {
    let mut command = Command::cargo_bin("latrace").unwrap();
    command
        .current_dir(folder)
        .env("COLUMNS", "120")
        .env_remove("LATRACE_SIMD")
        .args(before)
        .args(arguments.split_whitespace());
    command
}

fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn config(vocab_size: usize) -> Value {
    json!({
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": vocab_size,
        "max_position_embeddings": 32, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true
    })
}

/// All of them, after the command itself.
const VERBS: [&str; 27] = [
    "",
    "run",
    "questions",
    "train",
    "sample",
    "score",
    "answer",
    "verify",
    "weigh",
    "build",
    "eval",
    "report",
    "serve",
    "status",
    "clean",
    "sweep",
    "compare",
    "export",
    "import",
    "new",
    "recipe",
    "push",
    "chat",
    "init",
    "convert",
    "doctor",
    "man",
];

#[test]
fn help_is_stable() {
    let bench = Bench::empty();
    for verb in VERBS {
        let help = run_in(bench.folder.path(), &[], &format!("{verb} --help")).success();
        insta::assert_snapshot!(format!("help_{verb}"), help.stdout);
    }
}

#[test]
fn the_commands_of_the_readme_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bench = Bench::empty();
    for entry in fs::read_dir(root.join("examples/tiny")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        bench.write(&format!("examples/tiny/{name}"), &fs::read_to_string(&path).unwrap());
    }
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (_, block) = readme.split_once("<!-- A test runs the commands of this block. -->\n```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    for line in block.lines() {
        bench.run(line.strip_prefix("latrace ").unwrap()).success();
    }
    assert_eq!(bench.rows("runs/tiny/scores.jsonl").len(), 55);
    let losses: Vec<f64> =
        bench.rows("runs/tiny/tuned/metrics.jsonl").iter().map(|row| row["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 500);
    assert!(losses[499] < 0.1 * losses[0], "the loss falls from {} to {}", losses[0], losses[499]);
    // Sums of one digit are few enough to be learnt by heart: nearly every sample ends, and is its row's response.
    let samples = bench.rows("runs/tiny/samples.jsonl");
    let right = samples.iter().filter(|sample| {
        let text = sample["text"].as_str().unwrap();
        sample["stop_reason"] == "end" && sample["response"] == format!("{text} <end>")
    });
    assert_eq!(samples.len(), 220);
    assert!(right.clone().count() >= 200, "{} of 220 samples are right", right.count());
}

#[test]
fn what_is_no_run_is_named() {
    let bench = Bench::empty();
    bench.run("run recipe.toml").failure(2, "there is no file recipe.toml");
    for verb in ["report", "status", "export --format trl --out out"] {
        bench
            .run(&format!("{verb} runs/quick"))
            .failure(1, "runs/quick is not a run folder: it has no recipe.toml");
    }
}

#[test]
fn the_doctor_tells_what_there_is_and_leaves_nothing() {
    let bench = Bench::empty();
    let findings: Vec<Value> = serde_json::from_str(&bench.run("doctor --json").success().stdout).unwrap();
    let names: Vec<&str> = findings.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "latrace",
            "threads",
            "instructions",
            "memory",
            "disk",
            "GPU",
            "python3",
            "sandbox",
            "hub",
            "servers",
            "torchrun"
        ]
    );
    assert!(findings.iter().all(|finding| finding["health"] != "missing"), "{findings:?}");
    let table = bench.run("doctor --threads 1").success().stdout;
    assert_eq!(table.lines().count(), names.len(), "{table}");
    assert!(table.contains("1 in use"), "{table}");
    assert_eq!(bench.names("."), Vec::<String>::new());
    let tried = bench.run("doctor --try cpu").success().stdout;
    for part in
        ["ok       works: 16 tokens sampled", "rows scored, within 0.0e0 nats", "losses within 0.0e0 nats"]
    {
        assert!(tried.contains(part), "{part:?} in {tried}");
    }
    let measured: Vec<Value> =
        serde_json::from_str(&bench.run("doctor --bench --json").success().stdout).unwrap();
    let found = |what: &str| {
        let finding = measured.iter().find(|finding| finding["what"] == what).unwrap();
        finding["found"].as_str().unwrap().to_owned()
    };
    // The rates depend on the machine and on how the test was compiled.
    let rate = |text: &str| text.split(' ').find_map(|word| word.parse::<f64>().ok()).unwrap();
    let (products, memory) = (found("products"), found("memory rate"));
    assert!(rate(&products) > 0.0 && products.contains("GFLOP/s in f32"), "{products}");
    assert!(rate(&memory) > 0.0 && memory.contains("GB/s"), "{memory}");
    let failed = bench.run("doctor --try servers --engine-setting servers.command=[\"nowhere/vllm\"]");
    failed.failure(1, "missing, and needed: servers, tried");
    bench
        .run("doctor --engine-setting servers.replicas=0")
        .failure(2, "replicas: expected at least 1, got 0");
    bench
        .run("doctor --try cpu --engine-setting seed=1")
        .failure(2, "expected a setting of servers or torchrun");
    bench
        .run("score --model m --data d --engine-setting servers.replicas=2")
        .failure(2, "got the built-in engine");
    bench.write("file", "");
    bench.run("doctor --runs file/runs").failure(1, "missing, and needed: disk");
}

#[test]
fn shells_and_man_get_the_command_line() {
    let bench = Bench::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = bench.run(&format!("completions {shell}")).success().stdout;
        assert!(script.contains("posterior") && script.contains("max-new-tokens"), "{shell}");
    }
    bench.run("completions sh").failure(2, "bash");
    bench.run("man --out pages").success();
    let mut expected: Vec<String> = VERBS
        .into_iter()
        .chain(["completions", "recipe-check", "recipe-show"])
        .map(|verb| if verb.is_empty() { "latrace.1".to_owned() } else { format!("latrace-{verb}.1") })
        .collect();
    expected.sort();
    assert_eq!(bench.names("pages"), expected);
    assert!(bench.read("pages/latrace-sample.1").contains("max\\-new\\-tokens"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("").failure(2, "Usage");
    bench.run("score --model model").failure(2, "--data");
    bench.run("score --model model --data data.csv").failure(2, "expected an extension");
    bench.run("score --model model --data data.jsonl --out scores.txt").failure(2, "expected an extension");
    bench.run("--threads 0 score --model model --data data.jsonl").failure(2, "0");
    let unknown = bench.run("train --model model --data data.jsonl --out out learning_rat=1");
    insta::assert_snapshot!("unknown_key", unknown.text());
    bench.write("recipe.toml", "batchsize = 4\n");
    let unknown = bench.run("train --model model --data data.jsonl --out out --recipe recipe.toml");
    unknown.failure(2, "recipe.toml: unknown key \"batchsize\"; the nearest known key is \"batch_size\"");
    assert!(!bench.path("out").exists());
}

#[test]
fn missing_files_exit_with_1() {
    let bench = Bench::new();
    bench.run("score --model model --data none.jsonl").failure(1, "cannot read none.jsonl");
    bench.write("data.jsonl", THREE_ROWS);
    let no_model = bench.run("score --model nowhere --data data.jsonl");
    insta::assert_snapshot!("no_model", no_model.text());
}

#[test]
fn scores_come_in_order_with_unknown_fields_kept() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("score --model model --data data.jsonl --out scores.jsonl").success();
    let rows = bench.rows("scores.jsonl");
    assert_eq!(rows.iter().map(|row| &row["id"]).collect::<Vec<_>>(), [&json!("a"), &json!(2), &json!("c")]);
    assert_eq!(
        rows[0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["id", "note", "token_ids", "logprobs", "sum_logprob", "mean_logprob"]
    );
    assert_eq!(rows[0]["note"], json!({"kept": [1]}));
    assert_eq!(rows[0]["token_ids"], json!([2, 9]));
    for row in &rows {
        let logprobs: Vec<f64> =
            row["logprobs"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
        let sum: f64 = logprobs.iter().sum();
        assert!(logprobs.iter().all(|&logprob| logprob < 0.0));
        assert!((sum - row["sum_logprob"].as_f64().unwrap()).abs() < 1e-6);
        assert!((sum / logprobs.len() as f64 - row["mean_logprob"].as_f64().unwrap()).abs() < 1e-6);
    }
}

/// A model of `oracle/gguf_goldens.py`.
fn gguf_model(bench: &Bench) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../latrace-lm/tests/golden/gguf/qwen2.gguf");
    fs::copy(golden, bench.path("tiny.gguf")).unwrap();
}

#[test]
fn models_are_converted_from_gguf_and_to_it() {
    let bench = Bench::empty();
    gguf_model(&bench);
    bench.run("convert tiny.gguf model").success();
    let files = [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(bench.names("model"), files);
    bench.write("data.jsonl", "{\"id\": 1, \"prompt\": \"#\", \"response\": \"!\\\"$<|end|>\"}\n");
    let scores =
        |model: &str| bench.run(&format!("score --model {model} --data data.jsonl")).success().stdout;
    assert_eq!(scores("model").matches("token_ids").count(), 1);
    bench.run("convert model out.gguf --type f32").success();
    bench.run("convert out.gguf again").success();
    assert_eq!(scores("again"), scores("model"));
    for kind in ["f16", "bf16", "q8_0"] {
        bench.run(&format!("convert model {kind}.gguf --type {kind}")).success();
        bench.run(&format!("convert {kind}.gguf {kind} --dtype bf16 --tokenizer model")).success();
        assert_ne!(scores(kind), scores("model"), "{kind}");
    }
}

#[test]
fn a_failed_conversion_leaves_nothing() {
    let bench = Bench::new();
    gguf_model(&bench);
    let bytes = fs::read(bench.path("tiny.gguf")).unwrap();
    fs::write(bench.path("cut.gguf"), &bytes[..bytes.len() / 2]).unwrap();
    let before = bench.names(".");
    let cut = bench.run("convert cut.gguf out").failure(1, "cut.gguf: tensor `");
    assert!(
        cut.stderr.contains("hint: the file may be an incomplete download; fetch it again"),
        "{}",
        cut.stderr
    );
    bench.run("convert tiny.gguf model").failure(1, "the output folder model is not empty");
    bench.run("convert model out.gguf").failure(1, "its model cannot be written to GGUF");
    bench.run("convert tiny.gguf out --type f16").failure(2, "expected --dtype");
    bench.run("convert model out.gguf --dtype f32").failure(2, "expected --type");
    bench.run("convert model out --type f16").failure(2, "--type and --tokenizer are of GGUF files");
    bench.run("convert tiny.gguf out.gguf").failure(2, "got two names ending in .gguf");
    bench.run("convert model model").failure(1, "the output folder model is not empty");
    assert_eq!(bench.names("."), before);
}

#[test]
fn a_folder_becomes_one_with_weights_of_another_type() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("convert model half --dtype bf16").success();
    bench.run("convert half again --dtype f32").success();
    let size = |name: &str| fs::metadata(bench.path(name).join("model.safetensors")).unwrap().len();
    assert!(size("half") < size("model") * 6 / 10 && size("again") > size("half"));
    let scores =
        |model: &str| bench.run(&format!("score --model {model} --data data.jsonl")).success().stdout;
    // Every bf16 is an f32; not every f32 is a bf16.
    assert_eq!(scores("again"), scores("half"));
    assert_ne!(scores("half"), scores("model"));
}

#[test]
fn scores_do_not_depend_on_threads_batches_instructions_or_where_they_go() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("score --model model --data data.jsonl --out scores.jsonl").success();
    let scores = bench.read("scores.jsonl");
    assert_eq!(
        bench.run("score --model model --data data.jsonl --threads 1 --tokens-per-batch 1").success().stdout,
        scores
    );
    assert_eq!(
        bench.run("score --model model --data data.jsonl --threads 3 --out -").success().stdout,
        scores
    );
    for simd in ["baseline", "avx2"] {
        assert_eq!(
            bench.run_with_simd(simd, "score --model model --data data.jsonl").success().stdout,
            scores
        );
    }
    let refused = bench.run_with_simd("sse", "score --model model --data data.jsonl");
    assert_eq!(
        (
            refused.code,
            refused.stderr.contains("expected one of baseline, avx2, avx512, avx512bf16, amx, got \"sse\"")
        ),
        (2, true),
        "{}",
        refused.stderr
    );
}

#[test]
fn parquet_goes_in_and_out() {
    let bench = Bench::new();
    let rows = "{\"id\": 1, \"prompt_ids\": [1, 5], \"response_ids\": [2]}\n{\"id\": 2, \"prompt_ids\": [2], \"response_ids\": [3, 9]}\n";
    bench.write("data.jsonl", rows);
    bench.run("score --model model --data data.jsonl --out scores.parquet").success();
    let from_json = bench.run("score --model model --data data.jsonl").success().stdout;
    // Scores are rows too: scored tokens serve as prompt and response of a second pass, read from Parquet and
    // from JSON.
    let again = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        row["prompt_ids"] = row["token_ids"].clone();
        row["response_ids"] = row["token_ids"].clone();
        row
    };
    let second: Vec<Value> = from_json.lines().map(again).collect();
    let rows_as = |name: &str| {
        let out = latrace_io::rows::Output::new(Some(&bench.path(name))).unwrap();
        latrace_io::rows::write_rows(&out, |sink| {
            second.iter().try_for_each(|row| sink.write(row.as_object().unwrap().clone()))
        })
        .unwrap();
    };
    rows_as("second.jsonl");
    rows_as("second.parquet");
    let from_json = bench.run("score --model model --data second.jsonl").success().stdout;
    let from_parquet = bench.run("score --model model --data second.parquet").success().stdout;
    assert_eq!(from_parquet, from_json);
    assert!(fs::read(bench.path("scores.parquet")).unwrap().starts_with(b"PAR1"));
}

#[test]
fn a_bad_row_stops_the_work_and_leaves_nothing() {
    let bench = Bench::new();
    bench.write("data.jsonl", "{\"id\": 1, \"prompt\": \"one\", \"response\": \"two\"}\n\n{\"id\": 2, \"prompt_ids\": \"x\", \"response\": \"two\"}\n");
    let outcome = bench.run("score --model model --data data.jsonl --out scores.jsonl");
    insta::assert_snapshot!("bad_row", outcome.text());
    assert_eq!(bench.names("."), ["data.jsonl", "model", "shape"]);
}

#[test]
fn bad_rows_are_skipped_and_counted() {
    let bench = Bench::new();
    bench.write("data.jsonl", &format!("{{\"id\": 0}}\n{THREE_ROWS}{{\"id\": \n"));
    let arguments = "score --model model --data data.jsonl --out scores.jsonl --skip-bad-rows";
    let outcome = run_in(bench.folder.path(), &[], arguments).success();
    assert_eq!(bench.rows("scores.jsonl").len(), 3);
    assert!(outcome.stderr.contains("3 rows scored, 2 bad rows skipped"), "{}", outcome.text());
    assert!(outcome.stderr.contains("data.jsonl line 1: field \"prompt\""), "{}", outcome.text());
}

#[track_caller]
fn check_score_row(row: &str, expected: &str) {
    let bench = Bench::new();
    bench.write(
        "data.jsonl",
        &format!("{{\"id\": \"first\", \"prompt\": \"one\", \"response\": \"two\"}}\n{row}\n"),
    );
    let outcome = bench.run("score --model model --data data.jsonl").failure(1, expected);
    assert!(outcome.stderr.starts_with("error: data.jsonl line 2: "), "{}", outcome.text());
}

#[test]
fn each_fault_of_a_row_is_named() {
    check_score_row(
        r#"{"prompt": "one", "response": "two"}"#,
        "field \"id\": expected a string or an integer, got nothing",
    );
    check_score_row(
        r#"{"id": "first", "prompt": "one", "response": "two"}"#,
        "expected an id not used by an earlier row, got string \"first\"",
    );
    check_score_row(
        r#"{"id": 1, "prompt": "one", "response": ""}"#,
        "field \"response\": expected a response of at least one token, got an empty one",
    );
    check_score_row(
        r#"{"id": 1, "prompt": "", "response": "two"}"#,
        "field \"prompt\": expected a prompt of at least one token",
    );
    check_score_row(
        r#"{"id": 1, "prompt": 3, "response": "two"}"#,
        "field \"prompt\": expected a text, got number 3",
    );
    check_score_row(
        r#"{"id": 1, "prompt": "one", "response_ids": [1, 16]}"#,
        "field \"response_ids[1]\": expected a token id below the vocabulary's 16",
    );
    let long = format!("{{\"id\": 1, \"prompt\": \"one\", \"response\": \"{}\"}}", "two ".repeat(32));
    check_score_row(&long, "expected at most the model's 32 tokens of prompt and response (id 1), got 33");
    check_score_row("[1]", "expected a JSON object, got a list of 1");
}

#[test]
fn a_vocabulary_smaller_than_the_tokenizer_is_refused() {
    let bench = Bench::new();
    bench.write("small/config.json", &config(9).to_string());
    bench.write("small/tokenizer.json", TOKENIZER);
    bench.run("init --config small --out never").failure(1, "vocabulary smaller than the tokenizer's");
    assert!(!bench.path("never").exists());
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("score --model small --data data.jsonl").failure(1, "vocabulary smaller than the tokenizer's");
    bench
        .run("train --model small --data data.jsonl --out out init=random")
        .failure(1, "vocabulary smaller than the tokenizer's");
}

#[test]
fn init_makes_the_same_model_from_the_same_seed() {
    let bench = Bench::new();
    bench.write("tiny.json", &config(16).to_string());
    bench.run("init --config tiny.json --tokenizer shape --out again --seed 7").success();
    bench.run("init --config tiny.json --tokenizer shape --out other --seed 8").success();
    let weights = |name: &str| fs::read(bench.path(name).join("model.safetensors")).unwrap();
    assert!(weights("model") == weights("again") && weights("model") != weights("other"));
    assert_eq!(bench.names("again"), bench.names("model"));
    assert_eq!(
        bench.names("model"),
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    );
    bench.run("init --config tiny.json --out model").failure(1, "the output folder model is not empty");
}

const TRAIN: &str =
    "train --model model --data data.jsonl --out out batch_size=2 epochs=2 learning_rate=0.01 warmup_ratio=0";

#[test]
fn training_writes_a_model_metrics_and_the_recipe() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run(TRAIN).success();
    let metrics = bench.rows("out/metrics.jsonl");
    assert_eq!(metrics.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    for name in [
        "epoch",
        "loss",
        "lr",
        "grad_norm",
        "tokens",
        "tokens_per_second",
        "weight_ess",
        "peak_memory_bytes",
        "time",
    ] {
        assert!(metrics[0][name].is_number(), "{name} in {}", metrics[0]);
    }
    assert!(bench.read("out/recipe.toml").contains("batch_size = 2\n"));
    assert!(bench.names("out").iter().any(|name| name.contains("tfevents")));
    let total = |model: &str| -> f64 {
        let scores = bench.run(&format!("score --model {model} --data data.jsonl")).success().stdout;
        scores
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["sum_logprob"].as_f64().unwrap())
            .sum()
    };
    assert!(total("out") > total("model"));
    bench.run(TRAIN).failure(1, "the output folder out is not empty");
    let resumed =
        run_in(bench.folder.path(), &[], "train --model model --data data.jsonl --out out --resume")
            .success();
    assert!(resumed.stderr.contains("nothing to do"), "{}", resumed.text());
    assert_eq!(bench.rows("out/metrics.jsonl").len(), 4);
}

#[test]
fn a_run_that_cannot_start_leaves_no_folder() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    bench.run("train --model shape --data data.jsonl --out out").failure(1, "no weights");
    assert!(!bench.path("out").exists());
    bench.run("train --model shape --data data.jsonl --out out init=random max_steps=1").success();
}

#[test]
fn messages_train_as_the_template_renders_them() {
    let bench = Bench::new();
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let chat = json!({"id": 1, "messages": [message("user", "one plus one"), message("assistant", "two")]});
    bench.write("data.jsonl", &format!("{chat}\n"));
    let scores = bench.run("score --model model --data data.jsonl").success().stdout;
    let scored: Value = serde_json::from_str(&scores).unwrap();
    assert_eq!(scored["token_ids"], json!([2, 9]));
    bench.run(TRAIN).success();
    let unfinished = json!({"id": 1, "messages": [message("user", "one")]});
    bench.write("data.jsonl", &format!("{unfinished}\n"));
    bench
        .run("train --model model --data data.jsonl --out never")
        .failure(1, "expected the last message to be the assistant's");
    assert!(!bench.path("never").exists());
}

#[track_caller]
fn check_train_row(fields: &str, expected: &str) {
    let bench = Bench::new();
    bench.write("data.jsonl", &format!("{{\"prompt\": \"one\", \"response\": \"two <end>\", {fields}}}\n"));
    bench.run(TRAIN).failure(1, expected);
    assert!(!bench.path("out").exists());
}

#[test]
fn each_fault_of_a_weight_is_named() {
    check_train_row(
        "\"weight\": -0.5",
        "line 1: field \"weight\": expected a finite number of at least 0, got number -0.5",
    );
    check_train_row(
        "\"weight\": 1e999",
        "field \"weight\": expected a finite number of at least 0, got number 1e999",
    );
    check_train_row(
        "\"token_weights\": [1]",
        "field \"token_weights\": expected a list of 2, one per response token, got a list of 1",
    );
    check_train_row(
        "\"weight\": 1, \"token_weights\": [1, 1]",
        "expected either \"weight\" or \"token_weights\", got both",
    );
}

const PROMPTS: &str =
    "{\"id\": \"a\", \"prompt\": \"hello\", \"kept\": 1}\n{\"id\": 2, \"prompt_ids\": [2, 9, 3]}\n";

/// Prompts that the tests' tokenizer knows, and a model that ends rarely.
fn sampling_bench() -> Bench {
    let bench = Bench::new();
    bench.write("prompts.jsonl", PROMPTS);
    bench
}

const SAMPLE: &str =
    "sample --model model --data prompts.jsonl --n 3 --max-new-tokens 20 --temperature 1 --seed 5";

#[test]
fn samples_come_in_order_with_the_scorers_log_probs() {
    let bench = sampling_bench();
    bench.run(&format!("{SAMPLE} --out samples.jsonl")).success();
    let rows = bench.rows("samples.jsonl");
    let keys: Vec<(Value, Value)> =
        rows.iter().map(|row| (row["id"].clone(), row["sample"].clone())).collect();
    assert_eq!(
        keys,
        ["a", "a", "a", "2", "2", "2"]
            .iter()
            .zip([0, 1, 2, 0, 1, 2])
            .map(|(id, k)| (if *id == "a" { json!("a") } else { json!(2) }, json!(k)))
            .collect::<Vec<_>>()
    );
    assert_eq!(
        rows[0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["id", "kept", "sample", "text", "token_ids", "logprobs", "stop_reason", "sampling"]
    );
    assert_eq!(rows[0]["sampling"], json!({"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}));
    let prompts: Vec<Value> = PROMPTS.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let to_score: Vec<String> = rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let mut scored = prompts[i / 3].clone();
            scored["id"] = json!(i);
            scored["response_ids"] = row["token_ids"].clone();
            scored.to_string() + "\n"
        })
        .collect();
    bench.write("to_score.jsonl", &to_score.concat());
    bench.run("score --model model --data to_score.jsonl --out scores.jsonl").success();
    for (sample, score) in rows.iter().zip(bench.rows("scores.jsonl")) {
        assert_eq!(sample["logprobs"], score["logprobs"]);
    }
}

#[test]
fn samples_do_not_depend_on_threads_batches_or_where_they_go() {
    let bench = sampling_bench();
    bench.run(&format!("{SAMPLE} --out samples.jsonl")).success();
    let samples = bench.read("samples.jsonl");
    bench.run(&format!("{SAMPLE} --out again.jsonl --threads 1 --batch 1 --prefill-tokens 1")).success();
    assert_eq!(bench.read("again.jsonl"), samples);
    let printed = bench.run(SAMPLE).success().stdout;
    // In the same order too, whatever order they finish in.
    assert_eq!(printed, samples);
    let other = bench.run(&SAMPLE.replace("--seed 5", "--seed 6")).success().stdout;
    assert_ne!(other, samples);
}

#[test]
fn a_stopped_sampling_goes_on_to_the_same_file() {
    let bench = sampling_bench();
    bench.run(&format!("{SAMPLE} --out samples.jsonl")).success();
    let (whole, description) = (bench.read("samples.jsonl"), bench.read("samples.jsonl.sampling.json"));
    let unfinished = description.replace("\"done\": true", "\"done\": false");
    assert_ne!(unfinished, description);
    // As a kill leaves it: lines in the order in which they finished, the last one cut anywhere.
    let lines: Vec<&str> = whole.lines().collect();
    for cut in [0, 1, 40] {
        bench.write("samples.jsonl", &format!("{}\n{}\n{}", lines[4], lines[1], &lines[2][..cut]));
        bench.write("samples.jsonl.sampling.json", &unfinished);
        bench.run(&format!("{SAMPLE} --out samples.jsonl")).success();
        assert_eq!(bench.read("samples.jsonl"), whole, "cut after {cut} bytes");
    }
    bench.write("samples.jsonl.sampling.json", &unfinished);
    let other = bench.run(&format!("{} --out samples.jsonl", SAMPLE.replace("--seed 5", "--seed 6")));
    assert_eq!(other.code, 1);
    assert!(
        other.stderr.contains("holds unfinished samples of different work: seed was 5, is 6")
            && other.stderr.contains("hint:"),
        "{}",
        other.stderr
    );
    bench.run(&format!("{SAMPLE} --out samples.parquet")).success();
    assert_eq!(
        bench.names(".").iter().filter(|name| name.starts_with("samples.parquet")).count(),
        2,
        "the journal is gone"
    );
}

#[test]
fn a_stop_string_ends_a_sample_and_is_cut_from_its_text() {
    let bench = sampling_bench();
    bench.run(&format!("{SAMPLE} --out samples.jsonl")).success();
    let texts: Vec<String> =
        bench.rows("samples.jsonl").iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect();
    let (at, text) = texts.iter().enumerate().max_by_key(|(_, text)| text.len()).unwrap();
    let stop: String = text.chars().filter(|c| !c.is_whitespace()).skip(2).take(1).collect();
    let stopped = |extra: &str| {
        bench.run(&format!("{SAMPLE} --out stopped.jsonl --stop {stop} {extra}")).success();
        bench.rows("stopped.jsonl")[at].clone()
    };
    let without = stopped("");
    assert_eq!(
        (without["stop_reason"].as_str(), without["text"].as_str()),
        (Some("stop_string"), text.split(&stop).next())
    );
    let with = stopped("--include-stop");
    assert_eq!(with["text"].as_str().map(|text| text.ends_with(&stop)), Some(true));
    assert_eq!(with["token_ids"], without["token_ids"]);
}

#[test]
fn what_cannot_be_sampled_is_named() {
    let bench = sampling_bench();
    let check = |arguments: &str, code: i32, expected: &str| {
        let outcome = bench.run(&format!("sample --model model {arguments}"));
        assert_eq!(
            (outcome.code, outcome.stderr.contains(expected)),
            (code, true),
            "{arguments}: {}",
            outcome.stderr
        );
    };
    check(
        "--data prompts.jsonl --top-p 0",
        2,
        "top_p (see --help): expected a number above 0 and at most 1, got 0",
    );
    check(
        "--data prompts.jsonl --temperature -1",
        2,
        "temperature (see --help): expected a finite number of at least 0, got -1",
    );
    check("--data prompts.jsonl --max-new-tokens 0", 2, "max_new_tokens (see --help): expected at least 1");
    check("--data prompts.jsonl --kv-cache-bytes 100", 1, "row \"a\": one sample may need");
    for (row, expected) in [
        (
            r#"{"id": "x", "prompt": ""}"#,
            "line 1: field \"prompt\": expected a prompt of at least one token, got an empty one",
        ),
        (
            r#"{"id": "x", "prompt_ids": [99]}"#,
            "field \"prompt_ids[0]\": expected a token id below the vocabulary's 16, got number 99",
        ),
        (r#"{"prompt": "hello"}"#, "field \"id\": expected a string or an integer, got nothing"),
        (
            "{\"id\": 1, \"prompt_ids\": [2]}\n{\"id\": 1, \"prompt_ids\": [2]}",
            "line 2: field \"id\": expected an id not used by an earlier row",
        ),
        (
            &format!("{{\"id\": 1, \"prompt_ids\": [{}2]}}", "2,".repeat(200)),
            "field \"prompt\": expected fewer than the model's",
        ),
    ] {
        bench.write("bad.jsonl", row);
        check("--data bad.jsonl", 1, expected);
    }
    fs::remove_file(bench.path("model/tokenizer.json")).unwrap();
    check(
        "--data prompts.jsonl",
        1,
        "line 1: field \"prompt\": expected token ids, since the model folder has no tokenizer.json",
    );
    check("--data prompts.jsonl --stop x", 2, "--stop needs a tokenizer");
}

#[test]
fn a_chat_replies_resets_and_ends() {
    let bench = sampling_bench();
    let mut command = command_in(
        bench.folder.path(),
        &["--log-level", "error"],
        "chat --model model --max-new-tokens 5 --seed 1",
    );
    let output =
        command.write_stdin("hello\n/reset\nhello\n/nonsense\n/quit\nnever read\n").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success()
            && text.contains("(a new conversation)")
            && text.contains("(unknown: /nonsense; there are /reset and /quit)"),
        "{text}"
    );
}

#[test]
fn products_are_in_the_type_that_a_verb_is_given() {
    let bench = Bench::new();
    bench.write("data.jsonl", THREE_ROWS);
    let metrics = |out: &str| {
        let text = fs::read_to_string(bench.path(&format!("{out}/metrics.jsonl"))).unwrap();
        let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        line["compute"].as_str().unwrap().to_owned()
    };
    let train = |out: &str, more: &str| {
        bench.run(&format!(
            "train --model model --data data.jsonl --out {out} max_steps=2 batch_size=1 {more}"
        ))
    };
    train("wide", "").success();
    train("narrow", "--compute bf16").success();
    let arithmetic = metrics("narrow");
    assert_eq!(
        (metrics("wide").as_str(), arithmetic.starts_with("bf16 by ")),
        ("f32", latrace_engine::cpu::unit().is_some())
    );
    let said = |verb: &str, compute: &str| {
        bench.run(&format!("{verb} --model model --data data.jsonl --compute {compute}")).success().stdout
    };
    for verb in ["score", "sample --n 1 --max-new-tokens 3"] {
        assert_ne!(said(verb, "bf16"), said(verb, "f32"), "{verb}");
    }
    bench
        .run("score --model model --data data.jsonl --engine torchrun --compute bf16")
        .failure(2, "--compute: expected the built-in engine, got another");
    if latrace_engine::cpu::unit().is_some() {
        train("narrow", "--resume")
            .failure(1, &format!("or in other arithmetic than this: it began in {arithmetic}"));
    }
}
