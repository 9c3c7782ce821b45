//! `latrace run`: runs every stage of a recipe.

mod ahead;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use tempfile::tempdir;
use tracing::info;

use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_report::{self as report, PAGE};
use latrace_run::layout::{self, RECIPE};
use latrace_run::pipeline::context::RunContext;
use latrace_run::pipeline::currency::{GivenUp, mark_stages};
use latrace_run::pipeline::folder::RunFolder;
use latrace_run::pipeline::provenance::RunProvenance;
use latrace_run::pipeline::runner::{self, State, states};
use latrace_run::pipeline::summary::{RunSummary, in_words};
use latrace_run::plan::{Plan, Step, plan};
use latrace_run::recipe::run::RunRecipe;
use latrace_run::release;
use latrace_run::stages::model::check_unchanged;

use super::interrupt::{command_line, end_children_say_and, portable_command_line};
use super::notify::{Notifier, headline};
use super::output::print;
use ahead::Ahead;

/// Arguments of `latrace run`.
#[derive(Args, Debug)]
#[command(after_help = "\
An interrupted run (even by kill -9) resumes when run again, with the same result. After a change of the
recipe, only the stages that depend on the change are redone, and a finished training, or a stage of a
finished run, only with --redo. `docs/recipe.md` lists the settings; the
resolved recipe is written to RUN/recipe.toml, the results to RUN/summary.json, a report to RUN/report.html,
and the trained model, with chat template and model card, to RUN/model.

Examples:
  latrace run recipes/quickstart.toml
  latrace run recipes/quickstart.toml --run-dir runs/second seed=2
  latrace run recipes/quickstart.toml --dry-run weights.selection=best
  latrace run recipes/quickstart.toml --dry-run --estimate
  latrace run recipes/quickstart.toml --notify 'echo \"$LATRACE_MESSAGE\" | mail -s \"$LATRACE_STATE: $LATRACE_RUN\" me'")]
pub struct RunArguments {
    /// Recipe file
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// Run folder; default: runs/NAME-OF-THE-RECIPE
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Give up what the folder holds of other settings, finished trainings too, and do it anew
    #[arg(long)]
    redo: bool,
    /// Show what would be done and why, without doing it
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: also how long it takes, by a short trial of the engines on the model
    #[arg(long, requires = "dry_run")]
    estimate: bool,
    /// Shell command to run when the run ends, with LATRACE_RUN (its folder), LATRACE_STATE (done, failed or interrupted)
    /// and LATRACE_MESSAGE in its environment; it has 10 s, what it leaves running is ended, its output goes to standard
    /// error, and whether it fails does not matter to the run
    #[arg(long, value_name = "COMMAND", conflicts_with = "dry_run", value_parser = NonEmptyStringValueParser::new())]
    notify: Option<String>,
    /// Settings that override the recipe's, such as traces.n=16
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Runs `latrace run`.
pub fn run(arguments: &RunArguments) -> Result<()> {
    let planned = PlannedRun::new(&arguments.recipe, &arguments.settings, run_folder(arguments)?)?;
    let PlannedRun { recipe, plan, folder } = &planned;
    if arguments.dry_run {
        return dry_run(recipe, plan, folder, arguments.estimate);
    }
    let notifier = Notifier::new(arguments.notify.as_deref(), folder)?;
    end_children_say_and(kept_by(folder), notifier.of_interruption())?;
    let outcome = planned.carry_out(arguments.redo);
    // Before the notification, which may take its time.
    let printed = outcome.as_ref().map_or(Ok(()), |summary| print(&in_words(summary, folder)));
    notifier.tell(outcome.map(|summary| headline(&summary)))?;
    printed
}

/// A recipe with its plan, and the folder to carry it out in.
#[derive(Debug)]
pub(super) struct PlannedRun {
    recipe: RunRecipe,
    plan: Plan,
    /// The run folder.
    pub(super) folder: PathBuf,
}

impl PlannedRun {
    /// Resolves a recipe for a run folder, which is left unchanged.
    pub(super) fn new(recipe: &Path, settings: &[String], folder: PathBuf) -> Result<PlannedRun> {
        let mut recipe = RunRecipe::read(recipe, settings)?;
        recipe.set_date(&folder)?;
        recipe.set_compute(&folder)?;
        let plan = plan(&recipe)?;
        Ok(PlannedRun { recipe, plan, folder })
    }

    /// All of its settings as TOML: those of another run that would do the same are equal.
    pub(super) fn settings(&self) -> Result<String> {
        self.recipe.to_toml()
    }

    /// The states of its stages.
    pub(super) fn states(&self) -> Result<Vec<State>> {
        states(&self.plan, &self.folder, &RunContext::new(&self.recipe, &self.folder)?)
    }

    /// Refuses to give up what its folder holds of other settings, by the states of its stages.
    pub(super) fn refuse_redoing(&self, states: &[State]) -> Result<()> {
        GivenUp::of(&self.plan, states, &self.folder)?.refuse(&self.recipe, &self.folder)
    }

