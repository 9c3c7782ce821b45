//! Blocks of 32 values: `Q8_0`, `Q4_0`, `Q4_1`, `Q5_0` and `Q5_1`. Each begins with its scale as f16.

use half::f16;

/// Values of a block.
pub(super) const VALUES: usize = 32;

pub(super) const Q8_0_BYTES: usize = 2 + VALUES;
pub(super) const Q4_0_BYTES: usize = 2 + VALUES / 2;
pub(super) const Q4_1_BYTES: usize = 4 + VALUES / 2;
pub(super) const Q5_0_BYTES: usize = Q4_0_BYTES + FIFTH;
pub(super) const Q5_1_BYTES: usize = Q4_1_BYTES + FIFTH;

/// Bytes of the fifth bits of a block, one bit a value.
const FIFTH: usize = VALUES / 8;

/// A little-endian f16 as f32.
pub(super) fn half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// value = scale · q, q from −128 to 127.
pub(super) fn q8_0([low, high, quants @ ..]: &[u8; Q8_0_BYTES], values: &mut [f32; VALUES]) {
    let scale = half(*low, *high);
    values.iter_mut().zip(quants).for_each(|(value, &quant)| *value = scale * f32::from(quant as i8));
}

/// value = scale · (q − 8), q from 0 to 15.
pub(super) fn q4_0([low, high, quants @ ..]: &[u8; Q4_0_BYTES], values: &mut [f32; VALUES]) {
    let scale = half(*low, *high);
    nibbles(quants, values, |quant, _| scale * f32::from(quant as i8 - 8));
}

/// value = scale · q + minimum, q from 0 to 15.
pub(super) fn q4_1(
    [low, high, low_minimum, high_minimum, quants @ ..]: &[u8; Q4_1_BYTES],
    values: &mut [f32; VALUES],
) {
    let (scale, minimum) = (half(*low, *high), half(*low_minimum, *high_minimum));
    nibbles(quants, values, |quant, _| scale * f32::from(quant) + minimum);
}

/// value = scale · (q − 16), q from 0 to 31.
pub(super) fn q5_0([low, high, rest @ ..]: &[u8; Q5_0_BYTES], values: &mut [f32; VALUES]) {
    let scale = half(*low, *high);
    five_bits(rest, values, |quant| scale * f32::from(quant as i8 - 16));
}

/// value = scale · q + minimum, q from 0 to 31.
pub(super) fn q5_1(
    [low, high, low_minimum, high_minimum, rest @ ..]: &[u8; Q5_1_BYTES],
    values: &mut [f32; VALUES],
) {
    let (scale, minimum) = (half(*low, *high), half(*low_minimum, *high_minimum));
    five_bits(rest, values, |quant| scale * f32::from(quant) + minimum);
}

/// The fifth bits of all values, little-endian, then the others as [`nibbles`].
fn five_bits(rest: &[u8; FIFTH + VALUES / 2], values: &mut [f32; VALUES], value: impl Fn(u8) -> f32) {
    let [a, b, c, d, quants @ ..] = rest;
    let fifth = u32::from_le_bytes([*a, *b, *c, *d]);
    nibbles(quants, values, |quant, at| value(quant | ((fifth >> at & 1) << 4) as u8));
}

/// The low halves of all bytes are the first half of the values, the high ones the second. `value` takes 4 bits and the
/// place of the value that they are of.
fn nibbles(quants: &[u8; VALUES / 2], values: &mut [f32; VALUES], value: impl Fn(u8, usize) -> f32) {
    let (first, second) = values.split_at_mut(VALUES / 2);
    for (at, ((first, second), quant)) in first.iter_mut().zip(second).zip(quants).enumerate() {
        (*first, *second) = (value(quant & 15, at), value(quant >> 4, VALUES / 2 + at));
    }
}

/// Appends a block of `Q8_0`: the scale is the largest magnitude over 127, and quotients are rounded to nearest,
/// halves away from zero, as in ggml.
pub(super) fn encode_q8_0(values: &[f32; VALUES], bytes: &mut Vec<u8>) {
    let scale = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
    // Divided by the scale as it is before it is rounded to f16.
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    bytes.extend(f16::from_f32(scale).to_le_bytes());
    bytes.extend(values.iter().map(|value| (value * inverse).round() as i8 as u8));
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn q8_0_rounds_as_the_gguf_package() {
        let file = include_bytes!("../../../tests/golden/gguf/blocks.safetensors");
        let file = SafeTensors::deserialize(file).unwrap();
        let [input, expected] = ["Q8_0.input", "Q8_0.bytes"].map(|name| file.tensor(name).unwrap());
        let values: Vec<f32> =
            input.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let mut bytes = Vec::new();
        values.as_chunks().0.iter().for_each(|block| encode_q8_0(block, &mut bytes));
        assert_eq!(bytes, expected.data());
    }
}
