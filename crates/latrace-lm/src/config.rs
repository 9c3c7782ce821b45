//! `config.json`: a model's shape and options, read once and checked; the rest of the crate sees no JSON.
//!
//! Absent fields take the values of the configuration classes of transformers 5.19 (`Qwen2Config`,
//! `Qwen3Config`, `LlamaConfig`). `attention_dropout` is not read: dropout is never applied.

use std::path::Path;

use serde_json::{Map, Value};

use crate::adapter::model_file;
use crate::error::{Error, Result};
use crate::fields::{Fields, read_json};
use crate::rope::Rope;

/// The fields of `config.json` that are read here.
pub const CONFIG_FIELDS: [&str; 28] = [
    "architectures",
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
    "max_position_embeddings",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    "layer_types",
    "use_sliding_window",
    "sliding_window",
    "max_window_layers",
    "initializer_range",
    "eos_token_id",
    "pad_token_id",
    "quantization_config",
];

/// Fields that configurations of these families have, and that change nothing of what is computed here: a model is
/// written in 32 bits or as a setting says, dropout is never applied, and the cache is always used.
pub const IGNORED_CONFIG_FIELDS: [&str; 8] = [
    "attention_dropout",
    "bos_token_id",
    "dtype",
    "torch_dtype",
    "use_cache",
    "pretraining_tp",
    "transformers_version",
    "_name_or_path",
];

/// The families of decoders, by what differs in the code of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `Qwen2ForCausalLM`: q, k and v have biases, always.
    Qwen2,
    /// `Qwen3ForCausalLM`: q and k are normed by head; biases by `attention_bias`.
    Qwen3,
    /// `LlamaForCausalLM`: biases by `attention_bias` and `mlp_bias`.
    Llama,
}

/// A model's shape and options.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Which decoder.
    pub family: Family,
    /// Width d of the residual stream.
    pub hidden_size: usize,
    /// Number of decoder layers.
    pub layers: usize,
    /// Query heads h.
    pub heads: usize,
    /// Key and value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Rows v of the embedding.
    pub vocab_size: usize,
    /// Epsilon of every RMSNorm.
    pub norm_eps: f32,
    /// Whether the output head is the embedding.
    pub tied: bool,
    /// Whether the q, k and v projections have biases.
    pub qkv_bias: bool,
    /// Whether the o projection has a bias.
    pub output_bias: bool,
    /// Whether the three projections of the feed-forward block have biases.
    pub mlp_bias: bool,
    /// Whether q and k are normed by head.
    pub qk_norm: bool,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Longest context the model was made for, in tokens.
    pub max_positions: usize,
    /// Standard deviation of fresh weights.
    pub initializer_range: f32,
    /// Tokens that end a response: of `generation_config.json` if it names any, else of `config.json`.
    pub eos_token_ids: Vec<u32>,
    /// The padding token, whose embedding gets no gradient as an input, as in transformers.
    pub pad_token_id: Option<u32>,
    /// The file as read, to be written back.
    pub raw: Map<String, Value>,
}

/// One tensor of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in transformers.
    pub name: String,
    /// Its shape; a projection is `[outputs, inputs]`.
    pub shape: Vec<usize>,
    /// Whether it is a norm or a bias, which weight decay may leave out.
    pub decay_exempt: bool,
}

