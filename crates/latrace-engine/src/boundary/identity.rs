//! Which engine computed something.

use serde::{Deserialize, Serialize};

/// What an engine is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineRole {
    /// Draw samples.
    Generate,
    /// Score given tokens.
    Score,
    /// Train.
    Train,
}

/// What results depend on besides the request: part of the key of every stage that uses the engine. Addresses,
/// replicas, batch sizes and memory are not, since results do not depend on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Which engine: "cpu", "vllm".
    pub kind: String,
    /// Of its numerics: it changes when the same request gives other bits.
    pub version: String,
    /// The type that products are computed in: "f32", "bf16".
    pub compute: String,
    /// The attention's implementation.
    pub attention: String,
    /// Whether log-probs of sampling are, bit for bit, those of scoring. Where they are not, log q of a trace
    /// has to be scored by the scorer of log pi, since their difference is exponentiated.
    pub exact: bool,
}
