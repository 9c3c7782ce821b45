//! An engine for each role, as one.

use std::path::Path;

use anyhow::Result;

use crate::boundary::{Engine, EngineRole, Fit, Generate, Identity, Score};

/// Three engines, each for one role; one engine may be in several places.
#[derive(Debug)]
pub struct Engines {
    /// Who draws samples.
    pub generate: Box<dyn Engine>,
    /// Who scores given tokens.
    pub score: Box<dyn Engine>,
    /// Who trains.
    pub train: Box<dyn Engine>,
}

impl Engine for Engines {
    fn identity(&self, role: EngineRole) -> Identity {
        match role {
            EngineRole::Generate => self.generate.identity(role),
            EngineRole::Score => self.score.identity(role),
            EngineRole::Train => self.train.identity(role),
        }
    }

    fn generator(&self, model: &Path) -> Result<Box<dyn Generate>> {
        self.generate.generator(model)
    }

    fn scorer(&self, model: &Path) -> Result<Box<dyn Score>> {
        self.score.scorer(model)
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        self.train.trainer()
    }
}
