//! What the tests of stages share: questions of the task walk, and a codec of its words.

use std::path::Path;

use latrace_core::{Markers, Split};
use latrace_engine::trace_codec::TraceCodec;
use latrace_questions::tasks::Task;
use serde_json::json;

use super::model::write_shape;
use crate::pipeline::records::QuestionRecord;

/// The smallest model folder, without weights, with the tokenizer of the task walk.
pub(crate) fn write_smallest(folder: &Path) {
    let shape = json!({
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 16, "rms_norm_eps": 1e-6, "rope_theta": 1000.0, "tie_word_embeddings": true,
    });
    write_shape(folder, shape, &Task::Walk.tokenizer()).unwrap();
}

/// The codec of that model.
pub(crate) fn codec() -> TraceCodec {
    let folder = tempfile::tempdir().unwrap();
    write_smallest(folder.path());
    TraceCodec::open(folder.path(), Markers::named("plain").unwrap()).unwrap()
}

/// A question with a trace and an answer of its own.
pub(crate) fn question(id: &str, split: Split) -> QuestionRecord {
    QuestionRecord {
        id: id.to_owned(),
        split,
        question: "10 14".to_owned(),
        hint: Some("+7 -3".to_owned()),
        difficulty: None,
        kind: "walk".to_owned(),
        reference: "{\"gold\": \"+7 -3\"}".to_owned(),
        prompt_ids: vec![1, 2, 3],
        posterior_prompt_ids: Some(vec![1, 2, 3, 4]),
        trace_ids: Some(vec![90, 91]),
        answer_ids: Some(vec![92, 93]),
    }
}
