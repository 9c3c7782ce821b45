//! Training with the built-in engine.

use anyhow::Result;
use latrace_lm::{Compute, Cpu, Device, Event, F32, TrainJob, train_on};

use super::CallersError;
use crate::boundary::{Fit, FitJob};

pub(super) struct CpuFit {
    pub compute: Compute,
}

impl Fit for CpuFit {
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let FitJob { model, rows, config, out, resume } = job;
        let job = TrainJob { model_dir: model, out, rows, config: config.clone(), resume };
        let mut error = CallersError::default();
        let device = Cpu { compute: self.compute };
        // Without a unit for bf16, what is trained is not rounded.
        let device = if device.arithmetic() == F32 { Cpu::default() } else { device };
        let outcome = train_on(device, job, &mut |event| error.keep(observer(event)));
        // First: of an observer's error, `outcome` has only the message.
        error.take()?;
        Ok(outcome?)
    }
}
