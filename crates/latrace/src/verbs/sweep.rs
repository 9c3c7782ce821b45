//! `latrace sweep`: carries out a recipe at every combination of listed values and seeds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use latrace_engine::child::{hold_if_stopping, shell_line};
use latrace_engine::cpu::forget_peak_memory;
use latrace_io::failure::Failure;
use latrace_io::text_table::markdown;
use latrace_run::pipeline::runner::State;
use latrace_run::sweep::{Grid, Sweep, SweepResults, SweptRun};
use tracing::{error, info};

use super::interrupt::{command_line, end_children_say_and};
use super::notify::Notifier;
use super::output::print;
use super::run::{PlannedRun, recipe_name};

/// Arguments of `latrace sweep`.
#[derive(Args, Debug)]
#[command(after_help = "\
Each combination of the listed values and seeds is a run of its own, in a folder named after the settings that vary,
such as SWEEP/n=4-seed=1; they are carried out one after the other. A list in brackets is one value, and so is a text
in quotes: skip='[\"gold\",\"rft\"],[]' are two.

An interrupted sweep resumes when started again, and finished runs are kept. SWEEP/sweep.json lists the runs; values
may be added to it later, and anything else is another sweep. A run that fails is reported, the others go on, and the
exit code is 1.

After each run, a table has the accuracies of every setting's seeds and of all of them together, with 95 % intervals
over questions; SWEEP/summary.json has it, too.

Examples:
  latrace sweep recipes/quickstart.toml --seeds 3
  latrace sweep recipes/quickstart.toml --seeds 0,1,2 traces.n=4,8,16 --dry-run
  latrace sweep recipes/quickstart.toml --seeds 3 weights.selection=best,weighted rounds=2 --sweep-dir runs/selection
  latrace compare --pooled --against rft runs/quickstart-sweep/n=8-seed=*")]
pub struct SweepArguments {
    /// Recipe file
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// How many seeds, from 0, or a list of them
    #[arg(long, value_name = "N|N,N,...")]
    seeds: Option<String>,
    /// Folder of the runs; default: runs/NAME-OF-THE-RECIPE-sweep
    #[arg(long, value_name = "DIR")]
    sweep_dir: Option<PathBuf>,
    /// List the runs with their folders and states, without carrying any out
    #[arg(long)]
    dry_run: bool,
    /// Shell command to run when the sweep ends, as with `latrace run`; LATRACE_RUN is the folder of the sweep
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run", value_parser = NonEmptyStringValueParser::new())]
    notify: Option<String>,
    /// Settings that override the recipe's, with one value or several, such as traces.n=4,8
    #[arg(value_name = "KEY=VALUE,...")]
    settings: Vec<String>,
}

/// Runs `latrace sweep`.
pub fn run(arguments: &SweepArguments) -> Result<()> {
    let grid = Grid::parse(&arguments.settings, arguments.seeds.as_deref())?;
    let name = recipe_name(&arguments.recipe)?;
    let default = || Path::new("runs").join(format!("{name}-sweep"));
    let folder = arguments.sweep_dir.clone().unwrap_or_else(default);
    let sweep = Sweep::of(&name, &grid, &folder)?;
    // Before the first one: a wrong value should not surface after hours of work.
    let runs = planned(&sweep, &arguments.recipe, &folder)?;
    if arguments.dry_run {
        return dry_run(&runs, &sweep);
    }
    let _lock = Sweep::lock(&folder)?;
    let done: Vec<bool> = runs.iter().map(check_kept).collect::<Result<_>>()?;
    sweep.write(&folder)?;
    let notifier = Notifier::new(arguments.notify.as_deref(), &folder)?;
    end_children_say_and(kept_by(&folder), notifier.of_interruption())?;
    notifier.tell(
        Ongoing { grid: &grid, folder: &folder, finished: Vec::new(), failed: Vec::new() }.work(&runs, &done),
    )
}

/// A run of the sweep, resolved.
struct Job {
    run: SweptRun,
    planned: PlannedRun,
}

fn planned(sweep: &Sweep, recipe: &Path, folder: &Path) -> Result<Vec<Job>> {
    let job = |run: &SweptRun| {
        let planned = PlannedRun::new(recipe, &run.arguments(), folder.join(&run.folder))?;
        Ok(Job { run: run.clone(), planned })
    };
    let jobs: Vec<Job> = sweep.runs.iter().map(job).collect::<Result<_>>()?;
    check_different(&jobs)?;
    Ok(jobs)
}

