//! What this machine does at most, measured: the rates beside which those of a training or a decoding are read.

use crate::bf16::{Rounded, unit};
use crate::gemm::{Matrix, MatrixProduct, Start, Sum, Tiled};
use std::time::Instant;

/// Rows and columns of the products: each operand exceeds the first two levels of caches; all together fit in most last-level
/// ones.
const SIDE: usize = 1536;
/// Bytes that are read: more than any cache holds.
const BYTES: usize = 512 << 20;
/// The fastest of so many tries counts, since other load only slows them down.
const TRIES: usize = 5;

/// Rates of the current thread pool.
#[derive(Clone, Copy, Debug)]
pub struct PeakRates {
    /// Operations of products in f32 (per second; a multiply-add is two).
    pub f32_products: f64,
    /// Of products in bf16, packing included; none without a unit for them.
    pub bf16_products: Option<f64>,
    /// Bytes read from memory (per second).
    pub memory: f64,
}

impl PeakRates {
    /// Measures, which takes some seconds.
    pub fn measure() -> PeakRates {
        PeakRates {
            f32_products: products(&Tiled(Sum::Blocks)),
            bf16_products: unit().map(|unit| products(&Rounded(unit))),
            memory: memory(),
        }
    }
}

fn products(product: &impl MatrixProduct) -> f64 {
    let (a, b) = (vec![0.5; SIDE * SIDE], vec![0.25; SIDE * SIDE]);
    let mut c = vec![0.0; SIDE * SIDE];
    let (a, b) = (Matrix::new(&a, SIDE), Matrix::transposed(&b, SIDE));
    let seconds = fastest(|| product.product::<f32>(&mut c, SIDE, SIDE, SIDE, SIDE, a, b, Start::Zero));
    2.0 * (SIDE * SIDE * SIDE) as f64 / seconds
}

fn memory() -> f64 {
    let values = vec![1.0_f32; BYTES / 4];
    let seconds = fastest(|| {
        std::hint::black_box(crate::adamw::squared_norm(&values));
    });
    BYTES as f64 / seconds
}

/// Seconds of the fastest try.
fn fastest(mut work: impl FnMut()) -> f64 {
    let once = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..TRIES).map(once).fold(f64::INFINITY, f64::min)
}
