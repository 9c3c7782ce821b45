//! The layout version recorded in a run folder. A folder with another version is refused, never misread or
//! redone in place.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::present::if_present;
use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use serde::{Deserialize, Serialize};

/// The layout that this version of the program reads and writes: which stages there are, what their folders
/// hold, and the records' schemas.
const VERSION: u32 = 3;

/// The layout of folders without a version file.
const BEFORE: u32 = 1;

const FILE: &str = "layout.json";

/// The file of a run folder that holds the recipe in full.
pub const RECIPE: &str = "recipe.toml";

/// The file of a run folder that holds the report of the run.
pub const PAGE: &str = "report.html";

/// Contents of the version file.
#[derive(Debug, Serialize, Deserialize)]
struct Layout {
    layout: u32,
    /// The program version that created the folder.
    version: String,
}

/// Checks that a folder, if it holds a run, has the layout that this version reads.
///
/// # Errors
/// A run with another layout; a file that cannot be read.
pub fn check(run: &Path) -> Result<()> {
    match read(run)? {
        Some(Layout { layout: VERSION, .. }) => Ok(()),
        Some(Layout { layout, version }) => Err(other(run, layout, &format!("latrace {version}"))),
        None if holds_run(run)? => Err(other(run, BEFORE, "an earlier version of latrace")),
        None => Ok(()),
    }
}

/// Checks the folder as [`check`] does, and writes this layout's version if it holds no run yet.
///
/// # Errors
/// As for [`check`]; a file that cannot be written.
pub(crate) fn claim(run: &Path) -> Result<()> {
    check(run)?;
    // Once written it stays: it names the version of the program that began the run.
    if read(run)?.is_none() { write(run) } else { Ok(()) }
}

fn write(run: &Path) -> Result<()> {
    let layout = Layout { layout: VERSION, version: env!("CARGO_PKG_VERSION").to_owned() };
    let text = serde_json::to_string(&layout)?;
    write_atomically(&run.join(FILE), |writer| writeln!(writer, "{text}").context("cannot write the layout"))
}

fn read(run: &Path) -> Result<Option<Layout>> {
    if run.is_file() {
        let message = format!("{} is a file: expected the folder of a run", run.display());
        return Err(Failure::usage(message).into());
    }
    let path = run.join(FILE);
    let bytes = if_present(fs::read(&path)).with_context(|| format!("cannot read {}", path.display()))?;
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes);
    bytes.map(parse).transpose().with_context(|| format!("{} is not a layout version", path.display()))
}

/// Whether a folder is that of a run, by what every run begins with: trainings have a recipe, too.
pub(crate) fn is_run(folder: &Path) -> bool {
    folder.join(FILE).is_file()
}

/// Whether a folder holds a run, finished or not. A folder that is absent, or holds other files, does not.
fn holds_run(folder: &Path) -> Result<bool> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let Some(entries) = if_present(fs::read_dir(folder)).with_context(cannot)? else { return Ok(false) };
    for entry in entries {
        if belongs_to_run(&entry.with_context(cannot)?.path()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a path is a run's recipe, or a stage with its record.
fn belongs_to_run(path: &Path) -> bool {
    path.ends_with(RECIPE) || path.join("stage.json").is_file()
}

/// The error of a run with another layout. Redoing it in place would mix files of two layouts.
fn other(run: &Path, layout: u32, made_by: &str) -> anyhow::Error {
    let (run, ours) = (run.display(), env!("CARGO_PKG_VERSION"));
    let message = format!(
        "{run} is a run of layout {layout}, made by {made_by}: expected layout {VERSION}, that of latrace {ours}"
    );
    let hint = "`latrace run RECIPE.toml --run-dir NEW` starts a new run; this one is left unchanged";
    Failure::usage(message).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a folder with these files is refused, both for reading and for working in it, and that neither
    /// changes any of them.
    #[track_caller]
    fn check_refused(files: &[(&str, &str)], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for error in [check(folder.path()).unwrap_err(), claim(folder.path()).unwrap_err()] {
            assert!(error.to_string().contains(expected), "expected {expected}, got {error}");
            assert!(error.is::<Failure>());
        }
        assert_eq!(folder.path().join(FILE).exists(), files.iter().any(|(name, _)| *name == FILE));
    }

    #[test]
    fn a_run_of_another_layout_is_refused_by_its_version() {
        let before = "is a run of layout 1, made by an earlier version of latrace: expected layout 3";
        check_refused(&[("recipe.toml", "")], before);
        check_refused(&[("00-model/stage.json", "{}")], before);
        let later = r#"{"layout": 4, "version": "0.9.0"}"#;
        check_refused(&[("layout.json", later)], "is a run of layout 4, made by latrace 0.9.0");
    }

    #[test]
    fn a_new_folder_is_claimed_once_and_then_known() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        check(&run).unwrap();
        fs::create_dir(&run).unwrap();
        fs::write(run.join("notes.txt"), "mine").unwrap();
        claim(&run).unwrap();
        let written = fs::read_to_string(run.join(FILE)).unwrap();
        assert_eq!(written, format!("{{\"layout\":3,\"version\":\"{}\"}}\n", env!("CARGO_PKG_VERSION")));
        fs::write(run.join("recipe.toml"), "").unwrap();
        claim(&run).unwrap();
        check(&run).unwrap();
    }

    #[test]
    fn a_file_that_says_no_layout_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "2").unwrap();
        let error = check(folder.path()).unwrap_err().to_string();
        assert!(error.contains("layout.json is not a layout version"), "{error}");
    }
}
