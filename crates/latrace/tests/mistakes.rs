//! What a tired user does wrong, and what the program says: one line each, with the exit code and words of the message.
//! 2 is for what was asked, 1 for what was found.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

#[allow(dead_code, reason = "these tests read no files of rows")]
mod support;

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

use serde_json::json;

use support::Bench;

/// A recipe that is right.
const RECIPE: &str = include_str!("../../../recipes/quickstart.toml");

/// A folder with a recipe, a model without weights and files of rows, good and bad.
fn bench() -> Bench {
    let bench = Bench::empty();
    let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/tiny");
    fs::create_dir(bench.path("tiny")).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "rows.jsonl"] {
        fs::copy(format!("{tiny}/{file}"), bench.path("tiny").join(file)).unwrap();
    }
    bench.done(&["init", "--config", "tiny", "--out", "model"]);
    for (name, text) in [
        ("r.toml", RECIPE),
        ("broken.toml", "[questions]\ntask = \"walk\"\n[traces\nn = 4\n"),
        ("misplaced.toml", "task = \"walk\"\n"),
        ("unquoted.toml", "[questions]\ntask = walk\n"),
        ("twice.toml", "seed = 1\nseed = 2\n"),
        ("based.toml", "base = \"nowhere.toml\"\n"),
        ("self.toml", "base = \"self.toml\"\n"),
        ("empty.jsonl", ""),
        ("text.jsonl", "not json\n"),
        ("list.jsonl", "[1]\n"),
        ("rows.csv", "id,question\n"),
        ("rows.parquet", "not a table"),
    ] {
        fs::write(bench.path(name), text).unwrap();
    }
    bench.write_rows("columns.jsonl", &[json!({"id": 1, "problem": "1+1", "gold": "2"})]);
    let trace = json!({"id": "a", "sample": 0, "token_ids": [1], "logprobs": [-1.0]});
    bench.write_rows("traces.jsonl", &[trace]);
    bench.write_rows("wrong.jsonl", &[json!({"id": "a", "sample": 0, "answer": 0, "verdict": "wrong"})]);
    bench.write_rows("same.jsonl", &vec![json!({"id": 1, "question": "1+1", "answer": "2"}); 2]);
    bench.write_rows("prompt.jsonl", &[json!({"id": "a", "prompt": "1 + 1"})]);
    bench.write_rows("number.jsonl", &[json!({"id": "a", "prompt": "1 + 1", "response": 3})]);
    bench.write_rows("unanswered.jsonl", &[json!({"id": "a", "kind": "math", "gold": "2"})]);
    bench
        .write_rows("kindless.jsonl", &[json!({"id": "a", "kind": "maths", "gold": "2", "prediction": "2"})]);
    bench
}