    /// Does every stage that is not done, and writes the results; with `redo`, also what gives up something finished.
    /// Whoever calls this watches for Ctrl-C.
    pub(super) fn carry_out(&self, redo: bool) -> Result<RunSummary> {
        let PlannedRun { recipe, plan, folder } = self;
        let context = RunContext::new(recipe, folder)?;
        let held = RunFolder::lock(folder)?;
        // Checked before the recipe is written, so that a refused run leaves the folder unchanged.
        check_unchanged(&recipe.model, folder)?;
        let states = states(plan, folder, &context)?;
        if !redo {
            self.refuse_redoing(&states)?;
        }
        runner::check_installed(plan, &states, &context)?;
        // Before the recipe, so that no result of the earlier one is ever taken for one of this.
        mark_stages(plan, &states, folder)?;
        write_recipe(recipe, folder)?;
        // Before the work, so that a change of the recipe that redoes a long stage can be interrupted.
        announce(plan, &states);
        runner::run(plan, &held, &context)?;
        conclude(plan, recipe, folder)
    }
}

/// Says what a run would do, and changes nothing in its folder.
fn dry_run(recipe: &RunRecipe, plan: &Plan, folder: &Path, estimate: bool) -> Result<()> {
    // The lock would check it, and create the folder.
    layout::check(folder)?;
    let logs = tempdir().context("cannot make a folder for the logs of a trial")?;
    let context = RunContext::new(recipe, logs.path())?;
    let states = states(plan, folder, &context)?;
    let ahead = Ahead::new(recipe, plan, &states, &context, folder)?;
    let line = |step: &Step| {
        let amount = if step.shared { String::new() } else { ahead.amount(step.node) };
        format!("{:<32} {}{amount}\n", step.label(), intent(step, &states[step.node]))
    };
    let lines: String = plan.steps.iter().map(line).collect();
    let refused = GivenUp::of(plan, &states, folder)?.refuse(recipe, folder).err();
    let refused =
        refused.map_or_else(String::new, |refusal| format!("A run without --redo is refused: {refusal}\n"));
    print(&[lines, ahead.in_all(), refused].concat())?;
    if estimate { print(&ahead.times()?) } else { Ok(()) }
}

/// What a run that is told to stop says.
fn kept_by(folder: &Path) -> String {
    format!(
        "{} keeps what is finished: parts, samples, checkpoints. The same command resumes: {}",
        folder.display(),
        command_line()
    )
}

/// Written before the first stage: status and report read a run's plan from it, also of one that was killed.
fn write_recipe(recipe: &RunRecipe, folder: &Path) -> Result<()> {
    let (toml, path) = (recipe.to_toml()?, folder.join(RECIPE));
    write_atomically(&path, |writer| writer.write_all(toml.as_bytes()).context("cannot write the recipe"))
}

/// Writes the summary of a finished run, its report and its model for others.
fn conclude(plan: &Plan, recipe: &RunRecipe, folder: &Path) -> Result<RunSummary> {
    let provenance = Some(RunProvenance::of(plan, folder, portable_command_line())?);
    let summary = RunSummary { provenance, ..RunSummary::of(plan, folder, recipe)? };
    // The report takes a run with a summary for a finished one, so the summary comes first.
    summary.write(folder)?;
    report::write(folder, &folder.join(PAGE))?;
    release::write(plan, recipe, &summary, folder)?;
    Ok(summary)
}

fn run_folder(arguments: &RunArguments) -> Result<PathBuf> {
    match &arguments.run_dir {
        Some(folder) => Ok(folder.clone()),
        None => default_folder(&arguments.recipe),
    }
}

fn default_folder(recipe: &Path) -> Result<PathBuf> {
    Ok(Path::new("runs").join(recipe_name(recipe)?))
}

/// The name of a recipe: that of its file.
pub(super) fn recipe_name(recipe: &Path) -> Result<String> {
    let shown = recipe.display();
    let name = recipe.file_stem().ok_or_else(|| Failure::usage(format!("{shown} names no recipe")))?;
    Ok(name.to_string_lossy().into_owned())
}

/// Logs what will be resumed and what will be redone, before any work starts.
fn announce(plan: &Plan, states: &[State]) {
    // A shared step is announced with the earlier step that it shares.
    for step in plan.steps.iter().filter(|step| !step.shared) {
        announce_stage(&step.label(), &states[step.node]);
    }
}

fn announce_stage(stage: &str, state: &State) {
    match state {
        State::Changed(why) => info!("{stage} will be redone: {why}"),
        State::Depends => info!("{stage} will be redone: it depends on a stage that will be"),
        State::Begun => info!("{stage} resumes"),
        // Finished stages and new ones are what the reader expects, and need no announcement.
        State::Done | State::Missing => {}
    }
}

/// What the run will do with a step.
fn intent(step: &Step, state: &State) -> String {
    match state {
        // Before its state, which the line of the earlier step already shows.
        _ if step.shared => "shared with an earlier step".to_owned(),
        State::Done => "done".to_owned(),
        State::Begun => "resumes".to_owned(),
        State::Missing => "to be done".to_owned(),
        State::Changed(why) => format!("will be redone: {why}"),
        State::Depends => "will be redone: depends on a stage that will be".to_owned(),
    }
}
