//! The texts of token ids.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::Tokenizer;
use latrace_run::plan::Stage;

use super::stages::RunStages;
use crate::text::cannot_read;

/// The text of token ids; without a tokenizer, the numbers themselves.
pub(super) fn text_of(tokenizer: Option<&Tokenizer>, ids: &[u32]) -> String {
    let text = tokenizer.and_then(|tokenizer| tokenizer.decode_drawn(ids).ok());
    text.unwrap_or_else(|| numbers(ids))
}

fn numbers(ids: &[u32]) -> String {
    ids.iter().map(|id| format!("{id} ")).collect()
}

/// The tokenizer shared by the run's models, if any.
pub(super) fn tokenizer(stages: &RunStages) -> Result<Option<Tokenizer>> {
    tokenizer_file(stages).map(|path| read_tokenizer(&path)).transpose()
}

fn tokenizer_file(stages: &RunStages) -> Option<PathBuf> {
    // A method without the first model has the second, or none and no traces to decode.
    let folders = [Stage::Initial, Stage::Posterior].into_iter().filter_map(|stage| stages.done(stage));
    folders.map(|folder| folder.join("tokenizer.json")).find(|path| path.is_file())
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer> {
    let cannot = || cannot_read(path);
    Tokenizer::from_bytes(&std::fs::read(path).with_context(cannot)?).with_context(cannot)
}
