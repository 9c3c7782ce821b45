//! `latrace score`: computes log-probs of given responses under a model.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;
use tracing::info;

use super::at_least_one;
use super::columns::ColumnArguments;
use super::engine::{EngineChoice, Kept};
use super::input::{ModelInput, Parsed, id_text, open_rows};
use super::output::add_fields;
use latrace_engine::boundary::{Score, ScoreClient, ScoreRow};
use latrace_engine::row_tokens::{CONSUMED_FIELDS, prompt_and_response};
use latrace_engine::sampling::journal::decimals;
use latrace_engine::{CpuEngine, CpuOptions};
use latrace_io::columns::Columns;
use latrace_io::failure::Failure;
use latrace_io::progress::Progress;
use latrace_io::rows::{FieldProblem, Output, Row, RowSink, UniqueIds, write_rows};

/// Arguments of `latrace score`.
#[derive(Args, Debug)]
#[command(after_help = "\
Input rows: `id` (optionally with `sample` and `answer`), `prompt` or `prompt_ids`, `response` or
`response_ids`.
Output rows, in the same order: the row's other fields, `token_ids` (of the response), `logprobs` (nats per
token), `sum_logprob`, `mean_logprob`.

Examples:
  latrace score --model models/small --data rows.jsonl --out scores.jsonl
  latrace score --model models/small --data rows.parquet --out scores.parquet
  latrace score --model models/initial --data traces.jsonl --out scores.jsonl --column response_ids=token_ids
  latrace score --model models/small --data rows.jsonl | head")]
pub struct ScoreArguments {
    /// Model folder (config.json, weights, tokenizer), or a hub id: org/name[@revision]
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Rows to score (.jsonl or .parquet)
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Output file for the scores (.jsonl or .parquet); `-` or none: standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Skip and count bad rows instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    /// Maximum tokens in one forward pass: more are faster and need more memory; scores do not depend on it
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = at_least_one)]
    tokens_per_batch: u64,
    #[command(flatten)]
    engine: EngineChoice,
}

/// Runs `latrace score`.
pub fn run(arguments: &ScoreArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let options = CpuOptions { score_tokens: arguments.tokens_per_batch as usize, ..CpuOptions::default() };
    let engine = arguments.engine.or(CpuEngine::new(options))?;
    // Before the model: a wrong file name must not come to light after its weights have been loaded.
    let mut reader = open_rows(&arguments.data, arguments.skip_bad_rows)?;
    let model = ModelInput::open(&arguments.model)?;
    let (columns, mut ids) = (arguments.columns.columns(), UniqueIds::default());
    let mut next = || reader.next_with(|_, row| parse(row, &columns, &model, &mut ids));
    let cannot = || format!("cannot score {}", arguments.data.display());
    let written = arguments.engine.work(&Kept::Nothing, || {
        let mut scorer = engine.scorer(&model.folder)?;
        write_rows(&out, |sink| score_rows(&mut *scorer, &mut next, sink, cannot))
    })?;
    info!("{written} rows scored, {} bad rows skipped", reader.skipped());
    Ok(())
}

/// Scores all rows, and returns their number.
fn score_rows(
    scorer: &mut dyn Score,
    next: &mut NextRow<'_>,
    sink: &mut dyn RowSink,
    cannot: impl Fn() -> String,
) -> Result<usize> {
    let mut scoring = Scoring::new(next, sink);
    let outcome = scorer.score(&mut scoring);
    // An error of reading or writing already names its file; the engine's copy of it would add a wrong one.
    scoring.failure.take().map_or(Ok(()), Err)?;
    outcome.with_context(cannot)?;
    Ok(scoring.finish())
}

/// Yields the next row without its consumed fields, and the tokens to score.
type NextRow<'a> = dyn FnMut() -> Result<Option<(Row, ScoreRow)>> + 'a;

/// Passes rows from their file to the engine, and writes them in file order whatever order the scores arrive
/// in.
struct Scoring<'a> {
    next: &'a mut NextRow<'a>,
    sink: &'a mut dyn RowSink,
    progress: Progress,
    /// Rows not yet written, with the token ids of their responses; the first is row number `written`.
    waiting: VecDeque<(Row, Vec<u32>)>,
    /// Scores of waiting rows, by number.
    scores: BTreeMap<usize, Vec<f32>>,
    written: usize,
    /// The error of reading or writing, kept here with its chain: the engine passes on only its message.
    failure: Option<anyhow::Error>,
}

