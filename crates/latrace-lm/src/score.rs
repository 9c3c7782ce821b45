//! The scorer: log-probs of given responses, in one pass without anything kept for a backward pass.

use crate::batch::{Batch, runs};
use crate::error::Error;
use crate::model::{LayerLayout, Model, Projection};
use latrace_kernels::{Device, Rotation};
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
/// An empty prompt or response, an id out of range, a row longer than the model's positions; the index stands for the id.
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
    tokens: usize,
    positions: usize,
    table: D::Buffer,
    /// The residual stream, T×d.
    x: D::Buffer,
    /// The normalised stream, T×d.
    h: D::Buffer,
    /// Two work areas, T×max(query width, intermediate size): gate and up, or queries and attention's output.
    wide: [D::Buffer; 2],
    k: D::Buffer,
    v: D::Buffer,
    inverse_rms: D::Buffer,
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
        if batch.tokens() > self.memory.tokens || positions > self.memory.positions {
            self.memory = Memory::planned(self.model, batch.tokens().max(self.memory.tokens), positions.max(self.memory.positions));
        }
        let (model, memory) = (self.model, &mut self.memory);
        let (device, d) = (&model.device, model.config.hidden_size);
        device.gather_rows(&mut memory.x, &batch.ids, &model.parameters[model.layout.embedding], d);
        for (i, layer) in model.layout.layers.iter().enumerate() {
            attention(model, memory, layer, batch);
            // Beyond the last attention, only rows with a target matter.
            let is_last = i + 1 == model.config.layers;
            if is_last {
                memory.keep_rows(model, &batch.rows);
            }
            let rows = if is_last { batch.rows.len() } else { batch.tokens() };
            output_and_mlp(model, memory, layer, rows);
        }
        let mut logp = vec![0.0; batch.rows.len()];
        let Memory { x, h, inverse_rms, logits, .. } = memory;
        device.rms_norm(h, inverse_rms, x, &model.parameters[model.layout.norm], model.config.norm_eps, batch.rows.len());
        device.head_logp(&mut logp, h, &model.parameters[model.layout.head], &batch.targets, d, logits);
        logp
    }
}

pub(crate) fn check_row<D: Device>(model: &Model<D>, index: usize, row: &ScoreRow) -> Result<(), Error> {
    let fail = |detail: &str| Err(Error::Row { id: index.to_string(), detail: detail.into() });
    if row.prompt.is_empty() {
        return fail("the prompt has no tokens: expected at least one for the first response token to follow");
    }
    if row.response.is_empty() {
        return fail("the response has no tokens");
    }
    let all: Vec<u32> = row.prompt.iter().chain(&row.response).copied().collect();
    model.check_ids(&index.to_string(), &all)
}

/// A layer up to its attention, whose output is left in `wide[0]`.
fn attention<D: Device>(model: &Model<D>, memory: &mut Memory<D>, layer: &LayerLayout, batch: &Batch) {
    let Memory { table, x, h, wide: [a, b], k, v, inverse_rms, lse, .. } = memory;
    let (device, config, tokens) = (&model.device, &model.config, batch.tokens());
    let (d, shape) = (config.hidden_size, model.attention_shape());
    let parameter = |i: usize| &model.parameters[i];
    let bias = |p: Projection| p.bias.map(parameter);
    let project = |y: &mut D::Buffer, x: &D::Buffer, p: Projection, inputs| device.linear(y, x, parameter(p.weight), bias(p), tokens, inputs);

    device.rms_norm(h, inverse_rms, x, parameter(layer.input_norm), config.norm_eps, tokens);
    project(v, h, layer.value, d);
    if let Some((query_norm, key_norm)) = layer.head_norms {
        project(a, h, layer.key, d);
        device.rms_norm(k, inverse_rms, a, parameter(key_norm), config.norm_eps, tokens * shape.kv_heads);
        project(a, h, layer.query, d);
        device.rms_norm(b, inverse_rms, a, parameter(query_norm), config.norm_eps, tokens * shape.heads);
    } else {
        project(k, h, layer.key, d);
        project(b, h, layer.query, d);
    }
    device.rotary(b, &batch.positions, table, shape.heads, shape.head_dim, Rotation::Forward);
    device.rotary(k, &batch.positions, table, shape.kv_heads, shape.head_dim, Rotation::Forward);
    device.attention(a, lse, [b, k, v], &batch.cu_seqlens, shape);
}

/// The rest of a layer, over the first `rows` rows of the stream and of attention's output.
fn output_and_mlp<D: Device>(model: &Model<D>, memory: &mut Memory<D>, layer: &LayerLayout, rows: usize) {
    let Memory { x, h, wide: [a, b], inverse_rms, .. } = memory;
    let (device, config) = (&model.device, &model.config);
    let parameter = |i: usize| &model.parameters[i];
    let bias = |p: Projection| p.bias.map(parameter);
    device.linear_add(x, a, parameter(layer.output.weight), bias(layer.output), rows, model.attention_shape().query_width());
    device.rms_norm(h, inverse_rms, x, parameter(layer.mlp_norm), config.norm_eps, rows);
    device.linear(a, h, parameter(layer.gate.weight), bias(layer.gate), rows, config.hidden_size);
    device.linear(b, h, parameter(layer.up.weight), bias(layer.up), rows, config.hidden_size);
    device.swiglu_in_place(a, b, rows * config.intermediate_size);
    device.linear_add(x, a, parameter(layer.down.weight), bias(layer.down), rows, config.intermediate_size);
}

impl<D: Device> Memory<D> {
    /// Moves the given rows of the stream and of attention's output to the front.
    fn keep_rows(&mut self, model: &Model<D>, rows: &[u32]) {
        model.device.gather_rows(&mut self.h, rows, &self.x, model.config.hidden_size);
        std::mem::swap(&mut self.x, &mut self.h);
        let [a, b] = &mut self.wide;
        model.device.gather_rows(b, rows, a, model.attention_shape().query_width());
        std::mem::swap(a, b);
    }

    fn planned(model: &Model<D>, tokens: usize, positions: usize) -> Self {
        let (device, config, shape) = (&model.device, &model.config, model.attention_shape());
        let zeros = |width: usize| device.zeros(tokens * width);
        let wide = shape.query_width().max(config.intermediate_size).max(config.hidden_size);
        let (frequencies, scale) = config.rope.frequencies(config.head_dim, config.max_positions);
        Self {
            tokens,
            positions,
            table: device.rotary_table(&frequencies, scale, positions),
            x: zeros(config.hidden_size),
            h: zeros(config.hidden_size),
            wide: [zeros(wide), zeros(wide)],
            k: zeros(shape.key_width()),
            v: zeros(shape.key_width()),
            inverse_rms: zeros(shape.heads),
            lse: zeros(shape.heads),
            logits: device.zeros(0),
        }
    }
}
