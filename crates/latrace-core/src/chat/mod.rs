//! Chat templates: a conversation to the text a model is trained on.
//!
//! The environment is the one `transformers` uses: `trim_blocks`, `lstrip_blocks`, loop controls, `{% generation %}`,
//! `raise_exception`, `strftime_now`, a `tojson` that writes JSON as Python does, Python's methods of texts and `%`.
//! `oracle/chat_goldens.py` holds what Jinja2 makes of each construct. Differs in: no tools or documents; the date is
//! given, and a time of day is refused.

mod dialect;
mod json;
mod methods;

use std::error::Error as _;
use std::iter::successors;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error as TemplateError, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::Map;

use crate::date::Date;
use crate::error::{Error, Result};
pub(crate) use methods::call as call_method;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// The message's text.
    pub content: String,
    /// The thought before the text, where the conversation keeps the two apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// Everything else, which templates may read.
    #[serde(flatten)]
    pub rest: Map<String, serde_json::Value>,
}

impl Message {
    /// A message of nothing but text.
    pub fn new(role: &str, content: impl Into<String>) -> Message {
        let (role, content) = (role.to_owned(), content.into());
        Message { role, content, reasoning_content: None, rest: Map::new() }
    }
}

/// A conversation as a training row: everything before the last assistant message's content, and the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The rendered conversation up to where the model's text begins.
    pub prompt: String,
    /// The text that the model should produce, including the end marker.
    pub response: String,
}

/// A compiled chat template with the texts of the begin and end markers.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
    date: Option<Date>,
    uses_date: bool,
}

const NAME: &str = "chat_template";

/// The function by which a template asks for the date.
const DATE: &str = "strftime_now";

impl ChatTemplate {
    /// What it was compiled from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Compiles `source`; `bos_token` and `eos_token` are visible to it under these names.
    ///
    /// # Errors
    /// A source that is no template.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<ChatTemplate> {
        let bad = |error: TemplateError| Error::BadTemplate { reason: describe(&error) };
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(bad)?;
        environment.set_syntax(syntax);
        environment.set_unknown_method_callback(call_method);
        environment.set_formatter(methods::print);
        environment.add_filter("e", methods::escape);
        environment.add_filter("escape", methods::escape);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function(dialect::PERCENT, methods::percent);
        environment.add_filter("tojson", json::to_json);
        environment.add_template_owned(NAME, dialect::translated(source)).map_err(bad)?;
        let [bos_token, eos_token] = [bos_token, eos_token].map(str::to_owned);
        let (source, uses_date) = (source.to_owned(), source.contains(DATE));
        Ok(ChatTemplate { source, environment, bos_token, eos_token, date: None, uses_date })
    }

    /// Whether what it renders depends on the date.
    pub fn uses_date(&self) -> bool {
        self.uses_date
    }

    /// Renders conversations as on that date from now on.
    pub fn set_date(&mut self, date: Date) {
        self.date = Some(date);
    }

    /// The text of `messages`. With `add_generation_prompt` it ends where the assistant's next message
    /// begins.
    ///
    /// # Errors
    /// Messages that the template refuses.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let fail =
            |error: TemplateError| Error::Render { messages: messages.len(), reason: describe(&error) };
        let template = self.environment.get_template(NAME).map_err(fail)?;
        let date = self.date;
        template
            .render(context! {
                messages => Value::from(Serde(messages)),
                add_generation_prompt => add_generation_prompt,
                bos_token => self.bos_token.as_str(),
                eos_token => self.eos_token.as_str(),
                // As transformers passes them, so that `tools is defined`.
                tools => (),
                documents => (),
                strftime_now => Value::from_function(move |format: &str| formatted(date, format)),
            })
            .map_err(fail)
    }

    /// Splits a conversation that ends with an assistant message: the prompt is everything before it,
    /// rendered with the generation prompt, and the response is the rest of the full rendering.
    pub fn split(&self, messages: &[Message]) -> Result<Turn> {
        let fail = |reason: String| Error::Split { messages: messages.len(), reason };
        let before = match messages.split_last() {
            Some((last, before)) if last.role == "assistant" => before,
            Some((last, _)) => {
                return Err(fail(format!(
                    "expected the last message to be the assistant's, got role \"{}\"",
                    last.role
                )));
            }
            None => return Err(fail("expected at least one message, got none".to_owned())),
        };
        // From two renderings: a template may treat the last message differently from earlier ones.
        let prompt = self.render(before, true)?;
        let whole = self.render(messages, false)?;
        match whole.strip_prefix(&prompt) {
            Some(response) => Ok(Turn { response: response.to_owned(), prompt }),
            None => Err(fail("the rendered prompt, with its generation prompt, is not a prefix of the rendered conversation".to_owned())),
        }
    }
}

