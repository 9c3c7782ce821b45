//! Samples through servers against what the servers could do: `cargo bench -p latrace-engine --bench
//! servers`.
//!
//! 10,000 samples in parts of 64 prompts with 4 samples, drawn through the sampling loop of the stages from
//! two fake servers that take 20 ms a token. Prints the time beside that of two servers whose places are
//! never empty while a sample waits: the end, when fewer samples are left than places, is the same for both.
//! Nothing is asserted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use latrace_core::SamplingParams;
use latrace_engine::Engine;
use latrace_engine::boundary::{Completion, ModelShape, StopTexts};
use latrace_engine::cpu::{SaveDtype, save_random};
use latrace_engine::random::Random;
use latrace_engine::sampling::{PartSamples, Prompt, SampleJob, draw_parts};
use latrace_engine::servers::testing::{FakeOptions, FakeServer};
use latrace_engine::servers::{ServersConfig, ServersEngine};

/// Questions of a part, samples of each, and parts: 10,000 samples and a few.
const PROMPTS: u32 = 64;
const SAMPLES: u64 = 4;
const PARTS: usize = 40;

const TOKEN_TIME: Duration = Duration::from_millis(20);

/// Most tokens of a sample, and the end of about one in 40.
const LIMIT: usize = 100;
const END: u32 = 12;

/// Tokens of each sample, by part, in the order of the samples.
#[derive(Default)]
struct Prompts(Mutex<BTreeMap<usize, Vec<usize>>>);

impl PartSamples for Prompts {
    type Of = ();

    fn read(&self, part: usize) -> Result<Vec<((), Prompt)>> {
        let prompt = |at: u32| {
            let number = part as u32 * PROMPTS + at;
            // A template's beginning, and a question.
            let ids = (0..20).chain([20 + number % 30, number / 30 % 50, number / 1500]).collect();
            ((), Prompt::keyed(number.to_string(), ids))
        };
        Ok((0..PROMPTS).map(prompt).collect())
    }

    fn write(&self, part: usize, samples: Vec<((), Vec<Completion>)>) -> Result<()> {
        let tokens = samples.iter().flat_map(|(_, samples)| samples).map(|sample| sample.ids.len()).collect();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, tokens);
        Ok(())
    }
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let model = make_model(folder.path())?;
    let random = Random {
        shape: ModelShape { vocabulary_size: 50, positions: 200, end_ids: vec![0] },
        ids: 10..50,
        length: LIMIT + 1,
        closing_id: 5,
        answers: Vec::new(),
    };
    let options = || FakeOptions { token_time: TOKEN_TIME, ..FakeOptions::default() };
    let servers = [
        FakeServer::start(Box::new(random.clone()), &model, options())?,
        FakeServer::start(Box::new(random), &model, options())?,
    ];
    for in_flight in [32, 128] {
        measure(&servers, in_flight, &model, folder.path())?;
    }
    Ok(())
}

fn measure(servers: &[FakeServer; 2], in_flight: usize, model: &Path, folder: &Path) -> Result<()> {
    let urls = servers.iter().map(|server| server.url().to_owned()).collect();
    let config = ServersConfig { urls, in_flight, ..ServersConfig::default() };
    let engine = ServersEngine::new(config, folder)?;
    let job = SampleJob {
        stage: "bench",
        seed: 1,
        n: SAMPLES,
        params: SamplingParams::plain(LIMIT),
        stop_ids: vec![0, END],
        stop_texts: StopTexts::default(),
    };
    let generator = engine.generator(model)?;
    let started = Instant::now();
    // Fewer places: fewer parts, or it takes minutes.
    let parts = (0..PARTS * in_flight / 128).collect();
    let prompts = Prompts::default();
    let spent = draw_parts(&job, parts, 0, folder, &prompts, || Ok(generator))?;
    let seconds = started.elapsed().as_secs_f64();
    let tokens = prompts.0.into_inner().unwrap_or_else(PoisonError::into_inner);
    let best = makespan(tokens.into_values().flatten(), 2 * in_flight) as f64 * TOKEN_TIME.as_secs_f64();
    println!(
        "{in_flight} requests at a time for each of 2 servers: {} samples, {} tokens in {seconds:.1} s; \
         the servers could do it in {best:.1} s: {:.1} %",
        spent.samples,
        spent.tokens,
        100.0 * best / seconds
    );
    Ok(())
}

/// When the last of these samples ends, each of which begins as soon as one of `places` is free.
fn makespan(tokens: impl Iterator<Item = usize>, places: usize) -> usize {
    let mut free: BinaryHeap<Reverse<usize>> = (0..places).map(|_| Reverse(0)).collect();
    let mut last = 0;
    for tokens in tokens {
        let Reverse(begin) = free.pop().unwrap_or(Reverse(0));
        last = last.max(begin + tokens);
        free.push(Reverse(begin + tokens));
    }
    last
}

fn make_model(folder: &Path) -> Result<std::path::PathBuf> {
    let model = folder.join("model");
    std::fs::create_dir(&model)?;
    let config = r#"{"architectures": ["Qwen3ForCausalLM"], "hidden_size": 16, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4, "intermediate_size": 24,
        "vocab_size": 50, "max_position_embeddings": 200, "eos_token_id": 0}"#;
    std::fs::write(model.join("config.json"), config)?;
    save_random(&model, 1, SaveDtype::F32, &model)?;
    Ok(model)
}
