//! Causal grouped-query attention over packed sequences, tiled, with online softmax (Dao et al., 2022):
//! memory O(T) in both directions.
//!
//! Query head h reads key head h / (heads / kv_heads); keys are never repeated. Key tiles always start at
//! multiples of [`KEYS`] from the start of the sequence, so a query's result does not depend on which queries
//! are computed beside it.

use crate::buffer::Buffer;
use crate::compute::Product;
use crate::gemm::{Matrix, MatrixProduct, Start, TiledSerial};
use crate::log_sum_exp::largest;
use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::simd::{LANES, dispatched, dot, exp_bounded, max, sum_lanes};
use crate::team::on_this_thread;

/// Widths of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Values per head.
    pub head_dim: usize,
}

impl AttentionShape {
    /// Width of a token's queries.
    pub fn query_width(self) -> usize {
        self.heads * self.head_dim
    }

    /// Width of a token's keys, and of its values.
    pub fn key_width(self) -> usize {
        self.kv_heads * self.head_dim
    }

    pub(crate) fn group(self) -> usize {
        self.heads / self.kv_heads
    }

    /// Where query head `head` is among a token's queries.
    fn query_head(self, head: usize) -> Head {
        Head { width: self.query_width(), offset: head * self.head_dim }
    }

    /// Where key head `head` is among a token's keys, and among its values.
    fn key_head(self, head: usize) -> Head {
        Head { width: self.key_width(), offset: head * self.head_dim }
    }

    pub(crate) fn scale(self) -> f32 {
        // In f64, rounded once.
        (1.0 / (self.head_dim as f64).sqrt()) as f32
    }
}

/// Queries of a tile.
const QUERIES: usize = 64;
/// Keys of a tile.
pub(crate) const KEYS: usize = 64;

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new(Buffer::new()) };
}

/// One head's values, `offset` into each token's `width`.
#[derive(Clone, Copy)]
struct Head {
    width: usize,
    offset: usize,
}

impl Head {
    /// The head of `token` and those after it, a row each.
    fn matrix<'a>(self, data: &'a [f32], token: usize) -> Matrix<'a> {
        Matrix { data: &data[token * self.width + self.offset..], row_stride: self.width, column_stride: 1 }
    }

    /// As [`Head::matrix`], a column each.
    fn transposed<'a>(self, data: &'a [f32], token: usize) -> Matrix<'a> {
        Matrix { data: &data[token * self.width + self.offset..], row_stride: 1, column_stride: self.width }
    }

    fn store(self, target: Shared, token: usize, rows: &[f32], dim: usize) {
        for (i, row) in rows.chunks_exact(dim).enumerate() {
            // SAFETY: each (token, head) belongs to one task.
            unsafe { target.part((token + i) * self.width + self.offset, dim) }.copy_from_slice(row);
        }
    }
}

/// Tiles of all sequences: none reaches across a boundary.
fn tile_count(cu_seqlens: &[u32], size: usize) -> usize {
    cu_seqlens.windows(2).map(|w| ((w[1] - w[0]) as usize).div_ceil(size)).sum()
}

/// Tile `index` of all: (start of the sequence, first row of the tile in it, rows in the tile).
fn tile_at(cu_seqlens: &[u32], size: usize, mut index: usize) -> (usize, usize, usize) {
    for w in cu_seqlens.windows(2) {
        let (start, length) = (w[0] as usize, (w[1] - w[0]) as usize);
        let tiles = length.div_ceil(size);
        if index < tiles {
            return (start, index * size, size.min(length - index * size));
        }
        index -= tiles;
    }
    unreachable!("tile index within tile_count")
}

