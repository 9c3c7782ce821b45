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
use super::response::Response;
use latrace_io::failure::Failure;
use latrace_objective::statistics::Tally;

/// Writes a question as one line of the object.
pub(super) fn write(
    question: &Question,
    judgements: &[Judgement],
    prompt: Option<(&str, u64)>,
    writer: &mut impl Write,
) -> Result<()> {
    let record = record(question, judgements, prompt);
    // Written by hand, question by question: the whole object may exceed memory.
    let separator = if question.place == 0 { "" } else { "," };
    write!(writer, "{separator}\n\"{}\": {record}", question.place).context("cannot write results")
}

fn record(question: &Question, judgements: &[Judgement], prompt: Option<(&str, u64)>) -> Value {
    let Question { id, item, responses, .. } = question;
    let judged: Vec<Value> = responses.iter().zip(judgements).map(judged).collect();
    let usage: Vec<Value> = responses.iter().map(|response| usage(response, prompt)).collect();
    json!({
        "id": id,
        "question": item.question,
        "answer": item.reference.shown(),
        "options": item.reference.options(),
        "subset": item.subset,
        // Given responses come without a prompt; the question as asked is the nearest to one.
        "prompt": prompt.map_or(item.asked.as_str(), |(text, _)| text),
        "input_conversation": [{"role": "user", "content": item.asked}],
        "responses": judged,
        "token_usages": usage,
    })
}

fn usage(response: &Response, prompt: Option<(&str, u64)>) -> Value {
    json!({"completion_tokens": response.tokens, "prompt_tokens": prompt.map(|(_, tokens)| tokens)})
}

fn judged((response, judgement): (&Response, &Judgement)) -> Value {
    json!({
        "content": response.text,
        "correctness": correctness(judgement.verdict()),
        "reason": judgement.reason.code(),
        "verdict": judgement.verdict().name(),
        "extracted": judgement.extracted,
        "stop_reason": response.stop_reason,
        "thought_tokens": response.thought_tokens,
    })
}

/// A verdict as SkyThought's tools read it. Null, not false, where no verdict could be reached.
fn correctness(verdict: Verdict) -> Option<bool> {
    match verdict {
        Verdict::Correct => Some(true),
        Verdict::Wrong | Verdict::Malformed => Some(false),
        Verdict::Undetermined => None,
    }
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

impl QuestionResult {
    /// How many of its responses are correct; undetermined ones are not.
    pub fn tally(&self) -> Tally {
        let right = self.responses.iter().filter(|response| response.correctness == Some(true)).count();
        Tally { right, samples: self.responses.len() }
    }
}

/// The questions of an evaluation's folder, in order; `None` if it has no `results.json`.
///
/// # Errors
/// A file that does not contain results.
pub fn read_results(folder: &Path) -> Result<Option<Vec<QuestionResult>>> {
    let path = folder.join(RESULTS);
    let Ok(file) = File::open(&path) else { return Ok(None) };
    // By number, because as texts "10" would come before "2".
    let parsed: Result<BTreeMap<usize, QuestionResult>, _> = serde_json::from_reader(BufReader::new(file));
    let questions = parsed.map_err(|error| not_results(&path, &error))?;
    Ok(Some(questions.into_values().collect()))
}

fn not_results(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::work(format!("{} does not contain an evaluation's results: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use latrace_questions::benchmarks::{Item, ItemReference};
    use latrace_verify::Reason;

    use super::*;

    #[test]
    fn results_read_back_in_the_order_of_the_questions() {
        let folder = tempfile::tempdir().unwrap();
        let reasons = [Reason::Equal, Reason::Different, Reason::NoAnswer, Reason::NoSandbox];
        let judgements = reasons.map(|reason| Judgement::new(reason, None));
        let mut text = b"{".to_vec();
        for place in 0..11 {
            let item = Item {
                id: None,
                question: format!("question {place}"),
                asked: "as asked".to_owned(),
                subset: None,
                reference: ItemReference::Answers(vec!["4".to_owned()]),
            };
            let responses = vec![Response::default(); judgements.len()];
            let question = Question { place, id: place.to_string(), item, responses };
            let prompt = (place == 1).then_some(("as prompted", 3));
            write(&question, &judgements, prompt, &mut text).unwrap();
        }
        text.extend(b"}");
        std::fs::write(folder.path().join(RESULTS), text).unwrap();
        let read = read_results(folder.path()).unwrap().unwrap();
        let places: Vec<String> = (0..11).map(|place| place.to_string()).collect();
        assert_eq!(read.iter().map(|question| question.id.clone()).collect::<Vec<_>>(), places);
        assert_eq!([&read[0].prompt, &read[1].prompt], ["as asked", "as prompted"]);
        let correctness: Vec<Option<bool>> = read[0].responses.iter().map(|of| of.correctness).collect();
        assert_eq!(correctness, [Some(true), Some(false), Some(false), None]);
        assert_eq!(read[0].tally(), Tally { right: 1, samples: 4 });
        assert_eq!(read_results(&folder.path().join("nowhere")).unwrap(), None);
    }
}
