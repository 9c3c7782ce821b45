//! Samples for stages: parts in ascending order, a callback when all samples of a part are drawn.
//!
//! Until then, finished samples stand line by line in the stage's folder, so that a kill loses those in
//! flight alone.

use std::collections::HashMap;

use anyhow::{Context, Result};
use latrace_engine::lm::{Sample, Sampler, StopReason};

use crate::pipeline::folder::StageFolder;
use latrace_engine::sampling::journal::{Finished, Lines};
use latrace_engine::sampling::missing::{Draws, Missing, Prompt};
use latrace_io::progress::Progress;

/// Takes the place of a part and the samples of its prompts, each in the order of their numbers.
pub type PartDone<'a> = dyn FnMut(usize, Vec<Vec<Sample>>) -> Result<()> + 'a;

/// Draws samples of the parts' prompts, each with what it is the prompt of; `done` gets each part as soon as
/// all of its samples are there, a part without prompts at once. No two prompts of a stage have the same id.
///
/// # Errors
/// What `done` refuses, prompts that do not fit the model or its memory, and what the file system refuses.
pub fn draw<T>(
    sampler: &mut Sampler,
    draws: &Draws<'_>,
    parts: &[Vec<(T, Prompt)>],
    stage: &StageFolder,
    progress: &mut Progress,
    done: &mut PartDone<'_>,
) -> Result<()> {
    let (mut journal, earlier) = Lines::open(&stage.path.join("unfinished.jsonl"))?;
    let prompts: Vec<&Prompt> = parts.iter().flatten().map(|(_, prompt)| prompt).collect();
    let earlier = recognised(earlier, &prompts, draws.n);
    let mut open = OpenParts::new(parts.iter().map(Vec::len), draws.n as usize);
    (0..parts.len()).filter(|&part| parts[part].is_empty()).try_for_each(|part| done(part, Vec::new()))?;
    let mut taken = 0;
    for sample in earlier {
        if !open.has(sample.request, sample.sample) {
            taken += 1;
            progress.advance(1);
            open.add(sample, done)?;
        }
    }
    if taken > 0 {
        tracing::info!("{taken} samples were finished before");
    }
    let missing = Missing::new(draws, &prompts, |place, number| open.has(place, number));
    if !missing.is_empty() {
        let drawn = missing.draw(sampler, progress, &mut |sample| {
            journal.add(&Finished::new(prompts[sample.request].id.clone(), &sample))?;
            open.add(sample, done)
        });
        drawn.with_context(|| format!("cannot sample {}", draws.stage))?;
    }
    journal.remove()
}

/// Samples that were finished before; those of parts that are whole have no prompt here any more.
fn recognised(earlier: Vec<Finished>, prompts: &[&Prompt], n: u64) -> Vec<Sample> {
    let places: HashMap<&str, usize> =
        prompts.iter().enumerate().map(|(place, prompt)| (prompt.stream.as_str(), place)).collect();
    let recognise = |Finished { id, sample, token_ids, logprobs, stop_reason }: Finished| {
        let place = *id.as_str().and_then(|key| places.get(key)).filter(|_| sample < n)?;
        let logp = logprobs.into_iter().map(|logp| logp as f32).collect();
        Some(Sample {
            request: place,
            sample: sample as usize,
            tokens: token_ids,
            logp,
            stop: StopReason::from_name(&stop_reason)?,
        })
    };
    earlier.into_iter().filter_map(recognise).collect()
}

/// Parts of which not all samples are there.
struct OpenParts {
    parts: Vec<OpenPart>,
}

struct OpenPart {
    /// The place of its first prompt among all, and that after its last.
    first: usize,
    end: usize,
    /// By prompt and number; empty when the part has been handed over.
    samples: Vec<Vec<Option<Sample>>>,
    missing: usize,
}

impl OpenParts {
    /// `counts`: prompts of each part; `n`: samples of each prompt.
    fn new(counts: impl Iterator<Item = usize>, n: usize) -> OpenParts {
        let mut end = 0;
        let open = |count: usize| {
            let first = end;
            end += count;
            OpenPart { first, end, samples: vec![vec![None; n]; count], missing: count * n }
        };
        OpenParts { parts: counts.map(open).collect() }
    }

    /// The part of a prompt.
    fn part(&self, prompt: usize) -> usize {
        self.parts.partition_point(|part| part.end <= prompt)
    }

    /// Whether a sample is there, or has been handed over.
    fn has(&self, prompt: usize, number: usize) -> bool {
        let part = &self.parts[self.part(prompt)];
        part.missing == 0 || part.samples[prompt - part.first][number].is_some()
    }

    fn add(&mut self, sample: Sample, done: &mut PartDone<'_>) -> Result<()> {
        let at = self.part(sample.request);
        let part = &mut self.parts[at];
        let (prompt, number) = (sample.request - part.first, sample.sample);
        part.samples[prompt][number] = Some(sample);
        part.missing -= 1;
        if part.missing > 0 {
            return Ok(());
        }
        let samples = std::mem::take(&mut part.samples);
        done(at, samples.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
    }
}