/// o_i = Σ_{j ≤ i} softmax_j(q_i·k_j / √head_dim) v_j, within each sequence.
///
/// # Shapes
/// `o`, `q`: T×(heads·head_dim); `k`, `v`: T×(kv_heads·head_dim); `lse`: T×heads, the log of each softmax's
/// sum (nats), for the backward pass; `cu_seqlens`: sequences + 1, from 0 to T.
pub(crate) fn attention(
    o: &mut [f32],
    lse: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cu_seqlens: &[u32],
    shape: AttentionShape,
) {
    let (o, lse) = (Shared::new(o), Shared::new(lse));
    let tiles = tile_count(cu_seqlens, QUERIES);
    // Last tiles first: they see the most keys, and short tasks at the end balance the threads.
    for_each(tiles * shape.heads, |task| {
        let (start, first, rows) = tile_at(cu_seqlens, QUERIES, tiles - 1 - task / shape.heads);
        let head = task % shape.heads;
        let dim = shape.head_dim;
        with_scratch(&SCRATCH, QUERIES * (KEYS + dim + 2), |scratch| {
            let (scores, rest) = scratch.split_at_mut(QUERIES * KEYS);
            let (output, statistics) = rest.split_at_mut(QUERIES * dim);
            let output = &mut output[..rows * dim];
            query_tile(output, statistics, scores, q, k, v, start, first, head, shape);
            shape.query_head(head).store(o, start + first, output, dim);
            let (top, sum) = statistics.split_at(QUERIES);
            for i in 0..rows {
                // SAFETY: each (token, head) belongs to one task.
                let lse = unsafe { lse.part((start + first + i) * shape.heads + head, 1) };
                lse[0] = top[i] + sum[i].ln();
            }
        });
    });
}

/// One tile of queries of one head against all its keys.
fn query_tile(
    output: &mut [f32],
    statistics: &mut [f32],
    scores: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    start: usize,
    first: usize,
    head: usize,
    shape: AttentionShape,
) {
    let dim = shape.head_dim;
    let rows = output.len() / dim;
    let (query, key) = (shape.query_head(head), shape.key_head(head / shape.group()));
    let (top, sum) = statistics.split_at_mut(QUERIES);
    top.fill(f32::NEG_INFINITY);
    sum.fill(0.0);
    output.fill(0.0);
    let end = first + rows;
    // In order of position: online softmax rescales what came before, so another order gives other bits.
    for tile in (0..end).step_by(KEYS) {
        let keys = KEYS.min(end - tile);
        let (a, b) = (query.matrix(q, start + first), key.transposed(k, start + tile));
        TiledSerial.product(scores, KEYS, rows, keys, dim, a, b, Start::Zero);
        let sight = Sight { keys, diagonal: first as isize - tile as isize, group: 1 };
        online_softmax(scores, &mut top[..rows], &mut sum[..rows], output, dim, dim, sight, shape.scale());
        TiledSerial.product(
            output,
            dim,
            rows,
            dim,
            keys,
            Matrix::new(scores, KEYS),
            key.matrix(v, start + tile),
            Start::Accumulate,
        );
    }
    normalise(output, sum, dim);
}

/// Which keys of a tile its rows see.
#[derive(Clone, Copy)]
pub(crate) struct Sight {
    /// Keys in the tile.
    pub keys: usize,
    /// The last key that the first row sees, which may lie beyond the tile, or before it.
    pub diagonal: isize,
    /// This many consecutive rows see the same keys; the next ones see one key more.
    pub group: usize,
}

impl Sight {
    fn visible(self, row: usize) -> usize {
        ((row / self.group) as isize + self.diagonal + 1).clamp(0, self.keys as isize) as usize
    }
}