fn raise_exception(message: String) -> std::result::Result<Value, TemplateError> {
    Err(TemplateError::new(ErrorKind::InvalidOperation, message))
}

fn formatted(date: Option<Date>, format: &str) -> std::result::Result<String, TemplateError> {
    let date = date.ok_or_else(|| "no date is set".to_owned());
    let text = date.and_then(|date| date.format(format).map_err(|error| error.to_string()));
    text.map_err(|reason| TemplateError::new(ErrorKind::InvalidOperation, format!("{DATE}: {reason}")))
}

/// The message, its line, and what caused it, in one line.
pub(crate) fn describe(error: &TemplateError) -> String {
    // The outer error alone often says only that a filter failed.
    let chain = successors(error.source(), |&cause| cause.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{%- for message in messages %}\n    \
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>' + '\\n' }}\n\
        {%- endfor %}\n\
        {%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n";

    fn message(role: &str, content: &str) -> Message {
        Message::new(role, content)
    }

    #[track_caller]
    fn check(source: &str, messages: &[Message], expected: &str) {
        let template = ChatTemplate::new(source, "<s>", "</s>").unwrap();
        assert_eq!(template.render(messages, false).unwrap(), expected);
    }

    #[test]
    fn chatml_with_and_without_generation_prompt() {
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let messages = [message("user", " 1+1? ")];
        assert_eq!(template.render(&messages, false).unwrap(), "<|im_start|>user\n1+1?<|im_end|>\n");
        assert_eq!(
            template.render(&messages, true).unwrap(),
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
        );
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_does() {
        check("a\n  {% if true %}\nb\n  {% endif %}\nc\n", &[], "a\nb\nc");
    }

    #[test]
    fn markers_python_methods_and_slices() {
        let messages = [message("user", "<think>\nx\n</think>\n\ny")];
        let source = "{{ bos_token }}{% set c = messages[0].content %}\
            {% if c.startswith('<think>') and '</think>' in c %}{{ c.split('</think>')[-1].lstrip('\\n') }}{% endif %}\
            {% for m in messages[::-1] %}{{ m.role.upper() }}{% endfor %}{{ eos_token }}";
        check(source, &messages, "<s>yUSER</s>");
    }

    #[test]
    fn json_is_spaced_as_python_does() {
        check("{{ {'a': [1, 'é<b>', none]} | tojson }}", &[], "{\"a\": [1, \"é<b>\", null]}");
        check("{{ [1] | tojson(indent=2) }}", &[], "[\n  1\n]");
    }

    #[test]
    fn raise_exception_reaches_the_caller() {
        let template = ChatTemplate::new("{{ raise_exception('only users') }}", "", "").unwrap();
        let error = template.render(&[], false).unwrap_err().to_string();
        assert!(error.contains("only users"), "{error}");
    }

    #[test]
    fn a_broken_template_is_an_error() {
        assert!(ChatTemplate::new("{% if %}", "", "").is_err());
    }

    #[test]
    fn a_conversation_splits_at_the_last_assistant_message() {
        let template = ChatTemplate::new(CHATML, "", "").unwrap();
        let turn = template.split(&[message("user", "1+1?"), message("assistant", "2")]).unwrap();
        assert_eq!(turn.prompt, "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!(turn.response, "2<|im_end|>\n");
        assert!(template.split(&[message("user", "1+1?")]).is_err());
        assert!(template.split(&[]).is_err());
    }
}
