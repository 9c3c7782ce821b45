//! Tiles of up to 6×16 in AVX2 with FMA.

use std::arch::x86_64::{
    _mm256_add_ps as add, _mm256_and_si256 as and_bits, _mm256_castsi256_ps as as_floats,
    _mm256_fmadd_ps as fmadd, _mm256_loadu_ps as load, _mm256_loadu_si256 as load_bits,
    _mm256_set1_epi32 as set_bits, _mm256_set1_ps as set, _mm256_setzero_ps as setzero,
    _mm256_slli_epi32 as shift_left, _mm256_storeu_ps as store,
};

use super::Ahead;
use super::vector::{begin, multiply, put, vector_tiles};
use crate::gemm::BLOCK;

vector_tiles!(feature: "avx2,fma", lanes: 8, rows_with_pointers: [0, 3]);
