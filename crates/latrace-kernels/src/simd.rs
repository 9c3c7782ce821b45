//! Run-time choice of instruction set, and the few scalar functions that loops are built from.
//!
//! Each loop is written once, in plain Rust, and compiled three times: for AVX-512, for AVX2 with FMA, and
//! for the baseline (which on aarch64 has NEON). Sums use [`LANES`] partial sums whatever the instruction set, and every multiply-add is
//! fused, so all three give the same bits.

use std::sync::OnceLock;

/// Partial sums of every reduction: the width of the widest vector, so that all widths add in the same order.
pub(crate) const LANES: usize = 16;

/// What the processor offers, found once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every processor of the target has.
    Baseline,
    /// NEON, which every aarch64 has.
    Neon,
    /// AVX2 with FMA.
    Avx2,
    /// AVX-512 F, VL, BW and DQ, with FMA.
    Avx512,
    /// AVX-512 with products of bf16.
    Avx512Bf16,
    /// Tiles for products of bf16, too.
    Amx,
}

impl Level {
    /// The environment variable that names the highest level to use, to try a narrower one than the processor
    /// has.
    pub const VARIABLE: &str = "LATRACE_SIMD";
    /// Its values on this architecture.
    #[cfg(target_arch = "aarch64")]
    pub const NAMES: [(&str, Level); 2] = [("baseline", Level::Baseline), ("neon", Level::Neon)];
    /// Its values on this architecture.
    #[cfg(not(target_arch = "aarch64"))]
    pub const NAMES: [(&str, Level); 5] = [
        ("baseline", Level::Baseline),
        ("avx2", Level::Avx2),
        ("avx512", Level::Avx512),
        ("avx512bf16", Level::Avx512Bf16),
        ("amx", Level::Amx),
    ];

    /// The level of that name.
    pub fn named(name: &str) -> Option<Level> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
    }
}

/// The level in use on this machine.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    // `Amx` stands above all others, those of other architectures too.
    let highest =
        || std::env::var(Level::VARIABLE).ok().and_then(|name| Level::named(&name)).unwrap_or(Level::Amx);
    // The variable can only narrow: a level that the processor lacks would end in an illegal instruction.
    *LEVEL.get_or_init(|| detect().min(highest()))
}

/// The level of loops over f32, whose widest is [`Level::Avx512`].
pub(crate) fn vectors() -> Level {
    level().min(Level::Avx512)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    use std::arch::is_x86_feature_detected as has;
    // All of a level's features, since functions are compiled for them together.
    if has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq") && has!("fma") {
        match has!("avx512bf16") {
            true if crate::bf16::has_tiles() => Level::Amx,
            true => Level::Avx512Bf16,
            false => Level::Avx512,
        }
    } else if has!("avx2") && has!("fma") {
        Level::Avx2
    } else {
        Level::Baseline
    }
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Level {
    Level::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Level {
    Level::Baseline
}

/// Defines a function whose body is compiled once per [`Level`] and chosen at run time.
macro_rules! dispatched {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
            match $crate::simd::vectors() {
                // SAFETY: the processor has the features of its level.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                _ => body($($arg),*),
            }
        }
    };
}
pub(crate) use dispatched;

/// e^x with a relative error below 2e-7; 0 below −87.3, infinity above 88.7, NaN stays NaN.
///
/// Range reduction to |r| ≤ ln 2 / 2 and a polynomial of degree 7 (Taylor's, whose remainder there is under
/// 1e-8).
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let n = x.mul_add(std::f32::consts::LOG2_E, ROUND) - ROUND;
    let p = exp_fraction(x, n);
    // Two factors, so that 2^n at the top of the range does not overflow on the way.
    let bits = (n + ROUND).to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = bits >> 1;
    let value = p * power_of_two(half) * power_of_two(bits - half);
    let value = if x < LOWEST { 0.0 } else { value };
    if x > 88.7 { f32::INFINITY } else { value }
}

/// [`exp`] of at most 88, the same bits with fewer operations: 2^n is one factor there.
#[inline(always)]
pub(crate) fn exp_bounded(x: f32) -> f32 {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let p = exp_fraction(x, shifted - ROUND);
    // n is in the low bits of `shifted`; the shift discards those of the rounding constant.
    let value = p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LOWEST { 0.0 } else { value }
}

/// Adding it rounds to an integer: 1.5 · 2^23.
const ROUND: f32 = 12_582_912.0;
/// Below it e^x would lose bits to the end of f32's range.
const LOWEST: f32 = -87.3;

