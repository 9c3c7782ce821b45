//! The training questions that a stage is about.

use std::collections::HashSet;

use anyhow::Result;
use latrace_core::Split;
use latrace_core::random::stream;
use latrace_io::table::Table;

use crate::pipeline::records::QuestionRecord;
use crate::recipe::run::TracedQuestions;

/// Whether traces may be sampled for a question.
pub(super) fn is_selected(question: &QuestionRecord, questions: TracedQuestions) -> bool {
    // The other splits are for evaluation only.
    question.split == Split::Train && (questions == TracedQuestions::All || question.trace_ids.is_none())
}

/// The ids of the questions for which traces are sampled, `limit` of them drawn uniformly; none where all of them
/// are taken.
pub(super) fn with_samples(
    source: &Table<QuestionRecord>,
    questions: TracedQuestions,
    limit: usize,
    seed: u64,
) -> Result<Option<HashSet<String>>> {
    let selected = |question: &QuestionRecord| is_selected(question, questions);
    (limit > 0).then(|| drawn(source, limit, ("traces.limit", seed), selected)).transpose()
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
