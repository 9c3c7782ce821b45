//! The CPU as a device: f32, all threads of the current rayon pool.

use std::borrow::Cow;
use std::ops::DerefMut;

use crate::bf16::{self, Unit, unit};
use crate::buffer::Buffer;
use crate::cached_attention::CacheLayout;
use crate::compute::{Compute, F32};
use crate::element::{self, Element};
use crate::gemm::Sum;
use crate::packed::Panels;
use crate::{
    AdamW, AttentionShape, CacheSpan, Choice, Device, Draw, PackedWeights, Rotation, Start, TokenLoss, Weight,
};
use crate::{
    adamw, attention, cached_attention, choice, dropout, embedding, head, linear, packed, rms_norm, rotary,
    swiglu,
};

/// The CPU.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// The type in which products with weights are computed.
    pub compute: Compute,
}

impl Cpu {
    /// The unit for bf16, if products are computed by it.
    fn unit(self) -> Option<Unit> {
        unit().filter(|_| self.compute == Compute::Bf16)
    }

    /// Where products are of bf16, so is the cache, whether the processor has a unit for them or not.
    fn cache_layout(self, shape: AttentionShape) -> CacheLayout {
        CacheLayout { shape, are_pairs: self.compute == Compute::Bf16 }
    }

    /// y = start + x·Wᵀ with packed W.
    fn packed_product(
        self,
        y: &mut [f32],
        x: &[f32],
        w: &PackedWeights<'_, Buffer>,
        rows: usize,
        start: Start<'_>,
    ) {
        let PackedWeights { buffer, at, inputs, outputs, is_narrow } = *w;
        let values = &buffer[at..][..self.packed_length(inputs, outputs, is_narrow)];
        match self.unit() {
            Some(unit) => bf16::packed_linear(unit, y, x, values, [rows, outputs, inputs], start),
            None => {
                let panels = Panels { values, are_pairs: is_narrow };
                packed::packed_linear(y, x, panels, rows, inputs, outputs, start);
            }
        }
    }
}

/// The first `rows` rows of outputs of W, in a buffer that may be longer.
fn of_rows<'a, T>(y: &'a mut [f32], rows: usize, w: &[T], inputs: usize) -> &'a mut [f32] {
    &mut y[..rows * (w.len() / inputs)]
}

/// Makes the values of a weight, of either type, a slice of `$body`.
macro_rules! each_width {
    ($weight:expr, $values:ident => $body:expr) => {
        match $weight {
            Weight::Wide($values) => {
                let $values = &$values[..];
                $body
            }
            Weight::Narrow($values) => {
                let $values = &$values[..];
                $body
            }
        }
    };
}

/// A product that starts from the bias saves a pass over its outputs.
fn from_bias(b: Option<&Buffer>) -> Start<'_> {
    b.map_or(Start::Zero, |b| Start::Row(b))
}

impl Device for Cpu {
    type Buffer = Buffer;
    type Narrow = Vec<half::bf16>;

