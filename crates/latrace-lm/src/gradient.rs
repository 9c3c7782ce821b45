//! Forward and backward passes of training, explicit, over one packed micro-batch.

use crate::batch::Batch;
use crate::forward::Projections;
use crate::learned::{Learned, Onto, input_backward, projection_backward};
use crate::low_rank::{Dropout, LowRankMemory};
use crate::model::{LayerLayout, Model, Projection};
use latrace_kernels::{Device, Rotation, TokenLoss};

/// What a layer keeps for its backward pass.
struct LayerMemory<B> {
    /// The layer's input after its norm.
    h: B,
    inverse_rms: B,
    /// Queries and keys before their norms; empty without norms.
    q_raw: B,
    k_raw: B,
    q_inverse_rms: B,
    k_inverse_rms: B,
    q: B,
    k: B,
    v: B,
    o: B,
    lse: B,
    x_mid: B,
    h_mid: B,
    mid_inverse_rms: B,
    gate: B,
    up: B,
}

/// Gradients of a model's parameters, and the memory of the passes that add to them.
pub struct Gradients<D: Device> {
    learned: Learned<D>,
    passes: Passes<D>,
}

/// What does not change between the passes of a training.
#[derive(Clone, Copy)]
struct Options {
    recompute: bool,
    /// Share of an adapter's inputs that are left out.
    dropout: f32,
}

/// Memory of training passes, planned for the longest micro-batch so far and reused.
struct Passes<D: Device> {
    options: Options,
    tokens: usize,
    positions: usize,
    /// What is left out of the batch at work: of all its tokens, and of its rows with a target.
    dropout: [Dropout; 2],
    low: LowRankMemory<D>,
    table: D::Buffer,
    /// The residual stream before each layer, T×d, and after the last, where only the R rows with a target
    /// are left.
    x: Vec<D::Buffer>,
    /// One per layer; just one if activations are recomputed.
    layers: Vec<LayerMemory<D::Buffer>>,
    /// Rows with a target, on their way through the last layer: the stream before it, and attention's output.
    kept_x: D::Buffer,
    kept_o: D::Buffer,
    final_h: D::Buffer,
    final_inverse_rms: D::Buffer,
    dfinal_h: D::Buffer,
    logits: D::Buffer,
    dx: D::Buffer,
    dh: D::Buffer,
    act: D::Buffer,
    dact: D::Buffer,
    dq: D::Buffer,
    dk: D::Buffer,
    dv: D::Buffer,
    do_: D::Buffer,
    dk_raw: D::Buffer,
}

impl<D: Device> Gradients<D> {
    /// Zero gradients for the parameters that are trained; no activation memory yet. `dropout` is the share of an
    /// adapter's inputs that are left out.
    pub fn new(model: &Model<D>, trained: Vec<bool>, recompute: bool, dropout: f32) -> Self {
        let learned = Learned { gradients: model.zeros(&trained), trained };
        Self { learned, passes: Passes::planned(model, Options { recompute, dropout }, 0, 0) }
    }

    /// One buffer per parameter, in the order of `Model::parameters`; those of frozen parameters are empty.
    pub fn buffers(&self) -> &[D::Buffer] {
        &self.learned.gradients
    }

    /// Sets all gradients to zero.
    pub fn clear(&mut self, device: &D) {
        self.learned.gradients.iter_mut().for_each(|g| device.clear(g));
    }

    /// Adds the gradient of Σ loss over the batch's targets, and returns their log-probs (nats). Which of an adapter's
    /// inputs are left out follows from `keys`, one for each token; none are needed without dropout.
    pub fn accumulate(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        keys: &[u64],
        loss: TokenLoss<'_>,
    ) -> Vec<f32> {
        let Self { learned, passes } = self;
        passes.reserve(model, batch.tokens(), batch.longest());
        passes.dropout = Dropout::of_batch(passes.options.dropout, batch, keys);
        passes.forward(model, batch);
        // The head runs forward and backward at once: of its logits, only the log-probs are kept.
        let logp = passes.head(model, batch, loss, learned);
        passes.backward(model, batch, learned);
        logp
    }
}

