//! Stage 7: rho~ of each trace, the bounds, and which traces are chosen.

use anyhow::{Context, Result};
use latrace_core::Verdict;
use latrace_objective::{
    AnswerAccuracy, AnswerEvidence, AnswerScore, JudgedAnswer, Resolution, SampledRest, TraceScore,
};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::join::{Join, Question, all_matched, name, put_once, twice};
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{ScoreRecord, VerdictRecord, WeightRecord};
use crate::pipeline::views::TraceLogprobs;
use crate::plan::{Role, WeightSettings};
use crate::weigh::{Evidence, TraceGroup, WeighedTrace, weigh_groups};
use latrace_io::table::Table;

/// Weighs the traces that have scores; only the accuracy estimator needs verdicts.
///
/// # Errors
/// Records that do not join; missing evidence for the answer estimator.
pub fn run(settings: &WeightSettings, inputs: &Inputs, stage: &StageFolder) -> Result<Value> {
    let tables = Tables {
        traces: Table::open(inputs.folder(Role::Traces)?),
        scores: Table::open(inputs.folder(Role::Scores)?),
        verdicts: inputs.optional(Role::Verdicts).map(Table::open),
    };
    let parts: Vec<Vec<TraceGroup>> =
        (0..tables.traces.parts()?).into_par_iter().map(|part| tables.read(part)).collect::<Result<_>>()?;
    let traces = |groups: &Vec<TraceGroup>| groups.iter().map(|group| group.traces.len()).sum::<usize>();
    let lengths: Vec<usize> = parts.iter().map(traces).collect();
    let groups = parts.into_iter().flatten().collect();
    let (weighed, summary) = weigh_groups(groups, &settings.weigh, &settings.drawn)?;
    let out = Table::<WeightRecord>::create(&stage.path, &stage.key());
    let mut weighed = weighed.into_iter();
    for (part, count) in lengths.into_iter().enumerate() {
        out.write(part, &weighed.by_ref().take(count).map(record).collect::<Vec<_>>())?;
    }
    Ok(summary.to_json())
}

struct Tables {
    traces: Table<TraceLogprobs>,
    scores: Table<ScoreRecord>,
    verdicts: Option<Table<VerdictRecord>>,
}

/// What weighs a trace.
#[derive(Default)]
struct OnTrace {
    score: Option<ScoreRecord>,
    /// In order of the answers, as stage 6 writes them.
    answers: Vec<JudgedAnswer>,
}

impl Tables {
    /// The evidence on a part's traces, by question.
    fn read(&self, part: usize) -> Result<Vec<TraceGroup>> {
        let mut join = Join::<TraceLogprobs, OnTrace>::new(self.traces.read(part)?, twice)?;
        all_matched(&join.add(self.scores.read(part)?, |_, on, score| put_once(&mut on.score, score))?)?;
        if let Some(verdicts) = &self.verdicts {
            let put = |_: &TraceLogprobs, on: &mut OnTrace, record: VerdictRecord| {
                let (verdict, is_reference) = (record.verdict(), record.is_reference);
                on.answers.push(JudgedAnswer { verdict, is_reference });
                Ok(())
            };
            all_matched(&join.add(verdicts.read(part)?, put)?)?;
        }
        join.into_questions().into_iter().map(|question| self.group(question)).collect()
    }

    fn group(&self, question: Question<TraceLogprobs, OnTrace>) -> Result<TraceGroup> {
        let (closed, unended): (Vec<_>, Vec<_>) =
            question.traces.into_iter().partition(|(trace, _)| trace.closed);
        let traces =
            closed.into_iter().map(|(trace, on)| self.evidence(&trace, on)).collect::<Result<_>>()?;
        Ok(TraceGroup { id: json!(question.id), traces, unended: unended.len() })
    }

    fn evidence(&self, trace: &TraceLogprobs, on: OnTrace) -> Result<Evidence> {
        let score = on.score.with_context(|| format!("{} has no score", name(trace)))?;
        let verdicts: Vec<Verdict> = on.answers.iter().map(|answer| answer.verdict).collect();
        let judged = self.verdicts.as_ref();
        let accuracy = judged.map(|_| AnswerAccuracy::from_verdicts(&verdicts)).transpose()?;
        let rest = judged.map(|_| SampledRest::from_answers(&on.answers)).transpose()?;
        let reference = score.reference_logprobs.as_deref().map(|logp| AnswerScore {
            logp_sum: logp.iter().copied().map(f64::from).sum(),
            tokens: logp.len(),
        });
        Ok(Evidence {
            id: json!(trace.id),
            sample: trace.sample,
            score: TraceScore::from_tokens(&score.logprobs, &trace.logprobs)?,
            ended: true,
            answer: AnswerEvidence { accuracy, reference, rest },
        })
    }
}

fn record(trace: WeighedTrace) -> WeightRecord {
    let finite = |value: f64| value.is_finite().then_some(value);
    let id = trace.id.as_str().map_or_else(|| trace.id.to_string(), str::to_owned);
    WeightRecord {
        id,
        sample: trace.sample,
        log_ratio: finite(trace.log_ratio),
        log_answer: finite(trace.log_answer),
        weight: trace.weight,
        chosen: trace.chosen,
        by_reference: trace.resolution == Resolution::GeometricLikelihood,
    }
}
