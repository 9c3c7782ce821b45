//! What the tests of this crate share: golden cases, and training runs on them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

use latrace_kernels::{Cpu, Device};
use latrace_lm::train_config::{Schedule, TrainConfig};
use latrace_lm::trainer::Outcome;
use latrace_lm::{Error, Model, RowSource, TrainPlan, TrainRow, Trainer, Weights};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub const CASES: [&str; 13] = [
    "qwen2",
    "qwen2-untied",
    "qwen3",
    "qwen3-odd",
    "llama",
    "llama-bias",
    "llama-mha",
    "rope-linear",
    "rope-llama3",
    "rope-yarn",
    "bf16",
    "f16",
    "sharded",
];

/// Tensors of a golden file, all as f64.
pub struct Golden(BTreeMap<String, Vec<f64>>);

impl Golden {
    pub fn read(case: &str) -> Self {
        let bytes = std::fs::read(folder(case).join("golden.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = |view: &safetensors::tensor::TensorView<'_>| -> Vec<f64> {
            match view.dtype() {
                safetensors::Dtype::I64 => {
                    view.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
                }
                safetensors::Dtype::F64 => {
                    view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
                }
                safetensors::Dtype::F32 => {
                    view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect()
                }
                other => panic!("golden tensor of type {other:?}"),
            }
        };
        Self(file.iter().map(|(name, view)| (name.to_owned(), values(&view))).collect())
    }

    pub fn get(&self, name: &str) -> &[f64] {
        self.0.get(name).unwrap_or_else(|| panic!("golden tensor {name}"))
    }

    pub fn rows(&self) -> Vec<TrainRow> {
        let mut ids = self.get("ids").iter().map(|&i| i as u32);
        let lengths = self.get("lengths").iter().zip(self.get("prompt_lengths")).zip(self.get("weights"));
        lengths
            .enumerate()
            .map(|(i, ((&length, &prompt), &weight))| TrainRow {
                id: format!("row {i}"),
                tokens: ids.by_ref().take(length as usize).collect(),
                prompt_len: prompt as usize,
                weights: Weights::Row(weight as f32),
                policy: None,
            })
            .collect()
    }
}

pub fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(case)
}

/// The settings under which the goldens' optimiser steps were made.
pub fn golden_config() -> TrainConfig {
    TrainConfig {
        learning_rate: 1e-2,
        schedule: Schedule::Constant,
        warmup_ratio: 0.0,
        weight_decay: 0.1,
        batch_size: 4,
        max_steps: Some(10),
        shuffle: false,
        ..TrainConfig::default()
    }
}

/// A trainer, its rows, and the plan for them.
pub struct Training<D: Device> {
    pub trainer: Trainer<D>,
    plan: TrainPlan,
    rows: Vec<TrainRow>,
}

impl<D: Device> Training<D> {
    pub fn new(device: D, case: &str, config: TrainConfig, rows: Vec<TrainRow>) -> Self {
        let model = Model::load_on(device, &folder(case)).unwrap();
        let plan = TrainPlan::new(&rows, &config, model.config.max_positions).unwrap();
        Self { trainer: Trainer::new(model, config).unwrap(), plan, rows }
    }

    /// The plan's next update.
    pub fn update(&mut self) -> Result<Outcome, Error> {
        let update = self.plan.updates_after(self.trainer.step()).next().unwrap();
        let rows = self.rows.read(&update.rows).unwrap();
        self.trainer.update(&update, self.plan.divisor, &rows)
    }

    /// Gradients of the last update, on the host.
    pub fn gradients(&self, device: &D) -> Vec<Vec<f32>> {
        self.trainer.gradients().iter().map(|gradient| device.host(gradient).into_owned()).collect()
    }

    /// The model's weights, on the host.
    pub fn parameters(&self, device: &D) -> Vec<Vec<f32>> {
        self.trainer.model().parameters().iter().map(|values| device.host(values).into_owned()).collect()
    }
}

/// Gradients of the first update, on the CPU.
pub fn gradients(case: &str, config: TrainConfig, rows: Vec<TrainRow>) -> Vec<Vec<f32>> {
    gradients_on(Cpu, case, config, rows)
}

/// Gradients of the first update.
pub fn gradients_on<D: Device + Copy>(
    device: D,
    case: &str,
    config: TrainConfig,
    rows: Vec<TrainRow>,
) -> Vec<Vec<f32>> {
    let mut training = Training::new(device, case, config, rows);
    training.update().unwrap();
    training.gradients(&device)
}

/// Norm of the difference over the norm of what is expected.
pub fn relative(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    let difference: f64 = got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - e).powi(2)).sum();
    let norm: f64 = expected.iter().map(|e| e * e).sum();
    (difference / norm).sqrt()
}

/// Fails unless all gradients agree within a relative tolerance, name by name.
#[track_caller]
pub fn assert_close(what: &str, got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f64) {
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        let expected: Vec<f64> = e.iter().map(|&x| x.into()).collect();
        let error = relative(g, &expected);
        assert!(error <= tolerance, "{what}: parameter {i}: relative error {error}");
    }
}
