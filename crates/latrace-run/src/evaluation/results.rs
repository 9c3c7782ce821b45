//! `results.json`: an object that maps the index of each question in the evaluation, "0", "1", …, to its
//! results.
//!
//! Readable by SkyThought's evaluation tools (NovaSky-AI/SkyThought, `skythought/evals`). The fields of a
//! question that follow theirs are `prompt`, `input_conversation`, `responses` (`content`, `correctness`,
//! `reason`) and `token_usages` (`completion_tokens`, `prompt_tokens`). Differs in: of the published row,
//! only the question and its answer are kept, under our names; `correctness` is null for an undetermined
//! verdict; `reason` is one of the verifier's codes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result};
use latrace_verify::{Judgement, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};

use super::RESULTS;
use super::judging::Question;
use super::responses::Response;
use latrace_io::failure::Failure;

/// Writes a question as one line of the object.
pub(super) fn write(
    question: &Question,
    judgements: &[Judgement],
    prompt: Option<(&str, u64)>,
    writer: &mut impl Write,
) -> Result<()> {
    let record = record(question, judgements, prompt);
    let separator = if question.place == 0 { "" } else { "," };
    write!(writer, "{separator}\n\"{}\": {record}", question.place).context("cannot write results")
}

fn record(question: &Question, judgements: &[Judgement], prompt: Option<(&str, u64)>) -> Value {
    let Question { id, item, responses, .. } = question;
    let (text, prompt_tokens) =
        prompt.map_or((item.asked.as_str(), None), |(text, tokens)| (text, Some(tokens)));
    let usage =
        |response: &Response| json!({"completion_tokens": response.tokens, "prompt_tokens": prompt_tokens});
    json!({
        "id": id,
        "question": item.question,
        "answer": item.reference.shown(),
        "options": item.reference.options(),
        "subset": item.subset,
        "prompt": text,
        "input_conversation": [{"role": "user", "content": item.asked}],
        "responses": responses.iter().zip(judgements).map(|(response, judgement)| judged(response, judgement)).collect::<Vec<Value>>(),
        "token_usages": responses.iter().map(usage).collect::<Vec<Value>>(),
    })
}

fn judged(response: &Response, judgement: &Judgement) -> Value {
    let correctness = match judgement.verdict() {
        Verdict::Correct => Some(true),
        Verdict::Wrong | Verdict::Malformed => Some(false),
        Verdict::Undetermined => None,
    };
    json!({
        "content": response.text,
        "correctness": correctness,
        "reason": judgement.reason.code(),
        "verdict": judgement.verdict().name(),
        "extracted": judgement.extracted,
        "stop_reason": response.stop_reason,
        "thought_tokens": response.thought_tokens,
    })
}

/// The results that comparisons of evaluations use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct QuestionResult {
    /// The question's id.
    pub id: String,
    /// The question as posed to the model.
    pub prompt: String,
    /// Its text.
    pub question: String,
    /// Its subject or difficulty.
    #[serde(default)]
    pub subset: Option<String>,
    /// Its responses.
    pub responses: Vec<Correctness>,
}

/// Whether a response is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Correctness {
    /// `None` for an undetermined verdict.
    pub correctness: Option<bool>,
}

/// The questions of an evaluation's folder, in order; `None` if it has no `results.json`.
///
/// # Errors
/// A file that does not contain results.
pub fn read_results(folder: &Path) -> Result<Option<Vec<QuestionResult>>> {
    let path = folder.join(RESULTS);
    let Ok(file) = File::open(&path) else { return Ok(None) };
    let parsed: Result<BTreeMap<usize, QuestionResult>, _> = serde_json::from_reader(BufReader::new(file));
    let parsed = parsed.map_err(|error| {
        Failure::work(format!("{} does not contain an evaluation's results: {error}", path.display()))
    })?;
    Ok(Some(parsed.into_values().collect()))
}
