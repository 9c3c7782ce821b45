//! Typed access to the fields of a JSON object, with errors that name the file and the field.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_slice(&read_file(path)?).map_err(Error::json(path))
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(Error::io("read", path))
}

/// Typed access to a JSON object that knows where it came from. Null counts as absent, since transformers
/// writes null for a setting that was left at its default.
pub(crate) struct Fields<'a> {
    pub path: &'a Path,
    /// The object's own name within the file; empty at the top level.
    prefix: &'a str,
    pub map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The fields at the top level of a file.
    pub fn new(path: &'a Path, map: &'a Map<String, Value>) -> Self {
        Self { path, prefix: "", map }
    }

    pub fn error(&self, field: &str, expected: impl Into<String>, got: impl ToString) -> Error {
        let (path, field) = (PathBuf::from(self.path), self.full_name(field));
        Error::Field { path, field, expected: expected.into(), got: got.to_string() }
    }

    fn full_name(&self, field: &str) -> String {
        match self.prefix {
            "" => field.to_owned(),
            prefix => format!("{prefix}.{field}"),
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.given(name).filter(|value| !value.is_null())
    }

    /// As it stands, where null is not the same as nothing.
    pub fn given(&self, name: &str) -> Option<&'a Value> {
        #[cfg(test)]
        asked::note(self.prefix, name);
        self.map.get(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &str,
        cast: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.get(name) else { return Ok(None) };
        cast(value).map(Some).ok_or_else(|| self.error(name, expected, value))
    }

    pub fn object(&self, name: &'a str) -> Result<Option<Self>> {
        let map = self.typed(name, "an object", Value::as_object)?;
        Ok(map.map(|map| Self { path: self.path, prefix: name, map }))
    }

    pub fn text(&self, name: &str) -> Result<Option<&'a str>> {
        self.typed(name, "a string", Value::as_str)
    }

    pub fn number(&self, name: &str) -> Result<Option<f64>> {
        self.typed(name, "a finite number", |value| value.as_f64().filter(|number| number.is_finite()))
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(default))
    }

    pub fn size(&self, name: &str, default: usize, limit: usize) -> Result<usize> {
        // A limit of its own for each size: an unchecked one would end in an allocation that fails.
        let cast = |value: &Value| value.as_u64().map(|n| n as usize).filter(|n| (1..=limit).contains(n));
        Ok(self.typed(name, &format!("a whole number from 1 to {limit}"), cast)?.unwrap_or(default))
    }

    pub fn small(&self, name: &str, default: f32) -> Result<f32> {
        // Rounded once, as torch rounds its Python floats when they meet f32 tensors.
        let cast = |value: &Value| value.as_f64().map(|x| x as f32).filter(|x| (0.0..=1.0).contains(x));
        Ok(self.typed(name, "a number from 0 to 1", cast)?.unwrap_or(default))
    }

    pub fn token_ids(&self, name: &str) -> Result<Option<Vec<u32>>> {
        self.typed(name, "a token id or a list of them", |value| match value {
            Value::Array(list) => list.iter().map(token_id).collect(),
            single => token_id(single).map(|id| vec![id]),
        })
    }

    /// As [`Fields::token_ids`] for one id; anything else counts as absent.
    pub fn token_id(&self, name: &str) -> Option<u32> {
        self.get(name).and_then(token_id)
    }

    /// Fails if only a part of each head is to be rotated, as in GPT-NeoX.
    pub fn require_whole_rotation(&self) -> Result<()> {
        match self.number("partial_rotary_factor")? {
            None | Some(1.0) => Ok(()),
            Some(part) => Err(self.error("partial_rotary_factor", "1", part)),
        }
    }

    /// Rope parameters may be nested by layer type, which only models with mixed layers need.
    pub fn require_flat(&self) -> Result<()> {
        let nested = self.map.iter().find(|(_, value)| value.is_object());
        nested.map_or(Ok(()), |(name, value)| {
            Err(self.error(name, "one set of rope parameters for all layers", value))
        })
    }
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// The fields at the top level of files that were asked for, which the list of those that are read must hold.
#[cfg(test)]
pub(crate) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static NAMES: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(prefix: &str, name: &str) {
        if prefix.is_empty() {
            NAMES.with_borrow_mut(|names| names.insert(name.to_owned()));
        }
    }

    /// Those of this thread since the last call.
    pub fn take() -> BTreeSet<String> {
        NAMES.take()
    }
}
