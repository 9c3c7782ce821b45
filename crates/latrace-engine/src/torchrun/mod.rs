//! The torchrun engine: trains and scores with PyTorch FSDP2 and transformers, on one machine or many.
//!
//! Everything is decided here, and written into files: a job, a plan, rows. The ranks (`worker.py`, a process
//! each, started by the user's launch command) carry it out and report by files too, so that a shared file
//! system is all that several machines need. Ranks and this process never talk in any other way.

mod checkpoints;
mod config;
mod failure;
mod fit;
mod job;
mod model;
mod publish;
mod score;
mod worker;

use std::path::{Path, PathBuf};

use anyhow::Result;

pub use config::{TorchAttention, TorchDtype, TorchrunConfig};

use crate::boundary::{Engine, EngineRole, Error, Fit, Generate, Identity, Score};
use fit::TorchrunFit;
pub use fit::WORK;
use score::TorchrunScore;

const KIND: &str = "torchrun";

/// Incremented whenever the same job gives different numbers beyond rounding.
const NUMERICS: &str = "1";

/// PyTorch FSDP2 and transformers.
#[derive(Clone, Debug)]
pub struct TorchrunEngine {
    config: TorchrunConfig,
    /// Where scoring ranks and this process share files, and where their log stays.
    shared: PathBuf,
}

impl TorchrunEngine {
    /// The engine with these settings. Ranks that score get their rows through files in the folder `shared`, which
    /// all machines have to see, and leave their log there; those that train do so in the training's own folder.
    ///
    /// # Errors
    /// A setting out of its range.
    pub fn new(config: TorchrunConfig, shared: &Path) -> Result<TorchrunEngine> {
        config.validate()?;
        Ok(TorchrunEngine { config, shared: shared.to_owned() })
    }
}

impl Engine for TorchrunEngine {
    fn identity(&self, _: EngineRole) -> Identity {
        Identity {
            kind: KIND.to_owned(),
            version: NUMERICS.to_owned(),
            compute: self.config.dtype.name().to_owned(),
            attention: self.config.attention.name().to_owned(),
            exact: false,
        }
    }

    fn generator(&self, _: &Path) -> Result<Box<dyn Generate>> {
        Err(Error::Unsupported { engine: KIND, what: "generate samples (use servers, or cpu)" }.into())
    }

    fn scorer(&self, model: &Path) -> Result<Box<dyn Score>> {
        self.config.check_installed()?;
        Ok(Box::new(TorchrunScore::start(model, &self.config, &self.shared)?))
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        Ok(Box::new(TorchrunFit { config: self.config.clone() }))
    }

    fn check_installed(&self, _: EngineRole) -> Result<()> {
        self.config.check_installed()
    }
}
