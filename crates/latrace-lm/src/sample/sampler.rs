//! Passes through the model until every sample is finished.

use super::blocks::Blocks;
use super::packed_model::PackedModel;
use super::schedule::{Limits, Running, Schedule, Step};
use super::{Observer, Sample, SampleRequest, StopReason};
use crate::error::Error;
use crate::forward::Stream;
use crate::model::Model;
use latrace_kernels::{Choice, Cpu, Device, Draw, LOGITS_CHUNK};

/// What a sampler may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerOptions {
    /// Memory for keys and values, in bytes. Requests wait when it is full.
    pub kv_cache_bytes: u64,
    /// Most samples at a time.
    pub batch: usize,
    /// Most tokens of prompts in one pass.
    pub prefill_tokens: usize,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        Self { kv_cache_bytes: 1 << 30, batch: 256, prefill_tokens: 512 }
    }
}

/// A model ready to sample.
pub struct Sampler<D: Device = Cpu> {
    packed: PackedModel<D>,
    options: SamplerOptions,
    /// Tokens of prompts read so far, those found in shared blocks left out.
    prefilled: u64,
    peak_cache_bytes: u64,
}

/// Memory of a run of the sampler.
struct Memory<D: Device> {
    stream: Stream<D>,
    /// Keys and values, by layer.
    cache: Vec<[D::Buffer; 2]>,
    hidden: D::Buffer,
    logits: D::Buffer,
}

impl<D: Device> Sampler<D> {
    /// Packs a model's weights.
    pub fn new(model: Model<D>, options: SamplerOptions) -> Self {
        Self { packed: PackedModel::new(model), options, prefilled: 0, peak_cache_bytes: 0 }
    }

    /// Bytes of keys and values of [`latrace_kernels::CACHE_BLOCK`] tokens.
    pub fn block_bytes(&self) -> u64 {
        let model = &self.packed.model;
        let (keys, values) = model.device.cache_lengths(1, model.attention_shape());
        (model.config.layers * (keys + values) * size_of::<f32>()) as u64
    }

    /// Tokens of prompts read so far; those found in shared blocks are not among them.
    pub fn prefilled(&self) -> u64 {
        self.prefilled
    }

    /// Most bytes of keys and values held at once so far.
    pub fn peak_cache_bytes(&self) -> u64 {
        self.peak_cache_bytes
    }

    /// Draws all samples of all requests.
    ///
    /// # Errors
    /// A bad setting; an empty prompt, or one that fills the model's positions; a sample that the cache cannot hold even alone; what the observer
    /// returns. Rows are named by their place among the requests.
    pub fn run(&mut self, requests: &[SampleRequest], observer: &mut dyn Observer) -> Result<(), Error> {
        let positions = self.packed.model.config.max_positions;
        let capacity = (self.options.kv_cache_bytes / self.block_bytes()) as usize;
        for (i, request) in requests.iter().enumerate() {
            self.check(&i.to_string(), request, capacity)?;
        }
        let limits = Limits { samples: self.options.batch.max(1), prompt_tokens: self.options.prefill_tokens.max(1), positions };
        let needed: usize = requests.iter().map(|r| r.streams.len() * Schedule::blocks_of_one(r, positions)).sum();
        let mut schedule = Schedule::new(requests, Blocks::new(capacity.min(needed)), limits);
        let longest = requests.iter().map(|r| r.prompt.len() + Schedule::limit(r, positions)).max().unwrap_or(0);
        let mut memory = Memory::planned(&self.packed.model, limits, longest, schedule.blocks.len());
        while let Some(mut step) = schedule.next_step() {
            let choices = self.pass(&mut memory, &step);
            let first = schedule.running.len();
            let prompt_tokens = step.ids.len() - step.continued;
            self.prefilled += prompt_tokens as u64;
            let (device, shape) = (&self.packed.model.device, self.packed.model.attention_shape());
            schedule.start_samples(&mut step, &mut |from, to| {
                for [keys, values] in &mut memory.cache {
                    device.cache_copy([keys, values], from as usize, to as usize, shape);
                }
            });
            debug_assert_eq!(first, step.continued);
            accept(&mut schedule, &choices, requests, positions, observer)?;
            self.peak_cache_bytes = self.peak_cache_bytes.max(schedule.blocks.peak as u64 * self.block_bytes());
        }
        Ok(())
    }

    fn check(&self, row: &str, request: &SampleRequest, capacity: usize) -> Result<(), Error> {
        let model = &self.packed.model;
        let fail = |detail: String| Err(Error::Row { id: row.to_owned(), detail });
        request.sampling.validate()?;
        if request.prompt.is_empty() {
            return fail("the prompt has no tokens: expected at least one for the first new token to follow".into());
        }
        model.check_ids(row, &request.prompt)?;
        let positions = model.config.max_positions;
        if request.prompt.len() == positions {
            return fail(format!("the prompt fills all {positions} of the model's positions: expected room for a new token"));
        }
        let needed = Schedule::blocks_of_one(request, positions);
        if needed > capacity {
            let (needed, got) = (needed as u64 * self.block_bytes(), self.options.kv_cache_bytes);
            return fail(format!("one sample may need {needed} bytes of keys and values, and the budget is {got} (kv_cache_bytes)"));
        }
        Ok(())
    }

