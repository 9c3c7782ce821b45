//! Sources of responses: a model, a file, or the benchmark's own answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::response::Response;
use super::sampled::{ByModel, EvaluatedModel, SampledResponses, sample};
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

/// The responses to all questions.
pub struct Responses {
    held: Held,
    /// The file that they are in, or an equivalent identity: verdicts depend on it.
    pub file: PathBuf,
    /// Display name of their source.
    pub name: String,
    /// Identity of the model; null without one.
    pub model: Value,
    /// The settings they were sampled with; null if they were given.
    pub settings: Value,
    /// Of sampled ones, how many were finished by interrupted runs, and the tokens and seconds of the rest.
    pub drawn: Option<(usize, u64, f64)>,
}

/// The responses themselves. Those of a model are decoded when they are judged.
enum Held {
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
        ResponseSource::EvaluatedModel(model) => Ok(sampled(plan, &model.name, sample(plan, model, asked)?)),
        ResponseSource::File(file) => {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            given(plan, Held::Given(given::read(file, asked)?), file, name)
        }
        ResponseSource::Right => given(plan, Held::Right, &plan.files[0], "right answers".to_owned()),
    }
}

fn sampled(plan: &BenchmarkRun, name: &str, sampled: SampledResponses) -> Responses {
    let SampledResponses { by, model, settings, drawn } = sampled;
    let (held, file, name) = (Held::Drawn(Box::new(by)), plan.out.join(RESPONSES), name.to_owned());
    Responses { held, file, name, model, settings, drawn: Some(drawn) }
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
