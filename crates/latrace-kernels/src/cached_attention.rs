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
use crate::simd::prefetch;

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
    // A token's heads together read whole blocks in the order of memory; apart, they are more tasks to share.
    let heads_together = if tasks.len() >= 4 * rayon::current_num_threads() { shape.kv_heads } else { 1 };
    let parts = shape.kv_heads.div_ceil(heads_together);
    for_each(tasks.len() * parts, |task| {
        let (span, first) = (tasks[task / parts], task % parts * heads_together);
        let tile = QueryTile { span, blocks: &blocks[span.blocks..], shape };
        if span.rows == 1 {
            // One token's heads lie side by side and see the same keys: they are the rows of one tile.
            tile.attend(o, q, cache, first..first + heads_together, 0);
            return;
        }
        for head in first..first + heads_together {
            (0..shape.group()).for_each(|member| tile.attend(o, q, cache, head..head + 1, member));
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

/// Queries of one span.
struct QueryTile<'a> {
    span: CacheSpan,
    blocks: &'a [u32],
    shape: AttentionShape,
}

/// What a key head's queries have come to so far.
struct Partial<'a> {
    scores: &'a mut [f32],
    output: &'a mut [f32],
    top: &'a mut [f32],
    sum: &'a mut [f32],
}

impl QueryTile<'_> {
    /// Rows of a key head, the distance between them in q and o, and by how many positions each is after the one before.
    fn rows(&self) -> (usize, usize, usize) {
        if self.span.rows == 1 { (self.shape.group(), self.shape.head_dim, 0) } else { (self.span.rows, self.shape.query_width(), 1) }
    }

    fn attend(&self, o: Shared, q: &[f32], cache: [&[f32]; 2], heads: std::ops::Range<usize>, member: usize) {
        let (width, (rows, _, step)) = (value_width(self.shape.head_dim), self.rows());
        let (score_length, output_length) = (rows * KEYS, rows * width);
        with_scratch(&SCRATCH, heads.len() * (score_length + output_length + 2 * rows), |scratch| {
            let mut partials: Vec<Partial<'_>> = scratch
                .chunks_exact_mut(score_length + output_length + 2 * rows)
                .map(|part| {
                    let (scores, rest) = part.split_at_mut(score_length);
                    let (output, statistics) = rest.split_at_mut(output_length);
                    let (top, sum) = statistics.split_at_mut(rows);
                    top.fill(f32::NEG_INFINITY);
                    sum.fill(0.0);
                    output.fill(0.0);
                    Partial { scores, output, top, sum }
                })
                .collect();
            let end = self.span.position + (rows - 1) * step + 1;
            for tile in (0..end).step_by(KEYS) {
                // All heads' keys, then all heads' values: that is how they lie in a block.
                let block = self.blocks[tile / KEYS] as usize;
                prefetch(&cache[1][block * block_lengths(self.shape).1 + heads.start * width * KEYS..], width * KEYS);
                for (head, partial) in heads.clone().zip(&mut partials) {
                    self.weigh(partial, q, cache[0], head, member, tile, KEYS.min(end - tile));
                }
                if tile + KEYS < end {
                    let block = self.blocks[tile / KEYS + 1] as usize;
                    prefetch(&cache[0][block * block_lengths(self.shape).0 + heads.start * self.shape.head_dim * KEYS..], self.shape.head_dim * KEYS);
                }
                for (head, partial) in heads.clone().zip(&mut partials) {
                    self.add_values(partial, cache[1], head, tile, KEYS.min(end - tile));
                }
            }
            for (head, partial) in heads.clone().zip(partials) {
                self.write(partial, o, head, member);
            }
        });
    }

    /// Where the first row is, in q and o.
    fn origin(&self, head: usize, member: usize) -> usize {
        self.span.row * self.shape.query_width() + (head * self.shape.group() + member) * self.shape.head_dim
    }

    /// Scores of a tile of keys, turned into weights.
    fn weigh(&self, partial: &mut Partial<'_>, q: &[f32], keys: &[f32], head: usize, member: usize, tile: usize, count: usize) {
        let (dim, (rows, stride, step)) = (self.shape.head_dim, self.rows());
        let width = value_width(dim);
        let block = self.blocks[tile / KEYS] as usize;
        let at = block * block_lengths(self.shape).0 + head * dim * KEYS;
        let key = &keys[at..][..dim * KEYS];
        prefetch(&keys[at + dim * KEYS..], dim * KEYS);
        multiply(partial.scores, KEYS, count, [rows, dim], &q[self.origin(head, member)..], stride, key, KEYS, true);
        for i in 0..rows {
            let diagonal = (self.span.position + i * step) as isize - tile as isize;
            let (scores, output) = (&mut partial.scores[i * KEYS..][..KEYS], &mut partial.output[i * width..][..dim]);
            online_softmax(scores, &mut partial.top[i..=i], &mut partial.sum[i..=i], output, 1, count, diagonal, self.shape.scale());
        }
    }

    /// Weighted values of a tile of keys.
    fn add_values(&self, partial: &mut Partial<'_>, values: &[f32], head: usize, tile: usize, count: usize) {
        let (dim, (rows, ..)) = (self.shape.head_dim, self.rows());
        let width = value_width(dim);
        let block = self.blocks[tile / KEYS] as usize;
        let at = block * block_lengths(self.shape).1 + head * width * KEYS;
        let value = &values[at..][..width * KEYS];
        prefetch(&values[at + width * KEYS..], width * KEYS);
        multiply(partial.output, width, dim, [rows, count], partial.scores, KEYS, value, width, false);
    }

    fn write(&self, partial: Partial<'_>, o: Shared, head: usize, member: usize) {
        let (dim, (rows, stride, _)) = (self.shape.head_dim, self.rows());
        for i in 0..rows {
            let row = &mut partial.output[i * value_width(dim)..][..dim];
            normalise(row, &partial.sum[i..=i], dim);
            // SAFETY: each (token, head) belongs to one task.
            unsafe { o.part(self.origin(head, member) + i * stride, dim) }.copy_from_slice(row);
        }
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
            unsafe { tiles[rows - 1](k, a.as_ptr(), [a_row, 1], b.as_ptr(), b_row, c.as_mut_ptr(), ldc, zero, b.as_ptr()) };
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
