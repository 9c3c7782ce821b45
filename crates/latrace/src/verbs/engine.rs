//! Which engine does a verb's work.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use anyhow::{Context, Result};
use clap::Args;
use latrace_engine::servers::ServersEngine;
use latrace_engine::{CpuEngine, Engine, TorchrunEngine};
use latrace_io::failure::Failure;
use latrace_io::rows::Output;
use latrace_run::recipe::run::{ComputeType, ScoreEngine, engine_settings};

use super::choices::{COMPUTE_TYPES, ENGINES, one_of};
use super::interrupt::{command_line, end_children_and_say};

/// The engine beside the built-in one, and its settings.
#[derive(Args, Clone, Debug)]
pub struct EngineChoice {
    /// Engine that does the work
    #[arg(long = "engine", value_name = "ENGINE", default_value = "cpu", value_parser = one_of::<ScoreEngine>(ENGINES))]
    kind: ScoreEngine,
    /// Type in which the built-in engine computes products; default: f32
    #[arg(long, value_name = "TYPE", value_parser = one_of::<ComputeType>(COMPUTE_TYPES))]
    compute: Option<ComputeType>,
    /// Setting of that engine, as in a recipe: 'servers.urls=["http://localhost:8000"]'; may be repeated
    #[arg(long = "engine-setting", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl EngineChoice {
    /// The chosen engine; `built_in` unless another one is.
    pub fn or(&self, built_in: CpuEngine) -> Result<Box<dyn Engine>> {
        if self.kind != ScoreEngine::Cpu && self.compute.is_some() {
            let message = "--compute: expected the built-in engine, got another";
            let hint = "the others' are the settings servers.dtype and torchrun.dtype: --engine-setting";
            return Err(Failure::usage(message).hint(hint).into());
        }
        let compute = self.compute.unwrap_or_default().here();
        engine(self.kind, &self.settings, CpuEngine { compute, ..built_in })
    }

    /// Does a verb's work with the engine: Ctrl-C and SIGTERM end what it has started, and say what is `kept`; logs of
    /// work that succeeds are removed.
    pub fn work<T>(&self, kept: &Kept<'_>, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.kind == ScoreEngine::Cpu {
            return work();
        }
        end_children_and_say(kept.in_words())?;
        let done = work()?;
        remove_logs()?;
        Ok(done)
    }
}

/// What is left of a verb's work when it is told to stop.
pub enum Kept<'a> {
    /// Finished samples, in or beside this file or folder.
    Samples(&'a Path),
    /// Nothing: results are written at the end, or have been printed.
    Nothing,
}

impl<'a> Kept<'a> {
    /// Of samples for an output.
    pub fn samples_of(out: &'a Output) -> Kept<'a> {
        match out {
            Output::File(path) => Kept::Samples(path),
            Output::Stdout => Kept::Nothing,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Kept::Samples(out) => format!(
                "{} keeps finished samples. The same command resumes: {}",
                out.display(),
                command_line()
            ),
            Kept::Nothing => "nothing is kept: the same command begins again".to_owned(),
        }
    }
}

/// The folder of this process's logs of servers and ranks. Several machines have to share it, by `TMPDIR`, if ranks on
/// them are to score.
fn logs() -> PathBuf {
    env::temp_dir().join(format!("latrace-{}", process::id()))
}

/// Removes the logs of work that succeeded.
pub fn remove_logs() -> Result<()> {
    let logs = logs();
    if !logs.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&logs).with_context(|| format!("cannot remove {}", logs.display()))
}

/// The engine of a kind with these settings; `built_in` for its own kind.
pub fn engine(kind: ScoreEngine, settings: &[String], built_in: CpuEngine) -> Result<Box<dyn Engine>> {
    if kind == ScoreEngine::Cpu && !settings.is_empty() {
        let message = "--engine-setting: expected --engine servers or torchrun, got the built-in engine";
        return Err(Failure::usage(message).into());
    }
    let (servers, torchrun) = engine_settings(settings)?;
    let logs = logs();
    if kind != ScoreEngine::Cpu {
        tracing::info!("what is started logs into {}, which is removed after success", logs.display());
    }
    Ok(match kind {
        ScoreEngine::Cpu => Box::new(built_in),
        ScoreEngine::Servers => Box::new(ServersEngine::new(servers, &logs)?),
        ScoreEngine::Torchrun => Box::new(TorchrunEngine::new(torchrun, &logs)?),
    })
}
