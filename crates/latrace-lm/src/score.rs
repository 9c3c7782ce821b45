//! The scorer: log-probs of given responses, in one pass without anything kept for a backward pass.

use crate::batch::{Batch, runs};
use crate::error::Error;
use crate::forward::Stream;
use crate::model::Model;
use latrace_kernels::Device;
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
/// A first token without a prompt has nothing to be predicted from and is an error.
///
/// # Errors
/// An empty prompt or response, an id out of range, a row longer than the model's positions; the index stands
/// for the id.
pub fn score<D: Device>(
    model: &Model<D>,
    rows: &[ScoreRow],
    tokens_per_batch: usize,
    on_batch: &mut dyn FnMut(Range<usize>, Vec<Vec<f32>>) -> Result<(), Error>,
) -> Result<(), Error> {
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
}

impl<'a, D: Device> Scorer<'a, D> {
    /// A scorer without memory yet.
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
        on_batch: &mut dyn FnMut(Range<usize>, Vec<Vec<f32>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (i, row) in rows.iter().enumerate() {
            check_row(self.model, i, row)?;
        }
        // All rows are checked before the first batch, so that a bad one does not cost hours of scoring.
        let lengths: Vec<usize> = rows.iter().map(|r| r.prompt.len() + r.response.len()).collect();
        let mut batch = Batch::new();
        for run in runs(&lengths, tokens_per_batch) {
            batch.clear();
            for row in &rows[run.clone()] {
                batch.push(row.prompt.iter().chain(&row.response).copied(), row.prompt.len(), |_| true);
            }
            let logp = self.logp(&batch);
            let mut rest = logp.as_slice();
            let split = rows[run.clone()].iter().map(|row| {
                let (own, others) = rest.split_at(row.response.len());
                rest = others;
                own.to_vec()
            });
            let split = split.collect();
            on_batch(run, split)?;
        }
        Ok(())
    }

    /// log p of each of the batch's targets, in nats.
    pub fn logp(&mut self, batch: &Batch) -> Vec<f32> {
        let positions = batch.positions.iter().max().map_or(0, |&p| p as usize + 1);
        // Memory only grows: reallocating for every batch would cost more than the longest one holds.
        let planned = &self.memory.stream;
        if batch.tokens() > planned.rows || positions > planned.positions {
            self.memory = Memory::planned(
                self.model,
                batch.tokens().max(planned.rows),
                positions.max(planned.positions),
            );
        }
        let (model, Memory { stream, lse, logits }) = (self.model, &mut self.memory);
        let (device, d, shape) = (&model.device, model.config.hidden_size, model.attention_shape());
        stream.embed(model, &batch.ids);
        for (i, layer) in model.layout.layers.iter().enumerate() {
            stream.project(model, model, layer, &batch.positions);
            let [o, q] = &mut stream.wide;
            device.attention(o, lse, [q, &stream.k, &stream.v], &batch.cu_seqlens, shape);
            // Beyond the last attention, only rows with a target matter.
            let is_last = i + 1 == model.config.layers;
            if is_last {
                stream.keep_rows(model, &batch.rows);
            }
            let rows = if is_last { batch.rows.len() } else { batch.tokens() };
            stream.output_and_mlp(model, model, layer, rows);
        }
        stream.final_norm(model, batch.rows.len());
        let mut logp = vec![0.0; batch.rows.len()];
        device.head_logp(
            &mut logp,
            &stream.h,
            &model.parameters[model.layout.head],
            &batch.targets,
            d,
            logits,
        );
        logp
    }
}

pub(crate) fn check_row<D: Device>(model: &Model<D>, index: usize, row: &ScoreRow) -> Result<(), Error> {
    let fail = |detail: &str| Err(Error::Row { id: index.to_string(), detail: detail.into() });
    if row.prompt.is_empty() {
        return fail(
            "the prompt has no tokens: expected at least one for the first response token to follow",
        );
    }
    if row.response.is_empty() {
        return fail("the response has no tokens");
    }
    let all: Vec<u32> = row.prompt.iter().chain(&row.response).copied().collect();
    model.check_ids(&index.to_string(), &all)
}

impl<D: Device> Memory<D> {
    fn planned(model: &Model<D>, tokens: usize, positions: usize) -> Self {
        let lse = model.device.zeros(tokens * model.config.heads);
        Self { stream: Stream::planned(model, tokens, positions), lse, logits: model.device.zeros(0) }
    }
}
