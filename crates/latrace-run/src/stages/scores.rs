//! Stage 4: log pi_theta0 of each trace, and of the question's own answer after it if an estimator or a bound
//! needs it.

use anyhow::{Context, Result, bail};
use latrace_engine::ModelShape;
use latrace_engine::boundary::ScoreRow;
use latrace_engine::scoring::{PartScores, score_parts};
use serde::Serialize;
use serde_json::Value;

use super::{Counts, missing_parts};
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::ScoreRecord;
use crate::pipeline::views::{QuestionTokens, TraceTokens};
use crate::plan::{Role, ScoreSettings};
use latrace_io::progress::Progress;
use latrace_io::table::Table;

/// Scores the finished traces of all parts.
///
/// # Errors
/// A model that cannot be loaded, tables that cannot be read or written.
pub fn run(
    settings: &ScoreSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let questions = Table::<QuestionTokens>::open(inputs.folder(Role::Questions)?);
    let traces = Table::<TraceTokens>::open(inputs.folder(Role::Traces)?);
    let out = Table::<ScoreRecord>::create(&stage.path, &stage.key());
    let mut counts = ScoreCounts::default();
    let missing = missing_parts(&traces, &out, &mut counts)?;
    let (parts, model) = (traces.parts()? as u64, inputs.folder(Role::Model)?);
    let mut progress = Progress::new("parts scored", parts - missing.len() as u64, Some(parts));
    let references = if settings.references { Some(ModelShape::read(model)?.positions) } else { None };
    let mut scored = ScoredTraces { questions, traces, out, references, counts };
    score_parts(missing, &mut scored, || context.engine.scorer(model), &mut progress)?;
    progress.finish();
    Ok(serde_json::to_value(scored.counts)?)
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
    counts: ScoreCounts,
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

    fn read(&mut self, part: usize) -> Result<Vec<(Trace, String, ScoreRow)>> {
        let questions = self.questions.read(part)?;
        let closed = self.traces.read(part)?.into_iter().filter(|trace| trace.closed);
        let row = |trace: TraceTokens| {
            let row = row(question_of(&questions, &trace.id)?, &trace, self.references);
            let (name, tokens) = (format!("{}/{}", trace.id, trace.sample), trace.token_ids.len());
            Ok((Trace { id: trace.id, sample: trace.sample, tokens }, name, row))
        };
        closed.map(row).collect()
    }

    fn write(&mut self, part: usize, scores: Vec<(Trace, Vec<f32>)>) -> Result<()> {
        let records: Vec<ScoreRecord> =
            scores.into_iter().map(|(trace, logp)| record(trace, &logp)).collect::<Result<_>>()?;
        records.iter().for_each(|record| self.counts.add(record));
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

fn row(question: &QuestionTokens, trace: &TraceTokens, references: Option<usize>) -> ScoreRow {
    let before = question.prompt_ids.len() + trace.token_ids.len();
    let fits = |answer: &&[u32]| references.is_some_and(|positions| before + answer.len() <= positions);
    let answer = question.answer_ids.as_deref().filter(fits).unwrap_or(&[]);
    ScoreRow { prompt: question.prompt_ids.clone(), response: [trace.token_ids.as_slice(), answer].concat() }
}

fn record(trace: Trace, logp: &[f32]) -> Result<ScoreRecord> {
    if let Some(logp) = logp.iter().find(|logp| !logp.is_finite()) {
        bail!("id {}, sample {}: a log-prob is {logp}", trace.id, trace.sample);
    }
    let (of_trace, of_answer) = logp.split_at(trace.tokens);
    Ok(ScoreRecord {
        id: trace.id,
        sample: trace.sample,
        logprobs: of_trace.to_vec(),
        reference_logprobs: (!of_answer.is_empty()).then(|| of_answer.to_vec()),
    })
}
