//! An engine for each role, as one.

use std::path::Path;

use anyhow::Result;

use crate::boundary::{Engine, EngineRole, Fit, Generate, Identity, Score, ServerNote};

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

impl Engines {
    fn of(&self, role: EngineRole) -> &dyn Engine {
        match role {
            EngineRole::Generate => &*self.generate,
            EngineRole::Score => &*self.score,
            EngineRole::Train => &*self.train,
        }
    }
}

impl Engine for Engines {
    fn identity(&self, role: EngineRole) -> Identity {
        self.of(role).identity(role)
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

    fn check_installed(&self, role: EngineRole) -> Result<()> {
        self.of(role).check_installed(role)
    }

    fn take_server_notes(&self) -> Vec<ServerNote> {
        let mut notes = self.generate.take_server_notes();
        for note in self.score.take_server_notes() {
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        notes
    }
}
