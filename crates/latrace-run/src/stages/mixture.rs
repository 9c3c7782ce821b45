//! Stage 3 of a mixture proposal: the traces of pi and of q as one table, each with its log-probs under q.

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::StageWork;
use crate::join::{Join, all_matched, name, put_once, twice};
use crate::pipeline::records::{ScoreRecord, TraceRecord};
use crate::plan::{MixtureSettings, Role};

/// Joins the parts, pi's traces first.
///
/// # Errors
/// Finished traces of pi without a score; tables that cannot be read or written.
pub fn run(settings: &MixtureSettings, work: StageWork<'_>) -> Result<Value> {
    let posterior = work.input::<TraceRecord>(Role::Traces)?;
    let reasoner = work.input::<TraceRecord>(Role::ReasonerTraces)?;
    let scores = work.input::<ScoreRecord>(Role::Scores)?;
    let out = work.output::<TraceRecord>();
    let write = |part: usize| -> Result<MixtureCounts> {
        let own = under_posterior(reasoner.read(part)?, scores.read(part)?)?;
        let of_posterior = posterior.read(part)?.into_iter();
        // Numbered behind pi's: records on a trace join by its number.
        let of_posterior =
            of_posterior.map(|trace| TraceRecord { sample: trace.sample + settings.of_reasoner, ..trace });
        let counts = MixtureCounts { of_reasoner: own.len() as u64, of_posterior: of_posterior.len() as u64 };
        let mut traces: Vec<TraceRecord> = own.into_iter().chain(of_posterior).collect();
        traces.sort_by(|one, other| (&one.id, one.sample).cmp(&(&other.id, other.sample)));
        out.write(part, &traces)?;
        Ok(counts)
    };
    let counts = (0..posterior.parts()?).into_par_iter().map(write);
    Ok(serde_json::to_value(counts.try_reduce(MixtureCounts::default, |one, other| Ok(one.plus(other)))?)?)
}

/// pi's traces with their log-probs under q.
fn under_posterior(traces: Vec<TraceRecord>, scores: Vec<ScoreRecord>) -> Result<Vec<TraceRecord>> {
    let mut join = Join::new(traces, twice)?;
    let put = |_: &TraceRecord, on: &mut Option<ScoreRecord>, score| put_once(on, score);
    all_matched(&join.add(scores, put)?)?;
    join.into_questions().into_iter().flat_map(|question| question.traces).map(scored).collect()
}

/// An unfinished trace has no score; it weighs nothing, and keeps its own log-probs.
fn scored((mut trace, score): (TraceRecord, Option<ScoreRecord>)) -> Result<TraceRecord> {
    if trace.closed {
        trace.logprobs = score.with_context(|| format!("{} has no score", name(&trace)))?.logprobs;
    }
    Ok(trace)
}

#[derive(Default, Serialize)]
struct MixtureCounts {
    of_reasoner: u64,
    of_posterior: u64,
}

impl MixtureCounts {
    fn plus(self, other: MixtureCounts) -> MixtureCounts {
        let (of_reasoner, of_posterior) =
            (self.of_reasoner + other.of_reasoner, self.of_posterior + other.of_posterior);
        MixtureCounts { of_reasoner, of_posterior }
    }
}