impl Parameter {
    /// Number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no values; never the case for a configuration that was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Family {
    /// The name in `architectures`.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Qwen2 => "Qwen2ForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Llama => "LlamaForCausalLM",
        }
    }

    pub(crate) fn model_type(self) -> &'static str {
        match self {
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
        }
    }

    pub(crate) const ALL: [Self; 3] = [Self::Qwen2, Self::Qwen3, Self::Llama];

    fn read(fields: &Fields<'_>) -> Result<Self> {
        let named = fields.get("architectures").map(|list| {
            let name = only_string(list).ok_or_else(|| unknown(fields, list.to_string()))?;
            Self::by(|family| family.architecture() == name).ok_or_else(|| unknown(fields, list.to_string()))
        });
        let model_type = fields.text("model_type")?;
        // `architectures` decides, as in transformers' auto classes; bare configurations have only the type.
        match (named.transpose()?, model_type) {
            (Some(family), kind) => family.agreeing_with(fields, kind),
            (None, Some(kind)) => {
                let by_type = Self::by(|family| family.model_type() == kind);
                by_type.ok_or_else(|| unknown(fields, format!("{model_type:?}")))
            }
            (None, None) => Err(unknown(fields, "neither architectures nor model_type".to_owned())),
        }
    }

    fn by(matches: impl Fn(&Self) -> bool) -> Option<Self> {
        Self::ALL.into_iter().find(matches)
    }

    /// Fails if `model_type` names another family than `architectures`.
    fn agreeing_with(self, fields: &Fields<'_>, model_type: Option<&str>) -> Result<Self> {
        match model_type {
            Some(kind) if kind != self.model_type() => {
                let expected = format!("{:?}, as in architectures", self.model_type());
                Err(fields.error("model_type", expected, format!("{kind:?}")))
            }
            _ => Ok(self),
        }
    }

    /// The defaults in which the configuration classes differ. Both Qwen classes have the same.
    fn defaults(self) -> Defaults {
        match self {
            Self::Llama => {
                Defaults { intermediate_size: 11_008, vocab_size: 32_000, positions: 2048, eos: Some(2) }
            }
            Self::Qwen2 | Self::Qwen3 => {
                Defaults { intermediate_size: 22_016, vocab_size: 151_936, positions: 32_768, eos: None }
            }
        }
    }
}

struct Defaults {
    intermediate_size: usize,
    vocab_size: usize,
    positions: usize,
    eos: Option<u32>,
}

/// The string in a list of one.
fn only_string(list: &Value) -> Option<&str> {
    match list.as_array()?.as_slice() {
        [name] => name.as_str(),
        _ => None,
    }
}

fn unknown(fields: &Fields<'_>, got: String) -> Error {
    Error::UnknownArchitecture { path: fields.path.to_owned(), got }
}

