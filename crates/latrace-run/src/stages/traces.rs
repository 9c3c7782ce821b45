//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi_theta0 without a hint.

use anyhow::Result;
use latrace_core::StopReason;
use latrace_engine::boundary::Completion;
use serde::Serialize;
use serde_json::Value;

use super::{Counts, draw_stage};
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::plan::{Role, TraceSettings};
use crate::recipe::run::{Proposal, TracedQuestions};
use latrace_core::Split;
use latrace_engine::sampling::{Prompt, SampleJob};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Samples traces for all selected questions; a part without any selected question is written empty.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(
    settings: &TraceSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let writer = inputs.folder(Role::Model)?;
    let codec = &TraceCodec::open(writer, settings.markers.clone())?;
    let source = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let out = Table::<TraceRecord>::create(&stage.path, &stage.key());
    let job = SampleJob {
        stage: "traces",
        seed: settings.seed,
        n: settings.sampling.n,
        params: settings.sampling.params,
        stop_ids: codec.trace_end_ids(),
        stop_texts: codec.trace_stops(),
    };
    let ask = |part| asked(&source, part, settings);
    let record = |id: &String, number, completion| Ok(trace(id, number, completion, codec));
    let counts: TraceCounts = draw_stage((&source, &out), (context, writer), &job, stage, ask, record)?;
    Ok(serde_json::to_value(counts)?)
}

/// A part's selected questions, by id, and their prompts.
fn asked(
    source: &Table<QuestionRecord>,
    part: usize,
    settings: &TraceSettings,
) -> Result<Vec<(String, Prompt)>> {
    let mut asked = Vec::new();
    for question in source.read(part)? {
        let is_asked = question.split == Split::Train
            && (settings.questions == TracedQuestions::All || question.trace_ids.is_none());
        let ids = match settings.from {
            Proposal::Posterior => question.posterior_prompt_ids,
            Proposal::Initial => Some(question.prompt_ids),
        };
        asked.extend(
            ids.filter(|_| is_asked).map(|ids| (question.id.clone(), Prompt::keyed(question.id, ids))),
        );
    }
    Ok(asked)
}

fn trace(id: &str, number: u64, completion: Completion, codec: &TraceCodec) -> TraceRecord {
    let Completion { mut ids, mut logp, stop } = completion;
    let boundary = codec.boundary(&ids);
    let tokens = boundary.unwrap_or(ids.len() - usize::from(stop == StopReason::End));
    ids.truncate(tokens);
    logp.truncate(tokens);
    TraceRecord {
        id: id.to_owned(),
        sample: number,
        token_ids: ids,
        logprobs: logp,
        closed: boundary.is_some(),
    }
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
