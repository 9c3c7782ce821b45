//! Matrix products in which every output is summed over k in one fixed order ([`Sum`]).
//!
//! The result of an output therefore depends on its row of A, its column of B and its start alone: not on
//! tiling, on the number of rows beside it, on threads, or on the instruction set. Packed panels, register
//! tiles of 12×32 (AVX-512) or 6×16 (AVX2, NEON).

use std::ops::Range;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::simd::{Level, vectors};
use crate::tile::{self, Ahead, Tile, edge_tile};

/// A matrix in memory: element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T = f32> {
    /// The values.
    pub data: &'a [T],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major with `columns` columns.
    pub fn new(data: &'a [T], columns: usize) -> Self {
        Self { data, row_stride: columns, column_stride: 1 }
    }

    /// The transpose of a row-major matrix with `columns` columns.
    pub fn transposed(data: &'a [T], columns: usize) -> Self {
        Self { data, row_stride: 1, column_stride: columns }
    }

    /// What begins at that row and column.
    pub(crate) fn from(self, row: usize, column: usize) -> Self {
        Self { data: &self.data[row * self.row_stride + column * self.column_stride..], ..self }
    }

    /// Values that `rows` rows of `columns` columns reach over.
    fn reach(&self, rows: usize, columns: usize) -> usize {
        if rows == 0 || columns == 0 {
            return 0;
        }
        (rows - 1) * self.row_stride + (columns - 1) * self.column_stride + 1
    }
}

/// What C holds before the product is added to it.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// Nothing: C = A·B.
    Zero,
    /// Itself: C += A·B.
    Accumulate,
    /// A row added to each row, length n: C = row + A·B.
    Row(&'a [f32]),
    /// Another matrix of C's shape, row-major: C = matrix + A·B.
    Matrix(&'a [f32]),
}

/// The order in which the products of an output are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// One chain of fused multiply-adds over k, from what C starts as: a sum over rows of a batch that is done
    /// in several products has the bits of one.
    Chain,
    /// A chain over each [`BLOCK`] of k, from zero; what C starts as, plus these sums, in order. Rounding
    /// errors grow with the length of a chain, and k is up to thousands.
    Blocks,
}

/// Products in a chain of [`Sum::Blocks`]: the first is k = 0, the next k = `BLOCK`, and so on.
pub const BLOCK: usize = 64;

/// The interface of matrix products; tests compare an independent library behind it.
pub trait MatrixProduct {
    /// C = start + A·B.
    ///
    /// # Shapes
    /// `c`: m×n, row-major with `row_stride` ≥ n (`Start::Matrix` has the same stride); `a`: m×k; `b`: k×n.
    fn product<B: Element>(
        &self,
        c: &mut [f32],
        row_stride: usize,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_, B>,
        start: Start<'_>,
    );
}

/// Our product, on all threads of the current pool.
#[derive(Clone, Copy, Debug)]
pub struct Tiled(pub Sum);

/// Our product, on the calling thread: for tiles inside a task. Sums are chains.
#[derive(Clone, Copy, Debug)]
pub struct TiledSerial;

/// Depth of a tile's run over k: 12 rows × 512 values of A stay in the first-level cache while columns of B
/// stream by.
const KC: usize = 512;
const _: () = assert!(KC.is_multiple_of(BLOCK), "tiles begin where blocks do");
/// Columns of B packed at once.
const NC: usize = 1024;
/// Values of B packed at once: 4 MiB, large enough that threads seldom have to wait for each other, and small
/// enough for the third-level cache.
const PACKED: usize = 1 << 20;
/// Most rows of A in one task: a multiple of every tile height.
const MC: usize = 96;

impl MatrixProduct for Tiled {
    fn product<B: Element>(
        &self,
        c: &mut [f32],
        row_stride: usize,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_, B>,
        start: Start<'_>,
    ) {
        // Below ~1 M multiply-adds, sharing costs more than it saves.
        let parallel = m * n * k > 1 << 20;
        run(c, row_stride, m, n, k, a, b, start, self.0, parallel);
    }
}

impl MatrixProduct for TiledSerial {
    fn product<B: Element>(
        &self,
        c: &mut [f32],
        row_stride: usize,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_, B>,
        start: Start<'_>,
    ) {
        run(c, row_stride, m, n, k, a, b, start, Sum::Chain, false);
    }
}

