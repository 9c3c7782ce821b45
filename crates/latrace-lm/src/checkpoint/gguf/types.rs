//! The types of tensors: their names, numbers and sizes.

use super::{blocks, k_quants};
use half::{bf16, f16};

/// The type of a stored tensor, by its name in ggml. The values of a row are stored in blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats of IEEE 754.
    F16,
    /// bfloat16.
    BF16,
    /// 8 bits, blocks of 32 with a scale.
    Q8_0,
    /// 4 bits, blocks of 32 with a scale.
    Q4_0,
    /// 4 bits, blocks of 32 with a scale and a minimum.
    Q4_1,
    /// 5 bits, blocks of 32 with a scale.
    Q5_0,
    /// 5 bits, blocks of 32 with a scale and a minimum.
    Q5_1,
    /// 4 bits, blocks of 256 with eight scales and minima of 6 bits.
    Q4K,
    /// 5 bits, otherwise as `Q4K`.
    Q5K,
    /// 6 bits, blocks of 256 with sixteen scales of 8 bits.
    Q6K,
}

impl GgufType {
    /// Every supported type.
    pub const ALL: [Self; 11] = [
        Self::F32,
        Self::F16,
        Self::BF16,
        Self::Q8_0,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
    ];

    /// (name in ggml, number in a file, values of a block, bytes of a block).
    const fn properties(self) -> (&'static str, u32, usize, usize) {
        match self {
            Self::F32 => ("F32", 0, 1, 4),
            Self::F16 => ("F16", 1, 1, 2),
            Self::BF16 => ("BF16", 30, 1, 2),
            Self::Q8_0 => ("Q8_0", 8, blocks::VALUES, blocks::Q8_0_BYTES),
            Self::Q4_0 => ("Q4_0", 2, blocks::VALUES, blocks::Q4_0_BYTES),
            Self::Q4_1 => ("Q4_1", 3, blocks::VALUES, blocks::Q4_1_BYTES),
            Self::Q5_0 => ("Q5_0", 6, blocks::VALUES, blocks::Q5_0_BYTES),
            Self::Q5_1 => ("Q5_1", 7, blocks::VALUES, blocks::Q5_1_BYTES),
            Self::Q4K => ("Q4_K", 12, k_quants::VALUES, k_quants::Q4K_BYTES),
            Self::Q5K => ("Q5_K", 13, k_quants::VALUES, k_quants::Q5K_BYTES),
            Self::Q6K => ("Q6_K", 14, k_quants::VALUES, k_quants::Q6K_BYTES),
        }
    }

    /// ggml's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.properties().0
    }

    /// The number that stands for it in a file.
    pub(super) fn number(self) -> u32 {
        self.properties().1
    }

    /// Values of a block.
    #[must_use]
    pub fn block_values(self) -> usize {
        self.properties().2
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.properties().3
    }

    /// The type with this number, if it is supported.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Blocks as f32. Exact but for the roundings of f32 arithmetic, which are those of ggml.
    ///
    /// # Shapes
    /// As many whole blocks of values as of bytes.
    pub fn dequantise(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F32 => each(bytes, values, |bytes, [value]| *value = f32::from_le_bytes(*bytes)),
            Self::F16 => each(bytes, values, |bytes, [value]| *value = f16::from_le_bytes(*bytes).to_f32()),
            Self::BF16 => each(bytes, values, |bytes, [value]| *value = bf16::from_le_bytes(*bytes).to_f32()),
            Self::Q8_0 => each(bytes, values, blocks::q8_0),
            Self::Q4_0 => each(bytes, values, blocks::q4_0),
            Self::Q4_1 => each(bytes, values, blocks::q4_1),
            Self::Q5_0 => each(bytes, values, blocks::q5_0),
            Self::Q5_1 => each(bytes, values, blocks::q5_1),
            Self::Q4K => each(bytes, values, k_quants::q4k),
            Self::Q5K => each(bytes, values, k_quants::q5k),
            Self::Q6K => each(bytes, values, k_quants::q6k),
        }
    }
}

/// Converts block by block.
fn each<const BYTES: usize, const VALUES: usize>(
    bytes: &[u8],
    values: &mut [f32],
    convert: impl Fn(&[u8; BYTES], &mut [f32; VALUES]),
) {
    let (blocks, values) = (bytes.as_chunks().0, values.as_chunks_mut().0);
    blocks.iter().zip(values).for_each(|(block, values)| convert(block, values));
}

/// The supported types, for messages.
pub(super) fn supported() -> String {
    GgufType::ALL.map(GgufType::name).join(", ")
}

/// What an unsupported type is called.
pub(super) fn unsupported(number: u32) -> String {
    let name = UNSUPPORTED.iter().find(|(known, _)| *known == number).map(|(_, name)| *name);
    name.map_or_else(|| format!("type {number}, which is unknown"), |name| format!("{name} (type {number})"))
}

/// Types of ggml that are not read.
const UNSUPPORTED: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
    (41, "Q1_0"),
];
