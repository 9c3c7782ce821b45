//! Stage 8 of a self-distillation: the reasoner's own traces after its own prompt, each token with the gap between its
//! log-prob under q, which sees the hint, and that under pi, or under q with another question's hint. Unfinished traces
//! are learnt as others are: their tokens have advantages whatever they lead to.

use anyhow::{Context, Result};
use latrace_objective::objectives::self_distillation;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::StageWork;
use super::scores::question_of;
use crate::join::{Join, all_matched, name, put_once, twice};
use crate::pipeline::records::{ExampleRecord, ScoreRecord, TraceRecord};
use crate::pipeline::views::QuestionTokens;
use crate::plan::{DistillationSettings, Role};
use crate::recipe::run::Contrast;
use latrace_io::table::Table;

/// Builds the examples, in the same parts as the questions.
///
/// # Errors
/// Traces and scores that do not match; tables that cannot be read or written.
pub fn run(settings: &DistillationSettings, work: StageWork<'_>) -> Result<Value> {
    let tables = Tables::open(settings.contrast, work)?;
    let parts = (0..tables.questions.parts()?).into_par_iter();
    let of_parts: Vec<Totals> = parts.map(|part| tables.write(part)).collect::<Result<_>>()?;
    // In order of the parts: sums must not depend on which of them is written first.
    Ok(serde_json::to_value(of_parts.iter().fold(Totals::default(), Totals::plus).counts())?)
}

struct Tables {
    questions: Table<QuestionTokens>,
    traces: Table<TraceRecord>,
    scores: Table<ScoreRecord>,
    contrast: Option<Table<ScoreRecord>>,
    out: Table<ExampleRecord>,
}

/// log q of a trace's tokens under its question's hint, and under another's.
#[derive(Default)]
struct OnTrace {
    right: Option<ScoreRecord>,
    wrong: Option<ScoreRecord>,
}

impl Tables {
    fn open(contrast: Contrast, work: StageWork<'_>) -> Result<Tables> {
        let has_contrast = contrast == Contrast::WrongHint;
        Ok(Tables {
            questions: work.input(Role::Questions)?,
            traces: work.input(Role::Traces)?,
            scores: work.input(Role::Scores)?,
            contrast: has_contrast.then(|| work.input(Role::ContrastScores)).transpose()?,
            out: work.output(),
        })
    }

    fn write(&self, part: usize) -> Result<Totals> {
        let mut join = Join::new(self.traces.read(part)?, twice)?;
        let put = |_: &TraceRecord, on: &mut OnTrace, record| put_once(&mut on.right, record);
        all_matched(&join.add(self.scores.read(part)?, put)?)?;
        if let Some(contrast) = &self.contrast {
            let put = |_: &TraceRecord, on: &mut OnTrace, record| put_once(&mut on.wrong, record);
            all_matched(&join.add(contrast.read(part)?, put)?)?;
        }
        let questions = self.questions.read(part)?;
        let (mut totals, mut examples) = (Totals::default(), Vec::new());
        for sampled in join.into_questions() {
            let question = question_of(&questions, &sampled.id)?;
            totals.questions += 1;
            for (trace, on) in sampled.traces {
                examples.extend(example(question, trace, on, self.contrast.is_some(), &mut totals)?);
            }
        }
        self.out.write(part, &examples)?;
        Ok(totals)
    }
}

/// The example of a trace; none if no token has an advantage.
fn example(
    question: &QuestionTokens,
    trace: TraceRecord,
    on: OnTrace,
    has_contrast: bool,
    totals: &mut Totals,
) -> Result<Option<ExampleRecord>> {
    totals.unfinished += u64::from(!trace.closed);
    let missing = || format!("{} has no score", name(&trace));
    let right = on.right.with_context(missing)?;
    let wrong = if has_contrast { Some(on.wrong.with_context(missing)?) } else { None };
    let baseline = wrong.as_ref().map_or(&trace.logprobs, |wrong| &wrong.logprobs);
    let advantage_t = self_distillation::advantages(&right.logprobs, baseline)?;
    totals.add(&advantage_t);
    if advantage_t.iter().all(|advantage| *advantage == 0.0) {
        return Ok(None);
    }
    totals.built += 1;
    Ok(Some(ExampleRecord {
        id: trace.id,
        source: trace.sample as i64,
        prompt_ids: question.prompt_ids.clone(),
        trace_tokens: trace.token_ids.len() as u64,
        response_ids: trace.token_ids,
        weight: 1.0,
        given: 0,
        old_logprobs: Some(trace.logprobs),
        advantages: Some(advantage_t.into_iter().map(|advantage| advantage as f32).collect()),
    }))
}

