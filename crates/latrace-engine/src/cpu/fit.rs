//! Training with the built-in engine.

use anyhow::Result;
use latrace_lm::{Event, TrainJob, train};

use crate::boundary::{Fit, FitJob};

pub(super) struct CpuFit;

impl Fit for CpuFit {
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let FitJob { model, rows, config, out, resume } = job;
        let job = TrainJob { model_dir: model, out, rows, config: config.clone(), resume };
        let mut failure = None;
        let outcome = train(job, &mut |event| {
            observer(event).map_err(|error| {
                let message = error.to_string();
                failure = Some(error);
                latrace_lm::Error::Invalid(message)
            })
        });
        // The trainer returns the observer's error only as a message, so the original is kept for its chain.
        failure.map_or(Ok(()), Err)?;
        Ok(outcome?)
    }
}
