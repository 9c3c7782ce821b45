//! Values as weights are held in memory: f32, or bf16, of which every value is an f32.

use crate::parallel::{Shared, for_each, grain};
use crate::simd::dispatched;
use half::bf16;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128, __m128i, __m512i, _mm_castsi128_ps, _mm_loadl_epi64, _mm_loadu_ps, _mm_setzero_si128,
    _mm_unpacklo_epi16, _mm256_maskz_loadu_epi16, _mm512_castsi256_si512, _mm512_cvtne2ps_pbh,
    _mm512_inserti64x4, _mm512_maskz_loadu_ps,
};

/// A value that a matrix product reads.
pub trait Element: Copy + Send + Sync + 'static {
    /// As f32, exactly.
    fn wide(self) -> f32;

    /// Four values as f32.
    ///
    /// # Safety
    /// `from` points to four values.
    #[cfg(target_arch = "x86_64")]
    unsafe fn load(from: *const Self) -> __m128;

    /// `count` values, at most 32, as bf16, the nearest, ties to even; then zeros.
    ///
    /// # Safety
    /// `from` points to `count` values; the processor has AVX-512 with BW, VL and BF16.
    #[cfg(target_arch = "x86_64")]
    unsafe fn narrow_row(from: *const Self, count: usize) -> __m512i {
        // SAFETY: by the caller; where no value is read, the address does not matter.
        unsafe {
            Self::narrow_halves([from, from.wrapping_add(16)], [count.min(16), count.saturating_sub(16)])
        }
    }

    /// As [`Element::narrow_row`], each half from its own place, at most 16 values each.
    ///
    /// # Safety
    /// As for [`Element::narrow_row`], of both.
    #[cfg(target_arch = "x86_64")]
    unsafe fn narrow_halves(from: [*const Self; 2], counts: [usize; 2]) -> __m512i;
}

/// The lowest `count` bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn mask(count: usize) -> u16 {
    ((1_u32 << count) - 1) as u16
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(from: *const Self) -> __m128 {
        // SAFETY: SSE is part of the target; the caller gives four values.
        unsafe { _mm_loadu_ps(from) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn narrow_halves(from: [*const Self; 2], counts: [usize; 2]) -> __m512i {
        // SAFETY: by the caller; vectors of bits are the same whatever their elements are called.
        unsafe {
            let low = _mm512_maskz_loadu_ps(mask(counts[0]), from[0]);
            let high = _mm512_maskz_loadu_ps(mask(counts[1]), from[1]);
            std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
        }
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        // The upper half of an f32.
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn load(from: *const Self) -> __m128 {
        // SAFETY: SSE2 is part of the target; the caller gives four values, 8 bytes.
        unsafe {
            let halves = _mm_loadl_epi64(from.cast::<__m128i>());
            _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), halves))
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn narrow_halves(from: [*const Self; 2], counts: [usize; 2]) -> __m512i {
        // SAFETY: by the caller.
        unsafe {
            let low = _mm256_maskz_loadu_epi16(mask(counts[0]), from[0].cast::<i16>());
            let high = _mm256_maskz_loadu_epi16(mask(counts[1]), from[1].cast::<i16>());
            _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high)
        }
    }
}

/// Rounds to the nearest values of bf16, ties to even.
pub(crate) fn round(x: &mut [f32]) {
    let (shared, count, grain) = (Shared::new(x), x.len(), grain());
    for_each(count.div_ceil(grain), |task| {
        // SAFETY: one part per task.
        round_part(unsafe { shared.part(task * grain, grain.min(count - task * grain)) });
    });
}

dispatched! {
    fn round_part(x: &mut [f32]) {
        for x in x {
            let bits = x.to_bits();
            // As `bf16::from_f32`, but for the payload of what is not a number.
            let up = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
            *x = f32::from_bits(if x.is_nan() { bits | 1 << 22 } else { up } & 0xFFFF_0000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_half_does() {
        let mut values: Vec<f32> = (0..=u16::MAX)
            .flat_map(|high| {
                [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF].map(|low| f32::from_bits(u32::from(high) << 16 | low))
            })
            .collect();
        let expected: Vec<u32> =
            values.iter().map(|value| u32::from(bf16::from_f32(*value).to_bits()) << 16).collect();
        round(&mut values);
        assert_eq!(values.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_bf16_is_the_same_f32_by_each_way() {
        for bits in (0..=u16::MAX).step_by(4) {
            let values = [0, 1, 2, 3].map(|i| bf16::from_bits(bits + i));
            let expected = values.map(|value| u32::from(value.to_bits()) << 16);
            assert_eq!(values.map(|value| value.wide().to_bits()), expected);
            #[cfg(target_arch = "x86_64")]
            {
                let mut loaded = [0.0_f32; 4];
                // SAFETY: four values are read, and four written.
                unsafe { std::arch::x86_64::_mm_storeu_ps(loaded.as_mut_ptr(), bf16::load(values.as_ptr())) };
                assert_eq!(loaded.map(f32::to_bits), expected);
            }
        }
    }
}
