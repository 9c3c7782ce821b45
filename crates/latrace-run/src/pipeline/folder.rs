//! The run folder: a lock, and one folder per stage with a record of what it was made from.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::layout::{self, RECIPE};
use crate::present::if_present;
use latrace_engine::boundary::ServerNote;
use latrace_engine::torchrun;
use latrace_io::failure::Failure;
use latrace_io::files::{checksum, write_atomically};

const RECORD: &str = "stage.json";

/// The lock file. It stays in the folder: removing it would let two processes lock two files of that name.
const LOCK: &str = "lock";

/// A finished stage: its folder, and the digest of its files.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its folder.
    pub folder: PathBuf,
    /// Checksums of its files, as one string.
    pub digest: String,
}

/// The record of a stage, stored in its folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// The stage's name.
    pub stage: String,
    /// Everything that its result depends on.
    pub key: Value,
    /// Whether all of its files have been written.
    pub done: bool,
    /// Working time (s) of its completed sessions.
    pub seconds: f64,
    /// Peak memory (bytes) of the process when the stage ended; 0 if the system does not report it.
    pub peak_memory_bytes: u64,
    /// Checksums of its files.
    pub files: BTreeMap<String, String>,
    /// Its counts, such as dropped rows.
    pub counts: Value,
    /// What the servers that did its work say of themselves; none with other engines. No part of the key, which has to
    /// be known before any server runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerNote>,
    /// Why the run's recipe no longer leads to it, so that it is to be redone; none for what is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
}

impl StageRecord {
    /// Whether it is finished, and what the run's recipe leads to.
    pub fn is_current(&self) -> bool {
        self.done && self.stale.is_none()
    }
}

/// A run folder, locked by one process at a time.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    _lock: File,
}

impl RunFolder {
    /// Creates or opens the folder, and locks it.
    ///
    /// # Errors
    /// Another process is working in it; it holds a run with another layout.
    pub fn lock(path: &Path) -> Result<RunFolder> {
        // Checked before anything is written, so that a run with another layout is left unchanged.
        layout::check(path)?;
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        let folder = RunFolder { path: path.to_owned(), _lock: locked(path, "--run-dir")? };
        // Only under the lock: another process may be writing the files that this removes.
        layout::claim(path)?;
        remove_temporary(path)?;
        Ok(folder)
    }

    /// Whether a process is working in the folder.
    ///
    /// # Errors
    /// A lock that cannot be opened.
    pub fn is_at_work(path: &Path) -> Result<bool> {
        let file = path.join(LOCK);
        let lock = if_present(File::open(&file));
        let lock = lock.with_context(|| format!("cannot read {}", file.display()))?;
        // A shared lock, so that two processes that only look do not take each other for one that works.
        Ok(lock.is_some_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens and locks the lock file. The system drops the lock with the process, so that a kill leaves none. `flag` is what chooses another
/// folder.
pub(crate) fn locked(path: &Path, flag: &str) -> Result<File> {
    let file = path.join(LOCK);
    let cannot = || format!("cannot lock {}", file.display());
    let lock = File::options().create(true).truncate(false).write(true).open(&file).with_context(cannot)?;
    match try_for_a_moment(&lock) {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(is_in_use(path, flag).into()),
        Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
    }
}

fn is_in_use(path: &Path, flag: &str) -> Failure {
    Failure::work(format!("another process is working in {}", path.display()))
        .hint(format!("wait for it to finish, or choose another folder with {flag}"))
}

/// Retries for a moment, because [`RunFolder::is_at_work`] of another process also holds the lock briefly.
fn try_for_a_moment(lock: &File) -> Result<(), TryLockError> {
    // 100 ms in all: such a look takes far less, and a process at work holds the lock for as long as it runs.
    for _ in 0..4 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(25)),
            outcome => return outcome,
        }
    }
    lock.try_lock()
}

/// A stage's folder while it is being filled.
#[derive(Debug)]
pub struct StageFolder {
    /// Where its files go.
    pub path: PathBuf,
    name: String,
    key: Value,
    before: f64,
    servers: Vec<ServerNote>,
    started: Instant,
}

