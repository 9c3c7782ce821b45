//! Attention of new tokens over keys and values kept from before, in blocks: the attention of sampling.
//!
//! A block holds [`CACHE_BLOCK`] tokens, which is also a key tile of [`crate::attention`], and tiles are visited in the same order with the same
//! operations. A token's result is therefore, bit for bit, the one that scoring the whole sequence gives.
//!
//! Layout of a cache, for each block and key head: keys as `[value][token]`, ready to be multiplied; values as `[token][value]`, padded to
//! a multiple of a panel's width.

use crate::AttentionShape;
use crate::attention::{KEYS, normalise, online_softmax};
use crate::gemm::{Tile, tiles, with_panel};
use crate::parallel::{Scratch, Shared, for_each, with_scratch};

/// Tokens in a block of the cache.
pub const CACHE_BLOCK: usize = KEYS;

/// New tokens of one sequence, in consecutive rows at consecutive positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSpan {
    /// The first token's row.
    pub row: usize,
    /// Tokens.
    pub rows: usize,
    /// The first token's position in its sequence.
    pub position: usize,
    /// Where the sequence's blocks begin in the list of blocks.
    pub blocks: usize,
}

/// Most queries in one task.
const QUERIES: usize = 64;

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new(Vec::new()) };
}

/// The padded width of a value row: every panel is whole.
fn value_width(head_dim: usize) -> usize {
    // Of the widest panel, so that a cache's size does not depend on the processor.
    head_dim.next_multiple_of(32)
}

/// Values of one block's (keys, values).
pub(crate) fn block_lengths(shape: AttentionShape) -> (usize, usize) {
    (shape.kv_heads * shape.head_dim * KEYS, shape.kv_heads * value_width(shape.head_dim) * KEYS)
}

/// Puts the keys and values of the spans' tokens into their blocks.
///
/// # Shapes
/// `k`, `v`: rows×(kv_heads·head_dim).
pub(crate) fn store(cache: [&mut [f32]; 2], k: &[f32], v: &[f32], spans: &[CacheSpan], blocks: &[u32], shape: AttentionShape) {
    let [keys, values] = cache.map(Shared::new);
    let (dim, width, (key_block, value_block)) = (shape.head_dim, value_width(shape.head_dim), block_lengths(shape));
    for_each(spans.len(), |span| {
        let span = spans[span];
        for i in 0..span.rows {
            let (block, slot) = (blocks[span.blocks + (span.position + i) / KEYS] as usize, (span.position + i) % KEYS);
            for head in 0..shape.kv_heads {
                let from = (span.row + i) * shape.key_width() + head * dim;
                for (p, &value) in k[from..][..dim].iter().enumerate() {
                    // SAFETY: no two tokens have the same place.
                    unsafe { *keys.at(block * key_block + (head * dim + p) * KEYS + slot) = value };
                }
                // SAFETY: as above.
                unsafe { values.part(block * value_block + (head * KEYS + slot) * width, dim) }.copy_from_slice(&v[from..][..dim]);
            }
        }
    });
}

/// Copies a block's contents to another.
pub(crate) fn copy_block(cache: [&mut [f32]; 2], from: usize, to: usize, shape: AttentionShape) {
    let (key_block, value_block) = block_lengths(shape);
    for (cache, length) in cache.into_iter().zip([key_block, value_block]) {
        cache.copy_within(from * length..(from + 1) * length, to * length);
    }
}

/// o_i = Σ_{j ≤ i} softmax_j(q_i·k_j / √head_dim) v_j over the cached keys of each span's sequence, its own among them.
///
/// # Shapes
/// `o`, `q`: rows×(heads·head_dim).
pub(crate) fn cached_attention(o: &mut [f32], q: &[f32], cache: [&[f32]; 2], spans: &[CacheSpan], blocks: &[u32], shape: AttentionShape) {
    let o = Shared::new(o);
    let mut tasks: Vec<CacheSpan> = spans.iter().flat_map(|span| query_tiles(*span)).collect();
    // The longest first, so that all threads finish together.
    tasks.sort_by_key(|task| std::cmp::Reverse(task.position + task.rows));
    for_each(tasks.len() * shape.kv_heads, |task| {
        let (span, head) = (tasks[task / shape.kv_heads], task % shape.kv_heads);
        let tile = QueryTile { span, blocks: &blocks[span.blocks..], head, shape };
        // One token's heads lie side by side and see the same keys: they are the rows of one tile.
        let passes = if span.rows == 1 { 1 } else { shape.group() };
        for member in 0..passes {
            tile.attend(o, q, cache, member);
        }
    });
}

fn query_tiles(span: CacheSpan) -> impl Iterator<Item = CacheSpan> {
    (0..span.rows).step_by(QUERIES).map(move |first| CacheSpan {
        row: span.row + first,
        rows: QUERIES.min(span.rows - first),
        position: span.position + first,
        ..span
    })
}

/// Queries of one span and one key head.
struct QueryTile<'a> {
    span: CacheSpan,
    blocks: &'a [u32],
    head: usize,
    shape: AttentionShape,
}

