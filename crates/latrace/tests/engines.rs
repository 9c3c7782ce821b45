//! A whole run on servers: its records are those of the built-in engine, whatever goes wrong on the way, and nothing
//! keeps running. Without a test harness: this binary is the server as well.
#![allow(clippy::unwrap_used, reason = "without a harness, no function is marked as a test")]

#[path = "run/bench.rs"]
mod bench;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bench::{Bench, assert_same, records};
use latrace_core::random::{draw, unit};
use latrace_engine::CpuEngine;
use latrace_engine::servers::testing::{FakeOptions, FakeServer, Fault, random_faults};
use latrace_io::table::Record;
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, ResponseRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use serde_json::Value;

/// First argument of a process that serves; then the seed of its faults and their share in percent.
const FAKE: &str = "fake";

/// What passes, and what ends a run with an error of its own.
const FAULTS: [Fault; 9] = [
    Fault::Status500,
    Fault::Disconnect,
    Fault::CutJson,
    Fault::CutBody,
    Fault::Die,
    Fault::NotFound,
    Fault::NoTokenIds,
    Fault::NotANumber,
    Fault::Clamped,
];

/// Of these a run recovers.
const PASSING: [Fault; 4] = [Fault::Status500, Fault::Disconnect, Fault::CutJson, Fault::CutBody];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == FAKE) {
        return serve(&arguments);
    }
    let bench = Bench::new();
    bench.done("whole", &[ALONE]);
    let tests: [Test; 5] = [
        ("a run on servers has the records of the built-in engine", the_same_records),
        ("verbs on servers write what they write on the built-in engine", verbs),
        ("what passes changes nothing", passing_faults),
        ("random faults end in the same records or in an error that says what happened", any_faults),
        ("a run that is killed resumes, and leaves nothing running", killed),
    ];
    for (name, test) in tests {
        test(&bench);
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// A name, and a test that gets a folder with a whole run of the built-in engine.
type Test = (&'static str, fn(&Bench));

/// Without its baseline, the tiny recipe is enough.
const ALONE: &str = "skip=[\"rft\"]";

fn serve(arguments: &[String]) -> ExitCode {
    let [seed, percent]: [u64; 2] = [arguments[1].parse().unwrap(), arguments[2].parse().unwrap()];
    let which: &'static [Fault] = if arguments[3] == "passing" { &PASSING } else { &FAULTS };
    let faults = random_faults(seed, percent as f64 / 100.0, which);
    let failed = FakeServer::serve(
        Box::new(CpuEngine::default()),
        arguments,
        FakeOptions { faults, ..FakeOptions::default() },
    );
    eprintln!("{failed:?}");
    ExitCode::FAILURE
}

/// The settings of a run on two fake servers.
fn served(seed: u64, percent: u64, which: &str) -> Vec<String> {
    let this = std::env::current_exe().unwrap().display().to_string();
    let command = format!(
        "servers.command=[\"{this}\", \"{FAKE}\", \"{seed}\", \"{percent}\", \"{which}\", \"serve\"]"
    );
    [
        ALONE,
        "engine.generate=servers",
        "engine.score=servers",
        "servers.dtype=float32",
        "servers.gpus_per_replica=0",
        "servers.replicas=2",
        "servers.request_timeout=20",
        "servers.start_timeout=60",
        &command,
    ]
    .map(str::to_owned)
    .to_vec()
}

fn arguments(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// Records, models and results are those of the built-in engine; keys and metadata name the engine.
#[track_caller]
fn check_same(bench: &Bench, run: &str) {
    fn check<R: Record + PartialEq + std::fmt::Debug>(bench: &Bench, run: &str, stage: &str) {
        let of = |run: &str| records::<R>(&bench.run_folder(run).join(stage));
        assert!(of(run) == of("whole"), "{run}: {stage} differs");
    }
    check::<TraceRecord>(bench, run, "03-traces");
    check::<ScoreRecord>(bench, run, "04-scores");
    check::<AnswerRecord>(bench, run, "05-answers");
    check::<VerdictRecord>(bench, run, "06-verdicts");
    check::<WeightRecord>(bench, run, "07-weights");
    check::<ExampleRecord>(bench, run, "08-dataset");
    check::<ResponseRecord>(bench, run, "10-evaluation/final");
    let model = |run: &str| fs::read(bench.run_folder(run).join("09-final/model.safetensors")).unwrap();
    assert!(model(run) == model("whole"), "{run}: the final model differs");
}

/// Servers are children of supervisors; both have a path of this test's own among their arguments.
fn running(bench: &Bench) -> Vec<String> {
    let marker = std::env::current_exe().unwrap().display().to_string();
    let folder = bench.folder.path().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let name = entry.file_name();
        name.to_string_lossy().parse::<u32>().is_ok_and(|id| id != std::process::id())
    });
    let commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let commands = commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    commands.filter(|command| command.contains(&marker) && command.contains(&folder)).collect()
}

#[track_caller]
fn nothing_runs(bench: &Bench) {
    let limit = Instant::now() + Duration::from_secs(30);
    while !running(bench).is_empty() {
        assert!(Instant::now() < limit, "{:?}", running(bench));
        sleep(Duration::from_millis(20));
    }
}

fn the_same_records(bench: &Bench) {
    let settings = served(0, 0, "passing");
    bench.done("served", &arguments(&settings));
    check_same(bench, "served");
    nothing_runs(bench);
    let drawn = records::<TraceRecord>(&bench.run_folder("served/03-traces-drawn"));
    assert_eq!(drawn, records::<TraceRecord>(&bench.run_folder("whole/03-traces")));
    let summary: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("served/summary.json")).unwrap()).unwrap();
    let mismatch = &summary["diagnostics"]["mismatch"];
    // The fake server is the built-in engine.
    assert_eq!((&mismatch["largest"], &mismatch["mean"]), (&Value::from(0.0), &Value::from(0.0)));
    assert!(mismatch["tokens"].as_u64().unwrap() > 100, "{mismatch}");
    // Again, nothing is to be done; the built-in engine is another one.
    let again = bench.done("served", &[&arguments(&settings)[..], &["--dry-run"]].concat());
    assert!(!again.contains("to be done") && !again.contains("will be redone"), "{again}");
    let wrong = [&arguments(&settings)[..], &["servers.in_flight=0"]].concat();
    bench.refused("served", &wrong, 2, "in_flight: expected at least 1, got 0");
    let built_in = bench.done("served", &[ALONE, "--dry-run"]);
    assert!(built_in.contains("03-traces                        will be redone: engine"), "{built_in}");
}

