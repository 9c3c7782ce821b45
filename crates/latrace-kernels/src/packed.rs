//! Weights packed once, for the many products of sampling: the panels of a matrix product of any number of
//! rows.
//!
//! Every output is summed as in [`crate::Tiled`], in blocks, so that sampling and scoring agree in every bit.

use crate::buffer::Buffer;
use crate::gemm::{Matrix, Start, Sum, fill_start, pack};
use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::simd::dispatched;
use crate::tile::{Ahead, LINE, Tile, edge_tile, of_pair, pair, tiles, tiles_of_pairs, with_panel};
use half::bf16;

/// Most rows that one task multiplies: their part of x stays in the second-level cache.
const ROWS: usize = 96;

thread_local! {
    static WIDENED: Scratch = const { Scratch::new(Buffer::new()) };
}

/// Packed weights: panels of columns of Wᵀ.
#[derive(Clone, Copy)]
pub(crate) struct Panels<'a> {
    /// f32: `values[panel][input][column]`. bf16: `values[panel][input / 2][column]`, two inputs in a word. Zeros beyond
    /// the last input and the last output.
    pub values: &'a [f32],
    /// Whether the values are bf16.
    pub are_pairs: bool,
}

/// Words of packed weights.
pub(crate) fn packed_length(inputs: usize, outputs: usize, are_pairs: bool) -> usize {
    with_panel!(NR => outputs.next_multiple_of(NR)) * steps(inputs, are_pairs)
}

/// Words of a column.
pub(crate) fn steps(inputs: usize, are_pairs: bool) -> usize {
    if are_pairs { inputs.div_ceil(2) } else { inputs }
}

/// Calls `fill(target, panel's first output, its outputs)` for every panel, whose words are `target`.
fn fill_panels(
    packed: &mut [f32],
    outputs: usize,
    steps: usize,
    fill: impl Fn(&mut [f32], usize, usize) + Sync + Send,
) {
    let width = with_panel!(NR => NR);
    let shared = Shared::new(packed);
    for_each(outputs.div_ceil(width), |panel| {
        // SAFETY: one panel per task.
        let target = unsafe { shared.part(panel * width * steps, width * steps) };
        // The last panel may have fewer outputs; its other lanes are zeros, so that tiles are always whole.
        fill(target, panel * width, width.min(outputs - panel * width));
    });
}

/// Puts W (outputs×inputs) into `packed`, in f32.
pub(crate) fn pack_weights(packed: &mut [f32], w: &[f32], inputs: usize) {
    fill_panels(packed, w.len() / inputs, inputs, |target, first, lanes| {
        let transposed = Matrix::transposed(&w[first * inputs..], inputs);
        with_panel!(NR => pack::<NR, f32>(target, transposed.data, 0, transposed.column_stride, transposed.row_stride, lanes, inputs));
    });
}

/// Puts W (outputs×inputs) into `packed`, as it is in bf16.
pub(crate) fn pack_pairs(packed: &mut [f32], w: &[bf16], inputs: usize) {
    fill_panels(packed, w.len() / inputs, steps(inputs, true), |target, first, lanes| {
        let width = with_panel!(NR => NR);
        for (step, words) in target.chunks_exact_mut(width).enumerate() {
            for (lane, word) in words.iter_mut().enumerate() {
                let value = |input: usize| {
                    let is_inside = lane < lanes && input < inputs;
                    if is_inside { w[(first + lane) * inputs + input] } else { bf16::ZERO }
                };
                *word = pair(value(2 * step), value(2 * step + 1));
            }
        }
    });
}

dispatched! {
    /// A panel of pairs in f32, `width` columns wide.
    fn widen(target: &mut [f32], pairs: &[f32], width: usize) {
        for (rows, words) in target.chunks_mut(2 * width).zip(pairs.chunks_exact(width)) {
            let (even, odd) = rows.split_at_mut(width);
            even.iter_mut().zip(words).for_each(|(value, word)| *value = of_pair(*word)[0]);
            // Empty after the last input of an odd number.
            odd.iter_mut().zip(words).for_each(|(value, word)| *value = of_pair(*word)[1]);
        }
    }
}

