//! An engine without a model: tokens are a function of the seed, and log-probs a function of the token. For
//! tests, and for measuring the cost of everything but the engine at scale.

use std::fs;
use std::iter;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use latrace_core::StopReason;
use latrace_core::random::{draw, unit};
use latrace_lm::{Event, TrainPlan};
use rayon::prelude::*;

use crate::boundary::{
    Completion, Engine, EngineRole, Fit, FitJob, Generate, GenerateClient, Identity, ModelShape, Request,
    Score, ScoreClient, hand_over_whole,
};
use crate::text_codec::TextCodec;

/// Requests drawn in parallel at a time.
const REQUESTS_AT_ONCE: usize = 64;

/// log p of tokens is uniform between minus this and 0 (nats).
const LOGP_RANGE: f64 = 4.0;

/// What the engine draws. Of the sampling parameters, it uses only the token limit.
#[derive(Clone, Debug)]
pub struct Random {
    /// The shape of the model that it replaces.
    pub shape: ModelShape,
    /// The ids that samples are drawn from.
    pub ids: Range<u32>,
    /// Tokens of a sample, its closing id included.
    pub length: usize,
    /// The id that closes a sample at that length, where it is one of the request's stop ids. Where it is
    /// not, samples continue to their limit.
    pub closing_id: u32,
    /// What follows a prompt that holds the closing id, such as that of an answer: one of these by the seed,
    /// then the first stop id. Empty: samples as after any prompt.
    pub answers: Vec<Vec<u32>>,
}

impl Random {
    fn logp_by_id(&self) -> Vec<f32> {
        // Of the token alone, whatever the seed: the engine says that sampler and scorer agree exactly.
        let logp = |id| (unit(draw(0, id)) * LOGP_RANGE - LOGP_RANGE) as f32;
        (0..self.shape.vocabulary_size as u64).map(logp).collect()
    }

    /// The tokens of a sample, and whether a stop id ends it.
    fn tokens(&self, request: &Request, seed: u64) -> (Vec<u32>, bool) {
        let limit = request.limit(&self.shape);
        let is_answer = !self.answers.is_empty() && request.prompt.contains(&self.closing_id);
        let mut ids = if is_answer {
            self.answer(request, seed, limit)
        } else if request.stop_ids.contains(&self.closing_id) {
            self.uniform(seed, limit.min(self.length))
        } else {
            self.uniform(seed, limit)
        };
        // Before the stop ids are looked for: one beyond the limit ends nothing.
        ids.truncate(limit);
        let end = ids.iter().position(|id| request.stop_ids.contains(id));
        ids.truncate(end.map_or(ids.len(), |at| at + 1));
        (ids, end.is_some())
    }

    /// One of the answers, then the first stop id. Without stop ids the answer repeats until the limit, since
    /// nothing else may end a sample.
    fn answer(&self, request: &Request, seed: u64, limit: usize) -> Vec<u32> {
        let answer = self.chosen(seed).iter().copied();
        match request.stop_ids.first() {
            Some(&stop) => answer.chain([stop]).collect(),
            None => answer.cycle().take(limit).collect(),
        }
    }

    fn chosen(&self, seed: u64) -> &[u32] {
        let at = (unit(draw(seed, 0)) * self.answers.len() as f64) as usize;
        &self.answers[at]
    }

    fn uniform(&self, seed: u64, tokens: usize) -> Vec<u32> {
        // Two ids of each draw, since this engine should cost as little as possible.
        let pairs = 0..tokens.div_ceil(2) as u64;
        let mut ids: Vec<u32> = pairs.flat_map(|pair| self.two_ids(draw(seed, pair))).collect();
        ids.truncate(tokens);
        if let Some(last) = self.length.checked_sub(1).and_then(|last| ids.get_mut(last)) {
            *last = self.closing_id;
        }
        ids
    }

    /// The upper half of a product of 32 bits with the range is uniform up to range / 2^32.
    fn two_ids(&self, bits: u64) -> [u32; 2] {
        let range = u64::from(self.ids.end - self.ids.start);
        [bits & 0xFFFF_FFFF, bits >> 32].map(|half| self.ids.start + ((half * range) >> 32) as u32)
    }
}

