//! Stage 7: rho~ of each trace, the bounds, and which traces are chosen.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_objective::{Accuracy, AnswerEvidence, AnswerScore, TraceScore, Verdict};
use serde_json::{Value, json};

use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{ScoreRecord, TraceRecord, VerdictRecord, WeightRecord};
use crate::pipeline::table::Table;
use crate::weigh::{Evidence, WeighConfig, WeighSummary, WeighedTrace, weigh_groups};

/// Weighs the traces that have scores; `verdicts` are needed by the accuracy estimator alone.
pub fn run(traces: &Path, scores: &Path, verdicts: Option<&Path>, config: &WeighConfig, stage: &StageFolder) -> Result<Value> {
    let traces = Table::<TraceRecord>::open(traces);
    let tables = (Table::<ScoreRecord>::open(scores), verdicts.map(Table::<VerdictRecord>::open));
    let (mut groups, mut parts) = (Vec::new(), Vec::new());
    for part in 0..traces.parts()? {
        let of_part = join(traces.read(part)?, tables.0.read(part)?, tables.1.as_ref().map(|table| table.read(part)).transpose()?)?;
        parts.push(of_part.iter().map(Vec::len).sum::<usize>());
        groups.extend(of_part);
    }
    let (weighed, summary) = weigh_groups(groups, config)?;
    let out = Table::<WeightRecord>::create(&stage.path, &stage.key());
    let mut weighed = weighed.into_iter();
    for (part, count) in parts.into_iter().enumerate() {
        out.write(part, &weighed.by_ref().take(count).map(record).collect::<Vec<_>>())?;
    }
    Ok(counts(&summary))
}

/// The evidence on a part's traces, by question.
fn join(traces: Vec<TraceRecord>, scores: Vec<ScoreRecord>, verdicts: Option<Vec<VerdictRecord>>) -> Result<Vec<Vec<Evidence>>> {
    let scores: HashMap<(String, u64), ScoreRecord> = scores.into_iter().map(|score| ((score.id.clone(), score.sample), score)).collect();
    let verdicts = verdicts.map(by_trace);
    let mut groups: Vec<Vec<Evidence>> = Vec::new();
    for trace in traces.into_iter().filter(|trace| trace.closed) {
        let key = (trace.id.clone(), trace.sample);
        let score = scores.get(&key).with_context(|| format!("id {}, sample {} has no score", key.0, key.1))?;
        let accuracy = match &verdicts {
            Some(verdicts) => Some(Accuracy::from_verdicts(verdicts.get(&key).map_or(&[][..], Vec::as_slice))?),
            None => None,
        };
        let reference = score.reference_logprobs.as_ref().map(|logp| AnswerScore { logp_sum: logp.iter().sum(), tokens: logp.len() });
        let evidence = Evidence {
            id: json!(trace.id),
            sample: trace.sample,
            score: TraceScore::from_tokens(&score.logprobs, &trace.logprobs)?,
            answer: AnswerEvidence { accuracy, reference },
        };
        match groups.last_mut().filter(|group| group[0].id == evidence.id) {
            Some(group) => group.push(evidence),
            None => groups.push(vec![evidence]),
        }
    }
    Ok(groups)
}

/// Verdicts on the answers after each trace, in the answers' order.
pub fn by_trace(verdicts: Vec<VerdictRecord>) -> HashMap<(String, u64), Vec<Verdict>> {
    let mut by_trace: HashMap<(String, u64), Vec<Verdict>> = HashMap::new();
    for record in verdicts {
        let verdict = crate::weigh::verdict_named(&record.verdict, &record.reason).unwrap_or(Verdict::Undetermined);
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
    }
}

fn counts(summary: &WeighSummary) -> Value {
    let bounds: Vec<Value> = summary
        .bounds
        .iter()
        .map(|bound| json!({"mean": bound.mean_of_finite, "standard_error": bound.standard_error, "unbounded": bound.unbounded}))
        .collect();
    json!({
        "questions": summary.questions,
        "traces": summary.traces,
        "too_long": summary.too_long,
        "without_usable_trace": summary.all_zero,
        "effective_sample_size": summary.effective_sample_size,
        "bounds": bounds,
    })
}
