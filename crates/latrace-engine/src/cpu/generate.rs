//! Sampling with the built-in engine.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use latrace_core::StopReason;
use latrace_lm::{Observer, Sample, SampleRequest, Sampler};

use super::{CallersError, CpuEngine};
use crate::boundary::{Completion, Error, Generate, GenerateClient, ModelShape, Request, StopTexts};
use crate::text_codec::TextCodec;

/// Samples taken from the client at once, as a multiple of those drawn at a time: so many that the batch is
/// full but for a small share of the time, so few that memory does not hold all prompts of a large run.
const BATCHES_AT_ONCE: usize = 64;

pub(super) struct CpuGenerate {
    sampler: Sampler,
    shape: ModelShape,
    text: Option<Arc<TextCodec>>,
    samples_at_once: usize,
}

impl CpuGenerate {
    pub fn load(folder: &Path, engine: CpuEngine) -> Result<CpuGenerate> {
        let shape = ModelShape::read(folder)?;
        let text = TextCodec::open(folder, &shape)?;
        // There is a codec even without a tokenizer, but not one that decodes.
        let text = text.has_tokenizer().then(|| Arc::new(text));
        let sampler = Sampler::new(engine.load(folder)?, engine.options.sampler());
        let samples_at_once = engine.options.batch.saturating_mul(BATCHES_AT_ONCE);
        Ok(CpuGenerate { sampler, shape, text, samples_at_once })
    }

    fn take_requests(&self, client: &mut dyn GenerateClient) -> Result<Window> {
        let (mut window, mut samples) = (Window::default(), 0);
        while samples < self.samples_at_once
            && let Some(request) = client.next_request()?
        {
            // Samples fill a batch, however few prompts they share.
            samples += request.seeds.len();
            window.add(request);
        }
        Ok(window)
    }

    fn generate_window(
        &mut self,
        window: &Window,
        first: usize,
        client: &mut dyn GenerateClient,
    ) -> Result<()> {
        let (stop_texts, text) = (&window.stop_texts, self.text.as_deref());
        let mut bridge = Bridge { client, first, stop_texts, text, error: CallersError::default() };
        let outcome = self.sampler.run(&window.requests, &mut bridge);
        // First: of a client's error, `outcome` has only the message.
        bridge.error.take()?;
        outcome.map_err(|error| named(error, |request| client.name(first + request)))
    }
}

/// Requests that are drawn together.
#[derive(Default)]
struct Window {
    requests: Vec<SampleRequest>,
    stop_texts: Vec<StopTexts>,
}

impl Window {
    fn add(&mut self, request: Request) {
        let Request { prompt, seeds, params, stop_ids, stop_texts } = request;
        self.requests.push(SampleRequest { prompt, streams: seeds, params, stop_ids });
        self.stop_texts.push(stop_texts);
    }
}

impl Generate for CpuGenerate {
    fn shape(&self) -> &ModelShape {
        &self.shape
    }

    fn text(&self) -> Option<Arc<TextCodec>> {
        self.text.clone()
    }

    fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
        let mut first = 0;
        loop {
            let window = self.take_requests(client)?;
            if window.requests.is_empty() {
                return Ok(());
            }
            self.generate_window(&window, first, client)?;
            first += window.requests.len();
        }
    }

    fn remarks(&self) -> String {
        let megabytes = self.sampler.peak_cache_bytes() as f64 / 1e6;
        format!("{} prompt tokens prefilled; KV cache at most {megabytes:.1} MB", self.sampler.prefilled())
    }
}

/// The language model names rows by their place among those given.
pub(super) fn named(error: latrace_lm::Error, name: impl Fn(usize) -> String) -> anyhow::Error {
    match error {
        latrace_lm::Error::Row { id, detail } => {
            // An id that is no number is a name already.
            let row = id.parse().map_or(id, name);
            Error::Request { row, detail }.into()
        }
        other => other.into(),
    }
}

/// The sampler's observer on one side, the client on the other.
struct Bridge<'a, 'b> {
    client: &'a mut (dyn GenerateClient + 'b),
    /// The number of the window's first request.
    first: usize,
    stop_texts: &'a [StopTexts],
    text: Option<&'a TextCodec>,
    error: CallersError,
}

impl Observer for Bridge<'_, '_> {
    fn token(&mut self, request: usize, sample: usize, tokens: &[u32]) -> Option<StopReason> {
        let flow = self.client.grown(self.first + request, sample, tokens, 1);
        // An interruption comes first: the client may have an error to report.
        if flow.is_break() {
            return Some(StopReason::Interrupted);
        }
        let found = self.text.is_some_and(|text| self.stop_texts[request].found(tokens, text));
        found.then_some(StopReason::StopString)
    }

    fn finished(&mut self, sample: Sample) -> Result<(), latrace_lm::Error> {
        let Sample { request, sample, tokens, logp, stop } = sample;
        let completion = Completion { ids: tokens, logp, stop };
        self.error.keep(self.client.finished(self.first + request, sample, completion))
    }
}
