//! The operations of a decoder, forward and backward, on packed sequences. All `unsafe` of the project lives
//! here.
//!
//! Axes: t token, h head, d model width, v vocabulary. Buffers are contiguous, row-major, f32. Every
//! operation is a plain function with explicit shapes, in one file with its `*_reference` twin in f64, which
//! is its definition. [`Device`] gathers them, so that the decoder is written once; [`Cpu`] is made of the
//! operations, [`Reference`] of their definitions.
//!
//! Results do not depend on the number of threads: a sum is either computed by one task in index order, or
//! over blocks of fixed size whose sums are added in order.

mod adamw;
mod attention;
mod bf16;
mod buffer;
mod cached_attention;
mod choice;
mod compute;
mod cpu;
mod device;
mod dropout;
mod element;
mod embedding;
mod gemm;
mod head;
mod large_pages;
mod linear;
mod log_sum_exp;
mod map;
mod packed;
mod parallel;
mod peak_rates;
mod reference;
mod rms_norm;
mod rotary;
mod simd;
mod swiglu;
mod team;
#[cfg(test)]
mod testing;
mod tile;

pub use adamw::{AdamW, adamw_reference};
pub use attention::{AttentionShape, attention_backward_reference, attention_reference};
pub use bf16::{Rounded, Unit, bf16_product_reference, unit};
pub use buffer::Buffer;
pub use cached_attention::{CACHE_BLOCK, CacheSpan};
pub use choice::{Choice, Draw, choose_reference, draw_reference};
pub use compute::{Compute, F32};
pub use cpu::Cpu;
pub use device::{Device, PackedWeights, TokenLoss, Weight};
pub use dropout::{dropout_reference, is_kept};
pub use element::Element;
pub use embedding::{embedding_backward_reference, embedding_reference};
pub use gemm::{BLOCK, Matrix, MatrixProduct, Start, Sum, Tiled, TiledSerial, product_reference};
pub use head::{LOGITS_CHUNK, head_reference};
pub use linear::{linear_backward_reference, linear_reference};
pub use map::{map_file, release};
pub use peak_rates::PeakRates;
pub use reference::Reference;
pub use rms_norm::{rms_norm_backward_reference, rms_norm_reference};
pub use rotary::{Rotation, rotary_reference};
pub use simd::{Level, level};
pub use swiglu::{swiglu_backward_reference, swiglu_reference};
pub use team::standing_by;
