//! What a run folder holds beyond what its recipe leads to, and its removal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_engine::CHECKPOINT_PREFIX;
use latrace_engine::torchrun::WORK;

use crate::layout;
use crate::pipeline::folder::{RunFolder, StageRecord, paths_in, read_record};
use crate::plan::{Plan, plan};
use crate::recipe::run::of_run;

/// What an error says that it could not do.
const CANNOT: &str = "cannot read the folder";

/// A folder that is not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The folder.
    pub path: PathBuf,
    /// Why it is not needed.
    pub why: String,
    /// The size of its files (bytes).
    pub bytes: u64,
}

/// What the run folder `run` does not need: stages that are to be redone or that its recipe does not have, and the
/// checkpoints of finished trainings.
///
/// # Errors
/// No run folder; records that cannot be read.
pub fn leftovers(run: &Path) -> Result<Vec<Leftover>> {
    let plan = plan(&of_run(run)?)?;
    let mut found = Vec::new();
    for (folder, record) in stages(run)? {
        match of_stage(&plan, run, &folder, &record) {
            Some(why) => found.push((folder, why)),
            None => found.extend(checkpoints(&folder, &record)?),
        }
    }
    found.into_iter().map(|(path, why)| Ok(Leftover { bytes: size(&path)?, path, why })).collect()
}

/// Removes leftovers of the locked run folder, and folders that held nothing else.
///
/// # Errors
/// I/O errors.
pub fn remove(run: &RunFolder, leftovers: &[Leftover]) -> Result<()> {
    for Leftover { path, .. } in leftovers {
        fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))?;
        let above = path.ancestors().skip(1).take_while(|folder| *folder != run.path());
        // Only an empty folder can be removed so: of one that is not, nothing is lost.
        above.take_while(|folder| fs::remove_dir(folder).is_ok()).for_each(drop);
    }
    Ok(())
}

/// Why a stage is not needed; `None` for one that is.
fn of_stage(plan: &Plan, run: &Path, folder: &Path, record: &StageRecord) -> Option<String> {
    if plan.nodes.iter().any(|node| run.join(node.folder()) == folder) {
        return record.stale.clone();
    }
    Some("the recipe has no such stage".to_owned())
}

/// The folders with a stage's record, at any depth, in order.
fn stages(run: &Path) -> Result<BTreeMap<PathBuf, StageRecord>> {
    let mut found = BTreeMap::new();
    // A run of its own that lies in this one is not of it.
    for folder in folders_in(run)?.into_iter().filter(|folder| !layout::is_run(folder)) {
        match read_record(&folder)? {
            Some(record) => drop(found.insert(folder, record)),
            None => found.extend(stages(&folder)?),
        }
    }
    Ok(found)
}

/// The checkpoints of a finished training, which resumes no more.
fn checkpoints(stage: &Path, record: &StageRecord) -> Result<Vec<(PathBuf, String)>> {
    if !record.done {
        return Ok(Vec::new());
    }
    let work = stage.join(WORK);
    let mut found = folders_in(stage)?;
    if work.is_dir() {
        found.extend(folders_in(&work)?);
    }
    let is_checkpoint = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(CHECKPOINT_PREFIX))
    };
    let why = || "a checkpoint of a finished training".to_owned();
    Ok(found.into_iter().filter(is_checkpoint).map(|path| (path, why())).collect())
}

/// The folders in a folder, in order.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = paths_in(folder, CANNOT)?;
    // A link is not followed: what it leads to is not the run's.
    folders.retain(|path| path.is_dir() && !path.is_symlink());
    folders.sort();
    Ok(folders)
}

/// The size of the files in a folder and below it (bytes).
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for path in paths_in(folder, CANNOT)? {
        let about = path.symlink_metadata().with_context(|| format!("cannot read {}", path.display()))?;
        bytes += if about.is_dir() { size(&path)? } else { about.len() };
    }
    Ok(bytes)
}
