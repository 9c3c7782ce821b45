//! What stages hand to each other, each with one schema for all of its tables. Texts became token ids in stage
//! 0; from there on ids travel, and are never made from text again.

use latrace_core::{Reason, Split, Verdict};
use latrace_io::record;
use latrace_questions::judge::Judged;

/// A question x, its hint y', and what it has of its own: stage 0.
#[derive(Clone, Debug, PartialEq)]
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
    /// z, its closing marker included.
    pub token_ids: Vec<u32>,
    /// log q of each token (nats).
    pub logprobs: Vec<f32>,
    /// Whether the closing marker came; a trace without one is never used.
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
    /// log pi of each token of y* after z (nats); none where the question has no answer, or no estimator
    /// asks.
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
    /// y, from after the trace on: what is given first, then what was drawn.
    pub token_ids: Vec<u32>,
    /// How many of the first tokens were given, not drawn.
    pub given: u64,
    /// log pi of each drawn token (nats).
    pub logprobs: Vec<f32>,
    /// Whether the answer came to its end.
    pub ended: bool,
    /// The answer as its judge reads it.
    pub text: String,
}

record!(AnswerRecord, "answer", { id, sample, answer, token_ids, given, logprobs, ended, text });

/// Whether an answer is right: stage 6.
#[derive(Clone, Debug, PartialEq)]
pub struct VerdictRecord {
    /// The question.
    pub id: String,
    /// k.
    pub sample: u64,
    /// m.
    pub answer: u64,
    /// Why the answer is right or wrong, from which the verdict follows.
    pub reason: Reason,
}

record!(VerdictRecord, "verdict", {
    id, sample, answer, reason
}, derived { verdict: |record: &VerdictRecord| record.verdict().name() });

impl VerdictRecord {
    /// Whether the answer is right.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}

/// What a trace weighs: stage 7.
#[derive(Clone, Debug, PartialEq)]
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

record!(WeightRecord, "weight", { id, sample, log_ratio, log_answer, weight, chosen, by_reference });

/// A sequence to learn from: stage 8.
#[derive(Clone, Debug, PartialEq)]
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
    /// Loss weight of every token of z and y: rho~ on the scale of all examples. Their advantage, where old
    /// log-probs are given.
    pub weight: f64,
    /// Tokens after z that were given, not drawn: a policy gradient gives them no advantage.
    pub given: u64,
    /// For policy gradients: log-probs under the model that drew the tokens (nats).
    pub old_logprobs: Option<Vec<f32>>,
}

record!(ExampleRecord, "example", {
    id, source, prompt_ids, response_ids, trace_tokens, weight, given, old_logprobs
});

/// A judged response of a model: stage 10.
#[derive(Clone, Debug, PartialEq)]
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
    /// Why the answer is right or wrong, from which the verdict follows.
    pub reason: Reason,
    /// Whether it was cut at the most tokens allowed.
    pub truncated: bool,
}

record!(ResponseRecord, "response", {
    id, sample, difficulty, token_ids, text, reason, truncated
}, derived { verdict: |record: &ResponseRecord| record.verdict().name() });

impl ResponseRecord {
    /// Whether the response is right.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}
