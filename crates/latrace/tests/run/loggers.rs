//! `examples/loggers/forward.py`, where there is a Python.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::bench::Bench;

fn forwarder(run: &Path) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/loggers/forward.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(run).args(["--to", "print", "--every", "0.05"]).stdout(Stdio::piped());
    command
}

/// The lines of every training of a run by its stage.
fn written(run: &Path) -> BTreeMap<String, Vec<Value>> {
    let stages = ["01-initial", "02-posterior", "09-final"];
    let lines = |path: PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    stages.map(|stage| (stage.to_owned(), lines(run.join(stage).join("metrics.jsonl")))).into()
}

#[test]
fn metrics_are_forwarded_until_the_run_is_finished() {
    if Command::new("python3").arg("-V").output().is_err() {
        println!("NOT TESTED: there is no python3");
        return;
    }
    let bench = Bench::new();
    let run = bench.run_folder("r");
    let settings = ["skip=[\"rft\"]", "traces.n=2"];
    // Before the run: its folder does not exist yet.
    let during = forwarder(&run).spawn().unwrap();
    bench.done("r", &settings);
    let after = forwarder(&run).output().unwrap().stdout;
    let during = during.wait_with_output().unwrap().stdout;
    for said in [during, after] {
        let text = String::from_utf8(said).unwrap();
        let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let accuracies = lines.pop().unwrap();
        let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
        assert_eq!(accuracies["accuracy/final"], summary["models"]["final"]["accuracy"]);
        for (stage, written) in written(&run) {
            let of = |name: &str| format!("{stage}/{name}");
            let losses = lines.iter().filter_map(|line| line.get(of("loss")).cloned());
            let expected = written.iter().map(|line| line["loss"].clone());
            assert_eq!(losses.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{stage}");
        }
    }
}

#[test]
fn a_run_has_histograms_of_its_weights() {
    let bench = Bench::new();
    bench.done("r", &["skip=[\"rft\"]", "initial.max_steps=4", "posterior.max_steps=4", "traces.n=2"]);
    let weights = fs::read_dir(bench.run_folder("r/07-weights")).unwrap().flatten();
    let names =
        weights.filter(|entry| entry.file_name().to_string_lossy().starts_with("events.out.tfevents."));
    let files: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1);
    let bytes = fs::read(&files[0]).unwrap();
    for tag in ["weights/weight", "weights/log_ratio"] {
        assert!(bytes.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
    }
}
