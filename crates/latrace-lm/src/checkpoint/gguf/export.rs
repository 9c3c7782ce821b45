//! From a model folder to a file that llama.cpp loads.
//!
//! Matrices are stored in one type; norms and biases stay f32, as in llama.cpp's own conversion.

use super::blocks::{self, encode_q8_0};
use super::types::GgufType;
use super::writer::{GgufEntry, Planned, header, pad};
use super::{ALIGNMENT, ALIGNMENT_KEY, ARCHITECTURE_KEY, ROPE_FACTORS, names, rope};
use crate::checkpoint::{CHUNK, load};
use crate::config::{Config, Family, Parameter};
use crate::error::{Error, Result};
use half::{bf16, f16};
use std::io::Write;
use std::path::Path;

/// The type that matrices are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GgufExportType {
    /// 32-bit floats: exact.
    F32,
    /// 16-bit floats, rounded to nearest, ties to even.
    F16,
    /// bfloat16, rounded to nearest, ties to even.
    Bf16,
    /// 8 bits in blocks of 32; matrices whose rows are no multiple of that are stored as f16.
    Q8_0,
}

impl GgufExportType {
    fn stored(self) -> GgufType {
        match self {
            Self::F32 => GgufType::F32,
            Self::F16 => GgufType::F16,
            Self::Bf16 => GgufType::BF16,
            Self::Q8_0 => GgufType::Q8_0,
        }
    }

    /// llama.cpp's number for files that are mostly of this type.
    fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 7,
            Self::Bf16 => 32,
        }
    }

    /// The type of a tensor.
    fn of(self, shape: &[usize]) -> GgufType {
        let stored = self.stored();
        match shape {
            [_] => GgufType::F32,
            [.., row] if !row.is_multiple_of(stored.block_values()) => GgufType::F16,
            _ => stored,
        }
    }
}

/// Writes a model folder's weights and configuration as one file, with the tokenizer's `metadata`. Needs memory for the
/// largest tensor as f32, twice where its rows change places. `path` is for messages.
///
/// # Errors
/// A folder without a usable model; settings that llama.cpp does not know; a value beyond the range of the type; a
/// file that cannot be written.
pub fn export(
    model: &Path,
    (path, out): (&Path, &mut dyn Write),
    kind: GgufExportType,
    metadata: Vec<(String, GgufEntry)>,
) -> Result<()> {
    let config = Config::read(model)?;
    let metadata = [entries(&config, kind)?, metadata].concat();
    let factors = rope::factors(&config);
    let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io("write", path));
    write(&header(&metadata, &plan(&config, kind, factors.as_deref())))?;
    if let Some(factors) = factors {
        put(&mut write, GgufType::F32, &factors)?;
    }
    load::visit(model, &config, |parameter, values| {
        let kind = kind.of(&parameter.shape);
        check_range(model, parameter, &values, kind)?;
        put(&mut write, kind, &in_order(&config, parameter, values))
    })
}

/// The tensors in the order in which they are written.
fn plan(config: &Config, kind: GgufExportType, factors: Option<&[f32]>) -> Vec<Planned> {
    let factors = factors.map(|factors| Planned {
        name: ROPE_FACTORS.to_owned(),
        shape: vec![factors.len()],
        kind: GgufType::F32,
    });
    let parameters = config.parameters().into_iter().map(|Parameter { name, shape, .. }| Planned {
        name: names::stored_name(&name),
        kind: kind.of(&shape),
        shape,
    });
    factors.into_iter().chain(parameters).collect()
}

/// The metadata of the model.
fn entries(config: &Config, kind: GgufExportType) -> Result<Vec<(String, GgufEntry)>> {
    check_supported(config)?;
    let family = config.family.model_type();
    let general = [
        (ARCHITECTURE_KEY, GgufEntry::Text(family.to_owned())),
        (ALIGNMENT_KEY, GgufEntry::U32(ALIGNMENT as u32)),
        ("general.file_type", GgufEntry::U32(kind.file_type())),
        ("general.quantization_version", GgufEntry::U32(2)),
    ];
    let general = general.into_iter().map(|(key, entry)| (key.to_owned(), entry));
    let own = [sizes(config), rope::entries(config)?].concat();
    Ok(general.chain(own.into_iter().map(|(key, entry)| (format!("{family}.{key}"), entry))).collect())
}

fn check_supported(config: &Config) -> Result<()> {
    if config.family != Family::Qwen3 || !config.qkv_bias {
        return Ok(());
    }
    Err(Error::Invalid("cannot write a Qwen3 model with attention_bias: llama.cpp has none".to_owned()))
}

fn sizes(config: &Config) -> Vec<(&'static str, GgufEntry)> {
    let sizes = [
        ("context_length", config.max_positions),
        ("embedding_length", config.hidden_size),
        ("block_count", config.layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
        ("vocab_size", config.vocab_size),
    ];
    // The configuration's limits are below 2^32.
    let sizes = sizes.map(|(key, size)| (key, GgufEntry::U32(size as u32)));
    let numbers = [
        ("attention.layer_norm_rms_epsilon", GgufEntry::F32(config.norm_eps)),
        ("rope.freq_base", GgufEntry::F32(config.rope.theta as f32)),
    ];
    sizes.into_iter().chain(numbers).collect()
}

fn in_order(config: &Config, parameter: &Parameter, values: Vec<f32>) -> Vec<f32> {
    if !names::is_permuted(config, &parameter.name) {
        return values;
    }
    names::permute(&values, parameter.shape[0], config.head_dim)
}

/// Beyond this, a magnitude rounds to an infinite f16.
const F16_LIMIT: f32 = 65_520.0;

/// An infinite weight would ruin the model without a word.
fn check_range(model: &Path, parameter: &Parameter, values: &[f32], kind: GgufType) -> Result<()> {
    let limit = match kind {
        GgufType::F16 => F16_LIMIT,
        // Of a block, the scale is an f16.
        GgufType::Q8_0 => F16_LIMIT * 127.0,
        _ => return Ok(()),
    };
    match values.iter().find(|value| value.is_nan() || value.abs() >= limit) {
        None => Ok(()),
        Some(value) => Err(Error::gguf(
            model,
            &format!("tensor `{}`", parameter.name),
            format!("magnitudes below {limit} for {}", kind.name()),
            value,
            "choose the type bf16 or f32",
        )),
    }
}

/// Writes a tensor, chunk by chunk, and zeros up to the next one.
fn put(write: &mut impl FnMut(&[u8]) -> Result<()>, kind: GgufType, values: &[f32]) -> Result<()> {
    let (mut bytes, mut chunks) = (Vec::with_capacity(4 * CHUNK), values.chunks(CHUNK).peekable());
    while let Some(chunk) = chunks.next() {
        bytes.clear();
        encode(kind, chunk, &mut bytes);
        // Whole chunks are multiples of the alignment in every type.
        if chunks.peek().is_none() {
            pad(&mut bytes);
        }
        write(&bytes)?;
    }
    Ok(())
}

fn encode(kind: GgufType, values: &[f32], bytes: &mut Vec<u8>) {
    match kind {
        GgufType::F16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
        GgufType::BF16 => bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes())),
        GgufType::Q8_0 => {
            let blocks = values.as_chunks::<{ blocks::VALUES }>().0;
            blocks.iter().for_each(|block| encode_q8_0(block, bytes));
        }
        _ => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
    }
}
