//! What the ranks need of a model folder, checked before their long start.

use std::path::Path;

use anyhow::Result;
use latrace_lm::Error;

use crate::adapters::check_whole;

/// Fails if the folder has no weights, or those of an adapter, which the ranks would find out only after a long start.
pub(super) fn check_weights(folder: &Path) -> Result<()> {
    check_whole(folder, "torchrun")?;
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
    fn a_folder_without_weights_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_weights(folder.path()).unwrap_err().to_string().contains("no weights"));
        std::fs::write(folder.path().join("model.safetensors"), "").unwrap();
        check_weights(folder.path()).unwrap();
    }
}
