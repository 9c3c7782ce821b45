//! The final model: weights that the ranks have saved become a model folder.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use latrace_lm::SaveDtype;
use latrace_lm::checkpoint::{copy_companions, save_config};

use crate::model_shape::read_config;

/// Completes the folder of saved weights with `config.json` and the files of `source`'s tokenizer, and moves
/// its files into `out`.
pub(super) fn publish(weights: &Path, out: &Path, source: &Path, dtype: SaveDtype) -> Result<()> {
    copy_companions(source, weights)?;
    save_config(weights, read_config(source)?, dtype)?;
    let cannot = || format!("cannot move {} into {}", weights.display(), out.display());
    for entry in fs::read_dir(weights).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let Some(name) = path.file_name() else { continue };
        // The ranks have not synced what they wrote.
        sync(&path).and_then(|()| fs::rename(&path, out.join(name))).with_context(cannot)?;
    }
    fs::remove_dir(weights).with_context(cannot)?;
    sync(out).with_context(cannot)
}

fn sync(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}
