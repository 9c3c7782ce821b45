//! What all stages of a run share and no result depends on.

use latrace_engine::{CpuEngine, CpuOptions, Engine, EngineRole, Identity};
use latrace_questions::query::SharedSandbox;

use crate::plan::{Node, Settings};
use crate::recipe::run;

/// The engine, and the sandbox for programs.
#[derive(Debug)]
pub struct RunContext {
    /// The engine that samples, scores and trains.
    pub engine: Box<dyn Engine>,
    /// Set up when the first program is run.
    pub sandbox: SharedSandbox,
}

impl RunContext {
    /// A context with the built-in engine and a recipe's speed and memory options.
    pub fn new(options: &run::EngineOptions) -> RunContext {
        RunContext::with_engine(Box::new(CpuEngine::new(cpu_options(options))))
    }

    /// A context with another engine.
    pub fn with_engine(engine: Box<dyn Engine>) -> RunContext {
        RunContext { engine, sandbox: SharedSandbox::default() }
    }

    /// Identity of the engine for a stage's key; `None` for a stage that uses no engine.
    pub fn identity(&self, node: &Node) -> Option<Identity> {
        let role = match node.settings {
            Settings::Traces(_) | Settings::Answers(_) | Settings::Evaluation(_) => EngineRole::Generate,
            Settings::Scores(_) => EngineRole::Score,
            Settings::Fit(_) => EngineRole::Train,
            // The other stages give the same result with any engine.
            _ => return None,
        };
        Some(self.engine.identity(role))
    }
}

/// A recipe's options as the engine reads them. A recipe cannot leave a value out, so 0 stands for none.
fn cpu_options(options: &run::EngineOptions) -> CpuOptions {
    let run::EngineOptions { batch, prefill_tokens, score_tokens, kv_cache_bytes, .. } = *options;
    let kv_cache_bytes = Some(kv_cache_bytes).filter(|&bytes| bytes > 0);
    CpuOptions { kv_cache_bytes, batch, prefill_tokens, score_tokens }
}
