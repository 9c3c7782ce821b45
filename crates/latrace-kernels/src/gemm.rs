//! Matrix products in which every output is one chain of fused multiply-adds over k, in index order.
//!
//! The accumulators are loaded from C (or from what C starts as) at each block of k, not added at its end. The result of
//! an output therefore depends on its row of A, its column of B and its start alone: not on tiling, on the number of rows
//! beside it, on threads, or on the instruction set. Packed panels, register tiles of 12×32 (AVX-512) or 6×16 (AVX2).

use crate::parallel::{Scratch, Shared, for_each, with_scratch};
use crate::simd::{Level, level};

/// A matrix in memory: element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The values.
    pub data: &'a [f32],
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between columns.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Row-major with `columns` columns.
    pub fn new(data: &'a [f32], columns: usize) -> Self {
        Self { data, row_stride: columns, column_stride: 1 }
    }

    /// The transpose of a row-major matrix with `columns` columns.
    pub fn transposed(data: &'a [f32], columns: usize) -> Self {
        Self { data, row_stride: 1, column_stride: columns }
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

/// The one seam behind which matrix products sit; tests put a library there as the yardstick.
pub trait MatrixProduct {
    /// C = start + A·B.
    ///
    /// # Shapes
    /// `c`: m×n, row-major with `row_stride` ≥ n (`Start::Matrix` has the same stride); `a`: m×k; `b`: k×n.
    fn product(&self, c: &mut [f32], row_stride: usize, m: usize, n: usize, k: usize, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>);
}

/// Our product, on all threads of the current pool.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tiled;

/// Our product, on the calling thread: for tiles inside a task.
#[derive(Clone, Copy, Debug, Default)]
pub struct TiledSerial;

/// Depth of a packed panel: 12 rows × 256 values of A stay in the first-level cache.
const KC: usize = 256;
/// Columns of B packed at once: 256 × 1,024 values fill the second-level cache.
const NC: usize = 1024;
/// Most rows of A packed at once by one task: a multiple of every tile height.
const MC: usize = 96;

impl MatrixProduct for Tiled {
    fn product(&self, c: &mut [f32], row_stride: usize, m: usize, n: usize, k: usize, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>) {
        // Below ~1 M multiply-adds, sharing costs more than it saves.
        let parallel = m * n * k > 1 << 20;
        run(c, row_stride, m, n, k, a, b, start, parallel);
    }
}

impl MatrixProduct for TiledSerial {
    fn product(&self, c: &mut [f32], row_stride: usize, m: usize, n: usize, k: usize, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>) {
        run(c, row_stride, m, n, k, a, b, start, false);
    }
}

fn check(name: &str, x: Matrix<'_>, rows: usize, columns: usize) {
    if rows > 0 && columns > 0 {
        let last = (rows - 1) * x.row_stride + (columns - 1) * x.column_stride;
        assert!(last < x.data.len(), "matrix {name} of {rows}×{columns} needs {} values, got {}", last + 1, x.data.len());
    }
}

fn run(c: &mut [f32], ldc: usize, m: usize, n: usize, k: usize, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>, parallel: bool) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(ldc >= n && (m - 1) * ldc + n <= c.len(), "C of {m}×{n} with stride {ldc} does not fit in {} values", c.len());
    check("A", a, m, k);
    check("B", b, k, n);
    match start {
        Start::Row(row) => assert_eq!(row.len(), n, "the start row has C's columns"),
        Start::Matrix(x) => assert!((m - 1) * ldc + n <= x.len(), "the start matrix has C's shape"),
        Start::Zero | Start::Accumulate => {}
    }
    if k == 0 {
        (0..m).for_each(|i| fill_start(&mut c[i * ldc..][..n], i, 0, ldc, start));
        return;
    }
    match level() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => tiled::<12, 32>(c, ldc, m, n, k, a, b, start, parallel, avx512_tile),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => tiled::<6, 16>(c, ldc, m, n, k, a, b, start, parallel, avx2_tile),
        _ => tiled::<4, 16>(c, ldc, m, n, k, a, b, start, parallel, portable_tile),
    }
}

/// Puts what C starts as into `c`, its row i from column j on.
fn fill_start(c: &mut [f32], i: usize, j: usize, ldc: usize, start: Start<'_>) {
    match start {
        Start::Zero => c.fill(0.0),
        Start::Accumulate => {}
        Start::Row(row) => c.copy_from_slice(&row[j..j + c.len()]),
        Start::Matrix(x) => c.copy_from_slice(&x[i * ldc + j..][..c.len()]),
    }
}

/// `tile(k, a, b, c, ldc, zero)`: C[MR×NR] (+)= A panel · B panel, starting from zero or from C.
type Tile = unsafe fn(usize, *const f32, *const f32, *mut f32, usize, bool);

