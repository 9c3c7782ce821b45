//! Attention of new tokens over keys and values kept from before, in blocks: the attention of sampling.
//!
//! A block holds [`CACHE_BLOCK`] tokens, which is also a key tile of [`crate::attention`], and tiles are
//! visited in the same order with the same operations. A token's result is therefore, bit for bit, the one
//! that scoring the whole sequence gives. The query heads that share a key head are multiplied together, and
//! so are sequences that begin with the same blocks.
//!
//! Layout of a cache, for each block and key head: keys as `[panel][value][token]`, ready to be multiplied;
//! values as `[token][value]`, padded to a multiple of a panel's width. Of a cache in bf16, a word holds a pair
//! ([`crate::tile::of_pair`]): two values of a key, or a value of two tokens.

use crate::AttentionShape;
use crate::attention::{KEYS, Sight, normalise, online_softmax};
use crate::buffer::Buffer;
use crate::gemm::Sum;
use crate::packed::steps;
use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::tile::{Ahead, Tile, pair, tiles, tiles_of_pairs, with_panel};
use half::bf16;
use std::cmp::Reverse;
use std::ops::Range;

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

impl CacheSpan {
    /// Tokens that the last of the span sees, itself among them.
    fn end(self) -> usize {
        self.position + self.rows
    }
}

/// Most queries of a key head in one task.
const QUERIES: usize = 64;
/// Up to this many queries, a task interleaves all key heads, in the order of memory; with more, one head's
/// queries already fill the first-level cache.
const FEW: usize = 8;

thread_local! {
    static SCRATCH: Scratch = const { Scratch::new(Buffer::new()) };
}

/// The padded width of a value row: every panel is whole.
fn value_width(head_dim: usize) -> usize {
    // Of the widest panel, so that a cache's size does not depend on the processor.
    head_dim.next_multiple_of(32)
}

/// How a cache is laid out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheLayout {
    pub shape: AttentionShape,
    /// Whether it is in bf16.
    pub are_pairs: bool,
}

impl CacheLayout {
    /// Words of one head's (keys, values) in a block.
    fn head_lengths(self) -> (usize, usize) {
        let Self { shape, are_pairs } = self;
        (steps(shape.head_dim, are_pairs) * KEYS, value_width(shape.head_dim) * steps(KEYS, are_pairs))
    }

    /// Words of one block's (keys, values).
    pub fn block_lengths(self) -> (usize, usize) {
        let (keys, values) = self.head_lengths();
        (self.shape.kv_heads * keys, self.shape.kv_heads * values)
    }
}

fn panel_width() -> usize {
    with_panel!(NR => NR)
}

/// Puts the keys and values of the spans' tokens into their blocks.
///
/// # Shapes
/// `k`, `v`: rows×(kv_heads·head_dim).
pub(crate) fn store(
    cache: [&mut [f32]; 2],
    k: &[f32],
    v: &[f32],
    spans: &[CacheSpan],
    blocks: &[u32],
    layout: CacheLayout,
) {
    let cache = cache.map(Shared::new);
    let CacheLayout { shape, are_pairs } = layout;
    let (dim, (key_head, value_head)) = (shape.head_dim, layout.head_lengths());
    for_each(spans.len(), |span| {
        let span = spans[span];
        for i in 0..span.rows {
            let (block, slot) =
                (blocks[span.blocks + (span.position + i) / KEYS] as usize, (span.position + i) % KEYS);
            for head in 0..shape.kv_heads {
                let from = (span.row + i) * shape.key_width() + head * dim;
                let (k, v) = (&k[from..][..dim], &v[from..][..dim]);
                let at = block * shape.kv_heads + head;
                let places = [at * key_head, at * value_head];
                if are_pairs {
                    store_pairs(cache, places, slot, k, v)
                } else {
                    store_wide(cache, places, slot, k, v)
                }
            }
        }
    });
}

/// One token's key and value of a head, whose parts of the cache begin at `places`.
fn store_wide([keys, values]: [Shared; 2], places: [usize; 2], slot: usize, k: &[f32], v: &[f32]) {
    let (panel, dim) = (panel_width(), k.len());
    let place = places[0] + slot / panel * panel * dim + slot % panel;
    for (p, &value) in k.iter().enumerate() {
        // SAFETY: no two tokens have the same place.
        unsafe { *keys.at(place + p * panel) = value };
    }
    // SAFETY: as above.
    unsafe { values.part(places[1] + slot * value_width(dim), dim) }.copy_from_slice(v);
}

