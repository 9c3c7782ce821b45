//! Exports the examples of a training of a run for other trainers: rows as text and as token ids, and the
//! training settings in the trainer's format.
//!
//! Whatever a trainer cannot express is listed in the exported README, never dropped silently.

mod job;
mod llama_factory;
mod readme;
mod transformers;
mod trl;
mod yaml;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::files::replace_folder;
use serde_json::Value;

use crate::pipeline::records::ExampleRecord;
use job::{Example, Job};

/// The trainer to export to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Hugging Face's TRL
    Trl,
    /// LLaMA-Factory
    LlamaFactory,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Rows.
    pub rows: usize,
    /// Rows dropped because they exceed the cut-off length.
    pub dropped: usize,
    /// Rows whose text does not tokenize back to their token ids.
    pub ambiguous: usize,
}

/// Exports a training of a run, by the name of its folder or else the last one, into a folder that is empty or absent.
///
/// # Errors
/// Examples that are unfinished; rewarded samples, which a supervised trainer cannot use; I/O errors.
pub fn export(run: &Path, stage: Option<&str>, target: Target, out: &Path) -> Result<Exported> {
    let job = Job::read(run, stage)?;
    let files = match target {
        Target::Trl => trl::files(&job),
        Target::LlamaFactory => llama_factory::files(&job),
    };
    replace_folder(out, |folder| files.iter().try_for_each(|file| write(folder, file)))?;
    Ok(Exported { rows: job.rows.len(), dropped: job.dropped, ambiguous: job.ambiguous })
}

/// A file name and its contents.
type File = (&'static str, String);

fn write(folder: &Path, (name, text): &File) -> Result<()> {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap_or(folder))?;
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// The file of the rows, in both formats.
const ROWS: &str = "data/train.jsonl";

/// Rows as JSON lines: those that every trainer reads, with the fields that `add` adds for one of them.
fn rows(job: &Job, add: impl Fn(&ExampleRecord, &mut Value)) -> File {
    let line = |example: &Example| {
        let mut row = example.row();
        add(&example.record, &mut row);
        format!("{row}\n")
    };
    (ROWS, job.rows.iter().map(line).collect())
}
