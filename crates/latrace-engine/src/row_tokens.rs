//! Token ids of rows: prompts and responses, given as ids, as text or as a chat.

use latrace_core::Message;
use latrace_io::rows::{FieldProblem, Row, describe, field};
use serde_json::Value;

use crate::text_codec::TextCodec;

/// The token ids in a field.
pub fn ids_of(row: &Row, name: &str, vocabulary_size: usize) -> Result<Vec<u32>, FieldProblem> {
    ids_in(field(row, name).unwrap_or(&Value::Null), name, vocabulary_size)
}

/// Token ids of `name`: those of `{name}_ids` if they are there, otherwise the text's.
pub fn tokens_of(row: &Row, name: &str, text: &TextCodec) -> Result<Vec<u32>, FieldProblem> {
    let ids_name = format!("{name}_ids");
    if let Some(ids) = field(row, &ids_name) {
        return ids_in(ids, &ids_name, text.vocabulary_size());
    }
    match field(row, name) {
        Some(Value::String(value)) => text.encode(name, value),
        Some(other) => Err(FieldProblem::new(name, "a text", describe(other))),
        None => Err(FieldProblem::new(name, format!("a text, or token ids in \"{ids_name}\""), "nothing")),
    }
}

fn ids_in(value: &Value, name: &str, vocabulary_size: usize) -> Result<Vec<u32>, FieldProblem> {
    let Value::Array(values) = value else {
        return Err(FieldProblem::new(name, "a list of token ids", describe(value)));
    };
    let id = |(at, value): (usize, &Value)| match value.as_u64() {
        Some(id) if id < vocabulary_size as u64 => Ok(id as u32),
        _ => {
            let expected = format!("a token id below the vocabulary's {vocabulary_size}");
            Err(FieldProblem::new(format!("{name}[{at}]"), expected, describe(value)))
        }
    };
    values.iter().enumerate().map(id).collect()
}

/// The token ids of a row's prompt and response, neither empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptAndResponse {
    /// Token ids of the prompt.
    pub prompt: Vec<u32>,
    /// Token ids of the response.
    pub response: Vec<u32>,
}

/// Fields that [`prompt_and_response`] reads.
pub const CONSUMED_FIELDS: [&str; 5] = ["prompt", "prompt_ids", "response", "response_ids", "messages"];

/// Prompt and response of a row: from `prompt`/`prompt_ids` and `response`/`response_ids`, or from
/// `messages`, whose last one, the assistant's, is the response.
pub fn prompt_and_response(row: &Row, text: &TextCodec) -> Result<PromptAndResponse, FieldProblem> {
    let ready_made =
        ["prompt", "prompt_ids", "response", "response_ids"].iter().any(|name| field(row, name).is_some());
    let (pair, names) = match field(row, "messages") {
        Some(messages) if !ready_made => {
            let turn = text.split(&messages_in(messages)?)?;
            let pair = PromptAndResponse {
                prompt: text.encode("messages", &turn.prompt)?,
                response: text.encode("messages", &turn.response)?,
            };
            (pair, ["messages", "messages"])
        }
        _ => {
            let pair = PromptAndResponse {
                prompt: tokens_of(row, "prompt", text)?,
                response: tokens_of(row, "response", text)?,
            };
            (pair, ["prompt", "response"])
        }
    };
    if pair.prompt.is_empty() {
        return Err(FieldProblem::new(names[0], "a prompt of at least one token", "an empty one"));
    }
    if pair.response.is_empty() {
        return Err(FieldProblem::new(names[1], "a response of at least one token", "an empty one"));
    }
    Ok(pair)
}

/// Fields that [`prompt_of`] reads.
pub const PROMPT_FIELDS: [&str; 3] = ["prompt", "prompt_ids", "messages"];

/// The prompt of a row, not empty: `prompt_ids`, `prompt`, or `messages` up to where the assistant writes.
pub fn prompt_of(row: &Row, text: &TextCodec) -> Result<Vec<u32>, FieldProblem> {
    let ready_made = ["prompt", "prompt_ids"].iter().any(|name| field(row, name).is_some());
    let prompt = match field(row, "messages") {
        Some(messages) if !ready_made => text.encode("messages", &text.prompt(&messages_in(messages)?)?)?,
        _ => tokens_of(row, "prompt", text)?,
    };
    if prompt.is_empty() {
        Err(FieldProblem::new("prompt", "a prompt of at least one token", "an empty one"))
    } else {
        Ok(prompt)
    }
}

fn messages_in(value: &Value) -> Result<Vec<Message>, FieldProblem> {
    let Value::Array(values) = value else {
        return Err(FieldProblem::new("messages", "a list of messages", describe(value)));
    };
    let part = |at: usize, message: &Value, name: &str| match message.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(FieldProblem::new(format!("messages[{at}].{name}"), "a text", describe(other))),
        None => Err(FieldProblem::new(format!("messages[{at}].{name}"), "a text", "nothing")),
    };
    let message =
        |(at, value)| Ok(Message { role: part(at, value, "role")?, content: part(at, value, "content")? });
    values.iter().enumerate().map(message).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_ids(value: Value, expected: Result<Vec<u32>, &str>) {
        let got = ids_in(&value, "prompt_ids", 10).map_err(|problem| problem.to_string());
        assert_eq!(got, expected.map_err(str::to_owned));
    }

    #[test]
    fn token_ids_are_checked() {
        check_ids(json!([0, 9]), Ok(vec![0, 9]));
        check_ids(json!("x"), Err("field \"prompt_ids\": expected a list of token ids, got string \"x\""));
        check_ids(
            json!([1, 10]),
            Err("field \"prompt_ids[1]\": expected a token id below the vocabulary's 10, got number 10"),
        );
        check_ids(
            json!([-1]),
            Err("field \"prompt_ids[0]\": expected a token id below the vocabulary's 10, got number -1"),
        );
        check_ids(
            json!([1.5]),
            Err("field \"prompt_ids[0]\": expected a token id below the vocabulary's 10, got number 1.5"),
        );
    }
}