impl Engine for Random {
    fn identity(&self, _: EngineRole) -> Identity {
        Identity {
            kind: "random".to_owned(),
            version: "1".to_owned(),
            compute: "none".to_owned(),
            attention: "none".to_owned(),
            exact: true,
        }
    }

    fn generator(&self, _: &Path) -> Result<Box<dyn Generate>> {
        Ok(Box::new(Tables { logp: self.logp_by_id(), random: self.clone() }))
    }

    fn scorer(&self, _: &Path) -> Result<Box<dyn Score>> {
        Ok(Box::new(Tables { logp: self.logp_by_id(), random: self.clone() }))
    }

    fn trainer(&self) -> Result<Box<dyn Fit>> {
        Ok(Box::new(ReadAll { positions: self.shape.positions }))
    }
}

struct Tables {
    random: Random,
    /// By id.
    logp: Vec<f32>,
}

impl Tables {
    fn logp(&self, ids: &[u32]) -> Vec<f32> {
        ids.iter().map(|&id| self.logp[id as usize]).collect()
    }

    fn completions(&self, request: &Request) -> Vec<Completion> {
        request.seeds.iter().map(|&seed| self.completion(request, seed)).collect()
    }

    fn completion(&self, request: &Request, seed: u64) -> Completion {
        let (ids, ended) = self.random.tokens(request, seed);
        // What no stop id ends, `tokens` draws up to the limit.
        let stop = if ended { StopReason::End } else { StopReason::MaxTokens };
        Completion { logp: self.logp(&ids), ids, stop }
    }
}

impl Generate for Tables {
    fn shape(&self) -> &ModelShape {
        &self.random.shape
    }

    fn text(&self) -> Option<Arc<TextCodec>> {
        // Its ids have no text, so the boundary refuses requests with stop texts.
        None
    }

    fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
        let mut first = 0;
        loop {
            let requests = take_requests(client)?;
            if requests.is_empty() {
                return Ok(());
            }
            // Drawn on all cores, but handed over on this one, to which the client belongs.
            let drawn: Vec<Vec<Completion>> =
                requests.par_iter().map(|request| self.completions(request)).collect();
            for (request, completions) in (first..).zip(drawn) {
                for (sample, completion) in completions.into_iter().enumerate() {
                    hand_over_whole(client, request, sample, completion)?;
                }
            }
            first += requests.len();
        }
    }
}

fn take_requests(client: &mut dyn GenerateClient) -> Result<Vec<Request>> {
    let requests = iter::from_fn(|| client.next_request().transpose());
    requests.take(REQUESTS_AT_ONCE).collect()
}

impl Score for Tables {
    fn shape(&self) -> &ModelShape {
        &self.random.shape
    }

    fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
        for number in 0.. {
            let Some(row) = client.next_row()? else { break };
            client.scored(number, self.logp(&row.response))?;
        }
        Ok(())
    }
}

/// Reads the rows of every update, and learns nothing from them: the final model is the first.
struct ReadAll {
    positions: usize,
}

impl Fit for ReadAll {
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        let plan = TrainPlan::new(job.rows, job.config, self.positions)?;
        observer(Event::Started {
            total_steps: plan.total_updates,
            dropped: plan.dropped,
            truncated: plan.truncated,
            resumed_from: None,
            normaliser: plan.mean_response,
        })?;
        // What reading costs is part of what this engine measures.
        for update in plan.updates_after(0) {
            job.rows.read(&update.rows)?;
        }
        copy_files(job.model, job.out)?;
        observer(Event::Finished)
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))
                .with_context(|| format!("cannot copy {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
impl Random {
    /// An engine for tests: 40 ids, samples of 6 tokens that end with id 5.
    pub(crate) fn small() -> Random {
        let shape = ModelShape { vocabulary_size: 50, positions: 40, end_ids: vec![0] };
        Random { shape, ids: 10..50, length: 6, closing_id: 5, answers: Vec::new() }
    }

    pub(crate) fn small_generator() -> Result<Box<dyn Generate>> {
        Random::small().generator(Path::new("none"))
    }
}