/// e^(x − n·ln 2).
#[inline(always)]
fn exp_fraction(x: f32, n: f32) -> f32 {
    // ln 2 in two parts (Cody and Waite, 1980): the first has few bits, so that its product with n is exact.
    let r = n.mul_add(-0.693_145_75, x);
    let r = n.mul_add(-1.428_606_8e-6, r);
    let mut p = 1.0 / 5040.0_f32;
    p = p.mul_add(r, 1.0 / 720.0);
    p = p.mul_add(r, 1.0 / 120.0);
    p = p.mul_add(r, 1.0 / 24.0);
    p = p.mul_add(r, 1.0 / 6.0);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r, 1.0);
    p.mul_add(r, 1.0)
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) as u32) << 23)
}

/// Sum of `LANES` partial sums, by halves: the order in which vector registers are folded.
#[inline(always)]
pub(crate) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ a·b.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_blocks, a_tail) = a.as_chunks::<LANES>();
    let (b_blocks, b_tail) = b.as_chunks::<LANES>();
    for (x, y) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    // The tail goes into the first lanes, as if it were filled up with zeros.
    for (i, (x, y)) in a_tail.iter().zip(b_tail).enumerate() {
        lanes[i] = x.mul_add(*y, lanes[i]);
    }
    sum_lanes(lanes)
}

/// Largest element; −∞ of none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = if block[i] > lanes[i] { block[i] } else { lanes[i] };
        }
    }
    for (i, &value) in tail.iter().enumerate() {
        lanes[i] = if value > lanes[i] { value } else { lanes[i] };
    }
    max_lanes(lanes)
}

/// Largest of `LANES` values, by halves; none of them is NaN.
#[inline(always)]
fn max_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] };
        }
        width /= 2;
    }
    lanes[0]
}

/// Values whose exponentials are added in f32 before their sum goes on in f64.
const EXP_BLOCK: usize = 256;

/// Replaces each element by e^(x − shift), where no x is more than 88 above the shift, and returns their sum.
///
/// Next to a likely token the others of a large vocabulary are below half a step of the sum, and one sum over all
/// of them would lose every one: so blocks are added in f32, and their sums in f64, in order.
#[inline(always)]
pub(crate) fn exp_sum(x: &mut [f32], shift: f32) -> f32 {
    let mut sum = 0.0_f64;
    for block in x.chunks_mut(EXP_BLOCK) {
        sum += f64::from(exp_block_sum(block, shift));
    }
    sum as f32
}

#[inline(always)]
fn exp_block_sum(x: &mut [f32], shift: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (vectors, tail) = x.as_chunks_mut::<LANES>();
    for vector in vectors {
        for i in 0..LANES {
            vector[i] = exp_bounded(vector[i] - shift);
            lanes[i] += vector[i];
        }
    }
    for (i, value) in tail.iter_mut().enumerate() {
        *value = exp_bounded(*value - shift);
        lanes[i] += *value;
    }
    sum_lanes(lanes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_its_stated_error() {
        let mut x = -87.0_f32;
        while x < 88.5 {
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "exp({x}): relative error {error}");
            x += 0.0137;
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(-1e30), 0.0);
        assert_eq!(exp(1e30), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn bounded_exp_has_the_bits_of_exp() {
        let grid = (0..1_000_000).map(|i| 88.0 - i as f32 * 0.000_2);
        for x in grid.chain([0.0, -0.0, -87.3, -87.300_01, -1e-30, f32::NEG_INFINITY, -1e30]) {
            assert_eq!(exp_bounded(x).to_bits(), exp(x).to_bits(), "exp({x})");
        }
        for bits in [0x7FC0_0000, 0x7FC0_0001, 0x7FFF_FFFF, 0xFFC0_0003] {
            assert!(exp_bounded(f32::from_bits(bits)).is_nan(), "a NaN of any kind stays one");
        }
    }

    #[test]
    fn reductions_cover_blocks_and_tails() {
        for n in [0, 1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..n).map(|i| i as f32 - 3.0).collect();
            let exact: f32 = a.iter().map(|x| x * x).sum();
            assert_eq!(dot(&a, &a), exact);
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let mut e = a.clone();
            let sum = exp_sum(&mut e, 40.0);
            let exact: f64 = a.iter().map(|x| f64::from(x - 40.0).exp()).sum();
            assert!((f64::from(sum) - exact).abs() <= 1e-6 * exact);
        }
    }

    #[test]
    fn a_likely_value_does_not_swallow_the_unlikely() {
        // 50,000 times 3e-8 beside 1: each is below half a step of 1 (6e-8), all of them are 0.0015.
        let mut x = vec![-17.3_f32; 50_000];
        x[0] = 0.0;
        let exact: f64 = x.iter().map(|x| f64::from(*x).exp()).sum();
        let sum = f64::from(exp_sum(&mut x, 0.0));
        // The first block's other 15 values of the same lane are lost (4.6e-7), and the result is rounded.
        assert!((sum - exact).abs() < 1e-6, "{sum} instead of {exact}");
    }
}
