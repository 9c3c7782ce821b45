//! Inputs as they come: conversations, tokenizers that begin texts, dates, numbers, encodings; and outputs whose reader
//! leaves.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Ends turns with a marker of its own, and says the date.
const TEMPLATE: &str = "{{ strftime_now('%Y') }} {% for m in messages %}{{ m.role }} {{ m.content }} <turn> {% endfor %}\
                        {% if add_generation_prompt %}assistant {% endif %}";

const WORDS: [&str; 12] =
    ["?", "<s>", "<end>", "<turn>", "one", "two", "plus", "user", "assistant", "<think>", "</think>", "2001"];

fn id(word: &str) -> usize {
    WORDS.iter().position(|known| *known == word).unwrap()
}

/// A tokenizer of words, which puts a token before texts if it `begins` them.
fn tokenizer(begins: bool) -> Value {
    let special = |word: &str| {
        json!({"id": id(word), "content": word, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let sequence = [json!({"SpecialToken": {"id": "<s>", "type_id": 0}}), text];
    let post_processor = json!({"type": "TemplateProcessing", "single": sequence, "pair": sequence,
        "special_tokens": {"<s>": {"id": "<s>", "ids": [id("<s>")], "tokens": ["<s>"]}}});
    let vocabulary: Value = WORDS
        .iter()
        .map(|word| ((*word).to_owned(), json!(id(word))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special("<s>"), special("<end>"), special("<turn>"), special("<think>"), special("</think>")],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": if begins { post_processor } else { Value::Null }, "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "?", "vocab": vocabulary}
    })
}

struct Bench {
    folder: TempDir,
}

struct Outcome {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Bench {
    /// With a model in `model`, whose first end token is not its tokenizer's.
    fn new(begins: bool) -> Bench {
        let bench = Bench { folder: tempfile::tempdir().unwrap() };
        let config = json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": 16,
            "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "eos_token_id": [id("<end>"), id("<turn>")]
        });
        bench.write("shape/config.json", &config.to_string());
        bench.write("shape/tokenizer.json", &tokenizer(begins).to_string());
        let settings = json!({"chat_template": TEMPLATE, "bos_token": "<s>", "eos_token": "<turn>"});
        bench.write("shape/tokenizer_config.json", &settings.to_string());
        bench.done("init --config shape --out model --seed 7");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn rows(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
        command.current_dir(self.folder.path()).args(arguments.split_whitespace());
        command
    }

    fn run(&self, arguments: &str) -> Outcome {
        let output = self.command(arguments).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Outcome { code: output.status.code().unwrap(), stdout, stderr }
    }

    #[track_caller]
    fn done(&self, arguments: &str) -> Outcome {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, 0, "{arguments}\n{}", outcome.stderr);
        outcome
    }

    #[track_caller]
    fn refused(&self, arguments: &str, expected: &[&str]) {
        let Outcome { code, stderr, .. } = self.run(arguments);
        assert!(
            code == 1 && expected.iter().all(|part| stderr.contains(part)),
            "{expected:?}: {code}, {stderr}"
        );
    }
}

fn conversation(last: Value) -> String {
    let messages = [json!({"role": "user", "content": "one plus one"}), last];
    json!({"id": "a", "answer": "two", "messages": messages}).to_string() + "\n"
}

const QUESTIONS: &str = "questions --data data.jsonl --kind text --model model --reasoner chat --posterior chat_a --out questions.jsonl";

#[test]
fn an_answer_of_a_conversation_ends_once_with_the_tokenizers_own_token() {
    let bench = Bench::new(false);
    for last in [
        json!({"role": "assistant", "content": "<think>\nplus\n</think>\n\ntwo"}),
        json!({"role": "assistant", "content": "two", "reasoning_content": "plus\n", "tool_calls": []}),
    ] {
        bench.write("data.jsonl", &conversation(last));
        bench.done(QUESTIONS);
        let row = &bench.rows("questions.jsonl")[0];
        assert_eq!(
            (&row["trace"], &row["solution"], &row["hint"]),
            (&json!("plus"), &json!("two"), &json!("two"))
        );
        assert_eq!(row["answer_ids"], json!([id("two"), id("<turn>")]));
        assert_eq!(row["trace_ids"], json!([id("plus"), id("</think>")]));
        let posterior = row["posterior_prompt"].as_str().unwrap();
        assert_eq!(posterior.matches("<turn>").count(), 1, "that of the question alone: {posterior}");
    }
    let call = json!({"role": "assistant", "content": "two", "tool_calls": [{"function": {"name": "f"}}]});
    bench.write("data.jsonl", &conversation(call));
    let expected =
        ["data.jsonl line 1: field \"messages[1].tool_calls\": expected no calls of tools", "hint: "];
    bench.refused(QUESTIONS, &expected);
    bench.refused("train --model model --data data.jsonl --out never", &expected);
}