    /// One pass: the token of each draw.
    fn pass(&self, memory: &mut Memory<D>, step: &Step) -> Vec<Choice> {
        let (packed, Memory { stream, cache, hidden, logits }) = (&self.packed, memory);
        let model = &packed.model;
        let (device, shape) = (&model.device, model.attention_shape());
        stream.embed(model, &step.ids);
        for (i, layer) in model.layout.layers.iter().enumerate() {
            let [keys, values] = &mut cache[i];
            stream.project(model, packed, layer, &step.positions);
            device.cache_store([keys, values], &stream.k, &stream.v, &step.spans, &step.blocks, shape);
            let [o, q] = &mut stream.wide;
            device.cached_attention(o, q, [keys, values], &step.spans, &step.blocks, shape);
            let is_last = i + 1 == model.config.layers;
            if is_last {
                stream.keep_rows(model, &step.rows);
            }
            stream.output_and_mlp(model, packed, layer, if is_last { step.rows.len() } else { step.ids.len() });
        }
        stream.final_norm(model, step.rows.len());
        self.choose(stream, hidden, logits, &step.draws)
    }

    /// Logits and draws, a chunk of rows at a time.
    fn choose(&self, stream: &Stream<D>, hidden: &mut D::Buffer, logits: &mut D::Buffer, draws: &[Draw]) -> Vec<Choice> {
        let (model, d) = (&self.packed.model, self.packed.model.config.hidden_size);
        let (vocabulary, chunk) = (model.config.vocab_size, logit_rows(model.config.vocab_size));
        let mut choices = Vec::with_capacity(draws.len());
        for (i, draws) in draws.chunks(chunk).enumerate() {
            let rows: Vec<u32> = (i * chunk..i * chunk + draws.len()).map(|row| row as u32).collect();
            model.device.gather_rows(hidden, &rows, &stream.h, d);
            self.packed.logits(logits, hidden, draws.len());
            choices.extend(model.device.choose(logits, vocabulary, draws));
        }
        choices
    }
}

/// Rows of logits held at once.
fn logit_rows(vocabulary: usize) -> usize {
    (LOGITS_CHUNK / vocabulary).max(1)
}

impl<D: Device> Memory<D> {
    fn planned(model: &Model<D>, limits: Limits, positions: usize, blocks: usize) -> Self {
        let (device, config) = (&model.device, &model.config);
        let (keys, values) = device.cache_lengths(blocks, model.attention_shape());
        let rows = logit_rows(config.vocab_size).min(limits.samples);
        Self {
            stream: Stream::planned(model, limits.samples + limits.prompt_tokens, positions),
            cache: (0..config.layers).map(|_| [device.zeros(keys), device.zeros(values)]).collect(),
            hidden: device.zeros(rows * config.hidden_size),
            logits: device.zeros(rows * config.vocab_size),
        }
    }
}

/// Appends the chosen tokens to their samples, and hands over those that are finished.
fn accept(schedule: &mut Schedule<'_>, choices: &[Choice], requests: &[SampleRequest], positions: usize, observer: &mut dyn Observer) -> Result<(), Error> {
    let mut reasons = Vec::with_capacity(choices.len());
    for (running, choice) in schedule.running.iter_mut().zip(choices) {
        if !choice.logp.is_finite() {
            let detail =
                format!("sample {}: the log-prob of token {} is {}: the model's weights may be damaged", running.sample, running.tokens.len(), choice.logp);
            return Err(Error::Row { id: running.request.to_string(), detail });
        }
        running.tokens.push(choice.token);
        running.logp.push(choice.logp);
        reasons.push(stop_reason(running, &requests[running.request], positions, observer));
    }
    let finished: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let done = schedule.finish(&finished);
    for (Running { request, sample, tokens, logp, .. }, stop) in done.into_iter().zip(reasons.into_iter().flatten()) {
        observer.finished(Sample { request, sample, tokens, logp, stop })?;
    }
    Ok(())
}

fn stop_reason(running: &Running, request: &SampleRequest, positions: usize, observer: &mut dyn Observer) -> Option<StopReason> {
    let seen = observer.token(running.request, running.sample, &running.tokens);
    let last = running.tokens.last()?;
    if request.sampling.end_ids.contains(last) {
        return Some(StopReason::End);
    }
    seen.or((running.tokens.len() >= Schedule::limit(request, positions)).then_some(StopReason::MaxTokens))
}
