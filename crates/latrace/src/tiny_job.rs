//! A tiny job through an engine, to see that it works here: scores, and samples where it draws any, compared with the
//! built-in engine's.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use latrace_core::SamplingParams;
use latrace_engine::boundary::{Request, ScoreRow, StopTexts};
use latrace_engine::cpu::{SaveDtype, save_random};
use latrace_engine::sampling::generate_all;
use latrace_engine::scoring::score_all;
use latrace_engine::{CpuEngine, Engine};
use latrace_questions::tasks::Task;
use latrace_run::stages::model::write_shape;
use serde_json::json;

/// Differences of log-probs that no data type explains (nats): bf16 differs by up to 0.12 a token from f32.
const SUSPICIOUS: f32 = 0.5;

/// Scores with an engine, and samples if it `samples`; gives what came out, in words.
///
/// # Errors
/// Those of the engine; log-probs of another model.
pub fn try_engine(engine: &dyn Engine, samples: bool) -> Result<String> {
    let folder = tempfile::tempdir().context("cannot make a folder for the model")?;
    let model = folder.path().join("tiny");
    make_model(&model)?;
    let expected = score(&CpuEngine::default(), &model)?;
    let started = Instant::now();
    let got = score(engine, &model)?;
    let pairs = expected.iter().flatten().zip(got.iter().flatten());
    let largest = pairs.map(|(expected, got)| (expected - got).abs()).fold(0.0, f32::max);
    ensure!(largest < SUSPICIOUS, "its log-probs differ from the built-in engine's by {largest} nats");
    let drawn = if samples { format!(", {} tokens sampled", sample(engine, &model)?) } else { String::new() };
    Ok(format!(
        "works: rows scored{drawn} in {:.1} s, log-probs within {largest:.1e} nats of the built-in engine's",
        started.elapsed().as_secs_f64()
    ))
}

fn make_model(folder: &Path) -> Result<()> {
    fs::create_dir(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let shape = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32,
        "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    write_shape(folder, shape, &Task::Walk.tokenizer())?;
    save_random(folder, 0, SaveDtype::F32, folder)?;
    Ok(())
}

fn score(engine: &dyn Engine, model: &Path) -> Result<Vec<Vec<f32>>> {
    let row = |first: u32| ScoreRow { prompt: vec![first, first + 1], response: vec![5, 6, 7, first] };
    score_all(&mut *engine.scorer(model)?, (1..4).map(row).collect())
}

/// Draws a few samples, and gives the number of their tokens.
fn sample(engine: &dyn Engine, model: &Path) -> Result<usize> {
    let request = Request {
        prompt: vec![1, 2, 3],
        seeds: vec![1, 2],
        params: SamplingParams::plain(8),
        stop_ids: Vec::new(),
        stop_texts: StopTexts::default(),
    };
    let drawn = generate_all(&mut *engine.generator(model)?, vec![request])?;
    Ok(drawn.iter().flatten().map(|completion| completion.ids.len()).sum())
}
