//! Matrix products beside the `gemm` crate, in turns in one sitting: `cargo bench -p latrace-kernels --bench
//! product`.
//!
//! Prints GFLOP/s (best of the turns) for the shapes of a training step: forward (x·Wᵀ), input gradient
//! (dy·W), weight gradient (dyᵀ·x). Where the processor has a unit for bf16, also of products rounded to it.

use latrace_kernels::{Matrix, MatrixProduct, Rounded, Start, Sum, Tiled, unit};
use std::time::Instant;

const TURNS: usize = 7;

fn main() {
    println!("unit for bf16: {:?}", unit());
    println!(
        "{:>6} {:>6} {:>6}  {:8} {:>8} {:>8} {:>6} {:>8}",
        "m", "n", "k", "kind", "ours", "gemm", "ratio", "bf16"
    );
    for (inputs, outputs) in
        [(256, 256), (256, 768), (768, 256), (576, 192), (512, 1536), (1536, 512), (1024, 3072), (576, 16384)]
    {
        let tokens = 3072;
        compare("forward", tokens, outputs, inputs, (inputs, 1), (1, inputs));
        compare("input", tokens, inputs, outputs, (outputs, 1), (inputs, 1));
        compare("weight", outputs, inputs, tokens, (1, outputs), (inputs, 1));
    }
}

fn compare(kind: &str, m: usize, n: usize, k: usize, a_strides: (usize, usize), b_strides: (usize, usize)) {
    let a: Vec<f32> = (0..m * k).map(|i| (i % 17) as f32 - 8.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i % 13) as f32 - 6.0).collect();
    let mut c = vec![0.0_f32; m * n];
    // As in training: gradients of weights are sums over the rows of a batch.
    let sum = if kind == "weight" { Sum::Chain } else { Sum::Blocks };
    let matrix = |data, (row_stride, column_stride)| Matrix { data, row_stride, column_stride };
    let (mut ours, mut library, mut rounded) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..TURNS {
        let start = Instant::now();
        Tiled(sum).product(&mut c, n, m, n, k, matrix(&a, a_strides), matrix(&b, b_strides), Start::Zero);
        ours = ours.min(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let strides = |(row, column): (usize, usize)| (row as isize, column as isize);
        let ((ar, ac), (br, bc)) = (strides(a_strides), strides(b_strides));
        // SAFETY: lengths and strides are those of the vectors above.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                ac,
                ar,
                b.as_ptr(),
                bc,
                br,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::Rayon(0),
            );
        }
        library = library.min(start.elapsed().as_secs_f64());
        let Some(unit) = unit() else { continue };
        let start = Instant::now();
        Rounded(unit).product(&mut c, n, m, n, k, matrix(&a, a_strides), matrix(&b, b_strides), Start::Zero);
        rounded = rounded.min(start.elapsed().as_secs_f64());
    }
    let rate = |seconds: f64| 2e-9 * (m * n * k) as f64 / seconds;
    let [ours, library, rounded] = [ours, library, rounded].map(rate);
    println!("{m:6} {n:6} {k:6}  {kind:8} {ours:8.0} {library:8.0} {:6.2} {rounded:8.0}", ours / library);
}
