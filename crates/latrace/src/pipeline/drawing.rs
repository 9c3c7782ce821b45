//! Samples for stages: prompts in the order of their parts, a callback when all of a part are drawn.
//!
//! Until then, finished samples stand line by line in the stage's folder, so that a kill loses those in flight alone.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result};
use latrace_lm::sample::stream;
use latrace_lm::{Error, Observer, Sample, SampleRequest, Sampler, Sampling, StopReason};

use crate::model_folder::TextSide;
use crate::pipeline::folder::StageFolder;
use crate::progress::Progress;
use crate::rows::shortest;
use crate::sampling::journal::{Finished, Lines};
use crate::sampling::stop_strings::StopStrings;

/// A prompt to draw from.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// The part it belongs to.
    pub part: usize,
    /// Its name in the key of its random numbers.
    pub key: String,
    /// Token ids.
    pub ids: Vec<u32>,
}

/// How a stage draws.
#[derive(Clone, Debug)]
pub struct Draws<'a> {
    /// The stage's name in the key of random numbers, and what is drawn, for people.
    pub stage: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Samples of each prompt.
    pub n: u64,
    /// Settings.
    pub sampling: Sampling,
    /// Texts at which a sample stops, for tokenizers to which they are no single token.
    pub stops: StopStrings,
    /// The text of tokens.
    pub text: &'a TextSide,
    /// Where finished samples of unfinished parts are kept.
    pub unfinished: PathBuf,
}

/// The file for [`Draws::unfinished`] in a stage's folder.
pub fn unfinished(stage: &StageFolder) -> PathBuf {
    stage.path.join("unfinished.jsonl")
}

/// Draws samples of `prompts`, parts in ascending order; `finished` gets each part's samples by prompt, as soon as all of them are there.
pub fn draw(sampler: &mut Sampler, draws: &Draws<'_>, prompts: &[Prompt], progress: &mut Progress, finished: &mut PartDone<'_>) -> Result<()> {
    let (journal, earlier) = Lines::open(&draws.unfinished)?;
    let open = parts_of(prompts).into_iter().map(|range| Open::new(range, draws.n)).collect();
    let mut parts = Parts { draws, prompts, open, requested: Vec::new(), journal, finished, progress, failure: None };
    parts.take(earlier)?;
    let requests = parts.requests();
    if !requests.is_empty() {
        let outcome = sampler.run(&requests, &mut parts);
        parts.failure.take().map_or(Ok(()), Err)?;
        outcome.map_err(|error| parts.name_prompt(error)).with_context(|| format!("cannot sample {}", draws.stage))?;
    }
    parts.journal.remove()
}

/// Takes a part and the samples of its prompts, each in the order of their numbers.
pub type PartDone<'a> = dyn FnMut(usize, Vec<Vec<Sample>>) -> Result<()> + 'a;

fn parts_of(prompts: &[Prompt]) -> Vec<Range<usize>> {
    let mut parts: Vec<Range<usize>> = Vec::new();
    for (at, prompt) in prompts.iter().enumerate() {
        match parts.last_mut() {
            Some(last) if prompts[last.start].part == prompt.part => last.end = at + 1,
            _ => parts.push(at..at + 1),
        }
    }
    parts
}

/// A part of which not all samples are there.
struct Open {
    prompts: Range<usize>,
    samples: Vec<Vec<Option<Sample>>>,
    missing: u64,
}

impl Open {
    fn new(prompts: Range<usize>, n: u64) -> Open {
        let count = prompts.len();
        Open { prompts, samples: vec![vec![None; n as usize]; count], missing: count as u64 * n }
    }
}

struct Parts<'a, 'b> {
    draws: &'a Draws<'a>,
    prompts: &'a [Prompt],
    open: Vec<Open>,
    /// For each request of the sampler: its prompt, and the numbers of its samples.
    requested: Vec<(usize, Vec<usize>)>,
    journal: Lines,
    finished: &'a mut PartDone<'b>,
    progress: &'a mut Progress,
    failure: Option<anyhow::Error>,
}

