//! The keys that a run's recipe may have: all others are refused, since a misspelt setting would silently keep
//! its default.

use anyhow::{Context, Result};
use latrace_engine::{Lora, TrainConfig};
use latrace_io::failure::Failure;
use toml::{Table, Value};

use super::{field_names, unknown_key};
use crate::weigh::Fallbacks;

/// The defaults of all settings, with their documentation.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// Tables with free-form keys.
const FREE: [&str; 4] = ["model.shape", "questions.columns", "questions.kinds", "questions.question_kinds"];

/// Tables that no baseline has: they say who does the work of the whole run.
const ENGINES: [&str; 3] = ["engine", "servers", "torchrun"];

/// Refuses unknown keys, in the recipe and in its baselines.
pub(super) fn check_keys(given: &Table, source: &str) -> Result<()> {
    let known = known_keys()?;
    check_table(given, &known, "", source)?;
    let baselines = given.get("baselines").and_then(Value::as_table);
    baselines.into_iter().flatten().try_for_each(|(name, baseline)| {
        let name = format!("baselines.{name}");
        let table = baseline.as_table().ok_or_else(|| not_a_table(source, &name, baseline))?;
        if let Some(engine) = ENGINES.into_iter().find(|engine| table.contains_key(*engine)) {
            let message =
                format!("{source}: {name}.{engine}: a run has the same engines for all of its methods");
            return Err(Failure::usage(message).hint(format!("set {engine} for the whole run")).into());
        }
        check_table(table, &known, &format!("{name}."), source)
    })
}

fn not_a_table(source: &str, name: &str, value: &Value) -> Failure {
    Failure::usage(format!("{source}: {name}: expected a table of settings, got {value}"))
}

/// The keys of the defaults, and those that the defaults leave out: most of the trainer's settings, seeds of
/// stages, and the shape of a random model.
fn known_keys() -> Result<Table> {
    let mut known: Table = toml::from_str(DEFAULTS).context("the defaults are not TOML")?;
    for training in ["initial", "posterior", "final"] {
        training_keys().for_each(|(key, any)| insert(&mut known, training, key, any));
    }
    let refinement = known.get_mut("posterior").and_then(Value::as_table_mut);
    let refinement = refinement.context("the defaults have no posterior")?;
    training_keys().for_each(|(key, any)| insert(refinement, "refine", key, any));
    // Not in the defaults, where they would keep the run's own seed from these stages.
    for seeded in ["questions", "weights"] {
        insert(&mut known, seeded, "seed", Value::Integer(0));
    }
    insert(&mut known, "model", "shape", Value::Table(Table::new()));
    let kinds = field_names::<Fallbacks>().iter().map(|&kind| (kind.to_owned(), Value::Boolean(true)));
    insert(&mut known, "weights", "fallbacks", Value::Table(kinds.collect()));
    Ok(known)
}

/// The keys of a training. Only the names count, so any value will do.
pub(super) fn training_keys() -> impl Iterator<Item = (&'static str, Value)> {
    let any = |name: &str| (name.to_owned(), Value::Boolean(true));
    field_names::<TrainConfig>().iter().map(move |&name| match name {
        "lora" => (name, Value::Table(field_names::<Lora>().iter().map(|&name| any(name)).collect())),
        _ => (name, Value::Boolean(true)),
    })
}

/// Keys that were renamed, with what to write instead: a recipe from before is never read differently.
const RENAMED: [(&str, &str, &str); 1] =
    [("start", "final.start", "what was start = \"initial\" is final.start = \"previous\", its default")];

/// Keys that people will look for, and why there are none yet.
const NOT_YET: [(&str, &str); 1] = [(
    "torchrun.lora",
    "adapters are trained by the built-in engine alone, by [initial.lora], [posterior.lora] and so on",
)];

/// The failure of a key that is known not to be there.
fn refused(source: &str, name: &str) -> Option<Failure> {
    // A baseline's settings have the names of the recipe's own.
    let of_baseline = name.strip_prefix("baselines.").and_then(|rest| rest.split_once('.'));
    let key = of_baseline.map_or(name, |(_, key)| key);
    if let Some((_, why)) = NOT_YET.into_iter().find(|(known, _)| *known == key) {
        return Some(Failure::usage(format!("{source}: the key \"{name}\" is not there yet: {why}")));
    }
    let (_, new, hint) = RENAMED.into_iter().find(|(old, ..)| *old == key)?;
    Some(Failure::usage(format!("{source}: the key \"{name}\" was renamed: write {new}")).hint(hint))
}

fn insert(known: &mut Table, table: &str, key: &str, value: Value) {
    if let Some(Value::Table(table)) = known.get_mut(table) {
        table.insert(key.to_owned(), value);
    }
}

pub(super) fn check_table(given: &Table, known: &Table, prefix: &str, source: &str) -> Result<()> {
    for (key, value) in given {
        let name = format!("{prefix}{key}");
        let Some(inner) = known.get(key) else {
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(refused(source, &name).unwrap_or_else(|| unknown_key(source, &name, &known)).into());
        };
        if let (Some(inner), Some(value)) = (inner.as_table(), value.as_table())
            && !is_free(&name)
        {
            check_table(value, inner, &format!("{name}."), source)?;
        }
    }
    Ok(())
}

/// Whether a table's keys are not checked here: they are free, or those of baselines, which are checked one
/// by one.
fn is_free(name: &str) -> bool {
    name == "baselines" || FREE.iter().any(|free| name.ends_with(free))
}
