//! A question, in the form of rows.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A question x with its optional fields. Unknown fields are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Question {
    /// Its id.
    pub id: String,
    /// The question.
    pub question: String,
    /// A thought that leads to the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The worked answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The reference answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The hint shown to the posterior, if not the solution or the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The kind of verifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Tests of a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<Value>,
    /// Choices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Vec<String>>,
    /// Its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its difficulty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difficulty: Option<String>,
    /// The reasoner's prompt, ready-made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The posterior's prompt, ready-made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterior_prompt: Option<String>,
    /// Whether that prompt is a chat, which its template begins, and not a text, before which a tokenizer may put a
    /// token.
    #[serde(skip)]
    pub prompt_is_chat: bool,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Question {
    /// y': the hint, else the solution, else the answer.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref().or(self.response())
    }

    /// y: the text of a response after its thought: the solution, else the answer.
    pub fn response(&self) -> Option<&str> {
        self.solution.as_deref().or(self.answer.as_deref())
    }
}
