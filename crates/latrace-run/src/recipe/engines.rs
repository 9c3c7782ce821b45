//! Which engines a run uses, and their settings.

use anyhow::Result;
use latrace_engine::cpu::{Compute, unit};
use serde::{Deserialize, Serialize};

use super::checks::at_least_one;

/// An engine that draws samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GenerateEngine {
    /// The built-in one.
    #[default]
    Cpu,
    /// vLLM or SGLang over HTTP.
    Servers,
}

/// An engine that scores given tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScoreEngine {
    /// The built-in one.
    #[default]
    Cpu,
    /// vLLM or SGLang over HTTP.
    Servers,
    /// PyTorch, for those who train with it and have no server.
    Torchrun,
}

/// An engine that trains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainEngine {
    /// The built-in one.
    #[default]
    Cpu,
    /// PyTorch with FSDP2.
    Torchrun,
    /// People, elsewhere: a run stops at each training, and goes on with the model that they import.
    Manual,
}

/// The type in which the built-in engine computes products with weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeType {
    /// f32: the same bits on every machine.
    #[default]
    F32,
    /// bf16.
    Bf16,
    /// bf16 where the processor has a unit for it, otherwise f32.
    Auto,
}

impl ComputeType {
    /// What it is on this machine: never `Auto`.
    #[must_use]
    pub fn settled(self) -> Self {
        match (self, unit()) {
            (Self::Auto, Some(_)) => Self::Bf16,
            (Self::Auto, None) => Self::F32,
            (given, _) => given,
        }
    }

    /// What it is on this machine, for the engine.
    pub fn here(self) -> Compute {
        if self.settled() == Self::Bf16 { Compute::Bf16 } else { Compute::F32 }
    }
}

/// Who generates, scores and trains; and options of the built-in engine. Of those `compute` alone affects results; the others
/// change speed, memory, and how tables are divided into parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineOptions {
    /// Who draws samples.
    pub generate: GenerateEngine,
    /// Who scores given tokens.
    pub score: ScoreEngine,
    /// Who trains.
    pub train: TrainEngine,
    /// The type of the built-in engine's products.
    pub compute: ComputeType,
    /// Questions per part of a table.
    pub part_questions: usize,
    /// Samples in a batch.
    pub batch: usize,
    /// Maximum prompt tokens in one forward pass.
    pub prefill_tokens: usize,
    /// Maximum tokens in one scoring batch.
    pub score_tokens: usize,
    /// Memory for the KV cache (bytes); 0: half of the free memory.
    pub kv_cache_bytes: u64,
}

impl EngineOptions {
    /// Whether the log-probs of samples are, bit for bit, those that the scorer gives: only of the built-in engine, which
    /// then also has to be the scorer.
    pub fn samples_exactly(&self) -> bool {
        (self.generate, self.score) == (GenerateEngine::Cpu, ScoreEngine::Cpu)
    }

    pub(super) fn check(&self) -> Result<()> {
        at_least_one("engine.part_questions", self.part_questions as u64)?;
        at_least_one("engine.batch", self.batch as u64)?;
        at_least_one("engine.prefill_tokens", self.prefill_tokens as u64)
    }
}
