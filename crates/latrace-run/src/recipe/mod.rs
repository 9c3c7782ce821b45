//! The recipe of a training: resolves a TOML file and `key=value` overrides into a complete, validated
//! configuration.

mod adapters;
mod beside;
mod distillation;
mod engines;
mod keys;
mod markers;
pub mod method_texts;
mod models;
mod prompts;
pub mod run;
mod table;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use serde::de::value::Error as FieldsError;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use toml::{Table, Value};

use latrace_io::failure::Failure;

/// Reads `file` if given, applies `overrides` (`key=value`) in order, and validates the result.
pub fn train_config(file: Option<&Path>, overrides: &[String]) -> Result<TrainConfig> {
    let config = typed(settings(file, overrides)?)?;
    config.validate().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(config)
}

/// The settings as given. Both sources are checked by themselves, so that an error names the one at fault.
fn settings(file: Option<&Path>, overrides: &[String]) -> Result<Table> {
    let mut table = file.map(read_table).transpose()?.unwrap_or_default();
    check_keys(&table, &file.map_or("the recipe".to_owned(), |path| path.display().to_string()))?;
    let mut given = Table::new();
    for text in overrides {
        let (key, value) = parse_override(text)?;
        table::set(&mut given, &key, value)?;
    }
    check_keys(&given, "the command line")?;
    table::merge(&mut table, given);
    Ok(table)
}

fn typed(table: Table) -> Result<TrainConfig> {
    parse(table.clone()).map_err(|error| {
        let key = wrong_key(table).map_or_else(String::new, |key| format!("{key}: "));
        Failure::usage(format!("{key}{}", one_line(&error))).into()
    })
}

fn parse(table: Table) -> Result<TrainConfig, toml::de::Error> {
    Value::Table(table).try_into()
}

/// The setting that does not deserialise. The library's error does not name it, so each is tried alone.
fn wrong_key(table: Table) -> Option<String> {
    let mut settings = table.into_iter();
    settings.find_map(|(key, value)| parse(Table::from_iter([(key.clone(), value)])).is_err().then_some(key))
}

fn read_table(path: &Path) -> Result<Table> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        Failure::usage(format!("{} is not valid TOML: {}", path.display(), one_line(&error))).into()
    })
}

fn one_line(error: &toml::de::Error) -> String {
    error.message().trim().replace('\n', ", ")
}

/// A setting, `key=value`.
fn parse_override(text: &str) -> Result<(String, Value)> {
    let (key, raw) = text.split_once('=').ok_or_else(|| not_a_setting(text))?;
    Ok((key.trim().to_owned(), parse_value(raw)))
}

fn not_a_setting(text: &str) -> Failure {
    Failure::usage(format!("expected key=value, got \"{text}\""))
        .hint("write recipe settings as key=value, for example learning_rate=1e-4")
}

/// The value is TOML if it parses as such, and otherwise a string, so that a shell's quotes suffice.
fn parse_value(raw: &str) -> Value {
    // With a line break, what follows it would be read as further settings.
    let parsed =
        if raw.contains('\n') { None } else { toml::from_str::<Table>(&format!("value = {raw}")).ok() };
    parsed.and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(raw.to_owned()))
}

fn check_keys(table: &Table, source: &str) -> Result<()> {
    let known = keys::training_keys().map(|(name, any)| (name.to_owned(), any)).collect();
    keys::check_table(table, &known, "", source)
}

/// The error for a key not in `known`; of a dotted `key`, only the last part is compared.
fn unknown_key(source: &str, key: &str, known: &[&str]) -> Failure {
    // Of a dotted key, the last part: `known` has the keys of one table.
    let nearest = nearest(key.rsplit('.').next().unwrap_or(key), known);
    Failure::usage(format!("{source}: unknown key \"{key}\"; the nearest known key is \"{nearest}\""))
        .hint(format!("known keys: {}", known.join(", ")))
}

fn nearest<'a>(key: &str, known: &[&'a str]) -> &'a str {
    known.iter().min_by_key(|name| edit_distance(name, key)).copied().unwrap_or("")
}

/// The field names of a struct, as its derived `Deserialize` passes them.
fn field_names<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // Only the names are needed, so deserialisation always stops here with an error.
    let _ = T::deserialize(FieldNames(&mut names));
    names
}

struct FieldNames<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = FieldsError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldsError> {
        Err(FieldsError::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, FieldsError> {
        *self.0 = fields;
        Err(FieldsError::custom("only the names are read"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Levenshtein distance: insertions, deletions and replacements that turn one text into the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let first: Vec<usize> = (0..=right.len()).collect();
    let row = left.chars().fold(first, |above, letter| next_row(&above, letter, &right));
    row[right.len()]
}

/// The row of the table of distances below `above`, for one more letter of the left text.
fn next_row(above: &[usize], letter: char, right: &[char]) -> Vec<usize> {
    let mut row = vec![above[0] + 1];
    for (column, other) in right.iter().enumerate() {
        let replaced = above[column] + usize::from(letter != *other);
        row.push(replaced.min(above[column + 1] + 1).min(row[column] + 1));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_overrides(overrides: &[&str]) -> Result<TrainConfig> {
        train_config(None, &overrides.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_file_gives_way_to_overrides_and_the_rest_are_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("recipe.toml");
        fs::write(&path, "learning_rate = 1e-4\nbatch_size = 8\n").unwrap();
        let config =
            train_config(Some(&path), &["batch_size=4".to_owned(), "schedule=linear".to_owned()]).unwrap();
        let expected = TrainConfig {
            learning_rate: 1e-4,
            batch_size: 4,
            schedule: latrace_engine::train_config::Schedule::Linear,
            ..TrainConfig::default()
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn a_recipe_written_out_reads_back_the_same() {
        let config = from_overrides(&["max_steps=7", "init=random"]).unwrap();
        let back: TrainConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(back, config);
    }

    #[track_caller]
    fn check_refused(overrides: &[&str], expected: &str) {
        let error = from_overrides(overrides).unwrap_err();
        assert!(error.is::<Failure>() && error.to_string().contains(expected), "{error}");
    }

    #[test]
    fn wrong_keys_and_values_are_named() {
        check_refused(
            &["learning_rat=1"],
            "the command line: unknown key \"learning_rat\"; the nearest known key is \"learning_rate\"",
        );
        check_refused(&["seed"], "expected key=value, got \"seed\"");
        check_refused(&["schedule=exponential"], "schedule: unknown variant `exponential`");
        check_refused(&["seed=1", "epochs=many"], "epochs: invalid type: string \"many\"");
        check_refused(&["batch_size=0"], "batch_size: expected at least 1, got 0");
    }

    #[test]
    fn edit_distance_counts_single_letters() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }
}
