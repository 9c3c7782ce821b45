//! Journal of finished samples, so that an interrupted run can resume.
//!
//! `OUT.sampling.json`, next to the output, describes what is being sampled and from what. Until the work is
//! done, the journal contains finished samples in the order in which they finished. For JSON Lines it is the
//! output itself, which is rewritten in the order of the rows at the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use latrace_core::StopReason;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::boundary::Completion;
use crate::files::read_json_if_there;
use latrace_io::difference::difference;
use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_io::journal::{Line, LineJournal};
use latrace_io::rows::shortest;

/// A finished sample, as a line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinishedSample {
    /// The row's id.
    pub id: Value,
    /// Which of the row's samples.
    pub sample: u64,
    /// Token ids.
    pub token_ids: Vec<u32>,
    /// Log-probs (nats).
    pub logprobs: Vec<f64>,
    /// Why it stopped.
    pub stop_reason: String,
}

impl FinishedSample {
    /// Sample number `sample` of the row of that id.
    ///
    /// # Errors
    /// A log-prob that is not finite.
    pub fn new(id: Value, sample: u64, completion: &Completion) -> Result<FinishedSample> {
        let Completion { ids, logp, stop } = completion;
        let logprobs = decimals(logp).with_context(|| format!("id {id}, sample {sample}"))?;
        Ok(FinishedSample {
            id,
            sample,
            token_ids: ids.clone(),
            logprobs,
            stop_reason: stop.name().to_owned(),
        })
    }

    /// The completion as the engine gave it.
    ///
    /// # Errors
    /// A line that this program has not written.
    pub fn completion(self) -> Result<Completion> {
        let FinishedSample { id, sample, token_ids, logprobs, stop_reason } = self;
        let Some(stop) = StopReason::from_name(&stop_reason) else {
            bail!("id {id}, sample {sample}: \"{stop_reason}\" is not a stop reason");
        };
        let (expected, got) = (token_ids.len(), logprobs.len());
        ensure!(
            expected == got,
            "id {id}, sample {sample}: expected {expected} log-probs, one per token, got {got}"
        );
        // Loses nothing: the decimals were chosen to give the same `f32` again.
        let logp = logprobs.into_iter().map(|logp| logp as f32).collect();
        Ok(Completion { ids: token_ids, logp, stop })
    }
}

/// Log-probs (nats) as written to files: the shortest decimals that are the same `f32`.
///
/// # Errors
/// One that is not finite.
pub fn decimals(logp: &[f32]) -> Result<Vec<f64>> {
    logp.iter().enumerate().map(|(at, &logp)| decimal(at, logp)).collect()
}

fn decimal(at: usize, logp: f32) -> Result<f64> {
    shortest(logp).with_context(|| format!("log-prob of token {at} is not finite: {logp}"))
}

/// A file of finished samples that grows by whole lines.
#[derive(Debug)]
pub struct SampleLines(LineJournal);

impl SampleLines {
    /// Opens the file, which need not exist, and reads what is in it.
    ///
    /// # Errors
    /// A file that cannot be read or written; a line that is no finished sample.
    pub fn open(path: &Path) -> Result<(SampleLines, Vec<FinishedSample>)> {
        let mut finished = Vec::new();
        let lines = LineJournal::open(path, |number, line| {
            finished.push(finished_sample(path, number, line)?);
            Ok(Line::Keep)
        })?;
        Ok((SampleLines(lines), finished))
    }

    /// Adds a finished sample, in one write.
    ///
    /// # Errors
    /// I/O errors.
    pub fn add(&mut self, finished: &FinishedSample) -> Result<()> {
        self.0.append(&serde_json::to_vec(finished)?)
    }

    /// Removes the file, once its contents have been written elsewhere.
    ///
    /// # Errors
    /// I/O errors.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

fn finished_sample(path: &Path, number: u64, line: &[u8]) -> Result<FinishedSample> {
    let sample = serde_json::from_slice(line);
    sample.with_context(|| format!("{} line {number}: expected a finished sample", path.display()))
}

/// The journal of an output.
#[derive(Debug)]
pub struct OutputJournal {
    lines: SampleLines,
    description_path: PathBuf,
    description: Value,
}

impl OutputJournal {
    /// Opens the journal of `out` for the work that `description` says, and reads what is finished. Work of
    /// another description that is not done is an error; any other earlier output is replaced.
    pub fn open(out: &Path, description: Value) -> Result<(OutputJournal, Vec<FinishedSample>)> {
        let description_path = beside(out, "sampling.json");
        let (lines, finished) = match read_json_if_there(&description_path)? {
            // Done or not: what there is of the same work is not drawn again.
            Some(earlier) if earlier["work"] == description => SampleLines::open(&lines_path(out))?,
            Some(earlier) if earlier["done"] != true => {
                let difference = difference(&earlier["work"], &description);
                return Err(different_work(out, &description_path, &difference).into());
            }
            _ => {
                // Emptied first: under the new description, earlier samples would pass for this work's.
                let lines = SampleLines(LineJournal::empty(&lines_path(out))?);
                write_description(&description_path, &description, false)?;
                (lines, Vec::new())
            }
        };
        Ok((OutputJournal { lines, description_path, description }, finished))
    }

