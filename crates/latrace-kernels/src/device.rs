//! What a device must offer: memory, and the operations of a decoder on it.

use std::borrow::Cow;

use half::bf16;

use crate::{AdamW, AttentionShape, CacheSpan, Choice, Draw, F32, Rotation};

/// The loss of one token, as a function of its log-prob; the weights hold the normaliser already.
#[derive(Clone, Copy, Debug)]
pub enum TokenLoss<'a> {
    /// −weight · log p.
    NegativeLogLikelihood {
        /// Per row.
        weights: &'a [f32],
    },
    /// −weight · min(r·A, clip(r, 1 − low, 1 + high)·A) with r = p / p_old (Schulman et al., 2017).
    ClippedPolicyGradient {
        /// Per row.
        weights: &'a [f32],
        /// A, per row.
        advantages: &'a [f32],
        /// log p_old (nats), per row.
        old_logp: &'a [f32],
        /// How far the ratio may fall below 1.
        low: f32,
        /// How far the ratio may rise above 1.
        high: f32,
    },
}

/// Weights that [`Device::pack`] has put into a buffer.
#[derive(Debug)]
pub struct PackedWeights<'a, B> {
    /// Where they are, perhaps among others.
    pub buffer: &'a B,
    /// Where they begin.
    pub at: usize,
    /// Columns of W.
    pub inputs: usize,
    /// Rows of W.
    pub outputs: usize,
    /// Whether W was held in bf16.
    pub is_narrow: bool,
}