impl<D: Device> Passes<D> {
    /// Makes room for batches of up to `tokens` tokens at positions below `positions`.
    fn reserve(&mut self, model: &Model<D>, tokens: usize, positions: usize) {
        if tokens <= self.tokens && positions <= self.positions {
            return;
        }
        let (tokens, positions) = (tokens.max(self.tokens), positions.max(self.positions));
        // The old memory is freed first, so that old and new are never held at the same time.
        *self = Self::planned(model, self.options, 0, 0);
        *self = Self::planned(model, self.options, tokens, positions);
    }

    fn forward(&mut self, model: &Model<D>, batch: &Batch) {
        model.embed(&mut self.x[0], &batch.ids);
        for i in 0..model.config.layers {
            self.forward_layer(model, batch, i);
            self.mlp_output(model, batch, i);
        }
    }

    /// From the gradient of the last residual stream, in `dx`, to those of all parameters below the head.
    fn backward(&mut self, model: &Model<D>, batch: &Batch, learned: &mut Learned<D>) {
        for i in (0..model.config.layers).rev() {
            self.backward_layer(model, batch, i, learned);
        }
        let Some(embedding) = learned.of(model.layout.embedding) else { return };
        // As in transformers, whose embedding has a padding index: that token's row gets no gradient as an
        // input.
        let (d, skip) = (model.config.hidden_size, model.config.pad_token_id);
        model.device.scatter_add_rows(embedding, &batch.ids, &self.dx, d, skip);
    }

    /// Where a layer's memory is.
    fn slot(&self, layer: usize) -> usize {
        if self.options.recompute { 0 } else { layer }
    }

    /// Rows of a layer beyond its attention: in the last layer, only those with a target matter from there
    /// on.
    fn rows(model: &Model<D>, batch: &Batch, layer: usize) -> usize {
        if model.is_last(layer) { batch.rows.len() } else { batch.tokens() }
    }

    /// A layer up to gate and up: everything that its backward pass needs.
    fn forward_layer(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        self.forward_projections(model, batch, i);
        let slot = self.slot(i);
        let m = &mut self.layers[slot];
        let qkv = [&m.q, &m.k, &m.v];
        model.device.attention(&mut m.o, &mut m.lse, qkv, &batch.cu_seqlens, model.attention_shape());
        self.forward_mlp_input(model, batch, i);
    }

    /// Values, and rotated queries and keys.
    fn forward_projections(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        let (tokens, d) = (batch.tokens(), model.config.hidden_size);
        let (shape, layer, slot) = (model.attention_shape(), &model.layout.layers[i], self.slot(i));
        let (x, m, dropout, low) = (&self.x[i], &mut self.layers[slot], &self.dropout[0], &mut self.low);
        model.norm([&mut m.h, &mut m.inverse_rms], x, layer.input_norm, tokens);
        let mut project = |y: &mut D::Buffer, projection: Projection| {
            model.linear(y, &m.h, projection, tokens, d);
            low.forward(model, y, &m.h, projection, [tokens, d], dropout);
        };
        project(&mut m.v, layer.value);
        if let Some((query_norm, key_norm)) = layer.head_norms {
            project(&mut m.q_raw, layer.query);
            project(&mut m.k_raw, layer.key);
            model.norm([&mut m.q, &mut m.q_inverse_rms], &m.q_raw, query_norm, tokens * shape.heads);
            model.norm([&mut m.k, &mut m.k_inverse_rms], &m.k_raw, key_norm, tokens * shape.kv_heads);
        } else {
            project(&mut m.q, layer.query);
            project(&mut m.k, layer.key);
        }
        model.rotate(&mut m.q, &batch.positions, &self.table, shape.heads, Rotation::Forward);
        model.rotate(&mut m.k, &batch.positions, &self.table, shape.kv_heads, Rotation::Forward);
        // As in sampling and scoring; its gradient passes as it is.
        for x in [&mut m.k, &mut m.v] {
            model.device.round_to_cache(x, tokens * shape.key_width());
        }
    }

