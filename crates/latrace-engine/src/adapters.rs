//! Folders with a low-rank adapter instead of a model: who takes them, and how they become models.

use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::files::replace_folder;
use latrace_io::hub::model_folder;
use latrace_lm::adapter::{base_of, find_bases_by};
use latrace_lm::{Adapter, Config, Lora, Model, SaveDtype};

/// Lets adapters name their base by its id on the hub, as published ones do: the base is downloaded, or read from the hub's
/// cache.
pub fn take_bases_from_hub() {
    find_bases_by(|name| {
        let folder = model_folder(name).map_err(|error| format!("{error:#}"))?;
        Ok(Some(folder).filter(|folder| folder.is_dir()))
    });
}

/// Whether the folder holds an adapter.
///
/// # Errors
/// An adapter whose description cannot be read, or whose base is not there.
pub fn is_adapter(folder: &Path) -> Result<bool> {
    Ok(base_of(folder)?.is_some())
}

/// Parameters of a new adapter of the model in `folder`.
///
/// # Errors
/// A folder without a usable model, or without the projections to adapt.
pub fn adapter_parameters(folder: &Path, lora: &Lora) -> Result<u64> {
    let adapter = Adapter::new(&Config::read(folder)?, lora, folder)?;
    Ok(adapter.parameters().iter().map(|parameter| parameter.len() as u64).sum())
}

/// Fails if the folder holds an adapter, which `engine` does not take.
///
/// # Errors
/// It does, or what it holds cannot be read.
pub fn check_whole(folder: &Path, engine: &str) -> Result<()> {
    if !is_adapter(folder)? {
        return Ok(());
    }
    let message = format!("{} is an adapter, and {engine} is given whole models", folder.display());
    Err(Failure::work(message).hint("merge it with its base: `latrace convert ADAPTER OUT`").into())
}

/// Writes the model in `folder` into the folder `out`, which must be empty or absent and appears whole or not at all; an
/// adapter and its base as one model.
///
/// # Errors
/// A folder without a usable model; I/O errors.
pub fn save_whole(folder: &Path, out: &Path, dtype: SaveDtype) -> Result<()> {
    replace_folder(out, |out| write_whole(folder, out, dtype))
}

/// As [`save_whole`], into an existing folder.
///
/// # Errors
/// As [`save_whole`].
pub fn write_whole(folder: &Path, out: &Path, dtype: SaveDtype) -> Result<()> {
    Ok(Model::load(folder)?.merged().save(out, dtype, folder)?)
}
