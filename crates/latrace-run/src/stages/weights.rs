//! Stage 7: rho~ of each trace, the bounds, and which traces are chosen.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Reason, Verdict};
use latrace_objective::{
    AnswerAccuracy, AnswerEvidence, AnswerScore, Fallback, JudgedAnswer, Resolution, SampledRest, TraceScore,
};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::StageWork;
use crate::join::{Join, QuestionTraces, all_matched, name, put_once, twice};
use crate::pipeline::records::{ScoreRecord, VerdictRecord, WeightRecord};
use crate::pipeline::views::{QuestionKind, TraceLogprobs};
use crate::plan::{Role, WeightSettings};
use crate::weigh::{Evidence, Fallbacks, TraceGroup, WeighedTrace, weigh_groups};
use latrace_io::table::Table;
use latrace_io::tensorboard::EventWriter;

/// Weighs finished traces; only the accuracy estimator needs verdicts. Without scores, the traces are pi's own,
/// as those that q learns from are: pi / pi is 1.
///
/// # Errors
/// Records that do not join; missing evidence for the answer estimator.
pub fn run(settings: &WeightSettings, work: StageWork<'_>) -> Result<Value> {
    let parts = Tables::open(work, settings)?.read_all()?;
    let lengths: Vec<usize> = parts.iter().map(|groups| count(groups)).collect();
    // All parts at once: the summary's means and intervals are over all questions.
    let groups = parts.into_iter().flatten().collect();
    let (weighed, summary) = weigh_groups(groups, &settings.weigh, &settings.drawn)?;
    draw(&work.stage.path, &weighed)?;
    write(&work.output(), weighed, &lengths)?;
    Ok(summary.to_json())
}

/// Writes histograms of the weights and of the log-ratios to a TensorBoard event file in the stage's folder.
fn draw(folder: &Path, weighed: &[WeighedTrace]) -> Result<()> {
    let of = |number: fn(&WeighedTrace) -> f64| weighed.iter().map(number).collect::<Vec<f64>>();
    let (weights, log_ratios) = (of(|trace| trace.weight), of(|trace| trace.log_ratio));
    let mut events = EventWriter::create(folder, 0)?;
    events.histograms(0, &[("weights/weight", &weights), ("weights/log_ratio", &log_ratios)])?;
    events.flush()
}

