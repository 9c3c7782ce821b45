//! The stages by their verbs on plain files: a round of the method by hand, and that it is what `latrace run`
//! does.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use latrace_core::{Markers, Tokenizer};
use latrace_io::table::{Record, Table};
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, QuestionRecord, TraceRecord, VerdictRecord,
};
use latrace_run::stages::model::write_shape;
use serde_json::{Value, json};
use tempfile::TempDir;

const RECIPE: &str = r#"
[model]
shape = { architectures = ["Qwen3ForCausalLM"], model_type = "qwen3", hidden_size = 64, intermediate_size = 128, num_hidden_layers = 2, num_attention_heads = 4, num_key_value_heads = 4, head_dim = 16, max_position_embeddings = 96, rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }

[questions]
task = "walk"
sizes = { traced = 60, untraced = 20, validation = 0, test = 4 }

[prompts]
markers = "plain"
reasoner = "plain"
posterior = "plain_posterior"

[initial]
batch_size = 16
max_steps = 300
learning_rate = 5e-3

[posterior]
batch_size = 16
max_steps = 300
learning_rate = 5e-3

[traces]
questions = "all"
n = 4
temperature = 1.0
max_new_tokens = 48

[answers]
n = 2
temperature = 1.0
max_new_tokens = 12

[weights]
selection = "weighted"

[final]
batch_size = 8
max_steps = 2
learning_rate = 1e-3

[evaluation]
n = 1
max_new_tokens = 64

