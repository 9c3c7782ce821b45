//! Matrix products of operands rounded to bf16, summed in f32.
//!
//! Both operands are packed into tiles of pairs: two values that follow one another over k share a word, as the
//! processor's units for bf16 want them. Every output is summed over k in one fixed order, which depends on the unit
//! alone ([`Unit`]): not on tiling, on the rows beside it or on threads.

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod dot;
mod operand;
mod reference;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::gemm::{Matrix, MatrixProduct, Start, fill_start};
use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::simd::{Level, level};
use operand::{Lanes, pack_across, pack_along};
pub use reference::bf16_product_reference;
use std::ops::Range;

/// What multiplies values of bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// AMX: within 32 steps of k, one chain of fused multiply-adds over the even ones and one over the odd ones; their sum
    /// is added.
    Amx,
    /// AVX-512 BF16: one chain; of each pair the odd step first.
    Dot,
}

/// The unit of the instruction set in use, if it has one.
pub fn unit() -> Option<Unit> {
    match level() {
        Level::Amx => Some(Unit::Amx),
        Level::Avx512Bf16 => Some(Unit::Dot),
        _ => None,
    }
}

/// Whether this process can use AMX.
#[cfg(target_arch = "x86_64")]
pub(crate) fn has_tiles() -> bool {
    amx::is_usable()
}

/// Rows of a tile of A, and half of the columns of a panel of B.
const LANES: usize = 16;
/// Columns of a panel of B.
const PANEL: usize = 2 * LANES;
/// Steps of k in a tile.
const STEPS: usize = 32;
/// Words of a row of a tile.
const WORDS: usize = STEPS / 2;
/// Words of a tile.
const TILE: usize = LANES * WORDS;
/// Most steps of k that one run over a panel takes: the panel's part, 40 KiB, stays near, in the first-level cache of processors
/// with AMX.
const RUN: usize = 640;
/// Steps of k for which A and B are packed at once.
const DEPTH: usize = 4096;
/// Columns for which B is packed at once.
const COLUMNS: usize = 1024;
/// Most rows of a task: their part of A stays in the second-level cache.
const ROWS: usize = 256;

thread_local! {
    static A: Scratch = const { Scratch::new(Buffer::new()) };
    static B: Scratch = const { Scratch::new(Buffer::new()) };
}

/// The product of operands whose values are rounded to the nearest bf16.
#[derive(Clone, Copy, Debug)]
pub struct Rounded(pub Unit);

impl MatrixProduct for Rounded {
    /// # Shapes
    /// As of every product; A and B are each contiguous along one axis.
    fn product<T: Element>(
        &self,
        c: &mut [f32],
        row_stride: usize,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_, T>,
        start: Start<'_>,
    ) {
        product(self.0, c, row_stride, [m, n, k], a, b, start);
    }
}

fn product<T: Element>(
    unit: Unit,
    c: &mut [f32],
    row_stride: usize,
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_, T>,
    start: Start<'_>,
) {
    fill(c, row_stride, [m, n], start);
    if k == 0 && matches!(start, Start::Zero) {
        (0..m).for_each(|i| c[i * row_stride..][..n].fill(0.0));
    }
    for first in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - first);
        let steps = depth.next_multiple_of(STEPS);
        let zero = first == 0 && matches!(start, Start::Zero);
        with_scratch(&A, m.next_multiple_of(LANES) * steps / 2, |packed_a| {
            pack_a(packed_a, a.from(0, first), m, depth);
            for column in (0..n).step_by(COLUMNS) {
                let columns = COLUMNS.min(n - column);
                with_scratch(&B, columns.next_multiple_of(PANEL) * steps / 2, |packed_b| {
                    pack_b(packed_b, b.from(first, column), columns, depth);
                    let c = Target { c: Shared::new(&mut c[column..]), row_stride, rows: m, columns, zero };
                    multiply(unit, c, packed_a, packed_b, steps);
                });
            }
        });
    }
}

/// Words of packed weights: panels of columns of Wᵀ, over all inputs.
pub(crate) fn packed_length(inputs: usize, outputs: usize) -> usize {
    outputs.next_multiple_of(PANEL) * inputs.next_multiple_of(STEPS) / 2
}

/// Puts W (outputs×inputs) into `packed`.
pub(crate) fn pack_weights<T: Element>(packed: &mut [f32], w: &[T], inputs: usize) {
    pack_b(packed, Matrix::transposed(w, inputs), w.len() / inputs, inputs);
}

