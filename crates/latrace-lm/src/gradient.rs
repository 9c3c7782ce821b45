//! Forward and backward passes of training, explicit, over one packed micro-batch.

use crate::batch::Batch;
use crate::model::{LayerLayout, Model, Projection};
use latrace_kernels::{Device, Rotation, TokenLoss};

/// What a layer keeps for its backward pass.
struct LayerMemory<B> {
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

/// Memory of training passes, planned for the longest micro-batch so far and reused, and the gradients.
pub struct Gradients<D: Device> {
    /// One buffer per parameter, in the order of `Config::parameters`.
    pub gradients: Vec<D::Buffer>,
    recompute: bool,
    tokens: usize,
    positions: usize,
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
    /// Zero gradients for the model; no activation memory yet.
    pub fn new(model: &Model<D>, recompute: bool) -> Self {
        let gradients = model.parameters.iter().map(|p| model.device.zeros(model.device.length(p))).collect();
        Self::planned(model, recompute, 0, 0, gradients)
    }

    /// Sets all gradients to zero.
    pub fn clear(&mut self, device: &D) {
        self.gradients.iter_mut().for_each(|g| device.clear(g));
    }

    /// Adds the gradient of Σ loss over the batch's targets, and returns their log-probs (nats).
    pub fn accumulate(&mut self, model: &Model<D>, batch: &Batch, loss: TokenLoss<'_>) -> Vec<f32> {
        let positions = batch.positions.iter().max().map_or(0, |&p| p as usize + 1);
        if batch.tokens() > self.tokens || positions > self.positions {
            // What is there goes first, so that old and new are never held together.
            let gradients = std::mem::take(&mut self.gradients);
            let (tokens, positions) = (batch.tokens().max(self.tokens), positions.max(self.positions));
            *self = Self::planned(model, self.recompute, 0, 0, Vec::new());
            *self = Self::planned(model, self.recompute, tokens, positions, gradients);
        }
        self.forward(model, batch);
        let logp = self.head(model, batch, loss);
        for i in (0..model.config.layers).rev() {
            self.backward_layer(model, batch, i);
        }
        let embedding = &mut self.gradients[model.layout.embedding];
        // As in transformers, whose embedding has a padding index: that token's row learns nothing as an
        // input.
        model.device.scatter_add_rows(
            embedding,
            &batch.ids,
            &self.dx,
            model.config.hidden_size,
            model.config.pad_token_id,
        );
        logp
    }

    fn forward(&mut self, model: &Model<D>, batch: &Batch) {
        model.device.gather_rows(
            &mut self.x[0],
            &batch.ids,
            &model.parameters[model.layout.embedding],
            model.config.hidden_size,
        );
        for i in 0..model.config.layers {
            self.forward_layer(model, batch, i);
            self.mlp_output(model, batch, i);
        }
    }

    fn slot(&self, layer: usize) -> usize {
        if self.recompute { 0 } else { layer }
    }

    /// Rows of a layer beyond its attention: in the last layer, only those with a target matter from there
    /// on.
    fn rows(model: &Model<D>, batch: &Batch, layer: usize) -> usize {
        if layer + 1 == model.config.layers { batch.rows.len() } else { batch.tokens() }
    }

