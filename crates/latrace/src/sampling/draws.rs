//! Samples of prompts, kept as they finish and written in the order of the prompts: what `latrace sample` and `latrace answer` share.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_lm::sample::stream;
use latrace_lm::{Error, Model, Observer, Sample, SampleRequest, Sampler, SamplerOptions, Sampling, StopReason};
use serde_json::{Value, json};

use super::journal::{Finished, Journal};
use super::stop_strings::StopStrings;
use crate::files::checksum;
use crate::model_folder::{TextSide, fingerprint};
use crate::progress::Progress;
use crate::rows::{Output, Row, shortest, write_rows};

/// A prompt to draw from.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Its name in the journal.
    pub id: Value,
    /// Its name in the key of its random numbers.
    pub stream: String,
    /// Token ids; or the stop reason of samples that are empty, since nothing can be drawn after this.
    pub ids: Result<Vec<u32>, &'static str>,
}

/// What is to be drawn, and what becomes of it.
pub struct Draws<'a> {
    /// The stage's name in the key of every random number.
    pub stage: &'static str,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Samples of each prompt.
    pub n: u64,
    /// Settings.
    pub sampling: Sampling,
    /// Texts at which a sample stops.
    pub stops: &'a StopStrings,
    /// The text of tokens.
    pub text: &'a TextSide,
    /// Where the prompts are from.
    pub data: &'a Path,
    /// The prompts, with different ids.
    pub prompts: &'a [Prompt],
    /// The row of a finished sample of the prompt at this place.
    pub row: &'a dyn Fn(usize, &Finished) -> Row,
}

