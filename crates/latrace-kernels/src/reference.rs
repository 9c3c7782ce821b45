//! A device made of the definitions alone: every operation is its `*_reference`, in f64, on one thread.
//!
//! It is slow, and simple enough to be verified by reading. The decoder's own tests run on it as on every
//! other device, so that nothing in the decoder relies on how the CPU lays out its buffers, tables or caches.
//!
//! Differs in: the attention statistics `lse` are not kept, since the definition of the gradient computes them
//! again; a rotary table holds frequencies, not cosines; the cache's layout is `[block][token][head][value]`.

use half::bf16;

use crate::adamw::adamw_reference;
use crate::attention::{attention_backward_reference, attention_reference};
use crate::choice::choose_reference;
use crate::dropout::dropout_reference;
use crate::embedding::{embedding_backward_reference, embedding_reference};
use crate::head::head_reference;
use crate::linear::{linear_backward_reference, linear_reference};
use crate::log_sum_exp::{largest, log_sum_exp};
use crate::rms_norm::{rms_norm_backward_reference, rms_norm_reference};
use crate::rotary::rotary_reference;
use crate::swiglu::{swiglu_backward_reference, swiglu_reference};
use crate::{
    AdamW, AttentionShape, CACHE_BLOCK, CacheSpan, Choice, Device, Draw, PackedWeights, Rotation, TokenLoss,
    Weight,
};

/// The definitions of all operations as a device.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reference;

type Buffer = Vec<f64>;

/// A weight's values, which are as wide in both forms.
fn values<'a>(weight: Weight<'a, Reference>) -> &'a Buffer {
    match weight {
        Weight::Wide(values) | Weight::Narrow(values) => values,
    }
}

fn write(target: &mut [f64], values: &[f64]) {
    target[..values.len()].copy_from_slice(values);
}

fn add(target: &mut [f64], values: &[f64]) {
    target.iter_mut().zip(values).for_each(|(target, value)| *target += value);
}

fn mean_square(x: &[f64]) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>() / x.len() as f64
}

/// Tokens in all sequences.
fn tokens(cu_seqlens: &[u32]) -> usize {
    cu_seqlens.last().map_or(0, |&end| end as usize)
}

/// x·Wᵀ (+ b), of the first `rows` rows.
fn project(x: &[f64], w: &[f64], b: Option<&Buffer>, rows: usize, inputs: usize) -> Buffer {
    let zero = vec![0.0; w.len() / inputs];
    linear_reference(&x[..rows * inputs], w, b.unwrap_or(&zero), inputs)
}

/// dy·W.
fn input_gradient(dy: &[f64], w: &[f64], rows: usize, inputs: usize) -> Buffer {
    let x = vec![0.0; rows * inputs];
    linear_backward_reference(&dy[..rows * (w.len() / inputs)], &x, w, inputs).0
}

fn packed<'a>(w: &PackedWeights<'a, Buffer>) -> &'a [f64] {
    &w.buffer[w.at..][..w.inputs * w.outputs]
}

/// Where the key or value of the token at `position` begins in a cache.
fn place(blocks: &[u32], position: usize, width: usize) -> usize {
    (blocks[position / CACHE_BLOCK] as usize * CACHE_BLOCK + position % CACHE_BLOCK) * width
}

/// The keys or values of a sequence's first `count` tokens.
fn cached(cache: &[f64], blocks: &[u32], count: usize, width: usize) -> Buffer {
    (0..count).flat_map(|position| &cache[place(blocks, position, width)..][..width]).copied().collect()
}

impl Device for Reference {
    type Buffer = Buffer;
    type Narrow = Buffer;

    fn zeros(&self, length: usize) -> Buffer {
        vec![0.0; length]
    }

    fn upload(&self, values: Vec<f32>) -> Buffer {
        values.into_iter().map(f64::from).collect()
    }

    fn upload_narrow(&self, values: Vec<bf16>) -> Buffer {
        values.into_iter().map(f64::from).collect()
    }

    fn narrow(&self, buffer: &Buffer) -> Buffer {
        buffer.iter().map(|value| half::bf16::from_f64(*value).to_f64()).collect()
    }

    fn widen(&self, narrow: &Buffer) -> Buffer {
        narrow.clone()
    }

    fn narrow_length(&self, narrow: &Buffer) -> usize {
        narrow.len()
    }

