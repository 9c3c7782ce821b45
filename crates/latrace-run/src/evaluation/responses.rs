//! Sources of responses: a model, a file, or the benchmark's own answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use latrace_core::{Markers, StopReason};
use serde_json::Value;

use super::answer::{Answer, answer_of};
use super::sampled::{ByModel, EvaluatedModel, from_model};
use super::{Asked, BenchmarkRun, RESPONSES, given};
use latrace_io::failure::Failure;
use latrace_questions::benchmarks::Item;

/// Where responses come from.
pub enum ResponseSource<'a> {
    /// Sampled from a model.
    EvaluatedModel(Box<EvaluatedModel<'a>>),
    /// Read from a file: `id`, `response` (or `text`), optionally `sample`, `stop_reason`, `token_ids`.
    File(PathBuf),
    /// The benchmark's own answers, to check that it accepts them.
    Right,
}

/// A response to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// The whole text.
    pub text: String,
    /// Whether the prompt opened a thought.
    pub opened: bool,
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
        answer_of(&self.text, self.opened, self.is_truncated(), markers)
    }
}

/// The responses to all questions.
pub struct Responses {
    pub(super) held: Held,
    /// The file that they are in, or an equivalent identity: verdicts depend on it.
    pub file: PathBuf,
    /// Display name of their source.
    pub name: String,
    /// Identity of the model; null without one.
    pub model: Value,
    /// The settings they were sampled with; null if they were given.
    pub settings: Value,
    /// How many were finished by interrupted runs, and the tokens and seconds of sampling the rest.
    pub drawn: Option<(usize, u64, f64)>,
}

/// The responses themselves. Those of a model are decoded when they are judged.
pub(super) enum Held {
    Drawn(Box<ByModel>),
    Given(HashMap<String, Vec<Response>>),
    Right,
}

/// The responses of `source` to the questions `asked`.
///
/// # Errors
/// See [`super::run`].
pub fn of(plan: &BenchmarkRun, source: &ResponseSource<'_>, asked: &[Asked]) -> Result<Responses> {
    match source {
        ResponseSource::EvaluatedModel(model) => from_model(plan, model, asked),
        ResponseSource::File(file) => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            given(plan, Held::Given(given::read(file, asked)?), file, name)
        }
        ResponseSource::Right => given(plan, Held::Right, &plan.files[0], "right answers".to_owned()),
    }
}

/// Responses without a model. Fails if the folder holds a model's evaluation: given responses must not
/// overwrite sampled ones.
fn given(plan: &BenchmarkRun, held: Held, file: &Path, name: String) -> Result<Responses> {
    if plan.out.join(RESPONSES).exists() {
        return Err(plan.out_is_taken("the evaluation of a model").into());
    }
    let file = file.to_owned();
    Ok(Responses { held, file, name, model: Value::Null, settings: Value::Null, drawn: None })
}

impl Responses {
    /// The responses to the question at an index of the evaluation.
    ///
    /// # Errors
    /// A benchmark without reference answers.
    pub fn to(&self, place: usize, id: &str, item: &Item) -> Result<Vec<Response>> {
        match &self.held {
            Held::Drawn(by) => Ok(by.responses(place)),
            Held::Given(responses) => Ok(responses[id].clone()),
            Held::Right => Ok(vec![right_response(id, item)?]),
        }
    }

    /// A question's prompt as text, and its number of tokens.
    pub fn prompt(&self, place: usize) -> Option<(&str, u64)> {
        match &self.held {
            Held::Drawn(by) => Some(by.prompt(place)),
            _ => None,
        }
    }
}

/// The benchmark's own answer to a question.
fn right_response(id: &str, item: &Item) -> Result<Response> {
    let text = item.reference.right_response().ok_or_else(|| {
        let hint = "its tests check an answer but do not contain one; give responses with --responses FILE";
        Failure::work(format!("question {id} has no reference answer")).hint(hint)
    })?;
    Ok(Response { text, ..Response::default() })
}
