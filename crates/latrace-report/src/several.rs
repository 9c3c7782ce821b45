//! Several runs on one page: their accuracies, each and pooled, their training curves over each other, and the settings
//! that differ.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_objective::statistics::{Accuracy, Interval};
use latrace_run::comparison::{AcrossRuns, Comparison, ComparisonOptions, across_runs, compare};
use latrace_run::diagnostics::MethodCost;
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::collect::{leaves, outline, stages};
use crate::data::{NamedMethod, PairedComparison, Run, ShownStage, StageState, Training};
use crate::findings::percent;
use crate::page::LARGEST_PAGE;
use crate::text::cannot_read_folder;

/// Settings that a sentence names.
const NAMED_SETTINGS: usize = 4;

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
/// A folder that is no finished run, or is given twice; records that cannot be read.
pub fn collect_several(folders: &[PathBuf]) -> Result<SeveralRuns> {
    refuse_twins(folders)?;
    let runs = outlines(folders)?;
    let settings = differing(&runs)?;
    let not_pooled = not_pooled(&runs, &settings);
    let pooled = if not_pooled.is_none() { Some(compared(folders)?) } else { None };
    let models = across_runs(folders)?.into_iter().map(|of| model(of, pooled.as_ref())).collect::<Vec<_>>();
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

/// A run that counts twice would be pooled with itself.
fn refuse_twins(folders: &[PathBuf]) -> Result<()> {
    let mut known = Vec::new();
    for folder in folders {
        let real = fs::canonicalize(folder).with_context(|| cannot_read_folder(folder))?;
        if known.contains(&real) {
            return Err(Failure::usage(format!("{} is given twice", folder.display())).into());
        }
        known.push(real);
    }
    Ok(())
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
    let message = format!("{} is not finished: {}", folder.display(), unfinished(&stages(folder)?.1));
    Err(Failure::work(message).hint("several runs are compared when all of them are finished").into())
}

/// What of a run is not finished first.
fn unfinished(stages: &[ShownStage]) -> String {
    let Some(stage) = stages.iter().find(|stage| stage.state != StageState::Done) else {
        return "its summary is not written".to_owned();
    };
    let how = match stage.state {
        StageState::Begun => "is running or was stopped",
        StageState::Stale => "was made under other settings, and is to be redone",
        StageState::Waiting | StageState::Done => "has not started",
    };
    format!("stage {} {how}", stage.folder)
}

fn without_recipe(one: OneRun) -> OneRun {
    OneRun { run: Run { recipe: None, ..one.run }, ..one }
}

/// Only runs that differ in their seeds alone are pooled: an accuracy over two kinds of questions, or two ways of
/// training, would be one of neither.
fn not_pooled(runs: &[OneRun], differing: &[DifferingSetting]) -> Option<String> {
    let mut tasks = runs.iter().map(|one| &one.run.task);
    let first = tasks.next();
    if tasks.any(|task| Some(task) != first) {
        return Some("The runs are of different questions, so nothing is pooled.".to_owned());
    }
    let names: Vec<&str> = differing
        .iter()
        .filter(|setting| setting.is_of_method())
        .map(|setting| setting.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!("The runs differ in more than their seeds, so nothing is pooled: {}.", shortened(&names))
    })
}

/// Names in a sentence: the first ones, and how many more there are.
fn shortened(names: &[&str]) -> String {
    let (shown, rest) = names.split_at(names.len().min(NAMED_SETTINGS));
    let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    format!("{}{more}", shown.join(", "))
}

impl DifferingSetting {
    /// Whether runs with these values do something else, rather than the same with another seed, or with other baselines
    /// beside it. A setting that a recipe lacks is one that another version has.
    fn is_of_method(&self) -> bool {
        let mut given = self.values.iter().flatten();
        let first = given.next();
        let differs = given.any(|value| Some(value) != first);
        differs && !is_seed(&self.name) && self.name != "skip"
    }
}

fn is_seed(name: &str) -> bool {
    name.rsplit('.').next() == Some("seed")
}

fn compared(folders: &[PathBuf]) -> Result<Comparison> {
    let against = Some(FINAL.to_owned());
    compare(folders, &ComparisonOptions { pooled: true, against, ..ComparisonOptions::default() })
}