    /// From attention's output to gate and up. In the last layer, rows without a target are left out from
    /// here on: nothing after attention mixes rows, so they cannot affect the loss.
    fn forward_mlp_input(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        let (device, d, width) =
            (&model.device, model.config.hidden_size, model.attention_shape().query_width());
        let (slot, rows, layer) = (self.slot(i), Self::rows(model, batch, i), &model.layout.layers[i]);
        let dropout = &self.dropout[usize::from(model.is_last(i))];
        let (mut x, m, low) = (&self.x[i], &mut self.layers[slot], &mut self.low);
        let mut o = &m.o;
        if model.is_last(i) {
            device.gather_rows(&mut self.kept_x, &batch.rows, x, d);
            device.gather_rows(&mut self.kept_o, &batch.rows, o, width);
            (x, o) = (&self.kept_x, &self.kept_o);
        }
        let (weight, bias) = (model.weight(layer.output), model.bias(layer.output));
        device.linear_residual(&mut m.x_mid, x, o, weight, bias, rows, width);
        low.forward(model, &mut m.x_mid, o, layer.output, [rows, width], dropout);
        model.norm([&mut m.h_mid, &mut m.mid_inverse_rms], &m.x_mid, layer.mlp_norm, rows);
        for (y, projection) in [(&mut m.gate, layer.gate), (&mut m.up, layer.up)] {
            model.linear(y, &m.h_mid, projection, rows, d);
            low.forward(model, y, &m.h_mid, projection, [rows, d], dropout);
        }
    }

    /// The rest of a layer: the gated unit, and its projection added to the residual stream.
    fn mlp_output(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        let (width, rows) = (model.config.intermediate_size, Self::rows(model, batch, i));
        let (slot, down) = (self.slot(i), model.layout.layers[i].down);
        let dropout = &self.dropout[usize::from(model.is_last(i))];
        let (m, next) = (&self.layers[slot], &mut self.x[i + 1]);
        model.device.swiglu(&mut self.act, &m.gate, &m.up, rows * width);
        let (weight, bias) = (model.weight(down), model.bias(down));
        model.device.linear_residual(next, &m.x_mid, &self.act, weight, bias, rows, width);
        self.low.forward(model, next, &self.act, down, [rows, width], dropout);
    }

    /// Final norm, head and loss; leaves the gradient of the last residual stream, R×d, in `dx`.
    fn head(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        loss: TokenLoss<'_>,
        learned: &mut Learned<D>,
    ) -> Vec<f32> {
        let (device, config, rows) = (&model.device, &model.config, batch.rows.len());
        let (norm, head, x) = (model.layout.norm, model.layout.head, &self.x[config.layers]);
        model.norm([&mut self.final_h, &mut self.final_inverse_rms], x, norm, rows);
        let mut logp = vec![0.0; rows];
        let (dh, dw) = (&mut self.dfinal_h, learned.of(head));
        let (h, weight, targets) = (&self.final_h, model.head(), &batch.targets);
        let d = config.hidden_size;
        device.head_backward(&mut logp, dh, dw, h, weight, targets, loss, d, &mut self.logits);
        // Norms add to `dx`, since the residual stream bypasses them; above the last one there is no bypass.
        device.clear(&mut self.dx);
        let forward = [x, &self.final_inverse_rms];
        learned.add_norm(model, norm, &mut self.dx, &self.dfinal_h, forward, rows);
        logp
    }

    /// `dx`: gradient of the stream after the layer → before it.
    fn backward_layer(&mut self, model: &Model<D>, batch: &Batch, i: usize, learned: &mut Learned<D>) {
        // The last layer's memory is still that of the forward pass.
        if self.options.recompute && !model.is_last(i) {
            self.forward_layer(model, batch, i);
        }
        let layer = &model.layout.layers[i];
        self.backward_mlp(model, batch, layer, i, learned);
        self.backward_attention(model, batch, layer, i, learned);
    }

