//! Stage 4: log pi_theta0 of each trace, and of the question's own answer after it where an estimator asks
//! for that.

use anyhow::{Context, Result};
use latrace_engine::lm::{Model, ScoreRow, score};
use serde_json::{Value, json};

use super::missing_parts;
use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::records::{QuestionRecord, ScoreRecord, TraceRecord};
use crate::pipeline::runner::Inputs;
use crate::plan::{Role, ScoreSettings};
use latrace_io::progress::Progress;
use latrace_io::rows::shortest;
use latrace_io::table::Table;

/// Scores the finished traces of all parts.
///
/// # Errors
/// A model that cannot be loaded, tables that cannot be read or written.
pub fn run(
    settings: &ScoreSettings,
    inputs: &Inputs,
    context: &RunContext,
    stage: &StageFolder,
) -> Result<Value> {
    let questions = Table::<QuestionRecord>::open(inputs.folder(Role::Questions)?);
    let traces = Table::<TraceRecord>::open(inputs.folder(Role::Traces)?);
    let out = Table::<ScoreRecord>::create(&stage.path, &stage.key());
    let missing = missing_parts(&traces, &out)?.concat();
    if !missing.is_empty() {
        let model = Model::load(inputs.folder(Role::Model)?)?;
        let mut progress = Progress::new(
            "parts scored",
            (traces.parts()? - missing.len()) as u64,
            Some(traces.parts()? as u64),
        );
        for part in missing {
            let scores = score_part(&model, &questions.read(part)?, traces.read(part)?, settings, context)?;
            out.write(part, &scores)?;
            progress.advance(1);
        }
        progress.finish();
    }
    let scored = out.records()?.try_fold(0_u64, |count, record| record.map(|_| count + 1))?;
    Ok(json!({"scored": scored}))
}

fn score_part(
    model: &Model,
    questions: &[QuestionRecord],
    traces: Vec<TraceRecord>,
    settings: &ScoreSettings,
    context: &RunContext,
) -> Result<Vec<ScoreRecord>> {
    let traces: Vec<TraceRecord> = traces.into_iter().filter(|trace| trace.closed).collect();
    let rows = traces
        .iter()
        .map(|trace| row(question_of(questions, &trace.id)?, trace, settings.references))
        .collect::<Result<Vec<_>>>()?;
    let mut logp: Vec<Vec<f32>> = Vec::new();
    score(model, &rows, context.engine.score_tokens, &mut |_, batch| {
        logp.extend(batch);
        Ok(())
    })?;
    traces.iter().zip(&rows).zip(logp).map(|((trace, row), logp)| record(trace, row, &logp)).collect()
}

/// The question of an id in the same part.
pub fn question_of<'a>(questions: &'a [QuestionRecord], id: &str) -> Result<&'a QuestionRecord> {
    questions
        .iter()
        .find(|question| question.id == id)
        .with_context(|| format!("the part has no question {id}"))
}

fn row(question: &QuestionRecord, trace: &TraceRecord, references: bool) -> Result<ScoreRow> {
    let answer = question.answer_ids.as_deref().filter(|_| references).unwrap_or(&[]);
    Ok(ScoreRow {
        prompt: question.prompt_ids.clone(),
        response: [trace.token_ids.as_slice(), answer].concat(),
    })
}

fn record(trace: &TraceRecord, row: &ScoreRow, logp: &[f32]) -> Result<ScoreRecord> {
    let logprobs = |logp: &[f32]| {
        let finite = logp.iter().map(|&logp| {
            shortest(logp)
                .with_context(|| format!("id {}, sample {}: a log-prob is {logp}", trace.id, trace.sample))
        });
        finite.collect::<Result<Vec<f64>>>()
    };
    let (of_trace, of_answer) = logp.split_at(trace.token_ids.len());
    let reference_logprobs =
        if row.response.len() > trace.token_ids.len() { Some(logprobs(of_answer)?) } else { None };
    Ok(ScoreRecord {
        id: trace.id.clone(),
        sample: trace.sample,
        logprobs: logprobs(of_trace)?,
        reference_logprobs,
    })
}
