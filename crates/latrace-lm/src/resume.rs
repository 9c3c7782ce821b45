//! Checkpoints of a training run: weights, moments and position, whole or not at all.
//!
//! `checkpoint-<step>/` in the output folder holds the weights as a model folder, `first_moment/` and
//! `second_moment/` in the same form, and `training.json`. It is written under a temporary name, synced and
//! renamed; only then is the one before removed. The order of the rows follows from the step and the seed.
//! `training.json` beside the final model marks a finished run.

use crate::checkpoint::{SaveDtype, load_parameters, save_values, sync_folder, write_json};
use crate::config::Parameter;
use crate::error::{Error, Result};
use crate::fields::read_json;
use crate::rows::TrainRow;
use crate::train_config::TrainConfig;
use crate::trainer::Trainer;
use latrace_core::random::mix;
use latrace_kernels::Device;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const STATE: &str = "training.json";
/// Version of checkpoints: 2 since rows are shuffled by the one scheme of random streams, so that a run begun in
/// another order is not resumed.
const SCHEMA: u32 = 2;
/// How the names of checkpoints' folders begin; the number of updates follows.
pub const CHECKPOINT_PREFIX: &str = "checkpoint-";
const UNFINISHED: &str = ".unfinished";
const MOMENTS: [&str; 2] = ["first_moment", "second_moment"];

/// What `training.json` says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    schema: u32,
    step: u64,
    finished: bool,
    /// Of rows and settings: a run never resumes with others.
    fingerprint: String,
    seed: u64,
}

/// How far a run has come.
pub(crate) enum Position {
    /// No update is done.
    Fresh,
    /// A checkpoint to resume from.
    Checkpoint(State),
    /// The final model is complete.
    Finished,
}

/// A checkpoint on disk.
pub(crate) struct State {
    pub folder: PathBuf,
    pub step: u64,
}

impl State {
    /// The moments of the parameters that are trained.
    pub fn moments(&self, trained: &[Parameter]) -> Result<[Vec<Vec<f32>>; 2]> {
        let [first, second] = MOMENTS.map(|name| load_parameters(&self.folder.join(name), trained, false));
        Ok([first?, second?])
    }
}

/// The state of a run between two updates, to be written to disk.
pub(crate) struct Snapshot<'a, D: Device> {
    pub trainer: &'a Trainer<D>,
    pub seed: u64,
    pub fingerprint: u64,
}

impl<D: Device> Snapshot<'_, D> {
    fn record(&self, finished: bool) -> Record {
        let (step, fingerprint) = (self.trainer.step(), hex(self.fingerprint));
        Record { schema: SCHEMA, step, finished, fingerprint, seed: self.seed }
    }
}

/// The newest position in `out`.
pub(crate) fn latest(out: &Path, fingerprint: u64) -> Result<Position> {
    if out.join(STATE).exists() {
        read(out, fingerprint)?;
        return Ok(Position::Finished);
    }
    let Some(folder) = newest(out)? else { return Ok(Position::Fresh) };
    let step = read(&folder, fingerprint)?.step;
    Ok(Position::Checkpoint(State { folder, step }))
}

/// The checkpoint of the most updates: a run killed between writing one and removing another leaves two.
fn newest(out: &Path) -> Result<Option<PathBuf>> {
    let newest = checkpoints(out)?.into_iter().max_by_key(|(step, _)| *step);
    Ok(newest.map(|(_, folder)| folder))
}

fn read(folder: &Path, fingerprint: u64) -> Result<Record> {
    let path = folder.join(STATE);
    let record: Record = read_json(&path)?;
    record.check(fingerprint).map_err(|[field, expected, got]| Error::Field {
        path,
        field,
        expected,
        got,
    })?;
    Ok(record)
}

impl Record {
    /// Fails with the field that differs, what was expected of it, and what it holds.
    fn check(&self, fingerprint: u64) -> Result<(), [String; 3]> {
        if self.schema != SCHEMA {
            return Err(["schema".into(), SCHEMA.to_string(), self.schema.to_string()]);
        }
        if self.fingerprint != hex(fingerprint) {
            let expected = format!("{} (the rows and settings given now)", hex(fingerprint));
            let got = format!("{} (those the run was started with)", self.fingerprint);
            return Err(["fingerprint".into(), expected, got]);
        }
        Ok(())
    }
}

fn hex(fingerprint: u64) -> String {
    format!("{fingerprint:016x}")
}

/// The checkpoints in `out`, by the updates they hold.
fn checkpoints(out: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let with_step = |path: PathBuf| Some((step_of(&path)?, path));
    Ok(paths_in(out)?.into_iter().filter_map(with_step).collect())
}

fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(CHECKPOINT_PREFIX)?.parse().ok()
}

fn paths_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(Error::io("list", folder))
}

/// Writes a checkpoint, then removes those before it.
pub(crate) fn write_checkpoint<D: Device>(out: &Path, source: &Path, now: &Snapshot<'_, D>) -> Result<()> {
    let folder = out.join(format!("{CHECKPOINT_PREFIX}{}", now.trainer.step()));
    write_folder(&out.join(UNFINISHED), |unfinished| {
        // In f32, exactly: a run that resumes from rounded weights would give other bits.
        now.trainer.model().save(unfinished, SaveDtype::F32, source)?;
        write_moments(unfinished, now)?;
        write_record(unfinished, now, false)?;
        rename(unfinished, &folder)
    })?;
    // The new name must survive a crash before the old checkpoint goes.
    sync_folder(out)?;
    let others = checkpoints(out)?.into_iter().filter(|(other, _)| *other != now.trainer.step());
    others.into_iter().try_for_each(|(_, path)| remove_folder(&path))
}

