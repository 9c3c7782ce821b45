//! Stage 5: answers y ~ pi_theta0(y|x,z) after each trace, for the accuracy estimator.

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Sample, StopReason};
use serde_json::{Value, json};

use super::scores::question_of;
use super::{missing_parts, sampler};
use crate::pipeline::drawing::{Part, draw, unfinished};
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{AnswerRecord, QuestionRecord, TraceRecord};
use crate::pipeline::table::Table;
use crate::pipeline::thought::Thought;
use crate::progress::Progress;
use crate::recipe::run::RunRecipe;
use crate::rows::shortest;
use crate::sampling::missing::{Draws, Prompt};

/// Draws answers after every closed trace.
pub fn run(questions: &Path, traces: &Path, reasoner: &Path, thought: &Thought, recipe: &RunRecipe, stage: &StageFolder) -> Result<Value> {
    let (questions, traces) = (Table::<QuestionRecord>::open(questions), Table::<TraceRecord>::open(traces));
    let out = Table::<AnswerRecord>::create(&stage.path, &stage.key());
    let drawing = &recipe.answers;
    let draws = Draws {
        stage: "answers",
        seed: recipe.seed,
        n: drawing.n,
        sampling: drawing.sampling(thought.answer_end_ids()),
        stops: thought.answer_stops(),
        text: &thought.text,
    };
    let groups = missing_parts(&traces, &out)?;
    if !groups.is_empty() {
        let mut sampler = sampler(reasoner, &recipe.engine)?;
        let mut progress = Progress::new("answers", 0, None);
        for group in groups {
            let asked = group.iter().map(|&part| asked(&questions, &traces, part, thought)).collect::<Result<Vec<_>>>()?;
            let (parts, asked): (Vec<Part>, Vec<Vec<Asked>>) = asked.into_iter().unzip();
            draw(&mut sampler, &draws, &parts, &unfinished(stage), &mut progress, &mut |at, samples| {
                let records: Vec<AnswerRecord> = asked[at].iter().zip(samples).flat_map(|(asked, samples)| answers_of(asked, samples, thought)).collect();
                out.write(parts[at].number, &records)
            })?;
        }
        progress.finish();
    }
    count(&out)
}

/// A trace after which answers are drawn.
struct Asked {
    id: String,
    sample: u64,
}

/// A part's closed traces, and the prompts that they and their questions make.
fn asked(questions: &Table<QuestionRecord>, traces: &Table<TraceRecord>, number: usize, thought: &Thought) -> Result<(Part, Vec<Asked>)> {
    let (mut prompts, mut asked) = (Vec::new(), Vec::new());
    let questions = questions.read(number)?;
    for trace in traces.read(number)?.into_iter().filter(|trace| trace.closed) {
        let ids = [question_of(&questions, &trace.id)?.prompt_ids.as_slice(), &trace.token_ids, &thought.answer_prefix].concat();
        prompts.push(Prompt::keyed(format!("{}/{}", trace.id, trace.sample), ids));
        asked.push(Asked { id: trace.id, sample: trace.sample });
    }
    Ok((Part { number, prompts }, asked))
}

fn answers_of<'a>(asked: &'a Asked, samples: Vec<Sample>, thought: &'a Thought) -> impl Iterator<Item = AnswerRecord> + 'a {
    samples.into_iter().map(|sample| {
        let token_ids = [thought.answer_prefix.as_slice(), &sample.tokens].concat();
        AnswerRecord {
            id: asked.id.clone(),
            sample: asked.sample,
            answer: sample.sample as u64,
            text: thought.answer_text(&token_ids),
            given: thought.answer_prefix.len() as u64,
            token_ids,
            // The sampler lets no log-prob pass that is not finite.
            logprobs: sample.logp.iter().filter_map(|&logp| shortest(logp)).collect(),
            ended: sample.stop != StopReason::MaxTokens,
        }
    })
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
