//! What is finished is not given up unasked, and no result of other settings is shown.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::bench::{Bench, assert_same, contents};

/// What a verb prints in the bench's folder, on both streams, and its exit code.
fn said(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    let output = command.current_dir(bench.folder.path()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    (output.status.code(), text)
}

fn record(run: &Path, stage: &str) -> Value {
    serde_json::from_slice(&fs::read(run.join(stage).join("stage.json")).unwrap()).unwrap()
}

/// Starts a run with settings and `--redo`, and kills it once `stage` is being redone.
fn killed_at(bench: &Bench, stage: &str, settings: &[&str]) {
    let run = bench.run_folder("r");
    let mut child = bench.command("r", &[&["--redo"], settings].concat()).spawn().unwrap();
    let is_begun = || {
        fs::read(run.join(stage).join("stage.json")).is_ok_and(|text| {
            serde_json::from_slice::<Value>(&text).is_ok_and(|record| record["done"] == false)
        })
    };
    while !is_begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(record(&run, stage)["done"], false, "it was not killed in time");
}

#[test]
fn other_settings_in_a_finished_run_are_refused_and_change_nothing() {
    let bench = Bench::new();
    let settings = ["skip=[\"rft\"]"];
    bench.done("r", &settings);
    let run = bench.run_folder("r");
    let all = |run: &Path| {
        let named = |name: &str| fs::read(run.join(name)).unwrap();
        (contents(run), ["summary.json", "report.html", "recipe.toml"].map(named))
    };
    let before = all(&run);
    for (setting, expected) in [
        (
            "seed=1",
            "(seed was 0, is 1): 15 finished stages would be redone, among them 01-initial, 02-posterior, 09-final",
        ),
        (
            "final.max_steps=19",
            "(final.max_steps was 20, is 19): 2 finished stages would be redone, among them 09-final",
        ),
        ("evaluation.n=1", "(evaluation.n was 2, is 1): "),
        (
            "rounds=2",
            "(rounds was 1, is 2): 1 finished stage would be redone (10-evaluation/final); 13 stages would be added, among \
             them round-2/02-posterior, round-2/09-final",
        ),
    ] {
        let settings = [settings[0], setting];
        bench.refused("r", &settings, 2, "r holds a finished run of other settings");
        bench.refused("r", &settings, 2, expected);
        bench.refused("r", &settings, 2, "--run-dir r-2 begins a run of its own");
        let planned = bench.done("r", &[settings[0], setting, "--dry-run"]);
        assert!(planned.contains("A run without --redo is refused"), "{planned}");
        assert_eq!(all(&run), before, "{setting} changed something");
    }
    // What is added redoes nothing, and needs no permission; nor does what is no setting of results.
    bench.done("r", &["skip=[\"rft\"]", "engine.part_questions=8", "engine.batch=3"]);
    bench.done("r", &[]);
    assert!(run.join("baselines/rft/09-final").is_dir());
}

#[test]
fn an_interrupted_redo_shows_no_earlier_result_and_can_be_taken_back() {
    let bench = Bench::new();
    let settings = ["skip=[\"rft\"]"];
    let printed = bench.done("r", &settings);
    let run = bench.run_folder("r");
    let before = contents(&run);
    let accuracy = printed.lines().find(|line| line.starts_with("final ")).unwrap().to_owned();
    killed_at(&bench, "01-initial", &["skip=[\"rft\"]", "initial.max_steps=2000"]);
    for file in ["summary.json", "report.html", "model"] {
        assert!(!run.join(file).exists(), "{file} is of the earlier settings");
    }
    assert!(record(&run, "09-final")["stale"].as_str().unwrap().contains("depends"), "it says so itself");
    assert_eq!(record(&run, "00-questions")["stale"], Value::Null);
    let (_, status) = said(&bench, &["status", "r"]);
    let line = |name: &str| {
        status.lines().find(|line| line.split_whitespace().any(|word| word == name)).unwrap().to_owned()
    };
    assert!(line("09-final").contains("to be redone") && line("00-questions").contains("done"), "{status}");
    assert!(status.contains("4 of 15 stages done"), "{status}");
    let (code, compared) = said(&bench, &["compare", "r"]);
    assert!(code == Some(1) && compared.contains("has no summary.json"), "{compared}");
    let (code, _) = said(&bench, &["report", "r", "--out", "page.html"]);
    assert_eq!(code, Some(0));
    let page = fs::read_to_string(bench.folder.path().join("page.html")).unwrap();
    assert!(page.contains("was made under other settings, and is to be redone"), "it says what is missing");
    assert!(page.contains("\"models\":[]"), "it shows no accuracy");
    let (code, chat) = said(&bench, &["chat", "r"]);
    assert!(code == Some(1) && chat.contains("has no trained model"), "{chat}");
    // The earlier settings find all that was not redone; what was is made again, with the same bytes.
    let printed = bench.done("r", &settings);
    assert!(printed.contains(&accuracy), "{printed}");
    assert_eq!(contents(&run), before);
    assert_eq!(record(&run, "09-final")["stale"], Value::Null);
}

#[test]
fn a_redo_that_was_interrupted_resumes_without_being_allowed_again() {
    let bench = Bench::new();
    bench.done("r", &["skip=[\"rft\"]"]);
    let settings = ["skip=[\"rft\"]", "initial.max_steps=400", "initial.checkpoint_every=50"];
    killed_at(&bench, "01-initial", &settings);
    bench.done("r", &settings);
    bench.done("fresh", &settings);
    assert_same(&bench.run_folder("r"), &bench.run_folder("fresh"));
}

#[test]
fn clean_removes_what_is_stale_and_nothing_else() {
    let bench = Bench::new();
    bench.done("r", &["initial.checkpoint_every=0"]);
    let run = bench.run_folder("r");
    let (_, clean) = said(&bench, &["clean", "r"]);
    assert_eq!(clean, "r holds nothing that it does not need.\n");
    killed_at(&bench, "09-final", &["skip=[\"rft\"]", "final.max_steps=4000"]);
    let before = contents(&run);
    let (code, ahead) = said(&bench, &["clean", "r", "--dry-run"]);
    assert!(code == Some(0) && contents(&run) == before, "a trial removes nothing");
    let named: Vec<&str> = ahead.lines().filter_map(|line| Some(line.split_once(" (")?.0)).collect();
    assert!(named.contains(&"10-evaluation/final") && named.contains(&"baselines/rft/09-final"), "{ahead}");
    assert!(!named.contains(&"09-final") && !named.contains(&"01-initial"), "{ahead}");
    let (code, cleaned) = said(&bench, &["clean", "r"]);
    assert!(
        code == Some(0) && cleaned.starts_with(ahead.trim_end()) && cleaned.ends_with("Removed.\n"),
        "{cleaned}"
    );
    assert!(!run.join("baselines").exists() && !run.join("10-evaluation/final").exists());
    let left = contents(&run);
    assert!(left.iter().all(|(name, bytes)| before.get(name) == Some(bytes)), "the rest is as it was");
    assert!(run.join("01-initial/model.safetensors").is_file());
}

#[test]
fn results_go_even_where_stages_were_marked_by_a_session_that_was_killed() {
    let bench = Bench::new();
    bench.done("r", &["skip=[\"rft\"]"]);
    let run = bench.run_folder("r");
    // As a kill between marking the stages and removing what was made of them would leave it.
    for stage in ["01-initial", "09-final", "10-evaluation/final"] {
        let marked = record(&run, stage).as_object().unwrap().clone();
        let mut marked = Value::Object(marked);
        marked["stale"] = "seed was 0, is 1".into();
        fs::write(run.join(stage).join("stage.json"), marked.to_string()).unwrap();
    }
    killed_at(&bench, "01-initial", &["skip=[\"rft\"]", "initial.max_steps=2000"]);
    for file in ["summary.json", "report.html", "model"] {
        assert!(!run.join(file).exists(), "{file} is of the earlier settings");
    }
}

#[test]
fn clean_leaves_a_run_alone_that_lies_within_another() {
    let bench = Bench::new();
    bench.done("r", &["skip=[\"rft\"]"]);
    bench.done("r/second", &["skip=[\"rft\"]", "seed=1"]);
    let before = contents(&bench.run_folder("r"));
    let (_, clean) = said(&bench, &["clean", "r"]);
    assert_eq!(clean, "r holds nothing that it does not need.\n");
    assert_eq!(contents(&bench.run_folder("r")), before);
}
