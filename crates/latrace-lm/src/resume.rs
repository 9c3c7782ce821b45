//! Checkpoints of a training run: weights, moments and position, whole or not at all.
//!
//! `checkpoint-<step>/` in the output folder holds the weights as a model folder, `first_moment/` and
//! `second_moment/` in the same form, and `training.json`. It is written under a temporary name, synced and
//! renamed; only then is the one before removed. The order of the rows follows from the step and the seed.
//! `training.json` beside the final model marks a finished run.

use crate::checkpoint::{SaveDtype, load, sync_folder, write_json};
use crate::config::Config;
use crate::error::Error;
use crate::model::Model;
use crate::rows::TrainRow;
use crate::train_config::TrainConfig;
use latrace_core::random::mix;
use latrace_kernels::Device;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "training.json";
const SCHEMA: u32 = 1;
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
    /// Of rows and settings: a run resumes with its own alone.
    fingerprint: String,
    seed: u64,
}

/// Where a run stands.
pub(crate) enum Position {
    /// Nothing done yet.
    Fresh,
    /// A checkpoint to resume from.
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

/// A run at a moment, to be written down.
pub(crate) struct Snapshot<'a, D: Device> {
    pub model: &'a Model<D>,
    pub moments: &'a [Vec<D::Buffer>; 2],
    pub step: u64,
    pub seed: u64,
    pub fingerprint: u64,
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
    let differs = |field: &str, expected, got| {
        Err(Error::Field { path: path.clone(), field: field.into(), expected, got })
    };
    if record.schema != SCHEMA {
        return differs("schema", SCHEMA.to_string(), record.schema.to_string());
    }
    if record.fingerprint != hex(fingerprint) {
        let expected = format!("{} (the rows and settings given now)", hex(fingerprint));
        let got = format!("{} (those the run was started with)", record.fingerprint);
        return differs("fingerprint", expected, got);
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
pub(crate) fn write_checkpoint<D: Device>(
    out: &Path,
    source: &Path,
    now: &Snapshot<'_, D>,
) -> Result<(), Error> {
    let folder = out.join(format!("{PREFIX}{}", now.step));
    write_folder(&out.join(UNFINISHED), |unfinished| {
        now.model.save(unfinished, SaveDtype::F32, source)?;
        for (name, moment) in MOMENTS.iter().zip(now.moments) {
            let path = unfinished.join(name);
            fs::create_dir(&path).map_err(Error::io("create", &path))?;
            now.model.save_buffers(&path, moment, SaveDtype::F32, &path)?;
        }
        write_record(unfinished, now, false)?;
        rename(unfinished, &folder)
    })?;
    sync_folder(out)?;
    for (_, path) in checkpoints(out)?.into_iter().filter(|(other, _)| *other != now.step) {
        fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

/// Puts the final model into `out`: file by file from a finished folder, the mark of completion last.
pub(crate) fn finish<D: Device>(
    out: &Path,
    source: &Path,
    now: &Snapshot<'_, D>,
    dtype: SaveDtype,
) -> Result<(), Error> {
    write_folder(&out.join(UNFINISHED), |unfinished| {
        now.model.save(unfinished, dtype, source)?;
        for entry in fs::read_dir(unfinished).map_err(Error::io("list", unfinished))? {
            let entry = entry.map_err(Error::io("list", unfinished))?;
            rename(&entry.path(), &out.join(entry.file_name()))?;
        }
        sync_folder(out)?;
        write_record(unfinished, now, true)?;
        rename(&unfinished.join(STATE), &out.join(STATE))?;
        fs::remove_dir(unfinished).map_err(Error::io("remove", unfinished))
    })?;
    sync_folder(out)
}

fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(Error::io("rename", from))
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

fn write_record<D: Device>(folder: &Path, now: &Snapshot<'_, D>, finished: bool) -> Result<(), Error> {
    let (step, seed, fingerprint) = (now.step, now.seed, hex(now.fingerprint));
    let record = Record { schema: SCHEMA, step, finished, fingerprint, seed };
    let path = folder.join(STATE);
    let value = serde_json::to_value(&record).map_err(|source| Error::Json { path: path.clone(), source })?;
    write_json(&path, &value)?;
    sync_folder(folder)
}

/// A 64-bit hash of all rows, one after another, and of the settings that change results: not memory, not
/// how often to save.
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// That of the settings.
    pub fn new(config: &TrainConfig) -> Self {
        let same = TrainConfig {
            checkpoint_every: 0,
            tokens_per_micro_batch: 1,
            recompute: false,
            ..config.clone()
        };
        let mut fingerprint = Self(0);
        format!("{same:?}").bytes().for_each(|byte| fingerprint.absorb(byte.into()));
        fingerprint
    }

    /// Adds the next row.
    pub fn add(&mut self, row: &TrainRow) {
        self.absorb(row.tokens.len() as u64);
        self.absorb(row.prompt_len as u64);
        row.tokens.iter().for_each(|&token| self.absorb(token.into()));
        row.numbers().for_each(|number| self.absorb(number.to_bits().into()));
    }

    /// The hash of what was added.
    pub fn value(&self) -> u64 {
        self.0
    }

    fn absorb(&mut self, value: u64) {
        self.0 = mix(self.0 ^ value);
    }
}
