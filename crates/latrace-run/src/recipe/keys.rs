//! The keys that a run's recipe may have: all others are refused, since a misspelt setting would silently keep
//! its default.

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use latrace_io::failure::Failure;
use toml::{Table, Value};

use super::{field_names, unknown_key};

/// The defaults of all settings, with their documentation.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// Tables with free-form keys.
const FREE: [&str; 2] = ["model.shape", "questions.columns"];

/// Refuses unknown keys, in the recipe and in its baselines.
pub(super) fn check_keys(given: &Table, source: &str) -> Result<()> {
    let known = known_keys()?;
    check_table(given, &known, "", source)?;
    let baselines = given.get("baselines").and_then(Value::as_table);
    baselines.into_iter().flatten().try_for_each(|(name, baseline)| {
        let name = format!("baselines.{name}");
        let table = baseline.as_table().ok_or_else(|| not_a_table(source, &name, baseline))?;
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
        known.insert(training.to_owned(), Value::Table(training_keys()));
    }
    // Not in the defaults, where they would keep the run's own seed from these stages.
    for seeded in ["questions", "weights"] {
        insert(&mut known, seeded, "seed", Value::Integer(0));
    }
    insert(&mut known, "model", "shape", Value::Table(Table::new()));
    Ok(known)
}

/// The keys of a training. Only the names count, so any value will do.
fn training_keys() -> Table {
    field_names::<TrainConfig>().iter().map(|&name| (name.to_owned(), Value::Boolean(true))).collect()
}

fn insert(known: &mut Table, table: &str, key: &str, value: Value) {
    if let Some(Value::Table(table)) = known.get_mut(table) {
        table.insert(key.to_owned(), value);
    }
}

fn check_table(given: &Table, known: &Table, prefix: &str, source: &str) -> Result<()> {
    for (key, value) in given {
        let name = format!("{prefix}{key}");
        let Some(inner) = known.get(key) else {
            let known: Vec<&str> = known.keys().map(String::as_str).collect();
            return Err(unknown_key(source, &name, &known).into());
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
