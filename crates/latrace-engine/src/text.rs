//! The text side of a model folder: vocabulary size, tokenizer, chat template.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{ChatTemplate, Message, Tokenizer, Turn};
use latrace_lm::Config;
use serde_json::Value;

use latrace_io::failure::Failure;
use latrace_io::rows::FieldProblem;

/// What turns a row's text into token ids for one model.
#[derive(Debug)]
pub struct TextSide {
    vocabulary_size: usize,
    tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
}

impl TextSide {
    /// Reads `tokenizer.json` and the chat template of `folder`, where they are. A tokenizer with more ids
    /// than the model of `config` has is an error.
    pub fn open(folder: &Path, config: &Config) -> Result<TextSide> {
        let tokenizer = match read_if_there(&folder.join("tokenizer.json"))? {
            Some(bytes) => Some(
                Tokenizer::from_bytes(&bytes)
                    .with_context(|| format!("cannot use {}", folder.join("tokenizer.json").display()))?,
            ),
            None => None,
        };
        if let Some(tokenizer) = &tokenizer
            && tokenizer.vocabulary_size() > config.vocab_size
        {
            let (path, model, tokenizer) =
                (folder.join("config.json"), config.vocab_size, tokenizer.vocabulary_size());
            return Err(latrace_lm::Error::VocabularySmaller { path, model, tokenizer }.into());
        }
        Ok(TextSide { vocabulary_size: config.vocab_size, tokenizer, template: read_template(folder)? })
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

/// The configuration of the model in `folder`, or an error that says what a model folder is.
pub fn read_config(folder: &Path) -> Result<Config> {
    if !folder.join("config.json").is_file() {
        let message = format!("{} is not a model folder: it has no config.json", folder.display());
        return Err(Failure::work(message)
            .hint("a model folder holds config.json, model.safetensors and tokenizer.json")
            .into());
    }
    Ok(Config::read(folder)?)
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