/// Checked before any task starts, so that the message names the matrix.
fn check<T>(name: &str, x: &Matrix<'_, T>, rows: usize, columns: usize) {
    let (needed, got) = (x.reach(rows, columns), x.data.len());
    assert!(needed <= got, "matrix {name} of {rows}×{columns} needs {needed} values, got {got}");
}

impl Start<'_> {
    /// `needed`: the values that C reaches over.
    fn check(self, columns: usize, needed: usize) {
        match self {
            Start::Row(row) => assert_eq!(row.len(), columns, "the start row has C's columns"),
            Start::Matrix(x) => assert!(needed <= x.len(), "the start matrix has C's shape"),
            Start::Zero | Start::Accumulate => {}
        }
    }
}

fn run<B: Element>(
    c: &mut [f32],
    ldc: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Matrix<'_, B>,
    start: Start<'_>,
    sum: Sum,
    parallel: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    let (needed, got) = ((m - 1) * ldc + n, c.len());
    assert!(ldc >= n && needed <= got, "C of {m}×{n} with stride {ldc} does not fit in {got} values");
    check("A", &a, m, k);
    check("B", &b, k, n);
    start.check(n, needed);
    // Without products, C is what it starts as; tiles count on at least one.
    if k == 0 {
        (0..m).for_each(|i| fill_start(&mut c[i * ldc..][..n], i, 0, ldc, start));
        return;
    }
    match vectors() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => tiled::<12, 32, B>(c, ldc, m, n, k, a, b, start, parallel, tile::AVX512.of(sum)),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => tiled::<6, 16, B>(c, ldc, m, n, k, a, b, start, parallel, tile::AVX2.of(sum)),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => tiled::<6, 16, B>(c, ldc, m, n, k, a, b, start, parallel, tile::NEON.of(sum)),
        _ => tiled::<4, 16, B>(c, ldc, m, n, k, a, b, start, parallel, tile::PORTABLE.of(sum)),
    }
}

/// Puts what C starts as into `c`, its row i from column j on.
pub(crate) fn fill_start(c: &mut [f32], i: usize, j: usize, ldc: usize, start: Start<'_>) {
    match start {
        Start::Zero => c.fill(0.0),
        Start::Accumulate => {}
        Start::Row(row) => c.copy_from_slice(&row[j..j + c.len()]),
        Start::Matrix(x) => c.copy_from_slice(&x[i * ldc + j..][..c.len()]),
    }
}

thread_local! {
    static PANEL_A: Scratch = const { Scratch::new(Buffer::new()) };
    static PANEL_B: Scratch = const { Scratch::new(Buffer::new()) };
}

fn tiled<const MR: usize, const NR: usize, B: Element>(
    c: &mut [f32],
    ldc: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Matrix<'_, B>,
    start: Start<'_>,
    parallel: bool,
    tiles: &[Tile; MR],
) {
    let (shared, length) = (Shared::new(c), c.len());
    // A product inside a task of its own must not wait for other tasks.
    let each = |count: usize, task: &(dyn Fn(usize) + Sync + Send)| {
        if parallel { for_each(count, task) } else { (0..count).for_each(task) }
    };
    // Many blocks a thread, so that all finish together; which block a row is in changes no bit.
    let rows = if parallel { (m / (8 * rayon::current_num_threads()) / MR * MR).clamp(MR, MC) } else { MC };
    for jc in (0..n).step_by(NC) {
        let columns = NC.min(n - jc);
        let width = columns.next_multiple_of(NR);
        for p0 in (0..k).step_by(PACKED / width / KC * KC) {
            let depth = (PACKED / width / KC * KC).min(k - p0);
            with_scratch(&PANEL_B, width * depth, |packed_b| {
                let target = Shared::new(packed_b);
                let panels = width / NR;
                each(panels * depth.div_ceil(KC), &|task| {
                    let (p, j) = (task / panels * KC, task % panels * NR);
                    let kc = KC.min(depth - p);
                    // SAFETY: one panel per task.
                    let target = unsafe { target.part(width * p + j * kc, NR * kc) };
                    let origin = (p0 + p) * b.row_stride + (jc + j) * b.column_stride;
                    pack::<NR, B>(
                        target,
                        b.data,
                        origin,
                        b.column_stride,
                        b.row_stride,
                        NR.min(columns - j),
                        kc,
                    );
                });
                let packed_b = &*packed_b;
                each(m.div_ceil(rows), &|block| {
                    let i0 = block * rows;
                    let rows = rows.min(m - i0);
                    // SAFETY: one block of rows per task, and rows do not overlap.
                    let c = unsafe { shared.part(i0 * ldc, (rows * ldc).min(length - i0 * ldc)) };
                    if p0 == 0 && !matches!(start, Start::Zero) {
                        (0..rows).for_each(|i| {
                            fill_start(&mut c[i * ldc + jc..][..columns], i0 + i, jc, ldc, start)
                        });
                    }
                    for p in (0..depth).step_by(KC) {
                        let kc = KC.min(depth - p);
                        let a = a.from(i0, p0 + p);
                        let zero = p0 + p == 0 && matches!(start, Start::Zero);
                        block_product::<MR, NR>(
                            &mut c[jc..],
                            ldc,
                            [rows, columns, kc],
                            a,
                            &packed_b[width * p..][..width * kc],
                            zero,
                            tiles,
                        );
                    }
                });
            });
        }
    }
}

