//! The keys that a run's recipe may have: all others are refused, since a misspelt setting would silently keep
//! its default.

use anyhow::{Context, Result};
use latrace_engine::{CONFIG_FIELDS, IGNORED_CONFIG_FIELDS, Lora, TrainConfig};
use latrace_io::failure::Failure;
use latrace_io::settings::unknown_key;
use toml::{Table, Value};

use super::field_names;
use crate::weigh::Fallbacks;

/// The defaults of all settings, with their documentation.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

/// Tables whose keys are not checked here: beginnings of texts are free, and the fields that columns may give are for the
/// format of the rows to say.
const FREE: [&str; 3] = ["questions.columns", "questions.kinds", "questions.question_kinds"];

/// What no baseline has: who does the work of the whole run, and its baselines.
const WHOLE_RUN: [(&str, &str); 5] = [
    ("engine", "a run has the same engines for all of its methods"),
    ("servers", "a run has the same engines for all of its methods"),
    ("torchrun", "a run has the same engines for all of its methods"),
    ("baselines", "a baseline has no baselines of its own"),
    ("skip", "a baseline has no baselines of its own"),
];

/// Refuses unknown keys, in the recipe and in its baselines.
pub(super) fn check_keys(given: &Table, source: &str) -> Result<()> {
    let known = known_keys()?;
    check_table(given, &known, "", source)?;
    let baselines = given.get("baselines").and_then(Value::as_table);
    baselines.into_iter().flatten().try_for_each(|(name, baseline)| {
        let name = format!("baselines.{name}");
        let table = baseline.as_table().ok_or_else(|| not_a_table(source, &name, baseline))?;
        if let Some((key, why)) = WHOLE_RUN.into_iter().find(|(key, _)| table.contains_key(*key)) {
            let message = format!("{source}: {name}.{key}: {why}");
            return Err(Failure::usage(message).hint(format!("set {key} for the whole run")).into());
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
    let shape = CONFIG_FIELDS.iter().chain(&IGNORED_CONFIG_FIELDS);
    let shape = shape.map(|&field| (field.to_owned(), Value::Boolean(true)));
    insert(&mut known, "model", "shape", Value::Table(shape.collect()));
    let kinds = field_names::<Fallbacks>().iter().map(|&kind| (kind.to_owned(), Value::Boolean(true)));
    insert(&mut known, "weights", "fallbacks", Value::Table(kinds.collect()));
    Ok(known)
}

/// The settings of a run that a name calls: all of the key, or its last part, in either spelling of an option.
#[must_use]
pub fn keys_called(name: &str) -> Vec<String> {
    let name = name.replace('-', "_");
    let mut keys = Vec::new();
    add_leaves(&known_keys().unwrap_or_default(), "", &mut keys);
    if keys.contains(&name) {
        return vec![name];
    }
    keys.retain(|key| key.rsplit('.').next() == Some(name.as_str()));
    keys
}

fn add_leaves(table: &Table, prefix: &str, keys: &mut Vec<String>) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value.as_table() {
            Some(inner) if !inner.is_empty() && !is_free(&key) => add_leaves(inner, &format!("{key}."), keys),
            _ => keys.push(key),
        }
    }
}

/// Refuses keys that no training has.
pub(super) fn check_training_keys(table: &Table, source: &str) -> Result<()> {
    let known = training_keys().map(|(name, any)| (name.to_owned(), any)).collect();
    check_table(table, &known, "", source)
}

/// The keys of a training. Only the names count, so any value will do.
fn training_keys() -> impl Iterator<Item = (&'static str, Value)> {
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
            return Err(refused(source, &name)
                .unwrap_or_else(|| unknown_key(&name, &known).preceded_by(&format!("{source}: ")))
                .into());
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