#[test]
fn a_thought_that_the_template_leaves_out_is_no_training_row() {
    let bench = Bench::new(false);
    bench.write(
        "data.jsonl",
        &conversation(json!({"role": "assistant", "content": "two", "reasoning_content": "plus"})),
    );
    let expected =
        "field \"messages[1].reasoning_content\": expected a thought that the chat template renders";
    bench.refused("score --model model --data data.jsonl", &[expected, "hint: "]);
}

#[test]
fn texts_begin_as_the_tokenizer_has_it_and_conversations_as_their_template() {
    let bench = Bench::new(true);
    let rows = [
        json!({"id": "a", "question": "one", "answer": "two"}),
        json!({"id": "b", "prompt": "<s> one", "question": "one", "answer": "two"}),
    ];
    bench.write("data.jsonl", &rows.map(|row| row.to_string() + "\n").concat());
    bench.write("prompt.jinja", "{{ question }} plus {{ open }}");
    let questions = "questions --data data.jsonl --kind text --model model --out questions.jsonl";
    let said = bench.done(&format!("{questions} --reasoner prompt.jinja --posterior prompt.jinja")).stderr;
    assert!(said.contains("prompts given as text begin with \"<s>\", which the tokenizer adds"), "{said}");
    let read = bench.rows("questions.jsonl");
    assert_eq!(read[0]["prompt_ids"], json!([id("<s>"), id("one"), id("plus"), id("<think>")]));
    assert_eq!(read[0]["posterior_prompt_ids"], read[0]["prompt_ids"]);
    assert_eq!(read[0]["answer_ids"], json!([id("two"), id("<turn>")]), "an answer begins nothing");
    assert_eq!(read[1]["prompt_ids"], json!([id("<s>"), id("one")]), "nothing is begun twice");
    bench.done(&format!("{questions} --reasoner chat --posterior chat_a"));
    let chat = &bench.rows("questions.jsonl")[0]["prompt_ids"];
    assert_ne!(chat[0], json!(id("<s>")), "the template begins with the year: {chat}");

    bench.write("data.jsonl", "{\"id\": \"a\", \"prompt\": \"one\"}\n");
    bench.done("sample --model model --data data.jsonl --out samples.jsonl --n 1 --max-new-tokens 2");
    let work: Value =
        serde_json::from_str(&fs::read_to_string(bench.path("samples.jsonl.sampling.json")).unwrap())
            .unwrap();
    assert_eq!(work["work"]["begin_ids"], json!([id("<s>")]));
}

#[test]
fn interrupted_work_keeps_the_date_of_its_prompts() {
    let bench = Bench::new(false);
    bench
        .write("data.jsonl", "{\"id\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"one\"}]}\n");
    let sample = "sample --model model --data data.jsonl --out samples.jsonl --n 1 --max-new-tokens 2";
    bench.done(sample);
    let description = bench.path("samples.jsonl.sampling.json");
    let mut work: Value = serde_json::from_str(&fs::read_to_string(&description).unwrap()).unwrap();
    let today = work["work"]["date"].as_str().unwrap().to_owned();
    assert!(today.len() == 10 && today.as_str() > "2026", "{today}");
    work["work"]["date"] = json!("2001-02-03");
    work["done"] = json!(false);
    fs::write(&description, work.to_string()).unwrap();
    bench.write("samples.jsonl", "");
    bench.done(sample);
    let again: Value = serde_json::from_str(&fs::read_to_string(&description).unwrap()).unwrap();
    assert_eq!((&again["work"]["date"], &again["done"]), (&json!("2001-02-03"), &json!(true)));
}

