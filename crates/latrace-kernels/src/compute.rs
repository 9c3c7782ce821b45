//! The types in which products are computed.

use crate::bf16::{Rounded, unit};
use crate::element::Element;
use crate::gemm::{Matrix, MatrixProduct, Start, Sum, Tiled};

/// What [`Device::arithmetic`](crate::Device::arithmetic) calls products of f32.
pub const F32: &str = "f32";

/// The type in which the operands of products with weights are computed; sums, and everything else, are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compute {
    /// f32.
    #[default]
    F32,
    /// bf16 by the processor's unit for it ([`unit()`]); without one, weights are held in bf16 and multiplied in f32.
    Bf16,
}

impl Compute {
    /// The product that sums in that order; products of bf16 have one of their own.
    pub(crate) fn product(self, sum: Sum) -> Product {
        match (self, unit()) {
            (Self::Bf16, Some(unit)) => Product::Rounded(Rounded(unit)),
            _ => sum.into(),
        }
    }
}

/// A product of either type.
#[derive(Clone, Copy)]
pub(crate) enum Product {
    Tiled(Tiled),
    Rounded(Rounded),
}

impl From<Sum> for Product {
    fn from(sum: Sum) -> Self {
        Self::Tiled(Tiled(sum))
    }
}

impl MatrixProduct for Product {
    fn product<B: Element>(
        &self,
        c: &mut [f32],
        row_stride: usize,
        m: usize,
        n: usize,
        k: usize,
        a: Matrix<'_>,
        b: Matrix<'_, B>,
        start: Start<'_>,
    ) {
        match self {
            Self::Tiled(tiled) => tiled.product(c, row_stride, m, n, k, a, b, start),
            Self::Rounded(rounded) => rounded.product(c, row_stride, m, n, k, a, b, start),
        }
    }
}
