//! The properties of a model that the boundary needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_io::model_folder::{check_finite, tensor_shapes};
use latrace_lm::adapter::model_file;
use latrace_lm::{Config, Error};
use serde_json::{Map, Value};

use crate::files::read_json_if_there;

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
    /// Reads `config.json` (and `generation_config.json`) of a model folder: of the families that the built-in engine
    /// knows, and of any other, which servers and trainers may load.
    ///
    /// # Errors
    /// The folder is not a model folder; an unsupported configuration, named by its field.
    pub fn read(folder: &Path) -> Result<ModelShape> {
        // Not left to `Config::read`, which would report a mistyped path as a file that cannot be opened.
        if !model_file(folder, "config.json")?.is_file() {
            return Err(no_model(folder).into());
        }
        match Config::read(folder) {
            Ok(config) => Ok(ModelShape::of(&config)),
            Err(Error::UnknownArchitecture { .. }) if names_family(folder)? => ModelShape::of_any(folder),
            Err(error) => Err(error.into()),
        }
    }

    /// By the fields that all families share.
    fn of_any(folder: &Path) -> Result<ModelShape> {
        let config = read_config(folder)?;
        Ok(ModelShape {
            vocabulary_size: size(&config, folder, "vocab_size")?,
            positions: size(&config, folder, "max_position_embeddings")?,
            end_ids: Config::end_tokens(folder)?,
        })
    }

    pub(crate) fn of(config: &Config) -> ModelShape {
        ModelShape {
            vocabulary_size: config.vocab_size,
            positions: config.max_positions,
            end_ids: config.eos_token_ids.clone(),
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

/// A field of `config.json`, or of the language model's part of it where a model reads more than text.
fn size(config: &Map<String, Value>, folder: &Path, field: &str) -> Result<usize> {
    let of_text = || config.get("text_config")?.get(field)?.as_u64();
    let value = config.get(field).and_then(Value::as_u64).or_else(of_text);
    let lacks = || {
        let path = folder.join("config.json");
        format!("{}: field `{field}`: expected a whole number, got nothing", path.display())
    };
    value.map(|value| value as usize).with_context(lacks)
}

/// Whether a model says what it is at all.
fn names_family(folder: &Path) -> Result<bool> {
    let config = read_config(folder)?;
    Ok(["architectures", "model_type"].iter().any(|field| config.contains_key(*field)))
}

/// `config.json` as it is.
pub(super) fn read_config(folder: &Path) -> Result<Map<String, Value>> {
    let path = model_file(folder, "config.json")?;
    match read_json_if_there(&path)? {
        Some(Value::Object(config)) => Ok(config),
        _ => Err(Failure::work(format!("{}: expected an object", path.display())).into()),
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
        let positions = ModelShape::read(folder)?.positions as u64;
        match Config::read(folder) {
            Ok(config) => Ok(Parameters {
                all: config.parameters().iter().map(|parameter| parameter.len() as u64).sum(),
                layers: config.layers as u64,
                hidden: config.hidden_size as u64,
                key_values: (config.kv_heads * config.head_dim) as u64,
                positions,
            }),
            Err(Error::UnknownArchitecture { .. }) => Parameters::of_any(folder, positions),
            Err(error) => Err(error.into()),
        }
    }

    /// By its tensors, and the fields that all families share.
    fn of_any(folder: &Path, positions: u64) -> Result<Parameters> {
        let config = read_config(folder)?;
        let size = |field: &str| size(&config, folder, field).map(|size| size as u64);
        let (hidden, heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let kv_heads = size("num_key_value_heads").unwrap_or(heads);
        let head_dim = size("head_dim").unwrap_or(hidden / heads.max(1));
        Ok(Parameters {
            all: tensor_shapes(folder)?.values().map(|shape| shape.iter().product::<u64>()).sum(),
            layers: size("num_hidden_layers")?,
            hidden,
            key_values: kv_heads * head_dim,
            positions,
        })
    }
}

/// Checks that a random model can be made of the shape in `config.json`.
///
/// # Errors
/// A field that is none, or an architecture that the built-in engine does not have.
pub fn check_random(folder: &Path) -> Result<()> {
    Config::read(folder)?;
    Ok(())
}

/// Checks that a model could have been trained from another: the same architecture, and the same tensors.
///
/// # Errors
/// A folder without a usable model; what differs, and how; weights that are not finite.
pub fn check_same_model(start: &Path, trained: &Path) -> Result<()> {
    check_same_architecture(start, trained)?;
    check_same_tensors(start, trained)?;
    check_finite(trained)
}

fn check_same_architecture(start: &Path, trained: &Path) -> Result<()> {
    let (expected, got) = (architecture(start)?, architecture(trained)?);
    let names: BTreeSet<&String> = expected.keys().chain(got.keys()).collect();
    let of = |fields: &Fields, name| fields.get(name).cloned().unwrap_or_else(|| "nothing".to_owned());
    let differences: Vec<String> = names
        .into_iter()
        .filter(|&name| expected.get(name) != got.get(name))
        .map(|name| format!("{name}: expected {}, got {}", of(&expected, name), of(&got, name)))
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    let (trained, start) = (trained.join("config.json"), start.display());
    let message = format!("{}: {}", trained.display(), differences.join("; "));
    let hint = format!(
        "expected is the architecture of {start}, which the training starts from; only weights may differ"
    );
    Err(Failure::work(message).hint(hint).into())
}

/// Fields by name, in words.
type Fields = BTreeMap<String, String>;

/// What makes two models alike but for their weights.
fn architecture(folder: &Path) -> Result<Fields> {
    ModelShape::read(folder)?;
    match Config::read(folder) {
        Ok(config) => {
            Ok(config.architecture().into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
        }
        // Of a family that others load, by its name alone; its tensors say the rest.
        Err(Error::UnknownArchitecture { .. }) => {
            let named = read_config(folder)?
                .get("architectures")
                .and_then(|names| names.get(0)?.as_str().map(str::to_owned));
            Ok(named.map(|name| ("architectures".to_owned(), name)).into_iter().collect())
        }
        Err(error) => Err(error.into()),
    }
}

fn check_same_tensors(start: &Path, trained: &Path) -> Result<()> {
    let tied = read_config(start)?.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false);
    let shapes = |folder: &Path| -> Result<BTreeMap<String, Vec<u64>>> {
        let mut shapes = tensor_shapes(folder)?;
        // Some trainers write a tied head out.
        if tied {
            shapes.remove("lm_head.weight");
        }
        Ok(shapes)
    };
    let (expected, got) = (shapes(start)?, shapes(trained)?);
    let mut names = expected.keys().chain(got.keys());
    let Some(name) = names.find(|&name| expected.get(name) != got.get(name)) else { return Ok(()) };
    let say = |shape: Option<&Vec<u64>>| shape.map_or("none".to_owned(), |shape| format!("{shape:?}"));
    let (expected, got) = (say(expected.get(name)), say(got.get(name)));
    let message = format!("{}: tensor {name}: expected shape {expected}, got {got}", trained.display());
    Err(Failure::work(message).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_ours_has_a_shape_too() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("config.json"), text).unwrap();
        let gemma = r#"{"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "eos_token_id": [1, 6],"#;
        write(&format!(r#"{gemma} "vocab_size": 9, "text_config": {{"max_position_embeddings": 7}}}}"#));
        let shape = ModelShape::read(folder.path()).unwrap();
        assert_eq!((shape.vocabulary_size, shape.positions, shape.end_ids), (9, 7, vec![1, 6]));
        write(&format!(r#"{gemma} "vocab_size": 9}}"#));
        let error = ModelShape::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("field `max_position_embeddings`"), "{error}");
    }
}
