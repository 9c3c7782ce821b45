//! Low-rank adapters (LoRA; Hu et al., 2021): a projection gives y = x·Wᵀ + s·(x·Aᵀ)·Bᵀ, with W frozen.
//!
//! A model folder with an `adapter_config.json` is an adapter, in the layout of PEFT, on the model that it names as its
//! base. Such a folder stands wherever a model folder does; what it lacks, such as `config.json`, is the base's.

mod fields;
mod folder;
mod lora;

pub use folder::{FindBase, base_of, find_bases_by, model_file};
pub use lora::{Lora, PROJECTIONS};

use crate::checkpoint::uniform;
use crate::config::{Config, Parameter};
use crate::error::{Error, Result};
use latrace_core::random::key;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub(crate) use folder::{load, save};

/// What a model's adapter is made of; its values are parameters of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// The folder of the base model.
    pub base: PathBuf,
    /// The adapted projections, in the order of the model's.
    pub parts: Vec<Part>,
    /// `adapter_config.json`.
    pub raw: Map<String, Value>,
}

/// The adapter of one projection.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// The projection's name in transformers, without `.weight`.
    pub module: String,
    /// Columns of W and of A.
    pub inputs: usize,
    /// Rows of W and of B.
    pub outputs: usize,
    /// Rows of A, columns of B.
    pub rank: usize,
    /// s.
    pub scale: f32,
}

impl Part {
    /// A's and B's names in PEFT, of the projection with that name.
    pub(crate) fn names(module: &str) -> [String; 2] {
        ["A", "B"].map(|side| format!("{PREFIX}{module}.lora_{side}.weight"))
    }

    fn parameters(&self) -> [Parameter; 2] {
        let [a, b] = Self::names(&self.module);
        let parameter = |name, shape| Parameter { name, shape, decay_exempt: false };
        [parameter(a, vec![self.rank, self.inputs]), parameter(b, vec![self.outputs, self.rank])]
    }
}

/// What PEFT puts before a module's name.
const PREFIX: &str = "base_model.model.";

impl Adapter {
    /// A new adapter of a model with this configuration.
    ///
    /// # Errors
    /// A target that is no projection of the model.
    pub fn new(config: &Config, settings: &Lora, base: &Path) -> Result<Self> {
        let parts: Vec<Part> = projections(config)
            .into_iter()
            .filter(|(module, _)| settings.adapts(module))
            .map(|(module, [outputs, inputs])| {
                let (rank, scale) = (settings.rank, settings.scale());
                Part { module, inputs, outputs, rank, scale }
            })
            .collect();
        settings.check_targets(&parts)?;
        Ok(Self { base: base.to_owned(), parts, raw: fields::written(settings) })
    }

    /// A and B of each part, in the order of [`Adapter::parts`].
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        self.parts.iter().flat_map(Part::parameters).collect()
    }

    /// Values of a new adapter, as PEFT draws them: A uniform within ±1/√inputs, B zero, so that the model begins as its
    /// base.
    pub(crate) fn initialise(&self, seed: u64) -> Vec<Vec<f32>> {
        let fresh = |(i, part): (usize, &Part)| {
            let a = uniform(
                key(seed, &[ADAPTER, i as u64]),
                part.rank * part.inputs,
                (part.inputs as f64).sqrt().recip(),
            );
            [a, vec![0.0; part.outputs * part.rank]]
        };
        self.parts.iter().enumerate().flat_map(fresh).collect()
    }

    /// Fails unless training with these settings can go on from this adapter.
    pub(crate) fn check_continues(&self, config: &Config, settings: &Lora) -> Result<()> {
        let wanted = Self::new(config, settings, &self.base)?;
        if wanted.parts == self.parts {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "lora: expected the rank, alpha, rslora and targets of the adapter that the training starts from ({}), got other \
             ones; give those, or start from its base",
            self.summary()
        )))
    }

    fn summary(&self) -> String {
        match self.parts.first() {
            Some(part) => format!(
                "{} projections, the first of rank {} and scale {}",
                self.parts.len(),
                part.rank,
                part.scale
            ),
            None => "no projections".to_owned(),
        }
    }
}

/// Sets the values of adapters apart from those of fresh models under the same seed.
const ADAPTER: u64 = 0x6c6f_7261;

/// The names and shapes (outputs, inputs) of a model's projections.
fn projections(config: &Config) -> Vec<(String, [usize; 2])> {
    let projection = |parameter: Parameter| {
        let module = parameter.name.strip_suffix(".weight")?;
        let is_one = PROJECTIONS.iter().any(|name| module.ends_with(&format!(".{name}")));
        is_one.then(|| (module.to_owned(), [parameter.shape[0], parameter.shape[1]]))
    };
    config.parameters().into_iter().filter_map(projection).collect()
}