    /// Adds a finished sample, in one write.
    pub fn add(&mut self, finished: &FinishedSample) -> Result<()> {
        self.lines.add(finished)
    }

    /// Marks the output as written, and then removes a journal that is not the output itself. After a kill
    /// between the two, the same work finds all of its samples in the journal, and other work empties it.
    pub fn finish(self, out: &Path) -> Result<()> {
        write_description(&self.description_path, &self.description, true)?;
        if self.lines.0.path() == out { Ok(()) } else { self.lines.remove() }
    }
}

/// The work whose samples an output has, or will have when it is finished.
pub fn described(out: &Path) -> Result<Option<Value>> {
    Ok(read_json_if_there(&beside(out, "sampling.json"))?.map(|mut description| description["work"].take()))
}

/// Where finished samples are written: Parquet cannot grow by lines.
fn lines_path(out: &Path) -> PathBuf {
    if is_parquet(out) { beside(out, "journal.jsonl") } else { out.to_owned() }
}

fn is_parquet(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

fn different_work(out: &Path, description_path: &Path, difference: &str) -> Failure {
    let (out, description) = (out.display(), description_path.display());
    Failure::work(format!("{out} holds unfinished samples of different work: {difference}")).hint(format!(
        "finish it with the command that began it, choose another --out, or remove {description}"
    ))
}

fn beside(out: &Path, extension: &str) -> PathBuf {
    // Appended to the whole name, extension and all: `a.jsonl` and `a.parquet` have journals of their own.
    let mut name = out.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

fn write_description(path: &Path, work: &Value, done: bool) -> Result<()> {
    let text = serde_json::to_string_pretty(
        &json!({"version": env!("CARGO_PKG_VERSION"), "done": done, "work": work}),
    )?;
    write_atomically(path, |writer| writeln!(writer, "{text}").context("cannot write a description"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn finished(sample: u64) -> FinishedSample {
        FinishedSample {
            id: json!("a"),
            sample,
            token_ids: vec![1, 2],
            logprobs: vec![-0.5, -0.25],
            stop_reason: "end".to_owned(),
        }
    }

    #[test]
    fn a_sample_comes_back_as_the_engine_gave_it() {
        let completion =
            Completion { ids: vec![1, 2], logp: vec![-0.1, -1e-7], stop: StopReason::StopString };
        let line = serde_json::to_string(&FinishedSample::new(json!("a"), 3, &completion).unwrap()).unwrap();
        assert_eq!(
            line,
            r#"{"id":"a","sample":3,"token_ids":[1,2],"logprobs":[-0.1,-1e-7],"stop_reason":"stop_string"}"#
        );
        let read: FinishedSample = serde_json::from_str(&line).unwrap();
        assert_eq!(read.completion().unwrap(), completion);
    }

    #[test]
    fn log_probs_are_never_left_out() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let message = decimals(&[-1.0, bad]).unwrap_err().to_string();
            assert!(message.contains("token 1 is not finite"), "{message}");
        }
        let short = FinishedSample { logprobs: vec![-0.5], ..finished(0) };
        assert!(short.completion().unwrap_err().to_string().contains("expected 2 log-probs"));
        let unknown = FinishedSample { stop_reason: "length".to_owned(), ..finished(0) };
        assert!(unknown.completion().is_err());
    }

    #[test]
    fn a_line_written_by_half_is_cut_and_the_rest_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out.jsonl");
        let work = json!({"seed": 1});
        let (mut journal, before) = OutputJournal::open(&out, work.clone()).unwrap();
        assert!(before.is_empty());
        journal.add(&finished(0)).unwrap();
        journal.add(&finished(1)).unwrap();
        drop(journal);
        let text = fs::read_to_string(&out).unwrap();
        fs::write(&out, &text[..text.len() - 5]).unwrap();
        let (mut journal, before) = OutputJournal::open(&out, work.clone()).unwrap();
        assert_eq!(before, [finished(0)]);
        journal.add(&finished(1)).unwrap();
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
        let refused = OutputJournal::open(&out, json!({"seed": 2})).unwrap_err().to_string();
        assert!(
            refused.contains("holds unfinished samples of different work: seed was 1, is 2"),
            "{refused}"
        );
        journal.finish(&out).unwrap();
        assert!(
            OutputJournal::open(&out, json!({"seed": 2})).unwrap().1.is_empty(),
            "what is done may be replaced"
        );
    }
}
