//! Stage 4: log pi_theta0 of each trace, and of the question's own answer after it if an estimator or a bound
//! needs it.

use anyhow::{Context, Result, bail};
use latrace_engine::ModelShape;
use latrace_engine::boundary::ScoreRow;
use latrace_engine::scoring::{PartScores, score_parts};
use serde::Serialize;
use serde_json::Value;

use super::{Counts, SharedCounts, StageWork, missing_parts, parts_progress};
use crate::pipeline::records::ScoreRecord;
use crate::pipeline::views::{QuestionTokens, TraceTokens};
use crate::plan::{Role, ScoreSettings};
use latrace_io::table::Table;

/// Scores the finished traces of all parts.
///
/// # Errors
/// A model that cannot be loaded, tables that cannot be read or written.
pub fn run(settings: &ScoreSettings, work: StageWork<'_>) -> Result<Value> {
    let (questions, traces) = (work.input(Role::Questions)?, work.input(Role::Traces)?);
    let out = work.output();
    let mut counts = ScoreCounts::default();
    let missing = missing_parts(&traces, &out, &mut counts)?;
    let mut progress = parts_progress("parts scored", traces.parts()?, missing.len());
    let model = work.model()?;
    let references = if settings.references { Some(ModelShape::read(model)?.positions) } else { None };
    let counts = SharedCounts::new(counts);
    let hinted = settings.hinted;
    let scored = ScoredTraces { questions, traces, out, hinted, references, counts };
    score_parts(missing, &scored, || work.context.engine.scorer(model), &mut progress)?;
    progress.finish();
    Ok(serde_json::to_value(scored.counts.into_inner())?)
}

#[derive(Default, Serialize)]
struct ScoreCounts {
    scored: u64,
}

impl Counts<ScoreRecord> for ScoreCounts {
    fn add(&mut self, _: &ScoreRecord) {
        self.scored += 1;
    }
}

/// The finished traces of a table, as rows to score.
struct ScoredTraces {
    questions: Table<QuestionTokens>,
    traces: Table<TraceTokens>,
    out: Table<ScoreRecord>,
    /// Whether the traces are scored after the prompt with the hint.
    hinted: bool,
    counts: SharedCounts<ScoreCounts>,
    /// Whether the question's own answer is scored after each of its traces, and the tokens that the model's
    /// context has room for.
    references: Option<usize>,
}

/// A trace: its question, k, and its token ids.
struct Trace {
    id: String,
    sample: u64,
    tokens: usize,
}

impl PartScores for ScoredTraces {
    type Of = Trace;

    fn read(&self, part: usize) -> Result<Vec<(Trace, String, ScoreRow)>> {
        let questions = self.questions.read(part)?;
        // Unfinished traces are never used, so scoring them would be wasted.
        let closed = self.traces.read(part)?.into_iter().filter(|trace| trace.closed);
        closed.map(|trace| self.row(question_of(&questions, &trace.id)?, trace)).collect()
    }

    fn write(&self, part: usize, scores: Vec<(Trace, Vec<f32>)>) -> Result<()> {
        let records: Vec<ScoreRecord> =
            scores.into_iter().map(|(trace, logp)| record(trace, &logp)).collect::<Result<_>>()?;
        self.counts.add_all(&records);
        self.out.write(part, &records)
    }
}

/// The question with an id, in the same part.
pub fn question_of<'a>(questions: &'a [QuestionTokens], id: &str) -> Result<&'a QuestionTokens> {
    questions
        .iter()
        .find(|question| question.id == id)
        .with_context(|| format!("the part has no question {id}"))
}

impl ScoredTraces {
    /// A trace, its name in messages, and the row to score: the trace after the prompt of the model that scores,
    /// the reasoner's without a hint or the posterior's with it.
    fn row(&self, question: &QuestionTokens, trace: TraceTokens) -> Result<(Trace, String, ScoreRow)> {
        let TraceTokens { id, sample, token_ids, .. } = trace;
        let prompt = self.prompt(question)?.to_vec();
        let before = prompt.len() + token_ids.len();
        let fits = |answer: &&[u32]| self.references.is_some_and(|most| before + answer.len() <= most);
        let answer = question.answer_ids.as_deref().filter(fits).unwrap_or(&[]);
        let row = ScoreRow { prompt, response: [token_ids.as_slice(), answer].concat() };
        let name = format!("{id}/{sample}");
        Ok((Trace { id, sample, tokens: token_ids.len() }, name, row))
    }

    fn prompt<'a>(&self, question: &'a QuestionTokens) -> Result<&'a [u32]> {
        if !self.hinted {
            return Ok(&question.prompt_ids);
        }
        let with_hint = question.posterior_prompt_ids.as_deref();
        with_hint.with_context(|| format!("question {} has no hint", question.id))
    }
}

fn record(trace: Trace, logp: &[f32]) -> Result<ScoreRecord> {
    let Trace { id, sample, tokens } = trace;
    // A weight would become infinite or NaN, and through the normaliser every weight of the run.
    if let Some(logp) = logp.iter().find(|logp| !logp.is_finite()) {
        bail!("id {id}, sample {sample}: a log-prob is {logp}");
    }
    let (of_trace, of_answer) = logp.split_at(tokens);
    let reference_logprobs = Some(of_answer.to_vec()).filter(|logp| !logp.is_empty());
    Ok(ScoreRecord { id, sample, logprobs: of_trace.to_vec(), reference_logprobs })
}
