//! Stages 1, 2 and 9: training of pi_theta0, q and pi_theta.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::boundary::FitJob;
use latrace_engine::{Policy, RowFile, RowFileWriter, RowSource, TrainRow, Weights};
use serde_json::{Value, json};

use super::StageWork;
use crate::pipeline::records::{ExampleRecord, QuestionRecord};
use crate::plan::{FitRows, FitSettings, Role};
use latrace_core::Split;
use latrace_engine::training::run_job;
use latrace_io::failure::Failure;
use latrace_io::table::{Record, Table};
use latrace_objective::Provenance;

/// File of the rows, removed after the training. Its name begins with a dot, so that what a kill leaves of it
/// is in no digest.
const ROWS: &str = ".rows";

/// Trains, resuming from the folder's last checkpoint. Rows are first written to a file, from which the
/// trainer streams batches.
///
/// # Errors
/// No row to train on; a model that cannot be loaded; a loss that is not finite.
pub fn run(settings: &FitSettings, work: StageWork<'_>) -> Result<Value> {
    let path = work.stage.path.join(ROWS);
    let (rows, tokens) = write_rows(&path, settings.rows, work.inputs.folder(Role::Rows)?)?;
    let count = rows.len();
    if count == 0 {
        return Err(no_rows().into());
    }
    let (model, config) = (work.model()?, settings.config());
    // Always resumed: the folder is empty unless the stage was begun under the same key.
    let job = FitJob { model, rows: &rows, config: &config, out: &work.stage.path, resume: true };
    run_job(&mut *work.context.engine.trainer()?, job)?;
    // As large as the tables that it is made from, and never read again.
    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    Ok(json!({"rows": count, "tokens": tokens}))
}

fn no_rows() -> Failure {
    let hint = "pi_theta0 and q learn from questions with a trace; a refined q from finished \
                traces of rewards that differ; the final model from chosen traces and, with dataset.originals above 0, \
                from those";
    Failure::work("there is no row to train on").hint(hint)
}

/// Writes the rows of a training to a file, and returns it with the number of tokens. The file, not memory, holds
/// them: a data set of long traces can exceed it.
///
/// # Errors
/// Tables that cannot be read, a file that cannot be written.
pub fn write_rows(path: &Path, of: FitRows, table: &Path) -> Result<(RowFile, usize)> {
    let mut writer = RowFileWriter::create(path)?;
    let mut tokens = 0;
    each_example(of, table, |example| {
        let row = row(example);
        tokens += row.tokens.len();
        Ok(writer.push(&row)?)
    })?;
    Ok((writer.finish()?, tokens))
}

/// Calls `each` with every example of a training, from the table that it reads.
///
/// # Errors
/// Tables that cannot be read, and those of `each`.
pub fn each_example(of: FitRows, table: &Path, each: impl FnMut(ExampleRecord) -> Result<()>) -> Result<()> {
    match of {
        FitRows::OwnTraces => each_of(table, own_trace, each),
        FitRows::HintedTraces => each_of(table, hinted_trace, each),
        FitRows::Examples => each_of(table, Some::<ExampleRecord>, each),
    }
}

fn each_of<R: Record>(
    table: &Path,
    example: impl Fn(R) -> Option<ExampleRecord>,
    mut each: impl FnMut(ExampleRecord) -> Result<()>,
) -> Result<()> {
    for record in Table::<R>::open(table).records()? {
        if let Some(example) = example(record?) {
            each(example)?;
        }
    }
    Ok(())
}

/// An example of pi_theta0: prompt, trace, answer.
fn own_trace(question: QuestionRecord) -> Option<ExampleRecord> {
    let trace = trained_trace(question.split, question.trace_ids)?;
    original(question.id, question.prompt_ids, trace, question.answer_ids?)
}

/// An example of q: prompt with the hint, trace.
fn hinted_trace(question: QuestionRecord) -> Option<ExampleRecord> {
    let trace = trained_trace(question.split, question.trace_ids)?;
    original(question.id, question.posterior_prompt_ids?, trace, Vec::new())
}

/// An example of the row's own trace.
fn original(id: String, prompt_ids: Vec<u32>, trace: Vec<u32>, answer: Vec<u32>) -> Option<ExampleRecord> {
    let trace_tokens = trace.len() as u64;
    let response_ids = [trace, answer].concat();
    let (old_logprobs, advantages) = (None, None);
    Some(ExampleRecord {
        id,
        source: Provenance::Original.code(),
        prompt_ids,
        response_ids,
        trace_tokens,
        weight: 1.0,
        given: 0,
        old_logprobs,
        advantages,
    })
}

