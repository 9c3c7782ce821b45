//! Writes samples to a file by way of its journal, or to standard output as they finish.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_core::Date;
use serde_json::{Value, json};

use super::draw::{Prompt, SampleJob};
use super::journal::{FinishedSample, OutputJournal, described};
use super::rows::{Logprobs, draw_rows};
use crate::boundary::{Engine, EngineRole, Generate};
use crate::text_codec::TextCodec;
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

/// What the prompts depend on beside the rows, where it is not the same everywhere: what the tokenizer puts before
/// texts, and the date of the chat template, which is that of unfinished work in the same place.
///
/// # Errors
/// A description that cannot be read.
pub fn prompt_settings(text: &mut TextCodec, out: &Output) -> Result<Row> {
    let earlier = match out {
        Output::File(path) => described(path)?,
        Output::Stdout => None,
    };
    let date = text.date_of(earlier.as_ref().map(|work| &work["date"]));
    Ok(described_prompts(text, date))
}

/// The same for a known date. What does not apply is left out, so that work of earlier versions resumes.
pub fn described_prompts(text: &TextCodec, date: Option<Date>) -> Row {
    let begin = text.begin_ids();
    let settings =
        [("begin_ids", (!begin.is_empty()).then(|| json!(begin))), ("date", date.map(|date| json!(date)))];
    settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
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
    let mut ordered = InOrder { n: job.n, next: (0, 0), waiting: BTreeMap::new() };
    let mut write = |prompt: usize, finished: &FinishedSample| {
        ordered.waiting.insert((prompt, finished.sample), finished.clone());
        write_rows(&Output::Stdout, |sink| {
            ordered.write(&mut |prompt, finished| sink.write(row(prompt, finished)))
        })
    };
    ready.iter().try_for_each(|(prompt, finished)| write(*prompt, finished))?;
    let earlier = ready.into_iter().map(|(_, finished)| finished).collect();
    draw_rows(job, Logprobs::Kept, prompts, earlier, generator, &mut write).map(drop)
}

/// Samples in the order of prompts and numbers, whatever order they finish in.
struct InOrder {
    /// Samples of each prompt.
    n: u64,
    /// Prompt and number of the next to be written.
    next: (usize, u64),
    waiting: BTreeMap<(usize, u64), FinishedSample>,
}

impl InOrder {
    /// Writes all that no missing sample comes before.
    fn write(&mut self, write: &mut dyn FnMut(usize, &FinishedSample) -> Result<()>) -> Result<()> {
        while let Some(finished) = self.waiting.remove(&self.next) {
            let (prompt, number) = self.next;
            write(prompt, &finished)?;
            self.next = if number + 1 < self.n { (prompt, number + 1) } else { (prompt + 1, 0) };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_wait_for_those_before_them() {
        let mut ordered = InOrder { n: 2, next: (0, 0), waiting: BTreeMap::new() };
        let mut written = Vec::new();
        for (prompt, sample) in [(1, 1), (0, 1), (1, 0), (0, 0), (2, 1), (2, 0)] {
            let (token_ids, logprobs, stop_reason) = (Vec::new(), Vec::new(), String::new());
            let finished = FinishedSample { id: json!(prompt), sample, token_ids, logprobs, stop_reason };
            ordered.waiting.insert((prompt, sample), finished);
            let mut keep = |prompt: usize, finished: &FinishedSample| {
                written.push((prompt, finished.sample));
                Ok(())
            };
            ordered.write(&mut keep).unwrap();
        }
        assert_eq!(written, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
    }
}
