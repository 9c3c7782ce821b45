//! Stage 5: answers y ~ pi_theta0(y|x,z) after each trace, for the accuracy estimator.

use std::path::Path;

use anyhow::Result;
use latrace_engine::lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::scores::question_of;
use super::{draw_missing, sampler};
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{AnswerRecord, QuestionRecord, TraceRecord};
use crate::recipe::run::RunRecipe;
use latrace_engine::sampling::journal::logprobs;
use latrace_engine::sampling::missing::{Draws, Prompt};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Draws answers after every closed trace.
pub fn run(
    questions: &Path,
    traces: &Path,
    reasoner: &Path,
    codec: &TraceCodec,
    recipe: &RunRecipe,
    stage: &StageFolder,
) -> Result<Value> {
    let (questions, traces) = (Table::<QuestionRecord>::open(questions), Table::<TraceRecord>::open(traces));
    let out = Table::<AnswerRecord>::create(&stage.path, &stage.key());
    let drawing = &recipe.answers;
    let draws = Draws {
        stage: "answers",
        seed: recipe.seed,
        n: drawing.n,
        sampling: drawing.sampling(codec.answer_end_ids()),
        stops: codec.answer_stops(),
        text: &codec.text,
    };
    let make = || sampler(reasoner, &recipe.engine);
    let ask = |part| asked(&questions, &traces, part, codec);
    draw_missing(&traces, &out, make, &draws, stage, ask, |trace, sample| {
        Ok(answer(trace, sample, codec))
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
    codec: &TraceCodec,
) -> Result<Vec<(Trace, Prompt)>> {
    let questions = questions.read(part)?;
    let closed = traces.read(part)?.into_iter().filter(|trace| trace.closed);
    let ask = |TraceRecord { id, sample, token_ids, .. }: TraceRecord| {
        let ids = [question_of(&questions, &id)?.prompt_ids.as_slice(), &token_ids, &codec.answer_prefix]
            .concat();
        let prompt = Prompt::keyed(format!("{id}/{sample}"), ids);
        Ok((Trace { id, sample }, prompt))
    };
    closed.map(ask).collect()
}

fn answer(trace: &Trace, sample: Sample, codec: &TraceCodec) -> AnswerRecord {
    let token_ids = [codec.answer_prefix.as_slice(), &sample.tokens].concat();
    AnswerRecord {
        id: trace.id.clone(),
        sample: trace.sample,
        answer: sample.sample as u64,
        text: codec.answer_text(&token_ids),
        given: codec.answer_prefix.len() as u64,
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
