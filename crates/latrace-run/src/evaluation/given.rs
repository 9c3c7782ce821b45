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
    let Some(known) = found.get_mut(&row.id) else { return false };
    known.push((row.sample.unwrap_or(known.len() as u64), row.response));
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

fn in_order((id, mut found): (String, Vec<(u64, Response)>)) -> (String, Vec<Response>) {
    // A stable sort: rows with the same number keep the order of the file.
    found.sort_by_key(|(sample, _)| *sample);
    (id, found.into_iter().map(|(_, response)| response).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, ids: &[&str]) -> Result<HashMap<String, Vec<Response>>> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("given.jsonl");
        std::fs::write(&file, text).unwrap();
        let asked: Vec<Asked> =
            ids.iter().map(|id| Asked { id: (*id).to_owned(), text: String::new() }).collect();
        read(&file, &asked)
    }

    #[test]
    fn responses_join_their_question_in_the_order_of_their_numbers() {
        let rows = "{\"id\": \"a\", \"sample\": 1, \"response\": \"second\", \"text\": \"other\"}\n\
                    {\"id\": 7, \"text\": \"seven\", \"stop_reason\": \"max_tokens\", \"token_ids\": [1, 2]}\n\
                    {\"id\": \"a\", \"sample\": 0, \"response\": \"first\"}\n\
                    {\"id\": \"b\", \"response\": \"not asked\"}\n";
        let found = read_text(rows, &["a", "7"]).unwrap();
        let texts = |id: &str| found[id].iter().map(|response| response.text.as_str()).collect::<Vec<_>>();
        assert_eq!((found.len(), texts("a"), texts("7")), (2, vec!["first", "second"], vec!["seven"]));
        assert!(found["7"][0].is_truncated() && !found["a"][0].is_truncated());
        assert_eq!((found["7"][0].tokens, found["a"][0].tokens), (Some(2), None));
    }

    #[test]
    fn a_question_without_a_response_is_named() {
        let row = "{\"id\": \"a\", \"response\": \"r\"}\n";
        let error = read_text(row, &["a", "b", "c"]).unwrap_err().to_string();
        assert!(error.ends_with("has no response to 2 of 3 questions, such as \"b\""), "{error}");
        let error = read_text("{\"id\": \"a\", \"response\": 4}\n", &["a"]).unwrap_err().to_string();
        assert!(error.contains("field \"response\": expected a text"), "{error}");
        let error = read_text("{\"response\": \"r\"}\n", &["a"]).unwrap_err().to_string();
        assert!(error.contains("field \"id\""), "{error}");
    }
}
