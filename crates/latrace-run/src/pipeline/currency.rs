//! Which stages of a run folder are what its recipe leads to. Nothing that is finished is given up unasked, and no
//! result of another recipe is shown as the run's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::difference::difference;
use latrace_io::failure::Failure;
use serde_json::{Map, Value, json};

use super::folder::{mark, read_record};
use super::runner::State;
use super::summary::SUMMARY;
use crate::layout::PAGE;
use crate::plan::{Node, Plan};
use crate::present::if_present;
use crate::recipe::run::{RunRecipe, of_run};
use crate::release::MODEL;

/// Why a stage whose inputs are to be redone is marked: whether it changes is known only then.
const DEPENDS: &str = "it depends on a stage that is to be redone";

/// Trainings that a message names; the others are counted.
const NAMED: usize = 4;

/// The finished stages of a folder that a run of a plan would redo.
#[derive(Debug)]
pub struct GivenUp<'a> {
    nodes: Vec<&'a Node>,
    /// Those that the folder does not have yet, which a run would do beside them.
    new: Vec<&'a Node>,
    /// What differs of the first that is known to change.
    first: Option<String>,
    /// Whether the whole run is finished.
    of_finished: bool,
}

impl<'a> GivenUp<'a> {
    /// Compares a folder with what a run would do in it. What a run was allowed to redo before, and has marked, is
    /// given up already.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn of(plan: &'a Plan, states: &[State], run: &Path) -> Result<GivenUp<'a>> {
        let missing = plan.nodes.iter().zip(states).filter(|(_, state)| **state == State::Missing);
        let mut given_up = GivenUp {
            nodes: Vec::new(),
            new: missing.map(|(node, _)| node).collect(),
            first: None,
            of_finished: run.join(SUMMARY).is_file(),
        };
        for (node, state) in plan.nodes.iter().zip(states).filter(|(_, state)| stale(state).is_some()) {
            if let State::Changed(why) = state {
                given_up.first.get_or_insert_with(|| format!("{}: {why}", node.folder().display()));
            }
            if read_record(&run.join(node.folder()))?.is_some_and(|record| record.is_current()) {
                given_up.nodes.push(node);
            }
        }
        Ok(given_up)
    }

    /// Refuses to redo a finished training, or any stage of a finished run.
    ///
    /// # Errors
    /// Names the settings that differ from those of the folder, and what would be redone.
    pub fn refuse(&self, recipe: &RunRecipe, run: &Path) -> Result<()> {
        let has_trained = self.nodes.iter().any(|node| node.is_training());
        if self.nodes.is_empty() || !(has_trained || self.of_finished) {
            return Ok(());
        }
        let what = if self.of_finished { "a finished run" } else { "finished trainings" };
        let differs = self.settings(recipe, run).unwrap_or_else(|| "a stage is missing".to_owned());
        let message =
            format!("{} holds {what} of other settings ({differs}): {}", run.display(), self.in_words());
        let hint = format!(
            "--run-dir {} begins a run of its own; --redo gives up what is finished here; --dry-run lists what would be redone",
            unused(run).display()
        );
        Err(Failure::usage(message).hint(hint).into())
    }

    /// The settings that differ from the folder's own, or else what differs of its first stage that changes.
    fn settings(&self, recipe: &RunRecipe, run: &Path) -> Option<String> {
        // A recipe that this version no longer reads has no settings to compare.
        let earlier = of_run(run).ok();
        let differing = earlier.map(|earlier| difference(&given(&earlier), &given(recipe)));
        differing.filter(|settings| !settings.is_empty()).or_else(|| self.first.clone())
    }

    fn in_words(&self) -> String {
        let redone = counted(&self.nodes, "finished stage") + " would be redone" + &named(&self.nodes);
        if self.new.is_empty() {
            return redone;
        }
        format!("{redone}; {} would be added{}", counted(&self.new, "stage"), named(&self.new))
    }
}

fn counted(nodes: &[&Node], what: &str) -> String {
    if nodes.len() == 1 { format!("1 {what}") } else { format!("{} {what}s", nodes.len()) }
}

/// The trainings among stages, which take the longest, or else all of them.
fn named(nodes: &[&Node]) -> String {
    let names = |wanted: &dyn Fn(&Node) -> bool| -> Vec<String> {
        let wanted = nodes.iter().filter(|node| wanted(node));
        wanted.map(|node| node.folder().display().to_string()).collect()
    };
    let (trainings, all) = (names(&|node| node.is_training()), names(&|_| true));
    match (trainings.len(), all.len()) {
        (0, 1..=NAMED) => format!(" ({})", all.join(", ")),
        (0, _) => String::new(),
        (1..=NAMED, _) => format!(", among them {}", trainings.join(", ")),
        (count, _) => {
            format!(", among them {} and {} more trainings", trainings[..NAMED].join(", "), count - NAMED)
        }
    }
}

/// A recipe's settings without the seeds of stages that are the run's own.
fn given(recipe: &RunRecipe) -> Value {
    let mut settings = json!(recipe);
    let seed = settings["seed"].clone();
    for section in settings.as_object_mut().into_iter().flat_map(Map::values_mut) {
        remove_seed(section, &seed);
    }
    settings
}

fn remove_seed(section: &mut Value, seed: &Value) {
    let Some(section) = section.as_object_mut() else { return };
    if section.get("seed") == Some(seed) {
        section.remove("seed");
    }
    section.values_mut().for_each(|inner| remove_seed(inner, seed));
}

/// A folder beside a run's that is not there yet.
fn unused(run: &Path) -> PathBuf {
    let name = run.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbered = |number: u32| run.with_file_name(format!("{name}-{number}"));
    (2..).map(numbered).find(|folder| !folder.exists()).unwrap_or_else(|| numbered(2))
}

/// Records for each stage of a folder whether it is what the plan leads to. The results of a run whose finished stages
/// are to be redone are removed: its summary, its report and the copy of its model; the stages themselves stay until
/// they are redone, so that the earlier recipe brings everything back.
///
/// # Errors
/// I/O errors.
pub fn mark_stages(plan: &Plan, states: &[State], run: &Path) -> Result<()> {
    let stages =
        || plan.nodes.iter().zip(states).map(|(node, state)| (run.join(node.folder()), stale(state)));
    let mut is_lost = false;
    for (folder, _) in stages().filter(|(_, stale)| stale.is_some()) {
        is_lost |= read_record(&folder)?.is_some_and(|record| record.done);
    }
    if is_lost {
        // Before any is marked, and also of those that are: whoever was killed in between has left the results.
        remove_results(run)?;
    }
    stages().try_for_each(|(folder, stale)| mark(&folder, stale))
}

/// Why a stage is to be redone; `None` if it is not.
fn stale(state: &State) -> Option<String> {
    match state {
        State::Changed(why) => Some(why.clone()),
        State::Depends => Some(DEPENDS.to_owned()),
        State::Done | State::Begun | State::Missing => None,
    }
}

/// Removes a run's summary, report and copy of its model, as far as they are there.
///
/// # Errors
/// I/O errors.
pub(crate) fn remove_results(run: &Path) -> Result<()> {
    let removed = |path: PathBuf, outcome: io::Result<()>| {
        if_present(outcome).map(drop).with_context(|| format!("cannot remove {}", path.display()))
    };
    for file in [SUMMARY, PAGE] {
        removed(run.join(file), fs::remove_file(run.join(file)))?;
    }
    removed(run.join(MODEL), fs::remove_dir_all(run.join(MODEL)))
}
