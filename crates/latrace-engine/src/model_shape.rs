//! The properties of a model that the boundary needs.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::model_folder::tensor_shapes;
use latrace_lm::Config;

/// The limits that requests to a model have to respect, and the tokens that end its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelShape {
    /// Ids are below this.
    pub vocabulary_size: usize,
    /// Most tokens of prompt and response together.
    pub positions: usize,
    /// Tokens that end a text.
    pub end_ids: Vec<u32>,
}

impl ModelShape {
    /// Reads `config.json` (and `generation_config.json`) of a model folder.
    ///
    /// # Errors
    /// The folder is not a model folder; an unsupported configuration, named by its field.
    pub fn read(folder: &Path) -> Result<ModelShape> {
        // Not left to `Config::read`, which would report a mistyped path as a file that cannot be opened.
        if !folder.join("config.json").is_file() {
            return Err(no_model(folder).into());
        }
        Ok(ModelShape::of(Config::read(folder)?))
    }

    fn of(config: Config) -> ModelShape {
        ModelShape {
            vocabulary_size: config.vocab_size,
            positions: config.max_positions,
            end_ids: config.eos_token_ids,
        }
    }

    /// The first of `ids` that is no id of the model, with its place.
    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<(), String> {
        // Without a branch per token: all ids of a run pass through here.
        let largest = ids.iter().fold(0, |largest, &id| largest.max(id));
        if (largest as usize) < self.vocabulary_size || ids.is_empty() {
            return Ok(());
        }
        // There is one, since the largest is too large.
        let at = ids.iter().position(|&id| id as usize >= self.vocabulary_size).unwrap_or_default();
        Err(format!("token {at}: expected an id below {}, got {}", self.vocabulary_size, ids[at]))
    }

    pub(super) fn check_length(&self, tokens: usize) -> Result<(), String> {
        if tokens <= self.positions {
            return Ok(());
        }
        Err(format!("expected at most {} tokens (max_position_embeddings), got {tokens}", self.positions))
    }
}

fn no_model(folder: &Path) -> Failure {
    Failure::work(format!("{} is not a model folder: it has no config.json", folder.display()))
        .hint("a model folder contains config.json, model.safetensors and tokenizer.json")
}
/// The numbers of a model that its memory follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// All parameters.
    pub all: u64,
    /// Decoder layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Width of the keys of a layer, and of its values.
    pub key_values: u64,
    /// Most tokens of a sequence.
    pub positions: u64,
}

impl Parameters {
    /// Reads them from a model folder's `config.json`.
    ///
    /// # Errors
    /// As [`ModelShape::read`].
    pub fn read(folder: &Path) -> Result<Parameters> {
        ModelShape::read(folder)?;
        let config = Config::read(folder)?;
        let all = config
            .parameters()
            .iter()
            .map(|parameter| parameter.shape.iter().product::<usize>() as u64)
            .sum();
        Ok(Parameters {
            all,
            layers: config.layers as u64,
            hidden: config.hidden_size as u64,
            key_values: (config.kv_heads * config.head_dim) as u64,
            positions: config.max_positions as u64,
        })
    }
}

/// Checks that a model could have been trained from another: the same architecture, and the same tensors.
///
/// # Errors
/// A folder without a usable model; what differs, and how.
pub fn check_same_model(start: &Path, trained: &Path) -> Result<()> {
    let [of_start, of_trained] =
        [start, trained].map(|folder| ModelShape::read(folder).and_then(|_| Ok(Config::read(folder)?)));
    let (of_start, of_trained) = (of_start?, of_trained?);
    // Neither how texts end nor how fresh weights are drawn is a matter of the weights.
    let same = Config {
        eos_token_ids: of_start.eos_token_ids.clone(),
        initializer_range: of_start.initializer_range,
        ..of_trained.clone()
    };
    if same != of_start {
        let message = format!(
            "{} has another architecture than {}, which it is to be trained from",
            trained.display(),
            start.display()
        );
        return Err(Failure::work(message).hint(format!("expected {of_start:?}, got {of_trained:?}")).into());
    }
    let shapes = |folder: &Path| -> Result<BTreeMap<String, Vec<u64>>> {
        let mut shapes = tensor_shapes(folder)?;
        // Some trainers write a tied head out.
        if of_start.tied {
            shapes.remove("lm_head.weight");
        }
        Ok(shapes)
    };
    let (expected, got) = (shapes(start)?, shapes(trained)?);
    let names = expected.keys().chain(got.keys());
    let Some(name) = names.into_iter().find(|&name| expected.get(name) != got.get(name)) else {
        return Ok(());
    };
    let say = |shape: Option<&Vec<u64>>| shape.map_or("none".to_owned(), |shape| format!("{shape:?}"));
    let (expected, got) = (say(expected.get(name)), say(got.get(name)));
    Err(Failure::work(format!("{}: tensor {name}: expected shape {expected}, got {got}", trained.display()))
        .into())
}