/// Whether tiles read A where it is: rows that are contiguous over k need no packing, unless their distance
/// puts all of them into the same few lines of the first-level cache.
fn is_read_in_place(a: Matrix<'_>) -> bool {
    a.column_stride == 1 && !a.row_stride.is_multiple_of(1024)
}

/// All tiles of a block of rows against the packed columns: C (m×n) (+)= A·B over a depth of k.
fn block_product<const MR: usize, const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    packed_b: &[f32],
    zero: bool,
    tiles: &[Tile; MR],
) {
    with_scratch(&PANEL_A, MR * k, |packed_a| {
        for i in (0..m).step_by(MR) {
            let rows = MR.min(m - i);
            let tile = tiles[rows - 1];
            let (a, strides) = if is_read_in_place(a) {
                (&a.data[i * a.row_stride..][..(rows - 1) * a.row_stride + k], [a.row_stride, 1])
            } else {
                pack::<MR, f32>(packed_a, a.data, i * a.row_stride, a.row_stride, a.column_stride, rows, k);
                (&*packed_a, [1, MR])
            };
            for j in (0..n).step_by(NR) {
                let b = &packed_b[j * k..][..NR * k];
                let columns = NR.min(n - j);
                if columns == NR {
                    let c = &mut c[i * ldc + j..][..(rows - 1) * ldc + NR];
                    // SAFETY: A holds the rows, the panel k rows, and C a tile of stride ldc, by the slices
                    // above.
                    unsafe {
                        tile(
                            k,
                            a.as_ptr(),
                            strides,
                            b.as_ptr(),
                            NR,
                            c.as_mut_ptr(),
                            ldc,
                            zero,
                            Ahead::panel(b.as_ptr_range().end, NR),
                        )
                    };
                } else {
                    edge_tile::<NR>(&mut c[i * ldc + j..], ldc, [rows, columns], |edge| {
                        // SAFETY: as above, on a whole tile of our own.
                        unsafe {
                            tile(
                                k,
                                a.as_ptr(),
                                strides,
                                b.as_ptr(),
                                NR,
                                edge.as_mut_ptr(),
                                NR,
                                zero,
                                Ahead::panel(b.as_ptr_range().end, NR),
                            )
                        };
                    });
                }
            }
        }
    });
}

/// Copies a panel of `W` lanes × `depth`: `target[p * W + i] = source[origin + i * lane_stride + p *
/// depth_stride]`, zeros beyond `lanes`.
pub(crate) fn pack<const W: usize, T: Element>(
    target: &mut [f32],
    source: &[T],
    origin: usize,
    lane_stride: usize,
    depth_stride: usize,
    lanes: usize,
    depth: usize,
) {
    let source = &source[origin..];
    if lane_stride == 1 {
        for (p, out) in target.chunks_exact_mut(W).enumerate() {
            let from = &source[p * depth_stride..];
            // A copy of a length known to the compiler is a few moves; of one that is not, a call.
            match (from.first_chunk::<W>(), out.first_chunk_mut::<W>()) {
                (Some(from), Some(out)) if lanes == W => *out = from.map(Element::wide),
                _ => {
                    out.iter_mut().zip(&from[..lanes]).for_each(|(out, from)| *out = from.wide());
                    out[lanes..].fill(0.0);
                }
            }
        }
    } else if depth_stride == 1 {
        // Transposition by blocks of 4×4; lanes and depth beyond the last whole block one by one.
        let (whole_lanes, whole_depth) = (lanes / 4 * 4, depth / 4 * 4);
        for i in (0..whole_lanes).step_by(4) {
            transpose_lanes::<W, T>(&mut target[i..], &source[i * lane_stride..], lane_stride, whole_depth);
        }
        for p in 0..depth {
            let from = if p < whole_depth { whole_lanes } else { 0 };
            for i in from..W {
                target[p * W + i] = if i < lanes { source[i * lane_stride + p].wide() } else { 0.0 };
            }
        }
    } else {
        for (p, out) in target.chunks_exact_mut(W).enumerate() {
            for (i, value) in out.iter_mut().enumerate() {
                *value = if i < lanes { source[i * lane_stride + p * depth_stride].wide() } else { 0.0 };
            }
        }
    }
}

