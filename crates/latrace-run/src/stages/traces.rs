//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi_theta0 where no hint is to be used.

use anyhow::Result;
use latrace_engine::lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::draw_missing;
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::pipeline::runner::Inputs;
use crate::plan::{Role, TraceSettings};
use crate::recipe::run::{Proposal, TracedQuestions};
use latrace_core::Split;
use latrace_engine::sampling::journal::logprobs;
use latrace_engine::sampling::missing::{Draws, Prompt};
use latrace_engine::thought::Thought;
use latrace_io::table::Table;

/// Draws the traces of all questions that are asked; a part without any is empty.
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
    let thought = &Thought::open(writer, settings.markers.clone())?;
    let source = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let out = Table::<TraceRecord>::create(&stage.path, &stage.key());
    let draws = Draws {
        stage: "traces",
        seed: settings.seed,
        n: settings.sampling.n,
        sampling: settings.sampling.sampler(thought.trace_end_ids()),
        stops: thought.trace_stops(),
        text: &thought.text,
    };
    let make = || context.sampler(writer);
    draw_missing(
        &source,
        &out,
        make,
        &draws,
        stage,
        |part| asked(&source, part, settings),
        |id, sample| Ok(trace(id, sample, thought)),
    )?;
    count(&out)
}

/// A part's questions that are asked, by id, and their prompts.
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

fn trace(id: &str, sample: Sample, thought: &Thought) -> TraceRecord {
    let border = thought.border(&sample.tokens);
    let tokens = border.unwrap_or(sample.tokens.len() - usize::from(sample.stop == StopReason::End));
    TraceRecord {
        id: id.to_owned(),
        sample: sample.sample as u64,
        token_ids: sample.tokens[..tokens].to_vec(),
        logprobs: logprobs(&sample.logp[..tokens]),
        closed: border.is_some(),
    }
}

fn count(out: &Table<TraceRecord>) -> Result<Value> {
    let (mut sampled, mut closed, mut tokens) = (0_u64, 0_u64, 0_u64);
    for trace in out.records()? {
        let trace = trace?;
        sampled += 1;
        closed += u64::from(trace.closed);
        tokens += trace.token_ids.len() as u64;
    }
    Ok(json!({"sampled": sampled, "closed": closed, "tokens": tokens}))
}
