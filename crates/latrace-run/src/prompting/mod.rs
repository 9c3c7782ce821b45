//! How a question becomes a prompt: by a template, or as a conversation in the model's own chat template.

use anyhow::{Context, Result, anyhow, bail};
use latrace_core::{Markers, Message, PromptTemplate, Question};
use latrace_engine::text_codec::TextCodec;
use latrace_questions::source::conversation_prompt;
use serde::Serialize;

/// The user's message of a conversation.
const USER: &str = include_str!("chat.jinja");

/// Names of prompts that are conversations, each with what the assistant's turn begins with. The posterior's
/// differ as the paper's two templates do: the solution and how it is found, or the solution and the lost thought
/// before it.
const CONVERSATIONS: [(&str, &str); 3] = [
    ("chat", "{{ open }}"),
    ("chat_a", include_str!("chat_a.jinja")),
    ("chat_b", include_str!("chat_b.jinja")),
];

/// A conversation as a prompt: system message, question, beginning of the assistant's turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// The system message; empty for that of the question's row, if it has one.
    system: String,
    /// Template of what the assistant's turn begins with, up to where the trace begins.
    assistant: &'static str,
}

impl Conversation {
    /// The conversation of a name.
    pub fn named(name: &str, system: &str) -> Option<Self> {
        let (_, assistant) = CONVERSATIONS.into_iter().find(|(known, _)| *known == name)?;
        Some(Self { system: system.to_owned(), assistant })
    }

    /// Names of the conversations.
    pub fn names() -> String {
        CONVERSATIONS.map(|(name, _)| name).join(", ")
    }

    /// Compiles its templates.
    ///
    /// # Errors
    /// None: both are built in.
    pub fn compile(&self) -> Result<Prompting> {
        let [user, assistant] = [USER, self.assistant].map(PromptTemplate::new);
        Ok(Prompting::Chat(Chat { system: self.system.clone(), user: user?, assistant: assistant? }))
    }
}

/// A conversation, compiled.
#[derive(Debug)]
pub struct Chat {
    system: String,
    user: PromptTemplate,
    assistant: PromptTemplate,
}

/// A prompt as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptText {
    /// The text.
    pub text: String,
    /// Whether it is a chat, which its template begins, and not a text, before which a tokenizer may put a token.
    pub is_chat: bool,
}

impl PromptText {
    /// Its token ids.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn ids(&self, codec: &TextCodec) -> Result<Vec<u32>> {
        let encode = if self.is_chat { TextCodec::encode } else { TextCodec::encode_prompt };
        encode(codec, "prompt", &self.text).map_err(|problem| anyhow!("{problem}"))
    }
}

/// How a question becomes a prompt.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a run has two")]
pub enum Prompting {
    /// By a template.
    Template(PromptTemplate),
    /// As a conversation.
    Chat(Chat),
}

impl Prompting {
    /// The prompt of a question, with the hint if there is one. It ends where the trace begins.
    ///
    /// # Errors
    /// A template that uses a field the question lacks; a conversation without a model, or with one that has no
    /// chat template.
    pub fn prompt(
        &self,
        question: &Question,
        hint: Option<&str>,
        boxed: bool,
        markers: &Markers,
        text: Option<&TextCodec>,
    ) -> Result<PromptText> {
        match self {
            Prompting::Template(template) => {
                let text = template.render(&question.question, hint, boxed, markers)?;
                Ok(PromptText { text, is_chat: false })
            }
            Prompting::Chat(chat) => {
                let text =
                    text.context("a chat prompt needs the model, whose chat template it is made with")?;
                let asked = chat.ask(&question.question, boxed, markers)?;
                let assistant = chat.assistant.render(&question.question, hint, boxed, markers)?;
                let text = opened(&text.prompt(&chat.messages(question, asked))?, &assistant, markers)?;
                Ok(PromptText { text, is_chat: true })
            }
        }
    }

    /// The question's own ready-made prompt, which comes before that of a template: it may be the one that the
    /// question's trace was written after. The prompt that stands in for a conversation gives way to one.
    pub fn ready_made(&self, question: &Question, markers: &Markers) -> Option<PromptText> {
        let stands_in =
            |prompt: &String| *prompt == conversation_prompt(system(question), &question.question, markers);
        let text = match self {
            Prompting::Template(_) => question.prompt.clone(),
            Prompting::Chat(_) => question.prompt.clone().filter(|prompt| !stands_in(prompt)),
        }?;
        Some(PromptText { text, is_chat: question.prompt_is_chat })
    }
}

/// The system message of the question's row; empty if it has none.
fn system(question: &Question) -> &str {
    question.rest.get("system").and_then(|system| system.as_str()).unwrap_or_default()
}

impl Chat {
    /// The recipe's system message; empty if it has none.
    pub fn system(&self) -> &str {
        &self.system
    }

    /// The user's message that asks a question.
    ///
    /// # Errors
    /// None: the template is built in.
    pub fn ask(&self, question: &str, boxed: bool, markers: &Markers) -> Result<String> {
        Ok(self.user.render(question, None, boxed, markers)?)
    }