/// As [`store_wide`], in bf16.
fn store_pairs([keys, values]: [Shared; 2], places: [usize; 2], slot: usize, k: &[f32], v: &[f32]) {
    let (panel, dim) = (panel_width(), k.len());
    let place = places[0] + slot / panel * panel * steps(dim, true) + slot % panel;
    for (p, two) in k.chunks(2).enumerate() {
        let second = two.get(1).map_or(bf16::ZERO, |value| bf16::from_f32(*value));
        // SAFETY: no two tokens have the same place.
        unsafe { *keys.at(place + p * panel) = pair(bf16::from_f32(two[0]), second) };
    }
    let place = places[1] + slot / 2 * value_width(dim);
    for (c, value) in v.iter().enumerate() {
        let word = values.at(place + c).cast::<u16>();
        // SAFETY: a word has two halves, of which the lower one lies first on every target, and each belongs to one token.
        unsafe { *word.add(slot % 2) = bf16::from_f32(*value).to_bits() };
    }
}

/// Copies a block's contents to another.
pub(crate) fn copy_block(cache: [&mut [f32]; 2], from: usize, to: usize, layout: CacheLayout) {
    let (key_block, value_block) = layout.block_lengths();
    // Whole blocks, full or not: a block of keys interleaves its tokens, so a part is not contiguous.
    for (cache, length) in cache.into_iter().zip([key_block, value_block]) {
        cache.copy_within(from * length..(from + 1) * length, to * length);
    }
}

/// o_i = Σ_{j ≤ i} softmax_j(q_i·k_j / √head_dim) v_j over the cached keys of each span's sequence, its own
/// among them.
///
/// # Shapes
/// `o`, `q`: rows×(heads·head_dim).
pub(crate) fn cached_attention(
    o: &mut [f32],
    q: &[f32],
    cache: [&[f32]; 2],
    spans: &[CacheSpan],
    blocks: &[u32],
    layout: CacheLayout,
) {
    let (o, shape) = (Shared::new(o), layout.shape);
    let (tiles, mut bundles) = bundle(spans, blocks, (QUERIES / shape.group()).max(1));
    // The longest first, so that all threads finish together.
    bundles.sort_by_key(|bundle| Reverse(bundle.work(&tiles)));
    // A task for each key head, where there are too few bundles to share out.
    let parts = if bundles.len() >= 4 * rayon::current_num_threads() { 1 } else { shape.kv_heads };
    for_each(bundles.len() * parts, |task| {
        let bundle = &bundles[task / parts];
        let queries =
            Queries { spans: &tiles[bundle.spans.clone()], shared: bundle.shared, blocks, cache, layout };
        let all = shape.kv_heads / parts;
        let together = if queries.rows() <= FEW { all } else { 1 };
        for head in (task % parts * all..(task % parts + 1) * all).step_by(together) {
            queries.attend(o, q, head..head + together);
        }
    });
}

/// Spans whose sequences have their first `shared` blocks in common.
#[derive(Debug, PartialEq)]
struct Bundle {
    spans: Range<usize>,
    shared: usize,
}

impl Bundle {
    /// Pairs of queries and keys, about.
    fn work(&self, tiles: &[CacheSpan]) -> usize {
        tiles[self.spans.clone()].iter().map(|span| span.rows * span.end()).sum()
    }
}

/// Spans in pieces of at most `most` tokens, and which of the pieces are computed together: consecutive single
/// tokens whose sequences are equal over at least half of their length.
fn bundle(spans: &[CacheSpan], blocks: &[u32], most: usize) -> (Vec<CacheSpan>, Vec<Bundle>) {
    let (mut tiles, mut bundles) = (Vec::<CacheSpan>::with_capacity(spans.len()), Vec::<Bundle>::new());
    for span in spans {
        // Full blocks that the token sees, itself in none of them.
        let full = &blocks[span.blocks..][..span.position / KEYS];
        if span.rows == 1
            && let Some(last) = bundles.last_mut()
            && last.spans.len() < most
            && let CacheSpan { rows: 1, blocks: first, .. } = tiles[last.spans.start]
        {
            let common = full.iter().zip(&blocks[first..][..last.shared]).take_while(|(a, b)| a == b).count();
            if common > 0 && 2 * common >= full.len().max(last.shared) {
                last.shared = common;
                last.spans.end += 1;
                tiles.push(*span);
                continue;
            }
        }
        for first in (0..span.rows).step_by(most) {
            let rows = most.min(span.rows - first);
            bundles.push(Bundle {
                spans: tiles.len()..tiles.len() + 1,
                shared: if span.rows == 1 { full.len() } else { 0 },
            });
            tiles.push(CacheSpan { row: span.row + first, rows, position: span.position + first, ..*span });
        }
    }
    (tiles, bundles)
}