/// Writes the weights in parts that hold the traces of the parts that they were read from.
fn write(out: &Table<WeightRecord>, weighed: Vec<WeighedTrace>, lengths: &[usize]) -> Result<()> {
    let mut records = weighed.into_iter().map(record);
    for (part, &count) in lengths.iter().enumerate() {
        out.write(part, &records.by_ref().take(count).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Traces of a part's groups.
fn count(groups: &[TraceGroup]) -> usize {
    groups.iter().map(|group| group.traces.len()).sum()
}

struct Tables {
    /// Where their kinds decide something.
    questions: Option<Table<QuestionKind>>,
    fallbacks: Fallbacks,
    traces: Table<TraceLogprobs>,
    scores: Option<Table<ScoreRecord>>,
    verdicts: Option<Table<VerdictRecord>>,
    /// The share of the traces that pi drew, if they are a mixture.
    mixture: f64,
}

/// What weighs a trace.
#[derive(Default)]
struct OnTrace {
    score: Option<ScoreRecord>,
    /// In order of the answers, as stage 6 writes them.
    answers: Vec<JudgedAnswer>,
    /// Whether nothing can judge them.
    unverified: bool,
}

impl OnTrace {
    fn put_score(_: &TraceLogprobs, on: &mut OnTrace, score: ScoreRecord) -> Result<()> {
        put_once(&mut on.score, score)
    }

    fn put_verdict(_: &TraceLogprobs, on: &mut OnTrace, record: VerdictRecord) -> Result<()> {
        let (verdict, is_reference) = (record.verdict(), record.is_reference);
        on.unverified |= record.reason == Reason::NoVerifier;
        on.answers.push(JudgedAnswer { verdict, is_reference });
        Ok(())
    }
}

impl Tables {
    fn open(work: StageWork<'_>, settings: &WeightSettings) -> Result<Tables> {
        Ok(Tables {
            questions: work.inputs.optional(Role::Questions).map(Table::open),
            fallbacks: settings.weigh.fallbacks,
            traces: work.input(Role::Traces)?,
            scores: work.inputs.optional(Role::Scores).map(Table::open),
            verdicts: work.inputs.optional(Role::Verdicts).map(Table::open),
            mixture: settings.mixture,
        })
    }

    /// The evidence of all parts, each by question.
    fn read_all(&self) -> Result<Vec<Vec<TraceGroup>>> {
        (0..self.traces.parts()?).into_par_iter().map(|part| self.read(part)).collect()
    }

    /// The evidence on a part's traces, by question.
    fn read(&self, part: usize) -> Result<Vec<TraceGroup>> {
        let mut join = Join::<TraceLogprobs, OnTrace>::new(self.traces.read(part)?, twice)?;
        if let Some(scores) = &self.scores {
            all_matched(&join.add(scores.read(part)?, OnTrace::put_score)?)?;
        }
        if let Some(verdicts) = &self.verdicts {
            all_matched(&join.add(verdicts.read(part)?, OnTrace::put_verdict)?)?;
        }
        let fallbacks = self.fallbacks_of(part)?;
        let of_question = |question: QuestionTraces<TraceLogprobs, OnTrace>| {
            let fallback = fallbacks.get(&question.id).copied();
            self.group(question, fallback)
        };
        join.into_questions().into_iter().map(of_question).collect()
    }

    /// The score against what drew the traces: q, or the mixture of pi and q.
    fn against_proposal(&self, score: TraceScore) -> TraceScore {
        if self.mixture > 0.0 { score.against_mixture(self.mixture) } else { score }
    }

    /// The fallbacks of a part's questions whose kinds have their own.
    fn fallbacks_of(&self, part: usize) -> Result<HashMap<String, Fallback>> {
        let Some(questions) = &self.questions else { return Ok(HashMap::new()) };
        let own = |QuestionKind { id, kind }| Some((id, self.fallbacks.of(&kind)?));
        Ok(questions.read(part)?.into_iter().filter_map(own).collect())
    }

    fn group(
        &self,
        question: QuestionTraces<TraceLogprobs, OnTrace>,
        fallback: Option<Fallback>,
    ) -> Result<TraceGroup> {
        let QuestionTraces { id, traces, .. } = question;
        let unverified = traces.iter().any(|(_, on)| on.unverified);
        let (closed, unended): (Vec<_>, Vec<_>) = traces.into_iter().partition(|(trace, _)| trace.closed);
        let evidence = closed.into_iter().map(|(trace, on)| self.evidence(&trace, on));
        let (id, traces) = (json!(id), evidence.collect::<Result<_>>()?);
        Ok(TraceGroup { id, traces, unended: unended.len(), unverified, fallback })
    }

    fn evidence(&self, trace: &TraceLogprobs, on: OnTrace) -> Result<Evidence> {
        let score = match &self.scores {
            Some(_) => on.score.with_context(|| format!("{} has no score", name(trace)))?,
            None => own_score(trace),
        };
        let verdicts: Vec<Verdict> = on.answers.iter().map(|answer| answer.verdict).collect();
        // What nothing could judge is no evidence: the answers are neither right nor wrong.
        let judged = self.verdicts.as_ref().filter(|_| !on.unverified);
        let answer = AnswerEvidence {
            accuracy: judged.map(|_| AnswerAccuracy::from_verdicts(&verdicts)).transpose()?,
            reference: score.reference_logprobs.as_deref().map(summed),
            rest: judged.map(|_| SampledRest::from_answers(&on.answers)).transpose()?,
        };
        Ok(Evidence {
            id: json!(trace.id),
            sample: trace.sample,
            score: self.against_proposal(TraceScore::from_tokens(&score.logprobs, &trace.logprobs)?),
            ended: true,
            answer,
        })
    }
}

/// The score of a trace under the model that sampled it.
fn own_score(trace: &TraceLogprobs) -> ScoreRecord {
    let TraceLogprobs { id, sample, logprobs, .. } = trace.clone();
    ScoreRecord { id, sample, logprobs, reference_logprobs: None }
}

/// The log-prob of an answer, summed in f64: thousands of terms of f32 would lose digits.
fn summed(logp: &[f32]) -> AnswerScore {
    AnswerScore { logp_sum: logp.iter().copied().map(f64::from).sum(), tokens: logp.len() }
}

fn record(trace: WeighedTrace) -> WeightRecord {
    WeightRecord {
        id: trace.id.as_str().map_or_else(|| trace.id.to_string(), str::to_owned),
        sample: trace.sample,
        log_ratio: finite(trace.log_ratio),
        log_answer: finite(trace.log_answer),
        weight: trace.weight,
        chosen: trace.chosen,
        by_reference: trace.resolution == Resolution::GeometricLikelihood,
    }
}

/// A logarithm, `None` for minus infinity, which JSON, and so `latrace weigh`, can only write as null.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(sample: u64, closed: bool) -> TraceLogprobs {
        TraceLogprobs { id: "q".to_owned(), sample, logprobs: vec![-1.0, -0.5], closed }
    }

    fn tables(traces: &Path, scores: Option<&Path>) -> Tables {
        Tables {
            questions: None,
            fallbacks: Fallbacks::default(),
            traces: Table::open(traces),
            scores: scores.map(Table::open),
            verdicts: None,
            mixture: 0.0,
        }
    }

    #[test]
    fn traces_without_an_end_are_counted_and_not_weighed() {
        let folder = tempfile::tempdir().unwrap();
        let records = [0, 1, 2].map(|sample| crate::pipeline::records::TraceRecord {
            id: "q".to_owned(),
            sample,
            token_ids: vec![10, 5],
            logprobs: vec![-1.0, -0.5],
            closed: sample == 1,
        });
        Table::create(folder.path(), "key").write(0, &records).unwrap();
        let tables = tables(folder.path(), None);
        let groups = tables.read(0).unwrap();
        assert_eq!((groups.len(), count(&groups), groups[0].unended), (1, 1, 2));
        // Without scores, the traces are those of the model itself.
        assert_eq!((groups[0].traces[0].sample, groups[0].traces[0].score.log_ratio_sum()), (1, 0.0));
    }

    #[test]
    fn a_score_that_is_missing_is_named() {
        let nowhere = Path::new("nowhere");
        let tables = tables(nowhere, Some(nowhere));
        let error = tables.evidence(&trace(4, true), OnTrace::default()).unwrap_err().to_string();
        assert_eq!(error, "id q, sample 4 has no score");
    }

    #[test]
    fn a_weight_says_whether_the_reference_answer_follows_its_trace() {
        let of = |resolution| {
            let weighed = WeighedTrace {
                id: json!("q"),
                sample: 1,
                tokens: 2,
                log_ratio: f64::NEG_INFINITY,
                log_answer: -0.5,
                weight: 0.25,
                chosen: 1.0,
                resolution,
            };
            record(weighed)
        };
        let main = of(Resolution::Main);
        assert_eq!(
            (main.log_ratio, main.log_answer, main.weight, main.chosen),
            (None, Some(-0.5), 0.25, 1.0)
        );
        let all =
            [Resolution::Main, Resolution::GeometricLikelihood, Resolution::OriginalRow, Resolution::Skipped];
        assert_eq!(all.map(|resolution| of(resolution).by_reference), [false, true, false, false]);
    }
}
