//! What all stages of a run share, and no result depends on beyond what keys hold of it.

use std::path::Path;

use anyhow::Result;
use latrace_engine::servers::ServersEngine;
use latrace_engine::{
    CpuEngine, CpuOptions, Engine, EngineRole, Engines, Identity, ManualEngine, TorchrunEngine,
};
use latrace_questions::verifiers::Verifiers;

use crate::plan::{Node, Settings};
use crate::recipe::run::{EngineOptions, GenerateEngine, RunRecipe, ScoreEngine, TrainEngine};

/// The folder of a run with the logs of servers and trainers.
const LOGS: &str = "logs";

/// The engine, and what judges.
#[derive(Debug)]
pub struct RunContext {
    /// The engine that samples, scores and trains.
    pub engine: Box<dyn Engine>,
    /// What judges answers. Its sandbox is set up when the first program is run.
    pub verifiers: Verifiers,
}

impl RunContext {
    /// A context with the engines of a recipe, whose processes log into a folder of the run. Nothing is started or
    /// loaded yet.
    ///
    /// # Errors
    /// Settings that an engine refuses; a verifier's file that cannot be read.
    pub fn new(recipe: &RunRecipe, run: &Path) -> Result<RunContext> {
        let built_in = || {
            let (options, compute) = (cpu_options(&recipe.engine), recipe.engine.compute.here());
            Box::new(CpuEngine { options, compute })
        };
        let torchrun = || TorchrunEngine::new(recipe.torchrun.clone(), &run.join(LOGS)).map(Box::new);
        let servers = || ServersEngine::new(recipe.servers.clone(), &run.join(LOGS)).map(Box::new);
        let engines = Engines {
            generate: match recipe.engine.generate {
                GenerateEngine::Cpu => built_in(),
                GenerateEngine::Servers => servers()?,
            },
            score: match recipe.engine.score {
                ScoreEngine::Cpu => built_in(),
                ScoreEngine::Servers => servers()?,
                ScoreEngine::Torchrun => torchrun()?,
            },
            train: match recipe.engine.train {
                TrainEngine::Cpu => built_in(),
                TrainEngine::Torchrun => torchrun()?,
                TrainEngine::Manual => Box::new(ManualEngine),
            },
        };
        let verifiers = Verifiers::new(&recipe.verifier)?;
        Ok(RunContext { verifiers, ..RunContext::with_engine(Box::new(engines)) })
    }

    /// A context with another engine.
    pub fn with_engine(engine: Box<dyn Engine>) -> RunContext {
        RunContext { engine, verifiers: Verifiers::default() }
    }

    /// Identity of the engine for a stage's key; `None` for a stage that uses no engine.
    pub fn identity(&self, node: &Node) -> Option<Identity> {
        Self::role(node).map(|role| self.engine.identity(role))
    }

    /// What a stage asks of the engine; `None` for a stage that gives the same result with any.
    pub fn role(node: &Node) -> Option<EngineRole> {
        match node.settings {
            Settings::Traces(_) | Settings::Answers(_) | Settings::Evaluation(_) => {
                Some(EngineRole::Generate)
            }
            Settings::Scores(_) | Settings::Rescoring(_) => Some(EngineRole::Score),
            Settings::Fit(_) => Some(EngineRole::Train),
            _ => None,
        }
    }
}

/// A recipe's options as the engine reads them. A recipe cannot leave a value out, so 0 stands for none.
fn cpu_options(options: &EngineOptions) -> CpuOptions {
    let EngineOptions { batch, prefill_tokens, score_tokens, kv_cache_bytes, .. } = *options;
    let kv_cache_bytes = Some(kv_cache_bytes).filter(|&bytes| bytes > 0);
    CpuOptions { kv_cache_bytes, batch, prefill_tokens, score_tokens }
}