/// A model in each run, and if runs are pooled, in all of them.
fn model(
    AcrossRuns { model: name, runs: by_run, pooled: over_all }: AcrossRuns,
    pooled: Option<&Comparison>,
) -> PooledModel {
    let line = pooled.and_then(|comparison| comparison.rows.iter().find(|line| line.model == name));
    PooledModel {
        by_run,
        pooled: over_all.filter(|_| line.is_some()),
        cost: line.and_then(|line| line.cost),
        name,
    }
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
        match methods.iter_mut().find(|known| known.name == method.name) {
            None => methods.push(method.clone()),
            Some(known) if known == method => {}
            Some(known) => {
                known.long = "not the same in all runs".to_owned();
                known.clause = "the settings that differ are below".to_owned();
                known.settings.clear();
            }
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
    let seeds: Vec<Option<&String>> = tables.iter().map(|table| table.get("seed")).collect();
    // Those of stages follow the run's own unless they are set.
    let follows = |of: &DifferingSetting| {
        of.name.ends_with(".seed") && of.values.iter().map(Option::as_ref).eq(seeds.iter().copied())
    };
    Ok(names.into_iter().map(values).filter(|setting| differs(setting) && !follows(setting)).collect())
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
    use crate::text::capital;

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
        assert_eq!(not_pooled(&[walk.clone(), walk.clone()], &[]), None);
        assert!(not_pooled(&[walk.clone(), walk, graph], &[]).unwrap().contains("different questions"));
    }

    #[test]
    fn runs_that_differ_in_more_than_their_seeds_are_not_pooled() {
        let pooled = |recipes: [&str; 2]| {
            let runs = recipes.map(|recipe| run("a", "walk", recipe));
            not_pooled(&runs, &differing(&runs).unwrap())
        };
        for alike in [
            ["seed = 1\n[final]\nseed = 1\n", "seed = 2\n[final]\nseed = 3\n"],
            ["skip = [\"rft\"]\n", "skip = []\n[baselines.rft]\nrounds = 2\n"],
        ] {
            assert_eq!(pooled(alike), None);
        }
        let said = pooled(["seed = 1\n[traces]\nn = 4\n", "seed = 2\n[traces]\nn = 8\n"]).unwrap();
        assert!(said.ends_with("nothing is pooled: traces.n."), "{said}");
        assert!(pooled(["[baselines.rft]\nrounds = 2\n", "[baselines.rft]\nrounds = 3\n"]).is_some());
        assert_eq!(shortened(&["a", "b", "c", "d", "e", "f"]), "a, b, c, d and 2 more");
    }

    #[test]
    fn seeds_of_stages_that_follow_the_runs_own_are_not_listed() {
        let [one, other] = [1, 2].map(|seed| {
            run(
                "a",
                "walk",
                &format!("seed = {seed}\n[final]\nseed = {seed}\n[initial]\nseed = {}\n", seed + 5),
            )
        });
        let names: Vec<String> = differing(&[one, other]).unwrap().into_iter().map(|of| of.name).collect();
        assert_eq!(names, ["initial.seed", "seed"]);
    }

    #[test]
    fn a_method_that_is_not_the_same_in_all_runs_is_not_described_by_one_of_them() {
        let with = |long: &str| {
            let method = |name: &str, long: &str| NamedMethod {
                name: name.to_owned(),
                title: capital(name),
                long: long.to_owned(),
                clause: "trains".to_owned(),
                settings: "rounds = 2".to_owned(),
                is_ceiling: false,
            };
            let mut one = run("a", "walk", "");
            one.run.methods = vec![method("final", long), method("rft", "rejection")];
            one
        };
        let shown: Vec<[String; 3]> = methods(&[with("x"), with("y"), with("x")])
            .into_iter()
            .map(|of| [of.title, of.long, of.settings])
            .collect();
        assert_eq!(shown[0], ["Final", "not the same in all runs", ""]);
        assert_eq!(shown[1], ["Rft", "rejection", "rounds = 2"]);
    }

    #[test]
    fn what_is_not_finished_is_named() {
        let stage = |folder: &str, state| ShownStage {
            folder: folder.to_owned(),
            title: String::new(),
            method: None,
            state,
            seconds: None,
            tokens: None,
            progress: None,
        };
        let first =
            |state| unfinished(&[stage("01-initial", StageState::Done), stage("02-posterior", state)]);
        assert_eq!(first(StageState::Waiting), "stage 02-posterior has not started");
        assert_eq!(
            first(StageState::Stale),
            "stage 02-posterior was made under other settings, and is to be redone"
        );
        assert_eq!(first(StageState::Done), "its summary is not written");
    }

    #[test]
    fn a_page_that_is_too_large_is_refused() {
        assert!(checked_size("x".repeat(LARGEST_PAGE)).is_ok());
        let error = checked_size("x".repeat(LARGEST_PAGE + 1)).unwrap_err().to_string();
        assert!(error.contains("2000001 bytes"), "{error}");
    }
}
