//! Judgements made so far, kept beside the output, so that a run that was killed goes on where it stopped.
//!
//! The first line says what was judged, with which options and by which version; a journal of anything else
//! is begun anew.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_verify::{Judgement, Reason};
use serde_json::{Value, json};

use latrace_io::rows::Output;

/// The judgements of an earlier run, and where those of this one are added.
pub struct Journal {
    earlier: VecDeque<Judgement>,
    file: Option<(PathBuf, BufWriter<File>)>,
}

impl Journal {
    /// The journal beside a file; standard output has none. `options` are those on which judgements depend.
    pub fn open(out: &Output, data: &Path, options: &str) -> Result<Journal> {
        let Output::File(out) = out else {
            return Ok(Journal { earlier: VecDeque::new(), file: None });
        };
        let path = beside(out)?;
        let bytes = fs::read(data).with_context(|| format!("cannot read {}", data.display()))?;
        let key = json!({"version": env!("CARGO_PKG_VERSION"), "options": options, "bytes": bytes.len(), "crc32c": crc32c::crc32c(&bytes)}).to_string();
        let known = fs::read_to_string(&path).unwrap_or_default();
        let (earlier, length) = earlier(&known, &key);
        let cannot = || format!("cannot write {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(&path).with_context(cannot)?;
        // A line that was being written when the earlier run ended goes.
        file.set_len(length as u64).with_context(cannot)?;
        let mut journal = Journal { earlier, file: Some((path.clone(), BufWriter::new(file))) };
        if length == 0 {
            journal.write_line(&key)?;
        }
        Ok(journal)
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

    /// Adds judgements, and hands them to the system.
    pub fn add(&mut self, judgements: &[Judgement]) -> Result<()> {
        for judgement in judgements {
            self.write_line(&json!([judgement.reason.code(), judgement.extracted]).to_string())?;
        }
        match &mut self.file {
            Some((path, writer)) => {
                writer.flush().with_context(|| format!("cannot write {}", path.display()))
            }
            None => Ok(()),
        }
    }

    /// Removes the journal: the output is whole.
    pub fn close(self) -> Result<()> {
        match self.file {
            Some((path, _)) => {
                fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
            }
            None => Ok(()),
        }
    }

    fn write_line(&mut self, line: &str) -> Result<()> {
        match &mut self.file {
            Some((path, writer)) => {
                writeln!(writer, "{line}").with_context(|| format!("cannot write {}", path.display()))
            }
            None => Ok(()),
        }
    }
}

fn beside(out: &Path) -> Result<PathBuf> {
    let name =
        out.file_name().with_context(|| format!("cannot write {}: it names no file", out.display()))?;
    Ok(out.with_file_name(format!(".{}.journal", name.to_string_lossy())))
}

/// The judgements in a journal's text that begins with `key`, and the length of the lines they stand in.
fn earlier(text: &str, key: &str) -> (VecDeque<Judgement>, usize) {
    let mut judgements = VecDeque::new();
    let Some(lines) = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('\n')) else {
        return (judgements, 0);
    };
    let mut length = key.len() + 1;
    for line in lines.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let Some(judgement) = judgement(line) else {
            break;
        };
        judgements.push_back(judgement);
        length += line.len();
    }
    (judgements, length)
}

fn judgement(line: &str) -> Option<Judgement> {
    let value: Value = serde_json::from_str(line).ok()?;
    let reason = Reason::from_code(value.get(0)?.as_str()?)?;
    let extracted = value.get(1)?;
    (extracted.is_null() || extracted.is_string())
        .then(|| Judgement::new(reason, extracted.as_str().map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_goes_on_after_its_last_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let (data, out) = (folder.path().join("data.jsonl"), Output::File(folder.path().join("out.jsonl")));
        fs::write(&data, "{}").unwrap();
        let judged = [Judgement::new(Reason::Equal, "1".to_owned()), Judgement::new(Reason::NoAnswer, None)];
        let mut journal = Journal::open(&out, &data, "a").unwrap();
        journal.add(&judged).unwrap();
        journal.write_line("[\"equal\", \"cut").unwrap();
        drop(journal);
        let path = folder.path().join(".out.jsonl.journal");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.trim_end()).unwrap();
        let mut journal = Journal::open(&out, &data, "a").unwrap();
        assert_eq!(journal.take(5), judged);
        journal.close().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn other_data_or_options_begin_anew() {
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
