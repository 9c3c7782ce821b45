//! Rows, settings and runs that all tests share.

use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_engine::boundary::{Fit, FitJob};
use latrace_engine::torchrun::{TorchrunConfig, TorchrunEngine};
use latrace_engine::{CpuEngine, Engine, Policy, RowSource, TrainConfig, TrainRow, Weights, hint_of};
use latrace_io::failure::Failure;
use latrace_lm::{Event, Metrics};
use tempfile::TempDir;

pub fn engine(config: TorchrunConfig) -> TorchrunEngine {
    TorchrunEngine::new(config, &scoring_folder()).unwrap()
}

/// Where scorers leave their logs.
pub fn scoring_folder() -> PathBuf {
    std::env::temp_dir().join(format!("latrace-torchrun-test-{}", std::process::id()))
}

pub fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../latrace-lm/tests/golden").join(case)
}

/// Random numbers enough for tests.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn share(&mut self) -> f32 {
        self.below(1000) as f32 / 1000.0
    }
}

/// Rows of several lengths and of all ids, the padding token too; weights differ by row, and in every other row by token, some of them 0.
pub fn rows() -> Vec<TrainRow> {
    let mut numbers = Numbers(7);
    let row = |place: usize| {
        let (prompt_len, response) = (1 + numbers.below(6) as usize, 2 + numbers.below(18) as usize);
        let weights = if place.is_multiple_of(2) {
            Weights::Row(0.25 + 2.0 * numbers.share())
        } else {
            Weights::PerToken(
                (0..response).map(|t| if t % 3 == 1 { 0.0 } else { 2.0 * numbers.share() }).collect(),
            )
        };
        TrainRow {
            id: format!("row {place}"),
            tokens: (0..prompt_len + response).map(|_| numbers.below(61) as u32).collect(),
            prompt_len,
            weights,
            policy: None,
        }
    };
    (0..10).map(row).collect()
}

/// Rows with advantages of both signs and old log-probs on both sides of the clipping.
pub fn policy_rows() -> Vec<TrainRow> {
    let mut numbers = Numbers(8);
    let mut rows = rows();
    for (place, row) in rows.iter_mut().enumerate() {
        let response = row.response_len();
        let advantages = if place.is_multiple_of(2) {
            Weights::Row(numbers.share() * 2.0 - 1.0)
        } else {
            Weights::PerToken((0..response).map(|_| numbers.share() * 2.0 - 1.0).collect())
        };
        // Of a fresh model, log p is about -ln 61.
        let old_logp = (0..response).map(|_| -4.11 + 0.6 * (numbers.share() - 0.5)).collect();
        row.policy = Some(Policy { advantages, given: 1..2, old_logp });
    }
    rows
}

/// Six updates of four rows, the last of each pass over the data of two.
pub fn settings() -> TrainConfig {
    TrainConfig {
        learning_rate: 3e-3,
        warmup_ratio: 0.3,
        epochs: 2,
        batch_size: 4,
        weight_decay: 0.1,
        decay_norms_and_biases: false,
        clip_norm: 0.5,
        checkpoint_every: 0,
        seed: 3,
        ..TrainConfig::default()
    }
}

/// What a run reported.
#[derive(Default)]
pub struct Run {
    pub steps: Vec<Metrics>,
    pub resumed_from: Option<u64>,
    pub checkpoints: Vec<u64>,
    pub finished: bool,
}

impl Run {
    pub fn observe(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Started { resumed_from, .. } => self.resumed_from = resumed_from,
            Event::Step(metrics) => self.steps.push(metrics),
            Event::Checkpoint { step } => self.checkpoints.push(step),
            Event::NothingToDo => {}
            Event::Finished => self.finished = true,
        }
        Ok(())
    }
}

pub fn train(
    trainer: &mut dyn Fit,
    model: &Path,
    rows: &dyn RowSource,
    config: &TrainConfig,
    out: &Path,
) -> Run {
    let mut run = Run::default();
    let job = FitJob { model, rows, config, out, resume: false };
    trainer.fit(job, &mut |event| run.observe(event)).unwrap();
    assert!(run.finished);
    run
}

pub fn train_cpu(model: &Path, rows: &dyn RowSource, config: &TrainConfig) -> (Run, TempDir) {
    let out = tempfile::tempdir().unwrap();
    let run = train(&mut *CpuEngine::default().trainer().unwrap(), model, rows, config, out.path());
    (run, out)
}

pub fn train_torch(
    torchrun: TorchrunConfig,
    model: &Path,
    rows: &dyn RowSource,
    config: &TrainConfig,
) -> (Run, TempDir) {
    let out = tempfile::tempdir().unwrap();
    let run = train(&mut *engine(torchrun).trainer().unwrap(), model, rows, config, out.path());
    (run, out)
}

pub fn relative(got: f64, expected: f64) -> f64 {
    (got - expected).abs() / expected.abs()
}

/// Fails unless both runs have the same numbers: the first loss within 1e-6, all others within 1e-5.
#[track_caller]
pub fn assert_same(what: &str, got: &Run, expected: &Run) {
    assert_eq!(got.steps.len(), expected.steps.len(), "{what}");
    let mut worst = [0.0_f64; 3];
    for (place, (g, e)) in got.steps.iter().zip(&expected.steps).enumerate() {
        let loss = relative(g.loss, e.loss);
        worst[usize::from(place > 0)] = worst[usize::from(place > 0)].max(loss);
        worst[2] = worst[2].max(relative(g.grad_norm, e.grad_norm));
        assert_eq!((g.step, g.lr, g.epoch, g.tokens), (e.step, e.lr, e.epoch, e.tokens), "{what}");
        assert_eq!((g.weight_ess, g.dropped_rows), (e.weight_ess, e.dropped_rows), "{what}");
        assert!(g.peak_memory_bytes > 1 << 20 && g.tokens_per_second > 0.0, "{what}: {g:?}");
    }
    eprintln!("{what}: first loss {:.1e}, others {:.1e}, norms {:.1e}", worst[0], worst[1], worst[2]);
    assert!(worst[0] <= 1e-6 && worst[1] <= 1e-5 && worst[2] <= 1e-4, "{what}: {worst:?}");
}

/// An error with its causes and its hint.
pub fn in_full(error: &anyhow::Error) -> String {
    let hint = hint_of(&**error).unwrap_or_default();
    format!("{error:#}; {:?}; {hint}", error.downcast_ref::<Failure>())
}