/// A command line, its exit code, and words that its message has.
type Mistake = (&'static str, i32, &'static [&'static str]);

/// Runs each, with and without what a message must never have, and lists all that is wrong at once.
#[track_caller]
fn check(bench: &Bench, mistakes: &[Mistake]) {
    let mut wrong = Vec::new();
    for (line, expected, words) in mistakes {
        let arguments: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let (code, said) = bench.run(&arguments);
        let missing: Vec<_> = words.iter().filter(|words| !said.contains(**words)).collect();
        // Names of our types, of the library's, and what only a debugger prints.
        let jargon = [
            "u64",
            "usize",
            "f64",
            "struct ",
            "invalid type",
            "unknown variant",
            "panicked",
            "RUST_BACKTRACE",
            "18446744073709551615",
            "NaN",
        ];
        let jargon: Vec<_> = jargon.into_iter().filter(|word| said.contains(word)).collect();
        if code != *expected || !missing.is_empty() || !jargon.is_empty() {
            wrong.push(format!("latrace {line}\n  exit code {code} (expected {expected}), without {missing:?}, with {jargon:?}\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), mistakes.len(), wrong.join("\n"));
}

#[test]
fn mistakes_on_the_command_line_are_met_with_what_to_write() {
    check(
        &bench(),
        &[
            ("", 2, &["Usage: latrace"]),
            ("rum r.toml", 2, &["unrecognized subcommand 'rum'", "'run'"]),
            ("run", 2, &["<RECIPE.toml>"]),
            ("run r.toml seed", 2, &["expected key=value, got \"seed\""]),
            ("run r.toml --seed 3", 2, &["seed=3"]),
            ("run r.toml --redoo", 2, &["'--redo'"]),
            ("run r.toml --estimate", 2, &["--dry-run"]),
            ("run r.toml --run-dir r.toml", 2, &["r.toml is a file: expected the folder of a run"]),
            ("status", 2, &["<RUN>"]),
            ("export r", 2, &["--format"]),
            ("chat", 2, &["<RUN>"]),
            (
                "sample --model model --data prompt.jsonl --n 0",
                2,
                &["'--n <N>': expected a whole number of at least 1"],
            ),
            (
                "sample --model model --data prompt.jsonl --n two",
                2,
                &["expected a whole number of at least 1"],
            ),
            ("sample --model model --data prompt.jsonl --temperature=-1", 2, &["temperature", "got -1"]),
            ("sample --model model --data prompt.jsonl --top-p 2", 2, &["top_p", "got 2"]),
            ("sample --model model --data rows.csv", 2, &["expected an extension of .jsonl"]),
            (
                "eval --model model --bench nosuch --out e",
                2,
                &["no such benchmark, and no such file", "math500"],
            ),
            ("eval --model model --bench walk --k 0 --out e", 2, &["expected a whole number of at least 1"]),
            ("questions --task wlak --out q.jsonl", 2, &["got \"wlak\"; the nearest is \"walk\""]),
            ("doctor --try gpu", 2, &["cpu, servers, torchrun"]),
            ("completions zshh", 2, &["'zsh'"]),
            ("--threads 0 doctor", 2, &["expected a whole number of at least 1"]),
            ("--log-level loud doctor", 2, &["off, error, warn"]),
            ("sweep r.toml", 2, &["--seeds 3"]),
            ("sweep r.toml --seeds x", 2, &["expected a number of seeds, or a list of them, got \"x\""]),
            ("push r org", 2, &["expected a repository org/name"]),
            ("new mine.toml", 2, &["--model is missing"]),
            ("new r.toml --task walk --model random", 2, &["r.toml exists", "--force"]),
            ("convert model model.gguf --dtype f32", 2, &["expected --type"]),
            ("train --model model --data tiny/rows.jsonl --out o --learning-rate 1", 2, &["learning_rate=1"]),
        ],
    );
}

#[test]
fn mistakes_in_recipes_are_named_where_they_were_made() {
    check(
        &bench(),
        &[
            ("run nothere.toml", 2, &["there is no file nothere.toml"]),
            ("run based.toml", 2, &["the base of based.toml", "nowhere.toml"]),
            ("run broken.toml", 2, &["broken.toml line 3, column 8"]),
            ("run unquoted.toml", 2, &["unquoted.toml line 2", "texts stand in quotes"]),
            ("run twice.toml", 2, &["twice.toml line 2", "duplicate key"]),
            ("run misplaced.toml", 2, &["misplaced.toml: unknown key \"task\""]),
            ("recipe check nothere.toml", 2, &["nothere.toml"]),
            ("recipe show broken.toml", 2, &["line 3, column 8"]),
            ("run r.toml seed=x", 2, &["the command line: seed: expected a whole number, got \"x\""]),
            ("run r.toml seed=-1", 2, &["the command line: seed", "-1"]),
            ("run r.toml traces.n=many", 2, &["traces.n: expected a whole number, got \"many\""]),
            ("run r.toml traces.n=0", 2, &["traces.n: expected at least 1, got 0"]),
            ("run r.toml traces.nn=4", 2, &["unknown key \"traces.nn\"; the nearest known key is \"n\""]),
            ("run r.toml traces.max_new_token=64", 2, &["the nearest known key is \"max_new_tokens\""]),
            ("run r.toml answers.max_new_token=64", 2, &["the nearest known key is \"max_new_tokens\""]),
            ("run r.toml evaluation.tempreature=1", 2, &["the nearest known key is \"temperature\""]),
            ("run r.toml trace.n=4", 2, &["unknown key \"trace\"; the nearest known key is \"traces\""]),
            ("run r.toml traces=4", 2, &["traces: expected a table of settings, got 4"]),
            ("run r.toml questions.task=wakl", 2, &["got \"wakl\"; the nearest is \"walk\""]),
            (
                "run r.toml questions.columns.questoin=a",
                2,
                &["unknown key \"questions.columns.questoin\"", "\"question\""],
            ),
            (
                "run r.toml model.shape.hiden_size=3",
                2,
                &["unknown key \"model.shape.hiden_size\"", "\"hidden_size\""],
            ),
            ("run r.toml method=rtf", 2, &["got \"rtf\"; the nearest is \"rft\""]),
            ("run r.toml skip=[\"rtf\"]", 2, &["skip: the recipe has no baseline \"rtf\""]),
            ("run r.toml skip=rft", 2, &["skip: expected a list"]),
            (
                "run r.toml skip=[\"rft\",[]",
                2,
                &["skip: expected a list", "not valid TOML at character 10: unclosed array"],
            ),
            ("run r.toml traces.n.x=3", 2, &["the command line: traces.n.x: \"n\" is a value, not a table"]),
            ("run self.toml", 2, &["base: self.toml is a base of itself"]),
            ("run r.toml weights.selection=bset", 2, &["the nearest is \"best\""]),
            ("run r.toml evaluation.split=tset", 2, &["the nearest is \"test\""]),
            (
                "run r.toml initial.learning_rate=-1",
                2,
                &["initial.learning_rate: expected a finite number of at least 0, got -1"],
            ),
            ("run r.toml final.warmup_ratio=3", 2, &["final.warmup_ratio", "got 3"]),
            ("run r.toml initial.train=false", 2, &["a random model must be trained"]),
            (
                "run r.toml questions.train=same.jsonl",
                2,
                &["expected a task or a file to train on, got both"],
            ),
            ("run r.toml baselines.rft.engine.generate=cpu", 2, &["same engines for all of its methods"]),
            ("run r.toml rounds=1000000", 2, &["rounds: expected at most 1000, got 1000000"]),
            ("run r.toml baselines.final.method=sft", 2, &["\"final\" is a model of the run's own"]),
            ("run r.toml baselines.a/b.method=sft", 2, &["baselines.\"a/b\": expected a name of letters"]),
            ("run r.toml engine.compute=bf17", 2, &["got \"bf17\""]),
            (
                "train --model model --data tiny/rows.jsonl --out o learningrate=1",
                2,
                &["the nearest known key is \"learning_rate\""],
            ),
            (
                "train --model model --data tiny/rows.jsonl --out o epochs=many",
                2,
                &["epochs: expected a whole number, got \"many\""],
            ),
        ],
    );
}

#[test]
fn mistakes_in_recipes_are_found_without_a_run() {
    check(
        &bench(),
        &[
            ("recipe check tiny", 2, &["tiny is a folder: expected the file of a recipe"]),
            (
                "recipe check r.toml model.shape={}",
                2,
                &["model: expected a folder to start from", "[model.shape]"],
            ),
            (
                "recipe check r.toml model.shape.num_attention_heads=0",
                2,
                &["model.shape: field `num_attention_heads`: expected a whole number from 1 to 65536, got 0"],
            ),
            (
                "recipe check r.toml model.shape.architectures=[\"GPT2\"]",
                2,
                &["model.shape: unknown architecture"],
            ),
            (
                "recipe check r.toml initial.init=model initial.lora.targets=[\"q\"]",
                1,
                &["01-initial", "q_proj"],
            ),
            ("recipe check r.toml questions.sizes.traced=90000", 2, &["4927 distinct questions"]),
            ("recipe check r.toml prompts.reasoner=chat", 1, &["no chat template"]),
            (
                "recipe check r.toml questions.task= questions.train=columns.jsonl questions.columns.question=problem questions.columns.answer=glod",
                2,
                &["questions.columns.answer: no row has a column \"glod\"; the nearest is \"gold\""],
            ),
        ],
    );
}

#[test]
fn what_is_not_there_or_not_what_it_should_be_is_named() {
    check(
        &bench(),
        &[
            ("run r.toml model.folder=/nowhere", 1, &["/nowhere"]),
            ("run r.toml model.folder=org/none", 1, &["org/none", "hub's cache"]),
            ("run r.toml --run-dir a questions.task= questions.train=nothere.jsonl", 1, &["nothere.jsonl"]),
            (
                "run r.toml --run-dir b questions.task= questions.train=columns.jsonl",
                1,
                &["columns.jsonl line 1", "the row has problem, gold", "questions.columns"],
            ),
            (
                "run r.toml --run-dir c questions.task= questions.train=empty.jsonl",
                1,
                &["no row to train on"],
            ),
            (
                "run r.toml --run-dir d questions.task= questions.train=text.jsonl",
                1,
                &["text.jsonl line 1", "expected a JSON object"],
            ),
            (
                "run r.toml --run-dir e questions.task= questions.train=same.jsonl",
                1,
                &["two questions have the id \"1\""],
            ),
            ("run r.toml --run-dir /proc/x", 1, &["/proc/x"]),
            ("status nothere", 1, &["nothere is not a run folder"]),
            ("status tiny", 1, &["tiny is not a run folder"]),
            ("report tiny", 1, &["tiny is not a run folder"]),
            ("serve nothere", 1, &["nothere is not a run folder"]),
            ("clean tiny", 1, &["tiny is not a run folder"]),
            ("compare nothere", 1, &["nothere"]),
            ("compare tiny", 1, &["tiny has no summary.json"]),
            ("import nothere 01-initial model", 1, &["nothere is not a run folder"]),
            ("chat nothere", 1, &["nothere has no trained model"]),
            ("chat --model nothere", 1, &["nothere is not a model folder"]),
            ("push nothere org/x", 1, &["nothere"]),
            ("sample --model tiny/model --data prompt.jsonl", 1, &["tiny/model is no model on this machine"]),
            ("sample --model model --data nothere.jsonl", 1, &["nothere.jsonl"]),
            ("sample --model model --data list.jsonl", 1, &["list.jsonl row 1"]),
            ("score --model model --data rows.parquet", 1, &["rows.parquet"]),
            ("score --model model --data prompt.jsonl", 1, &["prompt.jsonl line 1", "\"response\""]),
            (
                "score --model model --data number.jsonl",
                1,
                &["number.jsonl line 1", "\"response\"", "got number 3"],
            ),
            ("train --model model --data prompt.jsonl --out o", 1, &["prompt.jsonl line 1"]),
            ("train --model model --data tiny/rows.jsonl --out /proc/o", 1, &["/proc/o"]),
            ("verify --data unanswered.jsonl", 1, &["unanswered.jsonl line 1", "\"prediction\""]),
            ("verify --data kindless.jsonl", 1, &["kindless.jsonl line 1", "\"maths\""]),
            (
                "weigh --traces traces.jsonl --scores traces.jsonl --verdicts wrong.jsonl --out w.jsonl",
                0,
                &["L^1 is finite for none of 1 questions"],
            ),
            ("convert nothere.gguf out", 1, &["nothere.gguf"]),
            ("init --config nothere --out x", 1, &["nothere"]),
        ],
    );
}

/// A recipe for files of questions without traces, and the model of the bench.
const OWN: &str = "model.folder = \"model\"\ninitial.train = false\nposterior.train = false\nweights.fallback = \"skip\"\n\
                   [questions]\ntrain = \"good.jsonl\"\n[prompts]\nreasoner = \"reasoner\"\nposterior = \"posterior_a\"\n";

/// Files of questions that are wrong, each with what is said of it.
const WRONG_FILES: [(&str, &str, i32, &[&str]); 24] = [
    (
        "null",
        "{\"question\": \"q\", \"answer\": null}",
        1,
        &["line 2: field \"answer\": expected the reference answer, got null", "hint: "],
    ),
    (
        "none",
        "{\"question\": \"q\", \"id\": 5}",
        1,
        &["line 2: field \"answer\": expected the reference answer, got nothing"],
    ),
    (
        "blank",
        "{\"question\": \"q\", \"answer\": \" \"}",
        1,
        &["line 2: field \"answer\"", "leave the row out"],
    ),
    (
        "unasked",
        "{\"question\": \"\", \"answer\": \"1\"}",
        1,
        &["line 2: field \"question\"", "an empty one"],
    ),
    (
        "list",
        "{\"question\": \"q\", \"answer\": [\"1\", \"2\"]}",
        1,
        &["line 2: field \"answer\"", "a list of 2"],
    ),
    ("unlisted", "{\"question\": \"q\", \"answer\": []}", 1, &["line 2: field \"answer\"", "a list of 0"]),
    (
        "truth",
        "{\"question\": \"q\", \"answer\": true}",
        1,
        &["line 2: field \"answer\": expected a text or a number, got true"],
    ),
    (
        "object",
        "{\"question\": \"q\", \"answer\": {\"a\": 1}}",
        1,
        &["an object", "answer = \"{{ answer.NAME }}\""],
    ),
    (
        "kind",
        "{\"question\": \"q\", \"answer\": \"1\", \"kind\": \"maths\"}",
        1,
        &["line 2: field \"kind\"", "\"maths\""],
    ),
    (
        "kindless",
        "{\"question\": \"q\", \"answer\": \"1\", \"kind\": 3}",
        1,
        &["line 2: field \"kind\": expected a text, got number 3"],
    ),
    (
        "command",
        "{\"question\": \"q\", \"answer\": \"1\", \"kind\": \"command\"}",
        2,
        &["command.jsonl line 2", "verifier.command"],
    ),
    (
        "same",
        "{\"question\": \"q\", \"answer\": \"1\", \"id\": \"good\"}",
        1,
        &["the id \"good\": same.jsonl line 1 and same.jsonl line 2"],
    ),
    (
        "options",
        "{\"question\": \"q\", \"answer\": \"A\", \"options\": [\"a\", 2]}",
        1,
        &["expected a list of texts, got a list with number 2"],
    ),
    (
        "number",
        "{\"question\": 7, \"answer\": \"1\"}",
        1,
        &["line 2: field \"question\": expected a text, got number 7"],
    ),
    (
        "trace",
        "{\"question\": \"q\", \"answer\": \"1\", \"trace\": [\"t\"]}",
        1,
        &["line 2: field \"trace\": expected a text, got a list of 1"],
    ),
    (
        "marked",
        "{\"question\": \"q\", \"answer\": \"1\", \"trace\": \"a </think> b\"}",
        1,
        &["marked.jsonl line 2", "before its end", "prompts.markers"],
    ),
    (
        "response",
        "{\"prompt\": \"p\", \"response\": \"r\", \"answer\": \"1\"}",
        1,
        &["line 2: field \"response\"", "string \"r\" without it"],
    ),
    (
        "chat",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"q\"}], \"answer\": \"1\"}",
        1,
        &["line 2: field \"messages\""],
    ),
    (
        "limits",
        "{\"question\": \"q\", \"kind\": \"code\", \"tests\": {\"inputs\": [], \"outputs\": []}, \"limits\": 3}",
        1,
        &["line 2: field \"limits\": expected an object"],
    ),
    ("text", "\"q\"", 1, &["text.jsonl line 2: expected a JSON object, got string \"q\""]),
    (
        "cut",
        "{\"question\": \"q\",",
        1,
        &["cut.jsonl line 2: expected a JSON object", "each row is one line"],
    ),
    ("half", "{\"question\": \"\\ud800\", \"answer\": \"1\"}", 1, &["half.jsonl line 2", "surrogate"]),
    ("commas", "question,answer", 1, &["commas.jsonl line 2: expected a JSON object, got invalid JSON"]),
    (
        "limit",
        "{\"question\": \"q\", \"kind\": \"code\", \"tests\": {\"inputs\": [], \"outputs\": []}, \"limits\": {\"time_s\": 0}}",
        1,
        &["field \"limits.time_s\": expected a number above 0"],
    ),
];

#[test]
fn what_is_wrong_with_questions_is_said_before_a_run() {
    let bench = bench();
    let good = "{\"question\": \"1 + 1\", \"answer\": \"2\", \"id\": \"good\"}\n";
    fs::write(bench.path("good.jsonl"), good).unwrap();
    fs::write(bench.path("own.toml"), OWN).unwrap();
    bench.done(&["recipe", "check", "own.toml"]);
    for (name, row, code, words) in WRONG_FILES {
        let file = format!("{name}.jsonl");
        fs::write(bench.path(&file), format!("{good}{row}\n")).unwrap();
        let train = format!("questions.train={file}");
        let commands: [&[&str]; 4] = [
            &["new", "new.toml", "--model", "model", "--questions", &file, "--kind", "math"],
            &["recipe", "check", "own.toml", &train],
            &["run", "own.toml", "--dry-run", &train],
            &["run", "own.toml", "--run-dir", name, &train],
        ];
        for arguments in commands {
            let (got, said) = bench.run(arguments);
            let missing: Vec<_> = words.iter().filter(|words| !said.contains(**words)).collect();
            assert!(
                got == code && missing.is_empty(),
                "{arguments:?}: exit code {got}, without {missing:?}\n{said}"
            );
        }
    }
    assert!(!bench.path("new.toml").exists(), "no recipe is left behind");
    // Templates need no model, which is not on this machine.
    for (template, words) in
        [("{{ question", "cannot use the template"), ("{{ question }}", "expected a prompt that ends with")]
    {
        fs::write(bench.path("own.jinja"), template).unwrap();
        let settings = ["model.folder=org/name", "prompts.reasoner=own.jinja"];
        let (code, said) = bench.run(&[&["recipe", "check", "own.toml"], &settings[..]].concat());
        assert!(code != 0 && said.contains(words), "{template}: {said}");
    }
}

#[test]
fn what_new_is_given_is_checked_before_anything_is_written() {
    let bench = bench();
    let rows = [json!({"problem": "1+1", "gold": "2", "thought": "t", "data": {"body": "q"}})];
    bench.write_rows("cols.jsonl", &rows);
    bench.write_rows("nested.jsonl", &[json!({"data": {"body": "q", "gold": "2"}})]);
    bench.write_rows("nulls.jsonl", &[json!({"question": "q", "answer": "1", "trace": null})]);
    let chat = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>t</think>y"}]});
    bench.write_rows("chat.jsonl", &[chat]);
    fs::create_dir(bench.path("folder.jsonl")).unwrap();
    let new = |rest: &str| -> (i32, String) {
        let line = format!("new new.toml --kind math {rest}");
        bench.run(&line.split(' ').collect::<Vec<_>>())
    };
    for (rest, code, words) in [
        (
            "--model model --questions cols.jsonl --column question=problme",
            2,
            "--column question: no row has a column \"problme\"; the nearest is \"problem\"\nhint: the rows have problem, gold, thought, data",
        ),
        (
            "--model model --questions cols.jsonl --column trace=thougt",
            2,
            "no row has a column \"thougt\"; the nearest is \"thought\"",
        ),
        (
            "--model model --questions cols.jsonl --column questoin=problem",
            2,
            "--column: unknown key \"questoin\"; the nearest known key is \"question\"",
        ),
        ("--model model --questions nested.jsonl", 2, "or within data: --column 'question={{ data.NAME }}'"),
        ("--model random --questions nulls.jsonl", 2, "nulls.jsonl has no traces"),
        (
            "--model random --questions chat.jsonl",
            1,
            "chat.jsonl line 1: field \"messages\": expected ready-made fields",
        ),
        ("--model model --questions rows.csv", 2, "hint: convert the table"),
        ("--model model --questions tiny", 2, "tiny is a folder: expected a file of rows"),
        ("--model model --questions folder.jsonl", 2, "folder.jsonl is a folder: expected a file of rows"),
        (
            "--model model --questions columns.jsonl --test columns.jsonl",
            1,
            "a question belongs to one split",
        ),
        ("--model tiny --questions columns.jsonl", 1, "tiny has no weights"),
    ] {
        let (got, said) = new(rest);
        assert!(got == code && said.contains(words), "{rest}: exit code {got}\n{said}");
        assert!(!bench.path("new.toml").exists(), "{rest}: a recipe is left behind");
    }
    // What is not on this machine is named, and the rest checked.
    let (code, said) = new("--model org/name --questions columns.jsonl");
    assert!(code == 0 && said.contains("not checked: prompts and token ids, since org/name"), "{said}");
}

/// The exit code of a command whose standard output is `stdout`, and what it says.
fn with_stdout(bench: &Bench, arguments: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    command
        .current_dir(bench.path(""))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Closed before anything is written: whoever reads has left.
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

#[test]
fn a_reader_that_leaves_ends_a_verb_quietly_and_a_full_disk_does_not() {
    let bench = bench();
    let verbs: [&[&str]; 3] = [
        &["recipe", "show", "r.toml"],
        &["sample", "--model", "model", "--data", "prompt.jsonl"],
        &["completions", "bash"],
    ];
    for arguments in verbs {
        let (code, said) = with_stdout(&bench, arguments, Stdio::piped());
        assert!(code == Some(0) && !said.contains("error"), "{arguments:?}: {code:?} {said}");
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = with_stdout(&bench, arguments, full.into());
        assert!(code == Some(1) && said.contains("No space left"), "{arguments:?}: {code:?} {said}");
    }
}

#[test]
fn a_hub_that_cannot_be_reached_is_named_with_what_to_do() {
    let bench = bench();
    let command = |arguments: &[&str]| {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
        command.current_dir(bench.path("")).env("HF_HOME", bench.path("")).args(arguments);
        command
    };
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        (
            output.status.code(),
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat(),
        )
    };
    // Nobody listens at port 9.
    let mut hub = command(&["score", "--model", "org/none", "--data", "prompt.jsonl"]);
    let (code, text) = said(hub.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert!(code == Some(1) && text.contains("cannot reach http://127.0.0.1:9"), "{code:?} {text}");
    assert!(text.contains("put the model in a folder"), "{text}");
    let (_, text) =
        said(command(&["doctor"]).env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", "http://127.0.0.1:9"));
    assert!(text.contains("cannot reach http://127.0.0.1:9") && text.contains("in the cache"), "{text}");
}