impl Parts<'_, '_> {
    /// Takes samples that were finished before; those of parts that are whole have no prompt here any more.
    fn take(&mut self, earlier: Vec<Finished>) -> Result<()> {
        let places: HashMap<&str, usize> = self.prompts.iter().enumerate().map(|(at, prompt)| (prompt.key.as_str(), at)).collect();
        let mut taken = 0;
        for Finished { id, sample, token_ids, logprobs, stop_reason } in earlier {
            let place = id.as_str().and_then(|key| places.get(key)).filter(|_| sample < self.draws.n);
            let Some((&request, stop)) = place.zip(StopReason::named(&stop_reason)) else { continue };
            let sample = sample as usize;
            if self.slot(request, sample).is_some_and(|slot| slot.is_none()) {
                taken += 1;
                self.keep(Sample { request, sample, tokens: token_ids, logp: logprobs.into_iter().map(|logp| logp as f32).collect(), stop })?;
            }
        }
        if taken > 0 {
            tracing::info!("{taken} samples were finished before");
        }
        Ok(())
    }

    /// What is left to draw.
    fn requests(&mut self) -> Vec<SampleRequest> {
        let mut requests = Vec::new();
        for (at, prompt) in self.prompts.iter().enumerate() {
            let left: Vec<usize> = (0..self.draws.n as usize).filter(|&number| self.slot(at, number).is_some_and(|slot| slot.is_none())).collect();
            if left.is_empty() {
                continue;
            }
            let streams = left.iter().map(|&number| stream(self.draws.seed, self.draws.stage, &prompt.key, number as u64)).collect();
            requests.push(SampleRequest { prompt: prompt.ids.clone(), streams, sampling: self.draws.sampling.clone() });
            self.requested.push((at, left));
        }
        requests
    }

    /// The place of a prompt's sample; nothing where its part has been handed over.
    fn slot(&mut self, prompt: usize, number: usize) -> Option<&mut Option<Sample>> {
        let at = self.open.partition_point(|open| open.prompts.end <= prompt);
        let open = &mut self.open[at];
        open.samples.get_mut(prompt - open.prompts.start).and_then(|samples| samples.get_mut(number))
    }

    fn note(&mut self, sample: &Sample) -> Result<()> {
        // The sampler lets no log-prob pass that is not finite.
        let logprobs = sample.logp.iter().filter_map(|&logp| shortest(logp)).collect();
        let id = self.prompts[sample.request].key.clone().into();
        let (sample, token_ids, stop_reason) = (sample.sample as u64, sample.tokens.clone(), sample.stop.name().to_owned());
        self.journal.add(&Finished { id, sample, token_ids, logprobs, stop_reason })
    }

    fn keep(&mut self, sample: Sample) -> Result<()> {
        self.progress.advance(1);
        let at = self.open.partition_point(|open| open.prompts.end <= sample.request);
        let open = &mut self.open[at];
        let (prompt, number) = (sample.request - open.prompts.start, sample.sample);
        open.samples[prompt][number] = Some(sample);
        open.missing -= 1;
        if open.missing > 0 {
            return Ok(());
        }
        let part = self.prompts[open.prompts.start].part;
        let samples = std::mem::take(&mut open.samples);
        (self.finished)(part, samples.into_iter().map(|samples| samples.into_iter().flatten().collect()).collect())
    }

    /// The sampler names rows by their place among its requests.
    fn name_prompt(&self, error: Error) -> Error {
        match error {
            Error::Row { id, detail } => {
                let prompt = id.parse::<usize>().ok().and_then(|at| self.requested.get(at)).map(|(prompt, _)| self.prompts[*prompt].key.clone());
                Error::Row { id: prompt.unwrap_or(id), detail }
            }
            other => other,
        }
    }
}

impl Observer for Parts<'_, '_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.draws.stops.found(tokens, self.draws.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        let (prompt, numbers) = &self.requested[sample.request];
        let sample = Sample { request: *prompt, sample: numbers[sample.sample], ..sample };
        self.note(&sample).and_then(|()| self.keep(sample)).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}