dispatched! {
    /// Turns a tile of scores into weights relative to the running maximum, and rescales the sums so far
    /// (Milakov and Gimelshein, 2018): rows of `dim` values, `stride` apart.
    pub(crate) fn online_softmax(scores: &mut [f32], top: &mut [f32], sum: &mut [f32], output: &mut [f32], stride: usize, dim: usize, sight: Sight, scale: f32) {
        let rows = scores.as_chunks_mut::<KEYS>().0.iter_mut().zip(output.chunks_mut(stride)).zip(top).zip(sum);
        for (i, (((row, output), top), sum)) in rows.enumerate() {
            let visible = sight.visible(i);
            // Also before any key was seen: −∞ − (−∞) below would be NaN.
            if visible == 0 {
                row.fill(0.0);
                continue;
            }
            // A weight of zero, whatever the score.
            row[visible..].fill(f32::NEG_INFINITY);
            let highest = (max(row) * scale).max(*top);
            let tile_sum = exp_sum_scaled(row, scale, highest);
            let keep = exp_bounded(*top - highest);
            *sum = sum.mul_add(keep, tile_sum);
            *top = highest;
            output[..dim].iter_mut().for_each(|o| *o *= keep);
        }
    }
}

/// Replaces each score s by e^(s·scale − shift), and returns their sum.
#[inline(always)]
fn exp_sum_scaled(row: &mut [f32; KEYS], scale: f32, shift: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for block in row.as_chunks_mut::<LANES>().0 {
        for i in 0..LANES {
            block[i] = exp_bounded(block[i] * scale - shift);
            lanes[i] += block[i];
        }
    }
    sum_lanes(lanes)
}

dispatched! {
    fn product_sum(a: &[f32], b: &[f32]) -> f32 {
        dot(a, b)
    }
}

dispatched! {
    pub(crate) fn normalise(output: &mut [f32], sum: &[f32], dim: usize) {
        for (row, sum) in output.chunks_exact_mut(dim).zip(sum) {
            // One division per row: vector units multiply several times faster than they divide.
            let scale = 1.0 / sum;
            row.iter_mut().for_each(|o| *o *= scale);
        }
    }
}

/// Gradients of [`attention`], each written, not added; `product` computes them, but not the scores.
///
/// # Shapes
/// As [`attention`]; `dq`, `do_` as `q`; `dk`, `dv` as `k`.
pub(crate) fn attention_backward(
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    do_: &[f32],
    o: &[f32],
    lse: &[f32],
    (q, k, v): (&[f32], &[f32], &[f32]),
    cu_seqlens: &[u32],
    shape: AttentionShape,
    product: Product,
) {
    let gradients = [dq, dk, dv].map(Shared::new);
    let sequences = cu_seqlens.len() - 1;
    for_each(sequences * shape.kv_heads, |task| {
        let (start, end) =
            (cu_seqlens[task / shape.kv_heads] as usize, cu_seqlens[task / shape.kv_heads + 1] as usize);
        let backward = Backward {
            do_,
            o,
            lse,
            q,
            k,
            v,
            start,
            length: end - start,
            kv_head: task % shape.kv_heads,
            shape,
            product,
        };
        on_this_thread(|| backward.run(gradients));
    });
}

/// The backward pass of one key head of one sequence.
struct Backward<'a> {
    do_: &'a [f32],
    o: &'a [f32],
    lse: &'a [f32],
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    start: usize,
    length: usize,
    kv_head: usize,
    shape: AttentionShape,
    product: Product,
}

