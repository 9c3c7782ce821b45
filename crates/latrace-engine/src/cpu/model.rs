//! Randomly initialised models.

use std::path::Path;

use anyhow::Result;
use latrace_lm::Model;
pub use latrace_lm::SaveDtype;

/// Draws weights for the `config.json` in `folder` and saves the model there, with the tokenizer files of
/// `tokenizer`. Gives the number of parameters.
///
/// # Errors
/// A configuration that cannot be used; I/O errors.
pub fn save_random(folder: &Path, seed: u64, dtype: SaveDtype, tokenizer: &Path) -> Result<usize> {
    let model = Model::random(folder, seed)?;
    model.save(folder, dtype, tokenizer)?;
    Ok(model.parameters().iter().map(|values| values.len()).sum())
}
