//! The records passed between stages, each type with one fixed schema. Stage 0 encodes texts as token ids;
//! all later stages use those ids and never re-encode text.

use latrace_core::{Reason, Split, Verdict};
use latrace_io::record;
use latrace_questions::judge::Judged;

/// A question x, its hint y', and its own trace and answer, if any: stage 0.
#[derive(Clone, Debug, PartialEq)]
pub struct QuestionRecord {
    /// Its id.
    pub id: String,
    /// Its split.
    pub split: Split,
    /// The question as text.
    pub question: String,
    /// The hint as text.
    pub hint: Option<String>,
    /// Its difficulty, if known.
    pub difficulty: Option<String>,
    /// The verifier: a kind of `latrace verify`, or a built-in task.
    pub kind: String,
    /// What the verifier compares with, as JSON: references, tests, options.
    pub reference: String,
    /// Prompt of the reasoner.
    pub prompt_ids: Vec<u32>,
    /// Prompt of the posterior; `None` without a hint.
    pub posterior_prompt_ids: Option<Vec<u32>>,
    /// The question's own trace z, including its closing marker.
    pub trace_ids: Option<Vec<u32>>,
    /// The question's own answer y: everything after the trace, including the end token.
    pub answer_ids: Option<Vec<u32>>,
}

impl QuestionRecord {
    /// The question in the form that the verifier needs.
    pub fn judged(&self) -> Judged<'_> {
        Judged { id: &self.id, question: &self.question, kind: &self.kind, reference: &self.reference }
    }
}

record!(QuestionRecord, "question", {
    id, split, question, hint, difficulty, kind, reference, prompt_ids, posterior_prompt_ids, trace_ids, answer_ids
});

/// A sampled trace z: stage 3.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRecord {
    /// Its question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// z, including its closing marker, or the end token that was sampled in its place.
    pub token_ids: Vec<u32>,
    /// log q of each token (nats).
    pub logprobs: Vec<f32>,
    /// Whether the trace is finished, that is, has its closing marker; only policy gradients learn from others.
    pub closed: bool,
}

record!(TraceRecord, "trace", { id, sample, token_ids, logprobs, closed });

/// log pi_theta0 of a trace, token by token, and of the question's own answer after it: stage 4.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// log pi of each token of z (nats).
    pub logprobs: Vec<f32>,
    /// log pi of each token of y* after z (nats); `None` if the question has no answer, or neither an estimator
    /// nor a bound needs it, or y* does not fit into the model's context.
    pub reference_logprobs: Option<Vec<f32>>,
}

record!(ScoreRecord, "score", { id, sample, logprobs, reference_logprobs });

/// A sampled answer y: stage 5.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRecord {
    /// The question.
    pub id: String,
    /// k of the trace.
    pub sample: u64,
    /// m.
    pub answer: u64,
    /// y, everything after the trace: the given tokens, then the sampled ones.
    pub token_ids: Vec<u32>,
    /// How many of the first tokens were given, not sampled.
    pub given: u64,
    /// log pi of each sampled token (nats).
    pub logprobs: Vec<f32>,
    /// Whether the answer is finished.
    pub ended: bool,
    /// The answer as the verifier reads it.
    pub text: String,
}

record!(AnswerRecord, "answer", { id, sample, answer, token_ids, given, logprobs, ended, text });

/// The verdict on an answer: stage 6.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// m.
    pub answer: u64,
    /// Why the answer is correct or wrong; determines the verdict.
    pub reason: Reason,
    /// Whether the answer is the question's own answer y*, token by token.
    pub is_reference: bool,
}

record!(VerdictRecord, "verdict", {
    id, sample, answer, reason, is_reference
}, derived { verdict: |record: &VerdictRecord| record.verdict().name() });

impl VerdictRecord {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}

/// The weight of a trace: stage 7.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// Log of the estimated pi(z|x) / q(z|x,y') (nats); `None` for minus infinity.
    pub log_ratio: Option<f64>,
    /// Log of the estimated pi(Y|x,z) (nats); `None` for minus infinity.
    pub log_answer: Option<f64>,
    /// rho~.
    pub weight: f64,
    /// Its share among the chosen traces, 0 if it is not chosen.
    pub chosen: f64,
    /// Whether its question fell back on the likelihood of the reference answer, which then follows the
    /// trace.
    pub by_reference: bool,
}

record!(WeightRecord, "weight", { id, sample, log_ratio, log_answer, weight, chosen, by_reference });

/// A training sequence: stage 8.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleRecord {
    /// Its question.
    pub id: String,
    /// k of the trace; -1: the row's own trace, because no sampled one was usable; -2: the row's own trace,
    /// mixed in.
    pub source: i64,
    /// Prompt.
    pub prompt_ids: Vec<u32>,
    /// z and y.
    pub response_ids: Vec<u32>,
    /// Number of tokens of z.
    pub trace_tokens: u64,
    /// Loss weight of every token of z and y: rho~, rescaled over all examples. With old log-probs, their
    /// advantage, unless each token has its own.
    pub weight: f64,
    /// Number of tokens after z that were given, not sampled: in a policy gradient their advantage is 0.
    pub given: u64,
    /// For policy gradients: log-probs under the model that sampled the tokens (nats).
    pub old_logprobs: Option<Vec<f32>>,
    /// The advantage of each token of z and y, where they differ.
    pub advantages: Option<Vec<f32>>,
}

record!(ExampleRecord, "example", {
    id, source, prompt_ids, response_ids, trace_tokens, weight, given, old_logprobs
}, later { advantages });

/// A judged response of a model: stage 10.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseRecord {
    /// The question.
    pub id: String,
    /// The response's number among those of the question.
    pub sample: u64,
    /// The question's difficulty.
    pub difficulty: Option<String>,
    /// Thought and answer.
    pub token_ids: Vec<u32>,
    /// The answer as the verifier reads it; `None` if the thought has no end.
    pub text: Option<String>,
    /// Why the answer is correct or wrong; determines the verdict.
    pub reason: Reason,
    /// Whether it was truncated at the token limit.
    pub truncated: bool,
    /// Whether it has no thought, and is judged as a whole unless it was truncated; null in runs of versions that did not
    /// tell.
    pub without_thought: Option<bool>,
}

record!(ResponseRecord, "response", {
    id, sample, difficulty, token_ids, text, reason, truncated
}, later { without_thought }, derived { verdict: |record: &ResponseRecord| record.verdict().name() });

impl ResponseRecord {
    /// The verdict on the response.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}