[engine]
part_questions = 16
"#;

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    /// With a finished run in `r`.
    fn with_run(settings: &[&str]) -> Bench {
        let bench = Bench::new();
        fs::write(bench.path("tiny.toml"), RECIPE).unwrap();
        bench.done(&format!("run tiny.toml --run-dir r {}", settings.join(" ")));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the command in the folder; words are split at spaces.
    fn run(&self, arguments: &str) -> (i32, String) {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
        let output = command
            .current_dir(self.folder.path())
            .args(["--log-level", "warn"])
            .args(arguments.split_whitespace())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[track_caller]
    fn done(&self, arguments: &str) {
        let (code, stderr) = self.run(arguments);
        assert_eq!(code, 0, "{arguments}\n{stderr}");
    }

    #[track_caller]
    fn refused(&self, arguments: &str, code: i32, expected: &str) {
        let (got, stderr) = self.run(arguments);
        assert!(
            got == code && stderr.contains(expected),
            "expected {code}, {expected:?}; got {got}, {stderr}"
        );
    }

    fn rows(&self, name: &str) -> Vec<Value> {
        fs::read_to_string(self.path(name))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn write_rows(&self, name: &str, rows: &[Value]) {
        fs::write(self.path(name), rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
    }

    fn records<R: Record>(&self, folder: &str) -> Vec<R> {
        Table::open(&self.path(folder)).records().unwrap().map(|record| record.unwrap()).collect()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn the_commands_of_the_method_by_hand_work() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let bench = Bench::new();
    copy_folder(&root.join("examples/walk"), &bench.path("examples/walk"));
    let document = fs::read_to_string(root.join("docs/by-hand.md")).unwrap();
    let (_, block) =
        document.split_once("<!-- A test runs the commands of this block. -->\n```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    for line in block.lines() {
        bench.done(line.strip_prefix("latrace ").unwrap());
    }
    let (traces, answers) = (bench.rows("walk/traces.jsonl"), bench.rows("walk/answers.jsonl"));
    assert_eq!((traces.len(), answers.len()), (40 * 4, 40 * 4 * 2));
    assert_eq!(bench.rows("walk/verdicts.jsonl").len(), answers.len());
    let closed = traces.iter().filter(|trace| trace["stop_reason"] == "stop_string").count();
    assert!(closed > traces.len() / 2, "only {closed} of {} traces have an end", traces.len());
    let open = answers.iter().filter(|answer| answer["stop_reason"] == "open_trace").count();
    assert_eq!(open, (traces.len() - closed) * 2);
    let examples = bench.rows("walk/examples.jsonl");
    assert_eq!(examples.iter().filter(|example| example["source"] == -2).count(), 200);
    assert_eq!(bench.rows("walk/final/metrics.jsonl").len(), 30);
    check_bounds_by_hand(&bench, closed);
    // Without a verifier: the reference answer after each trace.
    let weigh = "weigh --traces walk/traces.jsonl --scores walk/scores.jsonl --answer geometric-likelihood --references walk/references.jsonl";
    bench.done(&format!("{weigh} --out walk/likelihoods.jsonl"));
    bench.done("build --questions walk/train.jsonl --traces walk/traces.jsonl --weights walk/likelihoods.jsonl --out walk/gml.jsonl --originals 0");
    assert!(!bench.rows("walk/gml.jsonl").is_empty());
}

/// What the verbs write suffices for bounds, over all 40 questions; traces without an end make some of them
/// minus infinity.
fn check_bounds_by_hand(bench: &Bench, closed: usize) {
    let bounds: Value = serde_json::from_slice(&fs::read(bench.path("walk/bounds.json")).unwrap()).unwrap();
    assert_eq!(bounds["bounds"]["is_bound"], true, "{bounds}");
    let of_k = bounds["bounds"]["of_k"].as_array().unwrap();
    assert!(of_k.len() == 4 && of_k.iter().all(|bound| bound["questions"] == 40), "{bounds}");
    let ended = |id: &Value| {
        let traces = bench.rows("walk/traces.jsonl").into_iter();
        traces.filter(|trace| trace["id"] == *id && trace["stop_reason"] == "stop_string").count()
    };
    let ids: std::collections::BTreeMap<String, Value> = bench
        .rows("walk/traces.jsonl")
        .into_iter()
        .map(|row| (row["id"].to_string(), row["id"].clone()))
        .collect();
    let ended: Vec<usize> = ids.values().map(ended).collect();
    assert_eq!(ended.iter().sum::<usize>(), closed);
    for (k, bound) in of_k.iter().enumerate() {
        let unbounded = ended.iter().filter(|&&ended| 4 - ended > k).count();
        assert_eq!(
            (&bound["unbounded"], bound["mean"].is_null()),
            (&json!(unbounded), unbounded > 0),
            "{bounds}"
        );
    }
    let answers = bench.rows("walk/answers.jsonl");
    // A model of a few updates rarely gives the reference answer; each answer must say whether it did.
    let ids =
        |answer: &Value, name: &str| -> Vec<u32> { serde_json::from_value(answer[name].clone()).unwrap() };
    for answer in &answers {
        let drawn = [ids(answer, "given_ids"), ids(answer, "token_ids")].concat();
        let is_reference = !drawn.is_empty() && ids(answer, "answer_ids").starts_with(&drawn);
        assert_eq!(answer["is_reference"], is_reference, "{answer}");
    }
    assert!(answers.iter().all(|answer| answer["sampling"]["temperature"] == 1.0), "{answers:?}");
}

#[test]
fn verbs_give_what_the_pipeline_gives() {
    let bench = Bench::with_run(&[]);
    let questions: Vec<QuestionRecord> = bench.records("r/00-questions");
    bench.done(
        "questions --task walk --traced 60 --untraced 20 --test 4 --model r/00-model --out questions.jsonl",
    );
    let rows = bench.rows("questions.jsonl");
    assert_eq!(rows.len(), questions.len());
    for (row, record) in rows.iter().zip(&questions) {
        assert_eq!(
            (&row["id"], &row["split"], &row["prompt_ids"]),
            (&json!(record.id), &json!(record.split), &json!(record.prompt_ids))
        );
        assert_eq!(
            (&row["posterior_prompt_ids"], &row["trace_ids"]),
            (&json!(record.posterior_prompt_ids), &json!(record.trace_ids))
        );
        assert_eq!(row["answer_ids"], json!(record.answer_ids));
    }

    let asked: HashMap<&str, &QuestionRecord> =
        questions.iter().map(|question| (question.id.as_str(), question)).collect();
    let traces: Vec<TraceRecord> = bench.records("r/03-traces");
    let trace = |trace: &TraceRecord| json!({"id": trace.id, "sample": trace.sample, "token_ids": trace.token_ids, "prompt_ids": asked[trace.id.as_str()].prompt_ids, "answer_ids": asked[trace.id.as_str()].answer_ids});
    bench.write_rows("traces.jsonl", &traces.iter().map(trace).collect::<Vec<_>>());
    bench.done("answer --model r/01-initial --data traces.jsonl --markers plain --n 2 --temperature 1 --max-new-tokens 12 --out answers.jsonl");
    let answers: Vec<AnswerRecord> = bench.records("r/05-answers");
    let drawn: Vec<Value> =
        bench.rows("answers.jsonl").into_iter().filter(|row| row["stop_reason"] != "open_trace").collect();
    assert_eq!(drawn.len(), answers.len());
    let verdicts: Vec<VerdictRecord> = bench.records("r/06-verdicts");
    assert!(drawn.iter().zip(&verdicts).all(|(row, verdict)| row["is_reference"] == verdict.is_reference));
    let references = verdicts.iter().filter(|verdict| verdict.is_reference).count();
    assert!(0 < references && references < verdicts.len(), "{references} of {}", verdicts.len());
    for (row, record) in drawn.iter().zip(&answers) {
        assert_eq!(
            (&row["id"], &row["sample"], &row["answer"]),
            (&json!(record.id), &json!(record.sample), &json!(record.answer))
        );
        let (given, token_ids) = record.token_ids.split_at(record.given as usize);
        assert_eq!((&row["given_ids"], &row["token_ids"]), (&json!(given), &json!(token_ids)));
        assert_eq!(
            (logprobs(&row["logprobs"]), &row["prediction"]),
            (record.logprobs.clone(), &json!(record.text))
        );
    }

    bench
        .done("build --questions r/00-questions --traces r/03-traces --weights r/07-weights --answers r/05-answers --verdicts r/06-verdicts --out built.jsonl");
    check_built(&bench, "built.jsonl");
}

/// The numbers whose decimals a row holds.
fn logprobs(value: &Value) -> Vec<f32> {
    serde_json::from_value(value.clone()).unwrap()
}

/// An advantage for every token but those that were given.
fn advantages(record: &ExampleRecord) -> Vec<f64> {
    let given = record.trace_tokens..record.trace_tokens + record.given;
    let advantage = |at: u64| if given.contains(&at) { 0.0 } else { record.weight };
    (0..record.response_ids.len() as u64).map(advantage).collect()
}

#[track_caller]
fn check_built(bench: &Bench, built: &str) {
    let examples: Vec<ExampleRecord> = bench.records("r/08-dataset");
    let rows = bench.rows(built);
    assert_eq!(rows.len(), examples.len());
    assert!(examples.iter().any(|example| example.source >= 0), "nothing was built of traces");
    for (row, record) in rows.iter().zip(&examples) {
        assert_eq!(
            (&row["id"], &row["source"], &row["prompt_ids"]),
            (&json!(record.id), &json!(record.source), &json!(record.prompt_ids))
        );
        assert_eq!(row["response_ids"], json!(record.response_ids));
        match &record.old_logprobs {
            None => {
                assert!((row["weight"].as_f64().unwrap() - record.weight).abs() < 1e-12, "{row}")
            }
            Some(old) => assert_eq!(
                (&logprobs(&row["old_logprobs"]), &row["advantages"]),
                (old, &json!(advantages(record)))
            ),
        }
    }
}

#[test]
fn rewards_are_built_as_the_pipeline_builds_them() {
    let bench = Bench::with_run(&["method=grpo"]);
    let tables = "--questions r/00-questions --traces r/03-traces --answers r/05-answers --verdicts r/06-verdicts --weights r/07-weights";
    bench.done(&format!("build --method grpo {tables} --scores r/04-scores --out built.jsonl"));
    check_built(&bench, "built.jsonl");
    bench.refused(&format!("build --method grpo {tables}"), 2, "this method needs --scores");
    // Advantages are about the group's mean, in which traces without an end count: so they do among the
    // examples.
    let traces: Vec<TraceRecord> = bench.records("r/03-traces");
    assert!(
        traces.iter().any(|trace| !trace.closed),
        "every trace came to its end, so that this test shows nothing"
    );
    let mut sums: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for example in bench.records::<ExampleRecord>("r/08-dataset") {
        assert_eq!(example.old_logprobs.as_ref().map(Vec::len), Some(example.response_ids.len()));
        *sums.entry(example.id).or_default() += example.weight;
    }
    assert!(!sums.is_empty() && sums.values().all(|sum| sum.abs() < 1e-9), "{sums:?}");
}

#[test]
fn questions_without_a_usable_trace_are_left_out_where_the_recipe_says_so() {
    // No trace is that short, so that every question falls back.
    let bench = Bench::with_run(&["weights.fallback=skip", "weights.length_limit=1"]);
    let fell_back =
        |examples: &[ExampleRecord]| examples.iter().filter(|example| example.source == -1).count();
    assert_eq!(fell_back(&bench.records("r/08-dataset")), 0);
    let tables = "--questions r/00-questions --traces r/03-traces --answers r/05-answers --verdicts r/06-verdicts --weights r/07-weights";
    let count = |out: &str| bench.rows(out).iter().filter(|row| row["source"] == -1).count();
    bench.done(&format!("build {tables} --fallback skip --out skipped.jsonl"));
    bench.done(&format!("build {tables} --out kept.jsonl"));
    assert_eq!((count("skipped.jsonl"), count("kept.jsonl") > 0), (0, true));
}

#[test]
fn a_stopped_answering_goes_on_to_the_same_file() {
    let bench = Bench::with_run(&["final.max_steps=1"]);
    bench.done("questions --task walk --untraced 6 --seed 3 --model r/00-model --out questions.jsonl");
    bench.done("sample --model r/02-posterior --data questions.jsonl --out traces.jsonl --column prompt_ids=posterior_prompt_ids --stop </think> --n 2 --max-new-tokens 40");
    let answer = "answer --model r/01-initial --data traces.jsonl --markers plain --n 3 --max-new-tokens 8";
    bench.done(&format!("{answer} --out answers.jsonl"));
    let (out, described) = (bench.path("answers.jsonl"), bench.path("answers.jsonl.sampling.json"));
    let (whole, description) = (fs::read_to_string(&out).unwrap(), fs::read_to_string(&described).unwrap());
    // What a kill leaves: a description of unfinished work, and finished answers in any order.
    bench.done(&format!("{answer} --out answers.parquet"));
    let rows = bench.rows("answers.jsonl");
    let line = |row: &Value| {
        let id = json!([row["id"], row["sample"]]);
        json!({"id": id, "sample": row["answer"], "token_ids": row["token_ids"], "logprobs": row["logprobs"], "stop_reason": row["stop_reason"]})
    };
    fs::write(&out, format!("{}\n{}\n{{\"id\"", line(&rows[5]), line(&rows[0]))).unwrap();
    fs::write(&described, description.replace("\"done\": true", "\"done\": false")).unwrap();
    bench.done(&format!("{answer} --out answers.jsonl"));
    assert_eq!(fs::read_to_string(&out).unwrap(), whole);
    fs::write(&described, description.replace("\"done\": true", "\"done\": false")).unwrap();
    bench.refused(&format!("{answer} --seed 9 --out answers.jsonl"), 1, "seed was 0, is 9");
}

#[test]
fn what_does_not_fit_together_is_named() {
    let bench = Bench::new();
    bench.write_rows(
        "q.jsonl",
        &[
            json!({"id": "a", "prompt_ids": [1], "trace_ids": [2], "answer_ids": [3]}),
            json!({"id": "b", "prompt_ids": [1]}),
        ],
    );
    bench.write_rows(
        "t.jsonl",
        &[
            json!({"id": "a", "sample": 0, "token_ids": [5]}),
            json!({"id": "a", "sample": 1, "token_ids": [6]}),
        ],
    );
    let weight = |sample: u64| json!({"id": "a", "sample": sample, "weight": 0.5, "chosen": 0.5});
    let answer = |sample: u64, m: u64| json!({"id": "a", "sample": sample, "answer": m, "token_ids": [7], "logprobs": [-1.0], "verdict": "correct"});
    bench.write_rows("w.jsonl", &[weight(0), weight(1)]);
    bench.write_rows("y.jsonl", &[answer(0, 0), answer(1, 0)]);
    let build = |traces: &str, weights: &str, answers: &str, verdicts: &str| {
        format!(
            "build --questions q.jsonl --traces {traces} --weights {weights} --answers {answers} --verdicts {verdicts} --out out.jsonl"
        )
    };
    bench.done(&build("t.jsonl", "w.jsonl", "y.jsonl", "y.jsonl"));
    assert_eq!(
        bench.rows("out.jsonl").iter().map(|row| row["source"].as_i64().unwrap()).collect::<Vec<_>>(),
        [0, 1, -2]
    );
    bench.write_rows("w1.jsonl", &[weight(0)]);
    bench.refused(
        &build("t.jsonl", "w1.jsonl", "y.jsonl", "y.jsonl"),
        1,
        "id a, sample 1 has no row in w1.jsonl",
    );
    bench.write_rows("w3.jsonl", &[weight(0), weight(1), weight(2)]);
    bench.refused(
        &build("t.jsonl", "w3.jsonl", "y.jsonl", "y.jsonl"),
        1,
        "w3.jsonl: there is a row with id a, sample 2, but there is no such trace",
    );
    bench.write_rows("y3.jsonl", &[answer(0, 0), answer(1, 0), answer(1, 1)]);
    bench.refused(
        &build("t.jsonl", "w.jsonl", "y3.jsonl", "y3.jsonl"),
        1,
        "sample the same number of answers after each trace",
    );
    bench.refused(
        &build("t.jsonl", "w.jsonl", "y3.jsonl", "y.jsonl"),
        1,
        "id a, sample 1, answer 1 has no row in y.jsonl",
    );
    bench.refused(
        &build("t.jsonl", "w.jsonl", "y.jsonl", "y3.jsonl"),
        1,
        "y3.jsonl: there is a verdict on id a, sample 1, answer 1, but there is no such answer",
    );
    bench.write_rows(
        "t2.jsonl",
        &[
            json!({"id": "a", "sample": 0, "token_ids": [5]}),
            json!({"id": "a", "sample": 0, "token_ids": [6]}),
        ],
    );
    bench.refused(
        &build("t2.jsonl", "w1.jsonl", "y.jsonl", "y.jsonl"),
        1,
        "t2.jsonl: id a, sample 0 appears twice",
    );
    bench.write_rows("y1.jsonl", &[answer(0, 0)]);
    bench.refused(&build("t2.jsonl", "w1.jsonl", "y1.jsonl", "y1.jsonl"), 1, "id a, sample 0 appears twice");
    bench.write_rows(
        "open.jsonl",
        &[json!({"id": "a", "sample": 0, "token_ids": [5], "stop_reason": "max_tokens"})],
    );
    bench.refused(&build("open.jsonl", "w1.jsonl", "y1.jsonl", "y1.jsonl"), 1, "has no finished trace");
    bench.refused("build --questions q.jsonl --traces t.jsonl", 2, "this method needs --weights");
    bench.done("build --questions q.jsonl --method sft --out sft.jsonl");
    assert_eq!(bench.rows("sft.jsonl").len(), 1);
}

#[test]
fn questions_of_a_file_have_prompts_hints_and_marked_responses() {
    let bench = Bench::new();
    bench.write_rows(
        "data.jsonl",
        &[
            json!({"problem": "1 + 1?", "answer": 2, "trace": "One and one."}),
            json!({"problem": "2 + 2?", "answer": "4", "note": [1]}),
        ],
    );
    bench.done("questions --data data.jsonl --column question=problem --out q.jsonl");
    let rows = bench.rows("q.jsonl");
    assert_eq!(
        (&rows[0]["id"], &rows[0]["split"], &rows[0]["hint"], &rows[0]["gold"]),
        (&json!("data-1"), &json!("train"), &json!("2"), &json!("2"))
    );
    assert_eq!(rows[0]["response"], "One and one.\n</think>\n\n2");
    let prompt = rows[0]["prompt"].as_str().unwrap();
    assert!(
        prompt.contains("1 + 1?") && prompt.ends_with("<think>\n") && !prompt.contains("One and one."),
        "{prompt}"
    );
    assert!(rows[0]["posterior_prompt"].as_str().unwrap().ends_with("<think>\n"));
    assert_eq!(
        (&rows[1]["note"], rows[1].get("response"), rows[1].get("prompt_ids")),
        (&json!([1]), None, None)
    );
    // What was written reads back the same.
    bench.done("questions --data q.jsonl --out again.jsonl");
    assert_eq!(bench.rows("again.jsonl"), rows);
    bench.done(
        "questions --data data.jsonl --column question=problem --only untraced --split train --out u.jsonl",
    );
    assert_eq!(bench.rows("u.jsonl").len(), 1);
    bench.refused("questions --task walk --traced 100000", 2, "distinct questions");
    bench.refused("questions --task wlak", 2, "expected one of walk, countdown, arithmetic");
    bench.refused("questions", 2, "--task");
    bench.refused("questions --data data.jsonl --untraced 4", 2, "cannot be used with");
}

/// A folder with the shape of a model, a tokenizer and a chat template, but no weights.
fn write_chat_model(folder: &Path) {
    let markers = Markers::named("stratos").unwrap();
    let texts = ["system user assistant be kind one and two".to_owned()];
    let tokenizer = Tokenizer::train(&texts, 320, &markers.specials()).unwrap();
    let shape = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 512, "tie_word_embeddings": true,
    });
    fs::create_dir(folder).unwrap();
    write_shape(folder, shape, &tokenizer).unwrap();
    let template = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}[assistant] {% endif %}";
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
}

#[test]
fn a_chat_prompt_is_the_models_own_with_the_solution_at_the_beginning_of_its_turn() {
    let bench = Bench::new();
    write_chat_model(&bench.path("chat"));
    let response = "<|begin_of_thought|>\n\none and one\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\ntwo\n\n<|end_of_solution|>";
    let turns = json!([{"from": "user", "value": "1 + 1?"}, {"from": "assistant", "value": response}]);
    bench.write_rows("c.jsonl", &[json!({"id": "c", "system": "be kind", "conversations": turns})]);
    let questions = "questions --data c.jsonl --format conversations --markers stratos --reasoner chat --posterior chat_b";
    let prompts = |options: &str| {
        bench.done(&format!("{questions} --model chat {options} --out q.jsonl"));
        let row = bench.rows("q.jsonl").remove(0);
        ["prompt", "posterior_prompt"].map(|name| row[name].as_str().unwrap().to_owned())
    };
    let [prompt, hinted] = prompts("");
    let asked = "[system] be kind\n[user] 1 + 1?\n\nGive the final answer in \\boxed{}.\n[assistant] ";
    assert_eq!(prompt, format!("{asked}<|begin_of_thought|>\n\n"));
    let turn = hinted.strip_prefix(asked).unwrap();
    assert!(turn.contains("\n\ntwo\n\n") && turn.ends_with("\n\n<|begin_of_thought|>\n\n"), "{turn}");
    let [prompt, _] = prompts("--system brief");
    assert!(prompt.starts_with("[system] brief\n[user]"), "{prompt}");
    bench.refused(questions, 1, "a chat prompt needs the model");
    fs::remove_file(bench.path("chat/chat_template.jinja")).unwrap();
    bench.refused(&format!("{questions} --model chat"), 1, "no chat template");
}
