//! From a file to a model folder: the configuration from the metadata, the weights tensor by tensor.

use super::file::{GgufFile, Stored};
use super::{ARCHITECTURE_KEY, ROPE_FACTORS, names, rope};
use crate::checkpoint::save::{SaveDtype, Values, save_values};
use crate::config::{Config, Family, Parameter};
use crate::error::{Error, Result};
use crate::fields::Fields;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// The model of a file, with every tensor that its configuration needs, and no other.
pub struct GgufModel<'a> {
    file: &'a GgufFile,
    /// As `config.json` will have it.
    pub config: Config,
    tensors: Vec<(Parameter, &'a Stored)>,
}

/// The keys of a model's family.
pub(super) struct Keys<'a> {
    pub file: &'a GgufFile,
    family: Family,
}

const DIFFERENT: &str =
    "the metadata and the tensors do not belong together, or the model has parts that are not supported";

impl<'a> GgufModel<'a> {
    /// Reads the configuration and checks names and shapes.
    ///
    /// # Errors
    /// An unsupported architecture; a key that is missing or has an unsupported value; a tensor that is missing, too
    /// many, or of another shape than the metadata say.
    pub fn read(file: &'a GgufFile) -> Result<Self> {
        let raw = Keys { file, family: family(file)? }.configuration()?;
        let config = Config::from_fields(&Fields::new(file.path(), &raw))?;
        let find = |parameter: Parameter| find(file, &parameter).map(|stored| (parameter, stored));
        let tensors = config.parameters().into_iter().map(find).collect::<Result<Vec<_>>>()?;
        refuse_others(file, &tensors)?;
        Ok(Self { file, config, tensors })
    }

    /// Writes `config.json` and the weights into the existing folder `out`, with the tokenizer's files of `source`. Needs
    /// memory for the largest tensor as f32, twice where its rows change places.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, out: &Path, dtype: SaveDtype, source: &Path) -> Result<()> {
        let all = self.tensors.iter();
        let tensors: Vec<_> =
            all.map(|(parameter, stored)| (parameter.clone(), self.values(parameter, stored))).collect();
        save_values(out, &self.config, &tensors, dtype, source)
    }

    /// Converted when they are written.
    fn values<'b>(&'b self, parameter: &'b Parameter, stored: &'b Stored) -> Values<'b> {
        let host = move || self.weights(parameter, stored).into();
        Values { count: parameter.len(), host: Box::new(host) }
    }

    fn weights(&self, parameter: &Parameter, stored: &Stored) -> Vec<f32> {
        let values = self.file.values(stored);
        if !names::is_permuted(&self.config, &parameter.name) {
            return values;
        }
        names::unpermute(&values, parameter.shape[0], self.config.head_dim)
    }
}

fn family(file: &GgufFile) -> Result<Family> {
    let known = Family::ALL.map(Family::model_type);
    let named = file.text(ARCHITECTURE_KEY)?;
    let family = named.and_then(|named| Family::ALL.into_iter().find(|family| family.model_type() == named));
    family.ok_or_else(|| {
        let (expected, hint) =
            (format!("one of {}", known.join(", ")), "take a model of one of these families");
        file.bad_key(ARCHITECTURE_KEY, expected, named.unwrap_or("nothing"), hint)
    })
}

