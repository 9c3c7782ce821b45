//! Tiles of up to 6×16 in NEON, of whose vectors two count as one here: 24 of its 32 registers hold sums.

use std::arch::aarch64::{
    float32x4_t, uint32x4_t, vaddq_f32, vandq_u32, vdupq_n_f32, vdupq_n_u32, vfmaq_f32, vld1q_f32, vld1q_u32,
    vreinterpretq_f32_u32, vshlq_n_u32, vst1q_f32,
};

use super::Ahead;
use super::vector::{begin, multiply, put, vector_tiles};
use crate::gemm::BLOCK;

/// Eight values.
#[derive(Clone, Copy)]
struct Floats([float32x4_t; 2]);

/// Eight words.
#[derive(Clone, Copy)]
struct Bits([uint32x4_t; 2]);

#[target_feature(enable = "neon")]
fn add(a: Floats, b: Floats) -> Floats {
    Floats([vaddq_f32(a.0[0], b.0[0]), vaddq_f32(a.0[1], b.0[1])])
}

/// a·b + c.
#[target_feature(enable = "neon")]
fn fmadd(a: Floats, b: Floats, c: Floats) -> Floats {
    Floats([vfmaq_f32(c.0[0], a.0[0], b.0[0]), vfmaq_f32(c.0[1], a.0[1], b.0[1])])
}

#[target_feature(enable = "neon")]
fn set(value: f32) -> Floats {
    Floats([vdupq_n_f32(value); 2])
}

#[target_feature(enable = "neon")]
fn setzero() -> Floats {
    set(0.0)
}

#[target_feature(enable = "neon")]
unsafe fn load(at: *const f32) -> Floats {
    // SAFETY: the caller gives eight values.
    unsafe { Floats([vld1q_f32(at), vld1q_f32(at.add(4))]) }
}

#[target_feature(enable = "neon")]
unsafe fn store(at: *mut f32, values: Floats) {
    // SAFETY: the caller gives room for eight values.
    unsafe {
        vst1q_f32(at, values.0[0]);
        vst1q_f32(at.add(4), values.0[1]);
    }
}

#[target_feature(enable = "neon")]
unsafe fn load_bits(at: *const u32) -> Bits {
    // SAFETY: the caller gives eight words.
    unsafe { Bits([vld1q_u32(at), vld1q_u32(at.add(4))]) }
}

#[target_feature(enable = "neon")]
fn set_bits(word: u32) -> Bits {
    Bits([vdupq_n_u32(word); 2])
}

#[target_feature(enable = "neon")]
fn and_bits(a: Bits, b: Bits) -> Bits {
    Bits([vandq_u32(a.0[0], b.0[0]), vandq_u32(a.0[1], b.0[1])])
}

#[target_feature(enable = "neon")]
fn shift_left<const BY: i32>(words: Bits) -> Bits {
    Bits([vshlq_n_u32::<BY>(words.0[0]), vshlq_n_u32::<BY>(words.0[1])])
}

#[target_feature(enable = "neon")]
fn as_floats(words: Bits) -> Floats {
    Floats([vreinterpretq_f32_u32(words.0[0]), vreinterpretq_f32_u32(words.0[1])])
}

vector_tiles!(feature: "neon", lanes: 8, rows_with_pointers: [0, 3]);
