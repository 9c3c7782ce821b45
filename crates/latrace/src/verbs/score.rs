//! `latrace score`: log-probs of given responses under a model.

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use latrace_engine::lm::{Config, Model, ScoreRow, Scorer};
use serde_json::{Value, json};

use super::columns::ColumnArguments;
use latrace_engine::row_tokens::{CONSUMED_FIELDS, prompt_and_response};
use latrace_engine::text::{TextSide, read_config};
use latrace_io::columns::Columns;
use latrace_io::failure::Failure;
use latrace_io::hub::model_folder;
use latrace_io::progress::Progress;
use latrace_io::rows::{
    BadRows, FieldProblem, Output, Row, RowReader, RowSink, UniqueIds, describe, shortest, write_rows,
};

/// Rows read, scored and written before the next are read.
const WINDOW_ROWS: usize = 512;

/// Arguments of `latrace score`.
#[derive(Args, Debug)]
#[command(after_help = "\
Rows in: `id` (and perhaps `sample` and `answer`), `prompt` or `prompt_ids`, `response` or `response_ids`.
Rows out, in the same order: the row's other fields, `token_ids` (of the response), `logprobs` (nats per token),
`sum_logprob`, `mean_logprob`.

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
    /// Where scores go (.jsonl or .parquet); `-` or nothing is standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Leave bad rows out and count them, instead of stopping at the first
    #[arg(long)]
    skip_bad_rows: bool,
    #[command(flatten)]
    columns: ColumnArguments,
    /// Most tokens in one forward pass: memory against speed; scores do not depend on it
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_batch: u64,
}

/// Runs `latrace score`.
pub fn run(arguments: &ScoreArguments) -> Result<()> {
    let out = Output::new(arguments.out.as_deref())?;
    let bad_rows = if arguments.skip_bad_rows { BadRows::Skip } else { BadRows::Stop };
    let mut reader = RowReader::open(&arguments.data, bad_rows)?;
    let folder = model_folder(&arguments.model)?;
    let config = read_config(&folder)?;
    let text = TextSide::open(&folder, &config)?;
    let model = Model::load(&folder)?;
    let written = write_rows(&out, |sink| score_all(arguments, &model, &text, &mut reader, sink))?;
    tracing::info!("{written} rows scored, {} bad rows skipped", reader.skipped());
    Ok(())
}

fn score_all(
    arguments: &ScoreArguments,
    model: &Model,
    text: &TextSide,
    reader: &mut RowReader,
    sink: &mut dyn RowSink,
) -> Result<u64> {
    let mut scorer = Scorer::new(model);
    let mut progress = Progress::new("rows scored", 0, None);
    let mut ids = UniqueIds::default();
    let mut written = 0;
    loop {
        let mut window = read_window(reader, |row| {
            parse(row, &arguments.columns.columns(), text, &model.config, &mut ids)
        })?;
        if window.rows.is_empty() {
            progress.finish();
            return Ok(written);
        }
        let scored = std::mem::take(&mut window.scored);
        let mut failure = None;
        let outcome = scorer.score(&scored, arguments.tokens_per_batch as usize, &mut |range, logprobs| {
            written += range.len() as u64;
            progress.advance(range.len() as u64);
            write_batch(&mut window.rows, &scored, range, &logprobs, sink).map_err(|error| {
                let message = error.to_string();
                failure = Some(error);
                latrace_engine::lm::Error::Invalid(message)
            })
        });
        // The scorer hands our own error back as a message; the original has its chain.
        failure.map_or(Ok(()), Err)?;
        outcome.with_context(|| format!("cannot score {}", arguments.data.display()))?;
    }
}

/// Rows as read, without what they were scored from, and their token ids.
#[derive(Default)]
struct Window {
    rows: Vec<Row>,
    scored: Vec<ScoreRow>,
}

fn read_window(
    reader: &mut RowReader,
    mut parse: impl FnMut(Row) -> Result<(Row, ScoreRow), FieldProblem>,
) -> Result<Window> {
    let mut window = Window::default();
    while window.rows.len() < WINDOW_ROWS {
        let Some((row, scored)) = reader.next_with(|_, row| parse(row))? else {
            break;
        };
        window.rows.push(row);
        window.scored.push(scored);
    }
    Ok(window)
}

fn parse(
    mut row: Row,
    columns: &Columns,
    text: &TextSide,
    config: &Config,
    ids: &mut UniqueIds,
) -> Result<(Row, ScoreRow), FieldProblem> {
    let id = ids.take_sample(&row)?;
    let pair = prompt_and_response(&*columns.view(&row)?, text)?;
    let (length, limit) = (pair.prompt.len() + pair.response.len(), config.max_positions);
    if length > limit {
        let expected = format!("at most the model's {limit} tokens of prompt and response (id {id})");
        return Err(FieldProblem::new("response", expected, length.to_string()));
    }
    columns.remove_read(&mut row, &CONSUMED_FIELDS);
    Ok((row, ScoreRow { prompt: pair.prompt, response: pair.response }))
}

/// Writes the scores of the window's rows in `range`; `logprobs` in nats, by row and response token.
fn write_batch(
    rows: &mut [Row],
    scored: &[ScoreRow],
    range: Range<usize>,
    logprobs: &[Vec<f32>],
    sink: &mut dyn RowSink,
) -> Result<()> {
    for (at, logprobs) in range.zip(logprobs) {
        let mut row = std::mem::take(&mut rows[at]);
        let id = row.get("id").map(describe).unwrap_or_default();
        add_scores(&mut row, &scored[at].response, logprobs)
            .with_context(|| format!("cannot score the row with id {id}"))?;
        sink.write(row)?;
    }
    Ok(())
}

fn add_scores(row: &mut Row, response: &[u32], logprobs: &[f32]) -> Result<()> {
    let sum: f64 = logprobs.iter().map(|&logprob| f64::from(logprob)).sum();
    let decimal = |(at, &logprob): (usize, &f32)| match shortest(logprob) {
        Some(decimal) => Ok(json!(decimal)),
        None => Err(Failure::work(format!("log-prob of response token {at} is not finite: {logprob}"))),
    };
    let decimals = logprobs.iter().enumerate().map(decimal).collect::<Result<Vec<Value>, Failure>>()?;
    row.insert("token_ids".to_owned(), json!(response));
    row.insert("logprobs".to_owned(), Value::Array(decimals));
    row.insert("sum_logprob".to_owned(), json!(sum));
    row.insert("mean_logprob".to_owned(), json!(sum / logprobs.len() as f64));
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