impl StageFolder {
    /// Creates the folder, or opens it if it was begun under the same key; `before` is the working time (s)
    /// of earlier sessions.
    ///
    /// # Errors
    /// I/O errors.
    pub fn begin(folder: &Path, name: &str, key: Value, before: f64) -> Result<StageFolder> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        remove_temporary(folder)?;
        let (path, name) = (folder.to_owned(), name.to_owned());
        let stage = StageFolder { path, name, key, before, servers: Vec::new(), started: Instant::now() };
        // Before any part: a kill then leaves parts whose key is known, and the next run resumes from them.
        stage.write_unfinished()?;
        Ok(stage)
    }

    /// A short hash of the key, for the metadata of parts.
    pub fn key(&self) -> String {
        format!("{:08x}", crc32c::crc32c(self.key.to_string().as_bytes()))
    }

    /// Adds servers to the record, each once.
    ///
    /// # Errors
    /// I/O errors.
    pub fn note(&mut self, servers: Vec<ServerNote>) -> Result<()> {
        let before = self.servers.len();
        for server in servers {
            if !self.servers.contains(&server) {
                self.servers.push(server);
            }
        }
        if self.servers.len() == before { Ok(()) } else { self.write_unfinished() }
    }

    /// Records the outcome of the work: its counts and files, or the time until it failed.
    ///
    /// # Errors
    /// Those of the work.
    pub fn end(self, outcome: Result<Value>) -> Result<Done> {
        match outcome {
            Ok(counts) => self.finish(counts),
            Err(error) => {
                // The work's own error matters more than an error of recording its time.
                let _ = self.write_unfinished();
                Err(error.context(format!("stage {}", self.name)))
            }
        }
    }

    /// Records that the stage is done. The record is written last: a kill before leaves a stage that is begun.
    fn finish(self, counts: Value) -> Result<Done> {
        let files = checksums(&self.path)?;
        let record = StageRecord { done: true, files, counts, ..self.unfinished() };
        write_record(&self.path, &record)?;
        Ok(Done { digest: digest(&record), folder: self.path })
    }

    /// The record of the stage as it is now: begun, and worked on for some time.
    fn unfinished(&self) -> StageRecord {
        StageRecord {
            stage: self.name.clone(),
            key: self.key.clone(),
            done: false,
            seconds: self.before + self.started.elapsed().as_secs_f64(),
            peak_memory_bytes: latrace_engine::cpu::peak_memory_bytes(),
            files: BTreeMap::new(),
            counts: Value::Null,
            servers: self.servers.clone(),
            stale: None,
        }
    }

    fn write_unfinished(&self) -> Result<()> {
        write_record(&self.path, &self.unfinished())
    }
}

fn write_record(folder: &Path, record: &StageRecord) -> Result<()> {
    let text = serde_json::to_string_pretty(record)?;
    write_atomically(&folder.join(RECORD), |writer| {
        writeln!(writer, "{text}").context("cannot write the stage's record")
    })
}

/// Records why a stage is to be redone, or with `None` that it is current. A folder without a stage stays as it is.
///
/// # Errors
/// I/O errors.
pub(crate) fn mark(folder: &Path, stale: Option<String>) -> Result<()> {
    match read_record(folder)? {
        Some(record) if record.stale != stale => write_record(folder, &StageRecord { stale, ..record }),
        _ => Ok(()),
    }
}

/// The paths in a folder, not in those below it. `cannot` names what fails, as in "cannot read the folder".
pub(crate) fn paths_in(folder: &Path, cannot: &str) -> Result<Vec<PathBuf>> {
    let context = || format!("{cannot} {}", folder.display());
    let entries = fs::read_dir(folder).with_context(context)?;
    entries.map(|entry| Ok(entry.with_context(context)?.path())).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes temporary files and folders of a killed process. The lock guarantees that no other process is writing
/// them.
fn remove_temporary(folder: &Path) -> Result<()> {
    let cannot = "cannot clear the folder";
    for path in paths_in(folder, cannot)?.into_iter().filter(|path| is_temporary(&name_of(path))) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("{cannot} {}", folder.display()))?;
    }
    Ok(())
}

/// Whether a name is of those that files are written under before they get their own.
fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// The record in a stage's folder, if any.
pub fn read_record(folder: &Path) -> Result<Option<StageRecord>> {
    let path = folder.join(RECORD);
    let bytes = if_present(fs::read(&path)).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    bytes.map(parse).transpose().with_context(|| format!("{} is not a stage's record", path.display()))
}

/// When the record in a stage's folder was written: for a finished stage, when it was finished.
///
/// # Errors
/// I/O errors.
pub fn recorded_at(folder: &Path) -> Result<SystemTime> {
    let path = folder.join(RECORD);
    let written = fs::metadata(&path).and_then(|about| about.modified());
    written.with_context(|| format!("cannot read {}", path.display()))
}

/// Checksums of a finished stage's files, as one string.
pub fn digest(record: &StageRecord) -> String {
    let text = serde_json::to_string(&record.files).unwrap_or_default();
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), record.files.len())
}

/// Files and folders excluded from the digest, because they differ between equal results: times, rates, temporary
/// files, and what a trainer was told and said.
fn is_incidental(name: &str) -> bool {
    [RECORD, "metrics.jsonl", RECIPE, torchrun::WORK].contains(&name)
        || name.starts_with("events.out.")
        || name.starts_with('.')
}

/// Checksums of a folder's files, also of those in folders below it, such as checkpoints. Several are read at
/// a time: a stage's tables may hold gigabytes.
fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let sum = |(name, path): (String, PathBuf)| Ok((name, checksum(&path)?));
    files_below(folder)?.into_par_iter().map(sum).collect()
}

