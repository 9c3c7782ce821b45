//! Conversations in rows.

use latrace_core::Message;
use serde_json::{Map, Value};

use super::{FieldProblem, describe};

/// The messages of a field that holds a conversation.
///
/// # Errors
/// Names the field of the message, what was expected and what was found. Calls of tools are refused: they are part of
/// what the model wrote, and rows have no place for them.
pub fn messages_in(value: &Value) -> Result<Vec<Message>, FieldProblem> {
    let Some(messages) = value.as_array() else {
        return Err(FieldProblem::new("messages", "a list of messages", describe(value)));
    };
    messages.iter().enumerate().map(message_in).collect()
}

fn message_in((at, value): (usize, &Value)) -> Result<Message, FieldProblem> {
    let Some(fields) = value.as_object() else {
        let expected = "a message with `role` and `content`";
        return Err(FieldProblem::new(format!("messages[{at}]"), expected, describe(value)));
    };
    // Null is the same as absent, as in all rows: Parquet has a value for every field of every message.
    let mut rest: Map<String, Value> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    refuse_tool_calls(at, &mut rest)?;
    let mut part = |name: &str| match rest.shift_remove(name) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(FieldProblem::new(format!("messages[{at}].{name}"), "a text", describe(&other))),
        None => Ok(None),
    };
    let [role, content, reasoning_content] = [part("role")?, part("content")?, part("reasoning_content")?];
    let missing = |name: &str| FieldProblem::new(format!("messages[{at}].{name}"), "a text", "nothing");
    let (role, content) = (role.ok_or_else(|| missing("role"))?, content.ok_or_else(|| missing("content"))?);
    Ok(Message { role, content, reasoning_content, rest })
}

fn refuse_tool_calls(at: usize, message: &mut Map<String, Value>) -> Result<(), FieldProblem> {
    match message.shift_remove("tool_calls") {
        None => Ok(()),
        Some(Value::Array(calls)) if calls.is_empty() => Ok(()),
        Some(other) => {
            let expected = "no calls of tools, which conversations here do not have";
            let problem = FieldProblem::new(format!("messages[{at}].tool_calls"), expected, describe(&other));
            Err(problem
                .hint("leave the row out, or write the calls into `content` as the model should write them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(value: Value, expected: &str) {
        assert_eq!(messages_in(&value).unwrap_err().to_string(), expected);
    }

    #[test]
    fn messages_keep_their_thought_and_what_templates_may_read() {
        let value = json!([{"role": "user", "content": "q", "name": "Ann", "tool_calls": null},
            {"role": "assistant", "content": "a", "reasoning_content": "r", "tool_calls": []}]);
        let messages = messages_in(&value).unwrap();
        assert_eq!(json!(messages[0]), json!({"role": "user", "content": "q", "name": "Ann"}));
        assert_eq!(
            messages[1],
            Message { reasoning_content: Some("r".to_owned()), ..Message::new("assistant", "a") }
        );
    }

    #[test]
    fn what_is_no_message_is_named() {
        check(json!("x"), "field \"messages\": expected a list of messages, got string \"x\"");
        check(
            json!([1]),
            "field \"messages[0]\": expected a message with `role` and `content`, got number 1",
        );
        check(json!([{"role": "user"}]), "field \"messages[0].content\": expected a text, got nothing");
        let parts = json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]);
        check(parts, "field \"messages[0].content\": expected a text, got a list of 1");
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f"}}]});
        check(
            json!([call]),
            "field \"messages[0].tool_calls\": expected no calls of tools, which conversations here do not have, \
             got a list of 1",
        );
    }
}
