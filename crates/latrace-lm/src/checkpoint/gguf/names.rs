//! Names of tensors, and the order of rows in which Llama's differ.

use crate::config::{Config, Family};

/// (name in transformers, name in GGUF) of a model's own tensors.
const OUTER: [(&str, &str); 3] =
    [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")];

/// The same within a layer.
const INNER: [(&str, &str); 11] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The name in GGUF of a tensor of [`Config::parameters`].
pub(super) fn stored_name(name: &str) -> String {
    // One that the tables lack keeps its name, and is then missing from every file.
    translated(name).unwrap_or_else(|| name.to_owned())
}

fn translated(name: &str) -> Option<String> {
    let (module, kind) = name.rsplit_once('.')?;
    let Some(inner) = module.strip_prefix("model.layers.") else {
        return Some(format!("{}.{kind}", look_up(&OUTER, module)?));
    };
    let (layer, part) = inner.split_once('.')?;
    Some(format!("blk.{layer}.{}.{kind}", look_up(&INNER, part)?))
}

fn look_up(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(theirs, _)| *theirs == name).map(|(_, stored)| *stored)
}

/// Whether a tensor's rows have another order in GGUF: rotary embedding turns elements 2i and 2i + 1 of a head there,
/// and i and i + head_dim / 2 in transformers. The code for both Qwen families follows transformers.
pub(super) fn is_permuted(config: &Config, name: &str) -> bool {
    config.family == Family::Llama && ["q_proj.", "k_proj."].iter().any(|part| name.contains(part))
}

/// Rows from the order of GGUF to that of transformers.
pub(super) fn unpermute(values: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let width = values.len() / rows;
    let stored = |row| &values[stored_row(row, head_dim) * width..][..width];
    (0..rows).flat_map(stored).copied().collect()
}

/// The inverse of [`unpermute`].
pub(super) fn permute(values: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let width = values.len() / rows;
    let mut stored = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(width).enumerate() {
        stored[stored_row(row, head_dim) * width..][..width].copy_from_slice(values);
    }
    stored
}

/// Where GGUF has a row of transformers.
fn stored_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let (half, pair) = (within / (head_dim / 2), within % (head_dim / 2));
    head * head_dim + 2 * pair + half
}
