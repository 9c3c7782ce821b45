//! The run folder: a lock, and one folder per stage with a record of what it was made from.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::layout;
use latrace_io::failure::Failure;
use latrace_io::files::{checksum, write_atomically};

const RECORD: &str = "stage.json";

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
        let file = path.join("lock");
        let cannot = || format!("cannot lock {}", file.display());
        let lock =
            File::options().create(true).truncate(false).write(true).open(&file).with_context(cannot)?;
        match try_for_a_moment(&lock) {
            Ok(()) => {
                layout::claim(path)?;
                remove_temporary(path)?;
                Ok(RunFolder { path: path.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => {
                let hint = "wait for it to finish, or choose another folder with --run-dir";
                Err(Failure::work(format!("another process is working in {}", path.display()))
                    .hint(hint)
                    .into())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(cannot),
        }
    }

    /// Whether a process is working in the folder.
    ///
    /// # Errors
    /// A lock that cannot be opened.
    pub fn is_at_work(path: &Path) -> Result<bool> {
        let file = path.join("lock");
        match File::open(&file) {
            Ok(lock) => Ok(matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Retries for a moment, because [`RunFolder::is_at_work`] of another process also holds the lock briefly.
fn try_for_a_moment(lock: &File) -> Result<(), TryLockError> {
    for _ in 0..4 {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
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
        let stage = StageFolder {
            path: folder.to_owned(),
            name: name.to_owned(),
            key,
            before,
            started: Instant::now(),
        };
        stage.write_record(false, BTreeMap::new(), Value::Null)?;
        Ok(stage)
    }

    /// A short hash of the key, for the metadata of parts.
    pub fn key(&self) -> String {
        format!("{:08x}", crc32c::crc32c(self.key.to_string().as_bytes()))
    }

    /// Records the outcome of the work: its counts and files, or the time until it failed.
    ///
    /// # Errors
    /// Those of the work.
    pub fn end(self, outcome: Result<Value>) -> Result<Done> {
        let (files, counts) = match outcome {
            Ok(counts) => (checksums(&self.path)?, counts),
            Err(error) => {
                // The work's own error matters more than an error of recording its time.
                let _ = self.write_record(false, BTreeMap::new(), Value::Null);
                return Err(error.context(format!("stage {}", self.name)));
            }
        };
        let record = self.write_record(true, files, counts)?;
        Ok(Done { digest: digest(&record), folder: self.path })
    }

    fn write_record(
        &self,
        done: bool,
        files: BTreeMap<String, String>,
        counts: Value,
    ) -> Result<StageRecord> {
        let seconds = self.before + self.started.elapsed().as_secs_f64();
        let record = StageRecord {
            stage: self.name.clone(),
            key: self.key.clone(),
            done,
            seconds,
            peak_memory_bytes: latrace_engine::cpu::peak_memory_bytes(),
            files,
            counts,
        };
        let text = serde_json::to_string_pretty(&record)?;
        write_atomically(&self.path.join(RECORD), |writer| {
            writeln!(writer, "{text}").context("cannot write the stage's record")
        })?;
        Ok(record)
    }
}

/// Removes temporary files of a killed process. The lock guarantees that no other process is writing them.
fn remove_temporary(folder: &Path) -> Result<()> {
    let cannot = || format!("cannot clear the folder {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(&path).with_context(cannot)?;
        }
    }
    Ok(())
}

/// The record in a stage's folder, if any.
pub fn read_record(folder: &Path) -> Result<Option<StageRecord>> {
    let path = folder.join(RECORD);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is not a stage's record", path.display()))?,
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Checksums of a finished stage's files, as one string.
pub fn digest(record: &StageRecord) -> String {
    let text = serde_json::to_string(&record.files).unwrap_or_default();
    format!("{:08x}-{}", crc32c::crc32c(text.as_bytes()), record.files.len())
}

/// Files excluded from the digest, because they differ between equal results: times, rates, and temporary
/// files.
fn is_incidental(name: &str) -> bool {
    name == RECORD
        || name == "metrics.jsonl"
        || name.starts_with("events.out.")
        || name.starts_with('.')
        || name == "recipe.toml"
}

fn checksums(folder: &Path) -> Result<BTreeMap<String, String>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            sums.extend(checksums(&path)?.into_iter().map(|(inner, sum)| (format!("{name}/{inner}"), sum)));
        } else if !is_incidental(&name) {
            sums.insert(name, checksum(&path)?);
        }
    }
    Ok(sums)
}

/// Fails if the files of a finished stage have changed since: later stages would no longer match them.
///
/// # Errors
/// Names the file.
pub fn check_files(folder: &Path, record: &StageRecord) -> Result<()> {
    let now = checksums(folder)?;
    let names = record.files.keys().chain(now.keys());
    let Some(name) = names.into_iter().find(|&name| record.files.get(name) != now.get(name)) else {
        return Ok(());
    };
    let state = match (record.files.contains_key(name), now.contains_key(name)) {
        (true, false) => "is missing",
        (false, true) => "was added",
        _ => "has changed",
    };
    let hint = format!("put it back, or remove {} to have the stage redone", folder.display());
    Err(Failure::work(format!("{} {state} since the stage finished", folder.join(name).display()))
        .hint(hint)
        .into())
}

/// The differences of two keys, as dotted names with both values.
pub fn difference(earlier: &Value, now: &Value) -> String {
    let mut found = Vec::new();
    collect_differences("", earlier, now, &mut found);
    match found.len() {
        0..=3 => found.join(", "),
        more => format!("{}, and {} more", found[..3].join(", "), more - 3),
    }
}

fn collect_differences(name: &str, earlier: &Value, now: &Value, found: &mut Vec<String>) {
    if let (Value::Object(left), Value::Object(right)) = (earlier, now) {
        let names: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
        for inner in names {
            let dotted = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
            collect_differences(
                &dotted,
                left.get(inner).unwrap_or(&Value::Null),
                right.get(inner).unwrap_or(&Value::Null),
                found,
            );
        }
    } else if earlier != now {
        let shown = name.trim_start_matches("settings.");
        match shown.strip_prefix("inputs.") {
            Some(input) => found.push(format!("{input} changed")),
            None => found.push(format!("{shown} was {}, is {}", shorten(earlier), shorten(now))),
        }
    }
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 40 { format!("{}…", text.chars().take(40).collect::<String>()) } else { text }
}

#[cfg(test)]
mod tests {
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
}