/// Refuses runs that differ in the spelling of their values alone, such as 1e-3 and 0.001: they would be the same work twice.
fn check_different(jobs: &[Job]) -> Result<()> {
    let mut known: BTreeMap<String, &str> = BTreeMap::new();
    for Job { run, planned } in jobs {
        if let Some(other) = known.insert(planned.settings()?, &run.folder) {
            let message = format!("the runs {other} and {} of the sweep have the same settings", run.folder);
            return Err(Failure::usage(message).hint("list each value once, in one spelling").into());
        }
    }
    Ok(())
}

/// Refuses, before anything is written, to redo what a run has finished under another recipe; says whether it is done.
fn check_kept(job: &Job) -> Result<bool> {
    // Once: it reads every file of what is finished. What cannot be told is told by the run itself, and the others go on.
    let Ok(states) = job.planned.states() else { return Ok(false) };
    job.planned.refuse_redoing(&states).map_err(|refused| {
        let hint = "--sweep-dir NEW begins a sweep of its own";
        Failure::usage(refused.to_string()).hint(hint)
    })?;
    Ok(are_done(&states))
}

/// Lists the runs, and changes nothing in their folders.
fn dry_run(jobs: &[Job], sweep: &Sweep) -> Result<()> {
    let row = |job: &Job| {
        let state = state(&job.planned).unwrap_or_else(|error| format!("cannot tell: {error:#}"));
        [job.planned.folder.display().to_string(), job.run.arguments().join(" "), state]
    };
    let rows: Vec<[String; 3]> = jobs.iter().map(row).collect();
    let table = markdown(&["folder", "settings", "state"].map(str::to_owned), &rows);
    print(&format!("{table}\n{} runs of {}", jobs.len(), sweep.recipe))
}

fn state(run: &PlannedRun) -> Result<String> {
    let states = run.states()?;
    let count = |wanted: fn(&State) -> bool| states.iter().filter(|&state| wanted(state)).count();
    let (done, all) = (count(|state| *state == State::Done), states.len());
    let redone = count(|state| matches!(state, State::Changed(_)));
    Ok(match (done, redone) {
        _ if are_done(&states) => "done".to_owned(),
        (0, 0) => "to be done".to_owned(),
        (_, 0) => format!("{done} of {all} stages done"),
        _ => format!("{done} of {all} stages done, {redone} changed: to be redone with what depends on them"),
    })
}

fn are_done(states: &[State]) -> bool {
    states.iter().all(|state| *state == State::Done)
}

/// What a sweep that is told to stop says.
fn kept_by(folder: &Path) -> String {
    let shown = folder.display();
    format!("{shown} keeps what is finished. The same command resumes: {}", command_line())
}

/// A sweep that is being worked on.
struct Ongoing<'a> {
    grid: &'a Grid,
    folder: &'a Path,
    finished: Vec<SweptRun>,
    /// Folders.
    failed: Vec<String>,
}

impl Ongoing<'_> {
    /// Carries out every run that is not finished, and gives the sweep in one line.
    fn work(mut self, jobs: &[Job], done: &[bool]) -> Result<String> {
        let mut is_shown = false;
        for (place, (job, &is_done)) in jobs.iter().zip(done).enumerate() {
            let label = format!("run {} of {}, {}", place + 1, jobs.len(), job.run.folder);
            info!("{label}: {}", if is_done { "done already" } else { "begins" });
            // The peak of a run is its own, not that of the largest one before it.
            forget_peak_memory();
            // A finished run is kept by its own resuming.
            match job.planned.carry_out(false) {
                Ok(_) => {
                    self.finished.push(job.run.clone());
                    is_shown = !is_done;
                }
                Err(failure) => {
                    // An error may follow from the end of children, when the whole sweep is told to stop.
                    hold_if_stopping();
                    error!("{label} failed: {failure:#}");
                    self.failed.push(job.run.folder.clone());
                    continue;
                }
            }
            if is_shown {
                self.show()?;
            }
        }
        if !is_shown {
            self.show()?;
        }
        self.conclude(jobs.len())
    }

    /// Writes and prints the table of the runs finished so far.
    fn show(&self) -> Result<()> {
        let results = SweepResults::of(self.grid, &self.finished, self.folder)?;
        results.write(self.folder)?;
        if self.finished.is_empty() { Ok(()) } else { print(&results.markdown()) }
    }

    fn conclude(self, all: usize) -> Result<String> {
        let Ongoing { folder, finished, failed, .. } = self;
        if !failed.is_empty() {
            let message = format!("{} of {all} runs failed: {}", failed.len(), failed.join(", "));
            return Err(Failure::work(message)
                .hint("the same command resumes them and keeps the others")
                .into());
        }
        let folders = finished.iter().map(|run| folder.join(&run.folder).display().to_string());
        let words: Vec<String> =
            ["latrace", "report"].map(str::to_owned).into_iter().chain(folders).collect();
        print(&format!("The runs on one page: {}", shell_line(&words)))?;
        Ok(format!("{all} runs done"))
    }
}
