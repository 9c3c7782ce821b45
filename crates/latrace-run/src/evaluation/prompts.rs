//! Prompts of questions: from one of the reasoner's templates, or the model's own chat template.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Markers, PromptTemplate, Question};

use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;

use crate::prompting::{Conversation, Prompting};

/// The name that selects the model's own chat template.
const CHAT: &str = "chat";

/// The name that selects it with the thought opened, as recipes with `prompts.reasoner = "chat"` do.
const CHAT_OPEN: &str = "chat_open";

/// Template of the user message in a chat.
const MESSAGE: &str = include_str!("chat.jinja");

/// How a question becomes a prompt.
#[derive(Debug)]
pub struct Wrapping {
    prompting: Prompting,
    source: String,
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
    /// Resolves `chat`, `chat_open`, the name of a built-in template, or a template file. `system` is the system
    /// message of a chat, if it has one.
    ///
    /// # Errors
    /// An unknown name; a file that is not a template; a system message without a chat.
    pub fn named(name: &str, system: Option<&str>) -> Result<Wrapping> {
        if let Some(conversation) = conversation(name, system.unwrap_or_default()) {
            return Ok(Wrapping { prompting: conversation.compile()?, source: conversation.source() });
        }
        if system.is_some() {
            return Err(without_chat(name).into());
        }
        let source = template_text(name)?;
        let template =
            PromptTemplate::new(&source).with_context(|| format!("cannot use the template {name}"))?;
        Ok(Wrapping { prompting: Prompting::Template(template), source })
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
        let question = Question { question: question.to_owned(), ..Question::default() };
        let prompt = self.prompting.prompt(&question, None, boxed, markers, Some(text))?;
        let ids = prompt.ids(text).map_err(|problem| Failure::work(problem.to_string()))?;
        // Some chat templates open the thought themselves, so this is read from the prompt.
        Ok(Prompted { opens: markers.opens(&prompt.text), text: prompt.text, ids })
    }
}

/// The conversation of a name.
fn conversation(name: &str, system: &str) -> Option<Conversation> {
    match name {
        CHAT => Some(Conversation::unopened(system).with_user(MESSAGE)),
        CHAT_OPEN => Conversation::named(CHAT, system),
        _ => None,
    }
}

fn without_chat(name: &str) -> Failure {
    Failure::usage(format!("--system: the template {name} is no chat, and has no system message"))
        .hint(format!("give --template {CHAT} or {CHAT_OPEN}"))
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
        .hint(format!("known templates: {CHAT}, {CHAT_OPEN}, {known}; or the path of a template file"))
}
