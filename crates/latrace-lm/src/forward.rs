//! The decoder's forward pass without anything kept for a backward pass: what scoring and sampling share.
//!
//! Between [`Stream::project`] and [`Stream::output_and_mlp`] stands attention, in which the two differ.

use crate::model::{LayerLayout, Model, Projection};
use latrace_kernels::{Device, Rotation};

/// How a model's projections are computed: from weights as stored, or from packed ones.
pub(crate) trait Projections<D: Device> {
    /// y = x·Wᵀ (+ b), without an adapter.
    fn linear(&self, y: &mut D::Buffer, x: &D::Buffer, projection: Projection, rows: usize, inputs: usize);
    /// y += x·Wᵀ (+ b), without an adapter.
    fn linear_add(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        projection: Projection,
        rows: usize,
        inputs: usize,
    );
    /// The model, for its adapter.
    fn model(&self) -> &Model<D>;

    /// y = x·(W + s·B·A)ᵀ (+ b); `low` is room for rows×rank.
    fn project(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        p: Projection,
        rows: usize,
        inputs: usize,
        low: &mut D::Buffer,
    ) {
        self.linear(y, x, p, rows, inputs);
        self.model().add_low_rank(y, x, p, rows, inputs, low);
    }

    /// y += x·(W + s·B·A)ᵀ (+ b).
    fn project_add(
        &self,
        y: &mut D::Buffer,
        x: &D::Buffer,
        p: Projection,
        rows: usize,
        inputs: usize,
        low: &mut D::Buffer,
    ) {
        self.linear_add(y, x, p, rows, inputs);
        self.model().add_low_rank(y, x, p, rows, inputs, low);
    }
}

impl<D: Device> Projections<D> for Model<D> {
    fn linear(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, inputs: usize) {
        self.device.linear(y, x, self.weight(p), self.bias(p), rows, inputs);
    }

    fn linear_add(&self, y: &mut D::Buffer, x: &D::Buffer, p: Projection, rows: usize, inputs: usize) {
        self.device.linear_add(y, x, self.weight(p), self.bias(p), rows, inputs);
    }

    fn model(&self) -> &Model<D> {
        self
    }
}

/// The memory of a pass over at most `rows` tokens at positions below `positions`.
pub(crate) struct Stream<D: Device> {
    pub rows: usize,
    pub positions: usize,
    table: D::Buffer,
    /// The residual stream, T×d.
    pub x: D::Buffer,
    /// The normalised stream, T×d.
    pub h: D::Buffer,
    /// Two work areas, T×the widest of all: gate and up, or attention's output and queries.
    pub wide: [D::Buffer; 2],
    pub k: D::Buffer,
    pub v: D::Buffer,
    inverse_rms: D::Buffer,
    /// Between A and B of an adapter, T×rank.
    low: D::Buffer,
}

impl<D: Device> Stream<D> {
    pub fn planned(model: &Model<D>, rows: usize, positions: usize) -> Self {
        let (config, shape) = (&model.config, model.attention_shape());
        let zeros = |width: usize| model.device.zeros(rows * width);
        // Attention's operands are no longer needed when gate and up are computed, so they share memory.
        let wide = shape.query_width().max(config.intermediate_size).max(config.hidden_size);
        Self {
            rows,
            positions,
            table: model.rotary_table(positions),
            x: zeros(config.hidden_size),
            h: zeros(config.hidden_size),
            wide: [zeros(wide), zeros(wide)],
            k: zeros(shape.key_width()),
            v: zeros(shape.key_width()),
            // One value per head, since queries and keys may be normed head by head.
            inverse_rms: zeros(shape.heads),
            low: zeros(model.most_rank()),
        }
    }

    /// Token ids → `x`.
    pub fn embed(&mut self, model: &Model<D>, ids: &[u32]) {
        model.embed(&mut self.x, ids);
    }

    /// `x` → rotated queries in `wide[1]`, rotated keys in `k`, and values in `v`.
    pub fn project(
        &mut self,
        model: &Model<D>,
        projections: &impl Projections<D>,
        layer: &LayerLayout,
        positions: &[u32],
    ) {
        self.project_keys(model, projections, layer, positions);
        self.project_queries(model, projections, layer, positions);
    }