impl QueryTile<'_> {
    /// Rows of the tile, the distance between them in q and o, and by how many positions each is after the one before.
    fn rows(&self) -> (usize, usize, usize) {
        if self.span.rows == 1 { (self.shape.group(), self.shape.head_dim, 0) } else { (self.span.rows, self.shape.query_width(), 1) }
    }

    fn attend(&self, o: Shared, q: &[f32], [keys, values]: [&[f32]; 2], member: usize) {
        let (dim, width) = (self.shape.head_dim, value_width(self.shape.head_dim));
        let (rows, stride, step) = self.rows();
        let first = self.span.row * self.shape.query_width() + (self.head * self.shape.group() + member) * dim;
        let (key_block, value_block) = block_lengths(self.shape);
        with_scratch(&SCRATCH, rows * (KEYS + width + 2), |scratch| {
            let (scores, rest) = scratch.split_at_mut(rows * KEYS);
            let (output, statistics) = rest.split_at_mut(rows * width);
            let (top, sum) = statistics.split_at_mut(rows);
            top.fill(f32::NEG_INFINITY);
            sum.fill(0.0);
            output.fill(0.0);
            let end = self.span.position + (rows - 1) * step + 1;
            for tile in (0..end).step_by(KEYS) {
                let count = KEYS.min(end - tile);
                let block = self.blocks[tile / KEYS] as usize;
                let key = &keys[block * key_block + self.head * dim * KEYS..][..dim * KEYS];
                multiply(scores, KEYS, count, [rows, dim], &q[first..], stride, key, KEYS, true);
                for i in 0..rows {
                    let diagonal = (self.span.position + i * step) as isize - tile as isize;
                    let (score, output) = (&mut scores[i * KEYS..][..KEYS], &mut output[i * width..][..dim]);
                    online_softmax(score, &mut top[i..=i], &mut sum[i..=i], output, 1, count, diagonal, self.shape.scale());
                }
                let value = &values[block * value_block + self.head * width * KEYS..][..width * KEYS];
                multiply(output, width, dim, [rows, count], scores, KEYS, value, width, false);
            }
            for i in 0..rows {
                let row = &mut output[i * width..][..dim];
                normalise(row, &sum[i..=i], dim);
                // SAFETY: each (token, head) belongs to one task.
                unsafe { o.part(first + i * stride, dim) }.copy_from_slice(row);
            }
        });
    }
}

/// C (+)= A·B in whole panels of columns, at least the first `columns`; B's rows are `b_row` ≥ them apart.
fn multiply(c: &mut [f32], ldc: usize, columns: usize, [m, k]: [usize; 2], a: &[f32], a_row: usize, b: &[f32], b_row: usize, zero: bool) {
    with_panel!(NR => multiply_panels::<NR>(c, ldc, columns, [m, k], a, a_row, b, b_row, zero, tiles()));
}

fn multiply_panels<const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    columns: usize,
    [m, k]: [usize; 2],
    a: &[f32],
    a_row: usize,
    b: &[f32],
    b_row: usize,
    zero: bool,
    tiles: &[Tile],
) {
    for i in (0..m).step_by(tiles.len()) {
        let rows = tiles.len().min(m - i);
        let a = &a[i * a_row..][..(rows - 1) * a_row + k];
        for j in (0..columns).step_by(NR) {
            let (b, c) = (&b[j..][..(k - 1) * b_row + NR], &mut c[i * ldc + j..][..(rows - 1) * ldc + NR]);
            // SAFETY: A's rows, B's k rows and C's tile lie within the slices above.
            unsafe { tiles[rows - 1](k, a.as_ptr(), [a_row, 1], b.as_ptr(), b_row, c.as_mut_ptr(), ldc, zero) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::attention;
    use crate::testing::values;

    /// Two sequences through the cache in `steps`, against attention over whole sequences.
    fn check(shape: AttentionShape, lengths: [usize; 2], chunk: usize) {
        let tokens = lengths[0] + lengths[1];
        let (q, k, v) = (values(tokens * shape.query_width(), 1), values(tokens * shape.key_width(), 2), values(tokens * shape.key_width(), 3));
        let (mut expected, mut lse) = (vec![0.0; q.len()], vec![0.0; tokens * shape.heads]);
        attention(&mut expected, &mut lse, &q, &k, &v, &[0, lengths[0] as u32, tokens as u32], shape);
        // Blocks of the two sequences alternate, and what is not written is not a number.
        let blocks: Vec<u32> = (0..2).flat_map(|s| (0..20).map(move |i| 2 * i + s)).collect();
        let (key_block, value_block) = block_lengths(shape);
        let (mut keys, mut cached) = (vec![f32::NAN; 40 * key_block], vec![f32::NAN; 40 * value_block]);
        let mut got = vec![0.0; q.len()];
        for first in (0..lengths[0].max(lengths[1])).step_by(chunk) {
            let spans: Vec<CacheSpan> = [(0, 0), (lengths[0], 20)]
                .into_iter()
                .zip(lengths)
                .filter(|(_, length)| first < *length)
                .map(|((row, blocks), length)| CacheSpan { row: row + first, rows: chunk.min(length - first), position: first, blocks })
                .collect();
            store([&mut keys, &mut cached], &k, &v, &spans, &blocks, shape);
            cached_attention(&mut got, &q, [&keys, &cached], &spans, &blocks, shape);
        }
        assert!(got == expected, "{shape:?}, {lengths:?} in steps of {chunk}");
    }

    #[test]
    fn is_bitwise_the_attention_of_whole_sequences() {
        for (heads, kv_heads, head_dim) in [(4, 2, 32), (2, 2, 20), (6, 1, 48)] {
            let shape = AttentionShape { heads, kv_heads, head_dim };
            for chunk in [1, 7, 64, 100] {
                check(shape, [150, 70], chunk);
            }
        }
    }
}
