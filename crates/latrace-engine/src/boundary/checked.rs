//! Checking clients between an engine and its caller, which reject invalid requests and results.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use latrace_core::StopReason;

use super::completion::{Expected, check_logp};
use super::request::no_tokens;
use super::{Completion, Error, Generate, GenerateClient, ModelShape, Request, ScoreClient, ScoreRow};
use crate::text_codec::TextCodec;

/// A request with missing samples.
struct Outstanding {
    expected: Expected,
    /// By sample: whether it has arrived.
    has: Vec<bool>,
    missing: usize,
}

impl Outstanding {
    fn new(request: &Request, shape: &ModelShape) -> Outstanding {
        let missing = request.seeds.len();
        Outstanding { expected: Expected::of(request, shape), has: vec![false; missing], missing }
    }

    /// Whether the sample is one of the request's, and has not arrived.
    fn check(&self, sample: usize) -> Result<(), String> {
        match self.has.get(sample) {
            None => Err(format!("expected one of {} samples", self.has.len())),
            Some(true) => Err("the sample has already arrived".to_owned()),
            Some(false) => Ok(()),
        }
    }

    fn lacks(&self) -> String {
        format!("{} of its {} samples", self.missing, self.has.len())
    }

    /// Records that a sample has arrived; whether it was the last.
    fn arrive(&mut self, sample: usize) -> bool {
        self.has[sample] = true;
        self.missing -= 1;
        self.missing == 0
    }
}

pub(super) struct CheckedGenerate<'a> {
    shape: ModelShape,
    text: Option<Arc<TextCodec>>,
    client: &'a mut dyn GenerateClient,
    outstanding: BTreeMap<usize, Outstanding>,
    given: usize,
    /// Samples that the client has interrupted.
    interrupted: HashSet<(usize, usize)>,
}

impl<'a> CheckedGenerate<'a> {
    /// Checks what `engine` gives to the client.
    pub fn new(engine: &dyn Generate, client: &'a mut dyn GenerateClient) -> Self {
        Self {
            shape: engine.shape().clone(),
            text: engine.text(),
            client,
            outstanding: BTreeMap::new(),
            given: 0,
            interrupted: HashSet::new(),
        }
    }

    /// Fails if a sample is missing.
    pub fn end(self) -> Result<()> {
        // The first of several by its number, so that an engine's order of work does not show in the message.
        let Some((&request, outstanding)) = self.outstanding.first_key_value() else { return Ok(()) };
        Err(unanswered(self.client.name(request), outstanding.lacks()))
    }

    fn check_request(&self, request: &Request) -> Result<(), String> {
        request.check(&self.shape)?;
        if self.text.is_none() && !request.stop_texts.is_empty() {
            return Err("stop texts need a tokenizer, and the model has none".to_owned());
        }
        Ok(())
    }

    fn check(&self, request: usize, sample: usize, completion: &Completion) -> Result<(), String> {
        let Some(outstanding) = self.outstanding.get(&request) else {
            return Err("all samples of the request have already arrived".to_owned());
        };
        outstanding.check(sample)?;
        // Only one way round: a sample may reach its own end before the engine sees the interruption, above all
        // if the engine does not stream.
        let was_interrupted = self.interrupted.contains(&(request, sample));
        if completion.stop == StopReason::Interrupted && !was_interrupted {
            return Err("it claims to have been interrupted, but the client did not interrupt it".to_owned());
        }
        outstanding.expected.check(completion, &self.shape, self.text.as_deref())
    }

    /// A request is forgotten with its last sample: a run has more of them than memory should hold.
    fn settle(&mut self, request: usize, sample: usize) {
        if self.outstanding.get_mut(&request).is_some_and(|outstanding| outstanding.arrive(sample)) {
            self.outstanding.remove(&request);
        }
    }
}

impl GenerateClient for CheckedGenerate<'_> {
    fn next_request(&mut self) -> Result<Option<Request>> {
        let Some(request) = self.client.next_request()? else { return Ok(None) };
        // The engine never sees a request that is refused, but the client knows it by the same number.
        let number = self.given;
        self.check_request(&request)
            .map_err(|detail| Error::Request { row: self.client.name(number), detail })?;
        self.given += 1;
        self.outstanding.insert(number, Outstanding::new(&request, &self.shape));
        Ok(Some(request))
    }

    fn grown(&mut self, request: usize, sample: usize, ids: &[u32], new: usize) -> ControlFlow<()> {
        let flow = self.client.grown(request, sample, ids, new);
        if flow.is_break() {
            self.interrupted.insert((request, sample));
        }
        flow
    }

    fn finished(&mut self, request: usize, sample: usize, completion: Completion) -> Result<()> {
        self.check(request, sample, &completion).map_err(|detail| Error::Completion {
            row: self.client.name(request),
            sample,
            detail,
        })?;
        // Settled only once it is kept: after an error the sample counts as missing.
        self.client.finished(request, sample, completion)?;
        self.settle(request, sample);
        Ok(())
    }

    fn name(&self, request: usize) -> String {
        self.client.name(request)
    }
}

fn unanswered(row: String, what: String) -> anyhow::Error {
    Error::Unanswered { row, what }.into()
}

pub(super) struct CheckedScore<'a> {
    shape: ModelShape,
    client: &'a mut dyn ScoreClient,
    /// Response tokens of rows that have no scores yet.
    outstanding: BTreeMap<usize, usize>,
    given: usize,
}

impl<'a> CheckedScore<'a> {
    pub fn new(shape: ModelShape, client: &'a mut dyn ScoreClient) -> Self {
        CheckedScore { shape, client, outstanding: BTreeMap::new(), given: 0 }
    }

    /// Fails if a row has no scores.
    pub fn end(self) -> Result<()> {
        let Some(&row) = self.outstanding.keys().next() else { return Ok(()) };
        Err(unanswered(self.client.name(row), "its log-probs".to_owned()))
    }

    fn check_row(&self, row: &ScoreRow) -> Result<(), String> {
        if row.prompt.is_empty() {
            return Err(no_tokens("response"));
        }
        if row.response.is_empty() {
            return Err("the response has no tokens".to_owned());
        }
        self.shape.check_ids(&row.prompt)?;
        self.shape.check_ids(&row.response)?;
        self.shape.check_length(row.prompt.len() + row.response.len())
    }

    fn check(&self, row: usize, logp: &[f32]) -> Result<(), String> {
        let tokens = self.outstanding.get(&row).ok_or("the row's log-probs have already arrived")?;
        check_logp(logp, *tokens)
    }
}

impl ScoreClient for CheckedScore<'_> {
    fn next_row(&mut self) -> Result<Option<ScoreRow>> {
        let Some(row) = self.client.next_row()? else { return Ok(None) };
        let number = self.given;
        self.check_row(&row).map_err(|detail| Error::Request { row: self.client.name(number), detail })?;
        self.given += 1;
        self.outstanding.insert(number, row.response.len());
        Ok(Some(row))
    }

    fn scored(&mut self, row: usize, logp: Vec<f32>) -> Result<()> {
        self.check(row, &logp).map_err(|detail| Error::Scores { row: self.client.name(row), detail })?;
        self.client.scored(row, logp)?;
        // Not before, as with samples: a row whose scores could not be kept still lacks them.
        self.outstanding.remove(&row);
        Ok(())
    }

    fn name(&self, row: usize) -> String {
        self.client.name(row)
    }
}
