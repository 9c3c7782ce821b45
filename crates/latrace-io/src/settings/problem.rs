//! What is wrong with a setting, as a person would say it.

use std::error::Error as StdError;
use std::fmt;

use serde::de::{Error, Expected, Unexpected};
use toml::Value;

use super::given::one_of;
use super::names::nearest;
use crate::failure::Failure;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingProblem {
    kind: ProblemKind,
    message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ProblemKind {
    /// The value itself.
    Value,
    /// A key that the table may not have, and those that it may.
    Unknown(String, &'static [&'static str]),
    /// A key that the table must have.
    Missing(&'static str),
}

impl Error for SettingProblem {
    fn custom<T: fmt::Display>(message: T) -> SettingProblem {
        SettingProblem { kind: ProblemKind::Value, message: message.to_string() }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> SettingProblem {
        let expected = plain(&expected.to_string(), &unexpected);
        SettingProblem::custom(format!("expected {expected}, got {}", found(&unexpected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> SettingProblem {
        SettingProblem::invalid_type(unexpected, expected)
    }

    fn unknown_variant(name: &str, names: &'static [&'static str]) -> SettingProblem {
        let expected = one_of(names);
        let nearest = match nearest(name, names) {
            Some(nearest) if names.len() > 1 => format!("; the nearest is \"{nearest}\""),
            _ => String::new(),
        };
        SettingProblem::custom(format!("expected {expected}, got {name:?}{nearest}"))
    }

    fn unknown_field(name: &str, names: &'static [&'static str]) -> SettingProblem {
        let nearest = nearest(name, names).unwrap_or_default();
        let message = format!("the nearest known key is \"{nearest}\"");
        SettingProblem { kind: ProblemKind::Unknown(name.to_owned(), names), message }
    }

    fn missing_field(name: &'static str) -> SettingProblem {
        let message = "expected a value, got nothing".to_owned();
        SettingProblem { kind: ProblemKind::Missing(name), message }
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for SettingProblem {}

/// What a type expects, without the names of Rust's types.
fn plain(expected: &str, unexpected: &Unexpected<'_>) -> String {
    let words = match (expected, unexpected) {
        ("u8" | "u16" | "u32" | "u64" | "usize", Unexpected::Signed(..0)) => "a whole number of at least 0",
        // A number that the type has no room for.
        ("u32", Unexpected::Signed(_)) => return format!("a whole number of at most {}", u32::MAX),
        ("u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" | "isize", _) => {
            "a whole number"
        }
        ("f32" | "f64", _) => "a number",
        ("a boolean", _) => "true or false",
        ("a string" | "str", _) => "a text",
        ("a sequence", _) => "a list",
        ("a map", _) => "a table",
        // What serde calls the name of an enum's variant.
        ("string or map" | "variant identifier", _) => "the name of a choice",
        (name, _) if name.starts_with("struct ") || name.starts_with("internally tagged ") => {
            "a table of settings"
        }
        (other, _) => other,
    };
    words.to_owned()
}

fn found(unexpected: &Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(flag) => flag.to_string(),
        Unexpected::Unsigned(number) => number.to_string(),
        Unexpected::Signed(number) => number.to_string(),
        Unexpected::Float(number) => format!("{number:?}"),
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// A value for a message: tables and lists may be long.
pub(super) fn in_words(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// A setting that is refused, by its dotted key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSetting {
    /// The key; empty for the whole table.
    pub key: String,
    problem: SettingProblem,
}

impl RefusedSetting {
    /// A refusal of what stands under `path`.
    pub(super) fn new(path: String, problem: SettingProblem) -> RefusedSetting {
        let name = match &problem.kind {
            ProblemKind::Value => "",
            ProblemKind::Unknown(name, _) => name.as_str(),
            ProblemKind::Missing(name) => name,
        };
        // The path of an unknown key ends with it, unless the table was read as a whole first.
        let has_name = name.is_empty() || path == name || path.ends_with(&format!(".{name}"));
        let key = match (has_name, path.is_empty()) {
            (true, _) => path,
            (false, true) => name.to_owned(),
            (false, false) => format!("{path}.{name}"),
        };
        RefusedSetting { key, problem }
    }

    /// The same at another key.
    #[must_use]
    pub fn at(self, key: String) -> RefusedSetting {
        RefusedSetting { key, ..self }
    }

    /// The same of a table that stands under `section`.
    #[must_use]
    pub fn under(self, section: &str) -> RefusedSetting {
        RefusedSetting { key: format!("{section}.{}", self.key), ..self }
    }
}

impl fmt::Display for RefusedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RefusedSetting { key, problem } = self;
        match &problem.kind {
            ProblemKind::Unknown(..) => write!(f, "unknown key \"{key}\"; {problem}"),
            _ if key.is_empty() => write!(f, "{problem}"),
            _ => write!(f, "{key}: {problem}"),
        }
    }
}

impl StdError for RefusedSetting {}

impl From<RefusedSetting> for Failure {
    fn from(refused: RefusedSetting) -> Failure {
        let failure = Failure::usage(refused.to_string());
        match refused.problem.kind {
            ProblemKind::Unknown(_, known) => failure.hint(format!("known keys: {}", known.join(", "))),
            ProblemKind::Value | ProblemKind::Missing(_) => failure,
        }
    }
}