    fn backward_mlp(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        layer: &LayerLayout,
        i: usize,
        learned: &mut Learned<D>,
    ) {
        let (rows, slot) = (Self::rows(model, batch, i), self.slot(i));
        let (device, width) = (&model.device, model.config.intermediate_size);
        let (m, low, dropout) =
            (&mut self.layers[slot], &mut self.low, &self.dropout[usize::from(model.is_last(i))]);
        // The gated unit's output is computed again: elementwise work costs little beside the products, and
        // keeping T×intermediate values per layer would be a large part of all activations.
        device.swiglu(&mut self.act, &m.gate, &m.up, rows * width);
        let (operands, shape, dx) = ([&self.dx, &self.act], [rows, width], Onto::Nothing(&mut self.dact));
        projection_backward(model, learned, low, dx, operands, layer.down, shape, dropout);
        // The gradients of gate and up overwrite them, since nothing reads them afterwards.
        device.swiglu_backward(&mut m.gate, &mut m.up, &self.dact, rows * width);
        let parts = [(layer.gate, &m.gate), (layer.up, &m.up)];
        input_backward(model, learned, low, &mut self.dh, &m.h_mid, &parts, rows, dropout);
        let forward = [&m.x_mid, &m.mid_inverse_rms];
        learned.add_norm(model, layer.mlp_norm, &mut self.dx, &self.dh, forward, rows);
    }

    /// From `dx` to the gradient of attention's output, `do_`; both cover all tokens from here on.
    fn backward_output(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        layer: &LayerLayout,
        i: usize,
        learned: &mut Learned<D>,
    ) {
        let (device, rows, slot) = (&model.device, Self::rows(model, batch, i), self.slot(i));
        let (d, width) = (model.config.hidden_size, model.attention_shape().query_width());
        let (low, is_last) = (&mut self.low, model.is_last(i));
        let o = if is_last { &self.kept_o } else { &self.layers[slot].o };
        let (operands, shape, dropout) = ([&self.dx, o], [rows, width], &self.dropout[usize::from(is_last)]);
        let do_ = Onto::Nothing(&mut self.do_);
        projection_backward(model, learned, low, do_, operands, layer.output, shape, dropout);
        if !is_last {
            return;
        }
        // The rows kept of the forward pass have been read: their buffers take the gradients, which then go
        // back to the places of their rows. Rows without a target have gradient 0.
        std::mem::swap(&mut self.kept_o, &mut self.do_);
        std::mem::swap(&mut self.kept_x, &mut self.dx);
        for (target, kept, width) in [(&mut self.do_, &self.kept_o, width), (&mut self.dx, &self.kept_x, d)] {
            device.clear(target);
            device.scatter_add_rows(target, &batch.rows, kept, width, None);
        }
    }

    fn backward_attention(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        layer: &LayerLayout,
        i: usize,
        learned: &mut Learned<D>,
    ) {
        self.backward_output(model, batch, layer, i, learned);
        let (slot, shape) = (self.slot(i), model.attention_shape());
        let (m, cu_seqlens) = (&self.layers[slot], &batch.cu_seqlens);
        let (dqkv, qkv) = ([&mut self.dq, &mut self.dk, &mut self.dv], [&m.q, &m.k, &m.v]);
        model.device.attention_backward(dqkv, &self.do_, &m.o, &m.lse, qkv, cu_seqlens, shape);
        // A rotation is orthogonal, so its gradient is rotated by the opposite angle.
        model.rotate(&mut self.dq, &batch.positions, &self.table, shape.heads, Rotation::Backward);
        model.rotate(&mut self.dk, &batch.positions, &self.table, shape.kv_heads, Rotation::Backward);
        if let Some(norms) = layer.head_norms {
            self.backward_head_norms(model, batch, norms, slot, learned);
        }
        self.backward_projections(model, batch, layer, i, learned);
    }

    /// From the gradients of normed queries and keys to those of raw ones, in place of `dq` and `dk`.
    fn backward_head_norms(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        norms: (usize, usize),
        slot: usize,
        learned: &mut Learned<D>,
    ) {
        let (device, tokens, shape) = (&model.device, batch.tokens(), model.attention_shape());
        let m = &self.layers[slot];
        // `do_` has been read and is as wide as queries: reusing it for their gradient saves a buffer.
        device.clear(&mut self.do_);
        device.clear(&mut self.dk_raw);
        let (forward, rows) = ([&m.q_raw, &m.q_inverse_rms], tokens * shape.heads);
        learned.add_norm(model, norms.0, &mut self.do_, &self.dq, forward, rows);
        let (forward, rows) = ([&m.k_raw, &m.k_inverse_rms], tokens * shape.kv_heads);
        learned.add_norm(model, norms.1, &mut self.dk_raw, &self.dk, forward, rows);
        std::mem::swap(&mut self.do_, &mut self.dq);
        std::mem::swap(&mut self.dk_raw, &mut self.dk);
    }

