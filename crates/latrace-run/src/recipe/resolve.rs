//! From tables of settings to a recipe: over the defaults, with seeds, typed and checked.

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use latrace_io::failure::Failure;
use latrace_io::settings::{self, RefusedSetting};
use toml::{Table, Value};

use super::keys::DEFAULTS;
use super::run::RunRecipe;
use super::table::{merge, section_of};

pub(super) fn defaults() -> Result<Table> {
    toml::from_str(DEFAULTS).context("the defaults are not TOML")
}

/// The whole recipe. Baselines are validated here, too: an error in one should not surface after hours of work.
pub(super) fn resolve(given: &Table) -> Result<RunRecipe> {
    let mut table = defaults()?;
    merge(&mut table, given.clone());
    let recipe = typed(table)?;
    recipe.baselines.keys().try_for_each(|name| recipe.variant(name).map(drop))?;
    Ok(recipe)
}

/// The failure of a baseline's setting, by its key in the recipe.
pub(super) fn of_baseline(name: &str, error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<Failure>() {
        Ok(failure) => failure.preceded_by(&format!("baselines.{name}.")).into(),
        Err(error) => error.context(format!("baselines.{name}")),
    }
}

pub(super) fn typed(mut table: Table) -> Result<RunRecipe> {
    seed_stages(&mut table);
    let recipe: RunRecipe = settings::typed(table.clone()).map_err(|refused| {
        Failure::from(in_full(&table, refused)).or_hint("`docs/recipe.md` lists every setting")
    })?;
    recipe.check()?;
    Ok(recipe)
}

/// Sections that are trainings, whose settings are flattened into them.
const TRAININGS: [&str; 4] = ["initial", "posterior", "posterior.refine", "final"];

/// A refusal with the whole key: serde reads what is flattened as one, and names the section alone.
fn in_full(table: &Table, refused: RefusedSetting) -> RefusedSetting {
    let section = refused.key.clone();
    let Some((key, value)) = wrong_setting(table, &refused) else { return refused };
    let of_training = || {
        let alone = settings::typed::<TrainConfig>(Table::from_iter([(key.clone(), value)]));
        Some(alone.err()?.under(&section)).filter(|_| TRAININGS.contains(&section.as_str()))
    };
    of_training().unwrap_or_else(|| refused.at(format!("{section}.{key}")))
}

/// The setting at fault in a section with flattened settings: the one whose default in its place ends the error, or gives
/// way to the next.
fn wrong_setting(table: &Table, refused: &RefusedSetting) -> Option<(String, Value)> {
    let (mut whole, mut defaults, section) = (table.clone(), defaults().ok()?, &refused.key);
    // A table that has no defaults, such as one of markers, has no key to try them for.
    let of_default = section_of(&mut defaults, section)?;
    let is_given = |(key, value): &(&String, &Value)| of_default.get(*key) != Some(*value);
    let is_at_fault = |(key, _): &(&String, &Value)| {
        let healed = settings::typed::<RunRecipe>(with_default(table, section, key));
        healed.err().is_none_or(|other| other != *refused)
    };
    let mut given = section_of(&mut whole, section)?.iter().filter(is_given);
    given.find(is_at_fault).map(|(key, value)| (key.clone(), value.clone()))
}

fn with_default(table: &Table, section: &str, key: &str) -> Table {
    let mut without = table.clone();
    if let Some(settings) = section_of(&mut without, section) {
        settings.remove(key);
    }
    let mut healed = defaults().unwrap_or_default();
    merge(&mut healed, without);
    healed
}

/// Gives the run's seed to every stage that does not set its own.
pub(super) fn seed_stages(table: &mut Table) {
    let Some(seed) = table.get("seed") else { return };
    // A seed that is none is refused by its own name, and not by those of the stages.
    let seed = Value::Integer(seed.as_integer().map_or(0, |seed| seed.max(0)));
    // Equal seeds are independent draws: the stage's name is part of every key of a random stream.
    for stage in ["questions", "initial", "posterior", "weights", "final"] {
        if let Some(Value::Table(stage)) = table.get_mut(stage) {
            stage.entry("seed").or_insert_with(|| seed.clone());
        }
    }
    let refinement = table.get_mut("posterior").and_then(|posterior| posterior.get_mut("refine"));
    if let Some(Value::Table(refinement)) = refinement {
        refinement.entry("seed").or_insert(seed);
    }
}
