//! Which engine does a verb's work.

use std::env;
use std::process;

use anyhow::Result;
use clap::Args;
use latrace_engine::servers::ServersEngine;
use latrace_engine::{CpuEngine, Engine, TorchrunEngine};
use latrace_io::failure::Failure;
use latrace_run::recipe::run::{ScoreEngine, engine_settings};

use super::choices::{ENGINES, one_of};

/// The engine beside the built-in one, and its settings.
#[derive(Args, Clone, Debug)]
pub struct EngineChoice {
    /// Engine that does the work
    #[arg(long = "engine", value_name = "ENGINE", default_value = "cpu", value_parser = one_of::<ScoreEngine>(ENGINES))]
    kind: ScoreEngine,
    /// Setting of that engine, as in a recipe: 'servers.urls=["http://localhost:8000"]'; may be repeated
    #[arg(long = "engine-setting", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl EngineChoice {
    /// The chosen engine; `built_in` unless another one is.
    pub fn or(&self, built_in: CpuEngine) -> Result<Box<dyn Engine>> {
        engine(self.kind, &self.settings, built_in)
    }
}

/// The engine of a kind with these settings; `built_in` for its own kind.
pub fn engine(kind: ScoreEngine, settings: &[String], built_in: CpuEngine) -> Result<Box<dyn Engine>> {
    if kind == ScoreEngine::Cpu && !settings.is_empty() {
        let message = "--engine-setting: expected --engine servers or torchrun, got the built-in engine";
        return Err(Failure::usage(message).into());
    }
    let (servers, torchrun) = engine_settings(settings)?;
    Ok(match kind {
        ScoreEngine::Cpu => Box::new(built_in),
        ScoreEngine::Servers => {
            let logs = env::temp_dir().join(format!("latrace-{}", process::id()));
            tracing::info!("servers that are started log into {}", logs.display());
            Box::new(ServersEngine::new(servers, &logs)?)
        }
        ScoreEngine::Torchrun => Box::new(TorchrunEngine::new(torchrun)?),
    })
}