    /// From the gradients of queries, keys and values to that of the stream.
    fn backward_projections(
        &mut self,
        model: &Model<D>,
        batch: &Batch,
        layer: &LayerLayout,
        i: usize,
        learned: &mut Learned<D>,
    ) {
        let (tokens, m) = (batch.tokens(), &self.layers[self.slot(i)]);
        let parts = [(layer.query, &self.dq), (layer.key, &self.dk), (layer.value, &self.dv)];
        let (low, dropout) = (&mut self.low, &self.dropout[0]);
        input_backward(model, learned, low, &mut self.dh, &m.h, &parts, tokens, dropout);
        let forward = [&self.x[i], &m.inverse_rms];
        learned.add_norm(model, layer.input_norm, &mut self.dx, &self.dh, forward, tokens);
    }

    fn planned(model: &Model<D>, options: Options, tokens: usize, positions: usize) -> Self {
        let (config, Widths { d, q, k, f, norms, .. }) = (&model.config, Widths::of(model));
        let zeros = |width: usize| model.device.zeros(tokens * width);
        let layers = if options.recompute { 1 } else { config.layers };
        Self {
            options,
            tokens,
            positions,
            dropout: Default::default(),
            low: LowRankMemory::planned(model, tokens, d.max(q).max(f), options.dropout),
            table: model.rotary_table(positions),
            x: (0..=config.layers).map(|_| zeros(d)).collect(),
            layers: (0..layers).map(|_| LayerMemory::planned(model, tokens)).collect(),
            kept_x: zeros(d),
            kept_o: zeros(q),
            final_h: zeros(d),
            final_inverse_rms: zeros(1),
            dfinal_h: zeros(d),
            // The device grows it to a chunk of rows at the first use.
            logits: model.device.zeros(0),
            dx: zeros(d),
            dh: zeros(d),
            act: zeros(f),
            dact: zeros(f),
            dq: zeros(q),
            dk: zeros(k),
            dv: zeros(k),
            do_: zeros(q),
            dk_raw: zeros(k * norms),
        }
    }
}

/// Values per token of the activations.
struct Widths {
    /// Of the residual stream.
    d: usize,
    /// Of queries, of keys, and of gate and up.
    q: usize,
    k: usize,
    f: usize,
    heads: usize,
    kv_heads: usize,
    /// 1 if queries and keys are normed by head; 0, and no memory, if not.
    norms: usize,
}

impl Widths {
    fn of<D: Device>(model: &Model<D>) -> Self {
        let (config, shape) = (&model.config, model.attention_shape());
        Self {
            d: config.hidden_size,
            q: shape.query_width(),
            k: shape.key_width(),
            f: config.intermediate_size,
            heads: shape.heads,
            kv_heads: shape.kv_heads,
            norms: usize::from(config.qk_norm),
        }
    }
}

impl<B> LayerMemory<B> {
    fn planned<D: Device<Buffer = B>>(model: &Model<D>, tokens: usize) -> Self {
        let Widths { d, q, k, f, heads, kv_heads, norms } = Widths::of(model);
        let zeros = |width: usize| model.device.zeros(tokens * width);
        Self {
            h: zeros(d),
            inverse_rms: zeros(1),
            q_raw: zeros(q * norms),
            k_raw: zeros(k * norms),
            q_inverse_rms: zeros(heads * norms),
            k_inverse_rms: zeros(kv_heads * norms),
            q: zeros(q),
            k: zeros(k),
            v: zeros(k),
            o: zeros(q),
            lse: zeros(heads),
            x_mid: zeros(d),
            h_mid: zeros(d),
            mid_inverse_rms: zeros(1),
            gate: zeros(f),
            up: zeros(f),
        }
    }
}
