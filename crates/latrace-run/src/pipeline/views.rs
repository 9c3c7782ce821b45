//! Records without the columns that most stages do not read: token ids and log-probs are nearly all of a
//! table, and a stage rarely needs both.

use latrace_io::view;

use super::records::{QuestionRecord, TraceRecord};

/// What engines need of a question.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionTokens {
    /// Its id.
    pub id: String,
    /// Prompt of the reasoner.
    pub prompt_ids: Vec<u32>,
    /// Prompt of the posterior, if the question has a hint.
    pub posterior_prompt_ids: Option<Vec<u32>>,
    /// The question's own answer y.
    pub answer_ids: Option<Vec<u32>>,
}

view!(QuestionTokens of QuestionRecord, { id, prompt_ids, posterior_prompt_ids, answer_ids });

/// What decides how a question without a usable trace is handled.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionKind {
    /// Its id.
    pub id: String,
    /// The verifier.
    pub kind: String,
}

view!(QuestionKind of QuestionRecord, { id, kind });

/// A trace without its log-probs.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceTokens {
    /// Its question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// z, including its closing marker.
    pub token_ids: Vec<u32>,
    /// Whether the trace is finished.
    pub closed: bool,
}

view!(TraceTokens of TraceRecord, { id, sample, token_ids, closed });

/// A trace without its token ids.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceLogprobs {
    /// Its question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// log q of each token (nats).
    pub logprobs: Vec<f32>,
    /// Whether the trace is finished.
    pub closed: bool,
}

view!(TraceLogprobs of TraceRecord, { id, sample, logprobs, closed });
