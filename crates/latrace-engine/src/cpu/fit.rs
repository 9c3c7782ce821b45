//! Training with the built-in engine.

use anyhow::Result;
use latrace_lm::{Event, TrainJob, train};

use super::CallersError;
use crate::boundary::{Fit, FitJob};

pub(super) struct CpuFit;

impl Fit for CpuFit {
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let FitJob { model, rows, config, out, resume } = job;
        let job = TrainJob { model_dir: model, out, rows, config: config.clone(), resume };
        let mut error = CallersError::default();
        let outcome = train(job, &mut |event| error.keep(observer(event)));
        // First: of an observer's error, `outcome` has only the message.
        error.take()?;
        Ok(outcome?)
    }
}
