//! The scorer: log-probs of given responses, in one forward pass that keeps nothing for a backward pass. A prompt that
//! rows beside each other have in common is read once.

mod shared;

use crate::batch::Batch;
use crate::error::Result;
use crate::forward::Stream;
use crate::model::{LayerLayout, Model};
use crate::rows::check_not_empty;
use latrace_kernels::{CacheSpan, Device};
use shared::{SharedPass, passes, shares_prompts};
use std::ops::Range;

/// A prompt and the response to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreRow {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Token ids of the response.
    pub response: Vec<u32>,
}

/// Log-probs of every response token (nats, temperature 1), row by row, independent of `tokens_per_batch`.
///
/// The first response token is predicted from the prompt, so an empty prompt is an error.
///
/// # Errors
/// An empty prompt or response, an id out of range, a row longer than the model's positions; rows are named
/// by their index.
pub fn score<D: Device>(
    model: &Model<D>,
    rows: &[ScoreRow],
    tokens_per_batch: usize,
    on_batch: &mut dyn FnMut(Range<usize>, Vec<Vec<f32>>) -> Result<()>,
) -> Result<()> {
    Scorer::new(model).score(rows, tokens_per_batch, on_batch)
}

/// Memory for scoring with one model, planned for the longest batch so far and reused.
pub struct Scorer<'a, D: Device> {
    model: &'a Model<D>,
    memory: Memory<D>,
}

struct Memory<D: Device> {
    stream: Stream<D>,
    lse: D::Buffer,
    logits: D::Buffer,
    /// Keys and values of one layer, of the blocks of a pass with shared prompts.
    cache: [D::Buffer; 2],
}

impl<'a, D: Device> Scorer<'a, D> {
    /// A scorer that has not reserved any memory yet.
    pub fn new(model: &'a Model<D>) -> Self {
        let memory = Memory::planned(model, 0, 0);
        Self { model, memory }
    }

    /// As [`score`].
    ///
    /// # Errors
    /// As [`score`].
    pub fn score(
        &mut self,
        rows: &[ScoreRow],
        tokens_per_batch: usize,
        on_batch: &mut dyn FnMut(Range<usize>, Vec<Vec<f32>>) -> Result<()>,
    ) -> Result<()> {
        // All rows are checked before the first batch, so that a bad one is reported at once, not after hours
        // of scoring.
        for (i, row) in rows.iter().enumerate() {
            check_row(self.model, i, row)?;
        }
        let mut batch = Batch::new();
        for pass in passes(rows, tokens_per_batch) {
            let rows = &rows[pass.clone()];
            let logp = if shares_prompts(rows) {
                self.shared_logp(&SharedPass::of(rows))
            } else {
                pack(&mut batch, rows);
                self.logp(&batch)
            };
            on_batch(pass, split(&logp, rows))?;
        }
        Ok(())
    }

    /// log p of each of the batch's targets, in nats.
    pub fn logp(&mut self, batch: &Batch) -> Vec<f32> {
        self.reserve(batch.tokens(), batch.longest());
        let Self { model, memory } = self;
        memory.pass(model, &batch.ids, &batch.rows, &batch.targets, |memory, layer| {
            memory.attention(model, layer, batch);
        })
    }

    /// As [`Scorer::logp`], the same bits, for rows of which some have a prompt in common.
    fn shared_logp(&mut self, pass: &SharedPass) -> Vec<f32> {
        // A short prompt may predict more first tokens than it has tokens.
        self.reserve(pass.ids.len().max(pass.rows.len()), pass.longest());
        let Self { model, memory } = self;
        memory.reserve_cache(model, pass.count as usize);
        let spans = [&pass.prompts[..], &pass.responses[..]].concat();
        memory.pass(model, &pass.ids, &pass.rows, &pass.targets, |memory, layer| {
            memory.shared_attention(model, layer, pass, &spans);
        })
    }

    fn reserve(&mut self, tokens: usize, positions: usize) {
        let Stream { rows, positions: planned, .. } = self.memory.stream;
        // Memory only grows: reallocating for every batch would cost more than keeping that of the longest.
        if tokens > rows || positions > planned {
            self.memory = Memory::planned(self.model, tokens.max(rows), positions.max(planned));
        }
    }
}

impl ScoreRow {
    /// Prompt, then response.
    fn tokens(&self) -> impl Iterator<Item = u32> {
        self.prompt.iter().chain(&self.response).copied()
    }
}

