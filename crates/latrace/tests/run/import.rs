//! Models that are trained elsewhere: a run stops for them, and goes on with them.

use std::fs;
use std::process::{Command, Output};

use super::bench::{Bench, contents, records};
use latrace_run::pipeline::records::ExampleRecord;
use serde_json::Value;

/// The trainings of the tiny recipe without its baseline, in their order.
const TRAININGS: [&str; 3] = ["01-initial", "02-posterior", "09-final"];

fn latrace(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    command.current_dir(bench.folder.path()).args(arguments).output().unwrap()
}

#[track_caller]
fn check(bench: &Bench, arguments: &[&str], code: i32, expected: &str) {
    let output = latrace(bench, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(expected), "expected {expected:?} in {stderr}");
}

#[test]
fn a_run_goes_on_with_models_that_are_trained_elsewhere() {
    let bench = Bench::new();
    let alone = "skip=[\"rft\"]";
    bench.done("whole", &[alone]);
    let fresh = bench.done("fresh", &[alone, "--dry-run", "--estimate"]);
    assert!(fresh.contains("trained on by cpu") && fresh.contains("01-initial  "), "{fresh}");
    let manual = bench.done("fresh", &[alone, "--dry-run", "--estimate", "engine.train=manual"]);
    assert!(manual.contains("trained on by manual") && !manual.contains(" trained on.\n"), "{manual}");
    let estimated = bench.done("whole", &[alone, "--dry-run", "--estimate", "traces.n=5"]);
    assert!(
        estimated.contains("Tokens a second in a short trial: ") && estimated.contains("in all  "),
        "{estimated}"
    );
    // Only what is to be done takes time, however long that is on this machine.
    let has_time = |stage: &str| {
        estimated.lines().any(|line| {
            line.split_once("  ").is_some_and(|(at, time)| {
                at == stage && time.trim_start().starts_with(|first: char| first.is_ascii_digit())
            })
        })
    };
    assert!(has_time("03-traces") && !has_time("01-initial"), "{estimated}");
    let manual = &[alone, "engine.train=manual"];
    for stage in TRAININGS {
        bench.refused("manual", manual, 1, "this model is trained elsewhere: engine.train = \"manual\"");
        let exported = format!("exported-{stage}");
        check(
            &bench,
            &["export", "manual", stage, "--format", "trl", "--out", &exported],
            0,
            "rows written to",
        );
        // What the built-in trainer made of the same rows stands for what another one does.
        let model = format!("whole/{stage}");
        check(&bench, &["import", "manual", stage, &model], 0, "goes on");
        check(&bench, &["import", "manual", stage, &model], 2, "is finished already");
        check(&bench, &["import", "manual", stage, &model, "--replace"], 0, "goes on");
    }
    bench.done("manual", manual);
    let (whole, manual) = (contents(&bench.run_folder("whole")), contents(&bench.run_folder("manual")));
    for (name, bytes) in &whole {
        // Parts name the key of their stage, which has the engine in it; checkpoints stay where they were trained.
        let is_compared = name.ends_with(".safetensors") && !name.contains("checkpoint");
        assert!(!is_compared || manual.get(name) == Some(bytes), "{name}");
    }
    let examples = |run: &str| records::<ExampleRecord>(&bench.run_folder(run).join("08-dataset"));
    assert_eq!(examples("manual"), examples("whole"));
    let accuracies = |run: &str| {
        let summary = fs::read(bench.run_folder(run).join("summary.json")).unwrap();
        serde_json::from_slice::<Value>(&summary).unwrap()["models"].clone()
    };
    assert_eq!(accuracies("manual"), accuracies("whole"));
    every_account_of_the_run_says_where_its_models_came_from(&bench);
}