impl<'a> Scoring<'a> {
    fn new(next: &'a mut NextRow<'a>, sink: &'a mut dyn RowSink) -> Scoring<'a> {
        let (waiting, scores) = (VecDeque::new(), BTreeMap::new());
        let progress = Progress::new("rows scored", 0, None);
        Scoring { next, sink, progress, waiting, scores, written: 0, failure: None }
    }

    /// The number of rows written.
    fn finish(self) -> usize {
        self.progress.finish();
        self.written
    }

    fn fail<T>(&mut self, error: anyhow::Error) -> Result<T> {
        let message = error.to_string();
        self.failure = Some(error);
        Err(Failure::work(message).into())
    }

    /// Writes waiting rows from the oldest on, up to the first without a score.
    fn write_scored(&mut self) -> Result<()> {
        while let Some(logprobs) = self.scores.remove(&self.written) {
            // There is one: a score has been found for its number, and rows wait in the order of theirs.
            let Some((mut row, response)) = self.waiting.pop_front() else { break };
            add_scores(&mut row, &response, &logprobs)?;
            self.sink.write(row)?;
            self.written += 1;
        }
        Ok(())
    }
}

impl ScoreClient for Scoring<'_> {
    fn next_row(&mut self) -> Result<Option<ScoreRow>> {
        // Kept until the scores arrive, because the output row is the input row with the scores added.
        match (self.next)() {
            Ok(Some((row, scored))) => {
                self.waiting.push_back((row, scored.response.clone()));
                Ok(Some(scored))
            }
            Ok(None) => Ok(None),
            Err(error) => self.fail(error),
        }
    }

    fn scored(&mut self, row: usize, logp: Vec<f32>) -> Result<()> {
        self.scores.insert(row, logp);
        self.progress.advance(1);
        self.write_scored().or_else(|error| self.fail(error))
    }

    fn name(&self, row: usize) -> String {
        // A row that has been written is gone, and its number has to do.
        let kept = row.checked_sub(self.written).and_then(|at| self.waiting.get(at));
        kept.and_then(|(row, _)| row.get("id")).map_or_else(|| row.to_string(), id_text)
    }
}

fn parse(
    mut row: Row,
    columns: &Columns,
    model: &ModelInput,
    ids: &mut UniqueIds,
) -> Parsed<(Row, ScoreRow)> {
    let id = ids.take_sample(&row)?;
    let pair = prompt_and_response(&*columns.view(&row)?, &model.text)?;
    let (length, limit) = (pair.prompt.len() + pair.response.len(), model.shape.positions);
    // They may fill every position, unlike a prompt to sample from: nothing has to follow the last token.
    if length > limit {
        let expected = format!("at most the model's {limit} tokens of prompt and response (id {id})");
        return Err(FieldProblem::new("response", expected, length.to_string()));
    }
    columns.remove_read(&mut row, &CONSUMED_FIELDS);
    Ok((row, ScoreRow { prompt: pair.prompt, response: pair.response }))
}

/// Adds the scores of a row: `logprobs` in nats, one per token of `response`.
fn add_scores(row: &mut Row, response: &[u32], logprobs: &[f32]) -> Result<()> {
    // Summed in f64: a trace has thousands of tokens, and weights are exponentials of such sums.
    let sum: f64 = logprobs.iter().map(|&logprob| f64::from(logprob)).sum();
    add_fields(
        row,
        [
            ("token_ids", json!(response)),
            // As an f32 prints, not with the digits of its nearest f64.
            ("logprobs", json!(decimals(logprobs)?)),
            ("sum_logprob", json!(sum)),
            ("mean_logprob", json!(sum / logprobs.len() as f64)),
        ],
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_added_behind_the_other_fields_and_print_short() {
        let mut row = Row::new();
        row.insert("id".to_owned(), json!("a"));
        add_scores(&mut row, &[4, 5], &[-0.5, -0.1]).unwrap();
        let expected = r#"{"id":"a","token_ids":[4,5],"logprobs":[-0.5,-0.1],"sum_logprob":-0.6000000014901161,"mean_logprob":-0.30000000074505806}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), expected);
    }

    #[test]
    fn a_log_prob_that_is_not_finite_is_an_error() {
        assert!(add_scores(&mut Row::new(), &[4], &[f32::NAN]).is_err());
    }
}