/// A question's own trace, unless it is held out.
fn trained_trace(split: Split, trace: Option<Vec<u32>>) -> Option<Vec<u32>> {
    trace.filter(|_| split == Split::Train)
}

/// The row of an example.
fn row(example: ExampleRecord) -> TrainRow {
    let weight = Weights::Row(example.weight as f32);
    let ExampleRecord { id, prompt_ids, response_ids, trace_tokens, given, old_logprobs, advantages, .. } =
        example;
    let (prompt_len, tokens) = (prompt_ids.len(), [prompt_ids, response_ids].concat());
    // Supervised examples carry their weight in the loss; rewarded ones, in the advantage.
    let Some(old_logp) = old_logprobs else {
        return TrainRow { id, tokens, prompt_len, weights: weight, policy: None };
    };
    // The closing marker's rest was given, not sampled, so the policy is not credited with it.
    let given = trace_tokens as usize..(trace_tokens + given) as usize;
    let advantages = advantages.map_or(weight, Weights::PerToken);
    let policy = Some(Policy { advantages, given, old_logp });
    TrainRow { id, tokens, prompt_len, weights: Weights::Row(1.0), policy }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::testing::question;

    /// The rows that a training on `records` reads, and the number of their tokens.
    fn rows<R: Record>(of: FitRows, records: &[R]) -> (Vec<TrainRow>, usize) {
        let folder = tempfile::tempdir().unwrap();
        Table::create(folder.path(), "key").write(0, records).unwrap();
        let (rows, tokens) = write_rows(&folder.path().join(ROWS), of, folder.path()).unwrap();
        (rows.read(&(0..rows.len()).collect::<Vec<_>>()).unwrap(), tokens)
    }

    fn row(id: &str, tokens: &[u32], prompt_len: usize) -> TrainRow {
        let (tokens, weights) = (tokens.to_vec(), Weights::Row(1.0));
        TrainRow { id: id.to_owned(), tokens, prompt_len, weights, policy: None }
    }

    #[test]
    fn only_training_questions_with_a_trace_are_learnt_from() {
        let mut untraced = question("untraced", Split::Train);
        untraced.trace_ids = None;
        let mut unhinted = question("unhinted", Split::Train);
        unhinted.posterior_prompt_ids = None;
        let questions = [
            question("a", Split::Train),
            question("held out", Split::Validation),
            question("tested", Split::Test),
            untraced,
            unhinted,
        ];
        let own = [1, 2, 3, 90, 91, 92, 93];
        let expected = vec![row("a", &own, 3), row("unhinted", &own, 3)];
        assert_eq!(rows(FitRows::OwnTraces, &questions), (expected, 14));
        // q writes traces and no answers, after the prompt with the hint.
        let hinted = vec![row("a", &[1, 2, 3, 4, 90, 91], 4)];
        assert_eq!(rows(FitRows::HintedTraces, &questions), (hinted, 6));
    }

    #[test]
    fn a_rewarded_example_has_an_advantage_where_the_policy_chose() {
        let supervised = ExampleRecord {
            id: "q".to_owned(),
            source: 0,
            prompt_ids: vec![1],
            response_ids: vec![10, 11, 5, 7, 20],
            trace_tokens: 3,
            weight: -0.5,
            given: 1,
            old_logprobs: None,
            advantages: None,
        };
        let logprobs = vec![-1.0, -2.0, -3.0, 0.0, -4.0];
        let rewarded = ExampleRecord { old_logprobs: Some(logprobs.clone()), ..supervised.clone() };
        let gaps = vec![0.5, -0.5, 0.25, 0.0, 1.0];
        let distilled = ExampleRecord { advantages: Some(gaps.clone()), ..rewarded.clone() };
        let supervised = ExampleRecord { weight: 0.25, ..supervised };
        let (read, _) = rows(FitRows::Examples, &[rewarded, supervised, distilled]);
        let policy = read[0].policy.as_ref().unwrap();
        assert_eq!((&policy.given, &policy.old_logp), (&(3..4), &logprobs));
        assert_eq!((&policy.advantages, &read[0].weights), (&Weights::Row(-0.5), &Weights::Row(1.0)));
        assert_eq!((&read[1].policy, &read[1].weights), (&None, &Weights::Row(0.25)));
        let policy = read[2].policy.as_ref().unwrap();
        assert_eq!((&policy.advantages, &read[2].weights), (&Weights::PerToken(gaps), &Weights::Row(1.0)));
    }
}