/// The queries of a bundle: span by span, token by token, and for each token the heads of a key head's group.
struct Queries<'a> {
    spans: &'a [CacheSpan],
    shared: usize,
    blocks: &'a [u32],
    cache: [&'a [f32]; 2],
    layout: CacheLayout,
}

/// The running state of one key head's queries.
struct Partial<'a> {
    queries: &'a mut [f32],
    scores: &'a mut [f32],
    output: &'a mut [f32],
    top: &'a mut [f32],
    sum: &'a mut [f32],
}

/// Which of a bundle's rows visit which block.
#[derive(Clone, Copy)]
struct Visit<'a> {
    first: usize,
    rows: usize,
    sight: Sight,
    block: u32,
    /// The blocks after it, if any.
    rest: &'a [u32],
}

/// Which half of a block.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Keys,
    Values,
}

impl Queries<'_> {
    fn rows(&self) -> usize {
        self.spans.iter().map(|span| span.rows).sum::<usize>() * self.layout.shape.group()
    }

    fn attend(&self, o: Shared, q: &[f32], heads: Range<usize>) {
        let (rows, dim, width) =
            (self.rows(), self.layout.shape.head_dim, value_width(self.layout.shape.head_dim));
        let length = rows * (dim + KEYS + width + 2);
        with_scratch(&SCRATCH, heads.len() * length, |scratch| {
            let mut partials: Vec<Partial<'_>> =
                scratch.chunks_exact_mut(length).map(|part| Partial::new(part, rows, dim, width)).collect();
            for (head, partial) in heads.clone().zip(&mut partials) {
                self.for_each_row(head, |row, at| {
                    partial.queries[row * dim..][..dim].copy_from_slice(&q[at..][..dim])
                });
            }
            self.for_each_visit(rows, |visit| {
                // All heads' keys, then all heads' values, in the order of memory within a block.
                for (head, partial) in heads.clone().zip(&mut partials) {
                    self.weigh(partial, visit, head, self.next(visit, Half::Keys, head, &heads));
                }
                for (head, partial) in heads.clone().zip(&mut partials) {
                    self.add_values(partial, visit, head, self.next(visit, Half::Values, head, &heads));
                }
            });
            for (head, partial) in heads.clone().zip(partials) {
                self.for_each_row(head, |row, at| {
                    let output = &mut partial.output[row * width..][..dim];
                    normalise(output, &partial.sum[row..=row], dim);
                    // SAFETY: each (token, head) belongs to one task.
                    unsafe { o.part(at, dim) }.copy_from_slice(output);
                });
            }
        });
    }

    /// Calls `body(row, where its values are in q and o)`.
    fn for_each_row(&self, head: usize, mut body: impl FnMut(usize, usize)) {
        let group = self.layout.shape.group();
        let mut row = 0;
        for token in self.spans.iter().flat_map(|span| span.row..span.row + span.rows) {
            for member in 0..group {
                body(
                    row,
                    token * self.layout.shape.query_width()
                        + (head * group + member) * self.layout.shape.head_dim,
                );
                row += 1;
            }
        }
    }

    /// The blocks in the order of each sequence: first those in common, then each span's own.
    fn for_each_visit(&self, rows: usize, mut body: impl FnMut(Visit<'_>)) {
        let group = self.layout.shape.group();
        let common = &self.blocks[self.spans[0].blocks..][..self.shared];
        // Every row sees all of a common block: it lies before all of the bundle's tokens.
        let sight = Sight { keys: KEYS, diagonal: KEYS as isize - 1, group };
        for (i, &block) in common.iter().enumerate() {
            body(Visit { first: 0, rows, sight, block, rest: &common[i + 1..] });
        }
        let mut first = 0;
        for span in self.spans {
            let blocks = &self.blocks[span.blocks..][..span.end().div_ceil(KEYS)];
            for (i, &block) in blocks.iter().enumerate().skip(self.shared) {
                let start = i * KEYS;
                let sight = Sight {
                    keys: KEYS.min(span.end() - start),
                    diagonal: span.position as isize - start as isize,
                    group,
                };
                body(Visit { first, rows: span.rows * group, sight, block, rest: &blocks[i + 1..] });
            }
            first += span.rows * group;
        }
    }

    /// A head's part of a block.
    fn part(&self, half: Half, block: u32, head: usize) -> &[f32] {
        let lengths = self.layout.head_lengths();
        let (cache, length) =
            if half == Half::Keys { (self.cache[0], lengths.0) } else { (self.cache[1], lengths.1) };
        &cache[(block as usize * self.layout.shape.kv_heads + head) * length..][..length]
    }

    /// The memory read after a head's half of a block, to be prefetched meanwhile.
    fn next(&self, visit: Visit<'_>, half: Half, head: usize, heads: &Range<usize>) -> *const f32 {
        if head + 1 < heads.end {
            self.part(half, visit.block, head + 1).as_ptr()
        } else if half == Half::Keys {
            self.part(Half::Values, visit.block, heads.start).as_ptr()
        } else {
            // After the last block, its own keys: they are in a cache already, so prefetching them costs least.
            let block = visit.rest.first().unwrap_or(&visit.block);
            self.part(Half::Keys, *block, heads.start).as_ptr()
        }
    }

    /// Scores of a block's keys, turned into weights.
    fn weigh(&self, partial: &mut Partial<'_>, visit: Visit<'_>, head: usize, ahead: *const f32) {
        let Visit { first, rows, sight, .. } = visit;
        let (dim, width) = (self.layout.shape.head_dim, value_width(self.layout.shape.head_dim));
        let scores = &mut partial.scores[first * KEYS..][..rows * KEYS];
        let keys = Panels {
            data: self.part(Half::Keys, visit.block, head),
            panel: panel_width() * steps(dim, self.layout.are_pairs),
            row: panel_width(),
            are_pairs: self.layout.are_pairs,
        };
        multiply(
            scores,
            KEYS,
            sight.keys,
            [rows, dim],
            &partial.queries[first * dim..],
            dim,
            keys,
            true,
            ahead,
        );
        let (top, sum) = (&mut partial.top[first..][..rows], &mut partial.sum[first..][..rows]);
        online_softmax(
            scores,
            top,
            sum,
            &mut partial.output[first * width..],
            width,
            dim,
            sight,
            self.layout.shape.scale(),
        );
    }

    /// Weighted values of a block.
    fn add_values(&self, partial: &mut Partial<'_>, visit: Visit<'_>, head: usize, ahead: *const f32) {
        let Visit { first, rows, sight, .. } = visit;
        let (dim, width) = (self.layout.shape.head_dim, value_width(self.layout.shape.head_dim));
        let values = Panels {
            data: self.part(Half::Values, visit.block, head),
            panel: panel_width(),
            row: width,
            are_pairs: self.layout.are_pairs,
        };
        multiply(
            &mut partial.output[first * width..],
            width,
            dim,
            [rows, sight.keys],
            &partial.scores[first * KEYS..],
            KEYS,
            values,
            false,
            ahead,
        );
    }
}

