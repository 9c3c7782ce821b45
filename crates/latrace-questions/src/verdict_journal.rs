//! Journal of judgements, kept next to the output, so that a killed run can resume.
//!
//! The first line identifies the input, options and version; a journal with a different first line is
//! discarded.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::journal::{Line, LineJournal};
use latrace_io::rows::Output;
use latrace_verify::{Judgement, Reason};
use serde::Deserialize;
use serde_json::json;

/// The judgements of an interrupted run, and the file to which new ones are appended.
pub struct Journal {
    earlier: VecDeque<Judgement>,
    lines: Option<LineJournal>,
}

impl Journal {
    /// The journal beside a file; standard output has none. `options` are those on which judgements depend.
    ///
    /// # Errors
    /// Data that cannot be read; a journal that cannot be written.
    pub fn open(out: &Output, data: &Path, options: &str) -> Result<Journal> {
        let Output::File(out) = out else {
            return Ok(Journal { earlier: VecDeque::new(), lines: None });
        };
        let (path, key) = (beside(out)?, key(data, options)?);
        let mut reader = Reader { key: key.as_bytes(), has_key: false, earlier: VecDeque::new() };
        let mut lines = LineJournal::open(&path, |_, line| Ok(reader.read(line)))?;
        let Reader { has_key, earlier, .. } = reader;
        // A new journal, or one whose lines, being of another run, have just been cut.
        if !has_key {
            lines.append(key.as_bytes())?;
        }
        Ok(Journal { earlier, lines: Some(lines) })
    }

    /// How many judgements an earlier run left.
    pub fn count_earlier(&self) -> usize {
        self.earlier.len()
    }

    /// The next `most` judgements of the earlier run.
    pub fn take(&mut self, most: usize) -> Vec<Judgement> {
        let count = most.min(self.earlier.len());
        self.earlier.drain(..count).collect()
    }

    /// Appends judgements in one write.
    ///
    /// # Errors
    /// I/O errors.
    pub fn add(&mut self, judgements: &[Judgement]) -> Result<()> {
        let line = |of: &Judgement| match &of.note {
            None => json!([of.reason.code(), of.extracted]).to_string(),
            note => json!([of.reason.code(), of.extracted, note]).to_string(),
        };
        match &mut self.lines {
            Some(lines) => lines.append_all(judgements.iter().map(line)),
            None => Ok(()),
        }
    }

    /// Removes the journal: the output is whole.
    ///
    /// # Errors
    /// I/O errors.
    pub fn close(self) -> Result<()> {
        self.lines.map_or(Ok(()), LineJournal::remove)
    }
}

/// Reads a journal up to the first line that is not this run's: a kill may have cut the last line short.
struct Reader<'a> {
    key: &'a [u8],
    has_key: bool,
    earlier: VecDeque<Judgement>,
}

impl Reader<'_> {
    fn read(&mut self, line: &[u8]) -> Line {
        let belongs = if self.has_key { self.read_judgement(line) } else { self.read_key(line) };
        if belongs { Line::Keep } else { Line::Cut }
    }

    /// Under another key, the judgements that follow are of other data or options.
    fn read_key(&mut self, line: &[u8]) -> bool {
        self.has_key = line == self.key;
        self.has_key
    }

    fn read_judgement(&mut self, line: &[u8]) -> bool {
        let judgement = judgement(line);
        let is_whole = judgement.is_some();
        self.earlier.extend(judgement);
        is_whole
    }
}

fn beside(out: &Path) -> Result<PathBuf> {
    let name =
        out.file_name().with_context(|| format!("cannot write {}: it names no file", out.display()))?;
    Ok(out.with_file_name(format!(".{}.journal", name.to_string_lossy())))
}

/// What the judgements depend on.
fn key(data: &Path, options: &str) -> Result<String> {
    let bytes = fs::read(data).with_context(|| format!("cannot read {}", data.display()))?;
    let crc32c = crc32c::crc32c(&bytes);
    // Another version may judge the same answers otherwise.
    let version = env!("CARGO_PKG_VERSION");
    Ok(json!({"version": version, "options": options, "bytes": bytes.len(), "crc32c": crc32c}).to_string())
}

/// A line: reason, answer, and the note if there is one.
#[derive(Deserialize)]
struct Noted(String, Option<String>, #[serde(default)] Option<String>);

fn judgement(line: &[u8]) -> Option<Judgement> {
    let Noted(code, extracted, note) = serde_json::from_slice(line).ok()?;
    Some(Judgement::new(Reason::from_code(&code)?, extracted).with_note(note))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_resumes_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data.jsonl"), Output::File(folder.path().join("out.jsonl")));
        fs::write(&data, "{}").unwrap();
        let judged = [
            Judgement::new(Reason::Equal, "1".to_owned()),
            Judgement::new(Reason::Undecided, None).with_note("unclear".to_owned()),
        ];
        let mut journal = Journal::open(&out, &data, "a").unwrap();
        journal.add(&judged).unwrap();
        drop(journal);
        let path = folder.path().join(".out.jsonl.journal");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.clone() + "[\"equal\", \"cut").unwrap();
        let mut journal = Journal::open(&out, &data, "a").unwrap();
        assert_eq!(journal.take(5), judged);
        drop(journal);
        fs::write(&path, text + "[\"splendid\", null]\n[\"equal\", \"2\"]\n").unwrap();
        let journal = Journal::open(&out, &data, "a").unwrap();
        assert_eq!(journal.count_earlier(), 2, "nothing is read past a line that is no judgement");
        journal.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn other_data_or_options_start_over() {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data.jsonl"), Output::File(folder.path().join("out.jsonl")));
        fs::write(&data, "{}").unwrap();
        Journal::open(&out, &data, "a").unwrap().add(&[Judgement::new(Reason::Equal, None)]).unwrap();
        assert_eq!(Journal::open(&out, &data, "b").unwrap().count_earlier(), 0);
        Journal::open(&out, &data, "b").unwrap().add(&[Judgement::new(Reason::Equal, None)]).unwrap();
        fs::write(&data, "{ }").unwrap();
        assert_eq!(Journal::open(&out, &data, "b").unwrap().count_earlier(), 0);
    }
}
