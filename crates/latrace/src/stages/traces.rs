//! Stage 3: traces z ~ q(z|x,y') of each question, or of pi_theta0 where no hint is to be used.

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::{missing_parts, sampler};
use crate::pipeline::drawing::{Part, draw, unfinished};
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{QuestionRecord, TraceRecord};
use crate::pipeline::table::Table;
use crate::pipeline::thought::Thought;
use crate::progress::Progress;
use crate::recipe::run::{Asked, Proposal, RunRecipe, Split};
use crate::rows::shortest;
use crate::sampling::missing::{Draws, Prompt};

/// Draws the traces of all questions that are asked; a part without any is empty.
pub fn run(questions: &Path, writer: &Path, thought: &Thought, recipe: &RunRecipe, stage: &StageFolder) -> Result<Value> {
    let (source, out) = (Table::<QuestionRecord>::open(questions), Table::<TraceRecord>::create(&stage.path, &stage.key()));
    let drawing = &recipe.traces.drawing;
    let draws = Draws {
        stage: "traces",
        seed: recipe.seed,
        n: drawing.n,
        sampling: drawing.sampling(thought.trace_end_ids()),
        stops: thought.trace_stops(),
        text: &thought.text,
    };
    let groups = missing_parts(&source, &out)?;
    if !groups.is_empty() {
        let mut sampler = sampler(writer, &recipe.engine)?;
        let mut progress = Progress::new("traces", 0, None);
        for group in groups {
            let parts = group.iter().map(|&part| prompts(&source, part, recipe)).collect::<Result<Vec<Part>>>()?;
            draw(&mut sampler, &draws, &parts, &unfinished(stage), &mut progress, &mut |at, samples| {
                let asked = parts[at].prompts.iter().zip(samples);
                let records: Vec<TraceRecord> = asked.flat_map(|(prompt, samples)| traces_of(&prompt.stream, samples, thought)).collect();
                out.write(parts[at].number, &records)
            })?;
        }
        progress.finish();
    }
    count(&out)
}

/// The prompts of a part's questions that are asked.
fn prompts(source: &Table<QuestionRecord>, number: usize, recipe: &RunRecipe) -> Result<Part> {
    let mut prompts = Vec::new();
    for question in source.read(number)? {
        let is_asked = question.split == Split::Train && (recipe.traces.questions == Asked::All || question.trace_ids.is_none());
        let ids = match recipe.proposal() {
            Proposal::Posterior => question.posterior_prompt_ids,
            Proposal::Initial => Some(question.prompt_ids),
        };
        prompts.extend(ids.filter(|_| is_asked).map(|ids| Prompt::keyed(question.id, ids)));
    }
    Ok(Part { number, prompts })
}

fn traces_of<'a>(id: &'a str, samples: Vec<Sample>, thought: &'a Thought) -> impl Iterator<Item = TraceRecord> + 'a {
    samples.into_iter().map(|sample| {
        let border = thought.border(&sample.tokens);
        let tokens = border.unwrap_or(sample.tokens.len() - usize::from(sample.stop == StopReason::End));
        TraceRecord {
            id: id.to_owned(),
            sample: sample.sample as u64,
            token_ids: sample.tokens[..tokens].to_vec(),
            // The sampler lets no log-prob pass that is not finite.
            logprobs: sample.logp[..tokens].iter().filter_map(|&logp| shortest(logp)).collect(),
            closed: border.is_some(),
        }
    })
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
