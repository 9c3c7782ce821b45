//! Identity of an engine.

use latrace_lm::F32;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The kind of the built-in engine.
pub const BUILT_IN: &str = "cpu";

/// The role of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineRole {
    /// Draw samples.
    Generate,
    /// Score given tokens.
    Score,
    /// Train.
    Train,
}

/// Everything besides the request that results depend on: part of the key of every stage that uses the
/// engine. Addresses, replicas, batch sizes and memory are excluded, because results do not depend on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Which engine: "cpu", "vllm".
    pub kind: String,
    /// Version of its numerics: changes when the same request gives different bits.
    pub version: String,
    /// The data type of matrix products: "f32", "bf16".
    pub compute: String,
    /// The attention's implementation.
    pub attention: String,
    /// Whether log-probs of sampling are, bit for bit, those of scoring. Where they are not, log q of a trace
    /// has to be scored by the scorer of log pi, since their difference is exponentiated.
    pub exact: bool,
}

impl Identity {
    /// The entry of a journal of samples. The built-in engine in f32 has none: journals from before there
    /// was anything else name none.
    #[must_use]
    pub fn in_journal(&self) -> Option<(String, Value)> {
        (self.kind != BUILT_IN || self.compute != F32).then(|| ("engine".to_owned(), json!(self)))
    }
}

/// What a server says of itself. For the record: it is known only once the server runs, and so in no key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerNote {
    /// Which program serves: "vllm", "sglang".
    pub kind: String,
    /// Its version, if it says so.
    pub version: Option<String>,
    /// Most tokens of prompt and response, if it says so.
    pub max_model_len: Option<usize>,
}
