//! Servers that are started, restarted and stopped, with the fake server as the program. Without a test
//! harness: this binary is the server and its supervisor as well.
#![allow(clippy::unwrap_used, reason = "without a harness, no function is marked as a test")]

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use latrace_core::SamplingParams;
use latrace_engine::boundary::{Completion, Request, ServerNote, StopTexts};
use latrace_engine::cpu::{CpuEngine, SaveDtype, save_random};
use latrace_engine::sampling::generate_all;
use latrace_engine::servers::testing::{FakeOptions, FakeServer, Fault, fault_at, faultless};
use latrace_engine::servers::{ServerError, ServersConfig, ServersEngine};
use latrace_engine::{Engine, EngineRole, child, hint_of};

/// First argument of a process that serves; then the number of the request at which it dies.
const FAKE: &str = "fake";

/// A number that no request has.
const NEVER: u64 = u64::MAX;

/// Requests of the probe of a server.
const PROBE: u64 = 7;

/// A name, and a test with a model.
type Test = (&'static str, fn(&Path));

fn main() -> ExitCode {
    if let Some(code) = child::hidden() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == FAKE) {
        return serve(&arguments);
    }
    let tests: [Test; 8] = [
        ("servers are started, used and stopped", started_and_stopped),
        ("a server that dies is started again", started_again),
        ("a server that dies each time is given up, with its last lines", given_up),
        ("a server that does not start says why", not_started),
        ("a program that is not installed is named, with what to install", missing),
        ("a port that another process takes is not tried again", taken_port),
        ("a server that finds every port taken is given up", taken_ports),
        ("servers that are deaf to polite signals are stopped together", stopped_together),
    ];
    let model = tempfile::tempdir().unwrap();
    make_model(model.path());
    for (name, test) in tests {
        test(model.path());
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}

/// Serves until it is stopped; the number of the request at which it dies comes first.
fn serve(arguments: &[String]) -> ExitCode {
    let dies_at: u64 = arguments[1].parse().unwrap();
    println!("fake server: {arguments:?}");
    if dies_at == 0 {
        eprintln!("torch.OutOfMemoryError: CUDA out of memory");
        return ExitCode::FAILURE;
    }
    let faults = if dies_at == NEVER { faultless() } else { fault_at(Fault::Die, [dies_at]) };
    let options = FakeOptions { faults, ..FakeOptions::default() };
    let failed = FakeServer::serve(Box::new(CpuEngine::default()), arguments, options);
    eprintln!("{failed:?}");
    ExitCode::FAILURE
}

fn make_model(folder: &Path) {
    let config = r#"{"architectures": ["Qwen3ForCausalLM"], "hidden_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 24,
        "vocab_size": 100, "max_position_embeddings": 96, "eos_token_id": 0, "initializer_range": 0.5}"#;
    fs::write(folder.join("config.json"), config).unwrap();
    save_random(folder, 3, SaveDtype::F32, folder).unwrap();
}

/// An engine whose servers die at that request, and the folder of their logs.
fn engine(dies_at: u64, replicas: usize) -> (ServersEngine, tempfile::TempDir) {
    engine_behind(&[], dies_at, replicas)
}

/// The same, with words before the command.
fn engine_behind(before: &[&str], dies_at: u64, replicas: usize) -> (ServersEngine, tempfile::TempDir) {
    let logs = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap().display().to_string();
    // With a word `serve`, after which the model is the first argument.
    let own = [this, FAKE.to_owned(), dies_at.to_string(), "serve".to_owned()];
    let config = ServersConfig {
        command: before.iter().map(|&word| word.to_owned()).chain(own).collect(),
        dtype: "float32".to_owned(),
        replicas,
        gpus_per_replica: 0,
        in_flight: 4,
        start_timeout: 60,
        ..ServersConfig::default()
    };
    (ServersEngine::new(config, logs.path()).unwrap(), logs)
}

fn requests() -> Vec<Request> {
    let request = |number: u32| Request {
        prompt: vec![number, 2, 3],
        seeds: vec![1, 2, 3],
        params: SamplingParams::plain(6),
        stop_ids: vec![0],
        stop_texts: StopTexts::default(),
    };
    (0..10).map(request).collect()
}

fn expected(model: &Path) -> Vec<Vec<Completion>> {
    generate_all(&mut *CpuEngine::default().generator(model).unwrap(), requests()).unwrap()
}

/// The samples, and what the generator remarks on them.
fn drawn(engine: &ServersEngine, model: &Path) -> Result<(Vec<Vec<Completion>>, String)> {
    let mut generator = engine.generator(model)?;
    let samples = generate_all(&mut *generator, requests())?;
    Ok((samples, generator.remarks()))
}

fn logs_in(folder: &Path) -> Vec<(PathBuf, String)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = paths.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    logs.sort();
    logs
}

/// The ports that servers were started at.
fn ports(log: &str) -> Vec<u16> {
    let commands = log.lines().filter(|line| line.starts_with("$ "));
    let words = commands.map(|line| line.split_whitespace().collect::<Vec<_>>());
    words
        .map(|words| words[words.iter().position(|word| *word == "--port").unwrap() + 1].parse().unwrap())
        .collect()
}

#[track_caller]
fn nothing_runs(logs: &tempfile::TempDir) {
    for (path, log) in logs_in(logs.path()) {
        for port in ports(&log) {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{} still serves", path.display());
        }
    }
}

