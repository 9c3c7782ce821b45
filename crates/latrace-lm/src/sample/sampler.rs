//! Passes through the model until every sample is finished.

use super::blocks::Blocks;
use super::packed_model::PackedModel;
use super::schedule::{Limits, Running, Schedule, Step};
use super::{Observer, Sample, SampleRequest};
use crate::error::{Error, Result};
use crate::forward::Stream;
use crate::model::Model;
use latrace_core::StopReason;
use latrace_kernels::{CacheSpan, Choice, Cpu, Device, LOGITS_CHUNK, standing_by};

/// Memory and batch limits of a sampler.
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
    /// What the blocks of the cache hold. It outlives a run, so that the next one shares prefixes with it.
    blocks: Blocks,
    memory: Memory<D>,
    prefilled: u64,
    preempted: u64,
}

/// Memory, grown to what the runs so far needed.
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
        let packed = PackedModel::new(model);
        // Rows follow from the options; positions and the cache grow with the requests of a run.
        let memory = Memory::planned(&packed.model, options);
        Self { packed, options, blocks: Blocks::default(), memory, prefilled: 0, preempted: 0 }
    }

    /// Bytes of keys and values of [`latrace_kernels::CACHE_BLOCK`] tokens.
    pub fn block_bytes(&self) -> u64 {
        let model = &self.packed.model;
        let (keys, values) = model.cache_lengths(1);
        (model.config.layers * (keys + values) * size_of::<f32>()) as u64
    }

    /// Tokens prefilled so far: prompts, except for prefixes found in the cache, and the tokens of preempted
    /// samples that were read again.
    pub fn prefilled(&self) -> u64 {
        self.prefilled
    }

    /// How often samples were preempted for lack of memory, to be resumed later.
    pub fn preempted(&self) -> u64 {
        self.preempted
    }

    /// Most bytes of keys and values held at once so far.
    pub fn peak_cache_bytes(&self) -> u64 {
        self.blocks.peak as u64 * self.block_bytes()
    }

    /// Draws all samples of all requests.
    ///
    /// # Errors
    /// A bad setting; an empty prompt, or one that fills the model's positions; a sample that the cache
    /// cannot hold even alone; what the observer returns. Rows are named by their place among the requests.
    pub fn run(&mut self, requests: &[SampleRequest], observer: &mut dyn Observer) -> Result<()> {
        // All of them before the first pass: a bad request costs no sampling.
        for (i, request) in requests.iter().enumerate() {
            self.check(&i.to_string(), request)?;
        }
        let limits = self.limits();
        self.plan(requests, limits);
        // Passes consist of many short loops, for which waking sleeping threads would take longer than the
        // work.
        standing_by(|| self.passes(requests, limits, observer))
    }

    fn limits(&self) -> Limits {
        let SamplerOptions { batch, prefill_tokens, .. } = self.options;
        let positions = self.packed.model.config.max_positions;
        // With 0 of either, no pass would make progress.
        Limits { samples: batch.max(1), prompt_tokens: prefill_tokens.max(1), positions }
    }

    /// Blocks within the budget.
    fn capacity(&self) -> usize {
        (self.options.kv_cache_bytes / self.block_bytes()) as usize
    }

    /// Makes the memory large enough for as many samples as may be active at once, within the budget.
    fn plan(&mut self, requests: &[SampleRequest], limits: Limits) {
        let tokens = requests.iter().map(|r| r.prompt.len() + Schedule::limit(r, limits.positions));
        let longest = tokens.max().unwrap_or(0);
        self.blocks.grow(most_blocks(requests, limits).min(self.capacity()));
        self.memory.grow(&self.packed.model, longest, self.blocks.len());
    }

    fn passes(
        &mut self,
        requests: &[SampleRequest],
        limits: Limits,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let Self { packed, blocks, memory, prefilled, preempted, .. } = self;
        let mut schedule = Schedule::new(requests, blocks, limits);
        while let Some(mut step) = schedule.next_step() {
            let choices = memory.pass(packed, &step);
            *prefilled += step.prompt_tokens() as u64;
            *preempted += std::mem::take(&mut schedule.preempted);
            // Before accepting: choices are those of running samples, then of the ones started here.
            schedule.start_samples(&mut step);
            accept(&mut schedule, &choices, requests, limits.positions, observer)?;
        }
        Ok(())
    }

    fn check(&self, row: &str, request: &SampleRequest) -> Result<()> {
        request.params.validate()?;
        self.check_prompt(row, &request.prompt)?;
        self.check_memory(row, request)
    }

    fn check_prompt(&self, row: &str, prompt: &[u32]) -> Result<()> {
        if prompt.is_empty() {
            let detail = "the prompt has no tokens: expected at least one for the first new token to follow";
            return Err(Error::row(row, detail));
        }
        let model = &self.packed.model;
        model.check_ids(row, prompt)?;
        let positions = model.config.max_positions;
        if prompt.len() < positions {
            return Ok(());
        }
        let detail = format!(
            "the prompt fills all {positions} of the model's positions: expected room for a new token"
        );
        Err(Error::row(row, detail))
    }

    /// Every sample must fit alone: then the oldest always can continue, and all of them finish.
    fn check_memory(&self, row: &str, request: &SampleRequest) -> Result<()> {
        let needed = Schedule::blocks_of_one(request, self.packed.model.config.max_positions);
        if needed <= self.capacity() {
            return Ok(());
        }
        let (needed, got) = (needed as u64 * self.block_bytes(), self.options.kv_cache_bytes);
        let detail = format!(
            "one sample may need {needed} bytes of keys and values, and the budget is {got} (kv_cache_bytes)"
        );
        Err(Error::row(row, detail))
    }
}

