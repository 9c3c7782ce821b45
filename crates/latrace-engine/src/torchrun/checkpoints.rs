//! Checkpoints of the ranks, and how far a run has come.
//!
//! The ranks write `checkpoint-<step>/` in their folder through `torch.distributed.checkpoint`, which makes
//! `.metadata` last: a folder without it is no checkpoint. Beside it, `training.json` says what was trained.
//! `training.json` beside the final model marks a finished run, as with the built-in trainer.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::files::write_atomically;
use latrace_lm::CHECKPOINT_PREFIX;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files::read_json_if_there;

const STATE: &str = "training.json";

/// A complete checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Checkpoint {
    pub folder: PathBuf,
    /// Updates that it holds.
    pub step: u64,
    /// Ranks that wrote it.
    pub ranks: usize,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Fresh,
    Checkpoint(Checkpoint),
    /// The final model is complete.
    Finished,
}

/// What a rank writes beside a checkpoint.
#[derive(Deserialize)]
struct Record {
    step: u64,
    fingerprint: String,
    ranks: usize,
}

/// The newest position of a run in `out` whose ranks work in `work`.
pub(super) fn latest(out: &Path, work: &Path, fingerprint: &str) -> Result<Position> {
    if let Some(mark) = read_json_if_there(&out.join(STATE))? {
        check_same(&out.join(STATE), mark["fingerprint"].as_str().unwrap_or_default(), fingerprint)?;
        return Ok(Position::Finished);
    }
    let Some((step, folder)) = newest_complete(work)? else { return Ok(Position::Fresh) };
    let record = read_record(&folder.join(STATE))?;
    check_same(&folder.join(STATE), &record.fingerprint, fingerprint)?;
    debug_assert_eq!(record.step, step);
    Ok(Position::Checkpoint(Checkpoint { folder, step, ranks: record.ranks }))
}

/// The newest complete checkpoint in `work`, by its step.
pub(super) fn newest_complete(work: &Path) -> Result<Option<(u64, PathBuf)>> {
    Ok(checkpoints(work)?.into_iter().filter(|(_, folder)| folder.join(".metadata").is_file()).max())
}

fn read_record(path: &Path) -> Result<Record> {
    let value = read_json_if_there(path)?.unwrap_or(Value::Null);
    serde_json::from_value(value).with_context(|| format!("{} is not a checkpoint's record", path.display()))
}

fn check_same(path: &Path, got: &str, expected: &str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    // As the built-in trainer says it.
    Err(latrace_lm::Error::Field {
        path: path.to_owned(),
        field: "fingerprint".to_owned(),
        expected: format!("{expected} (the rows and settings given now)"),
        got: format!("{got} (those the run was started with)"),
    }
    .into())
}

/// Checkpoints in `work`, complete or not, by their step.
fn checkpoints(work: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match fs::read_dir(work) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {}", work.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", work.display()))?.path();
        found.extend(step_of(&path).map(|step| (step, path)));
    }
    Ok(found)
}

fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(CHECKPOINT_PREFIX)?.parse().ok()
}

/// Removes all checkpoints but that of `step`.
pub(super) fn keep_only(work: &Path, step: Option<u64>) -> Result<()> {
    let others = checkpoints(work)?.into_iter().filter(|(other, _)| Some(*other) != step);
    others.into_iter().try_for_each(|(_, folder)| remove(&folder))
}

/// Removes a file or a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// Marks the run in `out` as finished.
pub(super) fn mark_finished(out: &Path, step: u64, fingerprint: &str, seed: u64) -> Result<()> {
    let mark = serde_json::json!({
        "schema": 2, "step": step, "finished": true, "fingerprint": fingerprint, "seed": seed,
    });
    write_atomically(&out.join(STATE), |file| Ok(writeln!(file, "{mark:#}")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(work: &Path, step: u64, complete: bool) {
        let folder = work.join(format!("checkpoint-{step}"));
        fs::create_dir_all(&folder).unwrap();
        let record = format!("{{\"step\": {step}, \"fingerprint\": \"f\", \"ranks\": 2}}");
        fs::write(folder.join(STATE), record).unwrap();
        if complete {
            fs::write(folder.join(".metadata"), "").unwrap();
        }
    }

    #[test]
    fn the_newest_complete_checkpoint_counts() {
        let out = tempfile::tempdir().unwrap();
        let work = out.path().join("torchrun");
        assert_eq!(latest(out.path(), &work, "f").unwrap(), Position::Fresh);
        checkpoint(&work, 2, true);
        checkpoint(&work, 10, true);
        checkpoint(&work, 12, false);
        let folder = work.join("checkpoint-10");
        let expected = Checkpoint { folder, step: 10, ranks: 2 };
        assert_eq!(latest(out.path(), &work, "f").unwrap(), Position::Checkpoint(expected));
        let error = latest(out.path(), &work, "g").unwrap_err().to_string();
        assert!(error.contains("expected g (the rows and settings given now), got f"), "{error}");
        keep_only(&work, Some(2)).unwrap();
        assert_eq!(checkpoints(&work).unwrap().len(), 1);
        mark_finished(out.path(), 12, "f", 0).unwrap();
        assert_eq!(latest(out.path(), &work, "f").unwrap(), Position::Finished);
        assert!(latest(out.path(), &work, "g").is_err());
    }
}