impl<'a> Partial<'a> {
    fn new(memory: &'a mut [f32], rows: usize, dim: usize, width: usize) -> Self {
        let (queries, rest) = memory.split_at_mut(rows * dim);
        let (scores, rest) = rest.split_at_mut(rows * KEYS);
        let (output, statistics) = rest.split_at_mut(rows * width);
        let (top, sum) = statistics.split_at_mut(rows);
        // Scratch holds the values of earlier tasks.
        top.fill(f32::NEG_INFINITY);
        sum.fill(0.0);
        output.fill(0.0);
        Self { queries, scores, output, top, sum }
    }
}

/// B as panels of columns: where they begin, and how far apart they and their rows are.
#[derive(Clone, Copy)]
struct Panels<'a> {
    data: &'a [f32],
    panel: usize,
    row: usize,
    /// Whether a row is of two steps, in bf16.
    are_pairs: bool,
}

/// C (+)= A·B in whole panels of columns, at least the first `columns`; as much is prefetched from `ahead` on,
/// in the layout of B.
fn multiply(
    c: &mut [f32],
    ldc: usize,
    columns: usize,
    [m, k]: [usize; 2],
    a: &[f32],
    a_row: usize,
    b: Panels<'_>,
    zero: bool,
    ahead: *const f32,
) {
    let tiles = if b.are_pairs { tiles_of_pairs(Sum::Chain) } else { tiles(Sum::Chain) };
    with_panel!(NR => multiply_panels::<NR>(c, ldc, columns, [m, k], a, a_row, b, zero, ahead, tiles));
}

