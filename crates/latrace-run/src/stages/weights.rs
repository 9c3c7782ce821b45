//! Stage 7: rho~ of each trace, the bounds, and which traces are chosen.

use std::collections::HashMap;

use anyhow::{Context, Result};
use latrace_core::Verdict;
use latrace_objective::{AnswerAccuracy, AnswerEvidence, AnswerScore, Resolution, TraceScore};
use serde_json::{Value, json};

use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{ScoreRecord, TraceRecord, VerdictRecord, WeightRecord};
use crate::plan::{Role, WeightSettings};
use crate::weigh::{Evidence, TraceGroup, WeighedTrace, weigh_groups};
use latrace_io::table::Table;

/// Weighs the traces that have scores; only the accuracy estimator needs verdicts.
///
/// # Errors
/// Records that do not join; missing evidence for the answer estimator.
pub fn run(settings: &WeightSettings, inputs: &Inputs, stage: &StageFolder) -> Result<Value> {
    let traces = Table::<TraceRecord>::open(inputs.folder(Role::Traces)?);
    let verdicts = inputs.optional(Role::Verdicts).map(Table::<VerdictRecord>::open);
    let tables = (Table::<ScoreRecord>::open(inputs.folder(Role::Scores)?), verdicts);
    let (mut groups, mut parts) = (Vec::new(), Vec::new());
    for part in 0..traces.parts()? {
        let of_part = join(
            traces.read(part)?,
            tables.0.read(part)?,
            tables.1.as_ref().map(|table| table.read(part)).transpose()?,
        )?;
        parts.push(of_part.iter().map(|group| group.traces.len()).sum::<usize>());
        groups.extend(of_part);
    }
    let (weighed, summary) = weigh_groups(groups, &settings.weigh, settings.drawn)?;
    let out = Table::<WeightRecord>::create(&stage.path, &stage.key());
    let mut weighed = weighed.into_iter();
    for (part, count) in parts.into_iter().enumerate() {
        out.write(part, &weighed.by_ref().take(count).map(record).collect::<Vec<_>>())?;
    }
    Ok(summary.to_json())
}

/// The evidence on a part's traces, by question.
fn join(
    traces: Vec<TraceRecord>,
    scores: Vec<ScoreRecord>,
    verdicts: Option<Vec<VerdictRecord>>,
) -> Result<Vec<TraceGroup>> {
    let scores: HashMap<(String, u64), ScoreRecord> =
        scores.into_iter().map(|score| ((score.id.clone(), score.sample), score)).collect();
    let verdicts = verdicts.map(by_trace);
    let mut groups: Vec<TraceGroup> = Vec::new();
    for trace in traces {
        let id = json!(trace.id);
        if groups.last().is_none_or(|group| group.id != id) {
            groups.push(TraceGroup { id: id.clone(), traces: Vec::new(), unended: 0 });
        }
        let last = groups.len() - 1;
        if !trace.closed {
            groups[last].unended += 1;
            continue;
        }
        let key = (trace.id.clone(), trace.sample);
        let score =
            scores.get(&key).with_context(|| format!("id {}, sample {} has no score", key.0, key.1))?;
        let accuracy = match &verdicts {
            Some(verdicts) => {
                Some(AnswerAccuracy::from_verdicts(verdicts.get(&key).map_or(&[][..], Vec::as_slice))?)
            }
            None => None,
        };
        let reference = score.reference_logprobs.as_ref().map(|logp| AnswerScore {
            logp_sum: logp.iter().copied().map(f64::from).sum(),
            tokens: logp.len(),
        });
        let evidence = Evidence {
            id,
            sample: trace.sample,
            score: TraceScore::from_tokens(&score.logprobs, &trace.logprobs)?,
            answer: AnswerEvidence { accuracy, reference },
        };
        groups[last].traces.push(evidence);
    }
    Ok(groups)
}

/// Verdicts on the answers after each trace, in order of the answers.
pub fn by_trace(verdicts: Vec<VerdictRecord>) -> HashMap<(String, u64), Vec<Verdict>> {
    let mut by_trace: HashMap<(String, u64), Vec<Verdict>> = HashMap::new();
    for record in verdicts {
        let verdict = record.verdict();
        by_trace.entry((record.id, record.sample)).or_default().push(verdict);
    }
    by_trace
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