impl Config {
    /// Reads and checks `config.json` (and the end tokens of `generation_config.json`) of a model folder.
    ///
    /// # Errors
    /// A file that is missing or not JSON; an unknown architecture; a field with an invalid or unsupported
    /// value.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = model_file(dir, "config.json")?;
        let mut config = Self::from_fields(&Fields::new(&path, &read_json(&path)?))?;
        // Chat models often end a turn with another token than the one in config.json.
        if let Some(ids) = generation_end_tokens(dir)? {
            config.eos_token_ids = ids;
        }
        Ok(config)
    }

    /// The end tokens of a model folder, whatever its family.
    ///
    /// # Errors
    /// A file that is missing or not JSON; a field that holds no ids.
    pub fn end_tokens(dir: &Path) -> Result<Vec<u32>> {
        if let Some(ids) = generation_end_tokens(dir)? {
            return Ok(ids);
        }
        let path = model_file(dir, "config.json")?;
        read_end_tokens(&Fields::new(&path, &read_json(&path)?), None)
    }

    pub(crate) fn from_fields(fields: &Fields<'_>) -> Result<Self> {
        let family = Family::read(fields)?;
        let defaults = family.defaults();
        // Limits are far above any published model: they catch corrupt files before memory is allocated.
        let hidden_size = fields.size("hidden_size", 4096, 1 << 20)?;
        let layers = fields.size("num_hidden_layers", 32, 1 << 12)?;
        let heads = fields.size("num_attention_heads", 32, 1 << 16)?;
        let attention_bias = read_attention_bias(fields, family)?;
        check_supported(fields, family, layers)?;
        let config = Self {
            family,
            hidden_size,
            layers,
            heads,
            kv_heads: read_kv_heads(fields, family, heads)?,
            head_dim: read_head_dim(fields, family, hidden_size, heads)?,
            intermediate_size: fields.size("intermediate_size", defaults.intermediate_size, 1 << 24)?,
            vocab_size: fields.size("vocab_size", defaults.vocab_size, 1 << 24)?,
            norm_eps: fields.small("rms_norm_eps", 1e-6)?,
            tied: fields.flag("tie_word_embeddings", false)?,
            qkv_bias: family == Family::Qwen2 || attention_bias,
            output_bias: attention_bias,
            mlp_bias: family == Family::Llama && fields.flag("mlp_bias", false)?,
            qk_norm: family == Family::Qwen3,
            rope: Rope::read(fields)?,
            max_positions: fields.size("max_position_embeddings", defaults.positions, 1 << 31)?,
            initializer_range: fields.small("initializer_range", 0.02)?,
            eos_token_ids: read_end_tokens(fields, defaults.eos)?,
            pad_token_id: fields.token_id("pad_token_id"),
            raw: fields.map.clone(),
        };
        config.check_total(fields)?;
        Ok(config)
    }

    /// The model's tensors in the order that everything in this crate uses.
    #[must_use]
    pub fn parameters(&self) -> Vec<Parameter> {
        let embedding = [self.vocab_size, self.hidden_size];
        let mut list = vec![weight("model.embed_tokens", embedding)];
        for layer in 0..self.layers {
            self.push_layer(&mut list, &format!("model.layers.{layer}"));
        }
        list.push(norm("model.norm", self.hidden_size));
        if !self.tied {
            list.push(weight("lm_head", embedding));
        }
        list
    }

    /// Whatever decides which weights fit and what is computed with them: names, most as in `config.json`, and values.
    #[must_use]
    pub fn architecture(&self) -> Vec<(&'static str, String)> {
        // Taken apart, so that a new field has to be placed here too.
        let Self {
            family,
            hidden_size,
            layers,
            heads,
            kv_heads,
            head_dim,
            intermediate_size,
            vocab_size,
            norm_eps,
            tied,
            qkv_bias,
            output_bias,
            mlp_bias,
            // Follows from the family.
            qk_norm: _,
            rope,
            max_positions,
            // How texts end, how fresh weights are drawn and how the file is written is no matter of the weights.
            initializer_range: _,
            eos_token_ids: _,
            pad_token_id,
            raw: _,
        } = self;
        vec![
            ("architectures", family.architecture().to_owned()),
            ("hidden_size", hidden_size.to_string()),
            ("num_hidden_layers", layers.to_string()),
            ("num_attention_heads", heads.to_string()),
            ("num_key_value_heads", kv_heads.to_string()),
            ("head_dim", head_dim.to_string()),
            ("intermediate_size", intermediate_size.to_string()),
            ("vocab_size", vocab_size.to_string()),
            ("rms_norm_eps", norm_eps.to_string()),
            ("tie_word_embeddings", tied.to_string()),
            ("biases of q, k and v", qkv_bias.to_string()),
            ("bias of o", output_bias.to_string()),
            ("mlp_bias", mlp_bias.to_string()),
            ("rope_theta", rope.theta.to_string()),
            ("rope_scaling", rope.kind.words()),
            ("max_position_embeddings", max_positions.to_string()),
            ("pad_token_id", pad_token_id.map_or("none".to_owned(), |id| id.to_string())),
        ]
    }

    fn push_layer(&self, list: &mut Vec<Parameter>, layer: &str) {
        // The order is fixed: random weights are keyed by a tensor's number (`checkpoint::initialise`).
        list.push(norm(&format!("{layer}.input_layernorm"), self.hidden_size));
        self.push_attention(list, &format!("{layer}.self_attn"));
        list.push(norm(&format!("{layer}.post_attention_layernorm"), self.hidden_size));
        self.push_mlp(list, &format!("{layer}.mlp"));
    }

    fn push_attention(&self, list: &mut Vec<Parameter>, name: &str) {
        let (d, q, kv) = (self.hidden_size, self.heads * self.head_dim, self.kv_heads * self.head_dim);
        for (part, outputs) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
            push_linear(list, &format!("{name}.{part}"), [outputs, d], self.qkv_bias);
        }
        push_linear(list, &format!("{name}.o_proj"), [d, q], self.output_bias);
        if self.qk_norm {
            list.push(norm(&format!("{name}.q_norm"), self.head_dim));
            list.push(norm(&format!("{name}.k_norm"), self.head_dim));
        }
    }

    fn push_mlp(&self, list: &mut Vec<Parameter>, name: &str) {
        let (d, inner) = (self.hidden_size, self.intermediate_size);
        for (part, shape) in [("gate_proj", [inner, d]), ("up_proj", [inner, d]), ("down_proj", [d, inner])] {
            push_linear(list, &format!("{name}.{part}"), shape, self.mlp_bias);
        }
    }

    /// Each size is bounded, but their products must not overflow either.
    fn check_total(&self, fields: &Fields<'_>) -> Result<()> {
        let total = self.total();
        if total <= MOST_WEIGHTS { Ok(()) } else { Err(too_large(fields, total)) }
    }

    /// About as many weights as there are, as if keys and values had as many heads as queries: the largest
    /// sizes that pass one by one have products beyond 64 bits.
    fn total(&self) -> u128 {
        let sizes = [self.hidden_size, self.heads * self.head_dim, self.intermediate_size];
        let [d, q, inner] = sizes.map(|n| n as u128);
        self.layers as u128 * d * (4 * q + 3 * inner) + 2 * self.vocab_size as u128 * d
    }
}

