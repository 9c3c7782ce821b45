//! Rows of mixed data sets: judged by their kind, with tests from a second file, and compared with evaluation sets.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use latrace_core::{Reason, Verdict};
use latrace_io::table::{Record, Table};
use latrace_run::pipeline::records::{ExampleRecord, QuestionRecord, VerdictRecord, WeightRecord};
use serde_json::{Value, json};
use support::Bench;

/// Small enough for seconds, and trained enough to end its traces.
const RECIPE: &str = r#"
[model]
vocabulary = 320
shape = { architectures = ["Qwen3ForCausalLM"], model_type = "qwen3", hidden_size = 32, intermediate_size = 64, num_hidden_layers = 2, num_attention_heads = 2, num_key_value_heads = 1, head_dim = 16, max_position_embeddings = 512, rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }

[questions]
train = "train.jsonl"
test = "test.jsonl"
tests = { from = "tests.jsonl", key = "task", column = "input_output" }

[prompts]
markers = "plain"
reasoner = "plain"
posterior = "plain_posterior"

[initial]
batch_size = 8
max_steps = 120
learning_rate = 1e-2

[posterior]
batch_size = 8
max_steps = 120
learning_rate = 1e-2

[traces]
n = 4
temperature = 0.7
max_new_tokens = 64

[answers]
n = 2
max_new_tokens = 64

[weights]
selection = "weighted"
fallbacks = { code = "geometric-likelihood", math = "skip" }

[dataset]
originals = 0.0

[final]
batch_size = 8
max_steps = 2

[evaluation]
n = 1
max_new_tokens = 64

[engine]
part_questions = 4
"#;

/// How the programs of Bespoke-Stratos are asked for.
const ASKED: &str = "Generate an executable Python function generated from the given prompt. ";

const PROGRAM: &str = "```python\nprint(int(input()) + 1)\n```";

impl Bench {
    fn records<R: Record>(&self, name: &str) -> Vec<R> {
        Table::open(&self.path(name)).records().unwrap().collect::<anyhow::Result<_>>().unwrap()
    }

    /// What a command line without quotes prints.
    #[track_caller]
    fn says(&self, command: &str) -> String {
        self.done(&command.split(' ').collect::<Vec<_>>())
    }

    /// With rows of mathematics and programs, and tests for all programs but one.
    fn mixed() -> Bench {
        let bench = Bench::empty();
        let maths = (1..=8).map(|n| {
            let (question, solution) = (format!("What is {n} plus {n} ?"), format!("\\boxed{{{}}}", 2 * n));
            json!({"id": format!("m{n}"), "question": question, "trace": "add them", "solution": solution})
        });
        let program = |id: &str, question: String, task: u64| json!({"id": id, "question": question, "task": task, "trace": "read it", "solution": PROGRAM});
        let asked = |id: &str, task| program(id, format!("{ASKED}Add one ({task})."), task);
        let mut of_source = program("s1", "Add one.".to_owned(), 12);
        of_source["source"] = json!("TACO/train");
        let programs = [asked("c1", 10), asked("c2", 11), of_source, asked("none", 13)];
        bench.write_rows("train.jsonl", &maths.chain(programs).collect::<Vec<_>>());
        let test = [json!({"id": "t1", "question": "what is 3 PLUS 3?", "answer": "6"})];
        bench.write_rows("test.jsonl", &test);
        let tests = json!({"inputs": ["1\n", "41\n"], "outputs": ["2\n", "42\n"]});
        let of_task = |task: u64| json!({"task": task, "input_output": tests.to_string()});
        bench.write_rows("tests.jsonl", &[12, 11, 10, 99].map(of_task));
        fs::write(bench.path("mixed.toml"), RECIPE).unwrap();
        bench
    }
}

#[test]
fn each_row_is_judged_by_its_kind_and_none_is_lost() {
    let bench = Bench::mixed();
    let log = bench.says("run mixed.toml --run-dir r");
    let questions: Vec<QuestionRecord> = bench.records("r/00-questions");
    let kind: BTreeMap<&str, &str> =
        questions.iter().map(|question| (question.id.as_str(), question.kind.as_str())).collect();
    let code = ["c1", "c2", "none", "s1"];
    assert!(kind.iter().all(|(id, kind)| (*kind == "code") == code.contains(id)), "{kind:?}");
    let counts = bench.json("r/00-questions/stage.json")["counts"].clone();
    assert_eq!(counts["kinds"], json!({"code": {"source": 1, "question": 3}, "math": {"default": 9}}));
    assert_eq!(counts["tests"], json!({"own": 0, "joined": 3, "none": 1, "unmatched": 1}));
    assert_eq!(counts["contaminated"], json!({"same": 1, "overlapping": 0, "of": 12}));
    for said in [
        "3 questions are of kind code by how their question begins",
        "3 programs have tests from questions.tests; 1 rows there belong to no question",
        "1 of 4 questions of kind code have no tests, and so no verifier",
        "of 12 training questions 1 also stand in the evaluation sets",
        "for example m3 (the same)",
        "Caution: of 12 training questions 1 also stand",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert_eq!(bench.json("r/summary.json")["contaminated"], counts["contaminated"]);
    assert!(
        fs::read_to_string(bench.path("r/report.html"))
            .unwrap()
            .contains("also stand in the evaluation sets")
    );
    check_verdicts(&bench, &kind);
    check_fallbacks(&bench, &kind);
}

fn check_verdicts(bench: &Bench, kind: &BTreeMap<&str, &str>) {
    let verdicts: Vec<VerdictRecord> = bench.records("r/06-verdicts");
    let judged: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.id.as_str()).collect();
    assert_eq!(judged, kind.keys().copied().filter(|id| *id != "t1").collect(), "all have ended traces");
    for verdict in &verdicts {
        assert_eq!(verdict.reason == Reason::NoVerifier, verdict.id == "none", "{verdict:?}");
        assert_ne!(verdict.reason, Reason::BadGold, "{verdict:?}");
    }
    let none = verdicts.iter().filter(|verdict| verdict.id == "none");
    assert!(none.clone().all(|verdict| verdict.verdict() == Verdict::Undetermined));
    let counts = bench.json("r/06-verdicts/stage.json")["counts"].clone();
    assert_eq!(counts["no_verifier"], none.count());
}

