//! Tiles of up to 12×32 in AVX-512.

use std::arch::x86_64::{
    _mm512_add_ps as add, _mm512_and_si512 as and_bits, _mm512_castsi512_ps as as_floats,
    _mm512_fmadd_ps as fmadd, _mm512_loadu_ps as load, _mm512_loadu_si512 as load_bits,
    _mm512_set1_epi32 as set_bits, _mm512_set1_ps as set, _mm512_setzero_ps as setzero,
    _mm512_slli_epi32 as shift_left, _mm512_storeu_ps as store,
};

use super::Ahead;
use super::vector::{begin, multiply, put, vector_tiles};
use crate::gemm::BLOCK;

vector_tiles!(feature: "avx512f", lanes: 16, rows_with_pointers: [0, 3, 6, 9]);
