//! Accuracies counted anew from results question by question: of runs taken together, of some subsets alone.

use std::collections::BTreeMap;

use anyhow::Result;

use super::pairs::SEED;
use super::sources::{ResultSource, Results};
use super::{Entry, Shows};
use latrace_io::failure::Failure;
use latrace_objective::statistics::{Accuracy, Tally};

/// Takes models of one name and benchmark together: runs of one recipe that differ in their seeds, and
/// perhaps in their questions. A question's responses then are those of all runs that ask it.
///
/// # Errors
/// Questions of one id and two texts; models without results question by question.
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
                    "cannot take {one} and {other} together: question \"{id}\" has another text"
                ))
            })?,
            None => pooled.push((Entry { model: entry.name.clone(), ..entry }, results)),
        }
    }
    Ok(pooled.into_iter().map(|(entry, results)| counted(entry, results)).collect())
}

/// Leaves questions of some subsets alone.
///
/// # Errors
/// A subset that no question of a model has; models without results question by question.
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

/// Adds the results of another run; the id of a question that has two texts.
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
    let missing = || Failure::work(format!("{} has no results question by question", entry.folder.display()));
    Ok(entry.questions.read()?.ok_or_else(missing)?)
}

/// The entry with its accuracies over `results`.
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
    // A subset's mean is of interest where there are several.
    let shows = if by_subset.len() > 1 { entry.shows } else { Shows::Overall };
    let by_subset =
        by_subset.into_iter().map(|(subset, tally_q)| (subset, Accuracy::of(&tally_q, SEED))).collect();
    Entry { k, overall, by_subset, shows, questions: ResultSource::Counted(results), ..entry }
}
