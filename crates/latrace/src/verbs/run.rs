//! `latrace run`: runs every stage of a recipe.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tracing::info;

use latrace_engine::child;
use latrace_io::failure::Failure;
use latrace_io::files::write_atomically;
use latrace_report::{self as report, PAGE};
use latrace_run::estimate::{ModelMemory, Work, works};
use latrace_run::layout::{self, RECIPE};
use latrace_run::pipeline::context::RunContext;
use latrace_run::pipeline::folder::RunFolder;
use latrace_run::pipeline::runner::{self, State, folder_of, states};
use latrace_run::pipeline::summary::{RunSummary, in_words};
use latrace_run::plan::{Plan, Stage, Step, plan};
use latrace_run::recipe::run::RunRecipe;
use latrace_run::stages::model::check_unchanged;
use latrace_run::trial::Rates;

use super::output::print;

/// Arguments of `latrace run`.
#[derive(Args, Debug)]
#[command(after_help = "\
An interrupted run (even by kill -9) resumes when run again, with the same result. After a change of the
recipe, only the stages that depend on the change are redone. `docs/recipe.md` lists the settings; the
resolved recipe is written to RUN/recipe.toml, the results to RUN/summary.json, and a report to
RUN/report.html.

Examples:
  latrace run recipes/quickstart.toml
  latrace run recipes/quickstart.toml --run-dir runs/second seed=2
  latrace run recipes/quickstart.toml --dry-run weights.selection=best
  latrace run recipes/quickstart.toml --dry-run --estimate")]