impl Draws<'_> {
    /// Draws what an earlier run of the same work has not; then writes all rows, in the order of the prompts. Standard output gets rows as they finish.
    /// `settings` are what rows depend on beside what is here.
    ///
    /// # Errors
    /// A model that cannot be read, a prompt that cannot be sampled, files that cannot be written, unfinished samples of other work.
    pub fn run(&self, model: &Path, options: SamplerOptions, out: &Output, settings: Value) -> Result<()> {
        let (journal, finished) = match out {
            Output::Stdout => (None, Vec::new()),
            Output::File(path) => {
                let (journal, finished) = Journal::open(path, self.describe(model, settings)?)?;
                (Some(journal), finished)
            }
        };
        let mut work = Work::new(self, journal, finished)?;
        work.add_empty()?;
        let requests = work.requests();
        if !requests.is_empty() {
            let mut sampler = Sampler::new(Model::load(model)?, options);
            let outcome = sampler.run(&requests, &mut work);
            work.failure.take().map_or(Ok(()), Err)?;
            outcome.map_err(|error| name_row(error, &work)).with_context(|| format!("cannot sample {}", self.data.display()))?;
            work.summarise(&sampler);
        }
        work.write_out(out)
    }

    /// All that samples depend on.
    fn describe(&self, model: &Path, settings: Value) -> Result<Value> {
        let Sampling { temperature, top_k, top_p, min_p, max_new_tokens, end_ids } = &self.sampling;
        let mut work = json!({
            "stage": self.stage,
            "model": fingerprint(model)?,
            "data": checksum(self.data)?,
            "n": self.n,
            "seed": self.seed,
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
}

/// The samples of a run: which are finished, and what becomes of those that finish.
struct Work<'a> {
    draws: &'a Draws<'a>,
    /// Without one, samples go to standard output as they finish.
    journal: Option<Journal>,
    finished: BTreeMap<(usize, u64), Finished>,
    /// For each request of the sampler: its prompt, and the numbers of its samples.
    requested: Vec<(usize, Vec<u64>)>,
    progress: Progress,
    started: Instant,
    tokens: u64,
    /// The first error of our own, which the sampler hands back as a message.
    failure: Option<anyhow::Error>,
}

impl<'a> Work<'a> {
    fn new(draws: &'a Draws<'a>, journal: Option<Journal>, earlier: Vec<Finished>) -> Result<Work<'a>> {
        let places: HashMap<String, usize> = draws.prompts.iter().enumerate().map(|(i, prompt)| (prompt.id.to_string(), i)).collect();
        let mut finished = BTreeMap::new();
        for sample in earlier {
            let place = places.get(&sample.id.to_string()).filter(|_| sample.sample < draws.n);
            let place = place.with_context(|| format!("the journal has sample {} of id {}, which the data does not ask for", sample.sample, sample.id))?;
            finished.insert((*place, sample.sample), sample);
        }
        if !finished.is_empty() {
            tracing::info!("{} samples were finished before", finished.len());
        }
        let progress = Progress::new("samples", finished.len() as u64, Some(draws.prompts.len() as u64 * draws.n));
        Ok(Work { draws, journal, finished, requested: Vec::new(), progress, started: Instant::now(), tokens: 0, failure: None })
    }

    /// The samples that are empty.
    fn add_empty(&mut self) -> Result<()> {
        for (i, prompt) in self.draws.prompts.iter().enumerate() {
            let Err(stop_reason) = prompt.ids else { continue };
            for sample in 0..self.draws.n {
                let empty = Finished { id: prompt.id.clone(), sample, token_ids: Vec::new(), logprobs: Vec::new(), stop_reason: stop_reason.to_owned() };
                if !self.finished.contains_key(&(i, sample)) {
                    self.add(i, empty)?;
                }
            }
        }
        Ok(())
    }

    /// What is left to sample.
    fn requests(&mut self) -> Vec<SampleRequest> {
        let Draws { stage, seed, n, sampling, prompts, .. } = self.draws;
        let mut requests = Vec::new();
        for (i, prompt) in prompts.iter().enumerate() {
            let left: Vec<u64> = (0..*n).filter(|&sample| !self.finished.contains_key(&(i, sample))).collect();
            let Ok(ids) = &prompt.ids else { continue };
            if left.is_empty() {
                continue;
            }
            let streams = left.iter().map(|&sample| stream(*seed, stage, &prompt.stream, sample)).collect();
            requests.push(SampleRequest { prompt: ids.clone(), streams, sampling: sampling.clone() });
            self.requested.push((i, left));
        }
        requests
    }

    fn keep(&mut self, sample: &Sample) -> Result<()> {
        let (prompt, number) = (self.requested[sample.request].0, self.requested[sample.request].1[sample.sample]);
        let finished = Finished {
            id: self.draws.prompts[prompt].id.clone(),
            sample: number,
            token_ids: sample.tokens.clone(),
            // The sampler lets no log-prob pass that is not finite.
            logprobs: sample.logp.iter().map(|&logp| shortest(logp).unwrap_or(f64::NAN)).collect(),
            stop_reason: sample.stop.name().to_owned(),
        };
        self.tokens += sample.tokens.len() as u64;
        self.progress.message(format!("{:.0} tokens/s", self.tokens as f64 / self.started.elapsed().as_secs_f64()));
        self.add(prompt, finished)
    }

    fn add(&mut self, prompt: usize, finished: Finished) -> Result<()> {
        match &mut self.journal {
            Some(journal) => journal.add(&finished)?,
            None => write_rows(&Output::Stdout, |sink| sink.write((self.draws.row)(prompt, &finished)))?,
        }
        self.finished.insert((prompt, finished.sample), finished);
        self.progress.advance(1);
        Ok(())
    }

    fn summarise(&self, sampler: &Sampler) {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        self.finished.values().for_each(|sample| *reasons.entry(&sample.stop_reason).or_default() += 1);
        let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        let seconds = self.started.elapsed().as_secs_f64();
        tracing::info!(
            "{} samples ({}); {} tokens drawn in {seconds:.1} s, {:.0} a second; {} tokens of prompts read; {:.1} MB of keys and values at most",
            self.finished.len(),
            reasons.join(", "),
            self.tokens,
            self.tokens as f64 / seconds,
            sampler.prefilled(),
            sampler.peak_cache_bytes() as f64 / 1e6
        );
    }

    /// Puts finished samples in the order of their prompts.
    fn write_out(mut self, out: &Output) -> Result<()> {
        if let (Some(journal), Output::File(path)) = (self.journal.take(), out) {
            write_rows(out, |sink| self.finished.iter().try_for_each(|((prompt, _), finished)| sink.write((self.draws.row)(*prompt, finished))))?;
            journal.finish(path)?;
        }
        self.progress.finish();
        Ok(())
    }
}

impl Observer for Work<'_> {
    fn token(&mut self, _: usize, _: usize, tokens: &[u32]) -> Option<StopReason> {
        self.draws.stops.found(tokens, self.draws.text).then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), Error> {
        self.keep(&sample).map_err(|error| {
            let message = error.to_string();
            self.failure = Some(error);
            Error::Invalid(message)
        })
    }
}

/// The sampler names rows by their place among its requests.
fn name_row(error: Error, work: &Work<'_>) -> Error {
    match error {
        Error::Row { id, detail } => {
            let prompt = id.parse::<usize>().ok().and_then(|request| work.requested.get(request)).map(|(prompt, _)| &work.draws.prompts[*prompt].id);
            Error::Row { id: prompt.map_or(id, |name| name.as_str().map_or_else(|| name.to_string(), str::to_owned)), detail }
        }
        other => other,
    }
}
