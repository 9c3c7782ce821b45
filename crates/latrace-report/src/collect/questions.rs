//! The questions of a run: how many there are, what they mean, and an example.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_core::Split;
use latrace_io::table::Table;
use latrace_questions::query::kind_text;
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::pipeline::summary::contamination;
use latrace_run::recipe::run::RunRecipe;
use serde_json::Value;

use super::evaluation::easy_to_hard;
use crate::data::{ExampleQuestion, QuestionCounts};

/// Counts the questions of stage 0.
pub(super) fn count(folder: &Path, recipe: &RunRecipe) -> Result<QuestionCounts> {
    let contaminated = contamination(folder)?;
    let task = recipe.questions.task()?.map(|task| task.text());
    let mut counts = QuestionCounts {
        contaminated: contaminated.filter(|counts| counts.is_any()).map(|counts| counts.to_string()),
        responses_each: Some(recipe.evaluation.sampling.n),
        evaluation_split: Some(recipe.evaluation.split.name().to_owned()),
        meaning: task.map_or(recipe.questions.about.as_str(), |task| task.meaning).to_owned(),
        trace: task.map(|task| task.trace.to_owned()),
        difficulty: task.map(|task| task.difficulty.to_owned()),
        ..QuestionCounts::default()
    };
    let mut traced = BTreeMap::new();
    for question in Table::open(folder).records()? {
        count_question(&mut counts, &mut traced, question?, recipe.evaluation.split);
    }
    counts.traced_by_difficulty = easy_to_hard(traced);
    Ok(counts)
}

fn count_question(
    counts: &mut QuestionCounts,
    traced: &mut BTreeMap<String, usize>,
    question: QuestionRecord,
    evaluated: Split,
) {
    counts.evaluation += usize::from(question.split == evaluated);
    if question.split != Split::Train {
        return;
    }
    counts.train += 1;
    counts.with_trace += usize::from(question.trace_ids.is_some());
    counts.with_hint += usize::from(question.hint.is_some());
    counts.with_answer_as_hint += usize::from(is_answer(question.hint.as_deref(), &question.reference));
    if let Some(difficulty) = &question.difficulty {
        *traced.entry(difficulty.clone()).or_default() += usize::from(question.trace_ids.is_some());
    }
    if counts.example.is_none() {
        let answer = reference_answer(&question.reference);
        counts.example = Some(ExampleQuestion { question: question.question, answer });
        if counts.meaning.is_empty() {
            counts.meaning = kind_text(&question.kind).to_owned();
        }
    }
}

/// The reference answer as text: of several accepted ones the first; `None` where it is no text, such as the tests of a
/// program.
pub(super) fn reference_answer(reference: &str) -> Option<String> {
    let reference: Value = serde_json::from_str(reference).ok()?;
    let gold = reference.get("gold").unwrap_or(&reference);
    let first = gold.as_array().and_then(|list| list.first()).unwrap_or(gold);
    first.as_str().map(str::to_owned).or_else(|| first.is_number().then(|| first.to_string()))
}

fn is_answer(hint: Option<&str>, reference: &str) -> bool {
    hint.is_some_and(|hint| reference_answer(reference).is_some_and(|answer| answer.trim() == hint.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_the_answer_where_it_says_no_more_and_no_less() {
        let reference = r#"{"gold": "+7 -3"}"#;
        let hints = [Some("+7 -3 "), Some("+7"), Some("+7 -3 *2"), None];
        assert_eq!(hints.map(|hint| is_answer(hint, reference)), [true, false, false, false]);
        assert!(!is_answer(Some(""), "{}"));
    }

    #[test]
    fn a_reference_answer_is_a_text_or_a_number() {
        let answer = |reference: &str| reference_answer(reference);
        assert_eq!(answer(r#"{"gold": "+7 -3"}"#).as_deref(), Some("+7 -3"));
        assert_eq!(answer(r#"{"gold": ["4", "four"]}"#).as_deref(), Some("4"));
        assert_eq!(answer(r#"{"gold": 4}"#).as_deref(), Some("4"));
        assert_eq!(answer(r#""4""#).as_deref(), Some("4"));
        assert_eq!([answer(r#"{"gold": {"inputs": ["1"]}}"#), answer("{}"), answer("")], [None, None, None]);
    }
}
