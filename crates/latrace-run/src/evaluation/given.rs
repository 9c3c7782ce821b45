//! Given responses: rows of a file, joined to an evaluation's questions by id.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_io::rows::{BadRows, FieldProblem, Row, RowReader, describe, field, id_of};
use serde_json::Value;

use super::Asked;
use super::response::Response;

/// A row of the file.
struct GivenRow {
    /// The question's id.
    id: String,
    /// The response's number; by default its place among the question's rows.
    sample: Option<u64>,
    response: Response,
}

/// Responses with their numbers, by question.
type Numbered = HashMap<String, Vec<(u64, Response)>>;

/// The responses of a file, by question.
///
/// # Errors
/// A row without id or response; a question without a response.
pub(super) fn read(file: &Path, asked: &[Asked]) -> Result<HashMap<String, Vec<Response>>> {
    let found = read_rows(file, asked)?;
    check_complete(&found, asked, file)?;
    Ok(found.into_iter().map(in_order).collect())
}

fn read_rows(file: &Path, asked: &[Asked]) -> Result<Numbered> {
    let mut found: Numbered = asked.iter().map(|asked| (asked.id.clone(), Vec::new())).collect();
    let mut reader = RowReader::open(file, BadRows::Stop)?;
    let mut others = 0_u64;
    while let Some(row) = reader.next_with(|_, row| given_row(&row))? {
        others += u64::from(!add(&mut found, row));
    }
    // Not an error: one file may hold the responses to all questions, of which `--limit` selects some.
    if others > 0 {
        tracing::warn!("{others} responses of {} are to questions outside this evaluation", file.display());
    }
    Ok(found)
}

/// Adds a response to those of its question. Returns whether the question is in the evaluation.
fn add(found: &mut Numbered, row: GivenRow) -> bool {
    let Some(responses) = found.get_mut(&row.id) else { return false };
    responses.push((row.sample.unwrap_or(responses.len() as u64), row.response));
    true
}

/// Fails if a question has no response: its accuracy would be that of an empty sample.
fn check_complete(found: &Numbered, asked: &[Asked], file: &Path) -> Result<()> {
    let without: Vec<&Asked> = asked.iter().filter(|asked| found[&asked.id].is_empty()).collect();
    match without.first() {
        Some(first) => Err(is_incomplete(file, &first.id, without.len(), asked.len()).into()),
        None => Ok(()),
    }
}

fn is_incomplete(file: &Path, first: &str, missing: usize, all: usize) -> Failure {
    let file = file.display();
    Failure::work(format!("{file} has no response to {missing} of {all} questions, such as \"{first}\""))
        .hint("each row needs the `id` of its question; `--limit` and `--subset` select fewer questions")
}

fn in_order((id, mut responses): (String, Vec<(u64, Response)>)) -> (String, Vec<Response>) {
    // A stable sort: rows with the same number keep the order of the file.
    responses.sort_by_key(|(sample, _)| *sample);
    (id, responses.into_iter().map(|(_, response)| response).collect())
}

fn given_row(row: &Row) -> Result<GivenRow, FieldProblem> {
    let id = id_of(row)?.ok_or_else(|| FieldProblem::new("id", "a string or an integer", "nothing"))?;
    Ok(GivenRow {
        id: id.as_str().map_or_else(|| id.to_string(), str::to_owned),
        sample: field(row, "sample").and_then(Value::as_u64),
        response: given_response(row)?,
    })
}

fn given_response(row: &Row) -> Result<Response, FieldProblem> {
    let tokens = field(row, "token_ids").and_then(Value::as_array).map(|ids| ids.len() as u64);
    let stop_reason = field(row, "stop_reason").and_then(Value::as_str).map(str::to_owned);
    Ok(Response { text: response_text(row)?, stop_reason, tokens, ..Response::default() })
}

/// The response's text: `response`, or `text` as `latrace sample` writes it.
fn response_text(row: &Row) -> Result<String, FieldProblem> {
    match field(row, "response").or_else(|| field(row, "text")) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => {
            let found = other.map_or_else(|| "nothing".to_owned(), describe);
            Err(FieldProblem::new("response", "a text", found))
        }
    }
}