    fn download(&self, buffer: &Buffer, values: &mut [f32]) {
        values.iter_mut().zip(&buffer[..]).for_each(|(value, &wide)| *value = wide as f32);
    }

    fn length(&self, buffer: &Buffer) -> usize {
        buffer.len()
    }

    fn clear(&self, buffer: &mut Buffer) {
        buffer.fill(0.0);
    }

    fn copy(&self, target: &mut Buffer, source: &Buffer, length: usize) {
        write(target, &source[..length]);
    }

    fn gather_rows(&self, y: &mut Buffer, index: &[u32], table: &Buffer, d: usize) {
        write(y, &embedding_reference(index, table, d));
    }

    fn embed(&self, y: &mut Buffer, ids: &[u32], table: Weight<'_, Self>, d: usize) {
        self.gather_rows(y, ids, values(table), d);
    }

    fn scatter_add_rows(&self, table: &mut Buffer, index: &[u32], y: &Buffer, d: usize, skip: Option<u32>) {
        let (rows, mut y) = (table.len() / d, y.clone());
        for (at, _) in index.iter().enumerate().filter(|(_, row)| Some(**row) == skip) {
            y[at * d..][..d].fill(0.0);
        }
        add(table, &embedding_backward_reference(&y, index, rows, d));
    }

    fn rms_norm(
        &self,
        y: &mut Buffer,
        inverse_rms: &mut Buffer,
        x: &Buffer,
        w: &Buffer,
        epsilon: f32,
        rows: usize,
    ) {
        let (d, epsilon) = (w.len(), f64::from(epsilon));
        write(y, &rms_norm_reference(&x[..rows * d], w, epsilon));
        for (inverse, x) in inverse_rms.iter_mut().zip(x.chunks_exact(d).take(rows)) {
            *inverse = 1.0 / (mean_square(x) + epsilon).sqrt();
        }
    }

    fn rms_norm_backward(
        &self,
        dx: &mut Buffer,
        mut dw: Option<&mut Buffer>,
        dy: &Buffer,
        x: &Buffer,
        w: &Buffer,
        inverse_rms: &Buffer,
        rows: usize,
    ) {
        let d = w.len();
        for row in 0..rows {
            let (x, dy) = (&x[row * d..][..d], &dy[row * d..][..d]);
            // The definition takes epsilon, which the forward pass has left in the root mean square alone.
            let epsilon = inverse_rms[row].powi(-2) - mean_square(x);
            let (of_x, of_w) = rms_norm_backward_reference(dy, x, w, epsilon);
            add(&mut dx[row * d..], &of_x);
            dw.iter_mut().for_each(|dw| add(dw, &of_w));
        }
    }

    fn linear(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: Weight<'_, Self>,
        b: Option<&Buffer>,
        rows: usize,
        inputs: usize,
    ) {
        let w = values(w);
        write(y, &project(x, w, b, rows, inputs));
    }

    fn linear_residual(
        &self,
        y: &mut Buffer,
        residual: &Buffer,
        x: &Buffer,
        w: Weight<'_, Self>,
        b: Option<&Buffer>,
        rows: usize,
        inputs: usize,
    ) {
        let w = values(w);
        let product = project(x, w, b, rows, inputs);
        write(y, &residual[..product.len()]);
        add(y, &product);
    }

    fn linear_add(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: Weight<'_, Self>,
        b: Option<&Buffer>,
        rows: usize,
        inputs: usize,
    ) {
        let w = values(w);
        add(y, &project(x, w, b, rows, inputs));
    }

    fn linear_input_gradient(
        &self,
        dx: &mut Buffer,
        dy: &Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    ) {
        let w = values(w);
        write(dx, &input_gradient(dy, w, rows, inputs));
    }

    fn linear_input_gradient_add(
        &self,
        dx: &mut Buffer,
        dy: &Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    ) {
        let w = values(w);
        add(dx, &input_gradient(dy, w, rows, inputs));
    }

    fn linear_parameter_gradient(
        &self,
        dw: Option<&mut Buffer>,
        db: Option<&mut Buffer>,
        dy: &Buffer,
        x: &Buffer,
        rows: usize,
        inputs: usize,
    ) {
        let of_weight = dw.as_ref().map(|dw| dw.len() / inputs);
        let Some(outputs) = of_weight.or(db.as_ref().map(|db| db.len())) else { return };
        let (dy, x, w) = (&dy[..rows * outputs], &x[..rows * inputs], vec![0.0; outputs * inputs]);
        let (_, of_w, of_b) = linear_backward_reference(dy, x, &w, inputs);
        dw.into_iter().for_each(|dw| add(dw, &of_w));
        db.into_iter().for_each(|db| add(db, &of_b));
    }

