//! Prompts of questions: from one of the reasoner's templates, or the model's own chat template.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Markers, Message, PromptTemplate};

use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;

use crate::prompting::PromptText;

/// The name that selects the model's own chat template.
const CHAT: &str = "chat";

/// Template of the user message in a chat.
const MESSAGE: &str = include_str!("chat.jinja");

/// How a question becomes a prompt.
#[derive(Debug)]
pub struct Wrapping {
    template: PromptTemplate,
    source: String,
    around: Around,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// The template renders the prompt.
    Nothing,
    /// The template renders the user message, and the model's chat template the prompt.
    Chat,
}

/// A prompt.
#[derive(Clone, Debug)]
pub struct Prompted {
    /// As text.
    pub text: String,
    /// As token ids.
    pub ids: Vec<u32>,
    /// Whether it ends with the marker that opens a thought.
    pub opens: bool,
}

impl Wrapping {
    /// Resolves `chat`, the name of a built-in template, or a template file.
    ///
    /// # Errors
    /// An unknown name; a file that is not a template.
    pub fn named(name: &str) -> Result<Wrapping> {
        let (source, around) = match name {
            CHAT => (MESSAGE.to_owned(), Around::Chat),
            _ => (template_text(name)?, Around::Nothing),
        };
        let template =
            PromptTemplate::new(&source).with_context(|| format!("cannot use the template {name}"))?;
        Ok(Wrapping { template, source, around })
    }

    /// The template's text, which identifies it in keys.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt for a question.
    ///
    /// # Errors
    /// A template that uses a field the question lacks; a model without tokenizer or chat template.
    pub fn prompt(
        &self,
        question: &str,
        boxed: bool,
        markers: &Markers,
        text: &TextCodec,
    ) -> Result<Prompted> {
        let rendered = self.template.render(question, None, boxed, markers)?;
        let prompt = match self.around {
            Around::Nothing => PromptText { text: rendered, is_chat: false },
            Around::Chat => PromptText { text: chat(rendered.trim(), text)?, is_chat: true },
        };
        let ids = prompt.ids(text).map_err(|problem| Failure::work(problem.to_string()))?;
        let prompt = prompt.text;
        // Some chat templates open the thought themselves, so this is read from the prompt.
        Ok(Prompted { opens: prompt.trim_end().ends_with(markers.open.trim()), text: prompt, ids })
    }
}

/// A message of the user, in the model's chat template.
fn chat(content: &str, text: &TextCodec) -> Result<String> {
    let message = Message::new("user", content);
    text.prompt(&[message]).map_err(|problem| {
        Failure::work(problem.to_string()).hint("give --template reasoner, or a file").into()
    })
}

/// The text of a built-in template, or of a template file. A built-in name comes before a file of that name,
/// so that a stray file does not change what a command does.
fn template_text(name: &str) -> Result<String> {
    match PromptTemplate::built_in(name) {
        Some(source) => Ok(source.to_owned()),
        None if Path::new(name).is_file() => {
            fs::read_to_string(name).with_context(|| format!("cannot read {name}"))
        }
        None => Err(unknown_template(name).into()),
    }
}

fn unknown_template(name: &str) -> Failure {
    let known = PromptTemplate::names();
    Failure::usage(format!("--template {name}: no such template or file"))
        .hint(format!("known templates: {CHAT}, {known}; or the path of a template file"))
}
