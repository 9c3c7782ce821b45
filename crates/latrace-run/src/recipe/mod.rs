//! The recipe of a training: resolves a TOML file and `key=value` overrides into a complete, validated
//! configuration.

mod adapters;
mod beside;
mod checks;
mod distillation;
mod engines;
mod keys;
mod layers;
mod markers;
pub mod method_texts;
mod models;
mod prompts;
mod resolve;
pub mod run;
mod sections;
mod table;

use std::path::Path;

use anyhow::Result;
use latrace_engine::TrainConfig;
use serde::de::value::Error as FieldsError;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use toml::{Table, Value};

use latrace_io::failure::Failure;
use latrace_io::settings::typed;
use layers::{COMMAND_LINE, Layers};

pub use keys::keys_called;

/// Reads `file` if given, applies `overrides` (`key=value`) in order, and validates the result.
///
/// # Errors
/// A setting that is refused, with where it was written.
pub fn train_config(file: Option<&Path>, overrides: &[String]) -> Result<TrainConfig> {
    let mut layers = Layers::new(overrides, COMMAND_LINE, keys::check_training_keys)?;
    file.map_or(Ok(()), |file| layers.add_file(file))?;
    layers.read(|table| {
        let config: TrainConfig = typed(table.clone()).map_err(Failure::from)?;
        config.validate().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(config)
    })
}

/// A setting, `key=value`.
#[derive(Clone, Debug)]
struct Setting {
    key: String,
    value: Value,
    /// Of a text that looks like another value: where it is no TOML.
    broken: Option<String>,
}

impl Setting {
    fn parse(text: &str) -> Result<Setting> {
        let (key, raw) = text.split_once('=').ok_or_else(|| not_a_setting(text))?;
        let (value, broken) = parse_value(raw);
        Ok(Setting { key: key.trim().to_owned(), value, broken })
    }
}

fn not_a_setting(text: &str) -> Failure {
    Failure::usage(format!("expected key=value, got \"{text}\""))
        .hint("write recipe settings as key=value, for example learning_rate=1e-4")
}

const VALUE: &str = "value = ";

/// The value is TOML if it parses as such, and otherwise a text, so that a shell's quotes suffice. Of a text that begins as
/// a list, a table or a quoted text does, also says why it is none.
fn parse_value(raw: &str) -> (Value, Option<String>) {
    // With a line break, what follows it would be read as further settings.
    if raw.contains('\n') {
        return (Value::String(raw.to_owned()), None);
    }
    let text = || Value::String(raw.to_owned());
    match toml::from_str::<Table>(&format!("{VALUE}{raw}")) {
        Ok(mut table) => (table.remove("value").unwrap_or_else(text), None),
        Err(error) => {
            let looks_like_another = raw.trim_start().starts_with(['[', '{', '"', '\'']);
            (text(), looks_like_another.then(|| not_toml(raw, &error)))
        }
    }
}

fn not_toml(raw: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.saturating_sub(VALUE.len()));
    let column = raw.get(..at).unwrap_or(raw).chars().count() + 1;
    let message = error.message().trim().replace('\n', ", ");
    format!("{raw} is read as a text, since it is not valid TOML at character {column}: {message}")
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

#[cfg(test)]
mod tests {
    use std::fs;

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
        check_refused(
            &["schedule=exponential"],
            "the command line: schedule: expected one of cosine, linear, constant, got \"exponential\"; the nearest is",
        );
        check_refused(
            &["seed=1", "epochs=many"],
            "the command line: epochs: expected a whole number, got \"many\"",
        );
        check_refused(&["lora.rank=x"], "the command line: lora.rank: expected a whole number, got \"x\"");
        check_refused(&["batch_size=0"], "the command line: batch_size: expected at least 1, got 0");
    }
}