pub struct RunArguments {
    /// Recipe file
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// Run folder; default: runs/NAME-OF-THE-RECIPE
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Show what would be done and why, without doing it
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: also how long it takes, by a short trial of the engines on the model
    #[arg(long, requires = "dry_run")]
    estimate: bool,
    /// Settings that override the recipe's, such as traces.n=16
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Runs `latrace run`.
pub fn run(arguments: &RunArguments) -> Result<()> {
    let recipe = RunRecipe::read(&arguments.recipe, &arguments.settings)?;
    let folder = run_folder(arguments)?;
    let (plan, context) = (plan(&recipe)?, RunContext::new(&recipe, &folder)?);
    // Before the lock, which would create the folder; so the layout, which the lock checks, is checked here.
    if arguments.dry_run {
        layout::check(&folder)?;
        let states = states(&plan, &folder, &context)?;
        let works = works(&plan, &folder)?;
        let memory = ModelMemory::of(&plan, &folder, recipe.r#final.config.cutoff_length)?;
        let text = [in_lines(&plan, &states, &works), ahead(&states, &works, memory)].concat();
        print(&text)?;
        return if arguments.estimate {
            print(&times(&plan, &states, &works, &context, &folder)?)
        } else {
            Ok(())
        };
    }
    let held = RunFolder::lock(&folder)?;
    say_what_is_kept(arguments, &folder)?;
    // Checked before the recipe is written, so that a refused run leaves the folder unchanged.
    check_unchanged(&recipe.model, &folder)?;
    write_recipe(&recipe, &folder)?;
    // Before the work, so that a change of the recipe that redoes a long stage can be interrupted.
    announce(&plan, &states(&plan, &folder, &context)?);
    runner::run(&plan, &held, &context)?;
    conclude(&plan, &recipe, &folder)
}

/// On Ctrl-C or SIGTERM, ends servers and trainers in order, and says what is kept. Nothing has to be saved then: parts
/// and checkpoints are written as the work goes on.
fn say_what_is_kept(arguments: &RunArguments, folder: &Path) -> Result<()> {
    let kept = format!(
        "stopped; {} keeps what is finished: parts, samples, checkpoints. The same command resumes: \
         latrace run {}",
        folder.display(),
        arguments.recipe.display()
    );
    ctrlc::set_handler(move || {
        child::stop_all();
        eprintln!("{kept}");
        std::process::exit(INTERRUPTED);
    })
    .context("cannot watch for Ctrl-C")
}

/// Exit code of a run that was told to stop, as a shell has it for Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Written before the first stage: status and report read a run's plan from it, also of one that was killed.
fn write_recipe(recipe: &RunRecipe, folder: &Path) -> Result<()> {
    let (toml, path) = (recipe.to_toml()?, folder.join(RECIPE));
    write_atomically(&path, |writer| writer.write_all(toml.as_bytes()).context("cannot write the recipe"))
}

/// Writes and prints the summary of a finished run, and writes its report.
fn conclude(plan: &Plan, recipe: &RunRecipe, folder: &Path) -> Result<()> {
    let summary = RunSummary::of(plan, folder, recipe)?;
    // The report takes a run with a summary for a finished one, so the summary comes first.
    summary.write(folder)?;
    report::write(folder, &folder.join(PAGE))?;
    print(&in_words(&summary, folder))
}

fn run_folder(arguments: &RunArguments) -> Result<PathBuf> {
    match &arguments.run_dir {
        Some(folder) => Ok(folder.clone()),
        None => default_folder(&arguments.recipe),
    }
}

fn default_folder(recipe: &Path) -> Result<PathBuf> {
    let shown = recipe.display();
    let name = recipe.file_stem().ok_or_else(|| Failure::usage(format!("{shown} names no recipe")))?;
    Ok(Path::new("runs").join(name))
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

/// A line for each step of each method.
fn in_lines(plan: &Plan, states: &[State], works: &[Option<Work>]) -> String {
    let line = |step: &Step| {
        let state = &states[step.node];
        let amount = works[step.node].filter(|_| !step.shared && *state != State::Done).map(amount);
        format!("{:<32} {}{}\n", step.label(), intent(step, state), amount.unwrap_or_default())
    };
    plan.steps.iter().map(line).collect()
}

/// How much a stage has to do, at most.
fn amount(work: Work) -> String {
    let Work { samples, drawn, scored, updates, .. } = work;
    match (drawn, scored, updates) {
        (1.., ..) => format!(": at most {samples} samples of {} tokens", drawn / samples.max(1)),
        (_, 1.., _) => format!(": at most {} tokens", short(scored)),
        (.., 1..) => format!(": {updates} updates"),
        _ => String::new(),
    }
}

/// All that is still to be done, and the memory that the model needs.
fn ahead(states: &[State], works: &[Option<Work>], memory: Option<ModelMemory>) -> String {
    let mut all = Work::default();
    let mut unknown = false;
    for (_, work) in states.iter().zip(works).filter(|(state, _)| **state != State::Done) {
        unknown |= work.is_none();
        let Work { samples, drawn, scored, updates, trained } = work.unwrap_or_default();
        all.samples += samples;
        all.drawn += drawn;
        all.scored += scored;
        all.updates += updates;
        all.trained += trained;
    }
    let mut text = if unknown {
        "\nHow much there is to do is known once 00-questions is done.\n".to_owned()
    } else {
        let Work { drawn, scored, trained, .. } = all;
        // An id and a log-prob of each token; scores have the latter alone.
        let disk = 8 * drawn + 4 * scored;
        format!(
            "\nTo be done, if every sample and row were as long as it may be: {} tokens drawn, {} scored, {} trained on; \
             tables of {}B.\n",
            short(drawn),
            short(scored),
            short(trained),
            short(disk)
        )
    };
    if let Some(ModelMemory { parameters, training, activations, weights, cache_of_token }) = memory {
        text += &format!(
            "The model has {} parameters: {}B to train in f32 with AdamW, over all GPUs, and {}B of activations for a row of \
             the cut-off length, if layers are recomputed; {}B to serve in bf16, and {}B of cache for 1,000 tokens.\n",
            short(parameters),
            short(training),
            short(activations),
            short(weights),
            short(1000 * cache_of_token)
        );
    }
    text
}

/// How long the stages that are still to be done take at most, by the rates of a trial on the model to start from.
fn times(
    plan: &Plan,
    states: &[State],
    works: &[Option<Work>],
    context: &RunContext,
    run: &Path,
) -> Result<String> {
    let model = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id]).context("a plan has a model")?;
    let model = folder_of(model, run.join(model.folder()))?;
    if !model.join("config.json").is_file() {
        let message = "there is no model to try the engines on before 00-model is done";
        return Err(Failure::work(message).hint("begin the run, interrupt it, and ask again").into());
    }
    info!("trying the engines on {}", model.display());
    let rates = Rates::measure(&*context.engine, &model)?;
    let Rates { drawn, scored, trained } = rates;
    let mut text = format!(
        "Tokens a second in a short trial: {drawn:.0} drawn, {scored:.0} scored, {trained:.0} trained on. At most, that is:\n"
    );
    let mut all = 0.0;
    for step in plan.steps.iter().filter(|step| !step.shared && states[step.node] != State::Done) {
        let seconds = works[step.node].map_or(0.0, |work| rates.seconds(work));
        if seconds > 0.0 {
            text += &format!("{:<32} {}\n", step.label(), duration(seconds));
        }
        all += seconds;
    }
    Ok(text + &format!("{:<32} {}\n", "in all", duration(all)))
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        ..3600.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A number with three digits and a unit.
fn short(number: u64) -> String {
    let steps = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let number = number as f64;
    let (size, unit) = steps.into_iter().find(|(size, _)| number >= *size).unwrap_or((1.0, " "));
    let scaled = number / size;
    let digits = if scaled >= 100.0 || size == 1.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
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
