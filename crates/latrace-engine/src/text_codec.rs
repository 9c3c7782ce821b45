//! Text and token ids of one model: its vocabulary size, tokenizer and chat template.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{ChatTemplate, Message, Tokenizer, Turn};
use serde_json::Value;

use crate::model_shape::ModelShape;
use latrace_io::rows::FieldProblem;

/// What turns a row's text into token ids for one model.
#[derive(Debug)]
pub struct TextCodec {
    vocabulary_size: usize,
    tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
}

impl TextCodec {
    /// Reads `tokenizer.json` and the chat template of `folder`, where they are.
    ///
    /// # Errors
    /// Files that cannot be used; a tokenizer with more ids than a model of that shape has.
    pub fn open(folder: &Path, shape: &ModelShape) -> Result<TextCodec> {
        let tokenizer = match read_if_there(&folder.join("tokenizer.json"))? {
            Some(bytes) => Some(
                Tokenizer::from_bytes(&bytes)
                    .with_context(|| format!("cannot use {}", folder.join("tokenizer.json").display()))?,
            ),
            None => None,
        };
        if let Some(tokenizer) = &tokenizer
            && tokenizer.vocabulary_size() > shape.vocabulary_size
        {
            let (path, model) = (folder.join("config.json"), shape.vocabulary_size);
            let tokenizer = tokenizer.vocabulary_size();
            return Err(latrace_lm::Error::VocabularySmaller { path, model, tokenizer }.into());
        }
        let template = read_template(folder)?;
        Ok(TextCodec { vocabulary_size: shape.vocabulary_size, tokenizer, template })
    }

    /// Ids that the model knows are below this.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The token ids of a field's text.
    pub fn encode(&self, field: &str, text: &str) -> Result<Vec<u32>, FieldProblem> {
        match &self.tokenizer {
            Some(tokenizer) => tokenizer.encode(text).map_err(|error| {
                FieldProblem::new(
                    field,
                    "a text that the tokenizer takes",
                    format!("one that it refuses: {error}"),
                )
            }),
            None => Err(FieldProblem::new(
                field,
                "token ids, since the model folder has no tokenizer.json",
                "a text",
            )),
        }
    }

    /// Whether ids have a text.
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Whether conversations have a text.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The text of ids that the model drew; none without a tokenizer.
    pub fn decode(&self, ids: &[u32]) -> Option<String> {
        // Ids without a text are left out, and the tokenizer decodes all others.
        self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.decode_drawn(ids).ok())
    }

    /// A conversation as prompt and response text.
    pub fn split(&self, messages: &[Message]) -> Result<Turn, FieldProblem> {
        self.template()?.split(messages).map_err(refused)
    }

    /// A conversation as the text after which the assistant writes.
    pub fn prompt(&self, messages: &[Message]) -> Result<String, FieldProblem> {
        self.template()?.render(messages, true).map_err(refused)
    }

    fn template(&self) -> Result<&ChatTemplate, FieldProblem> {
        let missing = || {
            FieldProblem::new(
                "messages",
                "ready-made fields, since the model folder has no chat template",
                "messages",
            )
        };
        self.template.as_ref().ok_or_else(missing)
    }
}

fn refused(error: latrace_core::Error) -> FieldProblem {
    FieldProblem::new("messages", "a conversation that the chat template takes", error.to_string())
}

fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

fn read_json_if_there(path: &Path) -> Result<Option<Value>> {
    let Some(bytes) = read_if_there(path)? else {
        return Ok(None);
    };
    let value =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid JSON", path.display()))?;
    Ok(Some(value))
}

/// The template of `chat_template.jinja`, of `chat_template.json`, or of `tokenizer_config.json`, in that
/// order.
fn read_template(folder: &Path) -> Result<Option<ChatTemplate>> {
    let settings = read_json_if_there(&folder.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
    let source = match read_if_there(&folder.join("chat_template.jinja"))? {
        Some(bytes) => Some(
            String::from_utf8(bytes)
                .with_context(|| format!("{} is not UTF-8", folder.join("chat_template.jinja").display()))?,
        ),
        None => {
            let own_file = read_json_if_there(&folder.join("chat_template.json"))?.unwrap_or(Value::Null);
            template_in(&own_file["chat_template"]).or_else(|| template_in(&settings["chat_template"]))
        }
    };
    let Some(source) = source else {
        return Ok(None);
    };
    let template =
        ChatTemplate::new(&source, token_text(&settings["bos_token"]), token_text(&settings["eos_token"]));
    template.map(Some).with_context(|| format!("cannot use the chat template of {}", folder.display()))
}

/// A template is a text, or a list of named texts of which `default` is meant.
fn template_in(value: &Value) -> Option<String> {
    match value {
        Value::String(source) => Some(source.clone()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default")?;
            default["template"].as_str().map(str::to_owned)
        }
        _ => None,
    }
}

/// A special token is a text, or an object whose `content` is the text.
fn token_text(value: &Value) -> &str {
    value.as_str().or_else(|| value["content"].as_str()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_of_templates_and_special_tokens_are_read() {
        assert_eq!(template_in(&json!("x")), Some("x".to_owned()));
        assert_eq!(
            template_in(
                &json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}])
            ),
            Some("d".to_owned())
        );
        assert_eq!(template_in(&Value::Null), None);
        assert_eq!(token_text(&json!("<s>")), "<s>");
        assert_eq!(token_text(&json!({"content": "<s>", "lstrip": false})), "<s>");
        assert_eq!(token_text(&Value::Null), "");
    }
}