    /// A layer up to the gate: all that its backward pass needs.
    fn forward_layer(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        let (device, config, tokens) = (&model.device, &model.config, batch.tokens());
        let (d, shape, layer) = (config.hidden_size, model.attention_shape(), &model.layout.layers[i]);
        let (slot, rows) = (self.slot(i), Self::rows(model, batch, i));
        let (x, m) = (&self.x[i], &mut self.layers[slot]);
        let parameter = |i: usize| &model.parameters[i];
        let bias = |p: Projection| p.bias.map(parameter);
        let project = |y: &mut D::Buffer, x: &D::Buffer, p: Projection| {
            device.linear(y, x, parameter(p.weight), bias(p), tokens, d)
        };

        device.rms_norm(
            &mut m.h,
            &mut m.inverse_rms,
            x,
            parameter(layer.input_norm),
            config.norm_eps,
            tokens,
        );
        project(&mut m.v, &m.h, layer.value);
        if let Some((query_norm, key_norm)) = layer.head_norms {
            project(&mut m.q_raw, &m.h, layer.query);
            project(&mut m.k_raw, &m.h, layer.key);
            device.rms_norm(
                &mut m.q,
                &mut m.q_inverse_rms,
                &m.q_raw,
                parameter(query_norm),
                config.norm_eps,
                tokens * shape.heads,
            );
            device.rms_norm(
                &mut m.k,
                &mut m.k_inverse_rms,
                &m.k_raw,
                parameter(key_norm),
                config.norm_eps,
                tokens * shape.kv_heads,
            );
        } else {
            project(&mut m.q, &m.h, layer.query);
            project(&mut m.k, &m.h, layer.key);
        }
        device.rotary(
            &mut m.q,
            &batch.positions,
            &self.table,
            shape.heads,
            shape.head_dim,
            Rotation::Forward,
        );
        device.rotary(
            &mut m.k,
            &batch.positions,
            &self.table,
            shape.kv_heads,
            shape.head_dim,
            Rotation::Forward,
        );
        device.attention(&mut m.o, &mut m.lse, [&m.q, &m.k, &m.v], &batch.cu_seqlens, shape);
        let (x, o) = if i + 1 == config.layers {
            device.gather_rows(&mut self.kept_x, &batch.rows, x, d);
            device.gather_rows(&mut self.kept_o, &batch.rows, &m.o, shape.query_width());
            (&self.kept_x, &self.kept_o)
        } else {
            (x, &m.o)
        };
        device.linear_residual(
            &mut m.x_mid,
            x,
            o,
            parameter(layer.output.weight),
            bias(layer.output),
            rows,
            shape.query_width(),
        );
        device.rms_norm(
            &mut m.h_mid,
            &mut m.mid_inverse_rms,
            &m.x_mid,
            parameter(layer.mlp_norm),
            config.norm_eps,
            rows,
        );
        device.linear(&mut m.gate, &m.h_mid, parameter(layer.gate.weight), bias(layer.gate), rows, d);
        device.linear(&mut m.up, &m.h_mid, parameter(layer.up.weight), bias(layer.up), rows, d);
    }

    /// The rest of a layer: the gated unit and the way back to the residual stream.
    fn mlp_output(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        let (device, width, rows) =
            (&model.device, model.config.intermediate_size, Self::rows(model, batch, i));
        let (slot, down) = (self.slot(i), model.layout.layers[i].down);
        let m = &self.layers[slot];
        device.swiglu(&mut self.act, &m.gate, &m.up, rows * width);
        let bias = down.bias.map(|b| &model.parameters[b]);
        device.linear_residual(
            &mut self.x[i + 1],
            &m.x_mid,
            &self.act,
            &model.parameters[down.weight],
            bias,
            rows,
            width,
        );
    }

    /// Final norm, head and loss; leaves the gradient of the last residual stream, R×d, in `dx`.
    fn head(&mut self, model: &Model<D>, batch: &Batch, loss: TokenLoss<'_>) -> Vec<f32> {
        let (device, config, rows) = (&model.device, &model.config, batch.rows.len());
        let (d, norm, head) = (config.hidden_size, model.layout.norm, model.layout.head);
        let (x, weight) = (&self.x[config.layers], &model.parameters[norm]);
        device.rms_norm(&mut self.final_h, &mut self.final_inverse_rms, x, weight, config.norm_eps, rows);
        let mut logp = vec![0.0; rows];
        let gradients = [&mut self.dfinal_h, &mut self.gradients[head]];
        device.head_backward(
            &mut logp,
            gradients,
            &self.final_h,
            &model.parameters[head],
            &batch.targets,
            loss,
            d,
            &mut self.logits,
        );
        device.clear(&mut self.dx);
        let dweight = &mut self.gradients[norm];
        device.rms_norm_backward(
            &mut self.dx,
            dweight,
            &self.dfinal_h,
            x,
            weight,
            &self.final_inverse_rms,
            rows,
        );
        logp
    }

    /// `dx`: gradient of the stream after the layer → before it.
    fn backward_layer(&mut self, model: &Model<D>, batch: &Batch, i: usize) {
        if self.recompute && i + 1 < model.config.layers {
            // The last layer's memory is still that of the forward pass.
            self.forward_layer(model, batch, i);
        }
        let layer = &model.layout.layers[i];
        self.backward_mlp(model, batch, layer, i);
        self.backward_attention(model, batch, layer, i);
    }

