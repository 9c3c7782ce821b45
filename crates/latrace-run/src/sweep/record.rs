//! `sweep.json`: the runs of a sweep, their folders and settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_io::files::write_text;
use serde::{Deserialize, Serialize};

use super::grid::{Grid, RunSettings, SweptKey};
use super::names;
use crate::pipeline::folder::locked;
use crate::present::if_present;

/// The file in a sweep's folder.
pub const SWEEP: &str = "sweep.json";

/// `sweep.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// The name of the recipe.
    pub recipe: String,
    /// Version of the program.
    pub version: String,
    /// The values of each setting.
    pub values: BTreeMap<String, Vec<String>>,
    /// The runs, in the order in which they are carried out.
    pub runs: Vec<SweptRun>,
}

/// A run of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweptRun {
    /// Its folder's name in the sweep's folder.
    pub folder: String,
    /// Its settings over those of the recipe.
    pub settings: RunSettings,
}

impl SweptRun {
    /// Its settings as `latrace run` takes them.
    pub fn arguments(&self) -> Vec<String> {
        self.settings.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }
}

impl Sweep {
    /// The sweep of a grid in a folder. Runs that the folder's `sweep.json` has keep their folders.
    ///
    /// # Errors
    /// A sweep of another recipe, or one with runs that the grid leaves out; two runs of one name.
    pub fn of(recipe: &str, grid: &Grid, folder: &Path) -> Result<Sweep> {
        let known = Sweep::read(folder)?;
        let folders = known.iter().flat_map(|known| &known.runs);
        let folders: BTreeMap<&RunSettings, &String> =
            folders.map(|run| (&run.settings, &run.folder)).collect();
        let named = |settings: RunSettings| {
            let folder = folders.get(&settings).map(|&folder| folder.clone());
            SweptRun { folder: folder.unwrap_or_else(|| names::folder(grid, &settings)), settings }
        };
        let values = grid.keys.iter().map(|SweptKey { key, values }| (key.clone(), values.clone()));
        let sweep = Sweep {
            recipe: recipe.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            values: values.collect(),
            runs: grid.combinations().into_iter().map(named).collect(),
        };
        sweep.check_names()?;
        match known {
            Some(known) => sweep.check_continues(&known, folder).map(|()| sweep),
            None => Ok(sweep),
        }
    }

    /// The record in a folder, if any.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such record.
    pub fn read(folder: &Path) -> Result<Option<Sweep>> {
        let path = folder.join(SWEEP);
        let bytes = if_present(fs::read(&path)).with_context(|| format!("cannot read {}", path.display()))?;
        let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
        bytes.map(parse).transpose().with_context(|| format!("{} is no record of a sweep", path.display()))
    }

    /// Creates the folder, and locks it for as long as the file is held.
    ///
    /// # Errors
    /// Another process is working in it.
    pub fn lock(folder: &Path) -> Result<File> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        locked(folder, "--sweep-dir")
    }

    /// Writes `sweep.json`, whole or not at all.
    ///
    /// # Errors
    /// I/O errors.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_text(&folder.join(SWEEP), &(serde_json::to_string_pretty(self)? + "\n"))
    }

    fn check_names(&self) -> Result<()> {
        let mut seen = BTreeSet::new();
        // Without regard to case, as some file systems have it.
        match self.runs.iter().find(|run| !seen.insert(run.folder.to_lowercase())) {
            Some(run) => Err(Failure::usage(format!("two runs of the sweep would be called {}", run.folder))
                .hint("give values that differ in more than quotes or case")
                .into()),
            None => Ok(()),
        }
    }

    fn check_continues(&self, known: &Sweep, folder: &Path) -> Result<()> {
        let shown = folder.display();
        if known.recipe != self.recipe {
            let recipe = &known.recipe;
            return Err(refused(format!("{shown} is a sweep of {recipe}, not of {}", self.recipe)));
        }
        let is_left_out = |run: &&SweptRun| !self.runs.iter().any(|other| other.settings == run.settings);
        match known.runs.iter().find(is_left_out) {
            Some(run) => Err(refused(format!(
                "{shown} is another sweep: its run {} has the settings {}",
                run.folder,
                run.arguments().join(" ")
            ))),
            None => Ok(()),
        }
    }
}

fn refused(message: String) -> anyhow::Error {
    let hint = "a sweep goes on with the values of before, and new ones; --sweep-dir DIR begins another";
    Failure::usage(message).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(folder: &Path, recipe: &str, settings: &[&str]) -> Result<Sweep> {
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        Sweep::of(recipe, &Grid::parse(&settings, None).unwrap(), folder)
    }

    fn folders(sweep: &Sweep) -> Vec<&str> {
        sweep.runs.iter().map(|run| run.folder.as_str()).collect()
    }

    #[test]
    fn new_values_are_added_and_runs_keep_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        let first = sweep(folder.path(), "a", &["traces.n=4", "seed=0,1"]).unwrap();
        first.write(folder.path()).unwrap();
        assert_eq!(folders(&first), ["seed=0", "seed=1"]);
        assert_eq!(first.runs[1].arguments(), ["seed=1", "traces.n=4"]);
        assert_eq!(sweep(folder.path(), "a", &["traces.n=4", "seed=0,1"]).unwrap(), first);
        let more = sweep(folder.path(), "a", &["traces.n=8,4", "seed=0,1"]).unwrap();
        assert_eq!(folders(&more), ["n=8-seed=0", "n=8-seed=1", "seed=0", "seed=1"]);
    }

    #[track_caller]
    fn check_refused(recipe: &str, settings: &[&str], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        sweep(folder.path(), "a", &["n=4,8", "rounds=2"]).unwrap().write(folder.path()).unwrap();
        let error = sweep(folder.path(), recipe, settings).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn another_sweep_in_the_folder_is_refused() {
        check_refused("b", &["n=4,8", "rounds=2"], "is a sweep of a, not of b");
        check_refused("a", &["n=4,16", "rounds=2"], "its run n=8 has the settings n=8 rounds=2");
        check_refused("a", &["n=4,8"], "its run n=4 has the settings n=4 rounds=2");
        check_refused("a", &["n=4,8", "rounds=3"], "its run n=4 has");
        check_refused("a", &["n=4,8", "rounds=2", "batch=1"], "its run n=4 has");
        check_refused("a", &["rounds=2", r#"n=4,8,"8""#], "two runs of the sweep would be called n=8");
    }
}
