//! Checkpoints of a training run: weights, moments and position, whole or not at all.
//!
//! `checkpoint-<step>/` in the output folder holds the weights as a model folder, `first_moment/` and
//! `second_moment/` in the same form, and `training.json`. It is written under a temporary name, synced and
//! renamed; only then is the one before removed. The order of the rows follows from the step and the seed.
//! `training.json` beside the final model marks a finished run.

use crate::checkpoint::{SaveDtype, load, save, sync_folder, write_json};
use crate::config::Config;
use crate::error::Error;
use crate::train::{TrainRow, Trainer};
use crate::train_config::TrainConfig;
use latrace_core::random::mix;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "training.json";
const PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = ".unfinished";
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// What `training.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: u32,
    step: u64,
    finished: bool,
    /// Of rows and settings: a run goes on only with its own.
    fingerprint: String,
    seed: u64,
}

/// Where a run stands.
pub(crate) enum Position {
    /// Nothing done yet.
    Fresh,
    /// A checkpoint to go on from.
    Checkpoint(State),
    /// The final model is there.
    Finished,
}

/// A checkpoint on disk.
pub(crate) struct State {
    pub folder: PathBuf,
    pub step: u64,
}

impl State {
    pub fn moments(&self, config: &Config) -> Result<[Vec<Vec<f32>>; 2], Error> {
        let [first, second] = MOMENTS.map(|name| load(&self.folder.join(name), config));
        Ok([first?, second?])
    }
}

/// The newest position in `out`.
pub(crate) fn latest(out: &Path, fingerprint: u64) -> Result<Position, Error> {
    if out.join(STATE).exists() {
        read(out, fingerprint)?;
        return Ok(Position::Finished);
    }
    let newest = checkpoints(out)?.into_iter().max_by_key(|(step, _)| *step);
    let Some((_, folder)) = newest else { return Ok(Position::Fresh) };
    let step = read(&folder, fingerprint)?.step;
    Ok(Position::Checkpoint(State { folder, step }))
}

fn read(folder: &Path, fingerprint: u64) -> Result<Record, Error> {
    let path = folder.join(STATE);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|source| Error::Json { path: path.clone(), source })?;
    if record.fingerprint != hex(fingerprint) {
        return Err(Error::Field {
            path,
            field: "fingerprint".into(),
            expected: format!("{} (the rows and settings given now)", hex(fingerprint)),
            got: format!("{} (those the run was started with)", record.fingerprint),
        });
    }
    Ok(record)
}

fn hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

fn checkpoints(out: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let entries = fs::read_dir(out).map_err(Error::io("list", out))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("list", out))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_prefix(PREFIX));
        if let Some(step) = name.and_then(|n| n.parse().ok()) {
            found.push((step, path));
        }
    }
    Ok(found)
}

/// Writes a checkpoint, then removes those before it.
pub(crate) fn write_checkpoint(
    out: &Path,
    source: &Path,
    trainer: &Trainer,
    fingerprint: u64,
) -> Result<(), Error> {
    let step = trainer.step;
    let config = &trainer.model.config;
    let folder = out.join(format!("{PREFIX}{step}"));
    write_folder(&out.join(UNFINISHED), |unfinished| {
        trainer.model.save(unfinished, SaveDtype::F32, source)?;
        for (name, moment) in MOMENTS.iter().zip(&trainer.moments) {
            let path = unfinished.join(name);
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
            save(&path, config, moment, SaveDtype::F32, &path)?;
        }
        write_record(unfinished, step, false, fingerprint, trainer.config.seed)?;
        fs::rename(unfinished, &folder).map_err(Error::io("rename", unfinished))
    })?;
    sync_folder(out)?;
    for (_, path) in checkpoints(out)?.into_iter().filter(|(other, _)| *other != step) {
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// Puts the final model into `out`: file by file from a finished folder, the mark of completion last.
pub(crate) fn finish(
    out: &Path,
    source: &Path,
    trainer: &Trainer,
    dtype: SaveDtype,
    fingerprint: u64,
) -> Result<(), Error> {
    write_folder(&out.join(UNFINISHED), |unfinished| {
        trainer.model.save(unfinished, dtype, source)?;
        for entry in fs::read_dir(unfinished).map_err(Error::io("list", unfinished))? {
            let entry = entry.map_err(Error::io("list", unfinished))?;
            fs::rename(entry.path(), out.join(entry.file_name()))
                .map_err(Error::io("rename", &entry.path()))?;
        }
        sync_folder(out)?;
        write_record(unfinished, trainer.step, true, fingerprint, trainer.config.seed)?;
        fs::rename(unfinished.join(STATE), out.join(STATE))
            .map_err(Error::io("rename", &unfinished.join(STATE)))?;
        fs::remove_dir(unfinished).map_err(Error::io("remove", unfinished))
    })?;
    sync_folder(out)
}

/// Removes what a finished run no longer needs, whenever it was interrupted.
pub(crate) fn clear(out: &Path) -> Result<(), Error> {
    let unfinished = Some(out.join(UNFINISHED)).filter(|path| path.exists());
    let leftovers = checkpoints(out)?.into_iter().map(|(_, path)| path).chain(unfinished);
    leftovers.into_iter().try_for_each(|path| fs::remove_dir_all(&path).map_err(Error::io("remove", &path)))
}

/// Runs `body` on a new folder; what a failure leaves of it is removed.
fn write_folder(folder: &Path, body: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Error::io("remove", folder))?;
    }
    fs::create_dir(folder).map_err(Error::io("create", folder))?;
    body(folder).inspect_err(|_| {
        // The first error is the one to report; a folder that stays is removed by the next run.
        let _ = fs::remove_dir_all(folder);
    })
}

fn write_record(folder: &Path, step: u64, finished: bool, fingerprint: u64, seed: u64) -> Result<(), Error> {
    let record = Record { schema: 1, step, finished, fingerprint: hex(fingerprint), seed };
    let path = folder.join(STATE);
    let value = serde_json::to_value(&record).map_err(|source| Error::Json { path: path.clone(), source })?;
    write_json(&path, &value)?;
    sync_folder(folder)
}

/// A 64-bit hash of all rows and of the settings that change results: not memory, not how often to save.
pub(crate) fn fingerprint(config: &TrainConfig, rows: &[TrainRow]) -> u64 {
    let same =
        TrainConfig { checkpoint_every: 0, tokens_per_micro_batch: 1, recompute: false, ..config.clone() };
    let mut state = 0;
    let mut add = |value: u64| state = mix(state ^ value);
    format!("{same:?}").bytes().for_each(|b| add(b.into()));
    for row in rows {
        add(row.tokens.len() as u64);
        add(row.prompt_len as u64);
        row.tokens.iter().for_each(|&t| add(t.into()));
        row.weights.iter().for_each(|w| add(w.to_bits().into()));
        if let Some(policy) = &row.policy {
            policy.advantages.iter().chain(&policy.old_logp).for_each(|x| add(x.to_bits().into()));
        }
    }
    state
}