    fn backward_mlp(&mut self, model: &Model<D>, batch: &Batch, layer: &LayerLayout, i: usize) {
        let (device, rows, width, d) = (
            &model.device,
            Self::rows(model, batch, i),
            model.config.intermediate_size,
            model.config.hidden_size,
        );
        let slot = self.slot(i);
        let m = &mut self.layers[slot];
        device.swiglu(&mut self.act, &m.gate, &m.up, rows * width);
        parameter_gradient(device, &mut self.gradients, layer.down, &self.dx, &self.act, rows, width);
        device.linear_input_gradient(
            &mut self.dact,
            &self.dx,
            &model.parameters[layer.down.weight],
            rows,
            width,
        );
        device.swiglu_backward(&mut m.gate, &mut m.up, &self.dact, rows * width);
        parameter_gradient(device, &mut self.gradients, layer.gate, &m.gate, &m.h_mid, rows, d);
        parameter_gradient(device, &mut self.gradients, layer.up, &m.up, &m.h_mid, rows, d);
        device.linear_input_gradient(&mut self.dh, &m.gate, &model.parameters[layer.gate.weight], rows, d);
        device.linear_input_gradient_add(&mut self.dh, &m.up, &model.parameters[layer.up.weight], rows, d);
        let (weight, dweight) = (&model.parameters[layer.mlp_norm], &mut self.gradients[layer.mlp_norm]);
        device.rms_norm_backward(&mut self.dx, dweight, &self.dh, &m.x_mid, weight, &m.mid_inverse_rms, rows);
    }

    /// From `dx` to the gradient of attention's output, `do_`; both are of all tokens from here on.
    fn backward_output(&mut self, model: &Model<D>, batch: &Batch, layer: &LayerLayout, i: usize) {
        let (device, rows, d, width) = (
            &model.device,
            Self::rows(model, batch, i),
            model.config.hidden_size,
            model.attention_shape().query_width(),
        );
        let weight = &model.parameters[layer.output.weight];
        if i + 1 < model.config.layers {
            let slot = self.slot(i);
            parameter_gradient(
                device,
                &mut self.gradients,
                layer.output,
                &self.dx,
                &self.layers[slot].o,
                rows,
                width,
            );
            device.linear_input_gradient(&mut self.do_, &self.dx, weight, rows, width);
            return;
        }
        parameter_gradient(device, &mut self.gradients, layer.output, &self.dx, &self.kept_o, rows, width);
        // What was kept of the forward pass has been read: it becomes its gradient, on its way back to its
        // rows.
        device.linear_input_gradient(&mut self.kept_o, &self.dx, weight, rows, width);
        std::mem::swap(&mut self.kept_x, &mut self.dx);
        for (target, kept, width) in [(&mut self.do_, &self.kept_o, width), (&mut self.dx, &self.kept_x, d)] {
            device.clear(target);
            device.scatter_add_rows(target, &batch.rows, kept, width, None);
        }
    }

