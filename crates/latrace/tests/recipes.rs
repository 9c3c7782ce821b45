//! Recipes that explain themselves: `latrace recipe`, `latrace new`, and what `latrace run` says of mistakes.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

#[allow(dead_code, reason = "other tests use the rest")]
mod support;

use std::fs;

use serde_json::json;
use support::Bench;

const WALK: &str = "[model.shape]\nmodel_type = \"qwen2\"\nhidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2\n\
                    num_key_value_heads = 1\nintermediate_size = 32\nmax_position_embeddings = 256\nrms_norm_eps = 1e-6\n\
                    rope_theta = 10000.0\ntie_word_embeddings = true\n[questions]\ntask = \"walk\"\nsizes = { traced = 4, untraced = 4, validation = 2, test = 2 }\n\
                    [prompts]\nmarkers = \"plain\"\nreasoner = \"plain\"\nposterior = \"plain_posterior\"\n";

fn bench(recipe: &str) -> Bench {
    let bench = Bench::empty();
    fs::write(bench.path("r.toml"), recipe).unwrap();
    bench
}

impl Bench {
    #[track_caller]
    fn refused(&self, arguments: &[&str], expected: &str) {
        let (code, said) = self.run(arguments);
        assert!(code == 2 && said.contains(expected), "{arguments:?}: exit code {code}\n{said}");
    }
}

#[test]
fn a_recipe_is_checked_in_a_line_and_shown_in_full() {
    let bench = bench(&format!("{WALK}[baselines.b]\nmethod = \"rft\"\n"));
    let said = bench.done(&["recipe", "check", "r.toml", "seed=3"]);
    assert!(
        said.starts_with(
            "r.toml is valid: trains a random model on the task walk by the method variational; "
        ),
        "{said}"
    );
    assert!(said.contains("1 baseline (b) with ") && said.lines().count() == 1, "{said}");
    let shown = bench.done(&["recipe", "show", "r.toml", "traces.n=5"]);
    fs::write(bench.path("whole.toml"), &shown).unwrap();
    assert!(shown.contains("seed = 0") && shown.contains("\nn = 5\n"), "{shown}");
    assert_eq!(bench.done(&["recipe", "show", "whole.toml"]), shown);
    bench.refused(&["recipe", "check", "s.toml"], "there is no recipe s.toml");
    bench.refused(
        &["recipe", "check", "r.toml", "sed=3"],
        "the command line: unknown key \"sed\"; the nearest known key is \"seed\"",
    );
    bench.refused(
        &["recipe", "show", "r.toml", "traces.n=many"],
        "the command line: traces.n: expected a whole number, got \"many\"",
    );
}

#[test]
fn files_that_are_not_there_are_named_and_ids_on_the_hub_are_none() {
    let bench = bench(
        "[model]\nfolder = \"org/name\"\n[questions]\ntrain = \"a.jsonl\"\ntest = \"b.jsonl\"\nvalidation = \"org/data\"\n",
    );
    bench.write_rows("b.jsonl", &[]);
    let said = bench.done(&["recipe", "check", "r.toml"]);
    assert!(said.contains("questions.train: there is no a.jsonl"), "{said}");
    assert!(!said.contains("b.jsonl") && !said.contains("there is no org"), "{said}");
}

#[test]
fn mistakes_in_a_recipe_are_placed_and_said_in_plain_words() {
    let check =
        |recipe: &str, expected: &str| bench(recipe).refused(&["run", "r.toml", "--dry-run"], expected);
    check("seed = 1\n[traces\nn = 3\n", "error: r.toml line 2, column 8: not valid TOML: ");
    check(
        &format!("{WALK}[traces]\nn = \"many\"\n"),
        "error: r.toml: traces.n: expected a whole number, got \"many\"\n",
    );
    check(
        &format!("{WALK}[final]\nlora = {{ rank = \"big\" }}\n"),
        "error: r.toml: final.lora.rank: expected a whole number, got \"big\"\n",
    );
    check(&format!("method = 3\n{WALK}"), "error: r.toml: method: expected one of variational, sft, ");
    check(
        &format!("{WALK}columns.x = 1\n"),
        "error: r.toml: unknown key \"prompts.columns\"; the nearest known key is",
    );
}

