//! Several runs on one page: their accuracies, each and pooled, their training curves over each other, and the settings
//! that differ.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_objective::statistics::{Accuracy, Interval};
use latrace_run::comparison::{ComparedLine, Comparison, ComparisonOptions, compare};
use latrace_run::diagnostics::MethodCost;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::collect::{leaves, outline};
use crate::data::{NamedMethod, PairedComparison, Run, Training};
use crate::findings::percent;
use crate::page::LARGEST_PAGE;

/// The model that the others are compared with.
const FINAL: &str = "final";

/// The data of several runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeveralRuns {
    /// The outcome, in one sentence.
    pub headline: String,
    /// The runs, in the order given.
    pub runs: Vec<OneRun>,
    /// The methods of all runs, each name once.
    pub methods: Vec<NamedMethod>,
    /// Models by name, in the order in which runs make them.
    pub models: Vec<PooledModel>,
    /// The final model against each other, pooled; empty if runs are not pooled.
    pub comparisons: Vec<PairedComparison>,
    /// Why runs are not pooled; `None` if they are.
    pub not_pooled: Option<String>,
    /// The settings that differ.
    pub settings: Vec<DifferingSetting>,
}

/// One of several runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OneRun {
    /// Its identity, without its recipe.
    pub run: Run,
    /// Its training curves.
    pub training: Vec<Training>,
}

/// A model of this name in each of several runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PooledModel {
    /// Its name.
    pub name: String,
    /// Its accuracy in each run; `None` where a run has no such model.
    pub by_run: Vec<Option<Accuracy>>,
    /// Over the questions of all runs.
    pub pooled: Option<Accuracy>,
    /// What a run of it took, on average.
    pub cost: Option<MethodCost>,
}

/// A setting that differs between runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DifferingSetting {
    /// Its dotted name.
    pub name: String,
    /// Its value in each run, as a recipe spells it; `None` where a recipe lacks it.
    pub values: Vec<Option<String>>,
}

/// Reads several finished runs.
///
/// # Errors
/// A folder that is no finished run; records that cannot be read.
pub fn collect_several(folders: &[PathBuf]) -> Result<SeveralRuns> {
    let runs = outlines(folders)?;
    let settings = differing(&runs)?;
    let not_pooled = not_pooled(&runs);
    let pooled = if not_pooled.is_none() { Some(compared(folders, true)?) } else { None };
    let models = models(folders, pooled.as_ref())?;
    Ok(SeveralRuns {
        headline: headline(runs.len(), &models),
        methods: methods(&runs),
        comparisons: pooled.iter().flat_map(comparisons).collect(),
        models,
        not_pooled,
        settings,
        runs: runs.into_iter().map(without_recipe).collect(),
    })
}

/// The page of several runs, if it is small enough.
///
/// # Errors
/// A page larger than [`LARGEST_PAGE`]; data that cannot be serialised.
pub(crate) fn checked_size(page: String) -> Result<String> {
    if page.len() <= LARGEST_PAGE {
        return Ok(page);
    }
    let message = format!("the report would be {} bytes; the limit is {LARGEST_PAGE}", page.len());
    Err(Failure::work(message).hint("give fewer runs").into())
}

fn outlines(folders: &[PathBuf]) -> Result<Vec<OneRun>> {
    let mut runs: Vec<OneRun> = folders.iter().map(|folder| one(folder)).collect::<Result<_>>()?;
    // Folders of one name, as in `a/1 b/1`, are told apart by their paths.
    let names: Vec<String> = runs.iter().map(|one| one.run.name.clone()).collect();
    for (one, folder) in runs.iter_mut().zip(folders) {
        if names.iter().filter(|name| **name == one.run.name).count() > 1 {
            one.run.name = folder.display().to_string();
        }
    }
    Ok(runs)
}

fn one(folder: &Path) -> Result<OneRun> {
    let (run, training) = outline(folder)?;
    if run.finished {
        return Ok(OneRun { run, training });
    }
    let message = format!("{} is not finished", folder.display());
    Err(Failure::work(message).hint("several runs are compared when all of them are finished").into())
}

fn without_recipe(one: OneRun) -> OneRun {
    OneRun { run: Run { recipe: None, ..one.run }, ..one }
}

/// Runs of other questions are not pooled: an accuracy over both would be one on neither.
fn not_pooled(runs: &[OneRun]) -> Option<String> {
    let mut tasks = runs.iter().map(|one| &one.run.task);
    let first = tasks.next();
    let differs = tasks.any(|task| Some(task) != first);
    differs.then(|| "The runs are of different questions, so nothing is pooled.".to_owned())
}

fn compared(folders: &[PathBuf], pooled: bool) -> Result<Comparison> {
    let against = pooled.then(|| FINAL.to_owned());
    compare(folders, &ComparisonOptions { pooled, against, ..ComparisonOptions::default() })
}

fn models(folders: &[PathBuf], pooled: Option<&Comparison>) -> Result<Vec<PooledModel>> {
    let mut models: Vec<PooledModel> = Vec::new();
    for (place, folder) in folders.iter().enumerate() {
        for line in compared(std::slice::from_ref(folder), false)?.rows {
            // Shown with the folder, which its results are of.
            let name = line.model.rsplit(": ").next().unwrap_or_default().to_owned();
            let found = models.iter().position(|model| model.name == name);
            let at = found.unwrap_or(models.len());
            if found.is_none() {
                models.push(PooledModel {
                    name,
                    by_run: vec![None; folders.len()],
                    pooled: None,
                    cost: None,
                });
            }
            models[at].by_run[place] = overall(&line);
        }
    }
    for line in pooled.iter().flat_map(|comparison| &comparison.rows) {
        if let Some(model) = models.iter_mut().find(|model| model.name == line.model) {
            (model.pooled, model.cost) = (overall(line), line.cost);
        }
    }
    Ok(models)
}

