//! Whether one answer of one question is right: by a kind of `latrace verify`, or by a built-in task.

use anyhow::{Context, Result};
use latrace_verify::Judgement;
use serde_json::{Value, json};

use crate::pipeline::records::{QuestionRecord, reference};
use crate::rows::Row;
use crate::verbs::verify::{Asked, SharedSandbox};

/// Judges answers; programs in a sandbox, which starts with the first of them.
#[derive(Default)]
pub struct Judge {
    time_limit: f64,
    sandbox: SharedSandbox,
}

impl Judge {
    /// A judge that gives programs so many seconds.
    pub fn new(time_limit: f64) -> Judge {
        Judge { time_limit, ..Judge::default() }
    }

    /// The judgement of `answer`, the text after the thought.
    ///
    /// # Errors
    /// A reference that its kind cannot have; stage 0 checks each.
    pub fn judge(&self, question: &QuestionRecord, answer: &str) -> Result<Judgement> {
        Ok(self.asked(question, answer)?.judge_safely(&self.sandbox))
    }

    /// Fails on a question that cannot be judged.
    ///
    /// # Errors
    /// An unknown kind; a reference that its kind cannot have.
    pub fn check(&self, question: &QuestionRecord) -> Result<()> {
        self.asked(question, "").map(drop)
    }

    fn asked(&self, question: &QuestionRecord, answer: &str) -> Result<Asked> {
        let named = || format!("question {}", question.id);
        let mut row: Row = match reference(question).with_context(named)? {
            Value::Object(row) => row,
            gold => Row::from_iter([("gold".to_owned(), gold)]),
        };
        row.insert("kind".to_owned(), json!(question.kind));
        row.insert("question".to_owned(), json!(question.question));
        row.insert("prediction".to_owned(), json!(answer));
        Asked::of(&row, Some(&question.reference), self.time_limit)
            .map_err(|problem| anyhow::anyhow!("{problem}"))
            .with_context(named)
    }
}
