//! Responses sampled from a model, with a journal from which an interrupted evaluation resumes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use latrace_core::{StopReason, boundary};
use latrace_engine::boundary::StopTexts;
use latrace_engine::{Engine, EngineRole, ModelShape};
use serde_json::{Value, json};

use super::answer::Opening;
use super::prompts::{Prompted, Wrapping};
use super::response::Response;
use super::{Asked, BenchmarkRun, RESPONSES};
use latrace_engine::sampling::journal::{FinishedSample, OutputJournal, described};
use latrace_engine::sampling::output::described_prompts;
use latrace_engine::sampling::rows::{DrawnRows, Logprobs, draw_rows};
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::text_codec::TextCodec;
use latrace_io::difference::difference;
use latrace_io::failure::Failure;
use latrace_io::model_folder::fingerprint;
use latrace_io::rows::{Output, Row, describe, write_rows};

/// The stage's name in the key of every random number.
const STAGE: &str = "responses";

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

/// Sampled responses, and the codec that decodes them.
pub(super) struct ByModel {
    /// By question.
    samples: Vec<Vec<FinishedSample>>,
    prompts: Vec<Prompted>,
    text: TextCodec,
    cut: String,
    stops: StopTexts,
}

/// Sampled responses, and what they depend on.
pub(super) struct SampledResponses {
    pub by: ByModel,
    /// Identity of the model.
    pub model: Value,
    pub settings: Value,
    /// How many were finished by interrupted runs, and the tokens and seconds of sampling the rest.
    pub drawn: (usize, u64, f64),
}

/// Samples the responses to the questions `asked`.
///
/// # Errors
/// See [`super::run`].
pub(super) fn sample(
    plan: &BenchmarkRun,
    model: &EvaluatedModel<'_>,
    asked: &[Asked],
) -> Result<SampledResponses> {
    let shape = ModelShape::read(&model.folder)?;
    let mut text = TextCodec::open(&model.folder, &shape)?;
    text.log_begin();
    let earlier = described(&plan.out.join(RESPONSES))?;
    let date = text.date_of(earlier.as_ref().map(|work| &work["settings"]["date"]));
    let prompts = prompts(plan, model, asked, &text, shape.positions)?;
    let job = job(plan, shape.end_ids)?;
    let settings = settings(plan, model, &job, described_prompts(&text, date));
    let hashes = json!(fingerprint(&model.folder)?);
    let work = json!({"model": hashes, "settings": settings});
    let drawn = draw(plan, model, &job, work, asked, &prompts)?;
    let spent = (drawn.earlier, drawn.spent.tokens, drawn.spent.seconds);
    let (samples, cut) = (by_question(drawn, asked.len()), plan.markers.cut.clone());
    let by = ByModel { samples, prompts, text, cut, stops: job.stop_texts };
    Ok(SampledResponses { by, model: hashes, settings, drawn: spent })
}

fn by_question(drawn: DrawnRows, questions: usize) -> Vec<Vec<FinishedSample>> {
    let mut samples: Vec<Vec<FinishedSample>> = vec![Vec::new(); questions];
    drawn.samples.into_iter().for_each(|((question, _), finished)| samples[question].push(finished));
    samples
}

/// The validated sampling parameters of responses.
fn job(plan: &BenchmarkRun, stop_ids: Vec<u32>) -> Result<SampleJob> {
    let params = plan.benchmark.sampling;
    params.validate().map_err(|error| Failure::usage(error.to_string()))?;
    let (seed, n, stop_texts) = (plan.seed, plan.benchmark.k, stop_texts(plan));
    Ok(SampleJob { stage: STAGE, seed, n, params, stop_ids, stop_texts })
}

/// The marker that closes an answer, for families that have one.
fn stop_texts(plan: &BenchmarkRun) -> StopTexts {
    let close = plan.markers.answer_close.trim();
    StopTexts::new(if close.is_empty() { Vec::new() } else { vec![close.to_owned()] })
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
    let (mut journal, earlier) = open_journal(plan, description)?;
    let prompts: Vec<Prompt> = asked.iter().zip(prompted).map(keyed).collect();
    // A closure, since the weights are not loaded if an interrupted run has sampled everything.
    let make = || model.engine.generator(&model.folder);
    let mut keep = |_: usize, finished: &FinishedSample| journal.add(finished);
    let drawn = draw_rows(job, Logprobs::Dropped, &prompts, earlier, make, &mut keep)
        .with_context(|| format!("cannot sample responses to {}", plan.benchmark.title))?;
    write_samples(&drawn, &file)?;
    // A kill before this line leaves a complete file that is not marked as done: the next run samples nothing.
    journal.finish(&file)?;
    Ok(drawn)
}

fn write_samples(drawn: &DrawnRows, file: &Path) -> Result<()> {
    write_rows(&Output::File(file.to_owned()), |sink| {
        drawn.samples.values().try_for_each(|finished| sink.write(row_of(finished)?))
    })
}