/// The first column is that of all questions.
fn overall(line: &ComparedLine) -> Option<Accuracy> {
    line.cells.first().copied().flatten()
}

fn comparisons(pooled: &Comparison) -> Vec<PairedComparison> {
    let pair = |pair: &latrace_run::comparison::Pair| {
        let Interval { mean, low, high } = pair.paired.difference;
        PairedComparison {
            model: pair.first.clone(),
            against: pair.second.clone(),
            // The comparison has the other less the final one.
            difference: Interval { mean: -mean, low: -high, high: -low },
            questions: pair.paired.questions,
        }
    };
    pooled.paired.iter().map(pair).collect()
}

fn methods(runs: &[OneRun]) -> Vec<NamedMethod> {
    let mut methods: Vec<NamedMethod> = Vec::new();
    for method in runs.iter().flat_map(|one| &one.run.methods) {
        if methods.iter().all(|known| known.name != method.name) {
            methods.push(method.clone());
        }
    }
    methods
}

fn headline(runs: usize, models: &[PooledModel]) -> String {
    let pooled = |name: &str| models.iter().find(|model| model.name == name)?.pooled;
    match (pooled("initial"), pooled(FINAL)) {
        (Some(first), Some(last)) => format!(
            "{runs} runs: {} right before training, {} after",
            percent(first.accuracy),
            percent(last.accuracy)
        ),
        _ => format!("{runs} runs beside each other"),
    }
}

fn differing(runs: &[OneRun]) -> Result<Vec<DifferingSetting>> {
    let tables: Vec<BTreeMap<String, String>> = runs.iter().map(settings).collect::<Result<_>>()?;
    let names: std::collections::BTreeSet<&String> = tables.iter().flat_map(BTreeMap::keys).collect();
    let values = |name: &String| DifferingSetting {
        name: name.clone(),
        values: tables.iter().map(|table| table.get(name).cloned()).collect(),
    };
    let differs = |setting: &DifferingSetting| setting.values.iter().any(|value| *value != setting.values[0]);
    Ok(names.into_iter().map(values).filter(differs).collect())
}

fn settings(one: &OneRun) -> Result<BTreeMap<String, String>> {
    let text = one.run.recipe.as_deref().unwrap_or_default();
    let table: Table = toml::from_str(text).with_context(|| format!("the recipe of {}", one.run.name))?;
    let mut found = Vec::new();
    leaves(&table, "", &mut found);
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use latrace_objective::statistics::Paired;

    use super::*;

    fn run(name: &str, task: &str, recipe: &str) -> OneRun {
        let (name, task) = (name.to_owned(), Some(task.to_owned()));
        OneRun {
            run: Run { name, task, recipe: Some(recipe.to_owned()), ..Run::default() },
            ..OneRun::default()
        }
    }

    #[test]
    fn settings_that_differ_are_listed_with_what_a_recipe_lacks() {
        let runs = [
            run("a", "walk", "seed = 1\n[traces]\nn = 8\nlimit = 5\n"),
            run("b", "walk", "seed = 2\n[traces]\nn = 8\n"),
        ];
        let found = differing(&runs).unwrap();
        let shown: Vec<(&str, Vec<Option<&str>>)> = found
            .iter()
            .map(|of| (of.name.as_str(), of.values.iter().map(Option::as_deref).collect()))
            .collect();
        let expected = [("seed", vec![Some("1"), Some("2")]), ("traces.limit", vec![Some("5"), None])];
        assert_eq!(shown, expected);
        assert_eq!(differing(&runs[..1]).unwrap(), []);
    }

    #[test]
    fn a_comparison_is_turned_to_what_the_final_model_gains() {
        let difference = Interval { mean: -0.2, low: -0.3, high: -0.05 };
        let pair = latrace_run::comparison::Pair {
            benchmark: "held-out".to_owned(),
            first: "final".to_owned(),
            second: "rft".to_owned(),
            paired: Paired { difference, p: 0.01, questions: 9 },
        };
        let (columns, rows, unpaired, pass) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let found = comparisons(&Comparison { columns, rows, paired: vec![pair], unpaired, pass });
        let [PairedComparison { model, against, difference, questions }] = found.as_slice() else {
            panic!("{found:?}")
        };
        assert_eq!((model.as_str(), against.as_str(), *questions), ("final", "rft", 9));
        assert_eq!((difference.mean, difference.low, difference.high), (0.2, 0.05, 0.3));
    }

    #[test]
    fn runs_of_other_questions_are_not_pooled() {
        let [walk, graph] = ["walk", "graph"].map(|task| run("a", task, ""));
        assert_eq!(not_pooled(&[walk.clone(), walk.clone()]), None);
        assert!(not_pooled(&[walk.clone(), walk, graph]).is_some());
    }

    #[test]
    fn a_page_that_is_too_large_is_refused() {
        assert!(checked_size("x".repeat(LARGEST_PAGE)).is_ok());
        let error = checked_size("x".repeat(LARGEST_PAGE + 1)).unwrap_err().to_string();
        assert!(error.contains("2000001 bytes"), "{error}");
    }
}
