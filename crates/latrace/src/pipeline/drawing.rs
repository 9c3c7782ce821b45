//! Samples for stages: parts in ascending order, a callback when all samples of a part are drawn.
//!
//! Until then, finished samples stand line by line in the stage's folder, so that a kill loses those in flight alone.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_lm::{Sample, Sampler, StopReason};

use crate::pipeline::folder::StageFolder;
use crate::progress::Progress;
use crate::sampling::journal::{Finished, Lines};
use crate::sampling::missing::{Draws, Missing, Prompt};

/// The prompts of a part of a table.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number.
    pub number: usize,
    /// Its prompts, perhaps none. No two prompts of a stage have the same id.
    pub prompts: Vec<Prompt>,
}

/// The file in a stage's folder that keeps finished samples of unfinished parts.
pub fn unfinished(stage: &StageFolder) -> PathBuf {
    stage.path.join("unfinished.jsonl")
}

/// Takes the place of a part and the samples of its prompts, each in the order of their numbers.
pub type PartDone<'a> = dyn FnMut(usize, Vec<Vec<Sample>>) -> Result<()> + 'a;

/// Draws samples of the parts' prompts; `done` gets each part as soon as all of its samples are there.
///
/// # Errors
/// What `done` refuses, prompts that do not fit the model or its memory, and what the file system refuses.
pub fn draw(sampler: &mut Sampler, draws: &Draws<'_>, parts: &[Part], unfinished: &Path, progress: &mut Progress, done: &mut PartDone<'_>) -> Result<()> {
    let (mut journal, earlier) = Lines::open(unfinished)?;
    let (prompts, mut open) = (parts.iter().flat_map(|part| &part.prompts).collect::<Vec<_>>(), OpenParts::new(parts, draws.n as usize));
    let earlier = recognised(earlier, &prompts, draws.n);
    // Only now is it known which parts have no sample to wait for.
    (0..parts.len()).filter(|&part| open.parts[part].missing == 0).try_for_each(|part| done(part, Vec::new()))?;
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
    let missing = Missing::new(draws, prompts.clone(), |place, number| open.has(place, number));
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
    let places: HashMap<&str, usize> = prompts.iter().enumerate().map(|(place, prompt)| (prompt.stream.as_str(), place)).collect();
    let recognise = |Finished { id, sample, token_ids, logprobs, stop_reason }: Finished| {
        let place = *id.as_str().and_then(|key| places.get(key)).filter(|_| sample < n)?;
        let logp = logprobs.into_iter().map(|logp| logp as f32).collect();
        Some(Sample { request: place, sample: sample as usize, tokens: token_ids, logp, stop: StopReason::named(&stop_reason)? })
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
    fn new(parts: &[Part], n: usize) -> OpenParts {
        let mut end = 0;
        let open = |part: &Part| {
            let (first, count) = (end, part.prompts.len());
            end += count;
            OpenPart { first, end, samples: vec![vec![None; n]; count], missing: count * n }
        };
        OpenParts { parts: parts.iter().map(open).collect() }
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