/// Far beyond any model that fits a machine, and far below what would overflow.
const MOST_WEIGHTS: u128 = 1 << 40;

fn too_large(fields: &Fields<'_>, total: u128) -> Error {
    fields.error("hidden_size", format!("at most {MOST_WEIGHTS} weights in all"), format!("about {total}"))
}

/// The end tokens that `generation_config.json` names, if any.
fn generation_end_tokens(dir: &Path) -> Result<Option<Vec<u32>>> {
    let path = model_file(dir, "generation_config.json")?;
    if !path.exists() {
        return Ok(None);
    }
    Fields::new(&path, &read_json(&path)?).token_ids("eos_token_id")
}

fn read_end_tokens(fields: &Fields<'_>, default: Option<u32>) -> Result<Vec<u32>> {
    // An explicit null means that there is none, also where absence means a default.
    let is_absent = fields.given("eos_token_id").is_none();
    let default = default.filter(|_| is_absent).into_iter().collect();
    Ok(fields.token_ids("eos_token_id")?.unwrap_or(default))
}

fn weight(name: &str, shape: [usize; 2]) -> Parameter {
    Parameter { name: format!("{name}.weight"), shape: shape.to_vec(), decay_exempt: false }
}

fn norm(name: &str, width: usize) -> Parameter {
    Parameter { name: format!("{name}.weight"), shape: vec![width], decay_exempt: true }
}

fn bias(name: &str, outputs: usize) -> Parameter {
    Parameter { name: format!("{name}.bias"), shape: vec![outputs], decay_exempt: true }
}

fn push_linear(list: &mut Vec<Parameter>, name: &str, shape: [usize; 2], has_bias: bool) {
    list.push(weight(name, shape));
    if has_bias {
        list.push(bias(name, shape[0]));
    }
}

/// Whether all four projections of attention have biases.
fn read_attention_bias(fields: &Fields<'_>, family: Family) -> Result<bool> {
    // Qwen2's code has biases on q, k and v, and none on o, whatever its configuration says.
    Ok(family != Family::Qwen2 && fields.flag("attention_bias", false)?)
}

fn read_kv_heads(fields: &Fields<'_>, family: Family, heads: usize) -> Result<usize> {
    // An explicit null means as many as there are query heads, in every family; absence only in Llama.
    let absent = family != Family::Llama && fields.given("num_key_value_heads").is_none();
    let kv_heads = fields.size("num_key_value_heads", if absent { 32 } else { heads }, 1 << 16)?;
    if heads.is_multiple_of(kv_heads) {
        return Ok(kv_heads);
    }
    let expected = format!("a divisor of num_attention_heads ({heads})");
    Err(fields.error("num_key_value_heads", expected, kv_heads))
}

fn read_head_dim(fields: &Fields<'_>, family: Family, hidden_size: usize, heads: usize) -> Result<usize> {
    // Qwen3's heads are 128 wide unless the file says otherwise; the other families divide the stream.
    let derived = family != Family::Qwen3 && !fields.has("head_dim");
    // Llama's configuration class insists on the division even where a width is given.
    if (derived || family == Family::Llama) && !hidden_size.is_multiple_of(heads) {
        let expected = format!("a multiple of num_attention_heads ({heads})");
        return Err(fields.error("hidden_size", expected, hidden_size));
    }
    let head_dim = fields.size("head_dim", if derived { hidden_size / heads } else { 128 }, 1 << 16)?;
    // Rotary embedding pairs element i with element i + head_dim / 2.
    if head_dim.is_multiple_of(2) {
        return Ok(head_dim);
    }
    Err(fields.error("head_dim", "an even number", head_dim))
}

fn check_supported(fields: &Fields<'_>, family: Family, layers: usize) -> Result<()> {
    check_activation(fields)?;
    check_not_quantized(fields)?;
    // Llama's code knows no windows, whatever its configuration says.
    if family == Family::Llama { Ok(()) } else { check_full_attention(fields, layers) }
}

