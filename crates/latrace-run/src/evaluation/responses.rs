//! Sources of responses: a model, a file, or the benchmark's own answers.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::{SamplingParams, StopReason, boundary};
use latrace_engine::boundary::StopTexts;
use latrace_engine::{Engine, ModelShape};
use serde_json::{Value, json};

use super::prompts::{Prompted, Wrapping};
use super::{Asked, BenchmarkRun, RESPONSES};
use latrace_engine::sampling::journal::{FinishedSample, OutputJournal, described, difference};
use latrace_engine::sampling::rows::{DrawnRows, Logprobs, draw_rows};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::files::checksum;
use latrace_io::model_folder::fingerprint;
use latrace_io::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, describe, field, shortest, write_rows,
};
use latrace_questions::benchmarks::Item;

/// The stage's name in the key of every random number.
const STAGE: &str = "responses";

/// Where responses come from.
pub enum ResponseSource<'a> {
    /// Sampled from a model.
    EvaluatedModel(Box<EvaluatedModel<'a>>),
    /// Read from a file: `id`, `response` (or `text`), optionally `sample`, `stop_reason`, `token_ids`.
    File(PathBuf),
    /// The benchmark's own answers, to check that it accepts them.
    Right,
}

/// A model to sample responses from.
pub struct EvaluatedModel<'a> {
    /// Its display name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How questions become prompts.
    pub wrapping: Wrapping,
    /// The engine that samples from it.
    pub engine: &'a dyn Engine,
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
    /// How many were finished by interrupted runs, and the tokens and seconds of sampling the rest.
    pub drawn: Option<(usize, u64, f64)>,
}

enum Held {
    Drawn(Box<ByModel>),
    Given(HashMap<String, Vec<Response>>),
    Right,
}

/// Sampled responses, and the codec that decodes them.
struct ByModel {
    /// By question.
    samples: Vec<Vec<FinishedSample>>,
    prompts: Vec<Prompted>,
    text: TextCodec,
    cut: String,
    stops: StopTexts,
}

/// The responses of `source` to the questions `asked`.
///
/// # Errors
/// See [`super::run`].
pub fn of(plan: &BenchmarkRun, source: &ResponseSource<'_>, asked: &[Asked]) -> Result<Responses> {
    match source {
        ResponseSource::EvaluatedModel(model) => from_model(plan, model, asked),
        ResponseSource::File(file) => {
            let held = Held::Given(read(file, asked)?);
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            given(
                plan,
                Responses {
                    held,
                    file: file.clone(),
                    name,
                    model: Value::Null,
                    settings: Value::Null,
                    drawn: None,
                },
            )
        }
        ResponseSource::Right => {
            let (file, name) = (plan.files[0].clone(), "right answers".to_owned());
            given(
                plan,
                Responses {
                    held: Held::Right,
                    file,
                    name,
                    model: Value::Null,
                    settings: Value::Null,
                    drawn: None,
                },
            )
        }
    }
}

/// Fails if the folder holds a model's evaluation: given responses must not overwrite sampled ones.
fn given(plan: &BenchmarkRun, responses: Responses) -> Result<Responses> {
    if !plan.out.join(RESPONSES).exists() {
        return Ok(responses);
    }
    let message = format!("{} holds the evaluation of a model", plan.out.display());
    Err(Failure::work(message).hint("choose another --out, or remove the folder").into())
}

fn from_model(plan: &BenchmarkRun, model: &EvaluatedModel<'_>, asked: &[Asked]) -> Result<Responses> {
    let shape = ModelShape::read(&model.folder)?;
    let text = TextCodec::open(&model.folder, &shape)?;
    let prompts = prompts(plan, model, asked, &text, shape.positions)?;
    let job = job(plan, shape.end_ids)?;
    let settings = settings(plan, model, &job);
    let hashes = json!(fingerprint(&model.folder)?);
    let file = plan.out.join(RESPONSES);
    let drawn = draw(plan, model, &job, json!({"model": hashes, "settings": settings}), asked, &prompts)?;
    let mut samples: Vec<Vec<FinishedSample>> = vec![Vec::new(); asked.len()];
    drawn.samples.into_iter().for_each(|((question, _), finished)| samples[question].push(finished));
    let cut = plan.markers.cut.clone();
    let held = Held::Drawn(Box::new(ByModel { samples, prompts, text, cut, stops: job.stop_texts }));
    Ok(Responses {
        held,
        file,
        name: model.name.clone(),
        model: hashes,
        settings,
        drawn: Some((drawn.earlier, drawn.spent.tokens, drawn.spent.seconds)),
    })
}

