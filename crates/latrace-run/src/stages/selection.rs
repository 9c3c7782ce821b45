//! The training questions that a stage is about.

use std::collections::HashSet;

use anyhow::Result;
use latrace_core::Split;
use latrace_core::random::stream;
use latrace_io::table::Table;

use crate::pipeline::records::QuestionRecord;
use crate::recipe::run::TracedQuestions;

/// The questions for which traces are sampled.
pub(super) struct WithSamples {
    questions: TracedQuestions,
    /// `limit` of them, drawn uniformly; none where all of them are taken.
    pub(super) drawn: Option<HashSet<String>>,
}

impl WithSamples {
    pub(super) fn of(
        source: &Table<QuestionRecord>,
        questions: TracedQuestions,
        limit: usize,
        seed: u64,
    ) -> Result<WithSamples> {
        let selected = |question: &QuestionRecord| is_selected(question, questions);
        let drawn =
            (limit > 0).then(|| drawn(source, limit, ("traces.limit", seed), selected)).transpose()?;
        Ok(WithSamples { questions, drawn })
    }

    pub(super) fn has(&self, question: &QuestionRecord) -> bool {
        is_selected(question, self.questions)
            && self.drawn.as_ref().is_none_or(|drawn| drawn.contains(&question.id))
    }
}

/// Whether traces may be sampled for a question.
fn is_selected(question: &QuestionRecord, questions: TracedQuestions) -> bool {
    // The other splits are for evaluation only.
    question.split == Split::Train && (questions == TracedQuestions::All || question.trace_ids.is_none())
}

/// The ids of `limit` of the questions that `is_meant` names, drawn uniformly by a purpose and a seed.
pub(super) fn drawn(
    source: &Table<QuestionRecord>,
    limit: usize,
    (purpose, seed): (&'static str, u64),
    is_meant: impl Fn(&QuestionRecord) -> bool,
) -> Result<HashSet<String>> {
    let mut ranked = Vec::new();
    for question in source.records()? {
        let question = question?;
        if is_meant(&question) {
            // By a number of its own: which questions are drawn does not depend on their order or parts.
            ranked.push((stream(seed, purpose, &question.id, 0), question.id));
        }
    }
    ranked.sort_unstable();
    Ok(ranked.into_iter().take(limit).map(|(_, id)| id).collect())
}
