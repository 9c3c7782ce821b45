//! Recomputes accuracies from per-question results: of pooled runs, or of some subsets.

use anyhow::Result;

use super::pairs::SEED;
use super::sources::{ResultSource, Results};
use super::{Entry, Shows};
use crate::evaluation::accuracy_by;
use latrace_io::failure::Failure;
use latrace_objective::statistics::{Accuracy, Tally};

/// Pools models of the same name on the same benchmark: runs of one recipe that differ in their seeds, and
/// possibly in their questions. A question's responses are those of all runs that evaluate it.
///
/// # Errors
/// Questions with the same id but different texts; models without per-question results.
pub fn pool(entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut pooled: Vec<(Entry, Results)> = Vec::new();
    for entry in entries {
        let results = results_of(&entry)?;
        match pooled.iter_mut().find(|(known, _)| is_same_model(known, &entry)) {
            Some((known, together)) => {
                add(together, results).map_err(|id| two_texts(known, &entry, &id))?;
                known.costs.extend(entry.costs);
            }
            // The pooled model is named without the folder: it is of several.
            None => pooled.push((Entry { model: entry.name.clone(), ..entry }, results)),
        }
    }
    Ok(pooled.into_iter().map(|(entry, results)| counted(entry, results)).collect())
}

fn is_same_model(one: &Entry, other: &Entry) -> bool {
    one.name == other.name && one.benchmark == other.benchmark
}

fn two_texts(one: &Entry, other: &Entry, id: &str) -> Failure {
    let (one, other) = (one.folder.display(), other.folder.display());
    Failure::work(format!("cannot pool {one} and {other}: question \"{id}\" has a different text"))
}

/// Keeps only the questions of some subsets.
///
/// # Errors
/// A subset that no question of a model is in; models without per-question results.
pub fn keep(entries: Vec<Entry>, subsets: &[String]) -> Result<Vec<Entry>> {
    entries.into_iter().map(|entry| kept(entry, subsets)).collect()
}

fn kept(entry: Entry, subsets: &[String]) -> Result<Entry> {
    let mut results = results_of(&entry)?;
    results.retain(|_, outcome| outcome.subset.as_ref().is_some_and(|subset| subsets.contains(subset)));
    if results.is_empty() {
        return Err(no_such_subset(&entry, subsets).into());
    }
    Ok(counted(entry, results))
}

fn no_such_subset(entry: &Entry, subsets: &[String]) -> Failure {
    let Entry { model, benchmark, .. } = entry;
    let known: Vec<&str> = entry.by_subset.keys().map(String::as_str).collect();
    Failure::usage(format!("--only {}: {model} has no such question on {benchmark}", subsets.join(", ")))
        .hint(format!("it has {}", known.join(", ")))
}

/// Adds the results of another run. The error is the id of a question with two different texts.
fn add(together: &mut Results, more: Results) -> Result<(), String> {
    for (id, outcome) in more {
        match together.get_mut(&id) {
            // Pooled responses to two questions would be an accuracy on neither.
            Some(known) if known.question != outcome.question => return Err(id),
            Some(known) => {
                known.tally.right += outcome.tally.right;
                known.tally.samples += outcome.tally.samples;
            }
            None => drop(together.insert(id, outcome)),
        }
    }
    Ok(())
}

pub(super) fn results_of(entry: &Entry) -> Result<Results> {
    let missing = || Failure::work(format!("{} has no per-question results", entry.folder.display()));
    Ok(entry.questions.read()?.ok_or_else(missing)?)
}

/// The entry with accuracies recomputed over `results`.
pub(super) fn counted(entry: Entry, results: Results) -> Entry {
    let tally_q: Vec<Tally> = results.values().map(|outcome| outcome.tally).collect();
    let questions = results.values().map(|outcome| (outcome.subset.as_ref(), outcome.tally));
    let by_subset = accuracy_by(questions, SEED);
    // With a single subset, its mean would repeat the overall one.
    let shows = if by_subset.len() > 1 { entry.shows } else { Shows::Overall };
    let overall = Accuracy::of(&tally_q, SEED);
    let questions = ResultSource::Counted(results);
    Entry { k: common_samples(&tally_q), overall, by_subset, shows, questions, ..entry }
}

/// Samples per question; none where pooled runs give some questions more than others.
fn common_samples(tally_q: &[Tally]) -> Option<usize> {
    let first = tally_q.first()?.samples;
    tally_q.iter().all(|tally| tally.samples == first).then_some(first)
}
