//! An append-only file of whole lines, so that a killed process loses at most the line it was writing.
//!
//! It stores bytes without interpreting them: the caller decides, line by line, what to keep.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What to do with a line of an earlier process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Keep it.
    Keep,
    /// Cut it, with all lines after it.
    Cut,
}

/// An append-only file of lines.
#[derive(Debug)]
pub struct LineJournal {
    path: PathBuf,
    file: File,
}

impl LineJournal {
    /// Opens the file, which need not exist, and hands each line of an earlier process to `take`: its number,
    /// from 1, and its bytes without the line feed. Lines are read one at a time, blank ones passed over; a
    /// last line without a line feed was being written when that process ended, and is cut.
    ///
    /// # Errors
    /// A file that cannot be read or written; whatever `take` returns, in which case the file is unchanged.
    pub fn open(path: &Path, take: impl FnMut(u64, &[u8]) -> Result<Line>) -> Result<Self> {
        let mut journal = Self::at(path)?;
        let kept = journal.read_lines(take)?;
        journal.cut(kept)?;
        Ok(journal)
    }

    /// Opens the file and empties it, on the disk too: what it held must not be taken for this process's work
    /// after a crash.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn empty(path: &Path) -> Result<Self> {
        let journal = Self::at(path)?;
        journal.clear().with_context(|| journal.cannot("write"))?;
        Ok(journal)
    }

    fn at(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), file: open_file(path)? })
    }

    fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.sync_all()
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a line in a single write, so that lines never interleave. `line` must not contain a line feed.
    ///
    /// # Errors
    /// I/O errors.
    pub fn append(&mut self, line: &[u8]) -> Result<()> {
        self.append_all([line])
    }

    /// Appends several lines in one write.
    ///
    /// # Errors
    /// I/O errors.
    pub fn append_all<L: AsRef<[u8]>>(&mut self, lines: impl IntoIterator<Item = L>) -> Result<()> {
        let mut bytes = Vec::new();
        for line in lines {
            debug_assert!(!line.as_ref().contains(&b'\n'), "a line feed would make two lines of one");
            bytes.extend_from_slice(line.as_ref());
            bytes.push(b'\n');
        }
        self.file.write_all(&bytes).with_context(|| self.cannot("write"))
    }

    /// Removes the file, once its contents are stored elsewhere.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| self.cannot("remove"))
    }

    /// Passes the complete lines to `take`, and returns the length in bytes of those kept.
    fn read_lines(&self, mut take: impl FnMut(u64, &[u8]) -> Result<Line>) -> Result<u64> {
        let (mut reader, mut line) = (BufReader::new(&self.file), Vec::new());
        let mut kept = 0;
        for number in 1.. {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).with_context(|| self.cannot("read"))?;
            let Some(whole) = line.strip_suffix(b"\n") else { break };
            if !whole.is_empty() && take(number, whole)? == Line::Cut {
                break;
            }
            kept += length as u64;
        }
        Ok(kept)
    }

    /// Cuts the file to its first `kept` bytes, and goes to its end.
    fn cut(&mut self, kept: u64) -> Result<()> {
        let length = self.file.metadata().with_context(|| self.cannot("read"))?.len();
        if kept < length {
            tracing::warn!("{}: cut {} unusable bytes", self.path.display(), length - kept);
            self.file.set_len(kept).with_context(|| self.cannot("write"))?;
        }
        // The buffered reader has read ahead, past the lines that it returned.
        self.file.seek(SeekFrom::Start(kept)).with_context(|| self.cannot("write"))?;
        Ok(())
    }

    fn cannot(&self, what: &str) -> String {
        format!("cannot {what} {}", self.path.display())
    }
}

fn open_file(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a journal hands over, and what is left of the file after a line is appended to it.
    #[track_caller]
    fn check(text: &str, cut_at: Option<u64>, handed: &[(u64, &str)], left: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        fs::write(&path, text).unwrap();
        let mut seen = Vec::new();
        let mut journal = LineJournal::open(&path, |number, line| {
            seen.push((number, String::from_utf8(line.to_vec()).unwrap()));
            Ok(if Some(number) == cut_at { Line::Cut } else { Line::Keep })
        })
        .unwrap();
        journal.append(b"new").unwrap();
        let seen: Vec<(u64, &str)> = seen.iter().map(|(number, line)| (*number, line.as_str())).collect();
        assert_eq!(seen, handed);
        assert_eq!(fs::read_to_string(&path).unwrap(), left);
    }

    #[test]
    fn a_line_written_by_half_is_cut_and_the_rest_kept() {
        check("one\ntwo\nthr", None, &[(1, "one"), (2, "two")], "one\ntwo\nnew\n");
        check("one", None, &[], "new\n");
        check("", None, &[], "new\n");
        check("one\n", None, &[(1, "one")], "one\nnew\n");
    }

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        check("one\n\ntwo\n", None, &[(1, "one"), (3, "two")], "one\n\ntwo\nnew\n");
    }

    #[test]
    fn a_line_that_is_refused_goes_with_all_that_follow() {
        check("one\ntwo\nthree\n", Some(2), &[(1, "one"), (2, "two")], "one\nnew\n");
        check("one\ntwo\n", Some(1), &[(1, "one")], "new\n");
    }

    #[test]
    fn an_error_about_a_line_leaves_the_file_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        fs::write(&path, "one\nhal").unwrap();
        let error = LineJournal::open(&path, |number, _| anyhow::bail!("line {number} is bad")).unwrap_err();
        assert_eq!(error.to_string(), "line 1 is bad");
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nhal");
    }

    #[test]
    fn a_journal_that_is_emptied_or_removed_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        fs::write(&path, "earlier work, longer than what follows\n").unwrap();
        let mut journal = LineJournal::empty(&path).unwrap();
        journal.append_all(["a", "b"]).unwrap();
        assert_eq!(fs::read_to_string(journal.path()).unwrap(), "a\nb\n");
        journal.remove().unwrap();
        assert!(!path.exists());
    }
}