/// Makes a batch of rows, all of whose response tokens are scored.
fn pack(batch: &mut Batch, rows: &[ScoreRow]) {
    batch.clear();
    for row in rows {
        batch.push(row.tokens(), row.prompt.len(), |_| true);
    }
}

/// The log-probs of a batch's targets, row by row.
fn split(logp: &[f32], rows: &[ScoreRow]) -> Vec<Vec<f32>> {
    let mut rest = logp;
    let next = |row: &ScoreRow| {
        let (own, others) = rest.split_at(row.response.len());
        rest = others;
        own.to_vec()
    };
    rows.iter().map(next).collect()
}

fn check_row<D: Device>(model: &Model<D>, index: usize, row: &ScoreRow) -> Result<()> {
    let id = index.to_string();
    check_not_empty(&id, row.prompt.len(), row.response.len())?;
    model.check_ids(&id, &row.tokens().collect::<Vec<_>>())
}

impl<D: Device> Memory<D> {
    fn planned(model: &Model<D>, tokens: usize, positions: usize) -> Self {
        let lse = model.device.zeros(tokens * model.config.heads);
        // The device grows the logits to a chunk of rows: T×v values would be larger than all else together.
        let [logits, keys, values] = [(); 3].map(|()| model.device.zeros(0));
        Self { stream: Stream::planned(model, tokens, positions), lse, logits, cache: [keys, values] }
    }

    /// All layers over `ids`, and log p of the targets, which `rows` predict; `attention` leaves its output in `wide[0]`.
    fn pass(
        &mut self,
        model: &Model<D>,
        ids: &[u32],
        rows: &[u32],
        targets: &[u32],
        mut attention: impl FnMut(&mut Self, &LayerLayout),
    ) -> Vec<f32> {
        self.stream.embed(model, ids);
        for (i, layer) in model.layout.layers.iter().enumerate() {
            attention(self, layer);
            let mut count = ids.len();
            // After the last attention, rows no longer affect each other: only those with a target are needed.
            if model.is_last(i) {
                self.stream.keep_rows(model, rows);
                count = rows.len();
            }
            self.stream.output_and_mlp(model, model, layer, count);
        }
        self.head(model, targets)
    }

    fn reserve_cache(&mut self, model: &Model<D>, blocks: usize) {
        let (keys, values) = model.cache_lengths(blocks);
        for (buffer, length) in self.cache.iter_mut().zip([keys, values]) {
            if model.device.length(buffer) < length {
                *buffer = model.device.zeros(length);
            }
        }
    }

    /// `x` → attention's output in `wide[0]`; keys and values of the prompts come first, since responses begin in copies
    /// of their last blocks.
    fn shared_attention(
        &mut self,
        model: &Model<D>,
        layer: &LayerLayout,
        pass: &SharedPass,
        spans: &[CacheSpan],
    ) {
        let Self { stream, cache: [keys, values], .. } = self;
        let (device, shape, blocks) = (&model.device, model.attention_shape(), &pass.blocks);
        stream.project(model, model, layer, &pass.positions);
        device.cache_store([keys, values], &stream.k, &stream.v, &pass.prompts, blocks, shape);
        for &(from, to) in &pass.copies {
            device.cache_copy([keys, values], from as usize, to as usize, shape);
        }
        device.cache_store([keys, values], &stream.k, &stream.v, &pass.responses, blocks, shape);
        let [o, q] = &mut stream.wide;
        device.cached_attention(o, q, [keys, values], spans, blocks, shape);
    }

    /// `x` → attention's output in `wide[0]`.
    fn attention(&mut self, model: &Model<D>, layer: &LayerLayout, batch: &Batch) {
        let Self { stream, lse, .. } = self;
        stream.project(model, model, layer, &batch.positions);
        let ([o, q], shape) = (&mut stream.wide, model.attention_shape());
        model.device.attention(o, lse, [q, &stream.k, &stream.v], &batch.cu_seqlens, shape);
    }

    /// The rows left of `x` → log p of their targets.
    fn head(&mut self, model: &Model<D>, targets: &[u32]) -> Vec<f32> {
        let Self { stream, logits, .. } = self;
        stream.final_norm(model, targets.len());
        let (head, d) = (model.head(), model.config.hidden_size);
        let mut logp = vec![0.0; targets.len()];
        model.device.head_logp(&mut logp, &stream.h, head, targets, d, logits);
        logp
    }
}
