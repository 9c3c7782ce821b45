//! What is asked of a server, and what every response is checked for, whichever program serves.

use std::sync::Arc;

use latrace_core::StopReason;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::dialect::Dialect;
use super::error::Trouble;
use crate::boundary::{Completion, Request, ScoreRow};
use crate::text_codec::TextCodec;

/// vLLM gives this instead of a smaller log-prob, and of minus infinity.
const CLAMPED: f64 = -9999.0;

/// Servers read seeds as signed numbers.
pub(super) const SEED_MASK: u64 = i64::MAX as u64;

/// A request over HTTP: a path, and a body in JSON.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub path: &'static str,
    pub body: serde_json::Value,
    /// The whole seed of a sample, of which the body holds 63 bits.
    pub seed: Option<u64>,
}

/// One request to a server.
pub(super) trait Ask: Send + 'static {
    /// What a server gives for it.
    type Answer: Send + 'static;

    /// The request, for a model that is served as `name`.
    fn call(&self, dialect: &dyn Dialect, name: &str) -> Call;

    /// Reads the response.
    fn read(&self, dialect: &dyn Dialect, body: &[u8]) -> Result<Self::Answer, Trouble>;

    /// The ids that a server may have cached.
    fn prompt(&self) -> &[u32];
}

/// A sample to draw.
#[derive(Debug)]
pub(super) struct SampleAsk {
    /// The number of the client's request.
    pub number: usize,
    /// Which of its samples.
    pub sample: usize,
    pub request: Arc<Request>,
    /// Most tokens.
    pub limit: usize,
    /// Whether all of the model's end ids are stop ids of the request.
    pub stops_at_end_ids: bool,
    pub text: Option<Arc<TextCodec>>,
}

impl Ask for SampleAsk {
    type Answer = Completion;

    fn call(&self, dialect: &dyn Dialect, name: &str) -> Call {
        dialect.sample(self, name)
    }

    fn read(&self, dialect: &dyn Dialect, body: &[u8]) -> Result<Completion, Trouble> {
        self.completion(dialect.read_sample(body)?)
    }

    fn prompt(&self) -> &[u32] {
        &self.request.prompt
    }
}

/// A sample as a server gives it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub ids: Vec<u32>,
    pub logp: Vec<Option<f64>>,
    pub end: DrawnEnd,
    /// The ids of the prompt, where the server repeats them.
    pub prompt: Option<Vec<u32>>,
}

/// How a server says that a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DrawnEnd {
    Stop,
    Limit,
}

impl SampleAsk {
    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.request.seeds[self.sample]
    }

    fn completion(&self, drawn: Drawn) -> Result<Completion, Trouble> {
        let Drawn { mut ids, logp, end, prompt } = drawn;
        if prompt.is_some_and(|prompt| prompt != self.request.prompt) {
            return Err(wrong(
                "it has drawn from another prompt: expected the ids of the request, unchanged",
            ));
        }
        if ids.len() != logp.len() {
            return Err(wrong(format!(
                "expected a log-prob for each of {} tokens, got {}",
                ids.len(),
                logp.len()
            )));
        }
        let mut logp = checked(logp.into_iter())?;
        let stop = self.stop(&mut ids, end)?;
        logp.truncate(ids.len());
        Ok(Completion { ids, logp, stop })
    }

    /// Why the sample ended, by its ids rather than by the server's word where both tell. Cuts what a server
    /// has drawn beyond its end.
    fn stop(&self, ids: &mut Vec<u32>, end: DrawnEnd) -> Result<StopReason, Trouble> {
        // The first, since SGLang sometimes draws beyond it.
        if let Some(at) = ids.iter().position(|id| self.request.stop_ids.contains(id)) {
            ids.truncate(at + 1);
            return Ok(StopReason::End);
        }
        if let Some(tokens) = self.tokens_to_stop_text(ids) {
            ids.truncate(tokens);
            return Ok(StopReason::StopString);
        }
        match end {
            DrawnEnd::Stop => Err(wrong(format!(
                "it has ended a sample with token {:?}, at which the request does not stop",
                ids.last()
            ))),
            DrawnEnd::Limit if ids.len() < self.limit => Err(wrong(format!(
                "it has cut a sample after {} of {} tokens: does its --max-model-len leave room for them?",
                ids.len(),
                self.limit
            ))),
            DrawnEnd::Limit => Ok(StopReason::MaxTokens),
        }
    }

    /// The tokens up to the one that completes a stop text. A server that looks at texts less often than
    /// after every token gives a few more.
    fn tokens_to_stop_text(&self, ids: &[u32]) -> Option<usize> {
        let (texts, text) = (&self.request.stop_texts, self.text.as_deref()?);
        let first = ids.len().saturating_sub(texts.window()).max(1);
        // The tail of all of them is looked at first: most samples hold no stop text.
        if !texts.found(ids, text) {
            return None;
        }
        (first..=ids.len()).find(|&tokens| texts.found(&ids[..tokens], text))
    }
}

/// A row to score.
#[derive(Debug)]
pub(super) struct ScoreAsk {
    pub number: usize,
    pub row: ScoreRow,
}

impl ScoreAsk {
    /// Prompt and response.
    pub fn ids(&self) -> Vec<u32> {
        [self.row.prompt.as_slice(), &self.row.response].concat()
    }
}

impl Ask for ScoreAsk {
    type Answer = Vec<f32>;

    fn call(&self, dialect: &dyn Dialect, name: &str) -> Call {
        dialect.score(self, name)
    }

    fn read(&self, dialect: &dyn Dialect, body: &[u8]) -> Result<Vec<f32>, Trouble> {
        let logp = dialect.read_scores(self, body)?;
        checked(logp.into_iter())
    }

    fn prompt(&self) -> &[u32] {
        &self.row.prompt
    }
}

/// Log-probs that a model can give.
fn checked(logp: impl Iterator<Item = Option<f64>>) -> Result<Vec<f32>, Trouble> {
    let check = |(at, logp): (usize, Option<f64>)| match logp {
        // JSON has no other word for NaN and infinity.
        None => Err(wrong(format!("the log-prob of token {at} is not a finite number"))),
        Some(logp) if logp <= CLAMPED => Err(wrong(format!(
            "the log-prob of token {at} is {logp}, which stands for minus infinity: \
             the model's output is not usable"
        ))),
        Some(logp) => Ok(logp as f32),
    };
    logp.enumerate().map(check).collect()
}

/// Reads a response that has a status of success.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], server: &str) -> Result<T, Trouble> {
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => wrong(format!("its response is not one of {server}: {error}")),
        Category::Syntax if names_no_number(body) => {
            wrong("its response holds a log-prob that is not a finite number".to_owned())
        }
        _ => Trouble::Passing(format!("its response of {} bytes is not JSON: {error}", body.len())),
    })
}

/// Python writes these into JSON.
fn names_no_number(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    ["NaN", "Infinity"].iter().any(|word| text.contains(word))
}

/// A response that another attempt would not change.
pub(super) fn wrong(detail: impl Into<String>) -> Trouble {
    Trouble::Final(detail.into())
}
