//! `summary.json` of a sweep: for each setting the accuracies of its seeds, and of all together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Result;
use latrace_io::files::write_text;
use latrace_io::text_table::{markdown, percent, range};
use latrace_objective::statistics::Accuracy;
use serde::Serialize;

use super::grid::{Grid, RunSettings, SEED, SweptKey};
use super::names;
use super::record::SweptRun;
use crate::comparison::{AcrossRuns, across_runs};
use crate::pipeline::summary::SUMMARY;

/// How the table's pooled accuracies are made.
const POOLED: &str = "Accuracy in percent; all seeds pooled, with the 95 % interval by bootstrap over questions, each with its responses of all seeds.\n";

/// `summary.json` of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepResults {
    /// The settings with at least one finished run, in the sweep's order.
    pub sweep: Vec<SettingResult>,
}

/// The finished runs of a setting, which differ in their seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SettingResult {
    /// The setting in short; empty where only seeds vary.
    pub name: String,
    /// Its settings over those of the recipe, without the seed.
    pub settings: RunSettings,
    /// The folders of its runs.
    pub folders: Vec<String>,
    /// Its models.
    pub models: Vec<SeedAccuracies>,
}

/// A model's accuracies over the seeds of a setting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedAccuracies {
    /// Its name in the runs.
    pub model: String,
    /// By seed; without one in the sweep, the only run's stands under the empty name.
    pub by_seed: BTreeMap<String, Accuracy>,
    /// Over the questions of all seeds; `None` without per-question results.
    pub pooled: Option<Accuracy>,
}

impl SweepResults {
    /// The results of the runs that are finished, whose folders are in `folder`.
    ///
    /// # Errors
    /// Runs whose results cannot be read.
    pub fn of(grid: &Grid, finished: &[SweptRun], folder: &Path) -> Result<SweepResults> {
        let mut settings: Vec<(RunSettings, Vec<&SweptRun>)> = Vec::new();
        for run in finished {
            let own = without_seed(&run.settings);
            match settings.iter_mut().find(|(known, _)| *known == own) {
                Some((_, runs)) => runs.push(run),
                None => settings.push((own, vec![run])),
            }
        }
        let results = settings.into_iter().map(|(own, runs)| setting(grid, own, &runs, folder));
        Ok(SweepResults { sweep: results.collect::<Result<_>>()? })
    }

    /// Writes `summary.json`, whole or not at all.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_text(&folder.join(SUMMARY), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    /// The results as a Markdown table: a row for each setting and model, a column for each seed.
    pub fn markdown(&self) -> String {
        let models = || self.sweep.iter().flat_map(|setting| &setting.models);
        let mut seeds: Vec<&String> =
            models().flat_map(|model| model.by_seed.keys()).collect::<BTreeSet<_>>().into_iter().collect();
        // By their numbers: 10 comes after 9. Without seeds there is nothing to tell apart by them.
        seeds.retain(|seed| !seed.is_empty());
        seeds.sort_by_key(|seed| seed.parse::<u64>().ok());
        let is_named = self.sweep.iter().any(|setting| !setting.name.is_empty());
        let row = |setting: &SettingResult, model: &SeedAccuracies| {
            let name = is_named.then(|| setting.name.clone());
            let by_seed = seeds.iter().map(|&seed| shown(model.by_seed.get(seed)));
            let fixed = [model.model.clone()].into_iter().chain(by_seed).chain([pooled(model)]);
            name.into_iter().chain(fixed).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = self
            .sweep
            .iter()
            .flat_map(|setting| setting.models.iter().map(move |model| (setting, model)))
            .map(|(setting, model)| row(setting, model))
            .collect();
        let names = is_named.then(|| "setting".to_owned()).into_iter().chain(["model".to_owned()]);
        let columns = seeds.iter().map(|seed| format!("seed {seed}")).chain(["pooled (95 %)".to_owned()]);
        format!("{}\n{POOLED}", markdown(&names.chain(columns).collect::<Vec<_>>(), &rows))
    }
}

fn without_seed(settings: &RunSettings) -> RunSettings {
    let mut settings = settings.clone();
    settings.remove(SEED);
    settings
}

fn setting(grid: &Grid, settings: RunSettings, runs: &[&SweptRun], folder: &Path) -> Result<SettingResult> {
    let folders: Vec<_> = runs.iter().map(|run| folder.join(&run.folder)).collect();
    let model = |AcrossRuns { model, runs: accuracies, pooled }: AcrossRuns| {
        let seed = |run: &SweptRun| run.settings.get(SEED).cloned().unwrap_or_default();
        let by_seed = runs.iter().zip(accuracies).filter_map(|(run, accuracy)| Some((seed(run), accuracy?)));
        SeedAccuracies { model, by_seed: by_seed.collect(), pooled }
    };
    let is_shown = |key: &&SweptKey| key.key != SEED;
    Ok(SettingResult {
        name: names::name(grid.varied().filter(is_shown), grid, &settings),
        settings,
        folders: runs.iter().map(|run| run.folder.clone()).collect(),
        models: across_runs(&folders)?.into_iter().map(model).collect(),
    })
}

fn shown(accuracy: Option<&Accuracy>) -> String {
    accuracy.map_or("–".to_owned(), |accuracy| percent(accuracy.accuracy))
}

fn pooled(model: &SeedAccuracies) -> String {
    let interval = |Accuracy { low, high, .. }: &Accuracy| format!(" ({})", range(*low, *high));
    format!("{}{}", shown(model.pooled.as_ref()), model.pooled.as_ref().map_or(String::new(), interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(accuracy: f64) -> Accuracy {
        Accuracy { accuracy, low: accuracy - 0.125, high: accuracy + 0.125, questions: 10, samples: 20 }
    }

    fn result(name: &str, seeds: &[(&str, f64)]) -> SettingResult {
        let by_seed = seeds.iter().map(|&(seed, share)| (seed.to_owned(), accuracy(share))).collect();
        let model = SeedAccuracies { model: "final".to_owned(), by_seed, pooled: Some(accuracy(0.5)) };
        let (name, settings) = (name.to_owned(), RunSettings::new());
        SettingResult { name, settings, folders: Vec::new(), models: vec![model] }
    }

    #[track_caller]
    fn check(results: Vec<SettingResult>, expected: &str) {
        let table = SweepResults { sweep: results }.markdown();
        let tidy = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (header, rows) = (tidy(table.lines().next().unwrap()), table.lines().skip(2));
        let rows = rows.take_while(|line| line.starts_with('|')).map(tidy).collect::<Vec<_>>();
        assert_eq!(format!("{header} {}", rows.join(" ")), expected);
    }

    #[test]
    fn seeds_are_columns_in_the_order_of_their_numbers() {
        check(
            vec![result("n=4", &[("9", 0.25), ("10", 0.75)]), result("n=8", &[("10", 0.5)])],
            "| setting | model | seed 9 | seed 10 | pooled (95 %) | \
             | n=4 | final | 25.0 | 75.0 | 50.0 (37.5–62.5) | | n=8 | final | – | 50.0 | 50.0 (37.5–62.5) |",
        );
    }

    #[test]
    fn columns_that_tell_nothing_apart_are_left_out() {
        check(
            vec![result("", &[("0", 0.5)])],
            "| model | seed 0 | pooled (95 %) | | final | 50.0 | 50.0 (37.5–62.5) |",
        );
        check(
            vec![result("n=4", &[("", 0.5)])],
            "| setting | model | pooled (95 %) | | n=4 | final | 50.0 (37.5–62.5) |",
        );
    }
}