/// A prompt whose random numbers depend on its question's id alone, not on which other questions are asked.
fn keyed((asked, prompted): (&Asked, &Prompted)) -> Prompt {
    Prompt::keyed(asked.id.clone(), prompted.ids.clone())
}

fn prompts(
    plan: &BenchmarkRun,
    model: &EvaluatedModel<'_>,
    asked: &[Asked],
    text: &TextCodec,
    positions: usize,
) -> Result<Vec<Prompted>> {
    let prompt = |asked: &Asked| {
        let prompted = prompt(plan, model, asked, text).with_context(|| format!("question {}", asked.id))?;
        check_length(&asked.id, prompted.ids.len(), positions)?;
        Ok(prompted)
    };
    asked.iter().map(prompt).collect()
}

fn prompt(
    plan: &BenchmarkRun,
    model: &EvaluatedModel<'_>,
    asked: &Asked,
    text: &TextCodec,
) -> Result<Prompted> {
    let boxed = plan.benchmark.kind.is_boxed();
    model.wrapping.prompt(&asked.text, boxed, &plan.markers, text)
}

/// Checked before anything is sampled: an error in the last question would otherwise surface after hours.
fn check_length(id: &str, tokens: usize, positions: usize) -> Result<()> {
    let problem = match tokens {
        0 => "expected a prompt of at least one token, got an empty one".to_owned(),
        // One position must be left for the response.
        _ if tokens >= positions => {
            format!("expected fewer than the model's {positions} tokens, got {tokens}")
        }
        _ => return Ok(()),
    };
    Err(Failure::work(format!("question {id}: {problem}")).into())
}

/// Everything that a response depends on except the model.
fn settings(plan: &BenchmarkRun, model: &EvaluatedModel<'_>, job: &SampleJob, prompts: Row) -> Value {
    let mut settings = Row::from_iter([("k".to_owned(), json!(plan.benchmark.k))]);
    settings.extend(job.described());
    let others = [
        ("template", json!(model.wrapping.source())),
        ("markers", json!(plan.markers)),
        ("subsets", json!(plan.chosen.subsets)),
        ("limit", json!(plan.chosen.limit)),
    ];
    settings.extend(others.map(|(name, value)| (name.to_owned(), value)));
    settings.extend(model.engine.identity(EngineRole::Generate).in_journal());
    settings.extend(prompts);
    Value::Object(settings)
}

/// Opens the journal of the responses; a folder that holds a different evaluation is left unchanged.
fn open_journal(plan: &BenchmarkRun, mut description: Value) -> Result<(OutputJournal, Vec<FinishedSample>)> {
    let file = plan.out.join(RESPONSES);
    description["data"] = json!(plan.data_checksums()?);
    description["benchmark"] = json!(plan.benchmark);
    // Compared before the journal is opened, which would replace a finished one of other settings.
    if let Some(earlier) = described(&file)?.filter(|earlier| *earlier != description) {
        let differs = difference(&earlier, &description);
        return Err(plan.out_is_taken(&format!("a different evaluation: {differs}")).into());
    }
    OutputJournal::open(&file, description)
}

fn row_of(finished: &FinishedSample) -> Result<Row> {
    match serde_json::to_value(finished)? {
        Value::Object(row) => Ok(row),
        other => bail!("a sample is {}, not an object", describe(&other)),
    }
}

impl ByModel {
    /// The responses to the question at an index of the evaluation.
    pub(super) fn responses(&self, place: usize) -> Vec<Response> {
        self.samples[place].iter().map(|finished| self.response(place, finished)).collect()
    }

    /// A question's prompt as text, and its number of tokens.
    pub(super) fn prompt(&self, place: usize) -> (&str, u64) {
        let Prompted { text, ids, .. } = &self.prompts[place];
        (text, ids.len() as u64)
    }

    fn response(&self, place: usize, finished: &FinishedSample) -> Response {
        let ids = without_end(finished);
        let whole = self.text.decode(ids).unwrap_or_default();
        Response {
            text: self.stops.cut(&whole, true).to_owned(),
            opening: Opening::of(self.prompts[place].opens),
            stop_reason: Some(finished.stop_reason.clone()),
            tokens: Some(finished.token_ids.len() as u64),
            thought_tokens: boundary(ids, &self.cut, |ids| self.text.decode(ids)).map(|tokens| tokens as u64),
        }
    }
}

/// A sample's tokens without the end token, which is no part of its text.
fn without_end(finished: &FinishedSample) -> &[u32] {
    let is_ended = finished.stop_reason == StopReason::End.name();
    &finished.token_ids[..finished.token_ids.len() - usize::from(is_ended)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_leaves_the_model_room_for_a_response() {
        check_length("a", 7, 8).unwrap();
        let check = |tokens, expected: &str| {
            let error = check_length("a", tokens, 8).unwrap_err().to_string();
            assert_eq!(error, format!("question a: expected {expected}"));
        };
        check(8, "fewer than the model's 8 tokens, got 8");
        check(0, "a prompt of at least one token, got an empty one");
    }
}