fn every_account_of_the_run_says_where_its_models_came_from(bench: &Bench) {
    let read = |file: &str| fs::read_to_string(bench.run_folder(file)).unwrap();
    let summary: Value = serde_json::from_str(&read("manual/summary.json")).unwrap();
    let expected: Value = TRAININGS.iter().map(|stage| (*stage, format!("whole/{stage}"))).collect();
    assert_eq!(summary["provenance"]["imported"], expected);
    assert!(read("manual/report.html").contains("whole/01-initial"));
    let card = read("manual/model/README.md");
    let start = "Imported from `whole/09-final`: trained by another program, in a run that starts from an imported model \
                 (`whole/01-initial`, trained elsewhere), by variational reasoning";
    for expected in [start, "* `02-posterior`: `whole/02-posterior`"] {
        assert!(card.contains(expected), "{expected:?} in {card}");
    }
    assert!(read("whole/model/README.md").contains("\nTrained from random weights by variational reasoning"));
}

#[test]
fn what_cannot_be_imported_is_refused_by_what_is_wrong() {
    let bench = Bench::new();
    let manual = &["engine.train=manual"];
    bench.refused("r", manual, 1, "trained elsewhere");
    check(&bench, &["import", "r", "03-traces", "x"], 2, "expected one of the run's trainings: 01-initial");
    check(&bench, &["import", "r", "01-initial", "nowhere"], 1, "nowhere is not a model folder");
    check(&bench, &["import", "r", "09-final", "r/00-model"], 1, "the stages that 09-final depends on");
    let other = bench.run_folder("other");
    fs::create_dir(&other).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(bench.run_folder("r/00-model").join(file), other.join(file)).unwrap();
    }
    let config = fs::read_to_string(other.join("config.json")).unwrap();
    fs::write(
        other.join("config.json"),
        config.replace("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1"),
    )
    .unwrap();
    let differs = "other/config.json: num_hidden_layers: expected 2, got 1\nhint: expected is the architecture of r/00-model";
    check(&bench, &["import", "r", "01-initial", "other"], 1, differs);
    fs::write(other.join("config.json"), config).unwrap();
    let mut weights = fs::read(other.join("model.safetensors")).unwrap();
    let (end, nan) = (weights.len(), f32::NAN.to_le_bytes());
    weights[end - 8..].copy_from_slice(&[nan, nan].concat());
    fs::write(other.join("model.safetensors"), &weights).unwrap();
    let nan = "expected finite values, got 2 NaN or infinite values of 16, the first at [14]";
    check(&bench, &["import", "r", "01-initial", "other"], 1, nan);
    fs::write(other.join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    check(&bench, &["import", "r", "01-initial", "other"], 1, "has no weights");
    fs::write(other.join("model.safetensors"), b"no").unwrap();
    check(&bench, &["import", "r", "01-initial", "other"], 1, "is no safetensors file");
    assert!(!bench.run_folder("r/01-initial/model.safetensors").exists());
}

#[test]
fn a_training_gives_way_only_to_a_whole_model() {
    let bench = Bench::new();
    bench.done("r", &["skip=[\"rft\"]"]);
    let before = contents(&bench.run_folder("r"));
    let half = bench.run_folder("half");
    fs::create_dir(&half).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(bench.run_folder("r/09-final").join(file), half.join(file)).unwrap();
    }
    let weights = fs::read(half.join("model.safetensors")).unwrap();
    fs::write(half.join("model.safetensors"), &weights[..weights.len() - 1]).unwrap();
    check(&bench, &["import", "r", "09-final", "half", "--replace"], 1, "is no safetensors file");
    assert_eq!(contents(&bench.run_folder("r")), before);
    // Its own model, which would be gone if the folder were emptied first.
    check(&bench, &["import", "r", "01-initial", "r/01-initial", "--replace"], 0, "goes on");
    let name = "01-initial/model.safetensors";
    assert_eq!(contents(&bench.run_folder("r")).get(name), before.get(name));
    assert!(!bench.run_folder("r/summary.json").exists(), "its results were of the other training");
}
