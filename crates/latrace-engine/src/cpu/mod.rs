//! The built-in CPU engine.

mod fit;
mod generate;
mod model;
mod score;

use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::memory::free_memory;
pub use latrace_lm::train::{forget_peak_memory, peak_memory_bytes};
pub use latrace_lm::{Compute, Level, PeakRates, level, unit};
use latrace_lm::{Cpu, Device, F32, Model, SamplerOptions};

pub use model::{SaveDtype, save_random};

use crate::boundary::{BUILT_IN, Engine, EngineRole, Fit, Generate, Identity, Score};
use fit::CpuFit;
use generate::CpuGenerate;
use score::CpuScore;

/// Incremented whenever the same request gives different bits, so that stages of earlier runs are redone.
const NUMERICS: &str = "2";
/// As [`NUMERICS`], where anything is in bf16.
const NUMERICS_OF_BF16: &str = "3";

/// Memory and speed options of the built-in engine, which do not affect results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Memory for the KV cache (bytes); `None`: half of the memory that is free when a generator is created.
    pub kv_cache_bytes: Option<u64>,
    /// Maximum samples in a batch.
    pub batch: usize,
    /// Maximum prompt tokens in one forward pass.
    pub prefill_tokens: usize,
    /// Maximum tokens in one scoring pass.
    pub score_tokens: usize,
}

impl Default for CpuOptions {
    fn default() -> CpuOptions {
        let SamplerOptions { batch, prefill_tokens, .. } = SamplerOptions::default();
        CpuOptions { kv_cache_bytes: None, batch, prefill_tokens, score_tokens: 4096 }
    }
}

impl CpuOptions {
    fn sampler(&self) -> SamplerOptions {
        let kv_cache_bytes = self.kv_cache_bytes.unwrap_or_else(|| free_memory() / 2);
        SamplerOptions { kv_cache_bytes, batch: self.batch, prefill_tokens: self.prefill_tokens }
    }
}

/// The built-in engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuEngine {
    /// Memory and speed.
    pub options: CpuOptions,
    /// The type in which products with weights are computed.
    pub compute: Compute,
}

impl CpuEngine {
    /// The engine with these options.
    pub fn new(options: CpuOptions) -> CpuEngine {
        CpuEngine { options, compute: Compute::F32 }
    }

    /// The model in `folder`, to sample from or to score with.
    fn load(self, folder: &Path) -> Result<Model> {
        check_processor()?;
        let model = Model::load_on(Cpu { compute: self.compute }, folder)?;
        Ok(match self.compute {
            Compute::F32 => model,
            Compute::Bf16 => model.rounded(),
        })
    }
}

/// Refuses processors without fused multiply-add, unless `LATRACE_SIMD=baseline` is set: done in software, it is fifty times
/// slower.
fn check_processor() -> Result<()> {
    let asked_for = std::env::var(Level::VARIABLE).ok().and_then(|name| Level::named(&name));
    check_level(level(), asked_for)
}

fn check_level(level: Level, asked_for: Option<Level>) -> Result<()> {
    // Elsewhere, fused multiply-add is part of every processor.
    if cfg!(not(target_arch = "x86_64")) || level > Level::Baseline || asked_for == Some(Level::Baseline) {
        return Ok(());
    }
    let hint = "other engines work without (docs/engines.md); LATRACE_SIMD=baseline computes here, about fifty times as slowly \
                as with it";
    Err(Failure::work("this processor lacks what the built-in engine needs: AVX2 with FMA").hint(hint).into())
}

/// The language model returns its caller's errors only as messages, so the original is kept here for its
/// chain.
#[derive(Default)]
struct CallersError(Option<anyhow::Error>);

impl CallersError {
    fn keep(&mut self, outcome: Result<()>) -> Result<(), latrace_lm::Error> {
        outcome.map_err(|error| {
            let message = error.to_string();
            self.0 = Some(error);
            latrace_lm::Error::Invalid(message)
        })
    }

    fn take(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

impl Engine for CpuEngine {
    fn identity(&self, role: EngineRole) -> Identity {
        let arithmetic = match (Cpu { compute: self.compute }.arithmetic(), self.compute) {
            // What is sampled from and scored with is rounded, what is trained is not.
            (F32, Compute::Bf16) if role != EngineRole::Train => "f32 with weights in bf16",
            (arithmetic, _) => arithmetic,
        };
        Identity {
            kind: BUILT_IN.to_owned(),
            version: if arithmetic == F32 { NUMERICS } else { NUMERICS_OF_BF16 }.to_owned(),
            compute: arithmetic.to_owned(),
            attention: "tiled".to_owned(),
            exact: true,
        }
    }

    fn generator(&self, model: &Path) -> Result<Box<dyn Generate>> {
        Ok(Box::new(CpuGenerate::load(model, *self)?))
    }

    fn scorer(&self, model: &Path) -> Result<Box<dyn Score>> {
        Ok(Box::new(CpuScore::load(model, *self)?))
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        check_processor()?;
        Ok(Box::new(CpuFit { compute: self.compute }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_without_fused_products_is_refused_unless_asked_for() {
        for (level, asked_for, is_usable) in [
            (Level::Baseline, None, false),
            (Level::Baseline, Some(Level::Amx), false),
            (Level::Baseline, Some(Level::Baseline), true),
            (Level::Avx2, None, true),
        ] {
            let checked = check_level(level, asked_for);
            assert_eq!(checked.is_ok(), is_usable, "{level:?} {asked_for:?}");
        }
        let error = check_level(Level::Baseline, None).unwrap_err();
        assert!(error.to_string().contains("FMA"), "{error}");
    }
}
