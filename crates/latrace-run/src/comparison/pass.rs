//! pass@k, and how many different right answers a model finds: whether it still reaches what it rarely answers.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::Serialize;

use super::Entry;
use super::pairs::SEED;
use super::recount::results_of;
use latrace_io::text_table::{self, percent, range};
use latrace_objective::statistics::{Accuracy, Interval, Tally, pass_curve};

/// A model's pass@k on a benchmark.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PassLine {
    /// The model.
    pub model: String,
    /// The benchmark.
    pub benchmark: String,
    /// The number of runs; a question of each counts on its own.
    pub runs: usize,
    /// pass@k, by k: powers of two up to the responses per question.
    pub pass: BTreeMap<usize, Interval>,
    /// Mean number of different right answers to a question, if all runs counted them.
    pub distinct_right: Option<f64>,
}

/// The lines of all entries, or of the models of the same name together.
///
/// # Errors
/// Models without per-question results.
pub fn lines(entries: &[Entry], pooled: bool) -> Result<Vec<PassLine>> {
    let mut groups: Vec<(&str, Vec<&Entry>)> = Vec::new();
    for entry in entries {
        let name = if pooled { &entry.name } else { &entry.model };
        let is_same = |(known, of): &(&str, Vec<&Entry>)| known == name && of[0].benchmark == entry.benchmark;
        match groups.iter_mut().find(|group| pooled && is_same(group)) {
            Some((_, of)) => of.push(entry),
            None => groups.push((name, vec![entry])),
        }
    }
    groups.into_iter().map(|(name, of)| line(name, &of)).collect()
}

fn line(name: &str, of: &[&Entry]) -> Result<PassLine> {
    let mut tally_q: Vec<Tally> = Vec::new();
    for entry in of {
        tally_q.extend(results_of(entry)?.into_values().map(|outcome| outcome.tally));
    }
    // Of one run, the accuracy that it has counted itself.
    let overall = if let [entry] = of { entry.overall } else { Accuracy::of(&tally_q, SEED) };
    let pass = (1..).zip(pass_curve(&tally_q, &overall, SEED));
    let distinct: Option<f64> = of.iter().map(|entry| entry.distinct_right).sum();
    Ok(PassLine {
        model: name.to_owned(),
        benchmark: of[0].benchmark.clone(),
        runs: of.len(),
        pass: pass.filter(|(k, _)| usize::is_power_of_two(*k)).collect(),
        distinct_right: distinct.map(|sum| sum / of.len() as f64),
    })
}

/// The lines as a table.
pub fn markdown(lines: &[PassLine]) -> String {
    let most = lines.iter().flat_map(|line| line.pass.keys()).max().copied().unwrap_or(0);
    let ks: Vec<usize> = (0..).map(|power| 1 << power).take_while(|&k| k <= most).collect();
    let fixed = ["model", "benchmark", "runs"].map(str::to_owned).into_iter();
    let header: Vec<String> = fixed
        .chain(ks.iter().map(|k| format!("pass@{k}")))
        .chain(["different right answers".to_owned()])
        .collect();
    let rows: Vec<Vec<String>> = lines.iter().map(|line| row(line, &ks)).collect();
    text_table::markdown(&header, &rows)
}

fn row(line: &PassLine, ks: &[usize]) -> Vec<String> {
    let PassLine { model, benchmark, runs, pass, distinct_right } = line;
    let cell = |k| {
        let Interval { mean, low, high } = pass.get(k)?;
        Some(format!("{} ({})", percent(*mean), range(*low, *high)))
    };
    let dash = || "–".to_owned();
    let fixed = [model.clone(), benchmark.clone(), runs.to_string()].into_iter();
    let distinct = distinct_right.map_or_else(dash, |distinct| format!("{distinct:.2}"));
    fixed.chain(ks.iter().map(|k| cell(k).unwrap_or_else(dash))).chain([distinct]).collect()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::Shows;
    use super::super::sources::{QuestionOutcome, ResultSource};
    use super::*;

    fn entry(folder: &str, right: usize, distinct_right: f64) -> Entry {
        let tally = Tally { right, samples: 5 };
        let outcome = QuestionOutcome { question: "q".to_owned(), subset: None, tally };
        Entry {
            model: format!("{folder}: final"),
            name: "final".to_owned(),
            folder: PathBuf::from(folder),
            benchmark: "held-out".to_owned(),
            k: Some(5),
            overall: Accuracy::of(&[tally], 0),
            by_subset: BTreeMap::new(),
            distinct_right: Some(distinct_right),
            costs: Vec::new(),
            shows: Shows::Overall,
            questions: ResultSource::Counted(BTreeMap::from([("a".to_owned(), outcome)])),
        }
    }

    #[test]
    fn a_question_of_each_run_counts_on_its_own() {
        // One of five right: pass@2 is 1 - C(4, 2) / C(5, 2), pass@4 is 4 / 5.
        let entries = [entry("x", 1, 1.0), entry("y", 0, 0.0)];
        let line = lines(&entries, true).unwrap().remove(0);
        let means: Vec<(usize, f64)> = line.pass.iter().map(|(k, of)| (*k, of.mean)).collect();
        assert_eq!((line.runs, line.distinct_right), (2, Some(0.5)));
        assert_eq!(means.iter().map(|(k, _)| *k).collect::<Vec<_>>(), [1, 2, 4]);
        for ((_, mean), expected) in means.into_iter().zip([0.1, 0.2, 0.4]) {
            assert!((mean - expected).abs() < 1e-12, "{mean} is not {expected}");
        }
        let apart = lines(&entries, false).unwrap();
        assert_eq!(
            apart.iter().map(|line| line.model.as_str()).collect::<Vec<_>>(),
            ["x: final", "y: final"]
        );
        let table = markdown(&apart);
        assert!(table.contains(" pass@4 |"), "{table}");
        assert!(table.lines().nth(2).unwrap().ends_with(" 1.00 |"), "{table}");
    }
}
