//! Trainings that people carry out elsewhere: a run stops at each, and goes on with the model that they bring back.

use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;

use crate::boundary::{Engine, EngineRole, Fit, Generate, Identity, Score};

/// The engine of such trainings.
#[derive(Clone, Copy, Debug, Default)]
pub struct ManualEngine;

impl ManualEngine {
    /// The kind of its identity.
    pub const KIND: &str = "manual";
}

impl Engine for ManualEngine {
    fn identity(&self, _: EngineRole) -> Identity {
        // What trains, and how, is not ours to know.
        Identity {
            kind: ManualEngine::KIND.to_owned(),
            version: "1".to_owned(),
            compute: "unknown".to_owned(),
            attention: "unknown".to_owned(),
            exact: false,
        }
    }

    fn generator(&self, _: &Path) -> Result<Box<dyn Generate>> {
        Err(Failure::usage("a manual engine trains, and does not sample").into())
    }

    fn scorer(&self, _: &Path) -> Result<Box<dyn Score>> {
        Err(Failure::usage("a manual engine trains, and does not score").into())
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        Err(Failure::work("this model is trained elsewhere: engine.train = \"manual\"")
            .hint(
                "`latrace export RUN STAGE` writes its rows and settings, `latrace import RUN STAGE MODEL` takes the \
                 trained model; then run again",
            )
            .into())
    }
}
