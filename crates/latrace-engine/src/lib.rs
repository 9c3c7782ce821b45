//! Engines that generate, score and train, behind one boundary: token ids and numbers cross it, but never a
//! recipe, a prompt text or a stage name. The caller's side is here as well: conversion of texts to ids, and
//! the loop that draws missing samples.

pub mod adapters;
pub mod boundary;
pub mod child;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod cpu;
mod engines;
mod files;
pub mod gguf;
mod manual;
mod model_shape;
mod open_parts;
pub mod random;
pub mod row_tokens;
pub mod sampling;
pub mod scoring;
pub mod servers;
pub mod text_codec;
pub mod torchrun;
pub mod trace_codec;
pub mod train_rows;
pub mod training;
mod write_behind;

pub use boundary::{Engine, EngineRole, Identity, ModelShape};
pub use cpu::{Compute, CpuEngine, CpuOptions};
pub use engines::Engines;
pub use latrace_lm::adapter::Lora;
pub use latrace_lm::checkpoint::copy_companions;
pub use latrace_lm::config::{CONFIG_FIELDS, IGNORED_CONFIG_FIELDS};
pub use latrace_lm::train_config;
pub use latrace_lm::{
    CHECKPOINT_PREFIX, Event, Policy, RowFile, RowFileWriter, RowLengths, RowSource, TrainConfig, TrainRow,
    Weights,
};
pub use manual::ManualEngine;
pub use model_shape::{Parameters, check_random, check_same_model};
pub use torchrun::{TorchrunConfig, TorchrunEngine};

/// The hint of an error of an engine.
pub fn hint_of(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let of_the_model = cause.downcast_ref::<latrace_lm::Error>().and_then(latrace_lm::Error::hint);
    let of_the_boundary = || cause.downcast_ref::<boundary::Error>().and_then(boundary::Error::hint);
    let of_a_server = || cause.downcast_ref::<servers::ServerError>().and_then(servers::ServerError::hint);
    of_the_model.or_else(|| of_the_boundary().or_else(of_a_server).map(str::to_owned))
}
