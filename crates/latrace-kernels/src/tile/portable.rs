//! Tiles of up to 4×16 in plain Rust.

use super::{Ahead, of_pair};
use crate::gemm::BLOCK;

const NR: usize = 16;

/// A tile of MR rows; see [`super::Tile`].
pub(super) unsafe fn tile<const MR: usize, const CHAIN: bool>(
    k: usize,
    a: *const f32,
    strides: [usize; 2],
    b: *const f32,
    b_row: usize,
    c: *mut f32,
    ldc: usize,
    zero: bool,
    _: Ahead,
) {
    // SAFETY: the caller gives k rows of 16 at b_row.
    let b = unsafe { std::slice::from_raw_parts(b, (k - 1) * b_row + NR) };
    // SAFETY: and the rest as `multiply` wants it.
    unsafe { multiply::<MR, CHAIN>(k, a, strides, |p, j| b[p * b_row + j], c, ldc, zero) };
}

/// A tile of MR rows over pairs; see [`super::Tiles`].
pub(super) unsafe fn pairs<const MR: usize, const CHAIN: bool>(
    k: usize,
    a: *const f32,
    strides: [usize; 2],
    b: *const f32,
    b_row: usize,
    c: *mut f32,
    ldc: usize,
    zero: bool,
    _: Ahead,
) {
    // SAFETY: the caller gives a row of 16 pairs at b_row for two of k.
    let b = unsafe { std::slice::from_raw_parts(b, (k.div_ceil(2) - 1) * b_row + NR) };
    let value = |p: usize, j: usize| of_pair(b[p / 2 * b_row + j])[p % 2];
    // SAFETY: and the rest as `multiply` wants it.
    unsafe { multiply::<MR, CHAIN>(k, a, strides, value, c, ldc, zero) };
}

/// C (+)= A·B, where `b(p, j)` is B's value.
///
/// # Safety
/// `a` holds MR rows of k values at the strides, and `c` a tile of MR rows of 16 at stride `ldc` that nothing else touches.
#[inline(always)]
unsafe fn multiply<const MR: usize, const CHAIN: bool>(
    k: usize,
    a: *const f32,
    [row, step]: [usize; 2],
    b: impl Fn(usize, usize) -> f32,
    c: *mut f32,
    ldc: usize,
    zero: bool,
) {
    // SAFETY: by the caller.
    let a = unsafe { std::slice::from_raw_parts(a, (MR - 1) * row + (k - 1) * step + 1) };
    // SAFETY: by the caller.
    let c = unsafe { std::slice::from_raw_parts_mut(c, (MR - 1) * ldc + NR) };
    for block in (0..k).step_by(if CHAIN { k } else { BLOCK }) {
        let is_first = zero && block == 0;
        let mut acc = [[0.0_f32; NR]; MR];
        if CHAIN && !is_first {
            for (i, row) in acc.iter_mut().enumerate() {
                row.copy_from_slice(&c[i * ldc..][..NR]);
            }
        }
        for p in block..if CHAIN { k } else { k.min(block + BLOCK) } {
            for (i, acc) in acc.iter_mut().enumerate() {
                let x = a[i * row + p * step];
                acc.iter_mut().enumerate().for_each(|(j, acc)| *acc = x.mul_add(b(p, j), *acc));
            }
        }
        for (i, row) in acc.iter().enumerate() {
            let c = &mut c[i * ldc..][..NR];
            if CHAIN || is_first {
                c.copy_from_slice(row);
            } else {
                c.iter_mut().zip(row).for_each(|(c, sum)| *c += sum);
            }
        }
    }
}
