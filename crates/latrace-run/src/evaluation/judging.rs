//! Judges responses: window by window, with verdicts kept in a journal, and written to `results.json` in the
//! order of the questions.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use latrace_verify::{Judgement, Reason, Verdict};
use serde_json::json;

use super::response::Response;
use super::responses::Responses;
use super::{BenchmarkRun, RESULTS, results};
use latrace_io::files::write_atomically;
use latrace_io::progress::Progress;
use latrace_io::rows::{Output, row_text};
use latrace_objective::statistics::Tally;
use latrace_questions::benchmarks::{Benchmark, Item, Kind, for_each};
use latrace_questions::query::Query;
use latrace_questions::verdict_journal::Journal;
use latrace_questions::verifiers::{Answered, Verifiers};

/// Responses judged before their verdicts are saved: enough to occupy every core, and seconds of work.
const WINDOW: usize = 2048;
/// The same for programs: each may run for minutes, which an interruption would lose.
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

impl Scored {
    /// How many of its responses are correct.
    pub fn tally(&self) -> Tally {
        let right = self.responses.iter().filter(|response| response.is_right()).count();
        Tally { right, samples: self.responses.len() }
    }
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
    /// Whether it has no thought, and is judged as a whole unless it was truncated.
    pub without_thought: bool,
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

/// A question of a window, with its responses.
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
pub fn judge(plan: &BenchmarkRun, verifiers: &Verifiers, responses: &Responses) -> Result<Vec<Scored>> {
    let path = plan.out.join(RESULTS);
    let mut judge = Judge::new(plan, verifiers, responses, &path)?;
    write_atomically(&path, |writer| judge.write_all(writer))?;
    // Only now: until the results are in place, the journal is all that a killed run would leave.
    judge.journal.close()?;
    judge.progress.finish();
    Ok(judge.scored)
}

/// How to judge the answers to a question of a benchmark.
pub(super) fn query(benchmark: &Benchmark, id: &str, item: &Item) -> Result<Query> {
    let mut row = item.reference.row(benchmark.kind, benchmark.convention.as_deref());
    row.insert("id".to_owned(), json!(id));
    // The text too, which has the numbers of tests in full.
    let text = row_text(&row)?;
    Query::of(&row, Some(&text), benchmark.time_limit)
        .map_err(|problem| anyhow!("{problem}"))
        .with_context(|| format!("question {id}"))
}

/// Everything that verdicts depend on except the responses.
fn described(plan: &BenchmarkRun, verifiers: &Verifiers) -> Result<String> {
    let mut description = json!({
        "benchmark": plan.benchmark,
        "data": plan.data_checksums()?,
        "markers": plan.markers,
        "subsets": plan.chosen.subsets,
        "limit": plan.chosen.limit,
    });
    if plan.benchmark.kind == Kind::Command {
        description["verifier"] = json!([plan.verifier, verifiers.checksums()]);
    }
    Ok(description.to_string())
}

struct Judge<'a> {
    plan: &'a BenchmarkRun,
    all: &'a Responses,
    verifiers: &'a Verifiers,
    scored: Vec<Scored>,
    journal: Journal,
    progress: Progress,
}