#[test]
fn changed_settings_are_named_when_work_is_to_resume() {
    let bench = Bench::new(false);
    bench.write("data.jsonl", "{\"id\": \"a\", \"prompt\": \"one\", \"response\": \"two\"}\n");
    let train = "train --model model --data data.jsonl --out out --resume max_steps=2 batch_size=1";
    bench.done(train);
    let other = format!("{train} learning_rate=3e-3 epochs=7");
    bench.refused(
        &other,
        &["out holds a training with other rows or settings: ", "learning_rate was ", ", is 0.003", "hint: "],
    );
    bench.write("data.jsonl", "{\"id\": \"a\", \"prompt\": \"one\", \"response\": \"one\"}\n");
    bench.refused(train, &["out holds a training of other rows", "hint: "]);

    let sample = "sample --model model --data data.jsonl --out samples.jsonl --n 1 --max-new-tokens 2";
    bench.done(sample);
    let description = bench.path("samples.jsonl.sampling.json");
    let text = fs::read_to_string(&description).unwrap().replace("\"done\": true", "\"done\": false");
    fs::write(&description, text).unwrap();
    bench.write("data.jsonl", "{\"id\": \"b\", \"prompt\": \"one\"}\n");
    bench.refused(&format!("{sample} --seed 5"), &["different work: data changed, seed was 0, is 5"]);
    bench.refused(&format!("{sample} --compute bf16"), &["different work: ", "engine"]);
}

#[test]
fn questions_say_what_is_in_a_row_that_cannot_be_used() {
    let bench = Bench::new(false);
    let check = |row: &str, expected: &str| {
        bench.write("data.jsonl", &format!("{row}\n"));
        bench.refused("questions --data data.jsonl", &["data.jsonl line 1: ", expected, "hint: "]);
    };
    check(r#"{"question": "", "answer": "2"}"#, "field \"question\": expected a text, got an empty one");
    check(
        r#"{"question": "q", "answer": ""}"#,
        "field \"answer\": expected the reference answer, got an empty text",
    );
    check(r#"{"question": "q", "answer": ["1", "2"]}"#, "got a list of 2");
    check(
        r#"{"question": "q \ud83d", "answer": "2"}"#,
        "field \"question\": expected Unicode text, got half of a character",
    );
    bench.write(
        "data.jsonl",
        "{\"question\": \"q\", \"answer\": 123456789012345678901234567890, \"n\": 1e999}\n",
    );
    let printed = bench.done("questions --data data.jsonl").stdout;
    assert!(printed.contains("\"answer\":\"123456789012345678901234567890\""), "{printed}");
    assert!(printed.contains("\"n\":1e999"), "{printed}");
}

/// Runs a command whose output is read by nobody.
fn check_quiet(bench: &Bench, arguments: &str, input: &str) {
    let mut command = bench.command(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    // It may have ended before it reads.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let is_quiet = ["error", "panicked", "ipe"].iter().all(|word| !stderr.contains(word));
    assert!(output.status.code() == Some(0) && is_quiet, "{arguments}: {:?}, {stderr}", output.status);
}

#[test]
fn verbs_end_quietly_when_their_reader_leaves() {
    let bench = Bench::new(false);
    bench.write("data.jsonl", "{\"id\": \"a\", \"prompt\": \"one <think>\", \"response\": \"one </think> two\", \"question\": \"q\", \"answer\": \"2\", \
                               \"text\": \"one </think>\", \"sample\": 0, \"kind\": \"text\", \"gold\": \"2\", \"prediction\": \"2\"}\n");
    bench.write("sums.jsonl", "{\"id\": \"a\", \"sample\": 0, \"logprobs\": [-1.0]}\n");
    bench
        .write("verdicts.jsonl", "{\"id\": \"a\", \"sample\": 0, \"answer\": 0, \"verdict\": \"correct\"}\n");
    bench.write("recipe.toml", "model.folder = \"model\"\n[questions]\ntask = \"walk\"\n");
    for arguments in [
        "questions --data data.jsonl",
        "sample --model model --data data.jsonl --n 2 --max-new-tokens 2",
        "score --model model --data data.jsonl",
        "answer --model model --data data.jsonl --n 1 --max-new-tokens 2",
        "verify --data data.jsonl",
        "weigh --traces sums.jsonl --scores sums.jsonl --verdicts verdicts.jsonl",
        "run recipe.toml --dry-run",
        "doctor",
        "completions bash",
        "--help",
        "--version",
        "sample --help",
    ] {
        check_quiet(&bench, arguments, "");
    }
    check_quiet(&bench, "chat --model model --max-new-tokens 2", "one\n/reset\n/quit\n");
}

#[test]
fn a_closed_standard_error_is_no_failure() {
    let bench = Bench::new(false);
    bench.write("data.jsonl", "{\"id\": \"a\", \"prompt\": \"one\", \"response\": \"two\"}\n");
    let mut command =
        bench.command("sample --model model --data data.jsonl --n 2 --max-new-tokens 2 --out out.jsonl");
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(bench.rows("out.jsonl").len(), 2);
}
