//! Which columns of a file are which fields of ours, by what published data sets call them.

use std::collections::BTreeMap;

/// What others call our fields.
const SYNONYMS: [(&str, &[&str]); 8] = [
    ("question", &["problem", "query", "instruction", "input", "task", "prompt_text"]),
    (
        "answer",
        &[
            "gold",
            "target",
            "final_answer",
            "expected_answer",
            "reference_answer",
            "ground_truth",
            "label",
            "output",
            "answerKey",
        ],
    ),
    (
        "trace",
        &["reasoning", "thinking", "thought", "rationale", "cot", "chain_of_thought", "reasoning_content"],
    ),
    ("solution", &["explanation", "worked_solution"]),
    ("options", &["choices"]),
    ("tests", &["test_cases", "input_output", "test_list"]),
    ("id", &["idx", "index", "problem_id", "question_id", "unique_id", "task_id", "uuid"]),
    ("difficulty", &["level"]),
];

/// Columns for our fields that the file does not have under their own names, over those that are `given`.
pub(super) fn guess(names: &[String], given: &[(String, String)]) -> BTreeMap<String, String> {
    let mut columns: BTreeMap<String, String> = given.iter().cloned().collect();
    // A ready-made prompt or a chat has its question in it.
    let has_question = ["prompt", "messages", "conversations"].iter().any(|name| has(names, name));
    for (ours, others) in SYNONYMS {
        if has(names, ours) || columns.contains_key(ours) || (ours == "question" && has_question) {
            continue;
        }
        let called = |other: &&str| names.iter().find(|name| name.eq_ignore_ascii_case(other));
        let taken: Vec<&String> = columns.values().collect();
        let found = [ours].iter().chain(others).filter_map(called).find(|name| !taken.contains(name));
        if let Some(name) = found.cloned() {
            columns.insert(ours.to_owned(), name);
        }
    }
    columns
}

pub(super) fn has(names: &[String], name: &str) -> bool {
    names.iter().any(|known| known == name)
}