    fn scale(&self, x: &mut Buffer, factor: f32, length: usize) {
        x[..length].iter_mut().for_each(|x| *x *= f64::from(factor));
    }

    fn dropout(&self, y: &mut Buffer, x: &Buffer, keys: &[u64], rate: f32, width: usize) {
        write(y, &dropout_reference(&x[..keys.len() * width], keys, rate, width));
    }

    fn dropout_backward(&self, dx: &mut Buffer, dy: &Buffer, keys: &[u64], rate: f32, width: usize) {
        add(dx, &dropout_reference(&dy[..keys.len() * width], keys, rate, width));
    }

    fn rotary_table(&self, frequencies: &[f32], scale: f32, _: usize) -> Buffer {
        frequencies.iter().chain([&scale]).map(|&value| f64::from(value)).collect()
    }

    fn rotary(
        &self,
        x: &mut Buffer,
        positions: &[u32],
        table: &Buffer,
        heads: usize,
        head_dim: usize,
        rotation: Rotation,
    ) {
        let (frequencies, scale) = table.split_at(table.len() - 1);
        let sign = if rotation == Rotation::Forward { 1.0 } else { -1.0 };
        let frequencies: Vec<f32> = frequencies.iter().map(|f| sign * *f as f32).collect();
        for (i, head) in x.chunks_exact_mut(head_dim).take(positions.len() * heads).enumerate() {
            write(head, &rotary_reference(head, positions[i / heads], &frequencies, scale[0]));
        }
    }

