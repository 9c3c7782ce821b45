//! A TOML value as serde reads it, with errors of our own.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Visitor};
use toml::Value;

use super::problem::{SettingProblem, in_words};

/// A value that was given.
pub(super) struct Given(pub(super) Value);

impl<'de> IntoDeserializer<'de, SettingProblem> for Given {
    type Deserializer = Given;

    fn into_deserializer(self) -> Given {
        self
    }
}

impl<'de> Deserializer<'de> for Given {
    type Error = SettingProblem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingProblem> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            // As text: a recipe's only dates may be written either way.
            Value::Datetime(date) => visitor.visit_string(date.to_string()),
            Value::Array(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Given))),
            Value::Table(table) => {
                let fields = table.into_iter().map(|(key, value)| (key, Given(value)));
                visitor.visit_map(MapDeserializer::new(fields))
            }
        }
    }

    /// What is there is given: TOML has no null.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingProblem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingProblem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingProblem> {
        match self.0 {
            Value::String(name) => {
                visitor.visit_enum(IntoDeserializer::<SettingProblem>::into_deserializer(name))
            }
            other => {
                Err(SettingProblem::custom(format!("expected {}, got {}", one_of(names), in_words(&other))))
            }
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// The choices of a setting.
pub(super) fn one_of(names: &[&str]) -> String {
    match names {
        [only] => (*only).to_owned(),
        _ => format!("one of {}", names.join(", ")),
    }
}
