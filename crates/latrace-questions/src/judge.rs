//! Judges answers to a question: by a kind of `latrace verify`, or by a built-in task.

use anyhow::{Context, Result};
use latrace_io::rows::Row;
use serde_json::{Value, json};

use crate::query::Query;
use crate::verifiers::Verifiers;

/// Reads references, and judges answers by them.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'a> {
    time_limit: f64,
    /// What judges.
    pub verifiers: &'a Verifiers,
}

/// A question in the form that the verifier needs.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// Its id, for errors.
    pub id: &'a str,
    /// The question as text.
    pub question: &'a str,
    /// A kind of `latrace verify`, or a built-in task.
    pub kind: &'a str,
    /// The reference as JSON: accepted answers, tests, options.
    pub reference: &'a str,
}

impl<'a> Judge<'a> {
    /// A judge with a time limit for programs (s).
    pub fn new(time_limit: f64, verifiers: &'a Verifiers) -> Judge<'a> {
        Judge { time_limit, verifiers }
    }

    /// The query that judges answers to a question.
    ///
    /// # Errors
    /// An unknown kind, or one without a verifier; a reference that is invalid for its kind.
    pub fn query(&self, of: Judged<'_>) -> Result<Query> {
        self.parse(of).with_context(|| format!("question {}", of.id))
    }

    /// The same without its id in errors: a [`latrace_io::rows::FieldProblem`] where the row is at fault.
    pub(crate) fn parse(&self, of: Judged<'_>) -> Result<Query> {
        self.verifiers.check(of.kind)?;
        // The text beside the row parsed from it: only the text has large integers in full.
        Ok(Query::of(&row_of(of)?, Some(of.reference), self.time_limit)?)
    }
}

/// A question as a row of `latrace verify`. A reference is either the row's other fields, or its `gold`
/// alone.
fn row_of(of: Judged<'_>) -> serde_json::Result<Row> {
    let mut row = match serde_json::from_str(of.reference)? {
        Value::Object(row) => row,
        gold => Row::from_iter([("gold".to_owned(), gold)]),
    };
    // Over those of the reference, which may be any object.
    row.insert("kind".to_owned(), json!(of.kind));
    row.insert("question".to_owned(), json!(of.question));
    row.insert("id".to_owned(), json!(of.id));
    Ok(row)
}

#[cfg(test)]
mod tests {
    use latrace_verify::Reason;

    use super::*;

    #[test]
    fn a_reference_is_a_row_or_its_gold_and_names_no_kind_of_its_own() {
        let verifiers = Verifiers::default();
        let judge = Judge::new(1.0, &verifiers);
        let of = |kind: &str, reference: &str, answer: &str| {
            let query = judge.query(Judged { id: "a", question: "10 14", kind, reference })?;
            Ok::<_, anyhow::Error>(verifiers.judge_all(&[(&query, answer)])?[0].reason)
        };
        assert_eq!(of("math", "\"4\"", "\\boxed{4}").unwrap(), Reason::Equal);
        assert_eq!(of("math", "{\"gold\": [\"4\", \"5\"]}", "\\boxed{5}").unwrap(), Reason::Equal);
        assert_eq!(
            of("math", "{\"gold\": \"4\", \"kind\": \"text\"}", "\\boxed{2+2}").unwrap(),
            Reason::Equal
        );
        // The task judges by the question that was asked.
        let other = "{\"gold\": \"+7\", \"question\": \"10 17\"}";
        assert_eq!(of("walk", other, "+7 -3").unwrap(), Reason::Equal);
        let error = format!("{:#}", of("maths", "\"4\"", "").unwrap_err());
        assert!(error.starts_with("question a: ") && error.contains("maths"), "{error}");
        let error = format!("{:#}", of("command", "\"4\"", "").unwrap_err());
        assert!(error.starts_with("question a: ") && error.contains("need a verifier"), "{error}");
    }

    #[test]
    fn large_integers_of_tests_are_read_in_full() {
        let verifiers = Verifiers::default();
        let number = "123456789012345678901234567890";
        let reference = format!("{{\"gold\": {{\"inputs\": [\"1\"], \"outputs\": [{number}]}}}}");
        let judged = Judged { id: "a", question: "q", kind: "code", reference: &reference };
        let query = Judge::new(1.0, &verifiers).query(judged).unwrap();
        assert!(query.runs_a_program() && format!("{query:?}").contains(number), "{query:?}");
    }
}
