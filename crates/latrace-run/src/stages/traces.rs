//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi without a hint.

use std::collections::HashSet;

use anyhow::Result;
use latrace_core::StopReason;
use latrace_engine::boundary::Completion;
use serde::Serialize;
use serde_json::Value;

use super::{Counts, StageWork, draw_stage};
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::plan::{Role, TraceSettings};
use crate::recipe::run::{Sampling, TracedQuestions};
use latrace_core::Split;
use latrace_core::random::stream;
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Samples traces for all selected questions; a part without any selected question is written empty.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(settings: &TraceSettings, work: StageWork<'_>) -> Result<Value> {
    let codec = &TraceCodec::open(work.model()?, settings.markers.clone())?;
    let source = work.input(Role::Questions)?;
    let drawn = drawn(&source, settings)?;
    let ask = |part| asked(&source, part, settings, drawn.as_ref());
    let record = |id: &String, number, completion| Ok(trace(id, number, completion, codec));
    let counts: TraceCounts = draw_stage(work, &source, &job(settings, codec), ask, record)?;
    Ok(serde_json::to_value(counts)?)
}

fn job(settings: &TraceSettings, codec: &TraceCodec) -> SampleJob {
    let Sampling { n, params } = settings.sampling;
    let (stop_ids, stop_texts) = (codec.trace_end_ids(), codec.trace_stops());
    SampleJob { stage: "traces", seed: settings.seed, n, params, stop_ids, stop_texts }
}

/// A part's selected questions, by id, and their prompts.
fn asked(
    source: &Table<QuestionRecord>,
    part: usize,
    settings: &TraceSettings,
    drawn: Option<&HashSet<String>>,
) -> Result<Vec<(String, Prompt)>> {
    let is_drawn = |id: &String| drawn.is_none_or(|drawn| drawn.contains(id));
    let selected = source.read(part)?.into_iter();
    let selected = selected.filter(|question| is_selected(question, settings) && is_drawn(&question.id));
    Ok(selected.filter_map(|question| prompted(question, settings)).collect())
}

/// The ids of `limit` of the selected questions, drawn uniformly; none where all of them are taken.
fn drawn(source: &Table<QuestionRecord>, settings: &TraceSettings) -> Result<Option<HashSet<String>>> {
    if settings.limit == 0 {
        return Ok(None);
    }
    let mut ranked = Vec::new();
    for question in source.records()? {
        let question = question?;
        if is_selected(&question, settings) {
            // By a number of its own: which questions are drawn does not depend on their order or parts.
            ranked.push((stream(settings.seed, "traces.limit", &question.id, 0), question.id));
        }
    }
    ranked.sort_unstable();
    Ok(Some(ranked.into_iter().take(settings.limit).map(|(_, id)| id).collect()))
}

fn is_selected(question: &QuestionRecord, settings: &TraceSettings) -> bool {
    // The other splits are for evaluation only.
    question.split == Split::Train
        && (settings.questions == TracedQuestions::All || question.trace_ids.is_none())
}

/// A question's prompt; none where it needs a hint and has none.
fn prompted(question: QuestionRecord, settings: &TraceSettings) -> Option<(String, Prompt)> {
    let with_hint = question.posterior_prompt_ids;
    if settings.needs_hint && with_hint.is_none() {
        return None;
    }
    let ids = if settings.hinted { with_hint? } else { question.prompt_ids };
    Some((question.id.clone(), Prompt::keyed(question.id, ids)))
}

fn trace(id: &str, number: u64, completion: Completion, codec: &TraceCodec) -> TraceRecord {
    let Completion { mut ids, mut logp, stop } = completion;
    let boundary = codec.boundary(&ids);
    // Tokens behind the boundary would be an answer, and an end token is not part of a thought.
    let tokens = boundary.unwrap_or(ids.len() - usize::from(stop == StopReason::End));
    ids.truncate(tokens);
    logp.truncate(tokens);
    let (id, closed) = (id.to_owned(), boundary.is_some());
    TraceRecord { id, sample: number, token_ids: ids, logprobs: logp, closed }
}

#[derive(Default, Serialize)]
struct TraceCounts {
    sampled: u64,
    closed: u64,
    tokens: u64,
}

impl Counts<TraceRecord> for TraceCounts {
    fn add(&mut self, trace: &TraceRecord) {
        self.sampled += 1;
        self.closed += u64::from(trace.closed);
        self.tokens += trace.token_ids.len() as u64;
    }
}
