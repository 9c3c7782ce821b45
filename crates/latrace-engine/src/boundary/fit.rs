//! Training through the boundary.

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Event, RowSource, TrainConfig};

/// A training run. Which rows each update takes, at which learning rate and over which divisor follows from
/// the rows' lengths and the settings alone ([`latrace_lm::TrainPlan`]), so that every trainer does the same.
#[derive(Clone)]
pub struct FitJob<'a> {
    /// Folder of the first model and its tokenizer.
    pub model: &'a Path,
    /// Rows in memory or in a file.
    pub rows: &'a dyn RowSource,
    /// The settings.
    pub config: &'a TrainConfig,
    /// Folder that gets checkpoints and the final model; exists.
    pub out: &'a Path,
    /// Continue from the checkpoint in `out`, if there is one.
    pub resume: bool,
}

/// Trains models.
pub trait Fit {
    /// Trains, reporting to `observer` as it goes; an error that it returns ends the work and is returned
    /// unchanged.
    ///
    /// # Errors
    /// The observer's; bad rows or settings; a non-finite loss, before the update; I/O errors.
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()>;
}
