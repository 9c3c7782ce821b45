//! What all stages of a run share, and their results do not depend on.

use std::path::Path;

use anyhow::Result;
use latrace_engine::lm::{Model, Sampler, SamplerOptions};
use latrace_io::memory::free_memory;
use latrace_questions::query::SharedSandbox;
use serde_json::{Value, json};

use crate::plan::{Node, Settings};
use crate::recipe::run::Engine;

/// The engine with its options of speed and memory, and the sandbox of programs.
#[derive(Debug)]
pub struct RunContext {
    /// Speed and memory.
    pub engine: Engine,
    /// Starts with the first program.
    pub sandbox: SharedSandbox,
}

impl RunContext {
    /// Of a recipe's engine.
    pub fn new(engine: &Engine) -> RunContext {
        RunContext { engine: engine.clone(), sandbox: SharedSandbox::default() }
    }

    /// What tells the engine of a stage from others; none for a stage that uses none.
    pub fn identity(&self, node: &Node) -> Option<Value> {
        let uses_engine = matches!(
            node.settings,
            Settings::Fit(_)
                | Settings::Traces(_)
                | Settings::Scores(_)
                | Settings::Answers(_)
                | Settings::Evaluation(_)
        );
        uses_engine.then(|| json!({"kind": "cpu", "compute": "f32"}))
    }

    /// The sampler of a model folder.
    ///
    /// # Errors
    /// A folder that holds no model.
    pub fn sampler(&self, model: &Path) -> Result<Sampler> {
        let Engine { kv_cache_bytes, batch, prefill_tokens, .. } = self.engine;
        let kv_cache_bytes = if kv_cache_bytes > 0 { kv_cache_bytes } else { free_memory() / 2 };
        Ok(Sampler::new(Model::load(model)?, SamplerOptions { kv_cache_bytes, batch, prefill_tokens }))
    }
}