/// Counts, and sums over tokens.
#[derive(Clone, Debug, Default)]
struct Totals {
    questions: u64,
    built: u64,
    unfinished: u64,
    tokens: u64,
    advantage: f64,
    size: f64,
}

impl Totals {
    fn add(&mut self, advantage_t: &[f64]) {
        self.tokens += advantage_t.len() as u64;
        self.advantage += advantage_t.iter().sum::<f64>();
        self.size += advantage_t.iter().map(|advantage| advantage.abs()).sum::<f64>();
    }

    fn plus(self, other: &Totals) -> Totals {
        Totals {
            questions: self.questions + other.questions,
            built: self.built + other.built,
            unfinished: self.unfinished + other.unfinished,
            tokens: self.tokens + other.tokens,
            advantage: self.advantage + other.advantage,
            size: self.size + other.size,
        }
    }

    fn counts(&self) -> DistillationCounts {
        let Totals { questions, built, unfinished, tokens, advantage, size } = *self;
        let mean = |sum: f64| (tokens > 0).then(|| sum / tokens as f64);
        let (mean_advantage, mean_size) = (mean(advantage), mean(size));
        DistillationCounts { questions, built, unfinished, tokens, mean_advantage, mean_size }
    }
}

#[derive(Serialize)]
struct DistillationCounts {
    questions: u64,
    built: u64,
    unfinished: u64,
    tokens: u64,
    /// Nats per token. Without a contrast, its negative estimates the KL of the next token from pi to q.
    mean_advantage: Option<f64>,
    mean_size: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> QuestionTokens {
        QuestionTokens {
            id: "q".to_owned(),
            prompt_ids: vec![1, 2, 3],
            posterior_prompt_ids: Some(vec![1, 2, 3, 4]),
            answer_ids: None,
        }
    }

    fn trace(tokens: &[u32], closed: bool) -> TraceRecord {
        let logprobs = vec![-1.0; tokens.len()];
        TraceRecord { id: "q".to_owned(), sample: 2, token_ids: tokens.to_vec(), logprobs, closed }
    }

    fn score(logprobs: &[f32]) -> Option<ScoreRecord> {
        let logprobs = logprobs.to_vec();
        Some(ScoreRecord { id: "q".to_owned(), sample: 2, logprobs, reference_logprobs: None })
    }

    #[test]
    fn a_tokens_advantage_is_its_gap_to_the_sampler_or_to_the_wrong_hint() {
        let mut totals = Totals::default();
        let mut build = |has_contrast| {
            let on = OnTrace { right: score(&[-0.5, -3.0]), wrong: score(&[-0.75, -3.5]) };
            example(&question(), trace(&[10, 5], false), on, has_contrast, &mut totals).unwrap().unwrap()
        };
        let plain = build(false);
        assert_eq!(plain.advantages, Some(vec![0.5, -2.0]));
        assert_eq!((&plain.prompt_ids[..], &plain.response_ids[..]), (&[1, 2, 3][..], &[10, 5][..]));
        assert_eq!((plain.source, plain.weight, plain.trace_tokens, plain.given), (2, 1.0, 2, 0));
        assert_eq!(plain.old_logprobs, Some(vec![-1.0, -1.0]));
        assert_eq!(build(true).advantages, Some(vec![0.25, 0.5]));
        let counts = serde_json::to_value(totals.clone().plus(&totals).counts()).unwrap();
        let expected = serde_json::json!({
            "questions": 0, "built": 4, "unfinished": 4, "tokens": 8, "mean_advantage": -0.1875, "mean_size": 0.8125,
        });
        assert_eq!(counts, expected);
    }

    #[test]
    fn what_has_no_advantage_is_no_example_and_a_missing_score_is_an_error() {
        let mut totals = Totals::default();
        let mut build = |trace, on, has_contrast| {
            example(&question(), trace, on, has_contrast, &mut totals).map(|built| built.is_some())
        };
        let same = OnTrace { right: score(&[-1.0, -1.0]), wrong: None };
        assert!(!build(trace(&[10, 5], true), same, false).unwrap());
        let only_right = OnTrace { right: score(&[-1.0, -1.0]), wrong: None };
        let error = build(trace(&[10, 5], true), only_right, true).unwrap_err();
        assert_eq!(error.to_string(), "id q, sample 2 has no score");
        assert!(build(trace(&[10, 5], true), OnTrace::default(), false).is_err());
        assert_eq!((totals.built, totals.counts().mean_advantage), (0, Some(0.0)));
    }
}
