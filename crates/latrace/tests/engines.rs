//! A whole run on servers: its records are those of the built-in engine, whatever goes wrong on the way, and nothing
//! keeps running. Without a test harness: this binary is the server as well.
#![allow(clippy::unwrap_used, reason = "without a harness, no function is marked as a test")]

#[path = "run/bench.rs"]
mod bench;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bench::{Bench, assert_same, records};
use latrace_core::random::{draw, unit};
use latrace_engine::servers::testing::{FakeOptions, FakeServer, Fault, random_faults};
use latrace_engine::{CpuEngine, child};
use latrace_io::table::Record;
use latrace_run::pipeline::records::{
    AnswerRecord, ExampleRecord, ResponseRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use serde_json::{Value, json};

/// First argument of a process that serves; then the seed of its faults and their share in percent.
const FAKE: &str = "fake";

/// A key that nothing else contains.
const KEY: &str = "sesame-0123456789";

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
    let tests: [Test; 12] = [
        ("a run on servers has the records of the built-in engine", the_same_records),
        ("verbs on servers write what they write on the built-in engine", verbs),
        ("servers by URL are served with one model after another", by_url),
        ("training by torchrun has metrics, and no key is anywhere", trained_by_torchrun),
        ("training by torchrun shows in the status while it is in progress", training_in_progress),
        ("what is not installed is named before any work", not_installed),
        ("a server that makes its numbers up is refused", made_up),
        ("a run that is told to stop says how it resumes", told_to_stop),
        ("a verb that is told to stop says what is kept", verbs_told_to_stop),
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
    let which: &'static [Fault] = match arguments[3].as_str() {
        "passing" => &PASSING,
        "made-up" => &[Fault::Constant],
        _ => &FAULTS,
    };
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

/// What a run or a verb has started: servers, ranks and their supervisors have its folder among their arguments.
fn running(bench: &Bench) -> Vec<String> {
    let folder = bench.folder.path().display().to_string();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let commands = commands.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    commands.filter(|command| command.contains(&folder)).collect()
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
    let log = bench.done("served", &arguments(&settings));
    assert!(log.contains("probed: its scores differ from those of the built-in engine by 0.00e0"), "{log}");
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

/// The options of a verb for its engine, from the settings of a run.
fn engine_options<'a>(engine: &'a str, settings: &'a [String]) -> Vec<&'a str> {
    let of_engine = settings.iter().filter(|setting| setting.starts_with(&format!("{engine}.")));
    let options = of_engine.flat_map(|setting| ["--engine-setting", setting.as_str()]);
    ["--engine", engine].into_iter().chain(options).collect()
}

const ROWS: &str = "{\"id\": 1, \"prompt\": \"20 2\", \"response\": \"+7 -3\"}
{\"id\": 2, \"prompt\": \"3 9\", \"response\": \"*2\"}
";

const TRACES: &str = "{\"id\": 1, \"sample\": 0, \"prompt\": \"20 2\", \"text\": \"+7 -3\"}
{\"id\": 1, \"sample\": 1, \"prompt\": \"20 2\", \"text\": \"*2\"}
";

fn write_rows(bench: &Bench) {
    fs::write(bench.folder.path().join("rows.jsonl"), ROWS).unwrap();
    fs::write(bench.folder.path().join("traces.jsonl"), TRACES).unwrap();
}

/// A verb on the model of the whole run, in a folder for temporary files of its own.
fn verb(bench: &Bench, arguments: &[&str]) -> Command {
    let temporary = bench.folder.path().join("tmp");
    fs::create_dir_all(&temporary).unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    command.current_dir(bench.folder.path()).args(arguments).args(["--model", "whole/01-initial"]);
    command.env("TMPDIR", temporary).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn verbs(bench: &Bench) {
    write_rows(bench);
    let settings = served(0, 0, "passing");
    let engine = engine_options("servers", &settings);
    let written = |verb_arguments: &[&str], out: &str, file: &str, engine: &[&str]| {
        let output = verb(bench, &[verb_arguments, engine, &["--out", out]].concat()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}");
        (fs::read_to_string(bench.folder.path().join(format!("{out}{file}"))).unwrap(), stderr)
    };
    for (arguments, file) in [
        (&["sample", "--data", "rows.jsonl", "--n", "3", "--max-new-tokens", "24"][..], ""),
        (&["score", "--data", "rows.jsonl"], ""),
        (
            &["answer", "--data", "traces.jsonl", "--markers", "plain", "--n", "2", "--max-new-tokens", "8"],
            "",
        ),
        (
            &["eval", "--bench", "walk", "--limit", "4", "--k", "2", "--max-new-tokens", "24"],
            "/responses.jsonl",
        ),
    ] {
        let name = arguments[0];
        let suffix = if file.is_empty() { ".jsonl" } else { "" };
        let (expected, _) = written(arguments, &format!("{name}{suffix}"), file, &[]);
        let (got, log) = written(arguments, &format!("{name}-served{suffix}"), file, &engine);
        assert_eq!(got, expected, "{name}");
        assert!(expected.lines().count() >= 2, "{name}");
        assert!(
            log.contains("probed: its scores differ from those of the built-in engine by 0.00e0"),
            "{log}"
        );
    }
    nothing_runs(bench);
    let left: Vec<_> = fs::read_dir(bench.folder.path().join("tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Starts the servers that a run waits for, as its user does, until it ends; gives its log.
fn serve_by_url(mut run: Child, port: u16, key: &str) -> String {
    let mut log = String::new();
    let mut served: Option<(String, FakeServer)> = None;
    for line in BufReader::new(run.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some((_, command)) = line.split_once(": vllm serve ") {
            let words: Vec<&str> = command.split_whitespace().collect();
            let after = |option: &str| words[words.iter().position(|word| *word == option).unwrap() + 1];
            let name = after("--served-model-name").to_owned();
            if served.as_ref().is_none_or(|(other, _)| *other != name) {
                // Before the next one takes its port.
                drop(served.take());
                let options = FakeOptions {
                    name: Some(name.clone()),
                    port,
                    key: Some(key.to_owned()),
                    ..FakeOptions::default()
                };
                let engine = Box::new(CpuEngine::default());
                served = Some((name, FakeServer::start(engine, Path::new(words[0]), options).unwrap()));
            }
        }
        log += &line;
        log.push('\n');
    }
    assert!(run.wait().unwrap().success(), "{log}");
    log
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn by_url(bench: &Bench) {
    let port = free_port();
    let url = format!("servers.urls=[\"http://127.0.0.1:{port}\"]");
    let settings = [
        ALONE,
        "engine.generate=servers",
        "engine.score=servers",
        "servers.dtype=float32",
        "servers.start_timeout=60",
        &url,
    ];
    let mut command = bench.command("by-url", &[&settings[..], &["--log-level", "trace"]].concat());
    command.env("LATRACE_SERVER_KEY", KEY).stdout(Stdio::null());
    let log = serve_by_url(command.spawn().unwrap(), port, KEY);
    check_same(bench, "by-url");
    assert!(!log.contains(KEY), "the key is in the log");
    key_is_nowhere(&bench.run_folder("by-url"));
    let record: Value =
        serde_json::from_slice(&fs::read(bench.run_folder("by-url/03-traces-drawn/stage.json")).unwrap())
            .unwrap();
    let expected = json!([{"kind": "vllm", "version": "0.0.0", "max_model_len": 96}]);
    assert_eq!(record["servers"], expected);
    assert!(!record["key"].to_string().contains("0.0.0"), "{}", record["key"]);
}

#[track_caller]
fn key_is_nowhere(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            key_is_nowhere(&path);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let has_key = bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes());
        assert!(!has_key, "{}", path.display());
    }
}

/// In place of ranks: reports the updates of the plan, takes the models of the whole run, and logs its environment.
/// Hangs after the update `last`.
fn fake_ranks(bench: &Bench, last: u64) -> String {
    let script = bench.folder.path().join(format!("ranks-{last}.sh"));
    let text = format!(
        r#"set -e
env
work=$(dirname "$2")
say() {{ echo "$1" >> "$work/events.jsonl"; }}
say '{{"event": "started", "ranks": 2, "device": "cpu", "torch": "2", "transformers": "5"}}'
total=$(sed -n 's/.*"total_updates": \([0-9]*\).*/\1/p' "$2")
for number in $(seq "$total"); do
    say "{{\"event\": \"update\", \"number\": $number, \"loss\": $number.5, \"grad_norm\": 0.25, \"seconds\": 2.0, \"peak_memory_bytes\": 7}}"
    [ "$number" != {last} ] || sleep 600
done
mkdir "$work/model"
cp "{}/$(basename "$(dirname "$work")")/model.safetensors" "$work/model/"
say '{{"event": "saved"}}'
"#,
        bench.run_folder("whole").display()
    );
    fs::write(&script, text).unwrap();
    format!("torchrun.launch=[\"sh\", \"{}\"]", script.display())
}

fn trained_by_torchrun(bench: &Bench) {
    let ranks = fake_ranks(bench, 0);
    let mut settings = served(0, 0, "passing");
    // Its environment goes into its log.
    let this = std::env::current_exe().unwrap().display().to_string();
    let command = settings.iter_mut().find(|setting| setting.starts_with("servers.command")).unwrap();
    *command = command
        .replace(&format!("[\"{this}\""), &format!(r#"["sh", "-c", "env; exec \"$0\" \"$@\"", "{this}""#));
    let settings =
        [arguments(&settings), vec!["engine.train=torchrun", "torchrun.dtype=f32", &ranks]].concat();
    let mut run = bench.command("torchrun", &settings);
    let output = run.env("LATRACE_SERVER_KEY", KEY).env("LATRACE_OTHER", "there").output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    check_same(bench, "torchrun");
    nothing_runs(bench);
    let folder = bench.run_folder("torchrun");
    // What is looked for would be there.
    for file in ["01-initial/torchrun/worker.log", "logs/vllm-0.log"] {
        assert!(fs::read_to_string(folder.join(file)).unwrap().contains("LATRACE_OTHER=there"), "{file}");
    }
    key_is_nowhere(&folder);
    let worker_log = folder.join("01-initial/torchrun/worker.log").canonicalize().unwrap();
    assert!(
        log.contains("starting sh ") && log.contains(&format!("its log is {}", worker_log.display())),
        "{log}"
    );
    let metrics = fs::read_to_string(folder.join("01-initial/metrics.jsonl")).unwrap();
    let last: Value = serde_json::from_str(metrics.lines().last().unwrap()).unwrap();
    assert_eq!((&last["step"], &last["loss"]), (&json!(30), &json!(30.5)));
    let events = fs::read_dir(folder.join("01-initial")).unwrap().map(|entry| entry.unwrap());
    let events = events.filter(|entry| entry.file_name().to_string_lossy().starts_with("events.out."));
    let events: Vec<_> = events.map(|entry| fs::read(entry.path()).unwrap()).collect();
    assert!(
        events.len() == 1 && events[0].len() > 30 * 50,
        "{:?}",
        events.iter().map(Vec::len).collect::<Vec<_>>()
    );
}

fn training_in_progress(bench: &Bench) {
    let ranks = fake_ranks(bench, 12);
    let mut run = bench.command("training", &[ALONE, "engine.train=torchrun", &ranks]).spawn().unwrap();
    let metrics = bench.run_folder("training/01-initial/metrics.jsonl");
    let limit = Instant::now() + Duration::from_secs(60);
    while fs::read_to_string(&metrics).unwrap_or_default().lines().count() < 12 {
        assert!(Instant::now() < limit, "no metrics in {}", metrics.display());
        sleep(Duration::from_millis(20));
    }
    let mut status = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    let status = status.arg("status").arg(bench.run_folder("training")).output().unwrap();
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    let training = status.lines().find(|line| line.contains("01-initial")).unwrap();
    assert!(training.contains("running") && training.contains("12/30 updates"), "{status}");
    run.kill().unwrap();
    run.wait().unwrap();
    nothing_runs(bench);
}

fn not_installed(bench: &Bench) {
    let generate = "engine.generate=servers";
    for (settings, expected) in [
        (&[generate, "servers.command=[\"no-such-vllm\", \"serve\"]"][..], "uv pip install vllm"),
        (
            &["engine.train=torchrun", "torchrun.launch=[\"no-such-torchrun\"]"],
            "uv pip install torch transformers",
        ),
    ] {
        bench.refused("lacking", settings, 1, expected);
        bench.refused("lacking", settings, 1, "there is no program \"no-such-");
        let left: Vec<_> =
            fs::read_dir(bench.run_folder("lacking")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("0")), "{left:?}");
    }
    // What starts no server needs none.
    let whole =
        bench.done("whole", &[ALONE, "engine.train=cpu", "servers.command=[\"no-such-vllm\", \"serve\"]"]);
    assert!(!whole.contains("no-such-vllm"), "{whole}");
}

fn made_up(bench: &Bench) {
    write_rows(bench);
    let settings = served(0, 100, "made-up");
    for dtype in ["float32", "auto", "bfloat16"] {
        let dtype = format!("servers.dtype={dtype}");
        let engine = [engine_options("servers", &settings), vec!["--engine-setting", &dtype]].concat();
        let output =
            verb(bench, &[&["score", "--data", "rows.jsonl"], &engine[..]].concat()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("its weights are not those of"), "{stderr}");
    }
    nothing_runs(bench);
}

/// Sends SIGTERM once the log has a text; gives the exit code and the whole log.
fn told(mut child: Child, at: &str) -> (Option<i32>, String) {
    let (mut log, mut is_told) = (String::new(), false);
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        log += &(line.unwrap() + "\n");
        if !is_told && log.contains(at) {
            is_told = true;
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        }
    }
    (child.wait().unwrap().code(), log)
}

fn told_to_stop(bench: &Bench) {
    let settings = served(0, 0, "passing");
    let ranks = "torchrun.launch=[\"sh\", \"-c\", \"sleep 600; true\"]";
    let training = [ALONE, "engine.train=torchrun", ranks];
    for (name, settings, at) in [
        ("stop-starting", arguments(&settings), "starting at http"),
        ("stop-serving", arguments(&settings), "probed: "),
        ("stop-training", training.to_vec(), "its log is "),
    ] {
        let mut run = bench.command(name, &settings);
        let words: Vec<String> = [run.get_program()]
            .into_iter()
            .chain(run.get_args())
            .map(|word| word.to_str().unwrap().to_owned())
            .collect();
        let (code, log) = told(run.spawn().unwrap(), at);
        // At once: nothing may run when it has ended.
        assert_eq!(running(bench), Vec::<String>::new(), "{name}");
        assert_eq!(code, Some(130), "{log}");
        let resumes = format!(
            "; {name} keeps what is finished: parts, samples, checkpoints. The same command resumes: {}\n",
            child::shell_line(&words)
        );
        assert!(log.ends_with(&resumes), "expected {resumes:?} in {log}");
        let last = log.lines().next_back().unwrap();
        assert!(last.starts_with("stopped in stage "), "{last}");
        assert!(!log.contains("error: "), "{log}");
    }
}

fn verbs_told_to_stop(bench: &Bench) {
    write_rows(bench);
    let settings = served(0, 0, "passing");
    let engine = engine_options("servers", &settings);
    for (arguments, kept) in [
        (&["sample", "--data", "rows.jsonl", "--out", "told.jsonl"][..], "told.jsonl keeps finished samples"),
        (&["sample", "--data", "rows.jsonl"], "nothing is kept"),
        (
            &["answer", "--data", "traces.jsonl", "--markers", "plain", "--out", "told-answers.jsonl"],
            "told-answers.jsonl keeps",
        ),
        (&["score", "--data", "rows.jsonl", "--out", "told-scores.jsonl"], "nothing is kept"),
        (
            &["eval", "--bench", "walk", "--limit", "4", "--out", "told-eval"],
            "told-eval keeps finished samples",
        ),
    ] {
        let (code, log) =
            told(verb(bench, &[arguments, &engine].concat()).spawn().unwrap(), "starting at http");
        assert_eq!(running(bench), Vec::<String>::new(), "{arguments:?}");
        assert_eq!(code, Some(130), "{log}");
        let last = log.lines().next_back().unwrap();
        assert!(last.starts_with("stopped") && last.contains(&format!("; {kept}")), "{last}");
        assert!(!log.contains("error: "), "{log}");
    }
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