/// A weight as it is held: in f32, or in half of the memory as bf16. Products of both have the same bits where the values
/// are the same.
#[derive(Debug)]
pub enum Weight<'a, D: Device + ?Sized> {
    /// f32.
    Wide(&'a D::Buffer),
    /// bf16.
    Narrow(&'a D::Narrow),
}

impl<D: Device + ?Sized> Clone for Weight<'_, D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: Device + ?Sized> Copy for Weight<'_, D> {}

/// Memory and operations of a device. Buffers are f32, contiguous, row-major; operations use the first `rows`
/// rows of buffers that may be longer, so that memory planned for the longest batch serves every batch. Small
/// integer operands come from the host.
///
/// Gradients with respect to parameters are added; those with respect to activations are written, unless said
/// otherwise.
pub trait Device: Send + Sync {
    /// f32 memory of the device.
    type Buffer: Send + Sync;
    /// bf16 memory of the device, for weights that do not change.
    type Narrow: Send + Sync;

    /// The arithmetic that products are computed by: results of another one have other bits.
    fn arithmetic(&self) -> &'static str {
        F32
    }

    /// `length` zeros.
    fn zeros(&self, length: usize) -> Self::Buffer;
    /// Takes host memory over.
    fn upload(&self, values: Vec<f32>) -> Self::Buffer;
    /// Takes host memory over.
    fn upload_narrow(&self, values: Vec<bf16>) -> Self::Narrow;
    /// The nearest values of bf16, ties to even.
    fn narrow(&self, buffer: &Self::Buffer) -> Self::Narrow;
    /// The values in f32.
    fn widen(&self, narrow: &Self::Narrow) -> Self::Buffer;
    /// Values of a narrow buffer.
    fn narrow_length(&self, narrow: &Self::Narrow) -> usize;
    /// Copies the first `values.len()` values to the host.
    fn download(&self, buffer: &Self::Buffer, values: &mut [f32]);
    /// All values on the host; where device memory is host memory, without a copy.
    fn host<'a>(&self, buffer: &'a Self::Buffer) -> Cow<'a, [f32]> {
        let mut values = vec![0.0; self.length(buffer)];
        self.download(buffer, &mut values);
        values.into()
    }
    /// Values it can hold.
    fn length(&self, buffer: &Self::Buffer) -> usize;
    /// Sets all to zero.
    fn clear(&self, buffer: &mut Self::Buffer);
    /// Copies the first `length` values.
    fn copy(&self, target: &mut Self::Buffer, source: &Self::Buffer, length: usize);

    /// `y[i] = table[index[i]]`; rows of `d` values.
    fn gather_rows(&self, y: &mut Self::Buffer, index: &[u32], table: &Self::Buffer, d: usize);
    /// [`Device::gather_rows`] of a table of weights.
    fn embed(&self, y: &mut Self::Buffer, ids: &[u32], table: Weight<'_, Self>, d: usize);
    /// `table[index[i]] += y[i]`, but for the index `skip`.
    fn scatter_add_rows(
        &self,
        table: &mut Self::Buffer,
        index: &[u32],
        y: &Self::Buffer,
        d: usize,
        skip: Option<u32>,
    );

    /// y = x / rms(x) · w over `rows` rows as wide as `w`.
    fn rms_norm(
        &self,
        y: &mut Self::Buffer,
        inverse_rms: &mut Self::Buffer,
        x: &Self::Buffer,
        w: &Self::Buffer,
        epsilon: f32,
        rows: usize,
    );
    /// dx and dw are added; without `dw`, the weight is frozen.
    fn rms_norm_backward(
        &self,
        dx: &mut Self::Buffer,
        dw: Option<&mut Self::Buffer>,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        w: &Self::Buffer,
        inverse_rms: &Self::Buffer,
        rows: usize,
    );

    /// y = x·Wᵀ (+ b).
    fn linear(
        &self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        w: Weight<'_, Self>,
        b: Option<&Self::Buffer>,
        rows: usize,
        inputs: usize,
    );
    /// y = residual + x·Wᵀ (+ b).
    fn linear_residual(
        &self,
        y: &mut Self::Buffer,
        residual: &Self::Buffer,
        x: &Self::Buffer,
        w: Weight<'_, Self>,
        b: Option<&Self::Buffer>,
        rows: usize,
        inputs: usize,
    );
    /// y += x·Wᵀ (+ b).
    fn linear_add(
        &self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        w: Weight<'_, Self>,
        b: Option<&Self::Buffer>,
        rows: usize,
        inputs: usize,
    );
    /// dx = dy·W.
    fn linear_input_gradient(
        &self,
        dx: &mut Self::Buffer,
        dy: &Self::Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    );
    /// dx += dy·W.
    fn linear_input_gradient_add(
        &self,
        dx: &mut Self::Buffer,
        dy: &Self::Buffer,
        w: Weight<'_, Self>,
        rows: usize,
        inputs: usize,
    );
    /// dW += dyᵀ·x and db += Σ dy, of those that are not frozen.
    fn linear_parameter_gradient(
        &self,
        dw: Option<&mut Self::Buffer>,
        db: Option<&mut Self::Buffer>,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        rows: usize,
        inputs: usize,
    );

    /// x *= factor, over `length` values.
    fn scale(&self, x: &mut Self::Buffer, factor: f32, length: usize);
    /// y = x / (1 − rate) where a value is kept, else 0; one row of `width` values for each key.
    fn dropout(&self, y: &mut Self::Buffer, x: &Self::Buffer, keys: &[u64], rate: f32, width: usize);
    /// dx += dy / (1 − rate) where [`Device::dropout`] keeps the value.
    fn dropout_backward(
        &self,
        dx: &mut Self::Buffer,
        dy: &Self::Buffer,
        keys: &[u64],
        rate: f32,
        width: usize,
    );

    /// cos and sin of positions 0..`positions`, times `scale`.
    fn rotary_table(&self, frequencies: &[f32], scale: f32, positions: usize) -> Self::Buffer;
    /// Turns heads in place.
    fn rotary(
        &self,
        x: &mut Self::Buffer,
        positions: &[u32],
        table: &Self::Buffer,
        heads: usize,
        head_dim: usize,
        rotation: Rotation,
    );

    /// Causal attention within each sequence; `lse` is T×heads.
    fn attention(
        &self,
        o: &mut Self::Buffer,
        lse: &mut Self::Buffer,
        qkv: [&Self::Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    );
    /// Gradients of q, k and v.
    fn attention_backward(
        &self,
        dqkv: [&mut Self::Buffer; 3],
        dy: &Self::Buffer,
        o: &Self::Buffer,
        lse: &Self::Buffer,
        qkv: [&Self::Buffer; 3],
        cu_seqlens: &[u32],
        shape: AttentionShape,
    );

    /// y = silu(gate)·up over `length` values.
    fn swiglu(&self, y: &mut Self::Buffer, gate: &Self::Buffer, up: &Self::Buffer, length: usize);
    /// The result takes the place of `gate`, where nothing needs it afterwards.
    fn swiglu_in_place(&self, gate: &mut Self::Buffer, up: &Self::Buffer, length: usize);
    /// The gradients take the places of `gate` and `up`.
    fn swiglu_backward(
        &self,
        gate: &mut Self::Buffer,
        up: &mut Self::Buffer,
        dy: &Self::Buffer,
        length: usize,
    );

    /// log p(target) of each row of `hidden`, to the host; `logits` is scratch that the device grows to a
    /// chunk.
    fn head_logp(
        &self,
        logp: &mut [f32],
        hidden: &Self::Buffer,
        w: Weight<'_, Self>,
        targets: &[u32],
        d: usize,
        logits: &mut Self::Buffer,
    );
    /// Log-probs and gradients of the loss; `dw` is added, and without it the weight is frozen.
    fn head_backward(
        &self,
        logp: &mut [f32],
        dhidden: &mut Self::Buffer,
        dw: Option<&mut Self::Buffer>,
        hidden: &Self::Buffer,
        w: Weight<'_, Self>,
        targets: &[u32],
        loss: TokenLoss<'_>,
        d: usize,
        logits: &mut Self::Buffer,
    );

    /// Values of a buffer that [`Device::pack`] writes of a weight that is held in f32, or else in bf16 (`is_narrow`).
    fn packed_length(&self, inputs: usize, outputs: usize, is_narrow: bool) -> usize;
    /// Puts W (outputs×inputs) into `packed` from `at` on, in the type in which it is held, as this device likes it for
    /// products of any number of rows; see [`Device::packed_linear`].
    fn pack(&self, packed: &mut Self::Buffer, at: usize, w: Weight<'_, Self>, inputs: usize);
    /// y = x·Wᵀ (+ b) with packed W, the same bits as [`Device::linear`].
    fn packed_linear(
        &self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        w: PackedWeights<'_, Self::Buffer>,
        b: Option<&Self::Buffer>,
        rows: usize,
    );
    /// y += x·Wᵀ (+ b) with packed W, the same bits as [`Device::linear_add`].
    fn packed_linear_add(
        &self,
        y: &mut Self::Buffer,
        x: &Self::Buffer,
        w: PackedWeights<'_, Self::Buffer>,
        b: Option<&Self::Buffer>,
        rows: usize,
    );
    /// Rounds the first `length` values to those that a cache can hold. Keys and values are rounded before any attention, so
    /// that sampling, scoring and training see the same.
    fn round_to_cache(&self, x: &mut Self::Buffer, length: usize);
    /// Values of a buffer that `blocks` blocks of one layer's cache take: (keys, values).
    fn cache_lengths(&self, blocks: usize, shape: AttentionShape) -> (usize, usize);
    /// Puts new tokens' keys and values into the blocks of their sequences.
    fn cache_store(
        &self,
        cache: [&mut Self::Buffer; 2],
        k: &Self::Buffer,
        v: &Self::Buffer,
        spans: &[CacheSpan],
        blocks: &[u32],
        shape: AttentionShape,
    );
    /// Copies a block of a cache to another.
    fn cache_copy(&self, cache: [&mut Self::Buffer; 2], from: usize, to: usize, shape: AttentionShape);
    /// Attention of new tokens over the cached keys of their sequences; the same bits as
    /// [`Device::attention`] over whole sequences.
    fn cached_attention(
        &self,
        o: &mut Self::Buffer,
        q: &Self::Buffer,
        cache: [&Self::Buffer; 2],
        spans: &[CacheSpan],
        blocks: &[u32],
        shape: AttentionShape,
    );
    /// Draws a token from each row of logits, which are overwritten.
    fn choose(&self, logits: &mut Self::Buffer, vocabulary: usize, draws: &[Draw]) -> Vec<Choice>;

    /// Σ x².
    fn squared_norm(&self, x: &Self::Buffer) -> f64;
    /// One step of AdamW on one parameter and its two moments.
    fn adamw(
        &self,
        w: &mut Self::Buffer,
        m: &mut Self::Buffer,
        v: &mut Self::Buffer,
        gradient: &Self::Buffer,
        update: AdamW,
    );
}
