//! Conversion from and to GGUF, the model files of llama.cpp. The weights and the configuration are the language
//! model's work; tokenizer and chat template are converted here, between metadata and the files of a model folder.

mod byte_level;
mod export;
mod pre_tokenizer;
mod sentence_piece;
mod special;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::files::{replace_folder, write_atomically};
pub use latrace_lm::checkpoint::gguf::GgufExportType;
use latrace_lm::checkpoint::gguf::{self, GgufFile, GgufModel};
use latrace_lm::{Config, SaveDtype};
use serde_json::{Map, Value, json};

use crate::adapters::check_whole;
use crate::model_shape::ModelShape;
use crate::text_codec::TextCodec;
use vocabulary::Vocabulary;

/// Converts a GGUF file into the model folder `out`, which must be empty or absent and appears whole or not at all.
/// The tokenizer comes from the file, or from the folder `tokenizer` with its chat template and end tokens.
///
/// # Errors
/// A file that is damaged or needs what is not supported; a tokenizer that does not fit the model; I/O errors.
pub fn import_gguf(path: &Path, out: &Path, dtype: SaveDtype, tokenizer: Option<&Path>) -> Result<()> {
    let file = GgufFile::open(path)?;
    let model = GgufModel::read(&file)?;
    let files = match tokenizer {
        Some(_) => Vec::new(),
        None => tokenizer_files(&file)?,
    };
    replace_folder(out, |folder| {
        for (name, value) in generation_file(&file)?.iter().chain(&files) {
            write_json(&folder.join(name), value)?;
        }
        let source = tokenizer.unwrap_or(folder);
        check_tokenizer(&file, source, &model.config)?;
        Ok(model.save(folder, dtype, source)?)
    })
}

/// Converts a model folder into the GGUF file `out`, which appears whole or not at all. The tokenizer comes from
/// `tokenizer` if it is given.
///
/// # Errors
/// A folder without a usable model or tokenizer; settings that llama.cpp does not know; I/O errors.
pub fn export_gguf(model: &Path, out: &Path, kind: GgufExportType, tokenizer: Option<&Path>) -> Result<()> {
    check_whole(model, "a GGUF file")?;
    let metadata = export::metadata(model, tokenizer.unwrap_or(model))?;
    write_atomically(out, |writer| Ok(gguf::export(model, (out, writer), kind, metadata)?))
}

/// A file of the model folder.
type JsonFile = (&'static str, Value);

fn tokenizer_files(file: &GgufFile) -> Result<Vec<JsonFile>> {
    let vocabulary = Vocabulary::read(file)?;
    let definition = match vocabulary.model {
        vocabulary::Model::ByteLevel => byte_level::definition(&vocabulary)?,
        vocabulary::Model::SentencePiece => sentence_piece::definition(&vocabulary)?,
    };
    Ok(vec![("tokenizer.json", definition), ("tokenizer_config.json", special::settings(&vocabulary)?)])
}

/// What ends a response, if the metadata name anything: the end token, and the end of a turn if that is another one.
fn generation_file(file: &GgufFile) -> Result<Option<JsonFile>> {
    let mut ends: Vec<u64> = Vec::new();
    for token in ["eos", "eot"] {
        ends.extend(file.token_id(token)?.filter(|id| !ends.contains(id)));
    }
    let others = [("bos_token_id", file.token_id("bos")?), ("pad_token_id", file.token_id("padding")?)];
    let others = others.into_iter().filter_map(|(name, id)| Some((name.to_owned(), json!(id?))));
    let ends = match ends.as_slice() {
        [] => return Ok(None),
        [end] => json!(end),
        several => json!(several),
    };
    let fields: Map<String, Value> = others.chain([("eos_token_id".to_owned(), ends)]).collect();
    Ok(Some(("generation_config.json", Value::Object(fields))))
}

/// Before the weights are written, which takes long.
fn check_tokenizer(file: &GgufFile, folder: &Path, config: &Config) -> Result<()> {
    let codec = TextCodec::open(folder, &ModelShape::of(config));
    let codec = codec.with_context(|| format!("{}: its tokenizer cannot be used", file.path().display()))?;
    anyhow::ensure!(codec.has_tokenizer(), "{} has no tokenizer.json", folder.display());
    Ok(())
}

fn write_json(path: &Path, value: &Value) -> Result<()> {
    fs::write(path, format!("{value:#}\n")).with_context(|| format!("cannot write {}", path.display()))
}
