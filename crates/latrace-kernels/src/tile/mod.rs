//! Tiles: the part of a matrix product that stays in registers, for each instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

use half::bf16;

use crate::gemm::Sum;
use crate::simd::{Level, vectors};

/// `tile(k, a, [row, step], b, b_row, c, ldc, zero, ahead)`: C (+)= A·B over k, starting from zero or from C,
/// for a tile as wide as a panel of B; A's element (i, p) is `a[i * row + p * step]`, B's row p is at `b[p *
/// b_row]`. Meanwhile, what is needed next is prefetched.
pub(crate) type Tile =
    unsafe fn(usize, *const f32, [usize; 2], *const f32, usize, *mut f32, usize, bool, Ahead);

/// Memory to prefetch while multiplying, at any address: at each of the k steps the line at `at`, on AVX-512
/// that at `at + second` too; then `at` advances by `step` values.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    at: *const f32,
    second: usize,
    step: usize,
}

/// Values of a cache line.
pub(crate) const LINE: usize = 16;

impl Ahead {
    /// A panel: k rows, `step` values apart.
    pub(crate) fn panel(at: *const f32, step: usize) -> Self {
        Self { at, second: LINE, step }
    }

    /// k lines, one after another.
    pub(crate) fn lines(at: *const f32) -> Self {
        Self { at, second: 0, step: LINE }
    }

    /// Asks for what is needed later: a row of so many values, which is two lines of the cache in the widest.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline(always)]
    fn fetch(&mut self, row: usize) {
        fetch(self.at);
        if row > LINE {
            fetch(self.at.wrapping_add(self.second));
        }
        self.at = self.at.wrapping_add(self.step);
    }
}

/// Asks for the line at any address.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch(at: *const f32) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing, and SSE is part of the target.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// Asks for the line at any address.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn fetch(at: *const f32) {
    // SAFETY: a prefetch reads nothing.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags))
    };
}

/// The tiles of one instruction set, by their number of rows less one.
pub(crate) struct Tiles<const MR: usize> {
    chain: [Tile; MR],
    blocks: [Tile; MR],
    /// With a B in bf16: a row of B holds two steps over k, the first in the lower halves of its words (see [`of_pair`]).
    pairs_chain: [Tile; MR],
    pairs_blocks: [Tile; MR],
}

impl<const MR: usize> Tiles<MR> {
    pub(crate) fn of(&self, sum: Sum) -> &[Tile; MR] {
        match sum {
            Sum::Chain => &self.chain,
            Sum::Blocks => &self.blocks,
        }
    }

    fn of_pairs(&self, sum: Sum) -> &[Tile; MR] {
        match sum {
            Sum::Chain => &self.pairs_chain,
            Sum::Blocks => &self.pairs_blocks,
        }
    }
}

macro_rules! by_rows {
    ($set:ident, $($rows:literal)*) => {
        Tiles {
            chain: [$($set::tile::<$rows, true> as Tile),*],
            blocks: [$($set::tile::<$rows, false> as Tile),*],
            pairs_chain: [$($set::pairs::<$rows, true> as Tile),*],
            pairs_blocks: [$($set::pairs::<$rows, false> as Tile),*],
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) static AVX512: Tiles<12> = by_rows!(avx512, 1 2 3 4 5 6 7 8 9 10 11 12);
#[cfg(target_arch = "x86_64")]
pub(crate) static AVX2: Tiles<6> = by_rows!(avx2, 1 2 3 4 5 6);
#[cfg(target_arch = "aarch64")]
pub(crate) static NEON: Tiles<6> = by_rows!(neon, 1 2 3 4 5 6);
pub(crate) static PORTABLE: Tiles<4> = by_rows!(portable, 1 2 3 4);

/// The tiles of the instruction set in use, by their number of rows less one; as wide as its panels.
pub(crate) fn tiles(sum: Sum) -> &'static [Tile] {
    match vectors() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => AVX512.of(sum),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => AVX2.of(sum),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => NEON.of(sum),
        _ => PORTABLE.of(sum),
    }
}

/// [`tiles`] for a B in pairs.
pub(crate) fn tiles_of_pairs(sum: Sum) -> &'static [Tile] {
    match vectors() {
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => AVX512.of_pairs(sum),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => AVX2.of_pairs(sum),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => NEON.of_pairs(sum),
        _ => PORTABLE.of_pairs(sum),
    }
}

/// Two values of bf16 as one word of a packed panel.
pub(crate) fn pair(first: bf16, second: bf16) -> f32 {
    f32::from_bits(u32::from(second.to_bits()) << 16 | u32::from(first.to_bits()))
}

/// The two values of a [`pair`].
#[inline(always)]
pub(crate) fn of_pair(word: f32) -> [f32; 2] {
    let bits = word.to_bits();
    [f32::from_bits(bits << 16), f32::from_bits(bits & 0xFFFF_0000)]
}

/// Chooses the panel's width of the instruction set in use as a constant of `$body`.
macro_rules! with_panel {
    ($width:ident => $body:expr) => {
        match $crate::simd::vectors() {
            #[cfg(target_arch = "x86_64")]
            $crate::simd::Level::Avx512 => {
                const $width: usize = 32;
                $body
            }
            _ => {
                const $width: usize = 16;
                $body
            }
        }
    };
}
pub(crate) use with_panel;

/// A tile that is wider than the rest of C: computed in a whole tile, into and out of which C's part is copied.
pub(crate) fn edge_tile<const NR: usize>(
    c: &mut [f32],
    ldc: usize,
    [rows, columns]: [usize; 2],
    work: impl FnOnce(&mut [f32]),
) {
    let mut edge = [0.0_f32; 12 * 32];
    for i in 0..rows {
        edge[i * NR..][..columns].copy_from_slice(&c[i * ldc..][..columns]);
    }
    work(&mut edge[..rows * NR]);
    for i in 0..rows {
        c[i * ldc..][..columns].copy_from_slice(&edge[i * NR..][..columns]);
    }
}