/// `target[p * W + r] = source[r * stride + p]` for four lanes r and `depth` values of each, a multiple of 4.
#[inline(always)]
fn transpose_lanes<const W: usize, T: Element>(
    target: &mut [f32],
    source: &[T],
    stride: usize,
    depth: usize,
) {
    if depth == 0 {
        return;
    }
    assert!(
        target.len() >= (depth - 1) * W + 4 && source.len() >= 3 * stride + depth,
        "lanes to transpose lie within their buffers"
    );
    for p in (0..depth).step_by(4) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of the target; all reads and writes lie within what is asserted above.
        unsafe {
            use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_storeu_ps};
            let (from, to) = (source.as_ptr().add(p), target.as_mut_ptr().add(p * W));
            let (mut a, mut b) = (T::load(from), T::load(from.add(stride)));
            let (mut c, mut d) = (T::load(from.add(2 * stride)), T::load(from.add(3 * stride)));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            _mm_storeu_ps(to, a);
            _mm_storeu_ps(to.add(W), b);
            _mm_storeu_ps(to.add(2 * W), c);
            _mm_storeu_ps(to.add(3 * W), d);
        }
        #[cfg(not(target_arch = "x86_64"))]
        for (r, c) in (0..16).map(|i| (i / 4, i % 4)) {
            target[(p + c) * W + r] = source[r * stride + p + c].wide();
        }
    }
}