impl Keys<'_> {
    /// A key of the family.
    pub fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.family.model_type())
    }

    pub fn error(&self, key: &str, expected: impl ToString, got: impl ToString) -> Error {
        self.file.bad_key(&self.name(key), expected, got, DIFFERENT)
    }

    fn size(&self, key: &str) -> Result<Option<u64>> {
        // Beyond any model, and small enough for sums and products of two.
        const MOST: u64 = 1 << 31;
        match self.file.integer(&self.name(key))? {
            Some(size) if !(1..=MOST).contains(&size) => {
                Err(self.error(key, format!("a whole number from 1 to {MOST}"), size))
            }
            size => Ok(size),
        }
    }

    fn required(&self, key: &str) -> Result<u64> {
        self.size(key)?.ok_or_else(|| self.error(key, "a whole number", "nothing"))
    }

    /// The fields of `config.json`.
    fn configuration(&self) -> Result<Map<String, Value>> {
        self.refuse_unsupported()?;
        let (head_dim, theta) = (self.head_dim()?, self.theta()?);
        let positions = self.required("context_length")?;
        let mut config = self.sizes()?;
        let more = json!({
            "head_dim": head_dim, "max_position_embeddings": positions, "rms_norm_eps": self.epsilon()?,
            "rope_theta": theta, "rope_scaling": rope::read(self, theta, head_dim as usize, positions)?,
            "tie_word_embeddings": self.file.tensor("output.weight").is_none(),
        });
        config.extend(object(more));
        config.extend(object(self.biases()));
        config.extend(self.token_ids()?);
        Ok(config)
    }

    fn sizes(&self) -> Result<Map<String, Value>> {
        Ok(object(json!({
            "architectures": [self.family.architecture()], "model_type": self.family.model_type(),
            "hidden_act": "silu", "hidden_size": self.required("embedding_length")?,
            "intermediate_size": self.required("feed_forward_length")?,
            "num_hidden_layers": self.required("block_count")?,
            "num_attention_heads": self.required("attention.head_count")?,
            "num_key_value_heads": self.kv_heads()?, "vocab_size": self.vocabulary()?,
        })))
    }

    /// Rows of the embedding; the metadata need not have their number.
    fn vocabulary(&self) -> Result<usize> {
        let embedding = self.file.tensor("token_embd.weight");
        embedding.map(|stored| stored.shape[0]).ok_or_else(|| missing(self.file, "token_embd.weight"))
    }

    /// One number, or one for each layer if all are the same.
    fn kv_heads(&self) -> Result<u64> {
        let key = "attention.head_count_kv";
        let name = self.name(key);
        if !self.file.is_list(&name) {
            return self.size(key)?.map_or_else(|| self.required("attention.head_count"), Ok);
        }
        let heads = self.file.integers(&name)?.unwrap_or_default();
        match heads.first().copied() {
            Some(first) if first > 0 && heads.iter().all(|&heads| heads == first) => Ok(first as u64),
            _ => Err(self.error(key, "the same number for all layers", "other numbers")),
        }
    }

    fn head_dim(&self) -> Result<u64> {
        let (width, heads) = (self.required("embedding_length")?, self.required("attention.head_count")?);
        let key = self.size("attention.key_length")?.unwrap_or(width / heads);
        for (name, default) in [("attention.value_length", width / heads), ("rope.dimension_count", key)] {
            let got = self.size(name)?.unwrap_or(default);
            if got != key {
                return Err(self.error(name, format!("{key}, the width of a head's keys"), got));
            }
        }
        Ok(key)
    }

    fn theta(&self) -> Result<f64> {
        Ok(self.file.number(&self.name("rope.freq_base"))?.unwrap_or(10_000.0))
    }

    fn epsilon(&self) -> Result<f64> {
        let key = "attention.layer_norm_rms_epsilon";
        self.file.number(&self.name(key))?.ok_or_else(|| self.error(key, "a number", "nothing"))
    }

    /// Which projections have biases, by the first layer; Qwen2's are not a matter of its configuration.
    fn biases(&self) -> Value {
        let has = |tensor: &str| self.file.tensor(&format!("blk.0.{tensor}.bias")).is_some();
        match self.family {
            Family::Qwen2 => json!({}),
            Family::Qwen3 => json!({"attention_bias": has("attn_q")}),
            Family::Llama => json!({"attention_bias": has("attn_q"), "mlp_bias": has("ffn_gate")}),
        }
    }

    fn token_ids(&self) -> Result<Map<String, Value>> {
        let id = |(field, key)| Ok((format!("{field}_token_id"), json!(self.file.token_id(key)?)));
        [("bos", "bos"), ("eos", "eos"), ("pad", "padding")].into_iter().map(id).collect()
    }

    /// What would be a model of another kind under the same name.
    fn refuse_unsupported(&self) -> Result<()> {
        if let Some(experts) = self.file.integer(&self.name("expert_count"))?.filter(|&experts| experts > 0) {
            return Err(self.error("expert_count", "0: experts are not supported", experts));
        }
        match self.file.integer("split.count")? {
            Some(parts) if parts > 1 => {
                let hint = "join the parts with `llama-gguf-split --merge`";
                Err(self.file.bad_key("split.count", "a whole model", format!("one of {parts} parts"), hint))
            }
            _ => Ok(()),
        }
    }
}

impl GgufFile {
    /// The id of a special token: `bos`, `eos`, `padding`, `unknown` or `eot`.
    ///
    /// # Errors
    /// A value that is no id.
    pub fn token_id(&self, token: &str) -> Result<Option<u64>> {
        self.integer(&format!("tokenizer.ggml.{token}_token_id"))
    }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}

fn missing(file: &GgufFile, name: &str) -> Error {
    Error::gguf(file.path(), &format!("tensor `{name}`"), "one of this name", "none", DIFFERENT)
}

fn find<'a>(file: &'a GgufFile, parameter: &Parameter) -> Result<&'a Stored> {
    let name = names::stored_name(&parameter.name);
    let stored = file.tensor(&name).ok_or_else(|| missing(file, &name))?;
    if stored.shape == parameter.shape {
        return Ok(stored);
    }
    let [expected, got] = [&parameter.shape, &stored.shape].map(|shape| format!("shape {shape:?}"));
    Err(Error::gguf(file.path(), &format!("tensor `{name}`"), expected, got, DIFFERENT))
}

fn refuse_others(file: &GgufFile, tensors: &[(Parameter, &Stored)]) -> Result<()> {
    let used: BTreeSet<_> =
        tensors.iter().map(|(parameter, _)| names::stored_name(&parameter.name)).collect();
    let other = file.names().find(|name| !used.contains(*name) && *name != ROPE_FACTORS);
    match other {
        None => Ok(()),
        Some(name) => {
            let expected = "no tensor that the metadata do not call for";
            Err(Error::gguf(file.path(), &format!("tensor `{name}`"), expected, "one", DIFFERENT))
        }
    }
}