    /// `x` → `h`, rotated keys in `k`, and values in `v`.
    pub fn project_keys(
        &mut self,
        model: &Model<D>,
        projections: &impl Projections<D>,
        layer: &LayerLayout,
        positions: &[u32],
    ) {
        let Self { table, x, h, wide: [a, _], k, v, inverse_rms, low, .. } = self;
        let (d, tokens, shape) = (model.config.hidden_size, positions.len(), model.attention_shape());
        model.norm([h, inverse_rms], x, layer.input_norm, tokens);
        projections.project(v, h, layer.value, tokens, d, low);
        // A norm cannot work in place, so keys that are normed are projected into a work area first.
        if let Some((_, key_norm)) = layer.head_norms {
            projections.project(a, h, layer.key, tokens, d, low);
            model.norm([k, inverse_rms], a, key_norm, tokens * shape.kv_heads);
        } else {
            projections.project(k, h, layer.key, tokens, d, low);
        }
        model.rotate(k, positions, table, shape.kv_heads, Rotation::Forward);
        for x in [k, v] {
            model.device.round_to_cache(x, tokens * shape.key_width());
        }
    }

    /// `h` → rotated queries in `wide[1]`.
    pub fn project_queries(
        &mut self,
        model: &Model<D>,
        projections: &impl Projections<D>,
        layer: &LayerLayout,
        positions: &[u32],
    ) {
        let Self { table, h, wide: [a, b], inverse_rms, low, .. } = self;
        let (d, tokens, shape) = (model.config.hidden_size, positions.len(), model.attention_shape());
        if let Some((query_norm, _)) = layer.head_norms {
            projections.project(a, h, layer.query, tokens, d, low);
            model.norm([b, inverse_rms], a, query_norm, tokens * shape.heads);
        } else {
            projections.project(b, h, layer.query, tokens, d, low);
        }
        model.rotate(b, positions, table, shape.heads, Rotation::Forward);
    }

    /// The rest of a layer, over the first `rows` rows of `x` and of attention's output in `wide[0]`.
    pub fn output_and_mlp(
        &mut self,
        model: &Model<D>,
        projections: &impl Projections<D>,
        layer: &LayerLayout,
        rows: usize,
    ) {
        let Self { x, h, wide: [a, b], inverse_rms, low, .. } = self;
        let config = &model.config;
        // The residual is added by the product itself, which saves a pass over the stream.
        projections.project_add(x, a, layer.output, rows, model.attention_shape().query_width(), low);
        model.norm([h, inverse_rms], x, layer.mlp_norm, rows);
        projections.project(a, h, layer.gate, rows, config.hidden_size, low);
        projections.project(b, h, layer.up, rows, config.hidden_size, low);
        model.device.swiglu_in_place(a, b, rows * config.intermediate_size);
        projections.project_add(x, a, layer.down, rows, config.intermediate_size, low);
    }

    /// Moves the given rows of `x` and `h` to the front: what queries and everything after them need.
    pub fn keep_inputs(&mut self, model: &Model<D>, rows: &[u32]) {
        let (Self { x, h, wide: [a, _], .. }, d) = (self, model.config.hidden_size);
        // Rows cannot be gathered in place: `h` goes by way of a work area, and `x` through `h`.
        model.device.gather_rows(a, rows, h, d);
        model.device.gather_rows(h, rows, x, d);
        std::mem::swap(x, h);
        model.device.copy(h, a, rows.len() * d);
    }

    /// Moves the given rows of `x` and of attention's output to the front.
    pub fn keep_rows(&mut self, model: &Model<D>, rows: &[u32]) {
        model.device.gather_rows(&mut self.h, rows, &self.x, model.config.hidden_size);
        std::mem::swap(&mut self.x, &mut self.h);
        let [a, b] = &mut self.wide;
        model.device.gather_rows(b, rows, a, model.attention_shape().query_width());
        std::mem::swap(a, b);
    }

    /// `x` → `h`, ready for the head.
    pub fn final_norm(&mut self, model: &Model<D>, rows: usize) {
        model.norm([&mut self.h, &mut self.inverse_rms], &self.x, model.layout.norm, rows);
    }
}
