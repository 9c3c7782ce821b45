//! Weights packed once, for the many products of sampling: the panels of a matrix product of any number of
//! rows.
//!
//! Every output is summed as in [`crate::Tiled`], in blocks, so that sampling and scoring agree in every bit.

use crate::element::Element;
use crate::gemm::{Ahead, LINE, Matrix, Start, Sum, Tile, edge_tile, fill_start, pack, tiles, with_panel};
use crate::parallel::{Shared, for_each};

/// Most rows that one task multiplies: their part of x stays in the second-level cache.
const ROWS: usize = 96;

/// Values of packed weights.
pub(crate) fn packed_length(inputs: usize, outputs: usize) -> usize {
    with_panel!(NR => outputs.next_multiple_of(NR) * inputs)
}

/// Puts W (outputs×inputs) into `packed` as panels of columns of Wᵀ: `packed[panel][input][column]`, zeros
/// beyond the last output.
pub(crate) fn pack_weights<T: Element>(packed: &mut [f32], w: &[T], inputs: usize) {
    let outputs = w.len() / inputs;
    let width = with_panel!(NR => NR);
    let shared = Shared::new(packed);
    for_each(outputs.div_ceil(width), |panel| {
        // SAFETY: one panel per task.
        let target = unsafe { shared.part(panel * width * inputs, width * inputs) };
        // The last panel may have fewer outputs; its other lanes are zeros, so that tiles are always whole.
        let lanes = width.min(outputs - panel * width);
        let transposed = Matrix::transposed(&w[panel * width * inputs..], inputs);
        with_panel!(NR => pack::<NR, T>(target, transposed.data, 0, transposed.column_stride, transposed.row_stride, lanes, inputs));
    });
}

/// y = start + x·Wᵀ with packed W.
///
/// # Shapes
/// `y`: rows×outputs; `x`: rows×inputs.
pub(crate) fn packed_linear(
    y: &mut [f32],
    x: &[f32],
    packed: &[f32],
    rows: usize,
    inputs: usize,
    outputs: usize,
    start: Start<'_>,
) {
    with_panel!(NR => product::<NR>(y, x, packed, [rows, outputs, inputs], start, tiles(Sum::Blocks)));
}

fn product<const NR: usize>(
    y: &mut [f32],
    x: &[f32],
    packed: &[f32],
    [m, n, k]: [usize; 3],
    start: Start<'_>,
    tiles: &[Tile],
) {
    assert!(
        y.len() >= m * n && x.len() >= m * k && packed.len() == n.next_multiple_of(NR) * k,
        "the product's operands have its shape"
    );
    let shared = Shared::new(y);
    let (panels, blocks) = (n.div_ceil(NR), m.div_ceil(ROWS));
    // A few tasks a thread; which task computes an output changes no bit.
    let threads = rayon::current_num_threads();
    let group = (panels * blocks / (8 * threads)).clamp(1, panels.max(1));
    // Where this thread's next task begins, if threads take tasks in turns: with few rows, each panel is read
    // from memory for one task alone.
    let skipped = if blocks == 1 { (threads - 1) * group } else { 0 };
    for_each(panels.div_ceil(group) * blocks, |task| {
        let rows = task % blocks * ROWS..m.min((task % blocks + 1) * ROWS);
        let halves = NR > LINE && rows.len() > tiles.len();
        let last = panels.min((task / blocks + 1) * group);
        for panel in task / blocks * group..last {
            let b = &packed[panel * NR * k..][..NR * k];
            let next = b.as_ptr().wrapping_add(NR * k * if panel + 1 == last { 1 + skipped } else { 1 });
            for (tile, (i, count)) in even_tiles(rows.clone(), tiles.len()).enumerate() {
                // With the first two tiles, half of the next panel each comes from memory; with the others,
                // what is a few steps ahead comes near.
                let ahead = match tile {
                    0 | 1 if halves => Ahead::lines(next.wrapping_add(tile * (NR * k / 2))),
                    0 => Ahead::panel(next, NR),
                    _ => Ahead::panel(b.as_ptr().wrapping_add(8 * NR), NR),
                };
                panel_tile::<NR>(
                    shared,
                    &x[i * k..][..count * k],
                    b,
                    [i, count, panel * NR],
                    [n, k],
                    start,
                    tiles[count - 1],
                    ahead,
                );
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
    use crate::gemm::product_reference;
    use crate::testing::values;
    use proptest::prelude::*;

    fn check(rows: usize, inputs: usize, outputs: usize, start_kind: usize) {
        let (x, w) = (values(rows * inputs, 1), values(outputs * inputs, 2));
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
        let mut packed = vec![9.0; packed_length(inputs, outputs)];
        pack_weights(&mut packed, &w, inputs);
        packed_linear(&mut got, &x, &packed, rows, inputs, outputs, start);
        assert_eq!(got, expected, "{rows}×{outputs}×{inputs}, start {start_kind}");
    }

    #[test]
    fn is_bitwise_the_reference_in_every_shape() {
        check(1, 1, 1, 0);
        check(32, 300, 96, 0);
        check(200, 70, 65, 3);
        check(97, 33, 40, 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn is_bitwise_the_reference(rows in 1..30_usize, inputs in 1..40_usize, outputs in 1..80_usize, start in 0..4_usize) {
            check(rows, inputs, outputs, start);
        }
    }
}
