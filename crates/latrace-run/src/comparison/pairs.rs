//! Paired comparisons: for each benchmark, one model against every other, question by question.

use anyhow::Result;
use serde::Serialize;

use super::Entry;
use super::sources::Results;
use latrace_io::failure::Failure;
use latrace_io::text_table::{self, percent};
use latrace_objective::statistics::{Paired, paired};

/// Seed of bootstrap intervals and permutation tests, fixed so that a comparison is reproducible.
pub(super) const SEED: u64 = 0;

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
    for (place, entry) in entries.iter().enumerate() {
        if entries[..place].iter().any(|earlier| earlier.benchmark == entry.benchmark) {
            continue;
        }
        let of_benchmark: Vec<&Entry> =
            entries.iter().filter(|other| other.benchmark == entry.benchmark).collect();
        let first = base(&of_benchmark, against)?;
        of_benchmark_pairs(first, &of_benchmark, &mut found, &mut reasons)?;
    }
    Ok((found, reasons))
}

/// The model that the others are compared with.
fn base<'a>(of_benchmark: &[&'a Entry], against: Option<&str>) -> Result<&'a Entry> {
    let Some(name) = against else { return Ok(of_benchmark[0]) };
    let named = of_benchmark.iter().find(|entry| entry.model == name || entry.name == name);
    named.copied().ok_or_else(|| {
        let known: Vec<&str> = of_benchmark.iter().map(|entry| entry.model.as_str()).collect();
        Failure::usage(format!("--against {name}: no such model on {}", of_benchmark[0].benchmark))
            .hint(format!("it has {}", known.join(", ")))
            .into()
    })
}

fn of_benchmark_pairs(
    first: &Entry,
    of_benchmark: &[&Entry],
    found: &mut Vec<Pair>,
    reasons: &mut Vec<String>,
) -> Result<()> {
    let others: Vec<&&Entry> = of_benchmark.iter().filter(|other| !std::ptr::eq(**other, first)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let base = first.questions.read()?;
    let mut apart: Vec<(String, Vec<&str>)> = Vec::new();
    for second in others {
        match aligned(first, base.as_ref(), second, second.questions.read()?.as_ref()) {
            Ok((first_q, second_q)) => found.push(Pair {
                benchmark: first.benchmark.clone(),
                first: first.model.clone(),
                second: second.model.clone(),
                paired: paired(&first_q, &second_q, SEED),
            }),
            Err(reason) => match apart.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, models)) => models.push(&second.model),
                None => apart.push((reason, vec![&second.model])),
            },
        }
    }
    let sentence = |(reason, models): (String, Vec<&str>)| {
        format!("{} and {} on {}: {reason}", first.model, models.join(", "), first.benchmark)
    };
    reasons.extend(apart.into_iter().map(sentence));
    Ok(())
}

/// Shares of correct responses, aligned by question, or the reason why they cannot be aligned.
fn aligned(
    first: &Entry,
    first_results: Option<&Results>,
    second: &Entry,
    second_results: Option<&Results>,
) -> Result<(Vec<f64>, Vec<f64>), String> {
    let missing = |entry: &Entry| format!("{} has no per-question results", entry.folder.display());
    let (one, other) =
        (first_results.ok_or_else(|| missing(first))?, second_results.ok_or_else(|| missing(second))?);
    same_questions(one, other)?;
    let shares = |results: &Results| results.values().map(|outcome| outcome.tally.share()).collect();
    Ok((shares(one), shares(other)))
}

/// Fails if two sets of questions differ, and says how.
fn same_questions(one: &Results, other: &Results) -> Result<(), String> {
    if let Some(id) = one
        .keys()
        .find(|id| !other.contains_key(*id))
        .or_else(|| other.keys().find(|id| !one.contains_key(*id)))
    {
        return Err(format!(
            "their questions differ ({} and {}; \"{id}\" is in only one of them)",
            one.len(),
            other.len()
        ));
    }
    match one.iter().find(|(id, outcome)| outcome.question != other[*id].question) {
        Some((id, _)) => Err(format!("their questions differ (\"{id}\" has a different text)")),
        None => Ok(()),
    }
}

/// The pairs as a table.
pub fn markdown(pairs: &[Pair]) -> String {
    let header = ["benchmark", "compared", "with", "difference", "95 %", "p", "questions"].map(str::to_owned);
    let signed = |share: f64| format!("{}{}", if share > 0.0 { "+" } else { "" }, percent(share));
    let row = |Pair { benchmark, first, second, paired }: &Pair| {
        let Paired { difference, p, questions } = paired;
        let interval = format!("{} to {}", signed(difference.low), signed(difference.high));
        [
            benchmark.clone(),
            second.clone(),
            first.clone(),
            signed(difference.mean),
            interval,
            small(*p),
            questions.to_string(),
        ]
    };
    let table = text_table::markdown(&header, &pairs.iter().map(row).collect::<Vec<_>>());
    format!(
        "{table}\nDifferences in percentage points on the same questions; p-values of the two-sided sign-flip permutation test.\n"
    )
}

fn small(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