impl Backward<'_> {
    fn run(&self, [dq_out, dk_out, dv_out]: [Shared; 3]) {
        let (dim, group, length) = (self.shape.head_dim, self.shape.group(), self.length);
        let key = self.shape.key_head(self.kv_head);
        with_scratch(&SCRATCH, length * group * (dim + 1) + 2 * KEYS * dim + 2 * QUERIES * KEYS, |scratch| {
            let (dq, rest) = scratch.split_at_mut(length * group * dim);
            let (delta, rest) = rest.split_at_mut(length * group);
            let (dk, rest) = rest.split_at_mut(KEYS * dim);
            let (dv, rest) = rest.split_at_mut(KEYS * dim);
            let (weights, dweights) = rest.split_at_mut(QUERIES * KEYS);
            dq.fill(0.0);
            self.deltas(delta);
            // One task sums over all queries and members of the group, in order: dk and dv need no merging
            // of partial sums, whose order would depend on the threads.
            for tile in (0..length).step_by(KEYS) {
                let keys = KEYS.min(length - tile);
                dk.fill(0.0);
                dv.fill(0.0);
                for member in 0..group {
                    let (dq, delta) = (
                        &mut dq[member * length * dim..][..length * dim],
                        &delta[member * length..][..length],
                    );
                    for first in (tile / QUERIES * QUERIES..length).step_by(QUERIES) {
                        self.pair(
                            dq,
                            dk,
                            dv,
                            delta,
                            weights,
                            dweights,
                            member,
                            (first, QUERIES.min(length - first)),
                            (tile, keys),
                        );
                    }
                }
                key.store(dk_out, self.start + tile, &dk[..keys * dim], dim);
                key.store(dv_out, self.start + tile, &dv[..keys * dim], dim);
            }
            for member in 0..group {
                self.query_head(member).store(
                    dq_out,
                    self.start,
                    &dq[member * length * dim..][..length * dim],
                    dim,
                );
            }
        });
    }

    fn query_head(&self, member: usize) -> Head {
        self.shape.query_head(self.kv_head * self.shape.group() + member)
    }

    /// Σ dO·O of each query, which the softmax's gradient subtracts: equal to Σ p·dp over its keys, without
    /// another pass over them.
    fn deltas(&self, delta: &mut [f32]) {
        for (i, delta) in delta.iter_mut().enumerate() {
            let head = self.query_head(i / self.length);
            let at = (self.start + i % self.length) * head.width + head.offset;
            *delta =
                product_sum(&self.do_[at..][..self.shape.head_dim], &self.o[at..][..self.shape.head_dim]);
        }
    }

    /// The gradients that one tile of queries and one tile of keys contribute to each other.
    fn pair(
        &self,
        dq: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
        delta: &[f32],
        weights: &mut [f32],
        dweights: &mut [f32],
        member: usize,
        (first, rows): (usize, usize),
        (tile, keys): (usize, usize),
    ) {
        let (shape, dim) = (self.shape, self.shape.head_dim);
        let (query, key) = (self.query_head(member), shape.key_head(self.kv_head));
        let (query_at, key_at) = (self.start + first, self.start + tile);
        // In f32 whatever the others are in: less the logarithm of the forward pass's sum, it is an exponent.
        TiledSerial.product(
            weights,
            KEYS,
            rows,
            keys,
            dim,
            query.matrix(self.q, query_at),
            key.transposed(self.k, key_at),
            Start::Zero,
        );
        self.product.product(
            dweights,
            KEYS,
            rows,
            keys,
            dim,
            query.matrix(self.do_, query_at),
            key.transposed(self.v, key_at),
            Start::Zero,
        );
        let lse = Head { width: shape.heads, offset: query.offset / dim }.matrix(self.lse, query_at);
        softmax_gradient(
            weights,
            dweights,
            lse.data,
            shape.heads,
            &delta[first..first + rows],
            keys,
            first as isize - tile as isize,
            shape.scale(),
        );
        self.product.product(
            dv,
            dim,
            keys,
            dim,
            rows,
            Matrix::transposed(weights, KEYS),
            query.matrix(self.do_, query_at),
            Start::Accumulate,
        );
        self.product.product(
            dk,
            dim,
            keys,
            dim,
            rows,
            Matrix::transposed(dweights, KEYS),
            query.matrix(self.q, query_at),
            Start::Accumulate,
        );
        self.product.product(
            &mut dq[first * dim..],
            dim,
            rows,
            dim,
            keys,
            Matrix::new(dweights, KEYS),
            key.matrix(self.k, key_at),
            Start::Accumulate,
        );
    }
}

