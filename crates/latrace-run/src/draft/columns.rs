//! Which columns of a file are which fields of ours, by what published data sets call them.

use std::collections::BTreeMap;

use latrace_questions::source::field_synonyms;

/// Columns for our fields that the file does not have under their own names, over those that are `given`.
pub(super) fn guess(names: &[String], given: &[(String, String)]) -> BTreeMap<String, String> {
    let mut columns: BTreeMap<String, String> = given.iter().cloned().collect();
    // A ready-made prompt or a chat has its question in it.
    let has_question = ["prompt", "messages", "conversations"].iter().any(|name| has(names, name));
    for (ours, others) in field_synonyms() {
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