#[test]
fn a_flag_that_looks_like_a_setting_is_met_with_the_setting() {
    let bench = bench(WALK);
    bench.refused(&["run", "r.toml", "--seed", "3"], "tip: settings are written without dashes: seed=3\n");
    bench.refused(&["run", "r.toml", "--traces.n=4"], "settings are written without dashes: traces.n=4\n");
    bench.refused(
        &["run", "r.toml", "--top-p", "0.9"],
        "answers.top_p=0.9, or evaluation.top_p=0.9, or traces.top_p=0.9",
    );
    bench.refused(
        &["recipe", "check", "r.toml", "--rounds"],
        "settings are written without dashes: rounds=VALUE\n",
    );
    bench.refused(
        &["train", "--model", "m", "--data", "d", "--out", "o", "--epochs", "2"],
        "settings are written without dashes: epochs=2\n",
    );
    // Others are clap's to correct.
    bench.refused(&["run", "r.toml", "--run-dirr", "x"], "--run-dir");
    let (_, said) = bench.run(&["verify", "--seed", "3"]);
    assert!(!said.contains("without dashes"), "{said}");
}

#[test]
fn a_question_without_a_column_is_met_with_the_columns_there_are() {
    let bench = Bench::empty();
    bench.write_rows("q.jsonl", &[json!({"problem": "1 + 1?", "gold": "2"})]);
    let (code, said) = bench.run(&["questions", "--data", "q.jsonl"]);
    assert!(code == 1 && said.contains("q.jsonl line 1: field \"question\": expected a text"), "{said}");
    assert!(said.contains("got nothing: the row has problem, gold\nhint: questions.columns"), "{said}");
    assert!(
        bench.done(&["questions", "--data", "q.jsonl", "--column", "question=problem"]).contains("1 + 1?")
    );
    bench.refused(
        &["questions", "--data", "q.jsonl", "--column", "questoin=problem"],
        "the nearest known key is \"question\"",
    );
}

#[test]
fn a_new_recipe_is_written_for_own_questions_and_is_valid() {
    let bench = Bench::empty();
    bench.write_rows("train.jsonl", &vec![json!({"problem": "1 + 1?", "gold": "2"}); 2000]);
    bench.write_rows("test.jsonl", &vec![json!({"problem": "2 + 2?", "gold": "4"}); 300]);
    let own = ["new", "own.toml", "--model", "org/name", "--questions", "train.jsonl", "--kind", "math"];
    bench.done(&[&own[..], &["--test", "test.jsonl"]].concat());
    let written = fs::read_to_string(bench.path("own.toml")).unwrap();
    for expected in [
        "folder = \"org/name\"",
        "# 2000 rows, with answers, and no traces.",
        "columns = { answer = \"gold\", question = \"problem\" }",
        "limit = { train = 1000, test = 200 }",
        "[initial]\ntrain = false",
    ] {
        assert!(written.contains(expected), "{expected}\n{written}");
    }
    let said = bench.done(&["recipe", "check", "own.toml"]);
    assert!(
        said.contains("own.toml is valid: trains org/name on train.jsonl") && !said.contains("there is no"),
        "{said}"
    );
    // What stands there is kept, unless told otherwise.
    bench.refused(&own, "own.toml exists");
    assert_eq!(fs::read_to_string(bench.path("own.toml")).unwrap(), written);
    bench.done(&[&own[..], &["--force"]].concat());
    assert!(
        fs::read_to_string(bench.path("own.toml"))
            .unwrap()
            .contains("head -n 200 train.jsonl > train-test.jsonl")
    );
    bench.done(&["new", "walk.toml", "--model", "random", "--task", "walk"]);
    assert!(bench.done(&["run", "walk.toml", "--dry-run"]).contains("03-traces"));
}

#[test]
fn what_a_new_recipe_lacks_is_named_where_nobody_can_be_asked() {
    let bench = Bench::empty();
    bench.write_rows("q.jsonl", &[json!({"question": "1 + 1?", "answer": "2"})]);
    bench.refused(&["new"], "error: --model is missing");
    bench.refused(&["new", "--model", "org/name"], "error: --questions is missing");
    bench.refused(&["new", "--model", "org/name", "--questions", "q.jsonl"], "error: --kind is missing");
    bench.refused(
        &["new", "--model", "random", "--questions", "q.jsonl", "--kind", "math"],
        "q.jsonl has no traces",
    );
    bench.refused(
        &["new", "--model", "nothing", "--questions", "q.jsonl"],
        "--model nothing: expected a model folder",
    );
    bench.refused(&["new", "--model", "random", "--task", "wlak"], "the nearest is \"walk\"");
    assert!(!bench.path("recipe.toml").exists());
}
