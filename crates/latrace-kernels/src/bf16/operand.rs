//! Packing: 16 lanes (rows of A, columns of B) and 32 steps of k at a time.
//!
//! A tile of A has a lane in each of its rows, of which the words are pairs of steps; half a panel of B has a pair of steps
//! in each of its rows, of which the words are lanes. Each is the other's transpose.

use super::{LANES, WORDS};
use crate::element::Element;
use std::ops::Range;

/// Lanes to pack, of a matrix that has many.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub first: usize,
    pub count: usize,
}

/// Packs lanes that are contiguous over k, `stride` values apart: lane by lane, or pair by pair if `transposed`. Rows of
/// the target are `target_stride` words apart.
pub(super) fn pack_along<T: Element>(
    target: &mut [f32],
    target_stride: usize,
    source: &[T],
    stride: usize,
    lanes: Lanes,
    depth: Range<usize>,
    transposed: bool,
) {
    check(target, target_stride);
    if lanes.count > 0 && !depth.is_empty() {
        assert!(
            (lanes.first + lanes.count - 1) * stride + depth.end <= source.len(),
            "lanes lie within the matrix"
        );
    }
    // SAFETY: lanes and steps lie within the source, 16 rows of 16 words within the target, and units of bf16 come with
    // AVX-512.
    unsafe {
        vector::along(target.as_mut_ptr(), target_stride, source.as_ptr(), stride, lanes, depth, transposed);
    }
}

/// Packs steps that are contiguous over lanes, `stride` values apart: pair by pair, or lane by lane if `transposed`.
pub(super) fn pack_across<T: Element>(
    target: &mut [f32],
    target_stride: usize,
    source: &[T],
    stride: usize,
    lanes: Lanes,
    depth: Range<usize>,
    transposed: bool,
) {
    check(target, target_stride);
    if lanes.count > 0 && !depth.is_empty() {
        assert!(
            (depth.end - 1) * stride + lanes.first + lanes.count <= source.len(),
            "steps lie within the matrix"
        );
    }
    // SAFETY: as above.
    unsafe {
        vector::across(target.as_mut_ptr(), target_stride, source.as_ptr(), stride, lanes, depth, transposed);
    }
}

fn check(target: &[f32], stride: usize) {
    assert!(target.len() >= (LANES - 1) * stride + WORDS, "the target holds 16 rows");
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use super::super::STEPS;
    use super::{LANES, Lanes, WORDS};
    use crate::element::Element;
    use std::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_permutexvar_epi16, _mm512_setzero_si512, _mm512_shuffle_i32x4,
        _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
        _mm512_unpacklo_epi64,
    };
    use std::ops::Range;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn along<T: Element>(
        target: *mut f32,
        target_stride: usize,
        source: *const T,
        stride: usize,
        lanes: Lanes,
        depth: Range<usize>,
        transposed: bool,
    ) {
        // SAFETY: by the caller.
        unsafe {
            let mut rows = [_mm512_setzero_si512(); LANES];
            for (lane, row) in rows.iter_mut().enumerate().take(lanes.count) {
                *row = T::narrow_row(source.add((lanes.first + lane) * stride + depth.start), depth.len());
            }
            store(target, target_stride, rows, transposed);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn across<T: Element>(
        target: *mut f32,
        target_stride: usize,
        source: *const T,
        stride: usize,
        lanes: Lanes,
        depth: Range<usize>,
        transposed: bool,
    ) {
        // SAFETY: by the caller.
        unsafe {
            // Of 16 values of one step and 16 of the next, each lane's two side by side.
            let side_by_side: [u16; STEPS] = std::array::from_fn(|i| (i / 2 + i % 2 * LANES) as u16);
            let side_by_side = _mm512_loadu_si512(side_by_side.as_ptr().cast());
            let mut rows = [_mm512_setzero_si512(); WORDS];
            for (pair, row) in rows.iter_mut().enumerate().take(depth.len().div_ceil(2)) {
                let step = depth.start + 2 * pair;
                let at = |step: usize| source.wrapping_add(step * stride + lanes.first);
                let second = if step + 1 < depth.end { lanes.count } else { 0 };
                let values = T::narrow_halves([at(step), at(step + 1)], [lanes.count, second]);
                *row = _mm512_permutexvar_epi16(side_by_side, values);
            }
            store(target, target_stride, rows, transposed);
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn store(target: *mut f32, stride: usize, rows: [__m512i; 16], transposed: bool) {
        let rows = if transposed { transpose(rows) } else { rows };
        for (i, row) in rows.into_iter().enumerate() {
            // SAFETY: by the caller, the target has 16 rows of 16 words.
            unsafe { _mm512_storeu_si512(target.add(i * stride).cast(), row) };
        }
    }

    /// 16×16 words: within quarters of vectors by 4×4, then the quarters.
    #[target_feature(enable = "avx512f")]
    fn transpose(rows: [__m512i; 16]) -> [__m512i; 16] {
        let mut a = rows;
        for i in (0..16).step_by(4) {
            let [r0, r1, r2, r3] = [rows[i], rows[i + 1], rows[i + 2], rows[i + 3]];
            let (l01, h01) = (_mm512_unpacklo_epi32(r0, r1), _mm512_unpackhi_epi32(r0, r1));
            let (l23, h23) = (_mm512_unpacklo_epi32(r2, r3), _mm512_unpackhi_epi32(r2, r3));
            a[i] = _mm512_unpacklo_epi64(l01, l23);
            a[i + 1] = _mm512_unpackhi_epi64(l01, l23);
            a[i + 2] = _mm512_unpacklo_epi64(h01, h23);
            a[i + 3] = _mm512_unpackhi_epi64(h01, h23);
        }
        // a[4g + c] holds in its quarter q column 4q + c of rows 4g to 4g + 3.
        let mut out = rows;
        for c in 0..4 {
            let [g0, g1, g2, g3] = [a[c], a[4 + c], a[8 + c], a[12 + c]];
            let (low01, high01) =
                (_mm512_shuffle_i32x4::<0x44>(g0, g1), _mm512_shuffle_i32x4::<0xEE>(g0, g1));
            let (low23, high23) =
                (_mm512_shuffle_i32x4::<0x44>(g2, g3), _mm512_shuffle_i32x4::<0xEE>(g2, g3));
            out[c] = _mm512_shuffle_i32x4::<0x88>(low01, low23);
            out[4 + c] = _mm512_shuffle_i32x4::<0xDD>(low01, low23);
            out[8 + c] = _mm512_shuffle_i32x4::<0x88>(high01, high23);
            out[12 + c] = _mm512_shuffle_i32x4::<0xDD>(high01, high23);
        }
        out
    }
}

/// No unit is found on other architectures, and nothing is packed for one.
#[cfg(not(target_arch = "x86_64"))]
mod vector {
    use super::{Lanes, Range};

    pub(super) unsafe fn along<T>(
        _: *mut f32,
        _: usize,
        _: *const T,
        _: usize,
        _: Lanes,
        _: Range<usize>,
        _: bool,
    ) {
        unreachable!("no unit is found on this architecture");
    }
    pub(super) use along as across;
}
