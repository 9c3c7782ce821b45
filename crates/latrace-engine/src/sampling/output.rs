//! Samples to a file by way of its journal, or to standard output as they finish.

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Sampler, Sampling};
use serde_json::{Value, json};

use super::drawing::{Logprobs, draw};
use super::journal::{Finished, Journal};
use super::missing::{Draws, Prompt};
use latrace_io::files::checksum;
use latrace_io::model_folder::fingerprint;
use latrace_io::rows::{Output, Row, shortest, write_rows};

/// All that samples depend on: model, data, how they are drawn, and the settings that the verb adds.
///
/// # Errors
/// Files that cannot be read.
pub fn describe_work(draws: &Draws<'_>, model: &Path, data: &Path, settings: Value) -> Result<Value> {
    let Sampling { temperature, top_k, top_p, min_p, max_new_tokens, end_ids } = &draws.sampling;
    let mut work = json!({
        "stage": draws.stage,
        "model": fingerprint(model)?,
        "data": checksum(data)?,
        "n": draws.n,
        "seed": draws.seed,
        "temperature": shortest(*temperature),
        "top_p": shortest(*top_p),
        "top_k": top_k,
        "min_p": shortest(*min_p),
        "max_new_tokens": max_new_tokens,
        "end_ids": end_ids,
    });
    if let (Value::Object(work), Value::Object(settings)) = (&mut work, settings) {
        work.extend(settings);
    }
    Ok(work)
}

/// Draws what an earlier run of the same `work` has not, and writes the rows of all samples in the order of
/// the prompts. `ready` are samples that need no drawing.
///
/// # Errors
/// As [`draw`]; files that cannot be written; unfinished samples of other work.
pub fn draw_to(
    out: &Output,
    draws: &Draws<'_>,
    prompts: &[Prompt],
    work: Value,
    ready: Vec<(usize, Finished)>,
    sampler: impl FnOnce() -> Result<Sampler>,
    row: &dyn Fn(usize, &Finished) -> Row,
) -> Result<()> {
    let Output::File(path) = out else {
        let mut write = |prompt: usize, finished: &Finished| {
            write_rows(&Output::Stdout, |sink| sink.write(row(prompt, finished)))
        };
        ready.iter().try_for_each(|(prompt, finished)| write(*prompt, finished))?;
        return draw(
            draws,
            Logprobs::Kept,
            prompts,
            ready.into_iter().map(|(_, finished)| finished).collect(),
            sampler,
            &mut write,
        )
        .map(drop);
    };
    let (mut journal, mut earlier) = Journal::open(path, work)?;
    earlier.extend(ready.into_iter().map(|(_, finished)| finished));
    let drawn =
        draw(draws, Logprobs::Kept, prompts, earlier, sampler, &mut |_, finished| journal.add(finished))?;
    write_rows(out, |sink| {
        drawn.samples.iter().try_for_each(|((prompt, _), finished)| sink.write(row(*prompt, finished)))
    })?;
    journal.finish(path)
}
