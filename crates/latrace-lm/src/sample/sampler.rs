//! Passes through the model until every sample is finished.

use super::blocks::Blocks;
use super::packed_model::PackedModel;
use super::schedule::{Limits, Running, Schedule, Step};
use super::{Observer, Sample, SampleRequest};
use crate::error::Error;
use crate::forward::Stream;
use crate::model::Model;
use latrace_core::StopReason;
use latrace_kernels::{Choice, Cpu, Device, LOGITS_CHUNK, standing_by};

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
    /// What the blocks of the cache hold. It outlives a run: the next one finds what it has in common with
    /// this one.
    blocks: Blocks,
    memory: Memory<D>,
    prefilled: u64,
    preempted: u64,
}

/// Memory, as much as the runs so far needed.
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
        let memory = Memory::planned(&packed.model, options);
        Self { packed, options, blocks: Blocks::default(), memory, prefilled: 0, preempted: 0 }
    }

    /// Bytes of keys and values of [`latrace_kernels::CACHE_BLOCK`] tokens.
    pub fn block_bytes(&self) -> u64 {
        let model = &self.packed.model;
        let (keys, values) = model.device.cache_lengths(1, model.attention_shape());
        (model.config.layers * (keys + values) * size_of::<f32>()) as u64
    }

    /// Tokens read so far, not drawn one by one: prompts, but for what was found in blocks of the cache, and
    /// what was read again of samples that had to give their blocks back.
    pub fn prefilled(&self) -> u64 {
        self.prefilled
    }

    /// How often samples gave their blocks back for want of memory, to go on later.
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
    pub fn run(&mut self, requests: &[SampleRequest], observer: &mut dyn Observer) -> Result<(), Error> {
        let positions = self.packed.model.config.max_positions;
        let capacity = (self.options.kv_cache_bytes / self.block_bytes()) as usize;
        for (i, request) in requests.iter().enumerate() {
            self.check(&i.to_string(), request, capacity)?;
        }
        let limits = Limits {
            samples: self.options.batch.max(1),
            prompt_tokens: self.options.prefill_tokens.max(1),
            positions,
        };
        self.plan(requests, limits, capacity);
        // Passes are made of many short loops.
        standing_by(|| self.passes(requests, limits, observer))
    }

    /// Makes the memory large enough for as many samples as may be active at once, within the budget.
    fn plan(&mut self, requests: &[SampleRequest], limits: Limits, capacity: usize) {
        let longest =
            requests.iter().map(|r| r.prompt.len() + Schedule::limit(r, limits.positions)).max().unwrap_or(0);
        let mut needs: Vec<(usize, usize)> = requests
            .iter()
            .map(|r| (Schedule::blocks_of_one(r, limits.positions), r.streams.len()))
            .collect();
        needs.sort_unstable_by(|a, b| b.cmp(a));
        let (mut blocks, mut places) = (0, limits.samples);
        for (each, samples) in needs {
            let active = samples.min(places);
            blocks += active * each;
            places -= active;
        }
        self.blocks.grow(blocks.min(capacity));
        self.memory.grow(&self.packed.model, longest, self.blocks.len());
    }

    fn passes(
        &mut self,
        requests: &[SampleRequest],
        limits: Limits,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let Self { packed, blocks, memory, prefilled, preempted, .. } = self;
        let mut schedule = Schedule::new(requests, blocks, limits);
        while let Some(mut step) = schedule.next_step() {
            let choices = memory.pass(packed, &step);
            *prefilled += (step.ids.len() - step.continued) as u64;
            *preempted += std::mem::take(&mut schedule.preempted);
            schedule.start_samples(&mut step);
            accept(&mut schedule, &choices, requests, limits.positions, observer)?;
        }
        Ok(())
    }

    fn check(&self, row: &str, request: &SampleRequest, capacity: usize) -> Result<(), Error> {
        let model = &self.packed.model;
        let fail = |detail: String| Err(Error::Row { id: row.to_owned(), detail });
        request.params.validate()?;
        if request.prompt.is_empty() {
            return fail(
                "the prompt has no tokens: expected at least one for the first new token to follow".into(),
            );
        }
        model.check_ids(row, &request.prompt)?;
        let positions = model.config.max_positions;
        if request.prompt.len() == positions {
            return fail(format!(
                "the prompt fills all {positions} of the model's positions: expected room for a new token"
            ));
        }
        let needed = Schedule::blocks_of_one(request, positions);
        if needed > capacity {
            let (needed, got) = (needed as u64 * self.block_bytes(), self.options.kv_cache_bytes);
            return fail(format!(
                "one sample may need {needed} bytes of keys and values, and the budget is {got} \
                 (kv_cache_bytes)"
            ));
        }
        Ok(())
    }
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

    /// Room for `blocks` blocks, what is in them stays, and for positions below `positions`.
    fn grow(&mut self, model: &Model<D>, positions: usize, blocks: usize) {
        let device = &model.device;
        if positions > self.stream.positions {
            self.stream = Stream::planned(model, self.stream.rows, positions);
        }
        let (keys, values) = device.cache_lengths(blocks, model.attention_shape());
        for (buffer, length) in self.cache.iter_mut().flat_map(|[k, v]| [(k, keys), (v, values)]) {
            let before = device.length(buffer);
            if length > before {
                let mut larger = device.resident(length);
                device.copy(&mut larger, buffer, before);
                *buffer = larger;
            }
        }
    }

    /// One pass: the token of each draw.
    fn pass(&mut self, packed: &PackedModel<D>, step: &Step) -> Vec<Choice> {
        let Self { stream, cache, .. } = self;
        let model = &packed.model;
        let (device, shape) = (&model.device, model.attention_shape());
        for [keys, values] in cache.iter_mut() {
            step.copies
                .iter()
                .for_each(|&(from, to)| device.cache_copy([keys, values], from as usize, to as usize, shape));
        }
        stream.embed(model, &step.ids);
        for (i, layer) in model.layout.layers.iter().enumerate() {
            let [keys, values] = &mut cache[i];
            stream.project_keys(model, packed, layer, &step.positions);
            device.cache_store([keys, values], &stream.k, &stream.v, &step.spans, &step.blocks, shape);
            // Of the last layer's output, only rows that are drawn from matter; others leave their keys and
            // values.
            let is_last = i + 1 == model.config.layers;
            let (spans, positions) = if is_last {
                (&step.last_spans, &step.last_positions)
            } else {
                (&step.spans, &step.positions)
            };
            if is_last {
                stream.keep_inputs(model, &step.rows);
            }
            if positions.is_empty() {
                return Vec::new();
            }
            stream.project_queries(model, packed, layer, positions);
            let [o, q] = &mut stream.wide;
            device.cached_attention(o, q, [keys, values], spans, &step.blocks, shape);
            stream.output_and_mlp(model, packed, layer, positions.len());
        }
        stream.final_norm(model, step.rows.len());
        self.choose(packed, step)
    }

    /// Logits and draws, a chunk of rows at a time.
    fn choose(&mut self, packed: &PackedModel<D>, step: &Step) -> Vec<Choice> {
        let (Self { stream, hidden, logits, .. }, model) = (self, &packed.model);
        let (vocabulary, chunk) = (model.config.vocab_size, logit_rows(model.config.vocab_size));
        let mut choices = Vec::with_capacity(step.draws.len());
        for (rows, draws) in step.drawn_from.chunks(chunk).zip(step.draws.chunks(chunk)) {
            model.device.gather_rows(hidden, rows, &stream.h, model.config.hidden_size);
            packed.logits(logits, hidden, draws.len());
            choices.extend(model.device.choose(logits, vocabulary, draws));
        }
        choices
    }
}

