//! How a question becomes a prompt: by a template, or as a conversation in the model's own chat template.

use anyhow::{Context, Result, anyhow};
use latrace_core::{Markers, Message, PromptTemplate, Question};
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::rows::FieldProblem;
use latrace_questions::source::conversation_prompt;
use serde::Serialize;

/// The user's message of a conversation.
const USER: &str = include_str!("chat.jinja");

/// Characters of a prompt's end that an error shows.
const SHOWN: usize = 40;

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
    /// Template of the user's message, which is the same in all recipes.
    #[serde(skip)]
    user: &'static str,
    /// Template of what the assistant's turn begins with, up to where the trace begins; empty if it begins as the chat
    /// template says, after which the model may think or answer at once.
    assistant: &'static str,
}

impl Conversation {
    /// The conversation of a name.
    pub fn named(name: &str, system: &str) -> Option<Self> {
        let (_, assistant) = CONVERSATIONS.into_iter().find(|(known, _)| *known == name)?;
        Some(Self { system: system.to_owned(), user: USER, assistant })
    }

    /// A conversation in which the assistant's turn begins as the chat template says.
    pub fn unopened(system: &str) -> Self {
        Self { system: system.to_owned(), user: USER, assistant: "" }
    }

    /// The same with another template of the user's message.
    pub fn with_user(self, user: &'static str) -> Self {
        Self { user, ..self }
    }

    /// The texts that it consists of, which identify it.
    pub fn source(&self) -> String {
        let parts = [self.system.as_str(), self.user, self.assistant];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
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
        let [user, assistant] = [self.user, self.assistant].map(PromptTemplate::new);
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
    /// Checks that a thought begins where it ends.
    ///
    /// # Errors
    /// Names the setting, and the prompt's end.
    pub fn check_open(&self, setting: &str, markers: &Markers) -> Result<()> {
        let open = markers.open.trim();
        if open.is_empty() || markers.opens(&self.text) {
            return Ok(());
        }
        let skipped = self.text.chars().count().saturating_sub(SHOWN);
        let end: String = self.text.chars().skip(skipped).collect();
        let message = format!(
            "{setting}: expected a prompt that ends with {open:?}, which opens the thought, got one that ends with {end:?}"
        );
        let hint =
            "end the template with {{ open }}; prompts.markers says what opens a thought and what closes it";
        Err(Failure::usage(message).hint(hint).into())
    }

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
                let text = begun(&chat.rendered(question, asked, text)?, &assistant, markers)?;
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

    fn rendered(&self, question: &Question, asked: String, text: &TextCodec) -> Result<String> {
        let messages = self.messages(question, asked);
        text.prompt(&messages).map_err(|problem| refused(&problem, text, messages.len() > 1).into())
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

/// A conversation that the model's chat template does not render.
fn refused(problem: &FieldProblem, text: &TextCodec, has_system: bool) -> Failure {
    let failure = Failure::work(problem.to_string());
    if !text.has_template() {
        failure.hint("choose a prompt without a chat template, such as reasoner and posterior_a")
    } else if has_system {
        failure.hint("some chat templates take no system message: leave prompts.system empty")
    } else {
        failure
    }
}

/// The conversation with the beginning of the assistant's turn, which comes before a thought that the chat template
/// opens itself, and instead of an empty one.
///
/// # Errors
/// A chat template that opens the thought by the marker of another family.
fn begun(conversation: &str, assistant: &str, markers: &Markers) -> Result<String> {
    if assistant.is_empty() {
        return Ok(conversation.to_owned());
    }
    for family in Markers::NAMES {
        let others = Markers::named(family)?;
        if others.opens(conversation) && !markers.opens(conversation) {
            return Err(opened_by(family, &others, markers).into());
        }
    }
    Ok(format!("{}{assistant}", markers.before_thought(conversation)))
}

fn opened_by(family: &str, others: &Markers, markers: &Markers) -> Failure {
    let [theirs, ours] = [others, markers].map(|markers| markers.open.trim());
    let message = format!(
        "markers: expected {theirs:?}, by which the model's chat template opens the thought, got {ours:?}"
    );
    Failure::usage(message).hint(format!("choose the markers {family}"))
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
            assert_eq!(begun(conversation, assistant, &markers()).unwrap(), expected);
        };
        check(turn, open, "user: q\nassistant:\n<think>\n");
        check(turn, "The solution: 3\n<think>\n", "user: q\nassistant:\nThe solution: 3\n<think>\n");
        // A template that opens the thought: it is not opened twice, whatever space follows its marker.
        check("assistant:\n<think>", open, "assistant:\n<think>\n");
        check("assistant:\n<think>\n\n", open, "assistant:\n<think>\n");
        check(
            "assistant:\n<think>\n",
            "The solution: 3\n<think>\n",
            "assistant:\nThe solution: 3\n<think>\n",
        );
        // A template that keeps the model from thinking.
        check("assistant:\n<think>\n\n</think>\n\n", open, "assistant:\n<think>\n");
        check("assistant:</think>", open, "assistant:<think>\n");
        // A turn that begins as the template says.
        check("assistant:\n<think>\n", "", "assistant:\n<think>\n");
        let error = begun("assistant:\n<|begin_of_thought|>\n\n", open, &markers()).unwrap_err().to_string();
        assert!(
            error.contains("expected \"<|begin_of_thought|>\"") && error.ends_with("got \"<think>\""),
            "{error}"
        );
    }

    #[test]
    fn a_prompt_after_which_no_thought_begins_is_refused() {
        let prompt = |text: &str| PromptText { text: text.to_owned(), is_chat: false };
        prompt("Q: 1 + 1? <think>\n").check_open("prompts.reasoner", &markers()).unwrap();
        let error = prompt("Q: 1 + 1? A:").check_open("prompts.reasoner", &markers()).unwrap_err();
        let expected = "prompts.reasoner: expected a prompt that ends with \"<think>\", which opens the thought, got one \
                        that ends with \"Q: 1 + 1? A:\"";
        assert_eq!(error.to_string(), expected);
        // Where nothing marks its beginning, a thought begins at once.
        let unmarked = Markers { open: String::new(), ..markers() };
        prompt("Q: 1 + 1? A:").check_open("prompts.reasoner", &unmarked).unwrap();
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