/// Files by their paths from the folder, without incidental ones.
fn files_below(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for path in paths_in(folder, "cannot read the folder")? {
        let name = name_of(&path);
        if is_incidental(&name) {
            continue;
        }
        if path.is_dir() {
            files.extend(
                files_below(&path)?.into_iter().map(|(inner, path)| (format!("{name}/{inner}"), path)),
            );
        } else {
            files.push((name, path));
        }
    }
    Ok(files)
}

/// Fails if the files of a finished stage have changed since: later stages would no longer match them.
///
/// # Errors
/// Names the file.
pub fn check_files(folder: &Path, record: &StageRecord) -> Result<()> {
    let (then, now) = (&record.files, checksums(folder)?);
    match then.keys().chain(now.keys()).find(|&name| then.get(name) != now.get(name)) {
        Some(name) => Err(has_changed(folder, name, change(then.get(name), now.get(name))).into()),
        None => Ok(()),
    }
}

fn change(then: Option<&String>, now: Option<&String>) -> &'static str {
    match (then, now) {
        (Some(_), None) => "is missing",
        (None, Some(_)) => "was added",
        _ => "has changed",
    }
}

fn has_changed(folder: &Path, name: &str, state: &str) -> Failure {
    Failure::work(format!("{} {state} since the stage finished", folder.join(name).display()))
        .hint(format!("put it back, or remove {} to have the stage redone", folder.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn two_processes_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!RunFolder::is_at_work(folder.path()).unwrap());
        let held = RunFolder::lock(folder.path()).unwrap();
        assert!(RunFolder::is_at_work(folder.path()).unwrap());
        let error = RunFolder::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("another process is working in"), "{error}");
        drop(held);
        assert!(!RunFolder::is_at_work(folder.path()).unwrap());
    }

    #[test]
    fn what_a_killed_process_was_writing_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".model.7.0.tmp")).unwrap();
        for file in [".model.7.0.tmp/weights", ".summary.json.7.1.tmp", "kept.tmp"] {
            fs::write(folder.path().join(file), "").unwrap();
        }
        drop(RunFolder::lock(folder.path()).unwrap());
        let left: BTreeSet<String> =
            paths_in(folder.path(), "").unwrap().iter().map(|path| name_of(path)).collect();
        assert!(left.contains("kept.tmp") && !left.iter().any(|name| is_temporary(name)), "{left:?}");
    }

    fn begun(folder: &Path, before: f64) -> StageFolder {
        StageFolder::begin(folder, "x", serde_json::json!({"seed": 1}), before).unwrap()
    }

    #[test]
    fn servers_of_all_sessions_are_recorded_once() {
        let folder = tempfile::tempdir().unwrap();
        let server = |version: &str| ServerNote {
            kind: "vllm".to_owned(),
            version: Some(version.to_owned()),
            max_model_len: Some(96),
        };
        let mut stage = begun(folder.path(), 0.0);
        stage.note(vec![server("1")]).unwrap();
        // Also of a session that is killed.
        let earlier = read_record(folder.path()).unwrap().unwrap().servers;
        assert_eq!(earlier, [server("1")]);
        let mut stage = begun(folder.path(), 0.0);
        stage.note(earlier).unwrap();
        stage.note(vec![server("1"), server("2")]).unwrap();
        stage.end(Ok(Value::Null)).unwrap();
        let record = read_record(folder.path()).unwrap().unwrap();
        assert_eq!(record.servers, [server("1"), server("2")]);
    }

    #[test]
    fn a_resumed_stage_adds_to_its_working_time() {
        let folder = tempfile::tempdir().unwrap();
        begun(folder.path(), 100.0).end(Ok(Value::Null)).unwrap();
        let record = read_record(folder.path()).unwrap().unwrap();
        assert!(record.done && (100.0..110.0).contains(&record.seconds), "{}", record.seconds);
    }

    #[test]
    fn a_stages_files_are_those_that_do_not_differ_between_equal_results() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let incidental = ["metrics.jsonl", "events.out.tfevents.1", ".rows", "torchrun/worker.log"];
        let stage = begun(folder.path(), 0.0);
        for inner in ["checkpoint", "torchrun"] {
            fs::create_dir(folder.path().join(inner)).unwrap();
        }
        write("table", "1");
        write("checkpoint/model", "2");
        stage.end(Ok(Value::Null)).unwrap();
        let record = read_record(folder.path()).unwrap().unwrap();
        assert_eq!(record.files.keys().collect::<Vec<_>>(), ["checkpoint/model", "table"]);
        let check = |expected: Option<&str>| match (check_files(folder.path(), &record), expected) {
            (Err(error), Some(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (outcome, expected) => assert_eq!((outcome.is_ok(), expected), (true, None)),
        };
        incidental.into_iter().for_each(|name| write(name, "3"));
        check(None);
        write("part", "4");
        check(Some("part was added since the stage finished"));
        fs::remove_file(folder.path().join("part")).unwrap();
        write("table", "5");
        check(Some("table has changed since"));
        fs::remove_file(folder.path().join("table")).unwrap();
        check(Some("table is missing since"));
    }
}