/// Appends the chosen tokens to their samples, and hands over those that are finished.
fn accept(
    schedule: &mut Schedule<'_>,
    choices: &[Choice],
    requests: &[SampleRequest],
    positions: usize,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let mut reasons = Vec::with_capacity(choices.len());
    for (running, choice) in schedule.running.iter_mut().zip(choices) {
        if !choice.logp.is_finite() {
            let detail = format!(
                "sample {}: the log-prob of token {} is {}: the model's weights may be damaged",
                running.sample,
                running.tokens.len(),
                choice.logp
            );
            return Err(Error::Row { id: running.request.to_string(), detail });
        }
        running.tokens.push(choice.token);
        running.logp.push(choice.logp);
        reasons.push(stop_reason(running, &requests[running.request], positions, observer));
    }
    let finished: Vec<bool> = reasons.iter().map(Option::is_some).collect();
    let done = schedule.finish(&finished);
    for (Running { request, sample, tokens, logp, .. }, stop) in
        done.into_iter().zip(reasons.into_iter().flatten())
    {
        observer.finished(Sample { request, sample, tokens, logp, stop })?;
    }
    Ok(())
}

fn stop_reason(
    running: &Running,
    request: &SampleRequest,
    positions: usize,
    observer: &mut dyn Observer,
) -> Option<StopReason> {
    let seen = observer.token(running.request, running.sample, &running.tokens);
    let last = running.tokens.last()?;
    if request.stop_ids.contains(last) {
        return Some(StopReason::End);
    }
    seen.or((running.tokens.len() >= Schedule::limit(request, positions)).then_some(StopReason::MaxTokens))
}
