//! What stages hand to each other. Texts became token ids in stage 0; from there on ids travel, and are never
//! made from text again.

use latrace_questions::judge::Judged;
use serde::{Deserialize, Serialize};

use latrace_core::Split;
use latrace_io::table::Record;

/// A question x, its hint y', and what it has of its own: stage 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuestionRecord {
    /// Its name.
    pub id: String,
    /// What it is used for.
    pub split: Split,
    /// The question as people read it.
    pub question: String,
    /// The hint as people read it.
    pub hint: Option<String>,
    /// How hard it is, where that is known.
    pub difficulty: Option<String>,
    /// Who judges answers: a kind of `latrace verify`, or a built-in task.
    pub kind: String,
    /// What the judge compares with, as JSON: references, tests, options.
    pub reference: String,
    /// Prompt of the reasoner.
    pub prompt_ids: Vec<u32>,
    /// Prompt of the posterior; none without a hint.
    pub posterior_prompt_ids: Option<Vec<u32>>,
    /// The question's own trace z, its closing marker included.
    pub trace_ids: Option<Vec<u32>>,
    /// The question's own answer y, from after the trace on to its end.
    pub answer_ids: Option<Vec<u32>>,
}

impl QuestionRecord {
    /// The question as its judge needs it.
    pub fn judged(&self) -> Judged<'_> {
        Judged { id: &self.id, question: &self.question, kind: &self.kind, reference: &self.reference }
    }
}

impl Record for QuestionRecord {
    const NAME: &'static str = "question";
}

/// A sampled trace z: stage 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// Its question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// z, its closing marker included.
    pub token_ids: Vec<u32>,
    /// log q of each token (nats).
    pub logprobs: Vec<f64>,
    /// Whether the closing marker came; a trace without one is never used.
    pub closed: bool,
}

impl Record for TraceRecord {
    const NAME: &'static str = "trace";
}

/// log pi_theta0 of a trace, token by token, and of the question's own answer after it: stage 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// log pi of each token of z (nats).
    pub logprobs: Vec<f64>,
    /// log pi of each token of y* after z (nats); none where the question has no answer, or no estimator
    /// asks.
    pub reference_logprobs: Option<Vec<f64>>,
}

impl Record for ScoreRecord {
    const NAME: &'static str = "score";
}

/// A sampled answer y: stage 5.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// The question.
    pub id: String,
    /// k of the trace.
    pub sample: u64,
    /// m.
    pub answer: u64,
    /// y, from after the trace on: what is given first, then what was drawn.
    pub token_ids: Vec<u32>,
    /// How many of the first tokens were given, not drawn.
    pub given: u64,
    /// log pi of each drawn token (nats).
    pub logprobs: Vec<f64>,
    /// Whether the answer came to its end.
    pub ended: bool,
    /// The answer as its judge reads it.
    pub text: String,
}

impl Record for AnswerRecord {
    const NAME: &'static str = "answer";
}

/// Whether an answer is right: stage 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// m.
    pub answer: u64,
    /// `correct`, `wrong` or `undetermined`.
    pub verdict: String,
    /// Why, in a word.
    pub reason: String,
}

impl Record for VerdictRecord {
    const NAME: &'static str = "verdict";
}

/// What a trace weighs: stage 7.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// Log of the estimated pi(z|x) / q(z|x,y') (nats); none for minus infinity.
    pub log_ratio: Option<f64>,
    /// Log of the estimated pi(Y|x,z) (nats); none for minus infinity.
    pub log_answer: Option<f64>,
    /// rho~.
    pub weight: f64,
    /// Its share among the chosen traces.
    pub chosen: f64,
    /// Whether its question fell back on the likelihood of the reference answer, which then goes with the
    /// trace.
    pub by_reference: bool,
}

impl Record for WeightRecord {
    const NAME: &'static str = "weight";
}

/// A sequence to learn from: stage 8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExampleRecord {
    /// Its question.
    pub id: String,
    /// k of the trace; -1: the row's own, since no trace was usable; -2: the row's own, mixed in.
    pub source: i64,
    /// Prompt.
    pub prompt_ids: Vec<u32>,
    /// z and y.
    pub response_ids: Vec<u32>,
    /// Tokens of z.
    pub trace_tokens: u64,
    /// Loss weight of each token of z and y (or its advantage, where old log-probs are given).
    pub token_weights: Vec<f64>,
    /// For policy gradients: log-probs under the model that drew the tokens.
    pub old_logprobs: Option<Vec<f64>>,
}

impl Record for ExampleRecord {
    const NAME: &'static str = "example";
}

/// A judged response of a model: stage 10.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResponseRecord {
    /// The question.
    pub id: String,
    /// Which of the question's responses.
    pub sample: u64,
    /// How hard the question is.
    pub difficulty: Option<String>,
    /// Thought and answer.
    pub token_ids: Vec<u32>,
    /// The answer as its judge reads it; none where the thought has no end.
    pub text: Option<String>,
    /// `correct`, `wrong` or `undetermined`.
    pub verdict: String,
    /// Why, in a word.
    pub reason: String,
    /// Whether it was cut at the most tokens allowed.
    pub truncated: bool,
}

impl Record for ResponseRecord {
    const NAME: &'static str = "response";
}