impl<'a> Judge<'a> {
    /// A judge of responses, with the journal beside the results in `path`.
    fn new(
        plan: &'a BenchmarkRun,
        verifiers: &'a Verifiers,
        all: &'a Responses,
        path: &Path,
    ) -> Result<Judge<'a>> {
        let description = described(plan, verifiers)?;
        let journal = Journal::open(&Output::File(path.to_owned()), &all.file, &description)?;
        if journal.count_earlier() > 0 {
            tracing::info!("{} responses were already judged by an interrupted run", journal.count_earlier());
        }
        let progress = Progress::new("responses judged", 0, None);
        Ok(Judge { plan, all, verifiers, scored: Vec::new(), journal, progress })
    }

    /// Judges all questions, window by window, and writes their results as one object.
    fn write_all(&mut self, writer: &mut impl Write) -> Result<()> {
        let plan = self.plan;
        writer.write_all(b"{").context("cannot write results")?;
        let (mut window, mut place) = (Vec::new(), 0);
        // Questions are read a second time, now with their references: tests of programs may exceed memory.
        for_each(&plan.benchmark, &plan.files, &plan.chosen, |id, item| {
            let responses = self.all.to(place, &id, &item)?;
            window.push(Question { place, id, item, responses });
            place += 1;
            if self.is_full(&window) { self.window(std::mem::take(&mut window), writer) } else { Ok(()) }
        })?;
        self.window(window, writer)?;
        writer.write_all(b"\n}\n").context("cannot write results")
    }

    fn is_full(&self, window: &[Question]) -> bool {
        let most = if self.plan.benchmark.kind == Kind::Code { WINDOW_PROGRAMS } else { WINDOW };
        window.iter().map(|question| question.responses.len()).sum::<usize>() >= most
    }

    /// Judges the questions of a window, and writes their results.
    fn window(&mut self, window: Vec<Question>, writer: &mut impl Write) -> Result<()> {
        let mut judgements = self.judgements(&window)?.into_iter();
        for question in &window {
            let of_question: Vec<Judgement> = judgements.by_ref().take(question.responses.len()).collect();
            self.keep(question, &of_question, writer)?;
        }
        Ok(())
    }

    /// The judgements on a window's responses, in their order: those of an interrupted run from its journal,
    /// then new ones, which are added to it.
    fn judgements(&mut self, window: &[Question]) -> Result<Vec<Judgement>> {
        // One query for all of a question's responses: its references are read once.
        let queries = window.iter().map(|question| query(&self.plan.benchmark, &question.id, &question.item));
        let queries = queries.collect::<Result<Vec<Query>>>()?;
        let all = window
            .iter()
            .zip(&queries)
            .flat_map(|(question, query)| question.responses.iter().map(move |response| (query, response)));
        let all: Vec<(&Query, &Response)> = all.collect();
        let mut judged = self.journal.take(all.len());
        let new = self.new_judgements(&all[judged.len()..])?;
        // A window at a time: what a kill can lose is the judging of one.
        self.journal.add(&new)?;
        judged.extend(new);
        self.progress.advance(all.len() as u64);
        Ok(judged)
    }

    fn new_judgements(&self, of: &[(&Query, &Response)]) -> Result<Vec<Judgement>> {
        let answers: Vec<Option<Answered<'_>>> =
            of.iter().map(|(query, response)| self.answered(query, response)).collect();
        let given: Vec<Answered<'_>> = answers.iter().copied().flatten().collect();
        let mut judged = self.verifiers.judge_all(&given)?.into_iter();
        let none = || Judgement::new(Reason::NoAnswer, None);
        Ok(answers.iter().map(|answer| answer.and_then(|_| judged.next()).unwrap_or_else(none)).collect())
    }

    fn answered<'b>(&self, query: &'b Query, response: &'b Response) -> Option<Answered<'b>> {
        Some((query, response.answer(&self.plan.markers).text()?))
    }

    fn keep(&mut self, question: &Question, judgements: &[Judgement], writer: &mut impl Write) -> Result<()> {
        let prompt = self.all.prompt(question.place);
        self.scored.push(self.scored_question(question, judgements, prompt.map_or(0, |(_, tokens)| tokens)));
        results::write(question, judgements, prompt, writer)
    }

    fn scored_question(&self, question: &Question, judgements: &[Judgement], prompt_tokens: u64) -> Scored {
        let responses = question.responses.iter().zip(judgements);
        let responses = responses.map(|(response, judgement)| self.summarised(response, judgement));
        Scored { subset: question.item.subset.clone(), prompt_tokens, responses: responses.collect() }
    }

    /// What the summary needs of a judged response: not its text, which would keep a whole evaluation in
    /// memory.
    fn summarised(&self, response: &Response, judgement: &Judgement) -> JudgedResponse {
        let answer = response.answer(&self.plan.markers);
        JudgedResponse {
            reason: judgement.reason,
            truncated: response.is_truncated(),
            unclosed: answer.is_unclosed(),
            without_thought: answer.is_without_thought(),
            tokens: response.tokens,
            thought_tokens: response.thought_tokens,
        }
    }
}
