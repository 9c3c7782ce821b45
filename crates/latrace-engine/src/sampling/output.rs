//! Writes samples to a file by way of its journal, or to standard output as they finish.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::draw::{Prompt, SampleJob};
use super::journal::{FinishedSample, OutputJournal};
use super::rows::{Logprobs, draw_rows};
use crate::boundary::{Engine, EngineRole, Generate};
use latrace_io::files::checksum;
use latrace_io::model_folder::fingerprint;
use latrace_io::rows::{Output, Row, write_rows};

/// All that samples depend on: model, data, engine, how they are drawn, and the settings that the verb adds.
///
/// # Errors
/// Files that cannot be read.
pub fn describe_work(
    job: &SampleJob,
    model: &Path,
    data: &Path,
    engine: &dyn Engine,
    settings: Value,
) -> Result<Value> {
    let mut work = Row::from_iter([
        ("stage".to_owned(), json!(job.stage)),
        ("model".to_owned(), json!(fingerprint(model)?)),
        ("data".to_owned(), json!(checksum(data)?)),
        ("n".to_owned(), json!(job.n)),
    ]);
    work.extend(job.described());
    work.extend(engine.identity(EngineRole::Generate).in_journal());
    if let Value::Object(settings) = settings {
        work.extend(settings);
    }
    Ok(Value::Object(work))
}

/// Draws what an earlier run of the same `work` has not, and writes the rows of all samples in the order of
/// the prompts. `ready` are samples that need no drawing.
///
/// # Errors
/// As [`draw_rows`]; files that cannot be written; unfinished samples of other work.
pub fn draw_to(
    out: &Output,
    job: &SampleJob,
    prompts: &[Prompt],
    work: Value,
    ready: Vec<(usize, FinishedSample)>,
    generator: impl FnOnce() -> Result<Box<dyn Generate>>,
    row: &dyn Fn(usize, &FinishedSample) -> Row,
) -> Result<()> {
    let Output::File(path) = out else {
        return draw_to_stdout(job, prompts, ready, generator, row);
    };
    let (mut journal, mut earlier) = OutputJournal::open(path, work)?;
    // Samples that need no drawing take their places as those of an earlier run do.
    earlier.extend(ready.into_iter().map(|(_, finished)| finished));
    let mut keep = |_: usize, finished: &FinishedSample| journal.add(finished);
    let drawn = draw_rows(job, Logprobs::Kept, prompts, earlier, generator, &mut keep)?;
    // Sorted by prompt and number, whereas the journal has them in the order in which they finished.
    write_rows(out, |sink| {
        drawn.samples.iter().try_for_each(|((prompt, _), finished)| sink.write(row(*prompt, finished)))
    })?;
    journal.finish(path)
}

fn draw_to_stdout(
    job: &SampleJob,
    prompts: &[Prompt],
    ready: Vec<(usize, FinishedSample)>,
    generator: impl FnOnce() -> Result<Box<dyn Generate>>,
    row: &dyn Fn(usize, &FinishedSample) -> Row,
) -> Result<()> {
    // Without a journal: what has been printed cannot be read back, so there is nothing to resume.
    let mut write = |prompt: usize, finished: &FinishedSample| {
        write_rows(&Output::Stdout, |sink| sink.write(row(prompt, finished)))
    };
    ready.iter().try_for_each(|(prompt, finished)| write(*prompt, finished))?;
    let earlier = ready.into_iter().map(|(_, finished)| finished).collect();
    draw_rows(job, Logprobs::Kept, prompts, earlier, generator, &mut write).map(drop)
}
