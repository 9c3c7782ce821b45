//! The chat template of a trained model: a conversation becomes the prompt that the model was trained on.

use anyhow::{Context, Result, anyhow};
use latrace_core::{Markers, Message, PromptTemplate};
use latrace_engine::text_codec::TextCodec;
use latrace_questions::query::is_boxed;
use serde_json::json;

use crate::plan::Template;
use crate::prompting::Prompting;
use crate::recipe::run::RunRecipe;

/// Stands for the question while a template is rendered. No template has it.
const QUESTION: &str = "\u{1}question\u{1}";

/// The source of the chat template; `None` where prompts are not of a kind that one can make: those that a data
/// set's rows bring with them, or a model without a tokenizer.
pub(super) fn of(recipe: &RunRecipe, text: &TextCodec) -> Result<Option<String>> {
    let prompts = &recipe.prompts;
    let markers = prompts.markers.markers("prompts.markers")?;
    let boxed = is_boxed(&recipe.questions.kind);
    if !text.has_tokenizer() {
        return Ok(None);
    }
    match Template::named("prompts.reasoner", &prompts.reasoner, &prompts.system)?.compile()? {
        Prompting::Template(template) => {
            let begin = text.decode(text.begin_ids()).unwrap_or_default();
            of_text(&template, boxed, &markers, &begin).map(Some)
        }
        Prompting::Chat(chat) => {
            let base = text.template_source().context("a conversation needs the model's chat template")?;
            let prompt = text.prompt(&[Message::new("user", "q")]).map_err(|problem| anyhow!("{problem}"))?;
            // Some templates open the thought themselves.
            let open = if markers.opens(&prompt) { String::new() } else { literal(&markers.open) };
            Ok(Some(of_chat(&chat.ask(QUESTION, boxed, &markers)?, chat.system(), base, &open)))
        }
    }
}

/// Of a prompt that is a text: what stands before and behind the question, around each message of the user. `begin`
/// is what the tokenizer puts before texts, which it does not before conversations.
fn of_text(template: &PromptTemplate, boxed: bool, markers: &Markers, begin: &str) -> Result<String> {
    let prompt = template.render(QUESTION, None, boxed, markers)?;
    let parts: Vec<String> = prompt.split(QUESTION).map(literal).collect();
    let user = parts.join("{{ message['content'] }}");
    Ok(format!(
        "{begin}{{% for message in messages %}}{{% if message['role'] == 'user' %}}{user}{{% elif message['role'] == \
         'assistant' %}}{{{{ message['content'] + eos_token + '\\n' }}}}{{% else %}}{{{{ message['content'] + '\\n' \
         }}}}{{% endif %}}{{% endfor %}}",
        begin = literal(begin),
    ))
}

/// A text as an expression of Jinja; nothing for no text.
fn literal(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{{{{ {} }}}}", json!(text)) }
}

/// Of a prompt that is a conversation: the model's own template `base`, with the recipe's system message where a
/// conversation has none, the last message as the user's of the training, `asked`, and the thought opened.
fn of_chat(asked: &str, system: &str, base: &str, open: &str) -> String {
    let mut source = String::new();
    if !system.is_empty() {
        let message = json!({"role": "system", "content": system});
        source += &format!(
            "{{% if messages[0]['role'] != 'system' %}}{{% set messages = [{message}] + messages %}}{{% endif %}}"
        );
    }
    if asked != QUESTION {
        let parts: Vec<String> = asked.split(QUESTION).map(|part| json!(part).to_string()).collect();
        let content = parts.join(" + messages[-1]['content'] + ");
        // As in training, a question that asks for a box itself stays as it is.
        source += &format!(
            "{{% if messages[-1]['role'] == 'user' and '\\\\boxed' not in messages[-1]['content'] %}}{{% set messages = \
             messages[:-1] + [{{'role': 'user', 'content': {content}}}] %}}{{% endif %}}"
        );
    }
    source += base;
    if !open.is_empty() {
        source += &format!("{{% if add_generation_prompt %}}{open}{{% endif %}}");
    }
    source
}