/// y = start + x·Wᵀ with packed W.
///
/// # Shapes
/// `y`: rows×outputs; `x`: rows×inputs.
pub(crate) fn packed_linear(
    y: &mut [f32],
    x: &[f32],
    w: Panels<'_>,
    rows: usize,
    inputs: usize,
    outputs: usize,
    start: Start<'_>,
) {
    with_panel!(NR => product::<NR>(y, x, w, [rows, outputs, inputs], start));
}

fn product<const NR: usize>(
    y: &mut [f32],
    x: &[f32],
    w: Panels<'_>,
    [m, n, k]: [usize; 3],
    start: Start<'_>,
) {
    let words = NR * steps(k, w.are_pairs);
    let panels = n.div_ceil(NR);
    assert!(
        y.len() >= m * n && x.len() >= m * k && w.values.len() == panels * words,
        "the product's operands have its shape"
    );
    let height = tiles(Sum::Blocks).len();
    let shared = Shared::new(y);
    let blocks = m.div_ceil(ROWS);
    // A few tasks a thread; which task computes an output changes no bit.
    let threads = rayon::current_num_threads();
    let group = (panels * blocks / (8 * threads)).clamp(1, panels.max(1));
    // Where this thread's next task begins, if threads take tasks in turns: with few rows, each panel is read
    // from memory for one task alone.
    let skipped = if blocks == 1 { (threads - 1) * group } else { 0 };
    for_each(panels.div_ceil(group) * blocks, |task| {
        let rows = task % blocks * ROWS..m.min((task % blocks + 1) * ROWS);
        let is_one_tile = rows.len() <= height;
        let last = panels.min((task / blocks + 1) * group);
        for panel in task / blocks * group..last {
            let b = &w.values[panel * words..][..words];
            let next = b.as_ptr().wrapping_add(words * if panel + 1 == last { 1 + skipped } else { 1 });
            let multiply = |b: &[f32], tiles: &[Tile], ahead: &dyn Fn(usize) -> Ahead| {
                for (tile, (i, count)) in even_tiles(rows.clone(), height).enumerate() {
                    panel_tile::<NR>(
                        shared,
                        &x[i * k..][..count * k],
                        b,
                        [i, count, panel * NR],
                        [n, k],
                        start,
                        tiles[count - 1],
                        ahead(tile),
                    );
                }
            };
            let near = |b: &[f32]| Ahead::panel(b.as_ptr().wrapping_add(8 * NR), NR);
            if w.are_pairs && is_one_tile {
                multiply(b, tiles_of_pairs(Sum::Blocks), &|_| Ahead::panel(next, NR));
            } else if w.are_pairs {
                with_scratch(&WIDENED, NR * k, |wide| {
                    widen(wide, b, NR);
                    // The next panel is half as large: it comes from memory with the first tile.
                    multiply(wide, tiles(Sum::Blocks), &|tile| {
                        if tile == 0 { Ahead::lines(next) } else { near(wide) }
                    });
                });
            } else {
                // With the first two tiles, half of the next panel each comes from memory; with the others,
                // what is a few steps ahead comes near.
                let halves = NR > LINE && !is_one_tile;
                multiply(b, tiles(Sum::Blocks), &|tile| match tile {
                    0 | 1 if halves => Ahead::lines(next.wrapping_add(tile * (words / 2))),
                    0 => Ahead::panel(next, NR),
                    _ => near(b),
                });
            }
        }
    });
}

/// Rows in tiles of at most `height`, as even as they can be: (first, count).
fn even_tiles(rows: std::ops::Range<usize>, height: usize) -> impl Iterator<Item = (usize, usize)> {
    // 13 rows as 12 and 1 would read a panel for one row alone; 6 and 7 share the cost.
    let count = rows.len().div_ceil(height).max(1);
    let at = move |tile: usize| rows.start + rows.len() * tile / count;
    (0..count)
        .map(move |tile| (at.clone()(tile), at.clone()(tile + 1) - at.clone()(tile)))
        .filter(|(_, rows)| *rows > 0)
}

