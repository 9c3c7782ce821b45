//! Adapters in a recipe: which engines take them, and which of two trainings goes on with the other's.

use anyhow::Result;
use latrace_engine::{Lora, TrainConfig};

use super::checks::usage;
use super::models::StartFrom;
use super::run::{GenerateEngine, RunRecipe, ScoreEngine, TrainEngine};

/// Fails where a stage would refuse an adapter, perhaps after hours.
pub(super) fn check(recipe: &RunRecipe) -> Result<()> {
    trainings(recipe).into_iter().try_for_each(|(name, config)| check_engines(recipe, name, config))?;
    successors(recipe).into_iter().try_for_each(|[first, second]| check_continues(first, second))
}

type Training<'a> = (&'static str, &'a TrainConfig);

fn trainings(recipe: &RunRecipe) -> [Training<'_>; 4] {
    [
        ("initial", &recipe.initial.config),
        ("posterior", &recipe.posterior.config),
        ("posterior.refine", &recipe.posterior.refine.config),
        ("final", &recipe.r#final.config),
    ]
}

/// Trainings of which the second starts from what the first has trained.
fn successors(recipe: &RunRecipe) -> Vec<[Training<'_>; 2]> {
    let [initial, posterior, refine, last] = trainings(recipe);
    let mut pairs = Vec::new();
    let starts_initial = matches!(recipe.posterior.start, Some(StartFrom::Initial | StartFrom::Previous));
    if recipe.initial.train && recipe.posterior.train && starts_initial {
        pairs.push([initial, posterior]);
    }
    if recipe.posterior.train && recipe.posterior.refine.rounds > 0 {
        pairs.push([posterior, refine]);
    }
    if recipe.initial.train && recipe.r#final.start != StartFrom::Base {
        pairs.push([initial, last]);
    }
    pairs
}

fn check_engines(recipe: &RunRecipe, name: &str, config: &TrainConfig) -> Result<()> {
    let engine = &recipe.engine;
    if engine.train != TrainEngine::Cpu && !config.frozen.is_empty() {
        return usage(format!(
            "{name}.frozen: only the built-in engine leaves parameters frozen: expected engine.train = \"cpu\""
        ));
    }
    let is_built_in = engine.train == TrainEngine::Cpu
        && engine.generate == GenerateEngine::Cpu
        && engine.score == ScoreEngine::Cpu;
    if config.lora.is_none() || is_built_in {
        return Ok(());
    }
    usage(format!(
        "{name}.lora: only the built-in engine takes adapters: expected engine.generate, engine.score and engine.train = \
         \"cpu\""
    ))
}

/// A training that starts from an adapter and trains one itself goes on with it.
fn check_continues((first, of_first): Training<'_>, (second, of_second): Training<'_>) -> Result<()> {
    let (Some(a), Some(b)) = (&of_first.lora, &of_second.lora) else { return Ok(()) };
    // Dropout may differ: it is no part of the adapter.
    if *a == (Lora { dropout: a.dropout, ..b.clone() }) {
        return Ok(());
    }
    usage(format!(
        "{second}.lora: starts from the adapter of {first}, and goes on with it: expected the rank, alpha, rslora and \
         targets of {first}.lora, or another start"
    ))
}

#[cfg(test)]
mod tests {
    use crate::recipe::run::RunRecipe;
    use std::path::Path;

    #[track_caller]
    fn check(settings: &[&str], expected: Option<&str>) {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let error = RunRecipe::read(&recipe, &settings).err().map(|error| format!("{error:#}"));
        match (error, expected) {
            (None, None) => {}
            (Some(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            (error, expected) => panic!("{error:?}, expected {expected:?}"),
        }
    }

    /// The quick start's model is random, so its initial model cannot be an adapter; that is the trainer's to say.
    const INITIAL: [&str; 2] = ["initial.init=model", "initial.lora.rank=4"];

    #[test]
    fn a_training_goes_on_with_an_adapter_of_the_same_make() {
        let with = |settings: &[&'static str]| [&INITIAL[..], settings].concat();
        check(&with(&["final.lora.rank=4"]), None);
        check(&with(&["final.lora={ rank = 4, dropout = 0.1 }"]), None);
        check(&with(&["final.lora.rank=8"]), Some("final.lora: starts from the adapter of initial"));
        check(&with(&["final.lora={ rank = 4, targets = [\"q_proj\"] }"]), Some("final.lora: starts from"));
        // From the base, or with all weights, or after weights, there is nothing to go on with.
        check(&with(&["final.lora.rank=8", "final.start=base"]), None);
        check(&with(&[]), None);
        check(&["final.lora.rank=8"], None);
        check(&with(&["posterior.lora.rank=8"]), None);
        check(
            &with(&["posterior.lora.rank=8", "posterior.start=initial"]),
            Some("posterior.lora: starts from the adapter of initial"),
        );
    }
}
