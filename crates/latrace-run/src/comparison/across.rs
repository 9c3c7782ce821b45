//! Models over runs that differ in their seeds: accuracies of each run, and of all together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use latrace_objective::statistics::{Accuracy, Tally};

use super::pairs::SEED;
use super::sources::{self, Results};

/// A model's accuracies over several runs.
#[derive(Clone, Debug, PartialEq)]
pub struct AcrossRuns {
    /// Its name in the runs.
    pub model: String,
    /// In each run; `None` where a run does not have it.
    pub runs: Vec<Option<Accuracy>>,
    /// Over the questions of all runs, each with its responses in all of them; `None` without per-question results.
    pub pooled: Option<Accuracy>,
}

/// The models of finished runs, in the order in which the first run that has one trains it.
///
/// Unlike pooled models of a comparison, which are refused where one id stands for two questions, runs may ask different
/// questions: those are counted on their own.
///
/// # Errors
/// A run without a summary; corrupt tables.
pub fn across_runs(runs: &[PathBuf]) -> Result<Vec<AcrossRuns>> {
    let mut models: Vec<(AcrossRuns, Pool)> = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        for entry in sources::read(run)? {
            let at = models.iter().position(|(known, _)| known.model == entry.name).unwrap_or_else(|| {
                let of = vec![None; runs.len()];
                models.push((
                    AcrossRuns { model: entry.name.clone(), runs: of, pooled: None },
                    Pool::default(),
                ));
                models.len() - 1
            });
            let (model, pool) = &mut models[at];
            model.runs[place] = Some(entry.overall);
            pool.add(entry.questions.read()?.unwrap_or_default());
        }
    }
    Ok(models.into_iter().map(|(model, pool)| AcrossRuns { pooled: pool.accuracy(), ..model }).collect())
}

/// Responses by question, a question being its id and its text: two runs may number different questions alike.
#[derive(Default)]
struct Pool(BTreeMap<(String, String), Tally>);

impl Pool {
    fn add(&mut self, results: Results) {
        for (id, outcome) in results {
            let tally = self.0.entry((id, outcome.question)).or_insert(Tally { right: 0, samples: 0 });
            tally.right += outcome.tally.right;
            tally.samples += outcome.tally.samples;
        }
    }

    fn accuracy(self) -> Option<Accuracy> {
        let tally_q: Vec<Tally> = self.0.into_values().collect();
        (!tally_q.is_empty()).then(|| Accuracy::of(&tally_q, SEED))
    }
}

#[cfg(test)]
mod tests {
    use super::super::sources::QuestionOutcome;
    use super::*;

    fn results(questions: &[(&str, &str, usize)]) -> Results {
        let outcome = |&(id, question, right): &(&str, &str, usize)| {
            let tally = Tally { right, samples: 4 };
            (id.to_owned(), QuestionOutcome { question: question.to_owned(), subset: None, tally })
        };
        questions.iter().map(outcome).collect()
    }

    #[test]
    fn a_question_of_two_runs_is_one_and_two_of_one_id_are_two() {
        let mut pool = Pool::default();
        pool.add(results(&[("1", "p", 4), ("2", "q", 0)]));
        pool.add(results(&[("1", "p", 0), ("2", "r", 4)]));
        let pooled = pool.accuracy().unwrap();
        assert_eq!((pooled.questions, pooled.samples, pooled.accuracy), (3, 16, 0.5));
        assert_eq!(Pool::default().accuracy(), None);
    }
}