fn multiply_panels<const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    columns: usize,
    [m, k]: [usize; 2],
    a: &[f32],
    a_row: usize,
    b: Panels<'_>,
    zero: bool,
    ahead: *const f32,
    tiles: &[Tile],
) {
    for i in (0..m).step_by(tiles.len()) {
        let rows = tiles.len().min(m - i);
        let a = &a[i * a_row..][..(rows - 1) * a_row + k];
        for j in 0..columns.div_ceil(NR) {
            let data = &b.data[j * b.panel..][..(steps(k, b.are_pairs) - 1) * b.row + NR];
            let c = &mut c[i * ldc + j * NR..][..(rows - 1) * ldc + NR];
            // SAFETY: A's rows, B's k rows and C's tile lie within the slices above.
            unsafe {
                tiles[rows - 1](
                    k,
                    a.as_ptr(),
                    [a_row, 1],
                    data.as_ptr(),
                    b.row,
                    c.as_mut_ptr(),
                    ldc,
                    zero,
                    Ahead::panel(ahead.wrapping_add(j * b.panel), b.row),
                )
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::attention;
    use crate::element::round;
    use crate::testing::values;

    /// Two sequences through the cache in `steps`, against attention over whole sequences.
    fn check(shape: AttentionShape, lengths: [usize; 2], chunk: usize) {
        [false, true]
            .into_iter()
            .for_each(|are_pairs| check_layout(CacheLayout { shape, are_pairs }, lengths, chunk));
    }

    /// What a cache in bf16 holds of keys and values, if it is one.
    fn held(mut values: Vec<f32>, layout: CacheLayout) -> Vec<f32> {
        if layout.are_pairs {
            round(&mut values);
        }
        values
    }

    fn check_layout(layout: CacheLayout, lengths: [usize; 2], chunk: usize) {
        let shape = layout.shape;
        let tokens = lengths[0] + lengths[1];
        let (q, k, v) = (
            values(tokens * shape.query_width(), 1),
            held(values(tokens * shape.key_width(), 2), layout),
            held(values(tokens * shape.key_width(), 3), layout),
        );
        let (mut expected, mut lse) = (vec![0.0; q.len()], vec![0.0; tokens * shape.heads]);
        attention(&mut expected, &mut lse, &q, &k, &v, &[0, lengths[0] as u32, tokens as u32], shape);
        // Blocks of the two sequences alternate, and what is not written is not a number.
        let blocks: Vec<u32> = (0..2).flat_map(|s| (0..20).map(move |i| 2 * i + s)).collect();
        let (key_block, value_block) = layout.block_lengths();
        let (mut keys, mut cached) = (vec![f32::NAN; 40 * key_block], vec![f32::NAN; 40 * value_block]);
        let mut got = vec![0.0; q.len()];
        for first in (0..lengths[0].max(lengths[1])).step_by(chunk) {
            let spans: Vec<CacheSpan> = [(0, 0), (lengths[0], 20)]
                .into_iter()
                .zip(lengths)
                .filter(|(_, length)| first < *length)
                .map(|((row, blocks), length)| CacheSpan {
                    row: row + first,
                    rows: chunk.min(length - first),
                    position: first,
                    blocks,
                })
                .collect();
            store([&mut keys, &mut cached], &k, &v, &spans, &blocks, layout);
            cached_attention(&mut got, &q, [&keys, &cached], &spans, &blocks, layout);
        }
        assert!(got == expected, "{layout:?}, {lengths:?} in steps of {chunk}");
    }

    /// `count` sequences of `shared` and a few tokens, whose first `shared` tokens lie in the same blocks,
    /// token by token together.
    fn check_shared(shape: AttentionShape, count: usize, shared: usize) {
        for are_pairs in [false, true] {
            check_shared_layout(CacheLayout { shape, are_pairs }, count, shared);
        }
    }

    fn check_shared_layout(layout: CacheLayout, count: usize, shared: usize) {
        let shape = layout.shape;
        let (length, own) = (shared + 40, 2);
        let per_token = |width: usize, seed| {
            let head = values(shared * width, seed);
            (0..count as u64)
                .flat_map(|s| [head.clone(), values(40 * width, seed + 10 + s)].concat())
                .collect::<Vec<f32>>()
        };
        let (q, k, v) = (
            per_token(shape.query_width(), 1),
            held(per_token(shape.key_width(), 2), layout),
            held(per_token(shape.key_width(), 3), layout),
        );
        let cu_seqlens: Vec<u32> = (0..=count).map(|s| (s * length) as u32).collect();
        let (mut expected, mut lse) = (vec![0.0; q.len()], vec![0.0; count * length * shape.heads]);
        attention(&mut expected, &mut lse, &q, &k, &v, &cu_seqlens, shape);
        let common = shared / KEYS;
        let blocks: Vec<u32> = (0..count)
            .flat_map(|s| (0..common).chain(common + own * s..common + own * (s + 1)))
            .map(|b| b as u32)
            .collect();
        let total = common + own * count;
        let (key_block, value_block) = layout.block_lengths();
        let (mut keys, mut cached) = (vec![f32::NAN; total * key_block], vec![f32::NAN; total * value_block]);
        let mut got = vec![0.0; q.len()];
        let mut pass = |at: usize, rows: usize| {
            let spans: Vec<CacheSpan> = (0..count)
                .map(|s| CacheSpan { row: s * length + at, rows, position: at, blocks: s * (common + own) })
                .collect();
            // What they have in common is kept once.
            let kept = if at == 0 { &spans[..1] } else { &spans[..] };
            store([&mut keys, &mut cached], &k, &v, kept, &blocks, layout);
            cached_attention(&mut got, &q, [&keys, &cached], &spans, &blocks, layout);
            bundle(&spans, &blocks, 64 / shape.group()).1.len()
        };
        pass(0, shared);
        for at in shared..length {
            assert_eq!(
                pass(at, 1),
                count.div_ceil(64 / shape.group()),
                "sequences with a common head go together"
            );
        }
        assert!(got == expected, "{layout:?}, {count} sequences, {shared} tokens in common");
    }

    #[test]
    fn sequences_with_blocks_in_common_have_the_bits_of_each_alone() {
        check_shared(AttentionShape { heads: 4, kv_heads: 2, head_dim: 32 }, 3, 128);
        check_shared(AttentionShape { heads: 4, kv_heads: 2, head_dim: 20 }, 2, 64);
        check_shared(AttentionShape { heads: 6, kv_heads: 1, head_dim: 48 }, 12, 192);
    }

    #[test]
    fn sequences_go_together_while_they_are_the_same_for_half_of_the_way() {
        let span = |row: usize, position: usize, blocks: usize| CacheSpan { row, rows: 1, position, blocks };
        //          0..4           4..8           8..12         12..16
        let blocks = [[0, 1, 2, 3], [0, 1, 2, 9], [0, 5, 6, 7], [0, 1, 2, 8]].concat();
        let check = |spans: &[CacheSpan], most, expected: &[(Range<usize>, usize)]| {
            let expected: Vec<Bundle> = expected
                .iter()
                .map(|(spans, shared)| Bundle { spans: spans.clone(), shared: *shared })
                .collect();
            assert_eq!(bundle(spans, &blocks, most).1, expected);
        };
        check(
            &[span(0, 200, 0), span(1, 250, 4), span(2, 200, 8), span(3, 192, 12)],
            9,
            &[(0..2, 3), (2..3, 3), (3..4, 3)],
        );
        check(&[span(0, 200, 0), span(1, 250, 4), span(2, 200, 12)], 9, &[(0..3, 3)]);
        check(&[span(0, 200, 0), span(1, 250, 4), span(2, 200, 12)], 2, &[(0..2, 3), (2..3, 3)]);
        check(&[span(0, 63, 0), span(1, 63, 4)], 9, &[(0..1, 0), (1..2, 0)]);
        check(&[span(0, 130, 0), span(1, 70, 8)], 9, &[(0..2, 1)]);
        let long = CacheSpan { rows: 5, ..span(0, 128, 0) };
        check(&[long, span(5, 200, 4), span(6, 200, 12)], 3, &[(0..1, 0), (1..2, 0), (2..4, 3)]);
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
