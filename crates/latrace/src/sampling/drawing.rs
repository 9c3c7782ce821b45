//! Samples of prompts, but for those that were finished before: each is handed on as soon as it is there.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_lm::sample::stream;
use latrace_lm::{Error, Observer, Sample, SampleRequest, Sampler, Sampling, StopReason};
use serde_json::Value;

use super::journal::Finished;
use super::stop_strings::StopStrings;
use crate::model_folder::TextSide;
use crate::progress::Progress;
use crate::rows::shortest;

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
}

/// Whether log-probs of samples are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logprobs {
    /// They are.
    Kept,
    /// Nobody asks for them.
    Dropped,
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
    pub sampling: &'a Sampling,
    /// Texts at which a sample stops.
    pub stops: &'a StopStrings,
    /// The text of tokens.
    pub text: &'a TextSide,
    /// Whether log-probs are kept.
    pub logprobs: Logprobs,
}

/// Samples by prompt and number.
pub type Samples = BTreeMap<(usize, u64), Finished>;

/// All samples, and what drawing them took.
#[derive(Debug)]
pub struct Drawn {
    /// All of them, earlier ones too.
    pub samples: Samples,
    /// How many were finished before.
    pub earlier: usize,
    /// Tokens drawn now.
    pub tokens: u64,
    /// Seconds that drawing them took.
    pub seconds: f64,
}

/// Draws what `earlier` lacks with the sampler that `make` gives, which is not asked for where nothing is left. `keep` gets each sample, by its prompt's place, in the order
/// in which they finish.
///
/// # Errors
/// Earlier samples that nobody asked for, what `make` or `keep` refuse, and prompts that do not fit the model or its memory, by their id.
pub fn draw(
    draws: &Draws<'_>,
    prompts: &[Prompt],
    earlier: Vec<Finished>,
    make: impl FnOnce() -> Result<Sampler>,
    keep: &mut dyn FnMut(usize, &Finished) -> Result<()>,
) -> Result<Drawn> {
    let samples = place(draws, prompts, earlier)?;
    let earlier = samples.len();
    if earlier > 0 {
        tracing::info!("{earlier} samples were finished before");
    }
    let progress = Progress::new("samples", earlier as u64, Some(prompts.len() as u64 * draws.n));
    let mut work = Work { draws, prompts, samples, requested: Vec::new(), keep, progress, started: Instant::now(), tokens: 0, failure: None };
    let requests = work.requests();
    if !requests.is_empty() {
        let mut sampler = make()?;
        work.started = Instant::now();
        let outcome = sampler.run(&requests, &mut work);
        work.failure.take().map_or(Ok(()), Err)?;
        outcome.map_err(|error| work.name_prompt(error))?;
        work.summarise(&sampler);
    }
    work.progress.finish();
    Ok(Drawn { samples: work.samples, earlier, tokens: work.tokens, seconds: work.started.elapsed().as_secs_f64() })
}

/// Earlier samples by prompt and number.
fn place(draws: &Draws<'_>, prompts: &[Prompt], earlier: Vec<Finished>) -> Result<Samples> {
    let places: HashMap<String, usize> = prompts.iter().enumerate().map(|(i, prompt)| (prompt.id.to_string(), i)).collect();
    let keyed = earlier.into_iter().map(|sample| {
        let place = places.get(&sample.id.to_string()).filter(|_| sample.sample < draws.n);
        let place = place.with_context(|| format!("the journal has sample {} of id {}, which the data does not ask for", sample.sample, sample.id))?;
        Ok(((*place, sample.sample), sample))
    });
    keyed.collect()
}

struct Work<'a, 'b> {
    draws: &'a Draws<'a>,
    prompts: &'a [Prompt],
    samples: Samples,
    /// For each request of the sampler: its prompt, and the numbers of its samples.
    requested: Vec<(usize, Vec<u64>)>,
    keep: &'b mut dyn FnMut(usize, &Finished) -> Result<()>,
    progress: Progress,
    started: Instant,
    tokens: u64,
    /// The first error of our own, which the sampler hands back as a message.
    failure: Option<anyhow::Error>,
}

impl Work<'_, '_> {
    /// What is left to sample.
    fn requests(&mut self) -> Vec<SampleRequest> {
        let mut requests = Vec::new();
        for (i, prompt) in self.prompts.iter().enumerate() {
            let left: Vec<u64> = (0..self.draws.n).filter(|&sample| !self.samples.contains_key(&(i, sample))).collect();
            if left.is_empty() {
                continue;
            }
            let streams = left.iter().map(|&sample| stream(self.draws.seed, self.draws.stage, &prompt.stream, sample)).collect();
            requests.push(SampleRequest { prompt: prompt.ids.clone(), streams, sampling: self.draws.sampling.clone() });
            self.requested.push((i, left));
        }
        requests
    }

    fn add(&mut self, sample: &Sample) -> Result<()> {
        let (prompt, number) = (self.requested[sample.request].0, self.requested[sample.request].1[sample.sample]);
        let finished = Finished {
            id: self.prompts[prompt].id.clone(),
            sample: number,
            token_ids: sample.tokens.clone(),
            logprobs: match self.draws.logprobs {
                // The sampler lets no log-prob pass that is not finite.
                Logprobs::Kept => sample.logp.iter().map(|&logp| shortest(logp).unwrap_or(f64::NAN)).collect(),
                Logprobs::Dropped => Vec::new(),
            },
            stop_reason: sample.stop.name().to_owned(),
        };
        (self.keep)(prompt, &finished)?;
        self.samples.insert((prompt, number), finished);
        self.tokens += sample.tokens.len() as u64;
        self.progress.message(format!("{:.0} tokens/s", self.tokens as f64 / self.started.elapsed().as_secs_f64()));
        self.progress.advance(1);
        Ok(())
    }

    fn summarise(&self, sampler: &Sampler) {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        self.samples.values().for_each(|sample| *reasons.entry(&sample.stop_reason).or_default() += 1);
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        tracing::info!(
            "{} samples ({}); {} tokens drawn in {seconds:.1} s, {:.0} a second; {} tokens of prompts read; {:.1} MB of keys and values at most",
            self.samples.len(),
            reasons.join(", "),
            self.tokens,
            self.tokens as f64 / seconds,
            sampler.prefilled(),
            sampler.peak_cache_bytes() as f64 / 1e6
        );
    }

    /// The sampler names prompts by their place among its requests.
    fn name_prompt(&self, error: Error) -> Error {
        match error {
            Error::Row { id, detail } => {
                let prompt = id.parse::<usize>().ok().and_then(|request| self.requested.get(request)).map(|(prompt, _)| &self.prompts[*prompt].id);
                Error::Row { id: prompt.map_or(id, |name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)), detail }
            }
            other => other,
        }
    }
}

impl Observer for Work<'_, '_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.draws.stops.found(tokens, self.draws.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.add(&sample).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}