thread_local! {
    static PANEL_A: Scratch = const { Scratch::new(Vec::new()) };
    static PANEL_B: Scratch = const { Scratch::new(Vec::new()) };
}

fn tiled<const MR: usize, const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    m: usize,
    n: usize,
    k: usize,
    a: Matrix<'_>,
    b: Matrix<'_>,
    start: Start<'_>,
    parallel: bool,
    tile: Tile,
) {
    let shared = Shared::new(c);
    let length = c.len();
    let each = |count: usize, task: &(dyn Fn(usize) + Sync + Send)| {
        if parallel { for_each(count, task) } else { (0..count).for_each(task) }
    };
    // Several blocks a thread, so that all finish together; which block a row is in changes no bit.
    let rows = if parallel { m.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(MR).min(MC) } else { MC };
    for jc in (0..n).step_by(NC) {
        let nc = NC.min(n - jc);
        let panels = nc.div_ceil(NR);
        for pc in (0..k).step_by(KC) {
            let kc = KC.min(k - pc);
            with_scratch(&PANEL_B, panels * NR * kc, |packed_b| {
                let target = Shared::new(packed_b);
                each(panels, &|panel| {
                    // SAFETY: one panel per task.
                    let target = unsafe { target.part(panel * NR * kc, NR * kc) };
                    let j = jc + panel * NR;
                    pack::<NR>(target, b.data, pc * b.row_stride + j * b.column_stride, b.column_stride, b.row_stride, NR.min(n - j), kc);
                });
                let packed_b = &*packed_b;
                each(m.div_ceil(rows), &|block| {
                    let ic = block * rows;
                    let mc = rows.min(m - ic);
                    // SAFETY: one block of rows per task, and rows do not overlap.
                    let c = unsafe { shared.part(ic * ldc, ((mc - 1) * ldc + ldc).min(length - ic * ldc)) };
                    with_scratch(&PANEL_A, rows.next_multiple_of(MR) * kc, |packed_a| {
                        for (panel, target) in packed_a.chunks_exact_mut(MR * kc).take(mc.div_ceil(MR)).enumerate() {
                            let i = ic + panel * MR;
                            pack::<MR>(target, a.data, i * a.row_stride + pc * a.column_stride, a.row_stride, a.column_stride, MR.min(m - i), kc);
                        }
                        if pc == 0 {
                            for i in 0..mc {
                                if !matches!(start, Start::Zero) {
                                    fill_start(&mut c[i * ldc + jc..][..nc], ic + i, jc, ldc, start);
                                }
                            }
                        }
                        let zero = pc == 0 && matches!(start, Start::Zero);
                        block_product::<MR, NR>(c, ldc, jc, mc, nc, kc, packed_a, packed_b, zero, tile);
                    });
                });
            });
        }
    }
}

/// All tiles of a block of rows against the packed columns.
fn block_product<const MR: usize, const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    jc: usize,
    mc: usize,
    nc: usize,
    kc: usize,
    packed_a: &[f32],
    packed_b: &[f32],
    zero: bool,
    tile: Tile,
) {
    for ir in (0..mc).step_by(MR) {
        let a = &packed_a[ir * kc..][..MR * kc];
        for jr in (0..nc).step_by(NR) {
            let b = &packed_b[jr * kc..][..NR * kc];
            let (rows, columns) = (MR.min(mc - ir), NR.min(nc - jr));
            let origin = ir * ldc + jc + jr;
            if rows == MR && columns == NR {
                let c = &mut c[origin..][..(MR - 1) * ldc + NR];
                // SAFETY: the panels hold kc rows, and C an MR×NR tile of stride ldc, by the slices above.
                unsafe { tile(kc, a.as_ptr(), b.as_ptr(), c.as_mut_ptr(), ldc, zero) };
                continue;
            }
            let mut edge = [0.0_f32; 12 * 32];
            let edge = &mut edge[..MR * NR];
            if !zero {
                for i in 0..rows {
                    edge[i * NR..][..columns].copy_from_slice(&c[origin + i * ldc..][..columns]);
                }
            }
            // SAFETY: as above, on a whole tile of our own.
            unsafe { tile(kc, a.as_ptr(), b.as_ptr(), edge.as_mut_ptr(), NR, zero) };
            for i in 0..rows {
                c[origin + i * ldc..][..columns].copy_from_slice(&edge[i * NR..][..columns]);
            }
        }
    }
}

