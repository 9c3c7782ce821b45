//! What is read on the page: traces with their answers, and responses before and after training.

use latrace_core::Reason;
use serde::{Deserialize, Serialize};

use crate::judged;

/// Traces to read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceBrowser {
    /// Questions that have traces.
    pub of: usize,
    /// Seed of the selection, if not all questions are included.
    pub seed: Option<u64>,
    /// The model that sampled the traces.
    pub writer: String,
    /// Token texts; traces hold indices into this list.
    pub vocabulary: Vec<String>,
    /// Questions, in the run's order.
    pub questions: Vec<Browsed>,
}

/// A question and its traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Browsed {
    /// Its name.
    pub id: String,
    /// The text.
    pub question: String,
    /// The hint that the posterior sees.
    pub hint: Option<String>,
    /// Its difficulty.
    pub difficulty: Option<String>,
    /// Its traces, by number, with equal ones merged.
    pub traces: Vec<BrowsedTrace>,
}

/// A trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrowsedTrace {
    /// k, of the first of equal ones.
    pub sample: u64,
    /// How many of the question's traces are equal to it, itself included.
    #[serde(default = "one")]
    pub times: u64,
    /// Whether it is finished.
    pub closed: bool,
    /// rho~, summed over equal traces.
    pub weight: Option<f64>,
    /// Its share among the chosen traces.
    pub chosen: f64,
    /// Log of the estimated ratio (nats).
    pub log_ratio: Option<f64>,
    /// Its length, which may exceed what is shown.
    pub length: usize,
    /// Indices into the vocabulary.
    pub tokens: Vec<u32>,
    /// log pi − log q of each shown token, in hundredths of a nat; empty if unknown.
    pub centinats: Vec<i32>,
    /// Answers after it, with equal ones merged.
    pub answers: Vec<BrowsedAnswer>,
}

/// An answer, and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowsedAnswer {
    /// The text that the verifier reads.
    pub text: String,
    /// Why it is correct or wrong; `None` if it was not judged. The page reads `verdict` and `reason`.
    #[serde(flatten, with = "judged::option")]
    pub reason: Option<Reason>,
    /// Whether it is finished.
    pub ended: bool,
    /// Number of occurrences among the trace's answers.
    pub times: u64,
}

fn one() -> u64 {
    1
}

/// Responses to test questions, before and after training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResponseBrowser {
    /// Questions that were asked.
    pub of: usize,
    /// Seed of the selection, if not all questions are included.
    pub seed: Option<u64>,
    /// The models: base, initial, final, as far as they are evaluated.
    pub models: Vec<String>,
    /// Questions, in the run's order.
    pub questions: Vec<AnsweredQuestion>,
}

/// A test question and the responses to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnsweredQuestion {
    /// Its name.
    pub id: String,
    /// The text.
    pub question: String,
    /// Its reference answer, if that is a text.
    pub answer: Option<String>,
    /// Its difficulty.
    pub difficulty: Option<String>,
    /// The responses of each model, with equal ones merged.
    pub responses: Vec<Vec<ShownResponse>>,
}

/// A response, and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownResponse {
    /// The thought, or the whole response if it has no thought that ends.
    pub thought: String,
    /// The answer that the verifier reads; `None` if the thought has no end.
    pub answer: Option<String>,
    /// Why it is correct or wrong. The page reads `verdict` and `reason`.
    #[serde(flatten, with = "judged")]
    pub reason: Reason,
    /// Whether it was truncated at the token limit.
    pub truncated: bool,
    /// Number of occurrences among the model's responses.
    pub times: u64,
}
