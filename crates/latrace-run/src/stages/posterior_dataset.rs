//! Stage 2's examples where q learns from samples of the reasoner: each trace z_m ~ pi(z|x) after the prompt with
//! the hint, weighted by w~_m, its share of the question's right answers (9).

use anyhow::{Context, Result};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::{Counts, StageWork};
use crate::join::{Join, QuestionTraces, all_matched, put_once, twice};
use crate::pipeline::records::{ExampleRecord, QuestionRecord, WeightRecord};
use crate::pipeline::views::TraceTokens;
use crate::plan::Role;
use latrace_io::table::Table;

type WeighedTraces = QuestionTraces<TraceTokens, Option<WeightRecord>>;

/// Builds the examples, in the same parts as the questions. Their weights sum to 1 in each question, as w~ does.
///
/// # Errors
/// Traces and weights that do not match; tables that cannot be read or written.
pub fn run(work: StageWork<'_>) -> Result<Value> {
    let tables = Tables::open(work)?;
    let write = |part: usize| -> Result<ExampleCounts> {
        let examples = tables.examples(part)?;
        tables.out.write(part, &examples)?;
        let mut counts = ExampleCounts::default();
        counts.add_all(&examples);
        Ok(counts)
    };
    let of_parts = (0..tables.questions.parts()?).into_par_iter().map(write);
    let counts = of_parts.try_reduce(ExampleCounts::default, |one, other| Ok(one.plus(other)))?;
    Ok(serde_json::to_value(counts)?)
}

struct Tables {
    questions: Table<QuestionRecord>,
    traces: Table<TraceTokens>,
    weights: Table<WeightRecord>,
    out: Table<ExampleRecord>,
}

impl Tables {
    fn open(work: StageWork<'_>) -> Result<Tables> {
        Ok(Tables {
            questions: work.input(Role::Questions)?,
            traces: work.input(Role::Traces)?,
            weights: work.input(Role::Weights)?,
            out: work.output(),
        })
    }

    fn examples(&self, part: usize) -> Result<Vec<ExampleRecord>> {
        let mut join = Join::new(self.traces.read(part)?, twice)?;
        let put = |_: &TraceTokens, weight: &mut Option<WeightRecord>, record| put_once(weight, record);
        all_matched(&join.add(self.weights.read(part)?, put)?)?;
        let questions = self.questions.read(part)?;
        let of_question = |sampled: WeighedTraces| of_question(&questions, sampled);
        let examples: Vec<Vec<_>> =
            join.into_questions().into_iter().map(of_question).collect::<Result<_>>()?;
        Ok(examples.concat())
    }
}

/// The examples of a question; none if it has no hint, as q has no prompt for it.
fn of_question(questions: &[QuestionRecord], sampled: WeighedTraces) -> Result<Vec<ExampleRecord>> {
    let question = questions.iter().find(|question| question.id == sampled.id);
    let question = question.with_context(|| format!("the part has no question {}", sampled.id))?;
    let Some(prompt) = &question.posterior_prompt_ids else { return Ok(Vec::new()) };
    let weighed = sampled.traces.into_iter().filter_map(|(trace, weight)| Some((trace, weight?.chosen)));
    Ok(weighed.filter(|(_, chosen)| *chosen > 0.0).map(|(trace, w)| example(prompt, trace, w)).collect())
}

fn example(prompt: &[u32], trace: TraceTokens, weight: f64) -> ExampleRecord {
    ExampleRecord {
        id: trace.id,
        source: trace.sample as i64,
        prompt_ids: prompt.to_vec(),
        trace_tokens: trace.token_ids.len() as u64,
        response_ids: trace.token_ids,
        weight,
        given: 0,
        old_logprobs: None,
    }
}

#[derive(Default, Serialize)]
struct ExampleCounts {
    built: u64,
    tokens: u64,
}

impl ExampleCounts {
    fn plus(self, other: ExampleCounts) -> ExampleCounts {
        ExampleCounts { built: self.built + other.built, tokens: self.tokens + other.tokens }
    }
}

impl Counts<ExampleRecord> for ExampleCounts {
    fn add(&mut self, example: &ExampleRecord) {
        self.built += 1;
        self.tokens += example.response_ids.len() as u64;
    }
}