    fn messages(&self, question: &Question, asked: String) -> Vec<Message> {
        let system = if self.system.is_empty() { system(question) } else { &self.system };
        let mut messages = vec![Message::new("user", asked)];
        if !system.is_empty() {
            messages.insert(0, Message::new("system", system));
        }
        messages
    }
}

/// The conversation up to where the trace begins. Some chat templates open the thought themselves.
fn opened(conversation: &str, assistant: &str, markers: &Markers) -> Result<String> {
    let open = markers.open.trim();
    match conversation.trim_end().strip_suffix(open) {
        None => Ok(format!("{conversation}{assistant}")),
        Some(before) if assistant == markers.open => Ok(format!("{before}{}", markers.open)),
        Some(_) => bail!(
            "the model's chat template opens the thought with \"{open}\" itself, so that no solution can stand before \
             it: choose a template without a chat, such as posterior_a"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn markers() -> Markers {
        Markers::named("think").unwrap()
    }

    #[test]
    fn the_trace_begins_behind_the_assistants_first_words() {
        let (turn, open) = ("user: q\nassistant:\n", "<think>\n");
        let check = |conversation: &str, assistant: &str, expected: &str| {
            assert_eq!(opened(conversation, assistant, &markers()).unwrap(), expected);
        };
        check(turn, open, "user: q\nassistant:\n<think>\n");
        check(turn, "The solution: 3\n<think>\n", "user: q\nassistant:\nThe solution: 3\n<think>\n");
        // A template that opens the thought: it is not opened twice, whatever space follows its marker.
        check("assistant:\n<think>", open, "assistant:\n<think>\n");
        check("assistant:\n<think>\n\n", open, "assistant:\n<think>\n");
        let error = opened("assistant:\n<think>\n", "The solution: 3\n<think>\n", &markers()).unwrap_err();
        assert!(error.to_string().contains("opens the thought"), "{error}");
    }

    #[test]
    fn every_conversation_ends_where_the_trace_begins_and_those_of_the_posterior_have_the_hint() {
        for (name, assistant) in CONVERSATIONS {
            let template = PromptTemplate::new(assistant).unwrap();
            let text = template.render("q", Some("Three."), true, &markers()).unwrap();
            assert!(text.ends_with("<think>\n"), "{name}: {text}");
            assert_eq!(text.contains("Three."), name != "chat", "{name}");
            assert_eq!(template.render("q", None, true, &markers()).is_ok(), name == "chat", "{name}");
        }
    }

    #[test]
    fn a_question_that_asks_for_a_box_is_not_asked_for_it_again() {
        let user = PromptTemplate::new(USER).unwrap();
        let asked = |question: &str, boxed| user.render(question, None, boxed, &markers()).unwrap();
        assert_eq!(asked("1 + 1?", true), "1 + 1?\n\nGive the final answer in \\boxed{}.");
        assert_eq!(asked("1 + 1? Answer in \\boxed{}.", true), "1 + 1? Answer in \\boxed{}.");
        assert_eq!(asked("1 + 1?", false), "1 + 1?");
    }

    fn question(system: &str, prompt: Option<&str>) -> Question {
        let row = serde_json::json!({"id": "a", "question": "q", "prompt": prompt, "system": system});
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn the_recipes_system_message_comes_before_that_of_the_row() {
        let messages = |of_recipe: &str, of_row: &str| {
            let Prompting::Chat(chat) = Conversation::named("chat", of_recipe).unwrap().compile().unwrap()
            else {
                panic!("a conversation is a chat")
            };
            let messages = chat.messages(&question(of_row, None), "asked".to_owned());
            messages.into_iter().map(|message| (message.role, message.content)).collect::<Vec<_>>()
        };
        let of = |role: &str, content: &str| (role.to_owned(), content.to_owned());
        let user = || of("user", "asked");
        assert_eq!(messages("recipe", "row"), [of("system", "recipe"), user()]);
        assert_eq!(messages("", "row"), [of("system", "row"), user()]);
        assert_eq!(messages("", ""), [user()]);
        assert!(Conversation::named("chat_c", "").is_none());
    }

    #[test]
    fn what_stands_in_for_a_conversation_gives_way_to_one() {
        let chat = Conversation::named("chat", "").unwrap().compile().unwrap();
        let template = Prompting::Template(PromptTemplate::new("{{ question }}").unwrap());
        let stands_in = conversation_prompt("kind", "q", &markers());
        let ready_made = |prompting: &Prompting, prompt: Option<&str>| {
            prompting.ready_made(&question("kind", prompt), &markers()).map(|prompt| prompt.text)
        };
        assert_eq!(ready_made(&chat, Some(&stands_in)), None);
        assert_eq!(ready_made(&template, Some(&stands_in)), Some(stands_in));
        assert_eq!(ready_made(&chat, Some("own")), Some("own".to_owned()));
        assert_eq!(ready_made(&template, None), None);
    }
}
