//! Divides questions by how often one of the models answers them right: which questions a method helps with.

use std::collections::BTreeMap;

use anyhow::Result;
use latrace_io::failure::Failure;

use super::recount::{counted, results_of};
use super::sources::Results;
use super::{Entry, Shows};

/// The entries with the bands of the named model's accuracy in place of subsets. A question that the model was not asked is
/// in none.
///
/// # Errors
/// No model of that name on a benchmark; models without per-question results.
pub fn by_model(entries: Vec<Entry>, name: &str) -> Result<Vec<Entry>> {
    let with_results = |entry: Entry| results_of(&entry).map(|results| (entry, results));
    let read: Vec<(Entry, Results)> = entries.into_iter().map(with_results).collect::<Result<_>>()?;
    let bands = bands_of(&read, name);
    let banded = |(entry, mut results): (Entry, Results)| {
        let bands = bands.get(&entry.benchmark).ok_or_else(|| not_found(&entry, name))?;
        for (id, outcome) in &mut results {
            outcome.subset = bands.get(id).map(|&band| band.to_owned());
        }
        Ok(Entry { shows: Shows::Both, ..counted(entry, results) })
    };
    read.into_iter().map(banded).collect()
}

/// By benchmark, then by question.
fn bands_of(read: &[(Entry, Results)], name: &str) -> BTreeMap<String, BTreeMap<String, &'static str>> {
    let mut bands = BTreeMap::new();
    for (entry, results) in read.iter().filter(|(entry, _)| entry.is_named(name)) {
        let of = || results.iter().map(|(id, of)| (id.clone(), band(of.tally.share()))).collect();
        bands.entry(entry.benchmark.clone()).or_insert_with(of);
    }
    bands
}

/// The band of an accuracy. Sorted by name, bands are in order.
fn band(share: f64) -> &'static str {
    match share {
        0.0 => "0 %",
        ..=0.25 => "1-25 %",
        ..=0.5 => "26-50 %",
        ..=0.75 => "51-75 %",
        _ => "76-100 %",
    }
}

fn not_found(entry: &Entry, name: &str) -> Failure {
    Failure::usage(format!("--by {name}: there is no such model on {}", entry.benchmark))
        .hint(format!("one of them is {}", entry.name))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use latrace_objective::statistics::{Accuracy, Tally};

    use super::super::sources::{QuestionOutcome, ResultSource};
    use super::*;

    fn entry(name: &str, right_q: &[(&str, usize)]) -> Entry {
        let outcome = |&(id, right): &(&str, usize)| {
            let tally = Tally { right, samples: 8 };
            (id.to_owned(), QuestionOutcome { question: id.to_owned(), subset: Some("5".to_owned()), tally })
        };
        Entry {
            model: format!("run: {name}"),
            name: name.to_owned(),
            folder: PathBuf::from("run"),
            benchmark: "held-out".to_owned(),
            k: Some(8),
            overall: Accuracy::of(&[], 0),
            by_subset: BTreeMap::new(),
            distinct_right: None,
            costs: Vec::new(),
            shows: Shows::Both,
            questions: ResultSource::Counted(right_q.iter().map(outcome).collect()),
        }
    }

    #[test]
    fn questions_are_in_the_band_of_the_named_model_for_every_model() {
        let asked = [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 7)];
        let tuned = [("a", 4), ("b", 8), ("c", 0), ("d", 8), ("e", 8), ("f", 8)];
        let banded = by_model(vec![entry("initial", &asked), entry("final", &tuned)], "initial").unwrap();
        let of_final: Vec<(&str, f64)> =
            banded[1].by_subset.iter().map(|(band, of)| (band.as_str(), of.accuracy)).collect();
        assert_eq!(of_final, [("0 %", 0.5), ("1-25 %", 0.5), ("26-50 %", 1.0), ("76-100 %", 1.0)]);
        let error = by_model(vec![entry("initial", &asked)], "final").unwrap_err();
        assert_eq!(error.to_string(), "--by final: there is no such model on held-out");
    }

    #[test]
    fn bands_are_in_order_and_end_where_they_say() {
        let shares = [0.0, 0.01, 0.25, 0.26, 0.5, 0.51, 0.75, 0.76, 1.0];
        let bands: Vec<&str> = shares.into_iter().map(band).collect();
        assert!(bands.is_sorted(), "{bands:?}");
        assert_eq!(bands[..3], ["0 %", "1-25 %", "1-25 %"]);
        assert_eq!(bands[3..5], ["26-50 %"; 2]);
        assert_eq!(bands[5..7], ["51-75 %"; 2]);
        assert_eq!(bands[7..], ["76-100 %"; 2]);
    }
}
