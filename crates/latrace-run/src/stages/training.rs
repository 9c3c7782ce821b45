//! Stages 1, 2 and 9: training of pi_theta0, q and pi_theta.

use std::path::Path;

use anyhow::Result;
use latrace_engine::boundary::FitJob;
use latrace_engine::{Policy, TrainRow, Weights};
use serde_json::{Value, json};

use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{ExampleRecord, QuestionRecord};
use crate::pipeline::runner::Inputs;
use crate::plan::{FitRows, FitSettings, Role};
use latrace_core::Split;
use latrace_engine::training::run_job;
use latrace_io::failure::Failure;
use latrace_io::table::Table;

/// Rows of pi_theta0: prompt, trace, answer.
pub fn initial_rows(questions: &Path) -> Result<Vec<TrainRow>> {
    rows_with_traces(questions, |question, trace| {
        Some((question.prompt_ids, [trace, question.answer_ids?].concat()))
    })
}

/// Rows of q: prompt with the hint, trace.
pub fn posterior_rows(questions: &Path) -> Result<Vec<TrainRow>> {
    rows_with_traces(questions, |question, trace| Some((question.posterior_prompt_ids?, trace)))
}

fn rows_with_traces(
    questions: &Path,
    pair: impl Fn(QuestionRecord, Vec<u32>) -> Option<(Vec<u32>, Vec<u32>)>,
) -> Result<Vec<TrainRow>> {
    let mut rows = Vec::new();
    for question in Table::<QuestionRecord>::open(questions).records()? {
        let mut question = question?;
        let (id, split, trace) = (question.id.clone(), question.split, question.trace_ids.take());
        if let Some((prompt, response)) =
            trace.filter(|_| split == Split::Train).and_then(|trace| pair(question, trace))
        {
            rows.push(row(id, &prompt, &response, Weights::Row(1.0), None));
        }
    }
    Ok(rows)
}

/// Rows of pi_theta: the examples of stage 8.
pub fn final_rows(dataset: &Path) -> Result<Vec<TrainRow>> {
    let of_example = |example: Result<ExampleRecord>| {
        let example = example?;
        let weights = Weights::PerToken(example.token_weights.iter().map(|&weight| weight as f32).collect());
        let Some(old) = &example.old_logprobs else {
            return Ok(row(example.id, &example.prompt_ids, &example.response_ids, weights, None));
        };
        let old_logp = old.iter().map(|&logp| logp as f32).collect();
        Ok(row(
            example.id,
            &example.prompt_ids,
            &example.response_ids,
            Weights::Row(1.0),
            Some(Policy { advantages: weights, given: 0..0, old_logp }),
        ))
    };
    Table::<ExampleRecord>::open(dataset).records()?.map(of_example).collect()
}

fn row(id: String, prompt: &[u32], response: &[u32], weights: Weights, policy: Option<Policy>) -> TrainRow {
    TrainRow { id, tokens: [prompt, response].concat(), prompt_len: prompt.len(), weights, policy }
}

/// Trains, resuming from the folder's last checkpoint.
///
/// # Errors
/// No row to train on; a model that cannot be loaded; a loss that is not finite.
pub fn run(
    settings: &FitSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let folder = inputs.folder(Role::Rows)?;
    let rows = match settings.rows {
        FitRows::OwnTraces => initial_rows(folder)?,
        FitRows::HintedTraces => posterior_rows(folder)?,
        FitRows::Examples => final_rows(folder)?,
    };
    if rows.is_empty() {
        let hint = "pi_theta0 and q learn from questions with a trace; the final model from chosen traces and, \
                    with dataset.originals above 0, from those";
        return Err(Failure::work("there is no row to train on").hint(hint).into());
    }
    let (count, tokens) = (rows.len(), rows.iter().map(|row| row.tokens.len()).sum::<usize>());
    let (model, config) = (inputs.folder(Role::Model)?, settings.config());
    let job = FitJob { model, rows: &rows, config: &config, out: &stage.path, resume: true };
    run_job(&mut *context.engine.trainer()?, job)?;
    Ok(json!({"rows": count, "tokens": tokens}))
}
