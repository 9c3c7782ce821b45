//! Paired comparisons: for each benchmark, one model against every other, question by question.

use anyhow::Result;
use serde::Serialize;

use super::sources::Results;
use super::{Entry, distinct};
use latrace_io::failure::Failure;
use latrace_io::text_table::{self, percent};
use latrace_objective::statistics::{Paired, paired};

/// Seed of bootstrap intervals and permutation tests, fixed so that a comparison is reproducible, and the same in a
/// report.
pub const SEED: u64 = 0;

/// Two models on the same questions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The benchmark.
    pub benchmark: String,
    /// The model compared with.
    pub first: String,
    /// The model being compared.
    pub second: String,
    /// The second's accuracy minus the first's.
    #[serde(flatten)]
    pub paired: Paired,
}

/// All pairs, and the reasons why other models form none. `against` names the model to compare the others
/// with; by default the first of each benchmark.
///
/// # Errors
/// A name that no model has; corrupt results.
pub fn pairs(entries: &[Entry], against: Option<&str>) -> Result<(Vec<Pair>, Vec<String>)> {
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for benchmark in distinct(entries.iter().map(|entry| &entry.benchmark)) {
        let of_benchmark = on(entries, benchmark);
        let first = base(&of_benchmark, against)?;
        let (pairs, unpaired) = with_each(first, &of_benchmark)?;
        found.extend(pairs);
        reasons.extend(unpaired.into_sentences(first));
    }
    Ok((found, reasons))
}

/// The entries of a benchmark.
fn on<'a>(entries: &'a [Entry], benchmark: &str) -> Vec<&'a Entry> {
    entries.iter().filter(|entry| entry.benchmark == benchmark).collect()
}

/// The model that the others are compared with.
fn base<'a>(of_benchmark: &[&'a Entry], against: Option<&str>) -> Result<&'a Entry> {
    let Some(name) = against else { return Ok(of_benchmark[0]) };
    let named = of_benchmark.iter().find(|entry| entry.is_named(name));
    Ok(named.copied().ok_or_else(|| no_such_model(name, of_benchmark))?)
}

fn no_such_model(name: &str, of_benchmark: &[&Entry]) -> Failure {
    let known: Vec<&str> = of_benchmark.iter().map(|entry| entry.model.as_str()).collect();
    Failure::usage(format!("--against {name}: no such model on {}", of_benchmark[0].benchmark))
        .hint(format!("it has {}", known.join(", ")))
}

/// The pairs of a model with every other, and the models that form none.
fn with_each(first: &Entry, of_benchmark: &[&Entry]) -> Result<(Vec<Pair>, Unpaired)> {
    let (mut found, mut unpaired) = (Vec::new(), Unpaired::default());
    // By address: two entries may be equal in every field, such as the same folder given twice.
    let others: Vec<&&Entry> = of_benchmark.iter().filter(|other| !std::ptr::eq(**other, first)).collect();
    // Results can be large, and a model alone on its benchmark needs none.
    if others.is_empty() {
        return Ok((found, unpaired));
    }
    let base = Answers::read(first)?;
    for second in others {
        match base.compared(&Answers::read(second)?) {
            Ok(pair) => found.push(pair),
            Err(reason) => unpaired.add(reason, &second.model),
        }
    }
    Ok((found, unpaired))
}

/// Models that form no pair, by the reason.
#[derive(Default)]
struct Unpaired(Vec<(String, Vec<String>)>);

impl Unpaired {
    fn add(&mut self, reason: String, model: &str) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, models)) => models.push(model.to_owned()),
            None => self.0.push((reason, vec![model.to_owned()])),
        }
    }

    fn into_sentences(self, first: &Entry) -> impl Iterator<Item = String> {
        let Entry { model, benchmark, .. } = first;
        let sentence = move |(reason, models): (_, Vec<_>)| {
            format!("{model} and {} on {benchmark}: {reason}", models.join(", "))
        };
        self.0.into_iter().map(sentence)
    }
}

/// A model with its per-question results, if there are any.
struct Answers<'a> {
    of: &'a Entry,
    results: Option<Results>,
}

impl Answers<'_> {
    fn read(of: &Entry) -> Result<Answers<'_>> {
        Ok(Answers { of, results: of.questions.read()? })
    }

    /// The pair of this model and a second, or the reason why their questions cannot be aligned.
    fn compared(&self, second: &Answers<'_>) -> Result<Pair, String> {
        let (one, other) = (self.results()?, second.results()?);
        same_questions(one, other)?;
        Ok(Pair {
            benchmark: self.of.benchmark.clone(),
            first: self.of.model.clone(),
            second: second.of.model.clone(),
            paired: paired(&shares(one), &shares(other), SEED),
        })
    }

    fn results(&self) -> Result<&Results, String> {
        self.results
            .as_ref()
            .ok_or_else(|| format!("{} has no per-question results", self.of.folder.display()))
    }
}

/// Shares of correct responses, in order of the ids: two sets of the same questions are aligned.
fn shares(results: &Results) -> Vec<f64> {
    results.values().map(|outcome| outcome.tally.share()).collect()
}

/// Fails if two sets of questions differ, and says how.
fn same_questions(one: &Results, other: &Results) -> Result<(), String> {
    if let Some(id) = missing_in(other, one).or_else(|| missing_in(one, other)) {
        let (ones, others) = (one.len(), other.len());
        return Err(format!("their questions differ ({ones} and {others}; \"{id}\" is in only one of them)"));
    }
    // Ids alone do not suffice: two data sets may both number their questions from 0.
    match one.iter().find(|(id, outcome)| outcome.question != other[*id].question) {
        Some((id, _)) => Err(format!("their questions differ (\"{id}\" has a different text)")),
        None => Ok(()),
    }
}

fn missing_in<'a>(results: &Results, of: &'a Results) -> Option<&'a String> {
    of.keys().find(|id| !results.contains_key(*id))
}

const COLUMNS: [&str; 7] = ["benchmark", "compared", "with", "difference", "95 %", "p", "questions"];

const METHOD: &str = "Differences in percentage points on the same questions; p-values of the two-sided sign-flip permutation test.\n";

/// The pairs as a table.
pub fn markdown(pairs: &[Pair]) -> String {
    let rows: Vec<[String; 7]> = pairs.iter().map(row).collect();
    format!("{}\n{METHOD}", text_table::markdown(&COLUMNS.map(str::to_owned), &rows))
}

fn row(Pair { benchmark, first, second, paired }: &Pair) -> [String; 7] {
    let Paired { difference, p, questions } = paired;
    [
        benchmark.clone(),
        second.clone(),
        first.clone(),
        signed(difference.mean),
        format!("{} to {}", signed(difference.low), signed(difference.high)),
        small(*p),
        questions.to_string(),
    ]
}

/// A share in percent, with its sign also when it is positive: it is a difference.
fn signed(share: f64) -> String {
    format!("{}{}", if share > 0.0 { "+" } else { "" }, percent(share))
}

/// A p-value. Below 0.001 the test's random permutations leave no more digits.
fn small(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
