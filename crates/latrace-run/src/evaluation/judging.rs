//! Judges responses: window by window, with verdicts kept in a journal, and written to `results.json` in the
//! order of the questions.

use std::io::Write;

use anyhow::{Context, Result};
use latrace_verify::{Judgement, Reason, Verdict};
use rayon::prelude::*;
use serde_json::json;

use super::answer::{Answer, answer_of};
use super::responses::{Response, Responses};
use super::{BenchmarkRun, RESULTS, results};
use latrace_io::files::{checksum, write_atomically};
use latrace_io::progress::Progress;
use latrace_io::rows::Output;
use latrace_questions::benchmarks::{Item, Kind, for_each};
use latrace_questions::query::{Query, SharedSandbox};
use latrace_questions::verdict_journal::Journal;

/// Responses judged before their verdicts are saved.
const WINDOW: usize = 2048;
/// Maximum number of programs among them: each may run for minutes, which an interruption would lose.
const WINDOW_PROGRAMS: usize = 64;

/// A question with its judged responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scored {
    /// Its subject or difficulty.
    pub subset: Option<String>,
    /// Tokens of its prompt.
    pub prompt_tokens: u64,
    /// Its responses.
    pub responses: Vec<JudgedResponse>,
}

/// A judged response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedResponse {
    /// Why it is correct or wrong.
    pub reason: Reason,
    /// Whether it was truncated at the token limit.
    pub truncated: bool,
    /// Whether its thought has no end.
    pub unclosed: bool,
    /// Its tokens.
    pub tokens: Option<u64>,
    /// Tokens of its thought, if finished.
    pub thought_tokens: Option<u64>,
}

impl JudgedResponse {
    /// Whether it is correct.
    pub fn is_right(&self) -> bool {
        self.reason.verdict() == Verdict::Correct
    }
}

/// A question some of whose responses are still to be judged.
pub(super) struct Question {
    pub place: usize,
    pub id: String,
    pub item: Item,
    pub responses: Vec<Response>,
}

/// Judges all responses and writes `results.json`.
///
/// # Errors
/// A reference that is invalid for its kind; I/O errors.
pub fn judge(plan: &BenchmarkRun, responses: &Responses) -> Result<Vec<Scored>> {
    let path = plan.out.join(RESULTS);
    let mut journal = Journal::open(&Output::File(path.clone()), &responses.file, &described(plan)?)?;
    if journal.count_earlier() > 0 {
        tracing::info!("{} responses were already judged by an interrupted run", journal.count_earlier());
    }
    let mut judge = Judge {
        plan,
        all: responses,
        sandbox: SharedSandbox::default(),
        scored: Vec::new(),
        progress: Progress::new("responses judged", 0, None),
    };
    write_atomically(&path, |writer| {
        writer.write_all(b"{").context("cannot write results")?;
        let (mut window, mut place) = (Vec::new(), 0);
        for_each(&plan.benchmark, &plan.files, &plan.chosen, |id, item| {
            let to_it = responses.to(place, &id, &item)?;
            window.push(Question { place, id, item, responses: to_it });
            place += 1;
            if judge.is_full(&window) {
                judge.window(std::mem::take(&mut window), &mut journal, writer)
            } else {
                Ok(())
            }
        })?;
        judge.window(window, &mut journal, writer)?;
        writer.write_all(b"\n}\n").context("cannot write results")
    })?;
    journal.close()?;
    judge.progress.finish();
    Ok(judge.scored)
}

/// Everything that verdicts depend on except the responses.
fn described(plan: &BenchmarkRun) -> Result<String> {
    let sums = plan.files.iter().map(|file| checksum(file)).collect::<Result<Vec<_>>>()?;
    Ok(json!({"benchmark": plan.benchmark, "data": sums, "markers": plan.markers, "subsets": plan.chosen.subsets, "limit": plan.chosen.limit}).to_string())
}

struct Judge<'a> {
    plan: &'a BenchmarkRun,
    all: &'a Responses,
    sandbox: SharedSandbox,
    scored: Vec<Scored>,
    progress: Progress,
}

impl Judge<'_> {
    fn is_full(&self, window: &[Question]) -> bool {
        let most = if self.plan.benchmark.kind == Kind::Code { WINDOW_PROGRAMS } else { WINDOW };
        window.iter().map(|question| question.responses.len()).sum::<usize>() >= most
    }

    /// Judges the questions of a window, except those that an interrupted run has judged.
    fn window(
        &mut self,
        window: Vec<Question>,
        journal: &mut Journal,
        writer: &mut impl Write,
    ) -> Result<()> {
        // One query for all of a question's responses: its references are read once.
        let queries = window.iter().map(|question| self.query(question)).collect::<Result<Vec<Query>>>()?;
        let pairs: Vec<(&Question, &Query, &Response)> = window
            .iter()
            .zip(&queries)
            .flat_map(|(question, query)| {
                question.responses.iter().map(move |response| (question, query, response))
            })
            .collect();
        let mut judged = journal.take(pairs.len());
        // `collect` keeps their order, whatever order they finish in.
        let fresh = pairs[judged.len()..]
            .par_iter()
            .map(|(question, query, response)| self.one(question, query, response))
            .collect::<Vec<Judgement>>();
        journal.add(&fresh)?;
        judged.extend(fresh);
        self.progress.advance(pairs.len() as u64);
        let mut judged = judged.into_iter();
        for question in &window {
            let judgements: Vec<Judgement> = judged.by_ref().take(question.responses.len()).collect();
            self.keep(question, &judgements, writer)?;
        }
        Ok(())
    }

    fn query(&self, question: &Question) -> Result<Query> {
        let benchmark = &self.plan.benchmark;
        let row = question.item.reference.row(benchmark.kind, benchmark.convention.as_deref());
        Query::of(&row, None, benchmark.time_limit)
            .map_err(|problem| anyhow::anyhow!("{problem}"))
            .with_context(|| format!("question {}", question.id))
    }

    fn one(&self, question: &Question, query: &Query, response: &Response) -> Judgement {
        match answer_of(&response.text, response.opened, response.is_truncated(), &self.plan.markers) {
            Answer::Given(answer) => query.judge(&question.item.reference.prediction(answer), &self.sandbox),
            _ => Judgement::new(Reason::NoAnswer, None),
        }
    }

    fn keep(&mut self, question: &Question, judgements: &[Judgement], writer: &mut impl Write) -> Result<()> {
        let of = |(response, judgement): (&Response, &Judgement)| {
            let answer =
                answer_of(&response.text, response.opened, response.is_truncated(), &self.plan.markers);
            JudgedResponse {
                reason: judgement.reason,
                truncated: response.is_truncated(),
                unclosed: !matches!(answer, Answer::Given(_)),
                tokens: response.tokens,
                thought_tokens: response.thought_tokens,
            }
        };
        let responses = question.responses.iter().zip(judgements).map(of).collect();
        let prompt = self.all.prompt(question.place);
        self.scored.push(Scored {
            subset: question.item.subset.clone(),
            prompt_tokens: prompt.map_or(0, |(_, tokens)| tokens),
            responses,
        });
        results::write(question, judgements, prompt, writer)
    }
}
