//! Text and token ids of one model: its vocabulary size, tokenizer and chat template.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{ChatTemplate, Date, Message, Tokenizer, Turn};
use latrace_lm::adapter::model_file;
use serde_json::Value;

use crate::files::{read_if_there, read_json_if_there};
use crate::model_shape::ModelShape;
use latrace_io::clock::today;
use latrace_io::rows::FieldProblem;

/// What turns a row's text into token ids for one model.
#[derive(Debug)]
pub struct TextCodec {
    vocabulary_size: usize,
    tokenizer: Option<Tokenizer>,
    template: Option<ChatTemplate>,
    /// The tokenizer's own end token, if its settings name one.
    end_id: Option<u32>,
}

impl TextCodec {
    /// Reads `tokenizer.json` and the chat template of `folder`, where they are.
    ///
    /// # Errors
    /// Files that cannot be used; a tokenizer with more ids than a model of that shape has.
    pub fn open(folder: &Path, shape: &ModelShape) -> Result<TextCodec> {
        let tokenizer = read_tokenizer(&model_file(folder, "tokenizer.json")?)?;
        if let Some(tokenizer) = &tokenizer {
            check_vocabulary(tokenizer, shape, folder)?;
        }
        let settings =
            read_json_if_there(&model_file(folder, "tokenizer_config.json")?)?.unwrap_or(Value::Null);
        let mut template = read_template(folder, &settings)?;
        if let Some(template) = &mut template {
            template.set_date(today());
        }
        let end_id =
            tokenizer.as_ref().and_then(|tokenizer| tokenizer.token_id(token_text(&settings["eos_token"])));
        Ok(TextCodec { vocabulary_size: shape.vocabulary_size, tokenizer, template, end_id })
    }

    /// Renders conversations as on that date, not today.
    pub fn set_date(&mut self, date: Date) {
        if let Some(template) = &mut self.template {
            template.set_date(date);
        }
    }

    /// Renders conversations as on the date that earlier work states, or else today. Returns the date if prompts
    /// depend on it.
    pub fn date_of(&mut self, earlier: Option<&Value>) -> Option<Date> {
        let template = self.template.as_mut().filter(|template| template.uses_date())?;
        let date = earlier.and_then(|date| date.as_str()?.parse().ok()).unwrap_or_else(today);
        template.set_date(date);
        Some(date)
    }

    /// Ids that the model knows are below this.
    pub fn vocabulary_size(&self) -> usize {
        self.vocabulary_size
    }

    /// The token ids of a field's text.
    pub fn encode(&self, field: &str, text: &str) -> Result<Vec<u32>, FieldProblem> {
        self.encode_by(Tokenizer::encode, field, text)
    }

    /// The token ids of a field's text as the beginning of a prompt: after what the tokenizer puts before texts, as in
    /// transformers. A conversation is no such text: its template says what it begins with.
    pub fn encode_prompt(&self, field: &str, text: &str) -> Result<Vec<u32>, FieldProblem> {
        self.encode_by(Tokenizer::encode_prompt, field, text)
    }

    fn encode_by(
        &self,
        encode: fn(&Tokenizer, &str) -> latrace_core::Result<Vec<u32>>,
        field: &str,
        text: &str,
    ) -> Result<Vec<u32>, FieldProblem> {
        let Some(tokenizer) = &self.tokenizer else {
            let expected = "token ids, since the model folder has no tokenizer.json";
            return Err(FieldProblem::new(field, expected, "a text"));
        };
        encode(tokenizer, text).map_err(|error| {
            let got = format!("one that it refuses: {error}");
            FieldProblem::new(field, "a text that the tokenizer takes", got)
        })
    }

    /// What the tokenizer puts before prompts that are texts: its ids.
    pub fn begin_ids(&self) -> &[u32] {
        self.tokenizer.as_ref().map_or(&[], Tokenizer::begin)
    }