/// Most blocks that samples active at the same time can need: those of the longest ones, without sharing.
fn most_blocks(requests: &[SampleRequest], limits: Limits) -> usize {
    let mut needs: Vec<_> = requests.iter().map(|request| blocks_and_samples(request, limits)).collect();
    // The longest first: which samples will be active together is not known yet.
    needs.sort_unstable_by(|a, b| b.cmp(a));
    let (mut blocks, mut places) = (0, limits.samples);
    for (each, samples) in needs {
        let active = samples.min(places);
        blocks += active * each;
        places -= active;
    }
    blocks
}

/// Blocks that each sample of a request may need, and how many samples there are.
fn blocks_and_samples(request: &SampleRequest, limits: Limits) -> (usize, usize) {
    (Schedule::blocks_of_one(request, limits.positions), request.streams.len())
}

/// Rows of logits held at once.
fn logit_rows(vocabulary: usize) -> usize {
    (LOGITS_CHUNK / vocabulary).max(1)
}

impl<D: Device> Memory<D> {
    fn planned(model: &Model<D>, options: SamplerOptions) -> Self {
        let (device, config) = (&model.device, &model.config);
        let rows = logit_rows(config.vocab_size).min(options.batch.max(1));
        Self {
            stream: Stream::planned(model, options.batch.max(1) + options.prefill_tokens.max(1), 0),
            cache: (0..config.layers).map(|_| [device.zeros(0), device.zeros(0)]).collect(),
            hidden: device.zeros(rows * config.hidden_size),
            logits: device.zeros(rows * config.vocab_size),
        }
    }

    /// Makes room for `blocks` blocks, keeping their contents, and for positions below `positions`.
    fn grow(&mut self, model: &Model<D>, positions: usize, blocks: usize) {
        if positions > self.stream.positions {
            self.stream = Stream::planned(model, self.stream.rows, positions);
        }
        let (keys, values) = model.cache_lengths(blocks);
        for [k, v] in &mut self.cache {
            enlarge(&model.device, k, keys);
            enlarge(&model.device, v, values);
        }
    }

    /// One pass: the token of each draw.
    fn pass(&mut self, packed: &PackedModel<D>, step: &Step) -> Vec<Choice> {
        let model = &packed.model;
        // Before the pass writes: a copy is of the contents that both holders had in common.
        self.copy_blocks(model, &step.copies);
        self.stream.embed(model, &step.ids);
        for i in 0..model.config.layers {
            self.store_keys(packed, step, i);
            // Of the last layer's output, only rows that are drawn from are needed; the others only leave
            // their keys and values in the cache.
            let (mut spans, mut positions) = (&step.spans, &step.positions);
            if model.is_last(i) {
                self.stream.keep_inputs(model, &step.rows);
                (spans, positions) = (&step.last_spans, &step.last_positions);
            }
            // A piece in the middle of a prompt draws nothing.
            if positions.is_empty() {
                return Vec::new();
            }
            self.attention_and_mlp(packed, i, spans, positions, &step.blocks);
        }
        self.stream.final_norm(model, step.rows.len());
        self.choose(packed, step)
    }

    fn copy_blocks(&mut self, model: &Model<D>, copies: &[(u32, u32)]) {
        let shape = model.attention_shape();
        for [keys, values] in &mut self.cache {
            for &(from, to) in copies {
                model.device.cache_copy([keys, values], from as usize, to as usize, shape);
            }
        }
    }

