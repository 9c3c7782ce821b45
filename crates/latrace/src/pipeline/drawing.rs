//! Samples for stages: prompts in the order of their parts, a callback when all of a part are drawn.

use std::ops::Range;

use anyhow::{Context, Result};
use latrace_lm::sample::stream;
use latrace_lm::{Error, Observer, Sample, SampleRequest, Sampler, Sampling, StopReason};

use crate::model_folder::TextSide;
use crate::progress::Progress;
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
}

/// Draws samples of `prompts`, parts in ascending order; `finished` gets each part's samples by prompt, as soon as all of them are there.
pub fn draw(sampler: &mut Sampler, draws: &Draws<'_>, prompts: &[Prompt], progress: &mut Progress, finished: &mut PartDone<'_>) -> Result<()> {
    let requests: Vec<SampleRequest> = prompts.iter().map(|prompt| request(prompt, draws)).collect();
    let mut parts = Parts { draws, prompts, open: Vec::new(), finished, progress, failure: None };
    parts.open = parts_of(prompts).into_iter().map(|range| Open::new(range, draws.n)).collect();
    let outcome = sampler.run(&requests, &mut parts);
    parts.failure.take().map_or(Ok(()), Err)?;
    outcome.map_err(|error| name_prompt(error, prompts)).with_context(|| format!("cannot sample {}", draws.stage))
}

/// Takes a part and the samples of its prompts, each in the order of their numbers.
pub type PartDone<'a> = dyn FnMut(usize, Vec<Vec<Sample>>) -> Result<()> + 'a;

fn request(prompt: &Prompt, draws: &Draws<'_>) -> SampleRequest {
    let streams = (0..draws.n).map(|sample| stream(draws.seed, draws.stage, &prompt.key, sample)).collect();
    SampleRequest { prompt: prompt.ids.clone(), streams, sampling: draws.sampling.clone() }
}

/// The sampler names rows by their place among its requests.
fn name_prompt(error: Error, prompts: &[Prompt]) -> Error {
    match error {
        Error::Row { id, detail } => {
            let name = id.parse::<usize>().ok().and_then(|at| prompts.get(at)).map_or(id, |prompt| prompt.key.clone());
            Error::Row { id: name, detail }
        }
        other => other,
    }
}

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
    finished: &'a mut PartDone<'b>,
    progress: &'a mut Progress,
    failure: Option<anyhow::Error>,
}

impl Parts<'_, '_> {
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
}

impl Observer for Parts<'_, '_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.draws.stops.found(tokens, self.draws.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.keep(sample).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}
