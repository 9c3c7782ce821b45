//! `latrace recipe`: whether a recipe is valid, and what it says in full.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use latrace_io::failure::Failure;
use latrace_run::plan::{Plan, plan};
use latrace_run::preflight::preflight;
use latrace_run::recipe::run::RunRecipe;

use super::output::{print, write};

/// Arguments of `latrace recipe`.
#[derive(Args, Debug)]
#[command(after_help = "\
`docs/recipe.md` lists the settings, `docs/recipe.schema.json` is for editors: name it in the first line of a recipe, as
the shipped ones do (#:schema).

Examples:
  latrace recipe check recipes/quickstart.toml
  latrace recipe check recipes/quickstart.toml traces.n=16
  latrace recipe show recipes/quickstart.toml
  latrace recipe show recipes/quickstart.toml seed=2 > whole.toml")]
pub struct RecipeArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Check a recipe and the files that it names, and say in a sentence what it does
    #[command(
        after_help = "Examples:\n  latrace recipe check recipes/quickstart.toml\n  latrace recipe check own.toml traces.n=16"
    )]
    Check(RecipeInput),
    /// Print a recipe with every setting, as TOML
    #[command(
        after_help = "Examples:\n  latrace recipe show recipes/quickstart.toml\n  latrace recipe show own.toml seed=2 > whole.toml"
    )]
    Show(RecipeInput),
}

/// A recipe, as `latrace run` takes it.
#[derive(Args, Debug)]
struct RecipeInput {
    /// Recipe file
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,
    /// Settings that override the recipe's, such as traces.n=16
    #[arg(value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

impl RecipeInput {
    fn read(&self) -> Result<RunRecipe> {
        let shown = self.recipe.display();
        if self.recipe.is_dir() {
            return Err(Failure::usage(format!("{shown} is a folder: expected the file of a recipe")).into());
        }
        if !self.recipe.is_file() {
            return Err(Failure::usage(format!("there is no recipe {shown}")).into());
        }
        RunRecipe::read(&self.recipe, &self.settings)
    }
}

/// Runs `latrace recipe`.
pub fn run(arguments: &RecipeArguments) -> Result<()> {
    match &arguments.action {
        Action::Check(input) => check(input),
        Action::Show(input) => write(input.read()?.to_toml()?.as_bytes()),
    }
}

fn check(input: &RecipeInput) -> Result<()> {
    let recipe = input.read()?;
    let plan = plan(&recipe)?;
    let unchecked = preflight(&recipe)?;
    print(&format!("{} is valid: {}", input.recipe.display(), in_a_sentence(&recipe, &plan)))?;
    say_unchecked(&unchecked)
}

/// Says what could not be checked on this machine.
pub(super) fn say_unchecked(unchecked: &[String]) -> Result<()> {
    unchecked.iter().try_for_each(|reason| print(&format!("not checked: {reason}")))
}

/// What a recipe does.
fn in_a_sentence(recipe: &RunRecipe, plan: &Plan) -> String {
    let model = match recipe.model.folder.as_str() {
        "" => "a random model",
        folder => folder,
    };
    let questions = match recipe.questions.task.as_str() {
        "" => recipe.questions.train.clone(),
        task => format!("the task {task}"),
    };
    let rounds = if recipe.rounds > 1 { format!(" in {} rounds", recipe.rounds) } else { String::new() };
    let (all, names) = (plan.nodes.len(), plan.methods());
    let own = plan.nodes.iter().filter(|node| node.method.is_none()).count();
    let baselines = match names.len() {
        0 => "no baselines".to_owned(),
        1 => format!("1 baseline ({}) with {} more", names[0], all - own),
        count => format!("{count} baselines ({}) with {} more", names.join(", "), all - own),
    };
    let method = recipe.method.name();
    format!("trains {model} on {questions} by the method {method}{rounds}; {own} stages, and {baselines}")
}
