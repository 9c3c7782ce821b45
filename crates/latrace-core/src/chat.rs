//! Chat templates: a conversation to the text a model is trained on.
//!
//! The environment is the one `transformers` uses: `trim_blocks`, `lstrip_blocks`, loop controls,
//! `raise_exception`, a `tojson` that writes JSON as Python does, and Python's string methods. Differs in: no
//! `strftime_now`, no tools or documents, no `{% generation %}` blocks.

use std::error::Error as _;
use std::io;
use std::iter::successors;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, Error as TemplateError, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};
use serde_json::ser::Formatter;

use crate::error::{Error, Result};

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user` or `assistant`.
    pub role: String,
    /// The message's text.
    pub content: String,
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
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles `source`; `bos_token` and `eos_token` are visible to it under these names.
    pub fn new(source: &str, bos_token: &str, eos_token: &str) -> Result<ChatTemplate> {
        let bad = |error: TemplateError| Error::BadTemplate { reason: describe(&error) };
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(bad)?;
        environment.set_syntax(syntax);
        // Published templates call methods of Python's strings, such as `strip` and `split`.
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, source.to_owned()).map_err(bad)?;
        Ok(ChatTemplate { environment, bos_token: bos_token.to_owned(), eos_token: eos_token.to_owned() })
    }

    /// The text of `messages`. With `add_generation_prompt` it ends where the assistant's next message
    /// begins.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String> {
        let fail =
            |error: TemplateError| Error::Render { messages: messages.len(), reason: describe(&error) };
        let template = self.environment.get_template(NAME).map_err(fail)?;
        template
            .render(context! {
                messages => Value::from(Serde(messages)),
                add_generation_prompt => add_generation_prompt,
                bos_token => self.bos_token.as_str(),
                eos_token => self.eos_token.as_str(),
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

/// The message, its line, and what caused it, in one line.
pub(crate) fn describe(error: &TemplateError) -> String {
    // The outer error alone often says only that a filter failed.
    let chain = successors(error.source(), |&cause| cause.source());
    chain.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// JSON as Python's `json.dumps(ensure_ascii=False)` writes it: a space after commas and colons, nothing
/// escaped for HTML.
fn to_json(value: &Value, options: minijinja::value::Kwargs) -> std::result::Result<Value, TemplateError> {
    let indent: Option<usize> = options.get("indent")?;
    // Accepted for templates that pass it: transformers' default is not to escape to ASCII either.
    let _: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(width) => {
            let spaces = " ".repeat(width);
            let formatter = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, PythonSpacing)),
    };
    let failed = |reason: String| TemplateError::new(ErrorKind::BadSerialization, reason);
    written.map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| failed(error.to_string()))?;
    // Safe, or it would be escaped once more where a template asks for escaping.
    Ok(Value::from_safe_string(text))
}

struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{%- for message in messages %}\n    \
        {{- '<|im_start|>' + message['role'] + '\\n' + message['content'].strip() + '<|im_end|>' + '\\n' }}\n\
        {%- endfor %}\n\
        {%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n{%- endif %}\n";

    fn message(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.to_owned() }
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