dispatched! {
    /// Scores → weights p = e^{s − lse}; their gradients dp → those of the scores before scaling, p·(dp −
    /// delta)·scale.
    fn softmax_gradient(weights: &mut [f32], dweights: &mut [f32], lse: &[f32], heads: usize, delta: &[f32], keys: usize, diagonal: isize, scale: f32) {
        let tiles = weights.chunks_exact_mut(KEYS).zip(dweights.chunks_exact_mut(KEYS));
        for (i, ((p, dp), &delta)) in tiles.zip(delta).enumerate() {
            let visible = (i as isize + diagonal + 1).clamp(0, keys as isize) as usize;
            p[visible..keys].fill(0.0);
            dp[visible..keys].fill(0.0);
            let shift = lse[i * heads];
            for (p, dp) in p[..visible].iter_mut().zip(&mut dp[..visible]) {
                *p = exp_bounded(*p * scale - shift);
                *dp = *p * (*dp - delta) * scale;
            }
        }
    }
}

/// The definition: every query against every key before it.
pub fn attention_reference(
    q: &[f64],
    k: &[f64],
    v: &[f64],
    cu_seqlens: &[u32],
    shape: AttentionShape,
) -> Vec<f64> {
    let mut o = vec![0.0; q.len()];
    visit(q, k, cu_seqlens, shape, |query, keys, weights| {
        for (&key, weight) in keys.iter().zip(weights) {
            (0..shape.head_dim).for_each(|c| o[query + c] += weight * v[key + c]);
        }
    });
    o
}

/// Gradients (dq, dk, dv) of the definition.
pub fn attention_backward_reference(
    dy: &[f64],
    q: &[f64],
    k: &[f64],
    v: &[f64],
    cu_seqlens: &[u32],
    shape: AttentionShape,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    let scale = 1.0 / (shape.head_dim as f64).sqrt();
    visit(q, k, cu_seqlens, shape, |query, keys, weights| {
        let dweights: Vec<f64> =
            keys.iter().map(|key| (0..shape.head_dim).map(|c| dy[query + c] * v[key + c]).sum()).collect();
        let mean: f64 = weights.iter().zip(&dweights).map(|(w, d)| w * d).sum();
        for ((&key, weight), dweight) in keys.iter().zip(weights).zip(&dweights) {
            let dscore = weight * (dweight - mean) * scale;
            for c in 0..shape.head_dim {
                dv[key + c] += weight * dy[query + c];
                dq[query + c] += dscore * k[key + c];
                dk[key + c] += dscore * q[query + c];
            }
        }
    });
    (dq, dk, dv)
}

