//! A tiny job through an engine, to see that it works here: samples, scores and a training, compared with the built-in
//! engine's.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use latrace_core::SamplingParams;
use latrace_engine::boundary::{FitJob, Request, ScoreRow, StopTexts};
use latrace_engine::cpu::{SaveDtype, save_random};
use latrace_engine::sampling::generate_all;
use latrace_engine::scoring::score_all;
use latrace_engine::{CpuEngine, Engine, EngineRole, Event, TrainConfig, TrainRow, Weights};
use latrace_questions::tasks::Task;
use latrace_run::stages::model::write_shape;
use serde_json::json;

/// Differences of log-probs that no data type explains (nats): bf16 differs by up to 0.12 a token from f32.
const SUSPICIOUS: f32 = 0.5;

/// Sends a tiny job of each of `roles` through an engine; gives what came out, in words.
///
/// # Errors
/// Those of the engine; log-probs or losses of another model.
pub fn try_engine(engine: &dyn Engine, roles: &[EngineRole]) -> Result<String> {
    let folder = tempfile::tempdir().context("cannot make a folder for the model")?;
    let model = folder.path().join("tiny");
    make_model(&model)?;
    let started = Instant::now();
    let done: Vec<String> =
        roles.iter().map(|role| try_role(engine, *role, &model, folder.path())).collect::<Result<_>>()?;
    Ok(format!("works: {}, in {:.1} s", done.join("; "), started.elapsed().as_secs_f64()))
}

fn try_role(engine: &dyn Engine, role: EngineRole, model: &Path, scratch: &Path) -> Result<String> {
    let built_in = CpuEngine::default();
    match role {
        EngineRole::Generate => Ok(format!("{} tokens sampled", sample(engine, model)?)),
        EngineRole::Score => {
            let largest = largest_difference(&score(&built_in, model)?, &score(engine, model)?);
            ensure!(
                largest < SUSPICIOUS,
                "its log-probs differ from the built-in engine's by {largest} nats"
            );
            Ok(format!("rows scored, within {largest:.1e} nats of the built-in engine"))
        }
        EngineRole::Train => {
            let expected = train(&built_in, model, &scratch.join("built-in"))?;
            let largest = largest_difference(&[expected], &[train(engine, model, &scratch.join("tried"))?]);
            ensure!(largest < SUSPICIOUS, "its losses differ from the built-in engine's by {largest} nats");
            Ok(format!("a model trained, losses within {largest:.1e} nats of the built-in engine's"))
        }
    }
}

fn largest_difference(expected: &[Vec<f32>], got: &[Vec<f32>]) -> f32 {
    let pairs = expected.iter().flatten().zip(got.iter().flatten());
    pairs.map(|(expected, got)| (expected - got).abs()).fold(0.0, f32::max)
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

/// The losses of two updates.
fn train(engine: &dyn Engine, model: &Path, out: &Path) -> Result<Vec<f32>> {
    fs::create_dir(out).with_context(|| format!("cannot make {}", out.display()))?;
    let row = |first: u32| TrainRow {
        id: first.to_string(),
        tokens: vec![first, first + 1, 5, 6, 7],
        prompt_len: 2,
        weights: Weights::Row(1.0),
        policy: None,
    };
    let rows: Vec<TrainRow> = (1..5).map(row).collect();
    let config = TrainConfig { max_steps: Some(2), batch_size: rows.len(), ..TrainConfig::default() };
    let mut losses = Vec::new();
    let job = FitJob { model, rows: &rows, config: &config, out, resume: false };
    engine.trainer()?.fit(job, &mut |event| {
        if let Event::Step(metrics) = event {
            losses.push(metrics.loss as f32);
        }
        Ok(())
    })?;
    ensure!(losses.len() == 2, "expected two updates, got {}", losses.len());
    Ok(losses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_engine_does_every_job() {
        let roles = [EngineRole::Generate, EngineRole::Score, EngineRole::Train];
        let found = try_engine(&CpuEngine::default(), &roles).unwrap();
        for part in ["16 tokens sampled", "rows scored, within 0.0e0", "a model trained, losses within 0.0e0"]
        {
            assert!(found.contains(part), "{part:?} in {found}");
        }
    }
}
