//! Stage 5: answers y ~ pi_theta0(y|x,z) after each trace, for the accuracy estimator.

use anyhow::Result;
use latrace_engine::lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::draw_missing;
use super::scores::question_of;
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{AnswerRecord, QuestionRecord, TraceRecord};
use crate::pipeline::runner::Inputs;
use crate::plan::{AnswerSettings, Role};
use latrace_engine::sampling::journal::logprobs;
use latrace_engine::sampling::missing::{Draws, Prompt};
use latrace_engine::thought::Thought;
use latrace_io::table::Table;

/// Draws answers after every closed trace.
///
/// # Errors
/// A model that cannot be loaded, prompts that do not fit it, tables that cannot be read or written.
pub fn run(
    settings: &AnswerSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let reasoner = inputs.folder(Role::Model)?;
    let thought = &Thought::open(reasoner, settings.markers.clone())?;
    let questions = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let traces = Table::<TraceRecord>::open(inputs.folder(Role::Traces)?);
    let out = Table::<AnswerRecord>::create(&stage.path, &stage.key());
    let draws = Draws {
        stage: "answers",
        seed: settings.seed,
        n: settings.sampling.n,
        sampling: settings.sampling.sampler(thought.answer_end_ids()),
        stops: thought.answer_stops(),
        text: &thought.text,
    };
    let make = || context.sampler(reasoner);
    let ask = |part| asked(&questions, &traces, part, thought);
    draw_missing(&traces, &out, make, &draws, stage, ask, |trace, sample| {
        Ok(answer(trace, sample, thought))
    })?;
    count(&out)
}

/// A trace after which answers are drawn.
struct Trace {
    id: String,
    sample: u64,
}

/// A part's closed traces, and the prompts that they and their questions make.
fn asked(
    questions: &Table<QuestionRecord>,
    traces: &Table<TraceRecord>,
    part: usize,
    thought: &Thought,
) -> Result<Vec<(Trace, Prompt)>> {
    let questions = questions.read(part)?;
    let closed = traces.read(part)?.into_iter().filter(|trace| trace.closed);
    let ask = |TraceRecord { id, sample, token_ids, .. }: TraceRecord| {
        let ids = [question_of(&questions, &id)?.prompt_ids.as_slice(), &token_ids, &thought.answer_prefix]
            .concat();
        let prompt = Prompt::keyed(format!("{id}/{sample}"), ids);
        Ok((Trace { id, sample }, prompt))
    };
    closed.map(ask).collect()
}

fn answer(trace: &Trace, sample: Sample, thought: &Thought) -> AnswerRecord {
    let token_ids = [thought.answer_prefix.as_slice(), &sample.tokens].concat();
    AnswerRecord {
        id: trace.id.clone(),
        sample: trace.sample,
        answer: sample.sample as u64,
        text: thought.answer_text(&token_ids),
        given: thought.answer_prefix.len() as u64,
        token_ids,
        logprobs: logprobs(&sample.logp),
        ended: sample.stop != StopReason::MaxTokens,
    }
}

fn count(out: &Table<AnswerRecord>) -> Result<Value> {
    let (mut sampled, mut ended, mut tokens) = (0_u64, 0_u64, 0_u64);
    for answer in out.records()? {
        let answer = answer?;
        sampled += 1;
        ended += u64::from(answer.ended);
        tokens += answer.logprobs.len() as u64;
    }
    Ok(json!({"sampled": sampled, "ended": ended, "tokens": tokens}))
}
