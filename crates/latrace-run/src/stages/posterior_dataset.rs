//! Stage 2's examples where q learns from samples of the reasoner: each trace z_m ~ pi(z|x) after the prompt with
//! the hint, weighted by w~_m, its share of the question's right answers (9).

use anyhow::Result;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::scores::question_of;
use super::{Counts, SharedCounts, StageWork};
use crate::join::{Join, QuestionTraces, all_matched, put_once, twice};
use crate::pipeline::records::{ExampleRecord, WeightRecord};
use crate::pipeline::views::{QuestionTokens, TraceTokens};
use crate::plan::Role;
use latrace_io::table::Table;

type WeighedTraces = QuestionTraces<TraceTokens, Option<WeightRecord>>;

/// Builds the examples, in the same parts as the questions. Their weights sum to 1 in each question, as w~ does.
///
/// # Errors
/// Traces and weights that do not match; tables that cannot be read or written.
pub fn run(work: StageWork<'_>) -> Result<Value> {
    let tables = Tables::open(work)?;
    let counts = SharedCounts::new(ExampleCounts::default());
    let write = |part: usize| -> Result<()> {
        let examples = tables.examples(part)?;
        tables.out.write(part, &examples)?;
        counts.add_all(&examples);
        Ok(())
    };
    (0..tables.questions.parts()?).into_par_iter().try_for_each(write)?;
    Ok(serde_json::to_value(counts.into_inner())?)
}

struct Tables {
    questions: Table<QuestionTokens>,
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
fn of_question(questions: &[QuestionTokens], sampled: WeighedTraces) -> Result<Vec<ExampleRecord>> {
    let question = question_of(questions, &sampled.id)?;
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
        advantages: None,
    }
}

#[derive(Default, Serialize)]
struct ExampleCounts {
    built: u64,
    tokens: u64,
}

impl Counts<ExampleRecord> for ExampleCounts {
    fn add(&mut self, example: &ExampleRecord) {
        self.built += 1;
        self.tokens += example.response_ids.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The traces of a question, each with its weight and its share among the chosen ones.
    fn weighed(shares: &[(f64, f64)]) -> WeighedTraces {
        let trace = |sample| TraceTokens { id: "q".to_owned(), sample, token_ids: vec![10, 5], closed: true };
        let mut join = Join::new((0..shares.len() as u64).map(trace), twice).unwrap();
        let records = (0..).zip(shares).map(|(sample, &(weight, chosen))| WeightRecord {
            id: "q".to_owned(),
            sample,
            log_ratio: Some(0.0),
            log_answer: None,
            weight,
            chosen,
            by_reference: false,
        });
        let put = |_: &TraceTokens, weight: &mut Option<WeightRecord>, record| put_once(weight, record);
        assert!(join.add(records, put).unwrap().is_empty());
        join.into_questions().remove(0)
    }

    #[test]
    fn q_learns_the_chosen_traces_after_the_prompt_with_the_hint() {
        let prompt_ids = vec![1, 2, 3];
        let posterior_prompt_ids = Some(vec![1, 2, 3, 4]);
        let question =
            QuestionTokens { id: "q".to_owned(), prompt_ids, posterior_prompt_ids, answer_ids: None };
        let mut questions = [question];
        let examples = of_question(&questions, weighed(&[(0.5, 0.0), (0.5, 1.0)])).unwrap();
        assert_eq!(examples.len(), 1);
        assert_eq!((examples[0].source, examples[0].weight), (1, 1.0));
        assert_eq!((&examples[0].prompt_ids, &examples[0].response_ids), (&vec![1, 2, 3, 4], &vec![10, 5]));
        questions[0].posterior_prompt_ids = None;
        assert!(of_question(&questions, weighed(&[(1.0, 1.0)])).unwrap().is_empty());
        assert!(of_question(&[], weighed(&[(1.0, 1.0)])).is_err());
    }
}
