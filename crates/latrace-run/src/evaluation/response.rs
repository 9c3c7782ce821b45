//! A response, and the part of it that is judged.

use latrace_core::{Markers, StopReason};

use super::answer::{Answer, Opening, answer_of};

/// A response to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The whole text.
    pub text: String,
    /// Whether the prompt opened a thought.
    pub opening: Opening,
    /// Why it stopped, if known.
    pub stop_reason: Option<String>,
    /// Its tokens.
    pub tokens: Option<u64>,
    /// Tokens of its thought, if finished.
    pub thought_tokens: Option<u64>,
}

impl Response {
    /// Whether it was truncated at the token limit.
    pub fn is_truncated(&self) -> bool {
        self.stop_reason.as_deref() == Some(StopReason::MaxTokens.name())
    }

    /// The part of it that is judged.
    pub fn answer(&self, markers: &Markers) -> Answer<'_> {
        answer_of(&self.text, self.opening, self.is_truncated(), markers)
    }
}