    fn attention(
        &self,
        o: &mut Buffer,
        _: &mut Buffer,
        [q, k, v]: [&Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    ) {
        let tokens = tokens(cu_seqlens);
        let (queries, keys) = (tokens * shape.query_width(), tokens * shape.key_width());
        write(o, &attention_reference(&q[..queries], &k[..keys], &v[..keys], cu_seqlens, shape));
    }

    fn attention_backward(
        &self,
        [dq, dk, dv]: [&mut Buffer; 3],
        dy: &Buffer,
        _: &Buffer,
        _: &Buffer,
        [q, k, v]: [&Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    ) {
        let tokens = tokens(cu_seqlens);
        let (queries, keys) = (tokens * shape.query_width(), tokens * shape.key_width());
        let (q, k, v) = (&q[..queries], &k[..keys], &v[..keys]);
        let gradients = attention_backward_reference(&dy[..queries], q, k, v, cu_seqlens, shape);
        write(dq, &gradients.0);
        write(dk, &gradients.1);
        write(dv, &gradients.2);
    }

    fn swiglu(&self, y: &mut Buffer, gate: &Buffer, up: &Buffer, length: usize) {
        write(y, &swiglu_reference(&gate[..length], &up[..length]));
    }

    fn swiglu_in_place(&self, gate: &mut Buffer, up: &Buffer, length: usize) {
        let y = swiglu_reference(&gate[..length], &up[..length]);
        write(gate, &y);
    }

    fn swiglu_backward(&self, gate: &mut Buffer, up: &mut Buffer, dy: &Buffer, length: usize) {
        let (dgate, dup) = swiglu_backward_reference(&dy[..length], &gate[..length], &up[..length]);
        write(gate, &dgate);
        write(up, &dup);
    }

    fn head_logp(
        &self,
        logp: &mut [f32],
        hidden: &Buffer,
        w: Weight<'_, Self>,
        targets: &[u32],
        d: usize,
        _: &mut Buffer,
    ) {
        let w = values(w);
        let (of_targets, ..) = head_reference(hidden, w, targets, &vec![0.0; targets.len()], d);
        self.download(&of_targets, logp);
    }

    fn head_backward(
        &self,
        logp: &mut [f32],
        dhidden: &mut Buffer,
        dw: Option<&mut Buffer>,
        hidden: &Buffer,
        w: Weight<'_, Self>,
        targets: &[u32],
        loss: TokenLoss<'_>,
        d: usize,
        logits: &mut Buffer,
    ) {
        let w = values(w);
        self.head_logp(logp, hidden, Weight::Wide(w), targets, d, logits);
        let derivative = |(row, &logp): (usize, &f32)| f64::from(loss.derivative(row, logp));
        let dlogp: Vec<f64> = logp.iter().enumerate().map(derivative).collect();
        let hidden = &hidden[..targets.len() * d];
        let (_, of_hidden, of_w) = head_reference(hidden, w, targets, &dlogp, d);
        write(dhidden, &of_hidden);
        dw.into_iter().for_each(|dw| add(dw, &of_w));
    }

    fn packed_length(&self, inputs: usize, outputs: usize, _: bool) -> usize {
        inputs * outputs
    }

    fn pack(&self, packed: &mut Buffer, at: usize, w: Weight<'_, Self>, _: usize) {
        let w = values(w);
        write(&mut packed[at..], w);
    }

    fn packed_linear(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: PackedWeights<'_, Buffer>,
        b: Option<&Buffer>,
        rows: usize,
    ) {
        write(y, &project(x, packed(&w), b, rows, w.inputs));
    }

    fn packed_linear_add(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: PackedWeights<'_, Buffer>,
        b: Option<&Buffer>,
        rows: usize,
    ) {
        add(y, &project(x, packed(&w), b, rows, w.inputs));
    }

    fn round_to_cache(&self, _: &mut Buffer, _: usize) {}

    fn cache_lengths(&self, blocks: usize, shape: AttentionShape) -> (usize, usize) {
        let length = blocks * CACHE_BLOCK * shape.key_width();
        (length, length)
    }

    fn cache_store(
        &self,
        cache: [&mut Buffer; 2],
        k: &Buffer,
        v: &Buffer,
        spans: &[CacheSpan],
        blocks: &[u32],
        shape: AttentionShape,
    ) {
        let width = shape.key_width();
        for (cache, new) in cache.into_iter().zip([k, v]) {
            for span in spans {
                for i in 0..span.rows {
                    let to = place(&blocks[span.blocks..], span.position + i, width);
                    write(&mut cache[to..], &new[(span.row + i) * width..][..width]);
                }
            }
        }
    }

    fn cache_copy(&self, cache: [&mut Buffer; 2], from: usize, to: usize, shape: AttentionShape) {
        let block = CACHE_BLOCK * shape.key_width();
        cache.into_iter().for_each(|cache| cache.copy_within(from * block..(from + 1) * block, to * block));
    }

    fn cached_attention(
        &self,
        o: &mut Buffer,
        q: &Buffer,
        [keys, values]: [&Buffer; 2],
        spans: &[CacheSpan],
        blocks: &[u32],
        shape: AttentionShape,
    ) {
        let (width, key_width) = (shape.query_width(), shape.key_width());
        for span in spans {
            let (blocks, end) = (&blocks[span.blocks..], span.position + span.rows);
            let [k, v] = [keys, values].map(|cache| cached(cache, blocks, end, key_width));
            // The definition covers whole sequences: earlier queries are zeros, and their outputs are ignored.
            let mut all = vec![0.0; span.position * width];
            all.extend(&q[span.row * width..][..span.rows * width]);
            let whole = attention_reference(&all, &k, &v, &[0, end as u32], shape);
            write(&mut o[span.row * width..], &whole[span.position * width..]);
        }
    }

    fn choose(&self, logits: &mut Buffer, vocabulary: usize, draws: &[Draw]) -> Vec<Choice> {
        logits.chunks_exact(vocabulary).zip(draws).map(|(logits, draw)| choose(logits, draw)).collect()
    }

    fn squared_norm(&self, x: &Buffer) -> f64 {
        x.iter().map(|x| x * x).sum()
    }

    fn adamw(&self, w: &mut Buffer, m: &mut Buffer, v: &mut Buffer, gradient: &Buffer, update: AdamW) {
        for i in 0..w.len() {
            (w[i], m[i], v[i]) = adamw_reference(w[i], m[i], v[i], gradient[i], update);
        }
    }
}

fn choose(logits: &[f64], draw: &Draw) -> Choice {
    let token = if draw.temperature == 0.0 { likeliest(logits) } else { choose_reference(logits, draw) };
    // Computed as the head computes it, so that both give the same bits.
    Choice { token: token as u32, logp: (logits[token] - log_sum_exp(logits)) as f32 }
}

/// The first of the largest.
fn likeliest(logits: &[f64]) -> usize {
    let top = largest(logits);
    logits.iter().position(|&logit| logit == top).unwrap_or(0)
}
