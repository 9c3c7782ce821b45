//! What a run would refuse, looked for without a run: `latrace recipe check` and `latrace new` call what the first stages of
//! a run call, on what is on this machine. Nothing is downloaded.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::Message;
use latrace_io::hub::{is_dataset_of_hub, is_model_of_hub, model_folder, part_files, stay_offline};
use latrace_questions::source::Source;
use latrace_questions::verifiers::Verifiers;
use tempfile::tempdir;

use crate::estimate::{QuestionNumbers, check_traced};
use crate::pipeline::context::RunContext;
use crate::plan::{QuestionSettings, plan};
use crate::prompting::Prompting;
use crate::recipe::run::RunRecipe;
use crate::stages::questions::{check_prompts, read_judged};

/// Checks all that a recipe and its baselines name, and returns what could not be checked, each with the reason.
///
/// # Errors
/// What a run would refuse.
pub fn preflight(recipe: &RunRecipe) -> Result<Vec<String>> {
    stay_offline();
    let scratch = tempdir().context("cannot make a folder for a trial")?;
    let verifiers = RunContext::new(recipe, scratch.path())?.verifiers;
    let mut unchecked = Unchecked(absent_arguments(&recipe.verifier.command));
    check_method(recipe, &verifiers, scratch.path(), &mut unchecked)?;
    for (name, variant) in recipe.variants()? {
        // Most baselines share what the recipe reads, and differ in what they make of it.
        if reads_other(recipe, &variant) {
            let checked = check_method(&variant, &verifiers, scratch.path(), &mut unchecked);
            checked.with_context(|| format!("baselines.{name}"))?;
        }
    }
    Ok(unchecked.0)
}

/// What is not checked, each with the reason, once.
struct Unchecked(Vec<String>);

impl Unchecked {
    fn add(&mut self, reason: String) {
        if !self.0.contains(&reason) {
            self.0.push(reason);
        }
    }
}

fn reads_other(recipe: &RunRecipe, variant: &RunRecipe) -> bool {
    let read = |recipe: &RunRecipe| (recipe.model.clone(), recipe.questions.clone(), recipe.prompts.clone());
    read(recipe) != read(variant)
}

fn check_method(
    recipe: &RunRecipe,
    verifiers: &Verifiers,
    scratch: &Path,
    unchecked: &mut Unchecked,
) -> Result<()> {
    let mut here = recipe.clone();
    leave_out_absent(&mut here.questions, unchecked);
    let absent_model = absent_model(&here);
    if here.questions.train.is_empty() && here.questions.task.is_empty() {
        absent_model.into_iter().for_each(|reason| unchecked.add(format!("model.folder: {reason}")));
        return Ok(());
    }
    let plan = plan(&here)?;
    match absent_model {
        None => QuestionNumbers::of(&plan, &scratch.join("run"), verifiers).map(drop),
        Some(reason) => {
            unchecked.add(format!("prompts and token ids, since {reason}"));
            check_traced(&plan, without_model(&here, verifiers)?)
        }
    }
}

/// The numbers of questions, after all checks of them that need no model.
fn without_model(recipe: &RunRecipe, verifiers: &Verifiers) -> Result<QuestionNumbers> {
    let settings = QuestionSettings::of(recipe)?;
    // In place of the model's chat template, so that the traces of conversations are found.
    let render = |_: &[Message]| Ok(String::new());
    let questions = read_judged(&settings.source, &settings.markers, Some(&render), verifiers)?;
    let prompting = [settings.reasoner.compile()?, settings.posterior.compile()?];
    if prompting.iter().all(|prompting| matches!(prompting, Prompting::Template(_))) {
        check_prompts(&questions.all, prompting.each_ref(), &settings.markers, None)?;
    }
    Ok(QuestionNumbers::of_read(&questions.all))
}

/// Empties the names of files and data sets that are not on this machine.
fn leave_out_absent(questions: &mut Source, unchecked: &mut Unchecked) {
    let Source { train, validation, test, tests, .. } = questions;
    let named =
        [("train", train), ("validation", validation), ("test", test), ("tests.from", &mut tests.from)];
    for (setting, name) in named {
        let part = if setting == "tests.from" { "train" } else { setting };
        if let Some(reason) = absent_file(name, part) {
            unchecked.add(format!("questions.{setting}: {reason}"));
            name.clear();
        }
    }
}

/// The files among the arguments of the user's own verifier that are not there: of these, only what has an extension is
/// a file for certain.
fn absent_arguments(command: &[String]) -> Vec<String> {
    let is_file =
        |argument: &&String| !argument.starts_with('-') && Path::new(argument).extension().is_some();
    let absent = command.iter().skip(1).filter(is_file).filter(|argument| !Path::new(argument).exists());
    absent.map(|argument| format!("verifier.command: {}", self::absent(argument, false))).collect()
}

fn absent_file(name: &str, part: &str) -> Option<String> {
    let is_here = match is_dataset_of_hub(name) {
        true => part_files(name, part).is_ok(),
        false => name.is_empty() || Path::new(name).exists(),
    };
    (!is_here).then(|| absent(name, is_dataset_of_hub(name)))
}

fn absent_model(recipe: &RunRecipe) -> Option<String> {
    let folder = recipe.model.folder.as_str();
    let is_here = match is_model_of_hub(folder) {
        true => model_folder(folder).is_ok(),
        false => folder.is_empty() || Path::new(folder).exists(),
    };
    (!is_here).then(|| absent(folder, is_model_of_hub(folder)))
}

fn absent(name: &str, is_of_hub: bool) -> String {
    if is_of_hub {
        format!("{name} on the hub is not on this machine yet")
    } else {
        format!("there is no {name}, neither beside the recipe nor from here")
    }
}