/// The validated sampling parameters of responses.
fn job(plan: &BenchmarkRun, stop_ids: Vec<u32>) -> Result<SampleJob> {
    let params = plan.benchmark.sampling;
    params.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let close = plan.markers.answer_close.trim();
    let stop_texts = if close.is_empty() { Vec::new() } else { vec![close.to_owned()] };
    let stop_texts = StopTexts::new(stop_texts);
    Ok(SampleJob { stage: STAGE, seed: plan.seed, n: plan.benchmark.k, params, stop_ids, stop_texts })
}

/// Samples the responses that an interrupted run has not, and writes all of them in the order of the
/// questions, whatever order they finished in.
fn draw(
    plan: &BenchmarkRun,
    model: &EvaluatedModel<'_>,
    job: &SampleJob,
    description: Value,
    asked: &[Asked],
    prompted: &[Prompted],
) -> Result<DrawnRows> {
    let file = plan.out.join(RESPONSES);
    let (mut journal, earlier) = open_journal(plan, &file, description)?;
    let prompt =
        |(asked, prompted): (&Asked, &Prompted)| Prompt::keyed(asked.id.clone(), prompted.ids.clone());
    let prompts: Vec<Prompt> = asked.iter().zip(prompted).map(prompt).collect();
    let make = || model.engine.generator(&model.folder);
    let mut keep = |_: usize, finished: &FinishedSample| journal.add(finished);
    let drawn = draw_rows(job, Logprobs::Dropped, &prompts, earlier, make, &mut keep)
        .with_context(|| format!("cannot sample responses to {}", plan.benchmark.title))?;
    write_rows(&Output::File(file.clone()), |sink| {
        drawn.samples.values().try_for_each(|finished| sink.write(row_of(finished)?))
    })?;
    journal.finish(&file)?;
    Ok(drawn)
}

fn prompts(
    plan: &BenchmarkRun,
    model: &EvaluatedModel<'_>,
    asked: &[Asked],
    text: &TextCodec,
    most: usize,
) -> Result<Vec<Prompted>> {
    let boxed = plan.benchmark.kind.is_boxed();
    let prompt = |asked: &Asked| {
        let prompted = model
            .wrapping
            .prompt(&asked.text, boxed, &plan.markers, text)
            .with_context(|| format!("question {}", asked.id))?;
        match prompted.ids.len() {
            0 => Err(Failure::work(format!(
                "question {}: expected a prompt of at least one token, got an empty one",
                asked.id
            ))
            .into()),
            tokens if tokens >= most => Err(Failure::work(format!(
                "question {}: expected fewer than the model's {most} tokens, got {tokens}",
                asked.id
            ))
            .into()),
            _ => Ok(prompted),
        }
    };
    asked.iter().map(prompt).collect()
}

/// Everything that a response depends on except the model.
fn settings(plan: &BenchmarkRun, model: &EvaluatedModel<'_>, job: &SampleJob) -> Value {
    let SamplingParams { temperature, top_p, top_k, min_p, max_new_tokens } = job.params;
    json!({
        "k": plan.benchmark.k,
        "seed": plan.seed,
        "temperature": shortest(temperature),
        "top_p": shortest(top_p),
        "top_k": top_k,
        "min_p": shortest(min_p),
        "max_new_tokens": max_new_tokens,
        "end_ids": job.stop_ids,
        "template": model.wrapping.source(),
        "markers": plan.markers,
        "subsets": plan.chosen.subsets,
        "limit": plan.chosen.limit,
    })
}

/// Opens the journal of the responses; a folder that holds a different evaluation is left unchanged.
fn open_journal(
    plan: &BenchmarkRun,
    file: &Path,
    mut description: Value,
) -> Result<(OutputJournal, Vec<FinishedSample>)> {
    description["data"] = json!(plan.files.iter().map(|file| checksum(file)).collect::<Result<Vec<_>>>()?);
    description["benchmark"] = json!(plan.benchmark);
    if let Some(earlier) = described(file)?.filter(|earlier| *earlier != description) {
        let message = format!(
            "{} holds a different evaluation: {}",
            plan.out.display(),
            difference(&earlier, &description)
        );
        return Err(Failure::work(message).hint("choose another --out, or remove the folder").into());
    }
    OutputJournal::open(file, description)
}