    fn backward_attention(&mut self, model: &Model<D>, batch: &Batch, layer: &LayerLayout, i: usize) {
        let (device, tokens, d, shape) =
            (&model.device, batch.tokens(), model.config.hidden_size, model.attention_shape());
        self.backward_output(model, batch, layer, i);
        let slot = self.slot(i);
        let m = &self.layers[slot];
        let dqkv = [&mut self.dq, &mut self.dk, &mut self.dv];
        device.attention_backward(
            dqkv,
            &self.do_,
            &m.o,
            &m.lse,
            [&m.q, &m.k, &m.v],
            &batch.cu_seqlens,
            shape,
        );
        device.rotary(
            &mut self.dq,
            &batch.positions,
            &self.table,
            shape.heads,
            shape.head_dim,
            Rotation::Backward,
        );
        device.rotary(
            &mut self.dk,
            &batch.positions,
            &self.table,
            shape.kv_heads,
            shape.head_dim,
            Rotation::Backward,
        );
        if let Some((query_norm, key_norm)) = layer.head_norms {
            // do_ has been read: it becomes the gradient before the query norm.
            device.clear(&mut self.do_);
            device.clear(&mut self.dk_raw);
            let (weight, dweight) = (&model.parameters[query_norm], &mut self.gradients[query_norm]);
            device.rms_norm_backward(
                &mut self.do_,
                dweight,
                &self.dq,
                &m.q_raw,
                weight,
                &m.q_inverse_rms,
                tokens * shape.heads,
            );
            let (weight, dweight) = (&model.parameters[key_norm], &mut self.gradients[key_norm]);
            device.rms_norm_backward(
                &mut self.dk_raw,
                dweight,
                &self.dk,
                &m.k_raw,
                weight,
                &m.k_inverse_rms,
                tokens * shape.kv_heads,
            );
        }
        let (dq, dk) =
            if layer.head_norms.is_some() { (&self.do_, &self.dk_raw) } else { (&self.dq, &self.dk) };
        parameter_gradient(device, &mut self.gradients, layer.query, dq, &m.h, tokens, d);
        parameter_gradient(device, &mut self.gradients, layer.key, dk, &m.h, tokens, d);
        parameter_gradient(device, &mut self.gradients, layer.value, &self.dv, &m.h, tokens, d);
        device.linear_input_gradient(&mut self.dh, dq, &model.parameters[layer.query.weight], tokens, d);
        device.linear_input_gradient_add(&mut self.dh, dk, &model.parameters[layer.key.weight], tokens, d);
        device.linear_input_gradient_add(
            &mut self.dh,
            &self.dv,
            &model.parameters[layer.value.weight],
            tokens,
            d,
        );
        let (weight, dweight) = (&model.parameters[layer.input_norm], &mut self.gradients[layer.input_norm]);
        device.rms_norm_backward(&mut self.dx, dweight, &self.dh, &self.x[i], weight, &m.inverse_rms, tokens);
    }

    fn planned(
        model: &Model<D>,
        recompute: bool,
        tokens: usize,
        positions: usize,
        gradients: Vec<D::Buffer>,
    ) -> Self {
        let (device, config, shape) = (&model.device, &model.config, model.attention_shape());
        let zeros = |width: usize| device.zeros(tokens * width);
        let (d, q, k, f) =
            (config.hidden_size, shape.query_width(), shape.key_width(), config.intermediate_size);
        let norms = usize::from(config.qk_norm);
        let layer = |_| LayerMemory {
            h: zeros(d),
            inverse_rms: zeros(1),
            q_raw: zeros(q * norms),
            k_raw: zeros(k * norms),
            q_inverse_rms: zeros(shape.heads * norms),
            k_inverse_rms: zeros(shape.kv_heads * norms),
            q: zeros(q),
            k: zeros(k),
            v: zeros(k),
            o: zeros(q),
            lse: zeros(shape.heads),
            x_mid: zeros(d),
            h_mid: zeros(d),
            mid_inverse_rms: zeros(1),
            gate: zeros(f),
            up: zeros(f),
        };
        let (frequencies, scale) = config.rope.frequencies(config.head_dim, config.max_positions);
        Self {
            gradients,
            recompute,
            tokens,
            positions,
            table: device.rotary_table(&frequencies, scale, positions),
            x: (0..=config.layers).map(|_| zeros(d)).collect(),
            layers: (0..if recompute { 1 } else { config.layers }).map(layer).collect(),
            kept_x: zeros(d),
            kept_o: zeros(q),
            final_h: zeros(d),
            final_inverse_rms: zeros(1),
            dfinal_h: zeros(d),
            logits: device.zeros(0),
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

fn parameter_gradient<D: Device>(
    device: &D,
    gradients: &mut [D::Buffer],
    projection: Projection,
    dy: &D::Buffer,
    x: &D::Buffer,
    tokens: usize,
    inputs: usize,
) {
    // The bias is another buffer than the weight; it is taken out while both are written.
    let bias = projection.bias.map(|b| (b, std::mem::replace(&mut gradients[b], device.zeros(0))));
    match bias {
        Some((at, mut db)) => {
            device.linear_parameter_gradient(
                &mut gradients[projection.weight],
                Some(&mut db),
                dy,
                x,
                tokens,
                inputs,
            );
            gradients[at] = db;
        }
        None => {
            device.linear_parameter_gradient(&mut gradients[projection.weight], None, dy, x, tokens, inputs)
        }
    }
}