fn started_and_stopped(model: &Path) {
    let (engine, logs) = engine(NEVER, 2);
    assert_eq!(drawn(&engine, model).unwrap().0, expected(model));
    let note =
        ServerNote { kind: "vllm".to_owned(), version: Some("0.0.0".to_owned()), max_model_len: Some(96) };
    assert_eq!(engine.take_server_notes(), [note], "once for both");
    assert_eq!(engine.take_server_notes(), []);
    nothing_runs(&logs);
    let written = logs_in(logs.path());
    assert_eq!(written.len(), 2, "{written:?}");
    for (path, log) in written {
        assert!(path.file_name().unwrap().to_string_lossy().starts_with("vllm-"), "{}", path.display());
        for part in [
            "--generation-config vllm",
            "--logprobs-mode raw_logprobs",
            "--max-model-len 96",
            "--dtype float32",
        ] {
            assert!(log.contains(part), "{part}: {log}");
        }
    }
}

fn started_again(model: &Path) {
    let (engine, logs) = engine(PROBE + 12, 1);
    let (samples, remarks) = drawn(&engine, model).unwrap();
    assert_eq!(samples, expected(model));
    // 30 requests, of which it answers 5 and 12 after a start: the probe of a restart is shorter.
    assert!(remarks.contains("restarts of servers") && !remarks.contains(" 0 restarts"), "{remarks}");
    nothing_runs(&logs);
}

fn given_up(model: &Path) {
    let (engine, logs) = engine(PROBE, 1);
    let error = format!("{:#}", drawn(&engine, model).unwrap_err());
    assert!(error.contains("it was restarted 3 times"), "{error}");
    assert!(error.contains("fake server: dying as told"), "{error}");
    nothing_runs(&logs);
}

fn not_started(model: &Path) {
    let (engine, logs) = engine(0, 2);
    let started = Instant::now();
    let error = format!("{:#}", drawn(&engine, model).unwrap_err());
    assert!(error.contains("it has ended before it was ready: exit code 1"), "{error}");
    assert!(error.contains("CUDA out of memory"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
    nothing_runs(&logs);
}

fn missing(model: &Path) {
    let logs = tempfile::tempdir().unwrap();
    let refused = |command: &[&str]| {
        let command = command.iter().map(|&word| word.to_owned()).collect();
        let config = ServersConfig { command, ..ServersConfig::default() };
        let engine = ServersEngine::new(config, logs.path()).unwrap();
        let error = engine.check_installed(EngineRole::Score).unwrap_err();
        assert_eq!(drawn(&engine, model).unwrap_err().to_string(), error.to_string());
        let hint = hint_of(error.downcast_ref::<ServerError>().unwrap()).unwrap();
        assert!(hint.contains("uv pip install vllm"), "{hint}");
        error.to_string()
    };
    let error = refused(&["/no/such/vllm", "serve"]);
    assert!(error.contains("`/no/such/vllm serve` (servers.command): there is no program"), "{error}");
    let error = refused(&["env", "A=1", "no-such-python", "-m", "vllm.entrypoints.openai.api_server"]);
    assert!(error.contains("there is no program \"no-such-python\""), "{error}");
    assert_eq!(logs_in(logs.path()), []);
}

/// Fails as vLLM does where its port is in use, at the first `times` starts.
fn behind_taken_ports(times: usize, marks: &Path) -> [String; 3] {
    let script = format!(
        "echo >> {0}; if [ $(wc -l < {0}) -le {times} ]; then \
         echo 'OSError: [Errno 98] error while attempting to bind on address: address already in use' >&2; exit 1; \
         fi; exec \"$0\" \"$@\"",
        marks.display()
    );
    ["sh".to_owned(), "-c".to_owned(), script]
}

/// An engine whose server finds its port taken at the first starts, and the folder of its logs.
fn engine_at_taken_ports(times: usize, marks: &Path) -> (ServersEngine, tempfile::TempDir) {
    let before = behind_taken_ports(times, marks);
    engine_behind(&before.each_ref().map(String::as_str), NEVER, 1)
}

fn taken_port(model: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (engine, logs) = engine_at_taken_ports(2, &folder.path().join("marks"));
    assert_eq!(drawn(&engine, model).unwrap().0, expected(model));
    let tried = ports(&logs_in(logs.path())[0].1);
    assert_eq!(tried.len(), 3);
    assert!(tried[0] != tried[1] && tried[1] != tried[2], "{tried:?}");
    nothing_runs(&logs);
}

fn taken_ports(model: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let (engine, logs) = engine_at_taken_ports(100, &folder.path().join("marks"));
    let error = format!("{:#}", drawn(&engine, model).unwrap_err());
    assert!(error.contains("address already in use"), "{error}");
    assert_eq!(ports(&logs_in(logs.path())[0].1).len(), 3);
    nothing_runs(&logs);
}

fn stopped_together(model: &Path) {
    let deaf = "trap '' TERM; \"$0\" \"$@\"";
    let (engine, logs) = engine_behind(&["sh", "-c", deaf], NEVER, 3);
    let generator = engine.generator(model).unwrap();
    let started = Instant::now();
    drop(generator);
    assert!(started.elapsed() < child::GRACE + Duration::from_secs(4), "{:?}", started.elapsed());
    nothing_runs(&logs);
    // Of servers that are ready when another fails, too.
    let folder = tempfile::tempdir().unwrap();
    let first_fails = format!(
        "trap '' TERM; if mkdir {}; then sleep 3; exit 1; fi; \"$0\" \"$@\"",
        folder.path().join("first").display()
    );
    let (engine, logs) = engine_behind(&["sh", "-c", &first_fails], NEVER, 3);
    let started = Instant::now();
    assert!(engine.generator(model).is_err());
    let limit = Duration::from_secs(3) + child::GRACE + Duration::from_secs(4);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    nothing_runs(&logs);
}