/// y = start + x·Wᵀ with packed W, the same bits as [`Rounded`].
///
/// # Shapes
/// `y`: rows×outputs; `x`: rows×inputs.
pub(crate) fn packed_linear(
    unit: Unit,
    y: &mut [f32],
    x: &[f32],
    packed: &[f32],
    [rows, outputs, inputs]: [usize; 3],
    start: Start<'_>,
) {
    fill(y, outputs, [rows, outputs], start);
    let steps = inputs.next_multiple_of(STEPS);
    with_scratch(&A, rows.next_multiple_of(LANES) * steps / 2, |packed_x| {
        pack_a(packed_x, Matrix::new(x, inputs), rows, inputs);
        let zero = matches!(start, Start::Zero);
        let y = Target { c: Shared::new(y), row_stride: outputs, rows, columns: outputs, zero };
        multiply(unit, y, packed_x, packed, steps);
    });
}

/// What C starts as, where it is neither zeros nor what is there.
fn fill(c: &mut [f32], row_stride: usize, [m, n]: [usize; 2], start: Start<'_>) {
    if matches!(start, Start::Row(_) | Start::Matrix(_)) {
        let shared = Shared::new(c);
        for_each(m, |i| {
            // SAFETY: one row per task.
            fill_start(unsafe { shared.part(i * row_stride, n) }, i, 0, row_stride, start);
        });
    }
}

/// A (rows × depth) as tiles: `packed[row / 16][step / 32][row % 16][step % 32 / 2]`, zeros beyond its end.
pub(crate) fn pack_a(packed: &mut [f32], a: Matrix<'_>, rows: usize, depth: usize) {
    let shared = Shared::new(packed);
    let is_along = a.column_stride == 1;
    for_each_block(rows.div_ceil(LANES), depth, is_along, |tile, block, steps| {
        let lanes = Lanes { first: tile * LANES, count: LANES.min(rows - tile * LANES) };
        // SAFETY: each tile is packed once.
        let target = unsafe { shared.part((tile * depth.div_ceil(STEPS) + block) * TILE, TILE) };
        if is_along {
            pack_along(target, WORDS, a.data, a.row_stride, lanes, steps, false);
        } else {
            pack_across(target, WORDS, a.data, a.column_stride, lanes, steps, true);
        }
    });
}

/// B (depth × columns) as panels: `packed[column / 32][step / 2][column % 32]`, zeros beyond its end.
pub(crate) fn pack_b<T: Element>(packed: &mut [f32], b: Matrix<'_, T>, columns: usize, depth: usize) {
    let shared = Shared::new(packed);
    let is_along = b.row_stride == 1;
    for_each_block(columns.div_ceil(PANEL), depth, is_along, |panel, block, steps| {
        // SAFETY: each block of a panel is packed once.
        let target = unsafe { shared.part((panel * depth.div_ceil(STEPS) + block) * 2 * TILE, 2 * TILE) };
        for half in 0..2 {
            let first = panel * PANEL + half * LANES;
            let lanes = Lanes { first, count: LANES.min(columns.saturating_sub(first)) };
            let target = &mut target[half * LANES..];
            if is_along {
                pack_along(target, PANEL, b.data, b.column_stride, lanes, steps.clone(), true);
            } else {
                pack_across(target, PANEL, b.data, b.row_stride, lanes, steps.clone(), false);
            }
        }
    });
}

/// Calls `pack(lane group, block, its steps)` for every block of 32 steps, in the order in which the matrix lies in memory:
/// along lanes, or block by block across them.
fn for_each_block(
    groups: usize,
    depth: usize,
    is_along: bool,
    pack: impl Fn(usize, usize, Range<usize>) + Sync + Send,
) {
    let blocks = depth.div_ceil(STEPS);
    let steps = |block: usize| block * STEPS..depth.min((block + 1) * STEPS);
    if is_along {
        for_each(groups, |group| (0..blocks).for_each(|block| pack(group, block, steps(block))));
    } else {
        for_each(blocks, |block| (0..groups).for_each(|group| pack(group, block, steps(block))));
    }
}

/// Where products go.
#[derive(Clone, Copy)]
struct Target {
    c: Shared,
    row_stride: usize,
    rows: usize,
    columns: usize,
    /// Whether C begins as zeros; otherwise products are added to it.
    zero: bool,
}