    /// Puts the pass's keys and values into the cache of layer `i`.
    fn store_keys(&mut self, packed: &PackedModel<D>, step: &Step, i: usize) {
        let (Self { stream, cache, .. }, model) = (self, &packed.model);
        let [keys, values] = &mut cache[i];
        stream.project_keys(model, packed, &model.layout.layers[i], &step.positions);
        let (spans, shape) = (&step.spans, model.attention_shape());
        model.device.cache_store([keys, values], &stream.k, &stream.v, spans, &step.blocks, shape);
    }

    /// The rest of layer `i`, for the rows at `positions`.
    fn attention_and_mlp(
        &mut self,
        packed: &PackedModel<D>,
        i: usize,
        spans: &[CacheSpan],
        positions: &[u32],
        blocks: &[u32],
    ) {
        let (Self { stream, cache, .. }, model) = (self, &packed.model);
        let (layer, [keys, values]) = (&model.layout.layers[i], &cache[i]);
        stream.project_queries(model, packed, layer, positions);
        let ([o, q], shape) = (&mut stream.wide, model.attention_shape());
        model.device.cached_attention(o, q, [keys, values], spans, blocks, shape);
        stream.output_and_mlp(model, packed, layer, positions.len());
    }

    /// Logits and draws, a chunk of rows at a time.
    fn choose(&mut self, packed: &PackedModel<D>, step: &Step) -> Vec<Choice> {
        let (Self { stream, hidden, logits, .. }, model) = (self, &packed.model);
        let (vocabulary, chunk) = (model.config.vocab_size, logit_rows(model.config.vocab_size));
        let mut choices = Vec::with_capacity(step.draws.len());
        // Samples of one prompt start from the same row: it is gathered for each of them, since drawing
        // overwrites the logits.
        for (rows, draws) in step.drawn_from.chunks(chunk).zip(step.draws.chunks(chunk)) {
            model.device.gather_rows(hidden, rows, &stream.h, model.config.hidden_size);
            packed.logits(logits, hidden, draws.len());
            choices.extend(model.device.choose(logits, vocabulary, draws));
        }
        choices
    }
}

/// Copies a buffer into a larger one, if it is shorter than `length`.
fn enlarge<D: Device>(device: &D, buffer: &mut D::Buffer, length: usize) {
    let before = device.length(buffer);
    if length > before {
        let mut larger = device.zeros(length);
        device.copy(&mut larger, buffer, before);
        *buffer = larger;
    }
}

/// Appends the chosen tokens to their samples, and passes finished samples to the observer.
fn accept(
    schedule: &mut Schedule<'_>,
    choices: &[Choice],
    requests: &[SampleRequest],
    positions: usize,
    observer: &mut dyn Observer,
) -> Result<()> {
    let mut reasons = Vec::with_capacity(choices.len());
    for (running, choice) in schedule.running.iter_mut().zip(choices) {
        append(running, choice)?;
        reasons.push(stop_reason(running, &requests[running.request], positions, observer));
    }
    let finished: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let samples = schedule.finish(&finished).into_iter().zip(reasons.into_iter().flatten());
    samples.into_iter().try_for_each(|(running, stop)| observer.finished(running.into_sample(stop)))
}

fn append(running: &mut Running, Choice { token, logp }: &Choice) -> Result<()> {
    // Only NaN or infinite weights lead here; sampling on would give noise that looks like text.
    if !logp.is_finite() {
        let (sample, at) = (running.sample, running.tokens.len());
        let detail = format!(
            "sample {sample}: the log-prob of token {at} is {logp}: the model's weights may be damaged"
        );
        return Err(Error::row(running.request.to_string(), detail));
    }
    running.tokens.push(*token);
    running.logp.push(*logp);
    Ok(())
}

impl Running {
    fn into_sample(self, stop: StopReason) -> Sample {
        let Self { request, sample, tokens, logp, .. } = self;
        Sample { request, sample, tokens, logp, stop }
    }
}

fn stop_reason(
    running: &Running,
    request: &SampleRequest,
    positions: usize,
    observer: &mut dyn Observer,
) -> Option<StopReason> {
    // The observer sees every token, the last one too; a stop id still takes precedence over its reason.
    let seen = observer.token(running.request, running.sample, &running.tokens);
    let last = running.tokens.last()?;
    if request.stop_ids.contains(last) {
        return Some(StopReason::End);
    }
    seen.or_else(|| is_full(running, request, positions).then_some(StopReason::MaxTokens))
}

fn is_full(running: &Running, request: &SampleRequest, positions: usize) -> bool {
    running.tokens.len() >= Schedule::limit(request, positions)
}
