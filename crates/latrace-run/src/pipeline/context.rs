//! What all stages of a run share, and their results do not depend on.

use latrace_engine::{CpuEngine, CpuOptions, Engine, EngineRole, Identity};
use latrace_questions::query::SharedSandbox;

use crate::plan::{Node, Settings};
use crate::recipe::run;

/// What computes, and the sandbox of programs.
#[derive(Debug)]
pub struct RunContext {
    /// What samples, scores and trains.
    pub engine: Box<dyn Engine>,
    /// Starts with the first program.
    pub sandbox: SharedSandbox,
}

impl RunContext {
    /// The built-in engine with a recipe's options of speed and memory.
    pub fn new(options: &run::EngineOptions) -> RunContext {
        let run::EngineOptions { batch, prefill_tokens, score_tokens, kv_cache_bytes, .. } = *options;
        let kv_cache_bytes = Some(kv_cache_bytes).filter(|&bytes| bytes > 0);
        RunContext::with_engine(Box::new(CpuEngine::new(CpuOptions {
            kv_cache_bytes,
            batch,
            prefill_tokens,
            score_tokens,
        })))
    }

    /// Another engine.
    pub fn with_engine(engine: Box<dyn Engine>) -> RunContext {
        RunContext { engine, sandbox: SharedSandbox::default() }
    }

    /// What tells the engine of a stage from others; none for a stage that uses none.
    pub fn identity(&self, node: &Node) -> Option<Identity> {
        let role = match node.settings {
            Settings::Traces(_) | Settings::Answers(_) | Settings::Evaluation(_) => EngineRole::Generate,
            Settings::Scores(_) => EngineRole::Score,
            Settings::Fit(_) => EngineRole::Train,
            _ => return None,
        };
        Some(self.engine.identity(role))
    }
}
