//! `latrace run`: every stage of a recipe.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_report as report;
use latrace_run::layout;
use latrace_run::pipeline;
use latrace_run::pipeline::folder::{Plan, Planned, RunFolder, Stages};
use latrace_run::pipeline::summary::{Summary, in_words};
use latrace_run::recipe::run::RunRecipe;
use latrace_run::stages::model::check_unchanged;

/// The recipe in full, in the run folder.
const RECIPE: &str = "recipe.toml";

/// Arguments of `latrace run`.
#[derive(Args, Debug)]
#[command(after_help = "\
Run again, it goes on where it was stopped (kill -9 too), to the same result. What a changed recipe does not touch is kept.
Settings are those of `docs/recipe.md`; the recipe in full is written to RUN/recipe.toml, what came out to RUN/summary.json and,
as a page to look at, to RUN/report.html.

Examples:
  latrace run recipes/quickstart.toml
  latrace run recipes/quickstart.toml --run-dir runs/second seed=2
  latrace run recipes/quickstart.toml --dry-run weights.selection=best")]
pub struct RunArguments {
    /// The recipe
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// Folder of the run; default: runs/NAME-OF-THE-RECIPE
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Show what would be done, and why, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Settings in place of the recipe's, such as traces.n=16
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Runs `latrace run`.
pub fn run(arguments: &RunArguments) -> Result<()> {
    let recipe = RunRecipe::read(&arguments.recipe, &arguments.settings)?;
    let folder = run_folder(arguments)?;
    if arguments.dry_run {
        return show_plan(&recipe, &folder);
    }
    let held = RunFolder::lock(&folder)?;
    check_unchanged(&recipe.model, &folder)?;
    let toml = recipe.to_toml()?;
    write_atomically(&folder.join(RECIPE), |writer| {
        writer.write_all(toml.as_bytes()).context("cannot write the recipe")
    })?;
    announce(&recipe, &held)?;
    let outcomes = pipeline::run(&recipe, &Stages::new(&held, false))?;
    let summary = Summary::of(&outcomes, &folder, &recipe)?;
    summary.write(&folder)?;
    report::write(&folder, &folder.join(report::PAGE))?;
    print(&in_words(&summary, &folder))
}

fn run_folder(arguments: &RunArguments) -> Result<PathBuf> {
    if let Some(folder) = &arguments.run_dir {
        return Ok(folder.clone());
    }
    let stem = arguments.recipe.file_stem();
    let stem =
        stem.ok_or_else(|| Failure::usage(format!("{} names no recipe", arguments.recipe.display())))?;
    Ok(Path::new("runs").join(stem))
}

/// Says what is kept and what is made anew, before anything is.
fn announce(recipe: &RunRecipe, held: &RunFolder) -> Result<()> {
    for Planned { stage, plan } in plan(recipe, held)? {
        match plan {
            Plan::Remake(why) => tracing::info!("{stage} is made anew: {why}"),
            Plan::Depends => tracing::info!("{stage} is made anew: it depends on a stage that is"),
            Plan::Continue => tracing::info!("{stage} goes on where it was stopped"),
            Plan::Keep | Plan::Share | Plan::Make => {}
        }
    }
    Ok(())
}

fn plan(recipe: &RunRecipe, folder: &RunFolder) -> Result<Vec<Planned>> {
    let stages = Stages::new(folder, true);
    pipeline::run(recipe, &stages)?;
    Ok(stages.planned())
}

fn show_plan(recipe: &RunRecipe, folder: &Path) -> Result<()> {
    layout::check(folder)?;
    let lines = plan(recipe, &RunFolder::look(folder))?.into_iter().map(|Planned { stage, plan }| {
        let what = match plan {
            Plan::Keep => "done".to_owned(),
            Plan::Share => "shared with the run's own".to_owned(),
            Plan::Continue => "goes on where it was stopped".to_owned(),
            Plan::Make => "to be done".to_owned(),
            Plan::Remake(why) => format!("made anew: {why}"),
            Plan::Depends => "made anew: depends on a stage that is".to_owned(),
        };
        format!("{stage:<32} {what}")
    });
    print(&lines.collect::<Vec<_>>().join("\n"))
}

fn print(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("cannot write to standard output")
}
