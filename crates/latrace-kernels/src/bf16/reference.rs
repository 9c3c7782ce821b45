//! The definition of the products, output by output.

use super::{STEPS, Unit};
use crate::gemm::{Matrix, Start, fill_start};
use half::bf16;

/// The nearest bf16, ties to even; what is too small for a normal number becomes zero, as in the processor's conversion.
fn rounded(x: f32) -> f32 {
    if x.is_subnormal() { 0.0_f32.copysign(x) } else { bf16::from_f32(x).to_f32() }
}

/// The product as `unit` computes it, of operands between whose values no product is subnormal.
pub fn bf16_product_reference(
    unit: Unit,
    c: &mut [f32],
    row_stride: usize,
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    start: Start<'_>,
) {
    for i in 0..m {
        fill_start(&mut c[i * row_stride..][..n], i, 0, row_stride, start);
        for j in 0..n {
            let step = |sum: f32, p: usize| {
                let x = rounded(a.data[i * a.row_stride + p * a.column_stride]);
                x.mul_add(rounded(b.data[p * b.row_stride + j * b.column_stride]), sum)
            };
            let within = |p: &usize| *p < k;
            let c = &mut c[i * row_stride + j];
            for block in (0..k).step_by(STEPS) {
                let [even, odd] = [0, 1].map(|odd| (block + odd..block + STEPS).step_by(2).filter(within));
                *c = match unit {
                    Unit::Amx => *c + (even.fold(0.0, step) + odd.fold(0.0, step)),
                    Unit::Dot => (block..block + STEPS).map(|p| p ^ 1).filter(within).fold(*c, step),
                };
            }
        }
    }
}