fn check_fallbacks(bench: &Bench, kind: &BTreeMap<&str, &str>) {
    let weights: Vec<WeightRecord> = bench.records("r/07-weights");
    let of_none: Vec<&WeightRecord> = weights.iter().filter(|weight| weight.id == "none").collect();
    assert!(of_none.iter().all(|weight| weight.by_reference), "{of_none:?}");
    let chosen: f64 = of_none.iter().map(|weight| weight.chosen).sum();
    assert!((chosen - 1.0).abs() < 1e-9, "{chosen}");
    assert!(weights.iter().all(|weight| !weight.by_reference || kind[weight.id.as_str()] == "code"));
    assert_eq!(bench.json("r/07-weights/stage.json")["counts"]["without_verdicts"], 1);
    // Its traces are followed by its own answer, and every question is accounted for.
    let questions: Vec<QuestionRecord> = bench.records("r/00-questions");
    let own = questions.iter().find(|question| question.id == "none").unwrap().answer_ids.clone().unwrap();
    let examples: Vec<ExampleRecord> = bench.records("r/08-dataset");
    let of_none: Vec<&ExampleRecord> = examples.iter().filter(|example| example.id == "none").collect();
    assert!(!of_none.is_empty());
    assert!(of_none.iter().all(|example| example.source >= 0 && example.response_ids.ends_with(&own)));
    let counts = bench.json("r/08-dataset/stage.json")["counts"].clone();
    let number = |name: &str| counts[name].as_u64().unwrap();
    assert_eq!(number("questions"), 12);
    assert_eq!(number("used") + number("left_out"), 12, "none keeps its own row: {counts}");
    let left_out = kind.keys().filter(|id| !examples.iter().any(|example| example.id == **id));
    assert!(left_out.clone().all(|id| kind[id] == "math"), "{:?}", left_out.collect::<Vec<_>>());
}

/// Even against itself: a solution that is a program is not judged as mathematics.
#[test]
fn the_verbs_judge_rows_by_their_kinds_too() {
    let bench = Bench::mixed();
    bench.says(
        "questions --data train.jsonl --tests tests.jsonl --tests-key task --tests-column input_output --out q.jsonl",
    );
    let with_prediction = |mut row: Value| {
        row["prediction"] = row["solution"].clone();
        row
    };
    bench.write_rows("p.jsonl", &bench.rows("q.jsonl").into_iter().map(with_prediction).collect::<Vec<_>>());
    bench.says("verify --data p.jsonl --out v.jsonl");
    for row in bench.rows("v.jsonl") {
        let (id, reason) = (row["id"].as_str().unwrap(), row["reason"].as_str().unwrap());
        let expected: &[&str] = match id {
            "none" => &["no_verifier"],
            // Where there is no sandbox, no program is run.
            "c1" | "c2" | "s1" => &["equal", "no_sandbox"],
            _ => &["equal"],
        };
        assert!(expected.contains(&reason), "{id}: {reason}");
    }
}

#[test]
fn training_questions_that_stand_in_evaluation_sets_are_counted() {
    let bench = Bench::empty();
    let long = "a farmer has twelve cows and sells five of them to the man who lives next door";
    let asked = |text: &str| json!({"question": text, "answer": "1"});
    bench.write_rows(
        "train.jsonl",
        &[asked("What is $2 + 2$?"), asked(&format!("Today {long}.")), asked("Else?")],
    );
    // Rows of an evaluation set need no answers, and may be chats.
    let chat = json!({"messages": [{"role": "user", "content": format!("Yesterday {long}!")}]});
    bench.write_rows("test.jsonl", &[json!({"question": "what is 2+2"}), chat]);
    let log = bench.says("questions --data train.jsonl --against test.jsonl --out q.jsonl");
    let counted = "of 3 training questions 1 also stand in the evaluation sets, and 1 others share 13 consecutive words \
                   with a question there; for example train-1 (the same), train-2 (\"a farmer has twelve cows and \
                   sells five of them to the man\")";
    assert!(log.contains(counted), "{log}");
    // Another file has none of them; a task's own splits and a built-in benchmark are compared too.
    bench.write_rows("other.jsonl", &[asked("Something else")]);
    let log = bench.says("questions --data train.jsonl --against other.jsonl countdown --out q.jsonl");
    assert!(log.contains("of 3 training questions 0 also stand"), "{log}");
    let log = bench.says("questions --task countdown --traced 20 --test 5 --out q.jsonl");
    assert!(log.contains("of 20 training questions 0 also stand"), "{log}");
    assert!(!bench.says("questions --data train.jsonl --out q.jsonl").contains("also stand"));
    let (code, said) = bench.run(&["questions", "--data", "train.jsonl", "--against", "maths"]);
    assert_eq!(code, 2, "{said}");
}