/// Copies a panel of `W` lanes × `depth`: `target[p * W + i] = source[origin + i * lane_stride + p * depth_stride]`, zeros beyond `lanes`.
fn pack<const W: usize>(target: &mut [f32], source: &[f32], origin: usize, lane_stride: usize, depth_stride: usize, lanes: usize, depth: usize) {
    let source = &source[origin..];
    if lane_stride == 1 {
        for (p, out) in target.chunks_exact_mut(W).enumerate() {
            let from = &source[p * depth_stride..];
            // A copy of a length known to the compiler is a few moves; of one that is not, a call.
            match (from.first_chunk::<W>(), out.first_chunk_mut::<W>()) {
                (Some(from), Some(out)) if lanes == W => *out = *from,
                _ => {
                    out[..lanes].copy_from_slice(&from[..lanes]);
                    out[lanes..].fill(0.0);
                }
            }
        }
    } else if depth_stride == 1 {
        // Transposition by blocks of 4×4; lanes and depth beyond the last whole block one by one.
        let (whole_lanes, whole_depth) = (lanes / 4 * 4, depth / 4 * 4);
        for i in (0..whole_lanes).step_by(4) {
            transpose_lanes::<W>(&mut target[i..], &source[i * lane_stride..], lane_stride, whole_depth);
        }
        for p in 0..depth {
            let from = if p < whole_depth { whole_lanes } else { 0 };
            for i in from..W {
                target[p * W + i] = if i < lanes { source[i * lane_stride + p] } else { 0.0 };
            }
        }
    } else {
        for (p, out) in target.chunks_exact_mut(W).enumerate() {
            for (i, value) in out.iter_mut().enumerate() {
                *value = if i < lanes { source[i * lane_stride + p * depth_stride] } else { 0.0 };
            }
        }
    }
}

/// `target[p * W + r] = source[r * stride + p]` for four lanes r and `depth` values of each, a multiple of 4.
#[inline(always)]
fn transpose_lanes<const W: usize>(target: &mut [f32], source: &[f32], stride: usize, depth: usize) {
    if depth == 0 {
        return;
    }
    assert!(target.len() >= (depth - 1) * W + 4 && source.len() >= 3 * stride + depth, "lanes to transpose lie within their buffers");
    for p in (0..depth).step_by(4) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE is part of the target; all reads and writes lie within what is asserted above.
        unsafe {
            use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
            let (from, to) = (source.as_ptr().add(p), target.as_mut_ptr().add(p * W));
            let (mut a, mut b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(stride)));
            let (mut c, mut d) = (_mm_loadu_ps(from.add(2 * stride)), _mm_loadu_ps(from.add(3 * stride)));
            _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
            _mm_storeu_ps(to, a);
            _mm_storeu_ps(to.add(W), b);
            _mm_storeu_ps(to.add(2 * W), c);
            _mm_storeu_ps(to.add(3 * W), d);
        }
        #[cfg(not(target_arch = "x86_64"))]
        for (r, c) in (0..16).map(|i| (i / 4, i % 4)) {
            target[(p + c) * W + r] = source[r * stride + p + c];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512_tile(k: usize, mut a: *const f32, mut b: *const f32, c: *mut f32, ldc: usize, zero: bool) {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps};
    const MR: usize = 12;
    // SAFETY: the caller gives k packed rows of 12 and 32 values, and a tile of 12 rows of 32 at stride ldc.
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); 2]; MR];
        if !zero {
            for (i, row) in acc.iter_mut().enumerate() {
                *row = [_mm512_loadu_ps(c.add(i * ldc)), _mm512_loadu_ps(c.add(i * ldc + 16))];
            }
        }
        for _ in 0..k {
            let (b0, b1) = (_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16)));
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*a.add(i));
                *row = [_mm512_fmadd_ps(x, b0, row[0]), _mm512_fmadd_ps(x, b1, row[1])];
            }
            a = a.add(MR);
            b = b.add(32);
        }
        for (i, row) in acc.iter().enumerate() {
            _mm512_storeu_ps(c.add(i * ldc), row[0]);
            _mm512_storeu_ps(c.add(i * ldc + 16), row[1]);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2_tile(k: usize, mut a: *const f32, mut b: *const f32, c: *mut f32, ldc: usize, zero: bool) {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps};
    const MR: usize = 6;
    // SAFETY: the caller gives k packed rows of 6 and 16 values, and a tile of 6 rows of 16 at stride ldc.
    unsafe {
        let mut acc = [[_mm256_setzero_ps(); 2]; MR];
        if !zero {
            for (i, row) in acc.iter_mut().enumerate() {
                *row = [_mm256_loadu_ps(c.add(i * ldc)), _mm256_loadu_ps(c.add(i * ldc + 8))];
            }
        }
        for _ in 0..k {
            let (b0, b1) = (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)));
            for (i, row) in acc.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*a.add(i));
                *row = [_mm256_fmadd_ps(x, b0, row[0]), _mm256_fmadd_ps(x, b1, row[1])];
            }
            a = a.add(MR);
            b = b.add(16);
        }
        for (i, row) in acc.iter().enumerate() {
            _mm256_storeu_ps(c.add(i * ldc), row[0]);
            _mm256_storeu_ps(c.add(i * ldc + 8), row[1]);
        }
    }
}

