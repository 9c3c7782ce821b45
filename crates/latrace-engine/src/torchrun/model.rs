//! Model folders: of the families that the built-in engine knows, and of any other that transformers loads.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_lm::Error;
use serde_json::{Map, Value};

use crate::boundary::ModelShape;
use crate::files::read_json_if_there;

/// A model's shape, by the fields that all families share where the family is not ours.
pub(super) fn shape_of(folder: &Path) -> Result<ModelShape> {
    match ModelShape::read(folder) {
        Err(error) if is_unknown_family(&error) => shape_of_any(folder),
        known => known,
    }
}

fn is_unknown_family(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::UnknownArchitecture { .. }))
}

fn shape_of_any(folder: &Path) -> Result<ModelShape> {
    let config = read_config(folder)?;
    let size = |field: &str| {
        let of_text = || config.get("text_config")?.get(field)?.as_u64();
        let value = config.get(field).and_then(Value::as_u64).or_else(of_text);
        value.map(|value| value as usize).with_context(|| lacks(folder, field))
    };
    Ok(ModelShape {
        vocabulary_size: size("vocab_size")?,
        positions: size("max_position_embeddings")?,
        // Only generators need them.
        end_ids: Vec::new(),
    })
}

fn lacks(folder: &Path, field: &str) -> String {
    format!("{}: field `{field}`: expected a whole number, got nothing", folder.join("config.json").display())
}

/// `config.json` as it is.
pub(super) fn read_config(folder: &Path) -> Result<Map<String, Value>> {
    match read_json_if_there(&folder.join("config.json"))? {
        Some(Value::Object(config)) => Ok(config),
        _ => {
            Err(Failure::work(format!("{}: expected an object", folder.join("config.json").display())).into())
        }
    }
}

/// Fails if the folder has no weights, which the ranks would find out only after a long start.
pub(super) fn check_weights(folder: &Path) -> Result<()> {
    let is_there = |name: &str| folder.join(name).exists();
    if is_there("model.safetensors") || is_there("model.safetensors.index.json") {
        return Ok(());
    }
    Err(Error::NoWeights { path: folder.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_that_is_not_ours_has_a_shape_too() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| std::fs::write(folder.path().join("config.json"), text).unwrap();
        let gemma = r#"{"architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "#;
        write(&format!(r#"{gemma} "vocab_size": 9, "text_config": {{"max_position_embeddings": 7}}}}"#));
        let shape = shape_of(folder.path()).unwrap();
        assert_eq!((shape.vocabulary_size, shape.positions), (9, 7));
        write(&format!(r#"{gemma} "vocab_size": 9}}"#));
        let error = shape_of(folder.path()).unwrap_err().to_string();
        assert!(error.contains("field `max_position_embeddings`"), "{error}");
        assert!(check_weights(folder.path()).unwrap_err().to_string().contains("no weights"));
    }
}
