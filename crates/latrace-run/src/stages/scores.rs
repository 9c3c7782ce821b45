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

/// Scores the traces of all parts: the finished ones, or all.
///
/// # Errors
/// A model that cannot be loaded, tables that cannot be read or written.
pub fn run(settings: &ScoreSettings, work: StageWork<'_>) -> Result<Value> {
    let (questions, traces) = (work.input(Role::Questions)?, work.input(Role::Traces)?);
    let out = work.output();
    let mut counts = ScoreCounts::default();
    let missing = missing_parts(&traces, &out, &mut counts)?.parts;
    let mut progress = parts_progress("parts scored", traces.parts()?, missing.len());
    let model = work.model()?;
    let references = if settings.references { Some(ModelShape::read(model)?.positions) } else { None };
    let counts = SharedCounts::new(counts);
    let ScoreSettings { hinted, unfinished, .. } = *settings;
    let scored = ScoredTraces { questions, traces, out, hinted, unfinished, references, counts };
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

/// The traces of a table, as rows to score.
struct ScoredTraces {
    questions: Table<QuestionTokens>,
    traces: Table<TraceTokens>,
    out: Table<ScoreRecord>,
    /// Whether the traces are scored after the prompt with the hint.
    hinted: bool,
    /// Whether unfinished traces are scored too.
    unfinished: bool,
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
        // Most methods never use unfinished traces, so scoring them would be wasted.
        let is_scored = |trace: &TraceTokens| trace.closed || self.unfinished;
        let scored = self.traces.read(part)?.into_iter().filter(is_scored);
        scored.map(|trace| self.row(question_of(&questions, &trace.id)?, trace)).collect()
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
    let found = questions.iter().find(|question| question.id == id);
    found.with_context(|| format!("the part has no question {id}"))
}

impl ScoredTraces {
    /// A trace, its name in messages, and the row to score: the trace after the prompt of the model that scores,
    /// the reasoner's without a hint or the posterior's with it.
    fn row(&self, question: &QuestionTokens, trace: TraceTokens) -> Result<(Trace, String, ScoreRow)> {
        let TraceTokens { id, sample, token_ids, .. } = trace;
        let prompt = prompt(question, self.hinted)?.to_vec();
        let before = prompt.len() + token_ids.len();
        let fits = |answer: &&[u32]| self.references.is_some_and(|most| before + answer.len() <= most);
        let answer = question.answer_ids.as_deref().filter(fits).unwrap_or(&[]);
        let row = ScoreRow { prompt, response: [token_ids.as_slice(), answer].concat() };
        let name = format!("{id}/{sample}");
        Ok((Trace { id, sample, tokens: token_ids.len() }, name, row))
    }
}

/// A question's prompt, with the hint or without.
pub(super) fn prompt(question: &QuestionTokens, hinted: bool) -> Result<&[u32]> {
    if !hinted {
        return Ok(&question.prompt_ids);
    }
    let with_hint = question.posterior_prompt_ids.as_deref();
    with_hint.with_context(|| format!("question {} has no hint", question.id))
}

/// Refuses a log-prob by which a weight would become infinite or NaN, and through the normaliser every weight of the run.
pub(super) fn check_finite(id: &str, sample: u64, logp: &[f32]) -> Result<()> {
    match logp.iter().find(|logp| !logp.is_finite()) {
        Some(logp) => bail!("id {id}, sample {sample}: a log-prob is {logp}"),
        None => Ok(()),
    }
}

fn record(trace: Trace, logp: &[f32]) -> Result<ScoreRecord> {
    let Trace { id, sample, tokens } = trace;
    check_finite(&id, sample, logp)?;
    let (of_trace, of_answer) = logp.split_at(tokens);
    let reference_logprobs = Some(of_answer.to_vec()).filter(|logp| !logp.is_empty());
    Ok(ScoreRecord { id, sample, logprobs: of_trace.to_vec(), reference_logprobs })
}

#[cfg(test)]
mod tests {
    use latrace_core::Split;

    use super::*;
    use crate::pipeline::records::TraceRecord;
    use crate::stages::testing::question;

    fn scored(hinted: bool, references: Option<usize>) -> ScoredTraces {
        let folder = std::path::Path::new("nowhere");
        ScoredTraces {
            questions: Table::open(folder),
            traces: Table::open(folder),
            out: Table::open(folder),
            hinted,
            unfinished: false,
            references,
            counts: SharedCounts::new(ScoreCounts::default()),
        }
    }

    #[test]
    fn the_reference_answer_is_scored_where_the_context_has_room_for_it() {
        let question = QuestionTokens {
            id: "q".to_owned(),
            prompt_ids: vec![1, 2, 3],
            posterior_prompt_ids: Some(vec![1, 2, 7, 3]),
            answer_ids: Some(vec![92, 93]),
        };
        let trace = || TraceTokens { id: "q".to_owned(), sample: 1, token_ids: vec![10, 5], closed: true };
        let response = |references| {
            let (of, name, row) = scored(false, references).row(&question, trace()).unwrap();
            assert_eq!((of.tokens, name.as_str(), row.prompt), (2, "q/1", vec![1, 2, 3]));
            row.response
        };
        let (.., row) = scored(true, None).row(&question, trace()).unwrap();
        assert_eq!(row.prompt, [1, 2, 7, 3]);
        let unhinted = QuestionTokens { posterior_prompt_ids: None, ..question.clone() };
        let error = scored(true, None).row(&unhinted, trace()).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "question q has no hint");
        assert_eq!(response(Some(7)), [10, 5, 92, 93]);
        assert_eq!(response(Some(6)), [10, 5]);
        assert_eq!(response(None), [10, 5]);
    }

    #[test]
    fn unfinished_traces_are_scored_where_they_are_learnt() {
        let folder = tempfile::tempdir().unwrap();
        let (questions, traces) = (folder.path().join("questions"), folder.path().join("traces"));
        [&questions, &traces].into_iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
        Table::create(&questions, "key").write(0, &[question("q", Split::Train)]).unwrap();
        let trace = |(sample, (token_ids, closed)): (u64, (Vec<u32>, bool))| {
            let logprobs = vec![-0.5; token_ids.len()];
            TraceRecord { id: "q".to_owned(), sample, token_ids, logprobs, closed }
        };
        let all = [(vec![10, 5], true), (vec![10], false)];
        let records: Vec<TraceRecord> = (0..).zip(all).map(trace).collect();
        Table::create(&traces, "key").write(0, &records).unwrap();
        let read = |unfinished| {
            let (questions, traces) = (Table::open(&questions), Table::open(&traces));
            let scored = ScoredTraces { questions, traces, unfinished, ..scored(true, None) };
            scored.read(0).unwrap().into_iter().map(|(trace, ..)| trace.sample).collect::<Vec<_>>()
        };
        assert_eq!((read(false), read(true)), (vec![0], vec![0, 1]));
    }

    #[test]
    fn a_score_is_of_the_trace_and_of_the_answer_after_it() {
        let of = |logp: &[f32]| record(Trace { id: "q".to_owned(), sample: 1, tokens: 2 }, logp);
        let both = of(&[-1.0, -2.0, -3.0]).unwrap();
        assert_eq!((both.logprobs, both.reference_logprobs), (vec![-1.0, -2.0], Some(vec![-3.0])));
        assert_eq!(of(&[-1.0, -2.0]).unwrap().reference_logprobs, None);
        for wrong in [f32::NAN, f32::NEG_INFINITY] {
            let error = of(&[-1.0, wrong]).unwrap_err().to_string();
            assert!(error.starts_with("id q, sample 1: a log-prob is"), "{error}");
        }
    }
}
