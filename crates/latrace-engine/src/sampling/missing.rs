//! Samples that are not there yet: what is asked of the sampler for them, and what comes back by prompt and
//! number.

use std::time::Instant;

use anyhow::Result;
use latrace_lm::sample::stream;
use latrace_lm::{Error, Observer, Sample, SampleRequest, Sampler, Sampling, StopReason};
use serde_json::Value;

use super::stop_strings::StopStrings;
use crate::text::TextSide;
use latrace_io::progress::Progress;

/// A prompt to draw from.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its row's id, which no other prompt has.
    pub id: Value,
    /// Its name in the key of its random numbers.
    pub stream: String,
    /// Token ids.
    pub ids: Vec<u32>,
}

impl Prompt {
    /// The prompt of a row, whose random numbers its id names.
    pub fn new(id: Value, ids: Vec<u32>) -> Prompt {
        Prompt { stream: id.to_string(), id, ids }
    }

    /// The prompt of a key.
    pub fn keyed(key: String, ids: Vec<u32>) -> Prompt {
        Prompt { id: key.clone().into(), stream: key, ids }
    }
}

/// What is drawn.
#[derive(Clone, Debug)]
pub struct Draws<'a> {
    /// The stage's name in the key of every random number.
    pub stage: &'static str,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Samples of each prompt.
    pub n: u64,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Texts at which a sample stops.
    pub stops: StopStrings,
    /// The text of tokens.
    pub text: &'a TextSide,
}

/// What drawing took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Tokens drawn.
    pub tokens: u64,
    /// Seconds.
    pub seconds: f64,
}

/// Samples that are not there yet.
#[derive(Debug)]
pub struct Missing<'a> {
    draws: &'a Draws<'a>,
    prompts: &'a [&'a Prompt],
    requests: Vec<SampleRequest>,
    /// For each request: its prompt, and the numbers of its samples.
    requested: Vec<(usize, Vec<usize>)>,
}

impl<'a> Missing<'a> {
    /// All samples of the prompts, but for those that are there: by the prompt's place and the sample's
    /// number.
    pub fn new(
        draws: &'a Draws<'a>,
        prompts: &'a [&'a Prompt],
        is_there: impl Fn(usize, usize) -> bool,
    ) -> Missing<'a> {
        let (mut requests, mut requested) = (Vec::new(), Vec::new());
        for (place, prompt) in prompts.iter().enumerate() {
            let left: Vec<usize> = (0..draws.n as usize).filter(|&number| !is_there(place, number)).collect();
            if left.is_empty() {
                continue;
            }
            let streams = left
                .iter()
                .map(|&number| stream(draws.seed, draws.stage, &prompt.stream, number as u64))
                .collect();
            requests.push(SampleRequest {
                prompt: prompt.ids.clone(),
                streams,
                params: draws.sampling.params(),
                stop_ids: draws.sampling.end_ids.clone(),
            });
            requested.push((place, left));
        }
        Missing { draws, prompts, requests, requested }
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Draws them. `keep` gets each as it finishes, its request the prompt's place and its sample the number
    /// among all of the prompt's.
    ///
    /// # Errors
    /// What `keep` refuses, and prompts that do not fit the model or its memory, by their id.
    pub fn draw(
        &self,
        sampler: &mut Sampler,
        progress: &mut Progress,
        keep: &mut dyn FnMut(Sample) -> Result<()>,
    ) -> Result<Spent> {
        let mut work =
            Work { missing: self, keep, progress, started: Instant::now(), tokens: 0, failure: None };
        let outcome = sampler.run(&self.requests, &mut work);
        work.failure.take().map_or(Ok(()), Err)?;
        let spent = Spent { tokens: work.tokens, seconds: work.started.elapsed().as_secs_f64() };
        outcome.map_err(|error| self.name_prompt(error))?;
        Ok(spent)
    }

    /// The sampler names prompts by their place among its requests.
    fn name_prompt(&self, error: Error) -> Error {
        match error {
            Error::Row { id, detail } => {
                let prompt = id
                    .parse::<usize>()
                    .ok()
                    .and_then(|request| self.requested.get(request))
                    .map(|(place, _)| &self.prompts[*place].id);
                Error::Row {
                    id: prompt
                        .map_or(id, |name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)),
                    detail,
                }
            }
            other => other,
        }
    }
}

/// Tokens between two looks at the clock.
const SHOW_EVERY: u64 = 256;

struct Work<'a, 'b> {
    missing: &'a Missing<'a>,
    keep: &'b mut dyn FnMut(Sample) -> Result<()>,
    progress: &'b mut Progress,
    started: Instant,
    tokens: u64,
    /// The first error of our own, which the sampler hands back as a message.
    failure: Option<anyhow::Error>,
}

impl Observer for Work<'_, '_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.tokens += 1;
        // The first sample may be minutes away.
        if self.tokens.is_multiple_of(SHOW_EVERY) {
            self.progress.message(format!(
                "{:.0} tokens/s",
                self.tokens as f64 / self.started.elapsed().as_secs_f64()
            ));
            self.progress.advance(0);
        }
        self.missing.draws.stops.found(tokens, self.missing.draws.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        let (place, numbers) = &self.missing.requested[sample.request];
        let sample = Sample { request: *place, sample: numbers[sample.sample], ..sample };
        self.progress.advance(1);
        (self.keep)(sample).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}
