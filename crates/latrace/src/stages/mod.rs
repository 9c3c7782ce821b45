//! The stages of a run, one file each, of one shape: what earlier stages left, settings, and the folder to fill, in; counts out.
//!
//! Each goes on from the parts that are in its folder, and writes a part only when it is whole.

pub mod answers;
pub mod dataset;
pub mod evaluation;
pub mod model;
pub mod questions;
pub mod scores;
pub mod traces;
pub mod training;
pub mod verdicts;
pub mod weights;

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Model, Sampler, SamplerOptions};

use crate::memory::free_memory;
use crate::pipeline::table::{Record, Table};
use crate::recipe::run::Engine;

/// Parts drawn in one go: memory holds their prompts and samples.
const PARTS_AT_ONCE: usize = 64;

/// The parts of `out` that are yet to be written, of as many as `source` has, in groups that memory can hold.
fn missing_parts<S: Record, R: Record>(source: &Table<S>, out: &Table<R>) -> Result<Vec<Vec<usize>>> {
    let missing: Vec<usize> = (0..source.parts()?).filter(|&part| !out.has(part)).collect();
    Ok(missing.chunks(PARTS_AT_ONCE).map(<[usize]>::to_vec).collect())
}

/// The sampler of a model folder.
fn sampler(model: &Path, engine: &Engine) -> Result<Sampler> {
    let kv_cache_bytes = if engine.kv_cache_bytes > 0 { engine.kv_cache_bytes } else { free_memory() / 2 };
    let options = SamplerOptions { kv_cache_bytes, batch: engine.batch, prefill_tokens: engine.prefill_tokens };
    Ok(Sampler::new(Model::load(model)?, options))
}
