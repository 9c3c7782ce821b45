//! Token ids of rows: prompts and responses, given as ids, as text or as a chat.

use latrace_core::{Message, Turn};
use latrace_io::rows::{FieldProblem, Row, describe, field, messages_in, text_of};
use serde_json::Value;

use crate::text_codec::TextCodec;

/// The token ids in a field.
pub fn ids_of(row: &Row, name: &str, vocabulary_size: usize) -> Result<Vec<u32>, FieldProblem> {
    ids_in(field(row, name).unwrap_or(&Value::Null), name, vocabulary_size)
}

/// Token ids of `name`: those of `{name}_ids` if the row has them, otherwise the text's.
pub fn tokens_of(row: &Row, name: &str, text: &TextCodec) -> Result<Vec<u32>, FieldProblem> {
    let ids_name = format!("{name}_ids");
    // Ids take precedence: encoding their text may give others.
    if let Some(ids) = field(row, &ids_name) {
        return ids_in(ids, &ids_name, text.vocabulary_size());
    }
    // Not left to `text_of`, whose message would not say that ids are accepted as well.
    if field(row, name).is_none() {
        return Err(FieldProblem::new(name, format!("a text, or token ids in \"{ids_name}\""), "nothing"));
    }
    let given = text_of(row, name)?;
    if name == "prompt" { text.encode_prompt(name, given) } else { text.encode(name, given) }
}

fn ids_in(value: &Value, name: &str, vocabulary_size: usize) -> Result<Vec<u32>, FieldProblem> {
    let id = |(at, value): (usize, &Value)| {
        // A whole float such as 3.0 is refused as well: whatever wrote it did not treat ids as integers.
        let id = value.as_u64().filter(|&id| id < vocabulary_size as u64);
        id.map(|id| id as u32).ok_or_else(|| no_id(format!("{name}[{at}]"), value, vocabulary_size))
    };
    list_in(value, name, "a list of token ids")?.iter().enumerate().map(id).collect()
}

fn list_in<'a>(value: &'a Value, name: &str, expected: &str) -> Result<&'a Vec<Value>, FieldProblem> {
    value.as_array().ok_or_else(|| FieldProblem::new(name, expected, describe(value)))
}

fn no_id(field: String, value: &Value, vocabulary_size: usize) -> FieldProblem {
    FieldProblem::new(field, format!("a token id below the vocabulary's {vocabulary_size}"), describe(value))
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
    match chat_of(row, &["prompt", "prompt_ids", "response", "response_ids"]) {
        Some(messages) => {
            let messages = messages_in(messages)?;
            let Turn { prompt, response } = text.split(&messages)?;
            check_thought(&messages, &response)?;
            Ok(PromptAndResponse {
                prompt: not_empty("messages", "a prompt", text.encode("messages", &prompt)?)?,
                response: not_empty("messages", "a response", text.encode("messages", &response)?)?,
            })
        }
        None => Ok(PromptAndResponse {
            prompt: not_empty("prompt", "a prompt", tokens_of(row, "prompt", text)?)?,
            response: not_empty("response", "a response", tokens_of(row, "response", text)?)?,
        }),
    }
}

/// The chat of a row, unless one of the `ready_made` fields takes precedence.
fn chat_of<'a>(row: &'a Row, ready_made: &[&str]) -> Option<&'a Value> {
    field(row, "messages").filter(|_| ready_made.iter().all(|name| field(row, name).is_none()))
}

/// Without a token of the prompt, the model predicts nothing; without one of the response, there is nothing
/// to score.
fn not_empty(field: &str, what: &str, ids: Vec<u32>) -> Result<Vec<u32>, FieldProblem> {
    if ids.is_empty() {
        return Err(FieldProblem::new(field, format!("{what} of at least one token"), "an empty one"));
    }
    Ok(ids)
}

/// Fields that [`prompt_of`] reads.
pub const PROMPT_FIELDS: [&str; 3] = ["prompt", "prompt_ids", "messages"];

/// The prompt of a row, not empty: `prompt_ids`, `prompt`, or `messages` up to where the assistant writes.
pub fn prompt_of(row: &Row, text: &TextCodec) -> Result<Vec<u32>, FieldProblem> {
    let prompt = match chat_of(row, &["prompt", "prompt_ids"]) {
        Some(messages) => text.encode("messages", &text.prompt(&messages_in(messages)?)?)?,
        None => tokens_of(row, "prompt", text)?,
    };
    not_empty("prompt", "a prompt", prompt)
}

/// The thought of the response, where a message keeps it apart: training without it would teach a model to answer
/// without one.
fn check_thought(messages: &[Message], response: &str) -> Result<(), FieldProblem> {
    let thought =
        messages.last().and_then(|message| message.reasoning_content.as_deref()).unwrap_or_default();
    if response.contains(thought.trim()) {
        return Ok(());
    }
    let name = format!("messages[{}].reasoning_content", messages.len() - 1);
    let problem =
        FieldProblem::new(name, "a thought that the chat template renders", "one that it leaves out");
    Err(problem.hint(
        "write the thought into `content`, with its markers, or use a model whose template knows the field",
    ))
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