fn check_not_quantized(fields: &Fields<'_>) -> Result<()> {
    let field = "quantization_config";
    let Some(got) = fields.get(field) else { return Ok(()) };
    Err(fields.error(field, "none: weights in f32, bf16 or f16", got))
}

fn check_activation(fields: &Fields<'_>) -> Result<()> {
    match fields.text("hidden_act")? {
        // Two names of one function.
        None | Some("silu" | "swish") => Ok(()),
        Some(other) => Err(fields.error("hidden_act", "\"silu\"", format!("{other:?}"))),
    }
}

fn check_full_attention(fields: &Fields<'_>, layers: usize) -> Result<()> {
    // Newer files list each layer's attention, and then the older fields have no effect.
    match fields.get("layer_types") {
        None => check_no_window(fields, layers),
        Some(types) if all_full(types) => Ok(()),
        Some(types) => Err(fields.error("layer_types", "\"full_attention\" only", types)),
    }
}

fn all_full(types: &Value) -> bool {
    types.as_array().is_some_and(|list| list.iter().all(|kind| kind == "full_attention"))
}

fn check_no_window(fields: &Fields<'_>, layers: usize) -> Result<()> {
    let is_on = fields.flag("use_sliding_window", false)?;
    let windowed = is_on && fields.given("sliding_window") != Some(&Value::Null);
    // transformers gives a window only to layers from `max_window_layers` on, so some settings use none.
    let full_layers = fields.number("max_window_layers")?.unwrap_or(28.0);
    if !windowed || full_layers >= layers as f64 {
        return Ok(());
    }
    let got = format!("true, with max_window_layers {full_layers} below num_hidden_layers {layers}");
    Err(fields.error("use_sliding_window", "false", got))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::asked;
    use crate::rope::{RopeKind, Yarn};

    fn read(json: Value) -> Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
        Config::read(dir.path())
    }

    fn small(family: Family, changes: Value) -> Value {
        let mut json = json!({
            "architectures": [family.architecture()], "hidden_size": 8, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 6,
            "vocab_size": 10,
        });
        for (key, value) in changes.as_object().unwrap() {
            json[key] = value.clone();
        }
        json
    }

    fn check_error(changes: Value, field: &str, mentions: &str) {
        let message = read(small(Family::Qwen3, changes.clone())).unwrap_err().to_string();
        for part in ["config.json", &format!("`{field}`"), mentions] {
            assert!(message.contains(part), "{changes}: expected {part:?} in {message:?}");
        }
    }

    fn names(config: &Config) -> Vec<String> {
        config.parameters().into_iter().map(|parameter| parameter.name).collect()
    }

    #[test]
    fn absent_fields_are_transformers_defaults() {
        let qwen2 = read(json!({"model_type": "qwen2"})).unwrap();
        assert_eq!((qwen2.hidden_size, qwen2.layers, qwen2.heads, qwen2.kv_heads), (4096, 32, 32, 32));
        assert_eq!((qwen2.head_dim, qwen2.intermediate_size, qwen2.vocab_size), (128, 22_016, 151_936));
        assert_eq!(
            (qwen2.max_positions, qwen2.norm_eps, qwen2.tied, qwen2.qkv_bias),
            (32_768, 1e-6, false, true)
        );
        assert_eq!(qwen2.rope, Rope { theta: 10_000.0, kind: RopeKind::Default });
        let llama = read(json!({"model_type": "llama", "num_attention_heads": 16})).unwrap();
        assert_eq!((llama.kv_heads, llama.head_dim, llama.intermediate_size), (16, 256, 11_008));
        assert_eq!((llama.vocab_size, llama.max_positions, llama.eos_token_ids), (32_000, 2048, vec![2]));
        let qwen3 =
            read(json!({"model_type": "qwen3", "hidden_size": 64, "num_key_value_heads": null})).unwrap();
        assert_eq!((qwen3.kv_heads, qwen3.head_dim, qwen3.qk_norm, qwen3.qkv_bias), (32, 128, true, false));
    }

    #[test]
    fn parameters_of_a_llama_with_every_bias() {
        let config = read(small(Family::Llama, json!({"attention_bias": true, "mlp_bias": true}))).unwrap();
        let expected = [
            ("model.embed_tokens.weight", vec![10, 8], false),
            ("model.layers.0.input_layernorm.weight", vec![8], true),
            ("model.layers.0.self_attn.q_proj.weight", vec![8, 8], false),
            ("model.layers.0.self_attn.q_proj.bias", vec![8], true),
            ("model.layers.0.self_attn.k_proj.weight", vec![4, 8], false),
            ("model.layers.0.self_attn.k_proj.bias", vec![4], true),
            ("model.layers.0.self_attn.v_proj.weight", vec![4, 8], false),
            ("model.layers.0.self_attn.v_proj.bias", vec![4], true),
            ("model.layers.0.self_attn.o_proj.weight", vec![8, 8], false),
            ("model.layers.0.self_attn.o_proj.bias", vec![8], true),
            ("model.layers.0.post_attention_layernorm.weight", vec![8], true),
            ("model.layers.0.mlp.gate_proj.weight", vec![6, 8], false),
            ("model.layers.0.mlp.gate_proj.bias", vec![6], true),
            ("model.layers.0.mlp.up_proj.weight", vec![6, 8], false),
            ("model.layers.0.mlp.up_proj.bias", vec![6], true),
            ("model.layers.0.mlp.down_proj.weight", vec![8, 6], false),
            ("model.layers.0.mlp.down_proj.bias", vec![8], true),
            ("model.norm.weight", vec![8], true),
            ("lm_head.weight", vec![10, 8], false),
        ];
        let expected = expected.map(|(name, shape, decay_exempt)| Parameter {
            name: name.to_owned(),
            shape,
            decay_exempt,
        });
        assert_eq!(config.parameters(), expected);
    }

    #[test]
    fn families_differ_in_biases_norms_and_head() {
        let qwen2 = names(
            &read(small(Family::Qwen2, json!({"tie_word_embeddings": true, "mlp_bias": true}))).unwrap(),
        );
        let biases: Vec<_> = qwen2.iter().filter(|name| name.ends_with("bias")).collect();
        let expected = ["q", "k", "v"].map(|p| format!("model.layers.0.self_attn.{p}_proj.bias"));
        assert_eq!(biases, expected.iter().collect::<Vec<_>>());
        assert_eq!(qwen2.last().unwrap(), "model.norm.weight");
        let qwen3 = names(&read(small(Family::Qwen3, json!({"attention_bias": true}))).unwrap());
        let o_bias = qwen3.iter().position(|name| name == "model.layers.0.self_attn.o_proj.bias").unwrap();
        assert_eq!(qwen3[o_bias + 1], "model.layers.0.self_attn.q_norm.weight");
        assert_eq!(qwen3[o_bias + 2], "model.layers.0.self_attn.k_norm.weight");
    }

    #[test]
    fn both_spellings_of_rope_mean_the_same() {
        let scaling = json!({"type": "linear", "factor": 2.0});
        let old = json!({"rope_theta": 5e5, "rope_scaling": scaling, "rope_parameters": null});
        let scaling = json!({"rope_type": "linear", "factor": 2.0, "type": "yarn"});
        let middle = json!({"rope_theta": 5e5, "rope_scaling": scaling});
        let new = json!({"rope_parameters": {"rope_theta": 5e5, "rope_type": "linear", "factor": 2}});
        let expected = Rope { theta: 5e5, kind: RopeKind::Linear { factor: 2.0 } };
        for spelling in [old, middle, new] {
            assert_eq!(read(small(Family::Llama, spelling)).unwrap().rope, expected);
        }
    }

    #[test]
    fn yarn_defaults() {
        let json = json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": null}});
        let expected = RopeKind::Yarn(Yarn {
            factor: Some(4.0),
            attention_factor: None,
            mscale: None,
            mscale_all_dim: None,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_positions: None,
        });
        assert_eq!(read(small(Family::Qwen2, json)).unwrap().rope.kind, expected);
    }

    #[test]
    fn the_list_of_fields_has_those_that_are_read_and_no_others() {
        asked::take();
        for family in Family::ALL {
            let unused_window =
                json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1});
            let scaling = json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}});
            for changes in [unused_window, scaling, json!({"layer_types": ["full_attention"]})] {
                let json = small(family, changes);
                Config::from_fields(&Fields::new(Path::new("config.json"), json.as_object().unwrap()))
                    .unwrap();
            }
        }
        let listed = CONFIG_FIELDS.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(asked::take(), listed);
        assert!(IGNORED_CONFIG_FIELDS.iter().all(|name| !CONFIG_FIELDS.contains(name)));
    }

    #[test]
    fn end_tokens_of_the_generation_config_win() {
        let dir = tempfile::tempdir().unwrap();
        let json = small(Family::Qwen2, json!({"eos_token_id": 3}));
        std::fs::write(dir.path().join("config.json"), json.to_string()).unwrap();
        assert_eq!(Config::read(dir.path()).unwrap().eos_token_ids, [3]);
        std::fs::write(dir.path().join("generation_config.json"), r#"{"eos_token_id": [4, 5]}"#).unwrap();
        assert_eq!(Config::read(dir.path()).unwrap().eos_token_ids, [4, 5]);
    }

    #[test]
    fn unusable_fields_are_named() {
        check_error(json!({"num_key_value_heads": 3}), "num_key_value_heads", "got 3");
        check_error(json!({"head_dim": 5}), "head_dim", "expected an even number, got 5");
        check_error(json!({"hidden_size": 0}), "hidden_size", "got 0");
        check_error(json!({"hidden_size": -8}), "hidden_size", "got -8");
        check_error(json!({"vocab_size": 1_u64 << 60}), "vocab_size", "got 1152921504606846976");
        check_error(json!({"num_hidden_layers": "two"}), "num_hidden_layers", "got \"two\"");
        check_error(
            json!({"hidden_size": 1 << 20, "num_attention_heads": 65536, "head_dim": 65536}),
            "hidden_size",
            "weights in all",
        );
        check_error(json!({"hidden_act": "gelu"}), "hidden_act", "expected \"silu\", got \"gelu\"");
        check_error(json!({"rms_norm_eps": -1.0}), "rms_norm_eps", "got -1.0");
        check_error(json!({"eos_token_id": -1}), "eos_token_id", "got -1");
        check_error(json!({"quantization_config": {"bits": 4}}), "quantization_config", "got {\"bits\":4}");
        check_error(json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor", "expected 1, got 0.5");
        check_error(json!({"model_type": "llama"}), "model_type", "got \"llama\"");
    }

    #[test]
    fn sliding_windows_in_use_are_refused() {
        let on = json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 0});
        check_error(on, "use_sliding_window", "expected false");
        check_error(json!({"layer_types": ["sliding_attention"]}), "layer_types", "sliding_attention");
        let unused = [
            json!({"use_sliding_window": false, "sliding_window": 4, "max_window_layers": 0}),
            json!({"use_sliding_window": true, "sliding_window": null, "max_window_layers": 0}),
            json!({"use_sliding_window": true, "sliding_window": 4, "max_window_layers": 1}),
            json!({"layer_types": ["full_attention"]}),
        ];
        for changes in unused {
            read(small(Family::Qwen3, changes)).unwrap();
        }
    }

    #[test]
    fn unusable_rope_is_named() {
        let check = |scaling: Value, field: &str, mentions: &str| {
            check_error(json!({"rope_scaling": scaling}), &format!("rope_scaling.{field}"), mentions);
        };
        check(json!({"type": "dynamic", "factor": 2.0}), "type", "unsupported");
        check(json!({"rope_type": "longrope"}), "rope_type", "unsupported");
        check(json!({"rope_type": "mrope"}), "rope_type", "got \"mrope\"");
        check(json!({"rope_type": "linear"}), "factor", "got nothing");
        check(json!({"rope_type": "linear", "factor": 0}), "factor", "above 0, got 0");
        check(
            json!({"rope_type": "default", "partial_rotary_factor": 0.25}),
            "partial_rotary_factor",
            "got 0.25",
        );
        let equal = json!({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4});
        check(equal, "high_freq_factor", "above 4, got 4");
        check(json!({"full_attention": {"rope_type": "linear"}}), "full_attention", "all layers");
        check_error(json!({"rope_theta": 0}), "rope_theta", "above 1, got 0");
        check_error(json!({"rope_parameters": 3}), "rope_parameters", "expected an object, got 3");
    }

    #[test]
    fn unknown_architectures_are_named() {
        for json in [json!({"architectures": ["GPT2LMHeadModel"]}), json!({"model_type": "gpt2"}), json!({})]
        {
            let error = read(json).unwrap_err();
            assert!(matches!(error, Error::UnknownArchitecture { .. }), "{error}");
        }
        let message = read(json!({"architectures": ["GPT2LMHeadModel"]})).unwrap_err().to_string();
        assert!(message.contains("GPT2LMHeadModel") && message.contains("config.json"), "{message}");
    }
}