/// C (+)= A·B of packed operands.
fn multiply(unit: Unit, target: Target, a: &[f32], b: &[f32], steps: usize) {
    let threads = rayon::current_num_threads();
    let panels = target.columns.div_ceil(PANEL);
    // A few tasks a thread: by rows, and where these are few by panels, too.
    let rows = (target.rows / (4 * threads)).next_multiple_of(PANEL).clamp(PANEL, ROWS);
    let blocks = target.rows.div_ceil(rows);
    let group = (panels * blocks / (4 * threads)).clamp(1, panels);
    // Runs as even as they can be: C is read and written once for each.
    let run_length = (steps / STEPS).div_ceil(steps.div_ceil(RUN).max(1)) * STEPS;
    for_each(blocks * panels.div_ceil(group), |task| {
        let (block, group_at) = (task % blocks, task / blocks * group);
        let unit = InUse::new(unit);
        for run in (0..steps).step_by(run_length) {
            let length = run_length.min(steps - run);
            for panel in group_at..panels.min(group_at + group) {
                let b = &b[panel * PANEL * steps / 2 + run / 2 * PANEL..][..length / 2 * PANEL];
                for row in (block * rows..target.rows.min((block + 1) * rows)).step_by(PANEL) {
                    let a = &a[row / LANES * (steps / STEPS) * TILE + run / STEPS * TILE..];
                    let place = Place {
                        row,
                        column: panel * PANEL,
                        rows: PANEL.min(target.rows - row),
                        columns: PANEL.min(target.columns - panel * PANEL),
                    };
                    unit.tile(target, place, a, steps / STEPS * TILE, b, target.zero && run == 0);
                }
            }
        }
    });
}

/// A square of C of at most 32×32.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

/// A unit made ready for a task.
struct InUse(Unit);

impl InUse {
    fn new(unit: Unit) -> Self {
        #[cfg(target_arch = "x86_64")]
        if unit == Unit::Amx {
            amx::begin();
        }
        Self(unit)
    }

    /// C (+)= A·B at `place`; the second row of tiles of A is `a_stride` words after the first, and `b` is the panel's part.
    fn tile(&self, target: Target, place: Place, a: &[f32], a_stride: usize, b: &[f32], zero: bool) {
        let Place { row, column, rows, columns } = place;
        let two = rows > LANES;
        assert!(a.len() >= if two { a_stride } else { 0 } + b.len() / 2, "A holds the tiles of its rows");
        if rows % LANES == 0 && columns == PANEL {
            let c = target.c.at(row * target.row_stride + column);
            target.c.at((row + rows - 1) * target.row_stride + column + columns - 1);
            // SAFETY: A and B hold whole tiles of the same depth, and the square of C lies within it and belongs to this
            // task.
            unsafe { self.whole(two, a, a_stride, b, c, target.row_stride, zero) };
            return;
        }
        let mut whole = [0.0_f32; PANEL * PANEL];
        // SAFETY: rows of the square, each within C, belong to this task.
        let part = |i: usize| unsafe { target.c.part((row + i) * target.row_stride + column, columns) };
        if !zero {
            (0..rows).for_each(|i| whole[i * PANEL..][..columns].copy_from_slice(part(i)));
        }
        // SAFETY: as above, on a square of our own.
        unsafe { self.whole(two, a, a_stride, b, whole.as_mut_ptr(), PANEL, zero) };
        (0..rows).for_each(|i| part(i).copy_from_slice(&whole[i * PANEL..][..columns]));
    }

    /// # Safety
    /// `a` and `b` hold whole tiles of one depth; `c` points to 16 rows of 32, or 32 if `two`, at stride `ldc`.
    #[cfg(target_arch = "x86_64")]
    unsafe fn whole(
        &self,
        two: bool,
        a: &[f32],
        a_stride: usize,
        b: &[f32],
        c: *mut f32,
        ldc: usize,
        zero: bool,
    ) {
        let blocks = b.len() / (2 * TILE);
        // SAFETY: by the caller; the unit is this machine's.
        unsafe {
            match (self.0, two) {
                (Unit::Amx, true) => amx::two(blocks, a.as_ptr(), a_stride, b.as_ptr(), c, ldc, zero),
                (Unit::Amx, false) => amx::one(blocks, a.as_ptr(), b.as_ptr(), c, ldc, zero),
                (Unit::Dot, _) => {
                    for tile in 0..1 + usize::from(two) {
                        let (a, c) = (a.as_ptr().add(tile * a_stride), c.add(tile * LANES * ldc));
                        dot::tile(blocks, a, b.as_ptr(), c, ldc, zero);
                    }
                }
            }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn whole(&self, _: bool, _: &[f32], _: usize, _: &[f32], _: *mut f32, _: usize, _: bool) {
        unreachable!("{:?} is not found on this architecture", self.0);
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Unit::Amx {
            amx::end();
        }
    }
}

#[cfg(test)]
mod tests;