    /// Logs what the tokenizer puts before prompts that are texts, if anything.
    pub fn log_begin(&self) {
        if let Some(begin) = self.decode(self.begin_ids()).filter(|begin| !begin.is_empty()) {
            tracing::info!("prompts given as text begin with {begin:?}, which the tokenizer adds");
        }
    }

    /// Of the tokens that end a text, the tokenizer's own; the first, if it names none of them.
    pub fn own_end(&self, end_ids: &[u32]) -> Option<u32> {
        let own = self.end_id.filter(|own| end_ids.contains(own));
        own.or_else(|| end_ids.first().copied())
    }

    /// Whether ids have a text.
    pub fn has_tokenizer(&self) -> bool {
        self.tokenizer.is_some()
    }

    /// Whether conversations have a text.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The source of the chat template.
    pub fn template_source(&self) -> Option<&str> {
        self.template.as_ref().map(ChatTemplate::source)
    }

    /// Whether a token is one byte of a text, which has none by itself.
    pub fn is_byte(&self, id: u32) -> bool {
        self.tokenizer.as_ref().is_some_and(|tokenizer| tokenizer.is_byte(id))
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
        self.template.as_ref().ok_or_else(no_template)
    }
}

fn no_template() -> FieldProblem {
    let expected = "ready-made fields, since the model folder has no chat template";
    FieldProblem::new("messages", expected, "messages")
        .hint("a random model has none: choose a model for chats, or give each row a `question`, a `trace` and an `answer`")
}

fn refused(error: latrace_core::Error) -> FieldProblem {
    FieldProblem::new("messages", "a conversation that the chat template takes", error.to_string())
}

fn read_tokenizer(path: &Path) -> Result<Option<Tokenizer>> {
    let Some(bytes) = read_if_there(path)? else { return Ok(None) };
    let tokenizer = Tokenizer::from_bytes(&bytes);
    Ok(Some(tokenizer.with_context(|| format!("cannot use {}", path.display()))?))
}

/// A model may have more ids than its tokenizer (padding), but with fewer it would be given unknown ones.
fn check_vocabulary(tokenizer: &Tokenizer, shape: &ModelShape, folder: &Path) -> Result<()> {
    let (model, tokenizer) = (shape.vocabulary_size, tokenizer.vocabulary_size());
    if tokenizer <= model {
        return Ok(());
    }
    let path = folder.join("config.json");
    Err(latrace_lm::Error::VocabularySmaller { path, model, tokenizer }.into())
}

fn read_template(folder: &Path, settings: &Value) -> Result<Option<ChatTemplate>> {
    let Some(source) = template_source(folder, settings)? else { return Ok(None) };
    let [begin, end] = ["bos_token", "eos_token"].map(|name| token_text(&settings[name]));
    let template = ChatTemplate::new(&source, begin, end);
    template.map(Some).with_context(|| format!("cannot use the chat template of {}", folder.display()))
}

/// The template of `chat_template.jinja`, of `chat_template.json`, or of `tokenizer_config.json`, in that
/// order.
pub(crate) fn template_source(folder: &Path, settings: &Value) -> Result<Option<String>> {
    Ok(template_file(folder)?.or_else(|| template_in(&settings["chat_template"])))
}

/// The source of a template that has a file of its own.
fn template_file(folder: &Path) -> Result<Option<String>> {
    let path = model_file(folder, "chat_template.jinja")?;
    if let Some(bytes) = read_if_there(&path)? {
        let source = String::from_utf8(bytes);
        return Ok(Some(source.with_context(|| format!("{} is not UTF-8", path.display()))?));
    }
    let json = read_json_if_there(&model_file(folder, "chat_template.json")?)?;
    Ok(json.and_then(|json| template_in(&json["chat_template"])))
}

/// A template is a text, or a list of named texts of which `default` is meant.
fn template_in(value: &Value) -> Option<String> {
    let source = match value.as_array() {
        Some(named) => default_in(named)?,
        None => value,
    };
    source.as_str().map(str::to_owned)
}