/// Rows i.. of y, columns j..j + NR.
fn panel_tile<const NR: usize>(
    y: Shared,
    x: &[f32],
    b: &[f32],
    [i, rows, j]: [usize; 3],
    [n, k]: [usize; 2],
    start: Start<'_>,
    tile: Tile,
    ahead: Ahead,
) {
    let columns = NR.min(n - j);
    let zero = matches!(start, Start::Zero);
    if matches!(start, Start::Row(_) | Start::Matrix(_)) {
        for row in i..i + rows {
            // SAFETY: each row of a panel belongs to one task.
            fill_start(unsafe { y.part(row * n + j, columns) }, row, j, n, start);
        }
    }
    if columns == NR {
        // SAFETY: x holds the rows and b the panel's k rows; the tile's parts of y's rows belong to this
        // task.
        unsafe { tile(k, x.as_ptr(), [k, 1], b.as_ptr(), NR, y.at(i * n + j), n, zero, ahead) };
        return;
    }
    let mut c = vec![0.0; (rows - 1) * columns + columns];
    let part = |row: usize| y.at((i + row) * n + j);
    for row in 0..rows {
        // SAFETY: as above.
        c[row * columns..][..columns]
            .copy_from_slice(unsafe { std::slice::from_raw_parts(part(row), columns) });
    }
    // SAFETY: as above, on a whole tile of our own.
    edge_tile::<NR>(&mut c, columns, [rows, columns], |edge| unsafe {
        tile(k, x.as_ptr(), [k, 1], b.as_ptr(), NR, edge.as_mut_ptr(), NR, zero, ahead)
    });
    for row in 0..rows {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(part(row), columns) }
            .copy_from_slice(&c[row * columns..][..columns]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Element;
    use crate::gemm::product_reference;
    use crate::testing::values;
    use proptest::prelude::*;

    fn check(rows: usize, inputs: usize, outputs: usize, start_kind: usize) {
        check_type(rows, inputs, outputs, start_kind, false);
        check_type(rows, inputs, outputs, start_kind, true);
    }

    fn check_type(rows: usize, inputs: usize, outputs: usize, start_kind: usize, are_pairs: bool) {
        let (x, mut w) = (values(rows * inputs, 1), values(outputs * inputs, 2));
        let narrow: Vec<_> = w.iter().map(|w| bf16::from_f32(*w)).collect();
        if are_pairs {
            w = narrow.iter().map(|w| w.wide()).collect();
        }
        let (row, other) = (values(outputs, 3), values(rows * outputs, 4));
        let start = [Start::Zero, Start::Accumulate, Start::Row(&row), Start::Matrix(&other)][start_kind];
        let mut expected = values(rows * outputs, 5);
        let mut got = expected.clone();
        product_reference(
            Sum::Blocks,
            &mut expected,
            outputs,
            rows,
            outputs,
            inputs,
            Matrix::new(&x, inputs),
            Matrix::transposed(&w, inputs),
            start,
        );
        let mut packed = vec![9.0; packed_length(inputs, outputs, are_pairs)];
        if are_pairs {
            pack_pairs(&mut packed, &narrow, inputs);
        } else {
            pack_weights(&mut packed, &w, inputs);
        }
        let panels = Panels { values: &packed, are_pairs };
        packed_linear(&mut got, &x, panels, rows, inputs, outputs, start);
        assert_eq!(got, expected, "{rows}×{outputs}×{inputs}, start {start_kind}, pairs {are_pairs}");
    }

    #[test]
    fn is_bitwise_the_reference_in_every_shape() {
        check(1, 1, 1, 0);
        check(32, 300, 96, 0);
        check(200, 70, 65, 3);
        check(97, 33, 40, 2);
        check(5, 129, 33, 1);
        check(12, 64, 32, 0);
        check(13, 193, 32, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn is_bitwise_the_reference(rows in 1..30_usize, inputs in 1..40_usize, outputs in 1..80_usize, start in 0..4_usize) {
            check(rows, inputs, outputs, start);
        }
    }
}
