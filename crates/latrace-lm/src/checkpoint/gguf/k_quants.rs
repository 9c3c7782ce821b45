//! Blocks of 256 values: `Q4_K`, `Q5_K` and `Q6_K`. Scales of sub-blocks are quantised themselves.

use super::blocks::half;

/// Values of a block.
pub(super) const VALUES: usize = 256;

pub(super) const Q4K_BYTES: usize = 2 + 2 + SCALES + VALUES / 2;
pub(super) const Q5K_BYTES: usize = Q4K_BYTES + VALUES / 8;
pub(super) const Q6K_BYTES: usize = VALUES / 2 + VALUES / 4 + VALUES / 16 + 2;

/// Values of a sub-block of `Q4_K` and `Q5_K`.
const SUB: usize = 32;

/// Bytes of eight scales and eight minima, 6 bits each.
const SCALES: usize = 12;

/// value = (d · scale) · q − (m · minimum), q from 0 to 15; two sub-blocks share 32 bytes, the first the low halves.
pub(super) fn q4k(block: &[u8; Q4K_BYTES], values: &mut [f32; VALUES]) {
    let (head, quants) = block.split_at(4 + SCALES);
    sub_blocks(head, values, |sub, at| nibble(quants[sub / 2 * SUB + at], sub % 2));
}

/// As [`q4k`] with a fifth bit: sub-block s has bit s of 32 bytes before the halves.
pub(super) fn q5k(block: &[u8; Q5K_BYTES], values: &mut [f32; VALUES]) {
    let (head, rest) = block.split_at(4 + SCALES);
    let (fifth, quants) = rest.split_at(SUB);
    sub_blocks(head, values, |sub, at| {
        nibble(quants[sub / 2 * SUB + at], sub % 2) | ((fifth[at] >> sub & 1) << 4)
    });
}

/// value = (d · scale) · (q − 32), q from 0 to 63, a scale for 16 values. Each half of the block has 64 bytes of low
/// bits (quarters 0 and 1 in the low halves of bytes, 2 and 3 in the high ones) and 32 bytes with two high bits of
/// each quarter.
pub(super) fn q6k(block: &[u8; Q6K_BYTES], values: &mut [f32; VALUES]) {
    let (low, rest) = block.split_at(VALUES / 2);
    let (high, rest) = rest.split_at(VALUES / 4);
    let (scales, d) = rest.split_at(VALUES / 16);
    let d = half(d[0], d[1]);
    for (i, value) in values.iter_mut().enumerate() {
        let (section, quarter, at) = (i / 128, i % 128 / 32, i % 32);
        let low = nibble(low[section * 64 + quarter % 2 * 32 + at], quarter / 2);
        let high = high[section * 32 + at] >> (2 * quarter) & 3;
        let quant = (low | high << 4) as i8 - 32;
        *value = d * f32::from(scales[i / 16] as i8) * f32::from(quant);
    }
}

/// The low half of a byte, or the high one.
fn nibble(byte: u8, high: usize) -> u8 {
    byte >> (4 * high) & 15
}

/// `head` is d and m as f16, then scales and minima.
fn sub_blocks(head: &[u8], values: &mut [f32; VALUES], quant: impl Fn(usize, usize) -> u8) {
    let (d, m) = (half(head[0], head[1]), half(head[2], head[3]));
    for (sub, values) in values.as_chunks_mut::<SUB>().0.iter_mut().enumerate() {
        let (scale, minimum) = scale_and_minimum(&head[4..], sub);
        let (scale, minimum) = (d * f32::from(scale), m * f32::from(minimum));
        for (at, value) in values.iter_mut().enumerate() {
            *value = scale * f32::from(quant(sub, at)) - minimum;
        }
    }
}

/// The first four scales are the low 6 bits of bytes 0 to 3, the first four minima those of bytes 4 to 7. The others
/// have their low 4 bits in bytes 8 to 11, scales in the low halves, and their high 2 bits on top of the first ones.
fn scale_and_minimum(packed: &[u8], sub: usize) -> (u8, u8) {
    let at = sub % 4;
    let (scale, minimum) = (packed[at], packed[4 + at]);
    if sub < 4 {
        return (scale & 63, minimum & 63);
    }
    let low = packed[8 + at];
    (low & 15 | scale >> 6 << 4, low >> 4 | minimum >> 6 << 4)
}