fn default_in(named: &[Value]) -> Option<&Value> {
    let default = named.iter().find(|entry| entry["name"] == "default")?;
    Some(&default["template"])
}

/// A special token is a text, or an object whose `content` is the text.
pub(crate) fn token_text(value: &Value) -> &str {
    value.as_str().or_else(|| value["content"].as_str()).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `oracle/prompt_goldens.py`: ids that transformers gives texts.
    #[test]
    fn prompts_begin_as_in_transformers() {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/prompt_ids.json")).unwrap();
        let (texts, cases) = (golden["texts"].as_array().unwrap(), golden["cases"].as_array().unwrap());
        let shape = ModelShape { vocabulary_size: 6, positions: 9, end_ids: vec![2] };
        for case in cases {
            let name = case["post_processor"].as_str().unwrap();
            let folder = tempfile::tempdir().unwrap();
            let write = |file: &str, value: &Value| {
                std::fs::write(folder.path().join(file), value.to_string()).unwrap();
            };
            write("tokenizer.json", &golden["tokenizers"][name]);
            write("tokenizer_config.json", &case["config"]);
            let codec = TextCodec::open(folder.path(), &shape).unwrap();
            for (text, expected) in texts.iter().zip(case["ids"].as_array().unwrap()) {
                let mut expected: Vec<u32> = serde_json::from_value(expected.clone()).unwrap();
                // What follows a prompt is the response, whatever the tokenizer ends texts with.
                if name.ends_with("end") {
                    expected.pop();
                }
                let text = text.as_str().unwrap();
                assert_eq!(codec.encode_prompt("prompt", text).unwrap(), expected, "{name}: {text}");
                let plain = expected.strip_prefix(&[1]).unwrap_or(&expected);
                assert_eq!(codec.encode("response", text).unwrap(), plain, "{name}: {text}");
            }
            // A text that begins with the token does not get it twice.
            assert_eq!(codec.encode_prompt("prompt", "<s> one").unwrap(), [1, 3], "{name}");
            assert_eq!(codec.own_end(&[0, 2]), Some(2), "{name}");
            assert_eq!(codec.own_end(&[0, 1]), Some(0), "{name}");
        }
    }

    /// `oracle/unigram_goldens.py`: ids and texts that transformers gives, with and without byte fallback.
    #[test]
    fn unigram_tokenizers_are_read_as_in_transformers() {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/unigram.json")).unwrap();
        let texts: Vec<String> = serde_json::from_value(golden["texts"].clone()).unwrap();
        let shape = ModelShape { vocabulary_size: 400, positions: 9, end_ids: vec![2] };
        for (name, case) in golden["cases"].as_object().unwrap() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("tokenizer.json"), case["tokenizer"].to_string()).unwrap();
            let codec = TextCodec::open(folder.path(), &shape).unwrap();
            let ids: Vec<Vec<u32>> = serde_json::from_value(case["ids"].clone()).unwrap();
            let decoded: Vec<String> = serde_json::from_value(case["decoded"].clone()).unwrap();
            for ((text, ids), decoded) in texts.iter().zip(&ids).zip(&decoded) {
                assert_eq!(codec.encode("text", text).unwrap(), *ids, "{name}: {text:?}");
                assert_eq!(codec.decode(ids).as_ref(), Some(decoded), "{name}: {text:?}");
            }
            // Only the second has bytes to fall back on: no text is lost in it but what its normaliser replaces.
            let is_lossless =
                texts.iter().zip(&decoded).all(|(text, decoded)| *decoded == text.replace('\u{fb01}', "fi"));
            assert_eq!(is_lossless, name == "byte fallback");
            let bytes = ids.iter().flatten().filter(|&&id| codec.is_byte(id)).count();
            assert_eq!(bytes > 0, name == "byte fallback");
        }
    }

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
