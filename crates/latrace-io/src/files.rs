//! Atomic writes of files and folders: under a temporary name next to the target, synced, then renamed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

/// Writes `path` through `write`. On any failure the target is as it was before and the temporary file is
/// gone.
pub fn write_atomically<T>(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> Result<T>) -> Result<T> {
    let temporary = temporary_beside(path)?;
    let written = write_and_rename(path, &temporary, write);
    if written.is_err() {
        // The first error is the one to report, not one of the cleanup.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a text as a file, as [`write_atomically`] does.
///
/// # Errors
/// I/O errors.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    write_atomically(path, |writer| writer.write_all(text.as_bytes()).with_context(cannot))
}

fn write_and_rename<T>(
    path: &Path,
    temporary: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<T>,
) -> Result<T> {
    let cannot = || format!("cannot write {}", path.display());
    // Never one that exists: it would be another writer's.
    let file = File::create_new(temporary).with_context(cannot)?;
    let mut writer = BufWriter::new(file);
    let value = write(&mut writer)?;
    writer.flush().with_context(cannot)?;
    // On the disk before it gets its name: after a power failure, `path` must not be an empty file.
    writer.get_ref().sync_all().with_context(cannot)?;
    drop(writer);
    fs::rename(temporary, path).with_context(cannot)?;
    // The name is the folder's data, and not on the disk until the folder is.
    sync(parent_of(path)).with_context(cannot)?;
    Ok(value)
}

/// Creates the folder `out` through `fill`, which gets an empty folder next to it. An `out` that exists must
/// be empty: it is replaced. On any failure `out` is as it was before and the temporary folder is gone.
pub fn replace_folder<T>(out: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let temporary = temporary_beside(out)?;
    let filled = fill_and_rename(out, &temporary, fill);
    if filled.is_err() {
        // The first error is the one to report, not one of the cleanup.
        let _ = fs::remove_dir_all(&temporary);
    }
    filled
}

fn fill_and_rename<T>(out: &Path, temporary: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let cannot = || format!("cannot write the folder {}", out.display());
    fs::create_dir_all(parent_of(out)).with_context(cannot)?;
    fs::create_dir(temporary).with_context(cannot)?;
    let value = fill(temporary)?;
    sync_tree(temporary).with_context(cannot)?;
    // Renaming over an empty folder replaces it; over a folder with files it fails, and nothing is lost.
    fs::rename(temporary, out).with_context(cannot)?;
    sync(parent_of(out)).with_context(cannot)?;
    Ok(value)
}

/// The CRC-32C of a file's contents, and its length: enough to detect a different file.
pub fn checksum(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let (mut sum, mut length, mut buffer) = (0, 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).with_context(cannot)? {
            0 => return Ok(format!("{sum:08x}-{length}")),
            count => {
                sum = crc32c::crc32c_append(sum, &buffer[..count]);
                length += count as u64;
            }
        }
    }
}

/// The checksum of a file with these contents.
pub fn checksum_of_bytes(bytes: &[u8]) -> String {
    format!("{:08x}-{}", crc32c::crc32c(bytes), bytes.len())
}

/// Whether `folder` does not exist or is empty.
pub fn is_absent_or_empty(folder: &Path) -> Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("cannot read the folder {}", folder.display())),
    }
}

fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            sync(&path)?;
        }
    }
    sync(folder)
}

/// Waits until a file's data, or a folder's names, are on the disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        // Of a bare name it is the empty path, which cannot be opened.
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn temporary_beside(path: &Path) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name =
        path.file_name().with_context(|| format!("cannot write {}: it names no file", path.display()))?;
    // Hidden, so that nothing takes it for data; the count tells apart the threads of this process.
    let mut temporary = OsString::from(".");
    temporary.push(name);
    // Relaxed: nothing but the number itself passes between threads.
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!(".{}.{count}.tmp", std::process::id()));
    Ok(parent_of(path).join(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        write_atomically(&path, |writer| Ok(writer.write_all(b"new")?)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        let failed: Result<()> = write_atomically(&path, |writer| {
            writer.write_all(b"half")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("deep/model");
        let failed: Result<()> = replace_folder(&out, |temporary| {
            fs::write(temporary.join("x"), "half")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(names(&folder.path().join("deep")), Vec::<String>::new());
        replace_folder(&out, |temporary| Ok(fs::write(temporary.join("x"), "whole")?)).unwrap();
        assert_eq!(names(&out), ["x"]);
    }

    #[test]
    fn a_checksum_tells_contents_and_lengths_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let sum = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            checksum(&path).unwrap()
        };
        // The check value of CRC-32C.
        assert_eq!(sum(b"123456789"), "e3069283-9");
        assert_eq!(sum(b""), "00000000-0");
        let mut long = vec![7; (1 << 20) + 1];
        let before = sum(&long);
        // In the first buffer, and beyond it.
        for place in [0, 1 << 20] {
            long[place] = 8;
            assert_ne!(sum(&long), before, "byte {place} counts");
            long[place] = 7;
        }
    }

    #[test]
    fn a_folder_is_absent_or_empty_or_holds_something() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert!(is_absent_or_empty(&out).unwrap());
        fs::create_dir(&out).unwrap();
        assert!(is_absent_or_empty(&out).unwrap());
        fs::write(out.join("x"), "").unwrap();
        assert!(!is_absent_or_empty(&out).unwrap());
        assert!(is_absent_or_empty(&out.join("x")).is_err(), "a file is no folder");
    }

    #[test]
    fn a_folder_with_files_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("model");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("mine"), "keep").unwrap();
        assert!(!is_absent_or_empty(&out).unwrap());
        assert!(replace_folder(&out, |_| Ok(())).is_err());
        assert_eq!(names(folder.path()), ["model"]);
        assert_eq!(names(&out), ["mine"]);
    }
}
