//! The counter-based generator behind every draw of this crate: a value is a function of its key alone.

/// The finaliser of SplitMix64 (Steele et al., 2014): one 64-bit value to another, all bits mixed.
pub(crate) fn mix(x: u64) -> u64 {
    let z = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
