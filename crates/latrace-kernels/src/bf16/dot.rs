//! Tiles of AVX-512 BF16 (AMD, from Zen 4 on; Intel, from Cooper Lake on).

use super::{LANES, PANEL, TILE, WORDS};
use std::arch::x86_64::{
    __m512bh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};
use std::mem::transmute;

/// Rows at a time: their sums and a row of B stay in registers.
const ROWS: usize = 8;

/// C (16×32) (+)= A·B over `blocks` tiles of depth.
///
/// # Safety
/// `a`: a row of tiles; `b`: a panel; `c`: 16 rows of 32 at stride `ldc`.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn tile(blocks: usize, a: *const f32, b: *const f32, c: *mut f32, ldc: usize, zero: bool) {
    // SAFETY: by the caller; vectors of bits are the same whatever their elements are called.
    unsafe {
        for first in (0..LANES).step_by(ROWS) {
            let c = c.add(first * ldc);
            let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
            if !zero {
                for (i, row) in acc.iter_mut().enumerate() {
                    *row = [_mm512_loadu_ps(c.add(i * ldc)), _mm512_loadu_ps(c.add(i * ldc + 16))];
                }
            }
            for block in 0..blocks {
                let (a, b) = (a.add(block * TILE + first * WORDS), b.add(block * 2 * TILE));
                for step in 0..WORDS {
                    let b = b.add(step * PANEL);
                    let low: __m512bh = transmute(_mm512_loadu_si512(b.cast()));
                    let high: __m512bh = transmute(_mm512_loadu_si512(b.add(16).cast()));
                    for (i, c) in acc.iter_mut().enumerate() {
                        let x: __m512bh =
                            transmute(_mm512_set1_epi32(*a.add(i * WORDS + step).cast::<i32>()));
                        *c = [_mm512_dpbf16_ps(c[0], x, low), _mm512_dpbf16_ps(c[1], x, high)];
                    }
                }
            }
            for (i, row) in acc.iter().enumerate() {
                _mm512_storeu_ps(c.add(i * ldc), row[0]);
                _mm512_storeu_ps(c.add(i * ldc + 16), row[1]);
            }
        }
    }
}
