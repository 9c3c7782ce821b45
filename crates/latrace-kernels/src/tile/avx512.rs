//! Tiles of up to 12×32 in AVX-512.

use std::arch::x86_64::{
    _MM_HINT_T0, _mm_prefetch, _mm512_add_ps, _mm512_and_si512, _mm512_castsi512_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::Ahead;
use crate::gemm::BLOCK;

/// Every third row of A has a pointer; the two after it are within reach of an address.
macro_rules! pointers {
    ($a:ident, $row:ident) => {
        [$a, $a.wrapping_add(3 * $row), $a.wrapping_add(6 * $row), $a.wrapping_add(9 * $row)]
    };
}

/// `$acc` += x·b for one step over k, whose row of B is `$b`.
macro_rules! multiply {
    ($acc:ident, $a:ident, $row:ident, $b:expr) => {
        let [low, high] = $b;
        for (i, c) in $acc.iter_mut().enumerate() {
            let x = _mm512_set1_ps(*$a[i / 3].add(i % 3 * $row));
            *c = [_mm512_fmadd_ps(x, low, c[0]), _mm512_fmadd_ps(x, high, c[1])];
        }
    };
}

/// The sums into C: added to what is there if `$add`.
macro_rules! store {
    ($acc:ident, $c:ident, $ldc:ident, $add:expr) => {
        for (i, &[mut low, mut high]) in $acc.iter().enumerate() {
            if $add {
                low = _mm512_add_ps(_mm512_loadu_ps($c.add(i * $ldc)), low);
                high = _mm512_add_ps(_mm512_loadu_ps($c.add(i * $ldc + 16)), high);
            }
            _mm512_storeu_ps($c.add(i * $ldc), low);
            _mm512_storeu_ps($c.add(i * $ldc + 16), high);
        }
    };
}

/// A tile of MR rows; see [`super::Tile`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile<const MR: usize, const CHAIN: bool>(
    k: usize,
    a: *const f32,
    [row, step]: [usize; 2],
    mut b: *const f32,
    b_row: usize,
    c: *mut f32,
    ldc: usize,
    zero: bool,
    mut ahead: Ahead,
) {
    // SAFETY: the caller gives MR rows of k values at the strides, k rows of 32 at b_row, and a tile of MR
    // rows of 32 at stride ldc.
    unsafe {
        let mut a = pointers!(a, row);
        for block in (0..k).step_by(if CHAIN { k } else { BLOCK }) {
            let is_first = zero && block == 0;
            let mut acc = [[_mm512_setzero_ps(); 2]; MR];
            if CHAIN && !is_first {
                for (i, row) in acc.iter_mut().enumerate() {
                    *row = [_mm512_loadu_ps(c.add(i * ldc)), _mm512_loadu_ps(c.add(i * ldc + 16))];
                }
            }
            for _ in 0..if CHAIN { k } else { BLOCK.min(k - block) } {
                _mm_prefetch::<_MM_HINT_T0>(ahead.at.cast());
                _mm_prefetch::<_MM_HINT_T0>(ahead.at.wrapping_add(ahead.second).cast());
                ahead.at = ahead.at.wrapping_add(ahead.step);
                multiply!(acc, a, row, [_mm512_loadu_ps(b), _mm512_loadu_ps(b.add(16))]);
                a = a.map(|a| a.wrapping_add(step));
                b = b.wrapping_add(b_row);
            }
            store!(acc, c, ldc, !CHAIN && !is_first);
        }
    }
}

/// A tile of MR rows over pairs; see [`super::Tiles`].
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn pairs<const MR: usize>(
    k: usize,
    a: *const f32,
    [row, step]: [usize; 2],
    mut b: *const f32,
    b_row: usize,
    c: *mut f32,
    ldc: usize,
    zero: bool,
    mut ahead: Ahead,
) {
    // SAFETY: as above, with rows of B for two steps each.
    unsafe {
        let upper = _mm512_set1_epi32(!0 << 16);
        let mut a = pointers!(a, row);
        for block in (0..k).step_by(BLOCK) {
            let mut acc = [[_mm512_setzero_ps(); 2]; MR];
            for first in (block..k.min(block + BLOCK)).step_by(2) {
                _mm_prefetch::<_MM_HINT_T0>(ahead.at.cast());
                _mm_prefetch::<_MM_HINT_T0>(ahead.at.wrapping_add(ahead.second).cast());
                ahead.at = ahead.at.wrapping_add(ahead.step);
                let (low, high) = (_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(16).cast()));
                // A value of bf16 is the upper half of the f32 that it equals.
                let even = [_mm512_slli_epi32::<16>(low), _mm512_slli_epi32::<16>(high)];
                multiply!(acc, a, row, [_mm512_castsi512_ps(even[0]), _mm512_castsi512_ps(even[1])]);
                a = a.map(|a| a.wrapping_add(step));
                if first + 1 < k {
                    let odd = [_mm512_and_si512(low, upper), _mm512_and_si512(high, upper)];
                    multiply!(acc, a, row, [_mm512_castsi512_ps(odd[0]), _mm512_castsi512_ps(odd[1])]);
                    a = a.map(|a| a.wrapping_add(step));
                }
                b = b.wrapping_add(b_row);
            }
            store!(acc, c, ldc, !(zero && block == 0));
        }
    }
}
