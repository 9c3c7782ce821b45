//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi_theta0 where no hint is to be used.

use std::path::Path;

use anyhow::Result;
use latrace_engine::lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::{draw_missing, sampler};
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::recipe::run::{Asked, Proposal, RunRecipe};
use latrace_core::Split;
use latrace_engine::sampling::journal::logprobs;
use latrace_engine::sampling::missing::{Draws, Prompt};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::table::Table;

/// Draws the traces of all questions that are asked; a part without any is empty.
pub fn run(
    questions: &Path,
    writer: &Path,
    codec: &TraceCodec,
    recipe: &RunRecipe,
    stage: &StageFolder,
) -> Result<Value> {
    let (source, out) =
        (Table::<QuestionRecord>::open(questions), Table::<TraceRecord>::create(&stage.path, &stage.key()));
    let drawing = &recipe.traces.drawing;
    let draws = Draws {
        stage: "traces",
        seed: recipe.seed,
        n: drawing.n,
        sampling: drawing.sampling(codec.trace_end_ids()),
        stops: codec.trace_stops(),
        text: &codec.text,
    };
    let make = || sampler(writer, &recipe.engine);
    draw_missing(
        &source,
        &out,
        make,
        &draws,
        stage,
        |part| asked(&source, part, recipe),
        |id, sample| Ok(trace(id, sample, codec)),
    )?;
    count(&out)
}

/// A part's questions that are asked, by id, and their prompts.
fn asked(source: &Table<QuestionRecord>, part: usize, recipe: &RunRecipe) -> Result<Vec<(String, Prompt)>> {
    let mut asked = Vec::new();
    for question in source.read(part)? {
        let is_asked = question.split == Split::Train
            && (recipe.traces.questions == Asked::All || question.trace_ids.is_none());
        let ids = match recipe.proposal() {
            Proposal::Posterior => question.posterior_prompt_ids,
            Proposal::Initial => Some(question.prompt_ids),
        };
        asked.extend(
            ids.filter(|_| is_asked).map(|ids| (question.id.clone(), Prompt::keyed(question.id, ids))),
        );
    }
    Ok(asked)
}

fn trace(id: &str, sample: Sample, codec: &TraceCodec) -> TraceRecord {
    let border = codec.border(&sample.tokens);
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
