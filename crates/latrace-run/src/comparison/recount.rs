//! Recomputes accuracies from per-question results: of pooled runs, or of some subsets.

use std::collections::BTreeMap;

use anyhow::Result;

use super::pairs::SEED;
use super::sources::{ResultSource, Results};
use super::{Entry, Shows};
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
        match pooled
            .iter_mut()
            .find(|(known, _)| known.name == entry.name && known.benchmark == entry.benchmark)
        {
            Some((known, together)) => add(together, results).map_err(|id| {
                let (one, other) = (known.folder.display(), entry.folder.display());
                Failure::work(format!(
                    "cannot pool {one} and {other}: question \"{id}\" has a different text"
                ))
            })?,
            None => pooled.push((Entry { model: entry.name.clone(), ..entry }, results)),
        }
    }
    Ok(pooled.into_iter().map(|(entry, results)| counted(entry, results)).collect())
}

/// Keeps only the questions of some subsets.
///
/// # Errors
/// A subset that no question of a model is in; models without per-question results.
pub fn keep(entries: Vec<Entry>, subsets: &[String]) -> Result<Vec<Entry>> {
    let kept = |entry: Entry| {
        let mut results = results_of(&entry)?;
        results.retain(|_, outcome| outcome.subset.as_ref().is_some_and(|subset| subsets.contains(subset)));
        if results.is_empty() {
            let known: Vec<&str> = entry.by_subset.keys().map(String::as_str).collect();
            let message = format!(
                "--only {}: {} has no such question on {}",
                subsets.join(", "),
                entry.model,
                entry.benchmark
            );
            return Err(Failure::usage(message).hint(format!("it has {}", known.join(", "))).into());
        }
        Ok(counted(entry, results))
    };
    entries.into_iter().map(kept).collect()
}

/// Adds the results of another run. The error is the id of a question with two different texts.
fn add(together: &mut Results, more: Results) -> Result<(), String> {
    for (id, outcome) in more {
        match together.get_mut(&id) {
            Some(known) if known.question != outcome.question => return Err(id),
            Some(known) => {
                let Tally { right, samples } = known.tally;
                known.tally =
                    Tally { right: right + outcome.tally.right, samples: samples + outcome.tally.samples };
            }
            None => drop(together.insert(id, outcome)),
        }
    }
    Ok(())
}

fn results_of(entry: &Entry) -> Result<Results> {
    let missing = || Failure::work(format!("{} has no per-question results", entry.folder.display()));
    Ok(entry.questions.read()?.ok_or_else(missing)?)
}

/// The entry with accuracies recomputed over `results`.
fn counted(entry: Entry, results: Results) -> Entry {
    let mut by_subset: BTreeMap<String, Vec<Tally>> = BTreeMap::new();
    for outcome in results.values() {
        if let Some(subset) = &outcome.subset {
            by_subset.entry(subset.clone()).or_default().push(outcome.tally);
        }
    }
    let tally_q: Vec<Tally> = results.values().map(|outcome| outcome.tally).collect();
    let overall = Accuracy::of(&tally_q, SEED);
    let k = tally_q.iter().all(|tally| tally.samples == tally_q[0].samples).then(|| tally_q[0].samples);
    // With a single subset, its mean would repeat the overall one.
    let shows = if by_subset.len() > 1 { entry.shows } else { Shows::Overall };
    let by_subset =
        by_subset.into_iter().map(|(subset, tally_q)| (subset, Accuracy::of(&tally_q, SEED))).collect();
    Entry { k, overall, by_subset, shows, questions: ResultSource::Counted(results), ..entry }
}