fn row_of(finished: &FinishedSample) -> Result<Row> {
    match serde_json::to_value(finished)? {
        Value::Object(row) => Ok(row),
        other => Err(anyhow::anyhow!("a sample is {}, not an object", describe(&other))),
    }
}

/// The responses of a file, by question.
fn read(file: &Path, asked: &[Asked]) -> Result<HashMap<String, Vec<Response>>> {
    let mut found: HashMap<String, Vec<(u64, Response)>> =
        asked.iter().map(|asked| (asked.id.clone(), Vec::new())).collect();
    let mut reader = RowReader::open(file, BadRows::Stop)?;
    let mut others = 0_u64;
    while let Some((id, sample, response)) = reader.next_with(|_, row| given_response(&row))? {
        match found.get_mut(&id) {
            Some(responses) => {
                let sample = sample.unwrap_or(responses.len() as u64);
                responses.push((sample, response));
            }
            None => others += 1,
        }
    }
    if others > 0 {
        tracing::warn!("{others} responses of {} are to questions outside this evaluation", file.display());
    }
    let without: Vec<&str> =
        asked.iter().map(|asked| asked.id.as_str()).filter(|id| found[*id].is_empty()).collect();
    if let Some(first) = without.first() {
        let message = format!(
            "{} has no response to {} of {} questions, such as \"{first}\"",
            file.display(),
            without.len(),
            asked.len()
        );
        return Err(Failure::work(message)
            .hint("each row needs the `id` of its question; `--limit` and `--subset` select fewer questions")
            .into());
    }
    let in_order = |(id, mut responses): (String, Vec<(u64, Response)>)| {
        responses.sort_by_key(|(sample, _)| *sample);
        (id, responses.into_iter().map(|(_, response)| response).collect())
    };
    Ok(found.into_iter().map(in_order).collect())
}

fn given_response(row: &Row) -> Result<(String, Option<u64>, Response), FieldProblem> {
    let id = latrace_io::rows::id_of(row)?
        .ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
    let text = match field(row, "response").or_else(|| field(row, "text")) {
        Some(Value::String(text)) => text.clone(),
        other => {
            return Err(FieldProblem::new(
                "response",
                "a text",
                other.map_or_else(|| "nothing".to_owned(), describe),
            ));
        }
    };
    let tokens = field(row, "token_ids").and_then(Value::as_array).map(|ids| ids.len() as u64);
    let stop_reason = field(row, "stop_reason").and_then(Value::as_str).map(str::to_owned);
    Ok((
        id,
        field(row, "sample").and_then(Value::as_u64),
        Response { text, stop_reason, tokens, ..Response::default() },
    ))
}

impl Responses {
    /// The responses to the question at an index of the evaluation.
    ///
    /// # Errors
    /// A benchmark without reference answers.
    pub fn to(&self, place: usize, id: &str, item: &Item) -> Result<Vec<Response>> {
        match &self.held {
            Held::Drawn(by) => {
                Ok(by.samples[place].iter().map(|finished| by.response(place, finished)).collect())
            }
            Held::Given(responses) => Ok(responses[id].clone()),
            Held::Right => {
                let right = item.reference.right_response();
                let hint =
                    "its tests check an answer but do not contain one; give responses with --responses FILE";
                let text = right.ok_or_else(|| {
                    Failure::work(format!("question {id} has no reference answer")).hint(hint)
                })?;
                Ok(vec![Response { text, ..Response::default() }])
            }
        }
    }

    /// A question's prompt as text, and its number of tokens.
    pub fn prompt(&self, place: usize) -> Option<(&str, u64)> {
        match &self.held {
            Held::Drawn(by) => Some((by.prompts[place].text.as_str(), by.prompts[place].ids.len() as u64)),
            _ => None,
        }
    }
}

impl ByModel {
    fn response(&self, place: usize, finished: &FinishedSample) -> Response {
        let ids = match finished.stop_reason == StopReason::End.name() {
            true => &finished.token_ids[..finished.token_ids.len() - 1],
            false => &finished.token_ids,
        };
        let whole = self.text.decode(ids).unwrap_or_default();
        Response {
            text: self.stops.cut(&whole, true).to_owned(),
            opened: self.prompts[place].opens,
            stop_reason: Some(finished.stop_reason.clone()),
            tokens: Some(finished.token_ids.len() as u64),
            thought_tokens: boundary(ids, &self.cut, |ids| self.text.decode(ids)).map(|tokens| tokens as u64),
        }
    }
}