/// The definition, output by output.
pub fn product_reference(
    sum: Sum,
    c: &mut [f32],
    row_stride: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    start: Start<'_>,
) {
    for i in 0..m {
        fill_start(&mut c[i * row_stride..][..n], i, 0, row_stride, start);
        for j in 0..n {
            let chain = |products: Range<usize>, start: f32| {
                products.fold(start, |sum, p| {
                    let x = a.data[i * a.row_stride + p * a.column_stride];
                    x.mul_add(b.data[p * b.row_stride + j * b.column_stride], sum)
                })
            };
            let c = &mut c[i * row_stride + j];
            *c = match sum {
                Sum::Chain => chain(0..k, *c),
                Sum::Blocks => (0..k).step_by(BLOCK).fold(*c, |c, p| c + chain(p..k.min(p + BLOCK), 0.0)),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::values;
    use proptest::prelude::*;

    fn layouts<'a>(data: &'a [f32], rows: usize, columns: usize, transposed: bool) -> Matrix<'a> {
        if transposed { Matrix::transposed(data, rows) } else { Matrix::new(data, columns) }
    }

    fn check_shape(m: usize, n: usize, k: usize, layout: (bool, bool), start_kind: usize, stride: usize) {
        for sum in [Sum::Chain, Sum::Blocks] {
            check_sum(sum, m, n, k, layout, start_kind, stride);
        }
    }

    fn check_sum(
        sum: Sum,
        m: usize,
        n: usize,
        k: usize,
        layout: (bool, bool),
        start_kind: usize,
        stride: usize,
    ) {
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let (row, other) = (values(n, 3), values(m * stride, 4));
        let start = [Start::Zero, Start::Accumulate, Start::Row(&row), Start::Matrix(&other)][start_kind];
        let (a, b) = (layouts(&a, m, k, layout.0), layouts(&b, k, n, layout.1));
        let mut expected = values(m * stride, 5);
        let (mut got, mut serial) = (expected.clone(), expected.clone());
        product_reference(sum, &mut expected, stride, m, n, k, a, b, start);
        Tiled(sum).product(&mut got, stride, m, n, k, a, b, start);
        assert_eq!(got, expected, "{m}×{n}×{k} {sum:?}");
        if sum == Sum::Chain {
            TiledSerial.product(&mut serial, stride, m, n, k, a, b, start);
            assert_eq!(serial, expected, "{m}×{n}×{k} serial");
        }
        for tile in 0..2 {
            let mut narrow = values(m * stride, 5);
            match tile {
                #[cfg(target_arch = "x86_64")]
                0 if std::arch::is_x86_feature_detected!("fma") && k > 0 => {
                    tiled::<6, 16, f32>(&mut narrow, stride, m, n, k, a, b, start, true, tile::AVX2.of(sum));
                }
                _ if k > 0 => tiled::<4, 16, f32>(
                    &mut narrow,
                    stride,
                    m,
                    n,
                    k,
                    a,
                    b,
                    start,
                    true,
                    tile::PORTABLE.of(sum),
                ),
                _ => continue,
            }
            assert_eq!(narrow, expected, "{m}×{n}×{k} {sum:?}, narrower tiles");
        }
    }

    #[test]
    fn is_bitwise_the_reference_across_blocks() {
        check_shape(200, 70, 600, (false, true), 0, 70);
        check_shape(13, 1100, 300, (true, false), 1, 1104);
        check_shape(97, 33, 257, (false, false), 2, 33);
        check_shape(100, 64, 512, (false, true), 3, 64);
        check_shape(31, 40, 1024, (false, true), 3, 41);
        check_shape(30, 1030, 1100, (true, false), 2, 1030);
        check_shape(14, 1030, 1100, (false, true), 0, 1030);
        check_shape(3, 4, 0, (false, false), 2, 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn is_bitwise_the_reference(m in 1..40_usize, n in 1..80_usize, k in 0..40_usize, ta: bool, tb: bool, start in 0..4_usize, extra in 0..5_usize) {
            check_shape(m, n, k, (ta, tb), start, n + extra);
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_rows_beside_it() {
        let (m, n, k) = (150, 96, 700);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let mut all = vec![0.0; m * n];
        Tiled(Sum::Blocks).product(
            &mut all,
            n,
            m,
            n,
            k,
            Matrix::new(&a, k),
            Matrix::transposed(&b, k),
            Start::Zero,
        );
        for i in [0, 17, 149] {
            let mut one = vec![0.0; n];
            Tiled(Sum::Blocks).product(
                &mut one,
                n,
                1,
                n,
                k,
                Matrix::new(&a[i * k..], k),
                Matrix::transposed(&b, k),
                Start::Zero,
            );
            assert_eq!(one, all[i * n..][..n]);
        }
    }

    #[test]
    fn blocks_round_less_than_a_chain() {
        let (m, n, k) = (12, 32, 4096);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let error = |sum: Sum| {
            let mut c = vec![0.0; m * n];
            Tiled(sum).product(
                &mut c,
                n,
                m,
                n,
                k,
                Matrix::new(&a, k),
                Matrix::transposed(&b, k),
                Start::Zero,
            );
            let exact = |i: usize, j: usize| -> f64 {
                let products = a[i * k..][..k].iter().zip(&b[j * k..][..k]);
                products.map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
            };
            let squares = c.iter().enumerate().map(|(at, c)| (f64::from(*c) - exact(at / n, at % n)).powi(2));
            (squares.sum::<f64>() / c.len() as f64).sqrt()
        };
        let (chain, blocks) = (error(Sum::Chain), error(Sum::Blocks));
        // Errors grow with the root of the length, here 4,096 against 64 and 64: by a factor of 5 to 6.
        assert!(blocks < chain / 3.0, "{blocks} {chain}");
    }

    #[test]
    fn agrees_with_a_library() {
        let (m, n, k) = (65, 130, 300);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let (mut ours, mut library) = (vec![0.0; m * n], vec![0.0_f32; m * n]);
        Tiled(Sum::Blocks).product(
            &mut ours,
            n,
            m,
            n,
            k,
            Matrix::new(&a, k),
            Matrix::transposed(&b, k),
            Start::Zero,
        );
        // SAFETY: the strides and lengths are those of the vectors above.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                library.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                1,
                k as isize,
                b.as_ptr(),
                k as isize,
                1,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        // Both sum 300 products of values below 1 in f32, in different orders.
        let worst = ours.iter().zip(&library).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 300.0 * f32::EPSILON, "{worst}");
    }
}