fn write_moments<D: Device>(folder: &Path, now: &Snapshot<'_, D>) -> Result<()> {
    for (name, moment) in MOMENTS.iter().zip(now.trainer.moments()) {
        let path = folder.join(name);
        create_folder(&path)?;
        let (model, trained) = (now.trainer.model(), now.trainer.trained());
        // Those of frozen parameters are empty, and of nothing else.
        let tensors = model.named(trained, moment.iter().filter(|moment| model.device.length(moment) > 0))?;
        save_values(&path, &model.config, &tensors, SaveDtype::F32, &path)?;
    }
    Ok(())
}

/// Puts the final model into `out`: file by file from a finished folder, the mark of completion last.
pub(crate) fn finish<D: Device>(
    out: &Path,
    source: &Path,
    now: &Snapshot<'_, D>,
    dtype: SaveDtype,
) -> Result<()> {
    write_folder(&out.join(UNFINISHED), |unfinished| {
        now.trainer.model().save(unfinished, dtype, source)?;
        move_files(unfinished, out)?;
        // The mark is written after the files' names are on disk: it never stands beside half a model.
        sync_folder(out)?;
        write_record(unfinished, now, true)?;
        move_files(unfinished, out)?;
        fs::remove_dir(unfinished).map_err(Error::io("remove", unfinished))
    })?;
    sync_folder(out)?;
    // Checkpoints go last: until the mark is on disk, they are what a killed run resumes from.
    clear(out)
}

fn move_files(from: &Path, to: &Path) -> Result<()> {
    for path in paths_in(from)? {
        if let Some(name) = path.file_name() {
            rename(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename", from))
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(Error::io("create", path))
}

fn remove_folder(path: &Path) -> Result<()> {
    fs::remove_dir_all(path).map_err(Error::io("remove", path))
}

/// Removes what a finished run no longer needs, at whatever point it was interrupted.
pub(crate) fn clear(out: &Path) -> Result<()> {
    let unfinished = Some(out.join(UNFINISHED)).filter(|path| path.exists());
    let checkpoints = checkpoints(out)?.into_iter().map(|(_, path)| path);
    checkpoints.chain(unfinished).try_for_each(|path| remove_folder(&path))
}

/// Runs `body` on a new folder, which is removed again if it fails.
fn write_folder(folder: &Path, body: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // A run that was killed may have left its own.
    if folder.exists() {
        remove_folder(folder)?;
    }
    create_folder(folder)?;
    body(folder).inspect_err(|_| {
        // The first error is the one to report; a folder that stays is removed by the next run.
        let _ = fs::remove_dir_all(folder);
    })
}

fn write_record<D: Device>(folder: &Path, now: &Snapshot<'_, D>, finished: bool) -> Result<()> {
    let record = now.record(finished);
    let path = folder.join(STATE);
    write_json(&path, &serde_json::to_value(&record).map_err(Error::json(&path))?)?;
    sync_folder(folder)
}

/// A 64-bit hash of all rows, in order, and of the settings that change results: neither memory nor the
/// interval between checkpoints.
pub(crate) struct Fingerprint {
    hash: u64,
    /// Whether batches depend on which question a row is of.
    by_question: bool,
}

impl Fingerprint {
    /// That of the settings.
    pub fn new(config: &TrainConfig) -> Self {
        let neutral = TrainConfig {
            checkpoint_every: 0,
            tokens_per_micro_batch: 1,
            recompute: false,
            ..config.clone()
        };
        // Debug output names every field, so that a new setting takes part without being listed here. Those that
        // came later are left out at their defaults: checkpoints of before are still known.
        let settings = [" batch_questions: 0,", ", lora: None", ", frozen: []"]
            .iter()
            .fold(format!("{neutral:?}"), |settings, later| settings.replace(later, ""));
        let mut fingerprint = Self { hash: 0, by_question: config.batch_questions > 0 };
        fingerprint.absorb_text(&settings);
        fingerprint
    }

    /// Adds the next row.
    pub fn add(&mut self, row: &TrainRow) {
        if self.by_question {
            self.absorb_text(&row.id);
        }
        // Lengths come first: without them, two rows could hash like two others cut elsewhere.
        self.absorb(row.tokens.len() as u64);
        self.absorb(row.prompt_len as u64);
        row.tokens.iter().for_each(|&token| self.absorb(token.into()));
        row.numbers().for_each(|number| self.absorb(number.to_bits().into()));
    }

    /// The hash of what was added.
    pub fn value(&self) -> u64 {
        self.hash
    }

    /// Adds a text.
    pub fn absorb_text(&mut self, text: &str) {
        text.bytes().for_each(|byte| self.absorb(byte.into()));
    }

    /// Adds a number.
    pub fn absorb(&mut self, value: u64) {
        self.hash = mix(self.hash ^ value);
    }
}