/// Calls `body(offset of the query, offsets of its keys, weights)` for each token and head.
fn visit(
    q: &[f64],
    k: &[f64],
    cu_seqlens: &[u32],
    shape: AttentionShape,
    mut body: impl FnMut(usize, &[usize], &[f64]),
) {
    let dim = shape.head_dim;
    for bounds in cu_seqlens.windows(2) {
        for (token, head) in (bounds[0]..bounds[1]).flat_map(|t| (0..shape.heads).map(move |h| (t, h))) {
            let query = token as usize * shape.query_width() + head * dim;
            let keys: Vec<usize> = (bounds[0]..=token)
                .map(|t| t as usize * shape.key_width() + head / shape.group() * dim)
                .collect();
            let scores: Vec<f64> = keys
                .iter()
                .map(|key| (0..dim).map(|c| q[query + c] * k[key + c]).sum::<f64>() / (dim as f64).sqrt())
                .collect();
            body(query, &keys, &softmax(&scores));
        }
    }
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let top = largest(scores);
    let sum: f64 = scores.iter().map(|s| (s - top).exp()).sum();
    scores.iter().map(|s| (s - top).exp() / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bf16::{Rounded, unit};
    use crate::gemm::Sum;
    use crate::testing::{close, derivative, inner, relative, values, wide};

    const SHAPE: AttentionShape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 6 };

    fn inputs(tokens: usize, shape: AttentionShape) -> [Vec<f32>; 4] {
        let sharp = |x: Vec<f32>| x.iter().map(|v| v * 3.0).collect();
        let (q, kv) = (tokens * shape.query_width(), tokens * shape.key_width());
        [sharp(values(q, 1)), sharp(values(kv, 2)), values(kv, 3), values(q, 4)]
    }

    #[test]
    fn reference_gradient_is_the_derivative() {
        let cu = [0, 3, 4];
        let [q, k, v, dy] = inputs(4, SHAPE).map(|x| wide(&x));
        let (dq, dk, dv) = attention_backward_reference(&dy, &q, &k, &v, &cu, SHAPE);
        derivative("dq", &q, &dq, |q| inner(&attention_reference(q, &k, &v, &cu, SHAPE), &dy));
        derivative("dk", &k, &dk, |k| inner(&attention_reference(&q, k, &v, &cu, SHAPE), &dy));
        derivative("dv", &v, &dv, |v| inner(&attention_reference(&q, &k, v, &cu, SHAPE), &dy));
    }

    /// (dq, dk, dv) by `product`, and by the definition.
    fn both_gradients(shape: AttentionShape, cu: &[u32], product: Product) -> [(Vec<f32>, Vec<f64>); 3] {
        let tokens = cu[cu.len() - 1] as usize;
        let [q, k, v, dy] = inputs(tokens, shape);
        let (mut o, mut lse) = (vec![9.0; q.len()], vec![9.0; tokens * shape.heads]);
        attention(&mut o, &mut lse, &q, &k, &v, cu, shape);
        close("o", &o, &attention_reference(&wide(&q), &wide(&k), &wide(&v), cu, shape));
        let (mut dq, mut dk, mut dv) = (vec![9.0; q.len()], vec![9.0; k.len()], vec![9.0; v.len()]);
        let gradients = (&mut dq[..], &mut dk[..], &mut dv[..]);
        attention_backward(gradients, &dy, &o, &lse, (&q, &k, &v), cu, shape, product);
        let expected = attention_backward_reference(&wide(&dy), &wide(&q), &wide(&k), &wide(&v), cu, shape);
        [(dq, expected.0), (dk, expected.1), (dv, expected.2)]
    }

    #[test]
    fn follows_the_reference_across_tiles_and_sequences() {
        for shape in [SHAPE, AttentionShape { heads: 3, kv_heads: 3, head_dim: 16 }] {
            let cu = [0, 1, 66, 66, 266, 331];
            for (name, (got, expected)) in
                ["dq", "dk", "dv"].iter().zip(both_gradients(shape, &cu, Sum::Chain.into()))
            {
                close(name, &got, &expected);
            }
        }
    }

    #[test]
    fn gradients_by_rounded_products_are_near_those_by_others() {
        let Some(unit) = unit() else {
            return eprintln!("this machine has no unit for bf16: nothing is held");
        };
        let shape = AttentionShape { heads: 4, kv_heads: 2, head_dim: 32 };
        let both = both_gradients(shape, &[0, 70, 200], Product::Rounded(Rounded(unit)));
        for (name, (got, expected)) in ["dq", "dk", "dv"].iter().zip(both) {
            let error = relative(&got, &expected);
            // Each operand is off by up to 2^-9 of itself, and the score's gradient is a difference of two products. Not
            // rounded at all, the error is below 2e-6.
            assert!((1e-4..1e-2).contains(&error), "{name}: relative error {error}");
        }
    }

    #[test]
    fn a_sequence_does_not_depend_on_those_beside_it() {
        let tokens = 150;
        let [q, k, v, _] = inputs(tokens, SHAPE);
        let run = |cu: &[u32], from: usize| {
            let (qw, kw) = (SHAPE.query_width(), SHAPE.key_width());
            let mut o = vec![0.0; (tokens - from) * qw];
            let mut lse = vec![0.0; (tokens - from) * SHAPE.heads];
            attention(&mut o, &mut lse, &q[from * qw..], &k[from * kw..], &v[from * kw..], cu, SHAPE);
            o
        };
        assert_eq!(run(&[0, 70, 150], 0)[70 * SHAPE.query_width()..], run(&[0, 80], 70));
    }
}
