//! What the tests of this crate share: golden cases, and training runs on them.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

use latrace_kernels::{Compute, Cpu, Device, Reference};
use latrace_lm::train_config::{Schedule, TrainConfig};
use latrace_lm::trainer::Outcome;
use latrace_lm::{Error, Model, RowSource, ScoreRow, TrainPlan, TrainRow, Trainer, Weights};
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

/// Adapters on some of them.
pub const ADAPTERS: [&str; 4] = ["adapter-qwen3", "adapter-llama-bias", "adapter-patterns", "adapter-bf16"];

/// A device that the decoder is tested on, and how close it comes to results in float64.
pub trait Tested: Device + Copy {
    const DEVICE: Self;
    /// Cases for tests that take long.
    const SAMPLED: &'static [&'static str];
    /// Largest error of a log-prob, in nats.
    const LOGP: f64;
    /// Largest relative error of a parameter's gradient.
    const GRADIENT: f64;
    /// Largest relative errors of loss, gradient norm, weights and the keys' biases over ten optimiser steps.
    const STEPS: [f64; 4];
}

impl Tested for Cpu {
    const DEVICE: Self = Self { compute: Compute::F32 };
    const SAMPLED: &'static [&'static str] = &CASES;
    // A fifth of a thousandth is asked for; float32 does ten times better, and a slip of a formula does not.
    const LOGP: f64 = 2e-5;
    // PyTorch's own float32 comes to 1e-6.
    const GRADIENT: f64 = 1e-5;
    // Weights that differ by 1e-5 after Adam's division by a small root move the norm of a nearly flat
    // gradient by ten times that. What all keys of a query share, softmax hardly sees: the gradient of their
    // bias is a difference of nearly equal numbers, and Adam makes its rounding as large as any step (measured:
    // 1.2e-4, of all others 3.8e-5).
    const STEPS: [f64; 4] = [1e-4, 1e-3, 5e-5, 2e-4];
}

impl Tested for Reference {
    const DEVICE: Self = Self;
    // One that has biases, one that has head norms: the definition attends anew to all tokens for each new one.
    const SAMPLED: &'static [&'static str] = &["llama-bias", "qwen3"];
    // What is float32 on its way in or out: rotary frequencies, which transformers rounds at other places than
    // we do, log-probs, loss weights and learning rates. Measured: 1.4e-6 nats, 4.1e-7 of a gradient, and over
    // ten steps 3.4e-6 of a loss, 2.2e-5 of a norm, 1.2e-6 of weights.
    const LOGP: f64 = 3e-6;
    const GRADIENT: f64 = 1e-6;
    const STEPS: [f64; 4] = [1e-5, 5e-5, 3e-6, 3e-6];
}

/// Makes a test of each generic function for each device.
#[allow(unused_macros, reason = "each test binary uses its own part")]
macro_rules! on_each_device {
    ($($name:ident),+ $(,)?) => {
        mod cpu {
            $(#[test] fn $name() { super::$name::<latrace_kernels::Cpu>(); })+
        }
        mod reference {
            $(#[test] fn $name() { super::$name::<latrace_kernels::Reference>(); })+
        }
    };
}
#[allow(unused_imports, reason = "each test binary uses its own part")]
pub(crate) use on_each_device;

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
    device: D,
    pub trainer: Trainer<D>,
    plan: TrainPlan,
    rows: Vec<TrainRow>,
}

impl<D: Tested> Training<D> {
    pub fn new(case: &str, config: TrainConfig, rows: Vec<TrainRow>) -> Self {
        Self::on(D::DEVICE, case, config, rows)
    }
}

impl<D: Device + Copy> Training<D> {
    pub fn on(device: D, case: &str, config: TrainConfig, rows: Vec<TrainRow>) -> Self {
        let model = Model::load_on(device, &folder(case)).unwrap();
        let plan = TrainPlan::new(&rows, &config, model.config.max_positions).unwrap();
        Self { device, trainer: Trainer::new(model, config).unwrap(), plan, rows }
    }

    /// The plan's next update.
    pub fn update(&mut self) -> Result<Outcome, Error> {
        let update = self.plan.updates_after(self.trainer.step()).next().unwrap();
        let rows = self.rows.read(&update.rows).unwrap();
        self.trainer.update(&update, self.plan.divisor, &rows)
    }

    /// Gradients of the last update, on the host; those of what is trained.
    pub fn gradients(&self) -> Vec<Vec<f32>> {
        let gradients =
            self.trainer.gradients().iter().map(|gradient| self.device.host(gradient).into_owned());
        gradients.filter(|gradient: &Vec<f32>| !gradient.is_empty()).collect()
    }

    /// The weights that are trained, on the host.
    pub fn parameters(&self) -> Vec<Vec<f32>> {
        let all = self.trainer.model().parameters().iter().zip(self.trainer.gradients());
        let trained = all.filter(|(_, gradient)| self.device.length(gradient) > 0);
        trained.map(|(values, _)| self.device.host(values).into_owned()).collect()
    }
}

/// Gradients of the first update.
pub fn gradients<D: Tested>(case: &str, config: TrainConfig, rows: Vec<TrainRow>) -> Vec<Vec<f32>> {
    let mut training = Training::<D>::new(case, config, rows);
    training.update().unwrap();
    training.gradients()
}

/// What is scored of a row that is trained on.
pub fn score_row(row: &TrainRow) -> ScoreRow {
    let (prompt, response) = row.tokens.split_at(row.prompt_len);
    ScoreRow { prompt: prompt.to_vec(), response: response.to_vec() }
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