    fn arithmetic(&self) -> &'static str {
        match self.unit() {
            Some(Unit::Amx) => "bf16 by AMX",
            Some(Unit::Dot) => "bf16 by AVX-512",
            None => F32,
        }
    }

    fn zeros(&self, length: usize) -> Buffer {
        Buffer::zeros(length)
    }

    fn upload(&self, values: Vec<f32>) -> Buffer {
        values.into()
    }

    fn upload_narrow(&self, values: Vec<half::bf16>) -> Vec<half::bf16> {
        values
    }

    fn narrow(&self, buffer: &Buffer) -> Vec<half::bf16> {
        buffer.iter().map(|value| half::bf16::from_f32(*value)).collect()
    }

    fn widen(&self, narrow: &Vec<half::bf16>) -> Buffer {
        narrow.iter().map(|value| value.wide()).collect::<Vec<_>>().into()
    }

    fn narrow_length(&self, narrow: &Vec<half::bf16>) -> usize {
        narrow.len()
    }

    fn download(&self, buffer: &Buffer, values: &mut [f32]) {
        values.copy_from_slice(&buffer[..values.len()]);
    }

    fn host<'a>(&self, buffer: &'a Buffer) -> Cow<'a, [f32]> {
        (&buffer[..]).into()
    }

    fn length(&self, buffer: &Buffer) -> usize {
        buffer.len()
    }

    fn clear(&self, buffer: &mut Buffer) {
        buffer.fill(0.0);
    }

    fn copy(&self, target: &mut Buffer, source: &Buffer, length: usize) {
        target[..length].copy_from_slice(&source[..length]);
    }

    fn gather_rows(&self, y: &mut Buffer, index: &[u32], table: &Buffer, d: usize) {
        embedding::gather_rows(&mut y[..index.len() * d], index, table, d);
    }

    fn embed(&self, y: &mut Buffer, ids: &[u32], table: Weight<'_, Self>, d: usize) {
        each_width!(table, table => embedding::gather_rows(&mut y[..ids.len() * d], ids, table, d));
    }

    fn scatter_add_rows(&self, table: &mut Buffer, index: &[u32], y: &Buffer, d: usize, skip: Option<u32>) {
        embedding::scatter_add_rows(table, index, &y[..index.len() * d], d, skip);
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
        let length = rows * w.len();
        rms_norm::rms_norm(&mut y[..length], &mut inverse_rms[..rows], &x[..length], w, epsilon);
    }

    fn rms_norm_backward(
        &self,
        dx: &mut Buffer,
        dw: Option<&mut Buffer>,
        dy: &Buffer,
        x: &Buffer,
        w: &Buffer,
        inverse_rms: &Buffer,
        rows: usize,
    ) {
        let length = rows * w.len();
        rms_norm::rms_norm_backward(
            &mut dx[..length],
            dw.map(Buffer::deref_mut),
            &dy[..length],
            &x[..length],
            w,
            &inverse_rms[..rows],
        );
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
        each_width!(w, w => linear::linear(self.compute.product(Sum::Blocks), of_rows(y, rows, w, inputs), x, w, rows, inputs, from_bias(b)));
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
        each_width!(w, w => {
            let y = of_rows(y, rows, w, inputs);
            linear::linear(self.compute.product(Sum::Blocks), y, x, w, rows, inputs, Start::Accumulate);
            linear::add_bias(y, b.map(|b| &b[..]));
        });
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
        each_width!(w, w => {
            let y = of_rows(y, rows, w, inputs);
            linear::linear(self.compute.product(Sum::Blocks), y, x, w, rows, inputs, Start::Matrix(residual));
            linear::add_bias(y, b.map(|b| &b[..]));
        });
    }

    fn linear_input_gradient(
        &self,
        dx: &mut Buffer,
        dy: &Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    ) {
        each_width!(w, w => linear::linear_input_gradient(self.compute.product(Sum::Blocks), dx, dy, w, rows, inputs, Start::Zero));
    }

    fn linear_input_gradient_add(
        &self,
        dx: &mut Buffer,
        dy: &Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    ) {
        each_width!(w, w => linear::linear_input_gradient(self.compute.product(Sum::Blocks), dx, dy, w, rows, inputs, Start::Accumulate));
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
        if let Some(dw) = dw {
            linear::linear_weight_gradient(self.compute.product(Sum::Chain), dw, dy, x, rows, inputs);
        }
        if let Some(db) = db {
            let length = rows * db.len();
            linear::bias_gradient(db, &dy[..length]);
        }
    }

    fn scale(&self, x: &mut Buffer, factor: f32, length: usize) {
        dropout::scale(&mut x[..length], factor);
    }

    fn dropout(&self, y: &mut Buffer, x: &Buffer, keys: &[u64], rate: f32, width: usize) {
        dropout::dropout(y, x, keys, rate, width);
    }

    fn dropout_backward(&self, dx: &mut Buffer, dy: &Buffer, keys: &[u64], rate: f32, width: usize) {
        dropout::dropout_backward(dx, dy, keys, rate, width);
    }

    fn rotary_table(&self, frequencies: &[f32], scale: f32, positions: usize) -> Buffer {
        rotary::rotary_table(frequencies, scale, positions).into()
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
        rotary::rotary(
            &mut x[..positions.len() * heads * head_dim],
            positions,
            table,
            heads,
            head_dim,
            rotation,
        );
    }

    fn attention(
        &self,
        o: &mut Buffer,
        lse: &mut Buffer,
        [q, k, v]: [&Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    ) {
        attention::attention(o, lse, q, k, v, cu_seqlens, shape);
    }

    fn attention_backward(
        &self,
        [dq, dk, dv]: [&mut Buffer; 3],
        dy: &Buffer,
        o: &Buffer,
        lse: &Buffer,
        [q, k, v]: [&Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    ) {
        let product = self.compute.product(Sum::Chain);
        attention::attention_backward((dq, dk, dv), dy, o, lse, (q, k, v), cu_seqlens, shape, product);
    }

    fn swiglu(&self, y: &mut Buffer, gate: &Buffer, up: &Buffer, length: usize) {
        swiglu::swiglu(&mut y[..length], &gate[..length], &up[..length]);
    }

    fn swiglu_in_place(&self, gate: &mut Buffer, up: &Buffer, length: usize) {
        swiglu::swiglu_in_place(&mut gate[..length], &up[..length]);
    }

    fn swiglu_backward(&self, gate: &mut Buffer, up: &mut Buffer, dy: &Buffer, length: usize) {
        swiglu::swiglu_backward(&mut gate[..length], &mut up[..length], &dy[..length]);
    }

    fn head_logp(
        &self,
        logp: &mut [f32],
        hidden: &Buffer,
        w: Weight<'_, Self>,
        targets: &[u32],
        d: usize,
        logits: &mut Buffer,
    ) {
        each_width!(w, w => head::head_logp(self.compute, logp, hidden, w, targets, d, logits));
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
        let dw = dw.map(Buffer::deref_mut);
        each_width!(w, w => head::head_backward(self.compute, logp, dhidden, dw, hidden, w, targets, loss, d, logits));
    }

    fn packed_length(&self, inputs: usize, outputs: usize, is_narrow: bool) -> usize {
        match self.unit() {
            Some(_) => bf16::packed_length(inputs, outputs),
            None => packed::packed_length(inputs, outputs, is_narrow),
        }
    }

    fn pack(&self, packed: &mut Buffer, at: usize, w: Weight<'_, Self>, inputs: usize) {
        let (count, is_narrow) = match w {
            Weight::Wide(w) => (w.len(), false),
            Weight::Narrow(w) => (w.len(), true),
        };
        let packed = &mut packed[at..][..self.packed_length(inputs, count / inputs, is_narrow)];
        match (w, self.unit()) {
            (w, Some(_)) => each_width!(w, w => bf16::pack_weights(packed, w, inputs)),
            (Weight::Wide(w), None) => packed::pack_weights(packed, w, inputs),
            (Weight::Narrow(w), None) => packed::pack_pairs(packed, w, inputs),
        }
    }

    fn packed_linear(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: PackedWeights<'_, Buffer>,
        b: Option<&Buffer>,
        rows: usize,
    ) {
        self.packed_product(y, x, &w, rows, from_bias(b));
    }

    fn packed_linear_add(
        &self,
        y: &mut Buffer,
        x: &Buffer,
        w: PackedWeights<'_, Buffer>,
        b: Option<&Buffer>,
        rows: usize,
    ) {
        self.packed_product(y, x, &w, rows, Start::Accumulate);
        linear::add_bias(&mut y[..rows * w.outputs], b.map(|b| &b[..]));
    }

    fn round_to_cache(&self, x: &mut Buffer, length: usize) {
        if self.compute == Compute::Bf16 {
            element::round(&mut x[..length]);
        }
    }

    fn cache_lengths(&self, blocks: usize, shape: AttentionShape) -> (usize, usize) {
        let (keys, values) = self.cache_layout(shape).block_lengths();
        (blocks * keys, blocks * values)
    }

    fn cache_store(
        &self,
        [keys, values]: [&mut Buffer; 2],
        k: &Buffer,
        v: &Buffer,
        spans: &[CacheSpan],
        blocks: &[u32],
        shape: AttentionShape,
    ) {
        cached_attention::store([keys, values], k, v, spans, blocks, self.cache_layout(shape));
    }

    fn cache_copy(&self, [keys, values]: [&mut Buffer; 2], from: usize, to: usize, shape: AttentionShape) {
        cached_attention::copy_block([keys, values], from, to, self.cache_layout(shape));
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
        cached_attention::cached_attention(o, q, [keys, values], spans, blocks, self.cache_layout(shape));
    }

    fn choose(&self, logits: &mut Buffer, vocabulary: usize, draws: &[Draw]) -> Vec<Choice> {
        choice::choose(&mut logits[..draws.len() * vocabulary], vocabulary, draws)
    }

    fn squared_norm(&self, x: &Buffer) -> f64 {
        adamw::squared_norm(x)
    }

    fn adamw(&self, w: &mut Buffer, m: &mut Buffer, v: &mut Buffer, gradient: &Buffer, update: AdamW) {
        adamw::adamw(w, m, v, gradient, update);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;

    const ROWS: usize = 13;
    const INPUTS: usize = 70;
    const OUTPUTS: usize = 45;

    /// What an operation gives with a weight that is held in bf16, and with the same values in f32.
    fn both(operation: impl Fn(Weight<'_, Cpu>) -> Vec<f32>) {
        let narrow: Vec<half::bf16> =
            values(OUTPUTS * INPUTS, 1).into_iter().map(half::bf16::from_f32).collect();
        let wide = Cpu::default().widen(&narrow);
        assert_eq!(operation(Weight::Narrow(&narrow)), operation(Weight::Wide(&wide)));
    }

    #[test]
    fn weights_in_bf16_give_the_bits_of_the_same_values_in_f32() {
        [Compute::F32, Compute::Bf16].into_iter().for_each(|compute| check_weights(Cpu { compute }));
    }

    fn check_weights(cpu: Cpu) {
        let buffer = |length: usize, seed: u64| Buffer::from(values(length, seed));
        let (x, dy, bias) = (buffer(ROWS * INPUTS, 2), buffer(ROWS * OUTPUTS, 3), buffer(OUTPUTS, 4));
        let residual = buffer(ROWS * OUTPUTS, 5);
        both(|w| {
            let mut y = residual.clone();
            cpu.linear(&mut y, &x, w, Some(&bias), ROWS, INPUTS);
            cpu.linear_add(&mut y, &x, w, None, ROWS, INPUTS);
            y.to_vec()
        });
        both(|w| {
            let mut y = Buffer::zeros(ROWS * OUTPUTS);
            cpu.linear_residual(&mut y, &residual, &x, w, Some(&bias), ROWS, INPUTS);
            y.to_vec()
        });
        both(|w| {
            let mut dx = Buffer::zeros(ROWS * INPUTS);
            cpu.linear_input_gradient(&mut dx, &dy, w, ROWS, INPUTS);
            cpu.linear_input_gradient_add(&mut dx, &dy, w, ROWS, INPUTS);
            dx.to_vec()
        });
        both(|w| {
            let is_narrow = matches!(w, Weight::Narrow(_));
            let mut buffer = Buffer::from(vec![9.0; cpu.packed_length(INPUTS, OUTPUTS, is_narrow)]);
            cpu.pack(&mut buffer, 0, w, INPUTS);
            let values = w;
            let w = || PackedWeights { buffer: &buffer, at: 0, inputs: INPUTS, outputs: OUTPUTS, is_narrow };
            let mut y = Buffer::zeros(ROWS * OUTPUTS);
            cpu.packed_linear(&mut y, &x, w(), Some(&bias), ROWS);
            cpu.packed_linear_add(&mut y, &x, w(), Some(&bias), ROWS);
            let mut plain = Buffer::zeros(ROWS * OUTPUTS);
            cpu.linear(&mut plain, &x, values, Some(&bias), ROWS, INPUTS);
            cpu.linear_add(&mut plain, &x, values, Some(&bias), ROWS, INPUTS);
            assert_eq!(y[..], plain[..]);
            y.to_vec()
        });
        let ids = [3, 44, 0, 3];
        both(|w| {
            let mut y = Buffer::zeros(ids.len() * INPUTS);
            cpu.embed(&mut y, &ids, w, INPUTS);
            y.to_vec()
        });
        let weights = [1.0; 4];
        both(|w| {
            let (mut logp, mut again) = (vec![0.0; 4], vec![0.0; 4]);
            let (mut dhidden, mut dw, mut logits) =
                (Buffer::zeros(4 * INPUTS), Buffer::zeros(OUTPUTS * INPUTS), Buffer::default());
            cpu.head_logp(&mut logp, &x, w, &ids, INPUTS, &mut logits);
            let loss = TokenLoss::NegativeLogLikelihood { weights: &weights };
            cpu.head_backward(
                &mut again,
                &mut dhidden,
                Some(&mut dw),
                &x,
                w,
                &ids,
                loss,
                INPUTS,
                &mut logits,
            );
            [&logp[..], &again, &dhidden, &dw].concat()
        });
    }
}
