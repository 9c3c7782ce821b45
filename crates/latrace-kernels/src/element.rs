//! Values as weights are held in memory: f32, or bf16, of which every value is an f32.

use half::bf16;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m128, __m128i, _mm_castsi128_ps, _mm_loadl_epi64, _mm_loadu_ps, _mm_setzero_si128, _mm_unpacklo_epi16,
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