fn verbs(bench: &Bench) {
    let rows = "{\"id\": 1, \"prompt\": \"20 2\", \"response\": \"+7 -3\"}\n{\"id\": 2, \"prompt\": \"3 9\", \"response\": \"*2\"}\n";
    fs::write(bench.folder.path().join("rows.jsonl"), rows).unwrap();
    let settings = served(0, 0, "passing");
    let engine: Vec<&str> = ["--engine", "servers"]
        .into_iter()
        .chain(
            settings
                .iter()
                .filter(|setting| setting.starts_with("servers."))
                .flat_map(|setting| ["--engine-setting", setting]),
        )
        .collect();
    for verb in [&["sample", "--n", "3", "--max-new-tokens", "8"][..], &["score"]] {
        let written = |out: &str, engine: &[&str]| {
            let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
            command.current_dir(bench.folder.path()).args(verb).args(engine);
            command.args(["--model", "whole/01-initial", "--data", "rows.jsonl", "--out", out]);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            fs::read_to_string(bench.folder.path().join(out)).unwrap()
        };
        let expected = written(&format!("{}.jsonl", verb[0]), &[]);
        assert_eq!(written(&format!("{}-served.jsonl", verb[0]), &engine), expected);
        assert!(expected.lines().count() >= 2);
    }
    nothing_runs(bench);
}

fn passing_faults(bench: &Bench) {
    let settings = served(7, 5, "passing");
    let log = bench.done("passing", &arguments(&settings));
    check_same(bench, "passing");
    nothing_runs(bench);
    assert!(log.contains("retries") || log.contains("attempts"), "{log}");
}

/// About 200 faults in all, with those of [`passing_faults`].
fn any_faults(bench: &Bench) {
    let mut ends = BTreeSet::new();
    for seed in 0..4 {
        let run = format!("faults-{seed}");
        // An error that is final ends one life; the next goes on from what is finished.
        let mut lives = 0;
        loop {
            // Other faults in each life: one at the first request would hit every life.
            let output = bench.run(&run, &arguments(&served(100 * seed + lives, 3, "all")));
            nothing_runs(bench);
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() {
                ends.insert("success".to_owned());
                check_same(bench, &run);
                break;
            }
            assert_eq!(output.status.code(), Some(1), "{stderr}");
            // What happened, at which server and for which row, if it was a row's.
            let cause = stderr.lines().rev().find(|line| line.starts_with("caused by: ")).unwrap_or_default();
            let (_, what) = cause.split_once("vLLM server ").unwrap_or_else(|| panic!("{stderr}"));
            ends.insert(what.chars().skip(1).take(40).collect());
            lives += 1;
            assert!(lives < 60, "{stderr}");
        }
    }
    assert!(ends.len() > 2, "too few kinds of ends: {ends:?}");
}

fn killed(bench: &Bench) {
    let settings = served(0, 0, "passing");
    let mut kills = 0;
    for life in 0.. {
        let mut process = bench.command("killed", &arguments(&settings)).spawn().unwrap();
        // A random share of what a run takes; later lives begin where earlier ones ended.
        let patience = Duration::from_secs_f64(1.0 + 7.0 * unit(draw(11, life)));
        let limit = Instant::now() + patience;
        let mut ended = process.try_wait().unwrap();
        while ended.is_none() && Instant::now() < limit {
            sleep(Duration::from_millis(5));
            ended = process.try_wait().unwrap();
        }
        if let Some(status) = ended {
            assert!(status.success());
            if kills >= 3 {
                break;
            }
            // It was faster than we: begin anew, so that enough kills hit it.
            fs::remove_dir_all(bench.run_folder("killed")).unwrap();
            continue;
        }
        process.kill().unwrap();
        process.wait().unwrap();
        nothing_runs(bench);
        kills += 1;
        assert!(kills < 100);
    }
    assert_same(&bench.run_folder("killed"), &bench.run_folder("served"));
    assert!(bench.run_folder("killed/logs").is_dir());
}
