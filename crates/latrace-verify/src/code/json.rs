//! JSON values that keep numbers as text, so that integers of any size keep their digits.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// How deep lists and objects may nest.
const MOST_DEPTH: usize = 100;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Truth(bool),
    /// A number as it is written.
    Number(String),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, in its order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// If it is not JSON, or nests too deep.
    pub fn read(text: &str) -> Result<Json, serde_json::Error> {
        read_within(text, MOST_DEPTH)
    }

    /// The value of an object's field; `Null` where there is none.
    pub fn field(&self, name: &str) -> &Json {
        match self {
            Json::Object(fields) => {
                // Of a field that comes twice the last counts, as in Python.
                fields.iter().rev().find(|(known, _)| known == name).map_or(&Json::Null, |(_, value)| value)
            }
            _ => &Json::Null,
        }
    }

    /// Whether an object has a field.
    pub fn has(&self, name: &str) -> bool {
        matches!(self, Json::Object(fields) if fields.iter().any(|(known, _)| known == name))
    }

    /// The fields of an object; of anything else none.
    pub fn fields(&self) -> &[(String, Json)] {
        match self {
            Json::Object(fields) => fields,
            _ => &[],
        }
    }

    /// The members of a list.
    pub fn list(&self) -> Option<&[Json]> {
        match self {
            Json::List(members) => Some(members),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }
}

fn read_within(text: &str, depth: usize) -> Result<Json, serde_json::Error> {
    let text = text.trim_start();
    match text.as_bytes().first() {
        // Each level is read by a parser of its own, so the depth must be bounded here.
        Some(b'[' | b'{') if depth == 0 => Err(serde::de::Error::custom("too deep")),
        Some(b'[') => read_list(text, depth - 1),
        Some(b'{') => read_object(text, depth - 1),
        // As it is written: an `f64` in between would change integers beyond 2^53.
        Some(b'-' | b'0'..=b'9') => {
            Ok(Json::Number(serde_json::from_str::<&RawValue>(text)?.get().to_owned()))
        }
        _ => Ok(Json::from(&serde_json::from_str::<Value>(text)?)),
    }
}

fn read_list(text: &str, depth: usize) -> Result<Json, serde_json::Error> {
    let members = serde_json::from_str::<Vec<&RawValue>>(text)?;
    members.into_iter().map(|raw| read_within(raw.get(), depth)).collect::<Result<_, _>>().map(Json::List)
}

fn read_object(text: &str, depth: usize) -> Result<Json, serde_json::Error> {
    let fields = serde_json::from_str::<Fields>(text)?.0;
    let read = |(name, raw): (String, &RawValue)| Ok((name, read_within(raw.get(), depth)?));
    fields.into_iter().map(read).collect::<Result<_, _>>().map(Json::Object)
}

/// An object's fields in order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Collect)
    }
}

/// Collects an object's fields.
struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

impl From<&Value> for Json {
    /// A value that was parsed already, so that its integers have at most 64 bits.
    fn from(value: &Value) -> Json {
        match value {
            Value::Null => Json::Null,
            Value::Bool(truth) => Json::Truth(*truth),
            Value::Number(number) => Json::Number(number.to_string()),
            Value::String(text) => Json::Text(text.clone()),
            Value::Array(members) => Json::List(members.iter().map(Json::from).collect()),
            Value::Object(fields) => {
                Json::Object(fields.iter().map(|(name, value)| (name.clone(), Json::from(value))).collect())
            }
        }
    }
}

fn quoted(text: &str) -> Value {
    Value::from(text)
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Truth(truth) => write!(f, "{truth}"),
            Json::Number(number) => f.write_str(number),
            Json::Text(text) => write!(f, "{}", quoted(text)),
            Json::List(members) => {
                let members: Vec<String> = members.iter().map(Json::to_string).collect();
                write!(f, "[{}]", members.join(","))
            }
            Json::Object(fields) => {
                let field = |(name, value): &(String, Json)| format!("{}:{value}", quoted(name));
                let fields: Vec<String> = fields.iter().map(field).collect();
                write!(f, "{{{}}}", fields.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str) {
        assert_eq!(Json::read(text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_read_is_written_again() {
        check(r#"{"z":[1,-2.50,1e400,123456789012345678901234567890],"a":{"é\n":null},"b":[true,"x",[]]}"#);
        assert_eq!(Json::read(r#"{"a": 1, "a": 2}"#).unwrap().field("a"), &Json::Number("2".to_owned()));
        assert_eq!(Json::read(" [ 1 ] ").unwrap().to_string(), "[1]");
        check(r#"{"c":{}}"#);
        check(&("[".repeat(100) + &"]".repeat(100)));
        assert_eq!(Json::from(&serde_json::json!({"a": [1, "b"]})).to_string(), r#"{"a":[1,"b"]}"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "[1",
            "{\"a\"}",
            "01",
            "[1] 2",
            "nul",
            "1 2",
            &"[".repeat(100_000),
            &("[".repeat(101) + &"]".repeat(101)),
        ] {
            assert!(Json::read(text).is_err(), "{}", &text[..text.len().min(20)]);
        }
    }
}
