//! Samples from servers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;

use super::ask::SampleAsk;
use super::fleet::{Common, Fleet};
use super::work::{Source, work};
use crate::boundary::{Completion, Error, Generate, GenerateClient, ModelShape, hand_over_whole};
use crate::text_codec::TextCodec;

pub(super) struct ServersGenerate {
    fleet: Fleet,
    shape: ModelShape,
    text: Option<Arc<TextCodec>>,
}

impl ServersGenerate {
    pub fn new(model: &Path, common: Common) -> Result<ServersGenerate> {
        let shape = common.shape.clone();
        let text = TextCodec::open(model, &shape)?;
        let text = text.has_tokenizer().then(|| Arc::new(text));
        Ok(ServersGenerate { fleet: Fleet::new(common)?, shape, text })
    }
}

impl Generate for ServersGenerate {
    fn shape(&self) -> &ModelShape {
        &self.shape
    }

    fn text(&self) -> Option<Arc<TextCodec>> {
        self.text.clone()
    }

    fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
        work(&self.fleet, &mut Samples { generate: self, client, next: 0 })
    }

    fn remarks(&self) -> String {
        remarks(&self.fleet)
    }
}

/// What the work has cost beyond answers.
pub(super) fn remarks(fleet: &Fleet) -> String {
    let counts = &fleet.board.counts;
    let [requests, retries, restarts] =
        [&counts.requests, &counts.retries, &counts.restarts].map(|count| count.load(Ordering::Relaxed));
    let (servers, kind) = (fleet.board.len(), fleet.board.common.dialect.name());
    format!(
        "{requests} requests to {servers} servers ({kind}); {retries} retries, {restarts} restarts of servers"
    )
}

struct Samples<'a, 'b> {
    generate: &'a ServersGenerate,
    client: &'a mut (dyn GenerateClient + 'b),
    /// The number of the client's next request.
    next: usize,
}

/// A server does not say when it cuts a sample for lack of room.
pub(super) fn check_room(fleet: &Fleet, given: usize, new: usize) -> Result<(), String> {
    let most = fleet.max_tokens;
    if given + new <= most {
        return Ok(());
    }
    Err(format!(
        "{given} tokens and {new} new ones are {}, and the server takes {most} (max_model_len)",
        given + new
    ))
}

impl Source<SampleAsk> for Samples<'_, '_> {
    fn next(&mut self) -> Result<Option<Vec<SampleAsk>>> {
        let Some(request) = self.client.next_request()? else { return Ok(None) };
        let (number, shape) = (self.next, &self.generate.shape);
        let limit = request.limit(shape);
        check_room(&self.generate.fleet, request.prompt.len(), limit)
            .map_err(|detail| Error::Request { row: self.client.name(number), detail })?;
        self.next += 1;
        let stops_at_end_ids = shape.end_ids.iter().all(|id| request.stop_ids.contains(id));
        let samples = 0..request.seeds.len();
        let (request, text) = (Arc::new(request), self.generate.text());
        let ask = |sample| {
            let (request, text) = (Arc::clone(&request), text.clone());
            SampleAsk { number, sample, request, limit, stops_at_end_ids, text }
        };
        Ok(Some(samples.map(ask).collect()))
    }

    fn answered(&mut self, ask: SampleAsk, completion: Completion) -> Result<()> {
        hand_over_whole(self.client, ask.number, ask.sample, completion)
    }

    fn name(&self, ask: &SampleAsk) -> String {
        self.client.name(ask.number)
    }
}