unsafe fn portable_tile(k: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize, zero: bool) {
    const MR: usize = 4;
    const NR: usize = 16;
    // SAFETY: the caller gives k packed rows of 4 and 16 values.
    let (a, b) = unsafe { (std::slice::from_raw_parts(a, k * MR), std::slice::from_raw_parts(b, k * NR)) };
    // SAFETY: and a tile of 4 rows of 16 at stride ldc, which nothing else touches.
    let c = unsafe { std::slice::from_raw_parts_mut(c, (MR - 1) * ldc + NR) };
    let mut acc = [[0.0_f32; NR]; MR];
    if !zero {
        for (i, row) in acc.iter_mut().enumerate() {
            row.copy_from_slice(&c[i * ldc..][..NR]);
        }
    }
    for (x, y) in a.as_chunks::<MR>().0.iter().zip(b.as_chunks::<NR>().0) {
        for i in 0..MR {
            for j in 0..NR {
                acc[i][j] = x[i].mul_add(y[j], acc[i][j]);
            }
        }
    }
    for (i, row) in acc.iter().enumerate() {
        c[i * ldc..][..NR].copy_from_slice(row);
    }
}

/// The definition: each output one chain of fused multiply-adds over k, from its start.
pub fn product_reference(c: &mut [f32], row_stride: usize, m: usize, n: usize, k: usize, a: Matrix<'_>, b: Matrix<'_>, start: Start<'_>) {
    for i in 0..m {
        fill_start(&mut c[i * row_stride..][..n], i, 0, row_stride, start);
        for j in 0..n {
            for p in 0..k {
                let (x, y) = (a.data[i * a.row_stride + p * a.column_stride], b.data[p * b.row_stride + j * b.column_stride]);
                c[i * row_stride + j] = x.mul_add(y, c[i * row_stride + j]);
            }
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
        let (a, b) = (values(m * k, 1), values(k * n, 2));
        let (row, other) = (values(n, 3), values(m * stride, 4));
        let start = [Start::Zero, Start::Accumulate, Start::Row(&row), Start::Matrix(&other)][start_kind];
        let (a, b) = (layouts(&a, m, k, layout.0), layouts(&b, k, n, layout.1));
        let mut expected = values(m * stride, 5);
        let (mut got, mut serial) = (expected.clone(), expected.clone());
        product_reference(&mut expected, stride, m, n, k, a, b, start);
        Tiled.product(&mut got, stride, m, n, k, a, b, start);
        TiledSerial.product(&mut serial, stride, m, n, k, a, b, start);
        assert_eq!(got, expected, "{m}×{n}×{k}");
        assert_eq!(serial, expected, "{m}×{n}×{k} serial");
        for tile in 0..2 {
            let mut narrow = values(m * stride, 5);
            match tile {
                #[cfg(target_arch = "x86_64")]
                0 if std::arch::is_x86_feature_detected!("fma") && k > 0 => {
                    tiled::<6, 16>(&mut narrow, stride, m, n, k, a, b, start, true, avx2_tile);
                }
                _ if k > 0 => tiled::<4, 16>(&mut narrow, stride, m, n, k, a, b, start, true, portable_tile),
                _ => continue,
            }
            assert_eq!(narrow, expected, "{m}×{n}×{k}, narrower tiles");
        }
    }

    #[test]
    fn is_bitwise_the_reference_across_blocks() {
        check_shape(200, 70, 600, (false, true), 0, 70);
        check_shape(13, 1100, 300, (true, false), 1, 1104);
        check_shape(97, 33, 257, (false, false), 2, 33);
        check_shape(100, 64, 512, (false, true), 3, 64);
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
        Tiled.product(&mut all, n, m, n, k, Matrix::new(&a, k), Matrix::transposed(&b, k), Start::Zero);
        for i in [0, 17, 149] {
            let mut one = vec![0.0; n];
            Tiled.product(&mut one, n, 1, n, k, Matrix::new(&a[i * k..], k), Matrix::transposed(&b, k), Start::Zero);
            assert_eq!(one, all[i * n..][..n]);
        }
    }

    #[test]
    fn agrees_with_a_library() {
        let (m, n, k) = (65, 130, 300);
        let (a, b) = (values(m * k, 1), values(n * k, 2));
        let (mut ours, mut library) = (vec![0.0; m * n], vec![0.0_f32; m * n]);
        Tiled.product(&mut ours, n, m, n, k, Matrix::new(&a, k), Matrix::transposed(&b, k), Start::Zero);
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
