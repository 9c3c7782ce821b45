//! Markers around a thought, as a recipe gives them: a family by its name, or markers of its own.

use std::fmt;

use anyhow::Context;
use latrace_core::Markers;
use latrace_io::failure::Failure;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::parse_value;

/// A family of markers, or a recipe's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum MarkerSource {
    /// The name of a built-in family.
    Named(String),
    /// Markers of its own, all of them stated.
    Own(Markers),
}

/// Markers as they are written, where only the two around a thought need be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    open: String,
    close: String,
    cut: Option<String>,
    answer_open: Option<String>,
    answer_close: Option<String>,
}

impl From<Written> for Markers {
    fn from(written: Written) -> Markers {
        let Written { open, close, cut, answer_open, answer_close } = written;
        // White space around a marker is often merged with the text beside it.
        let cut = cut.unwrap_or_else(|| close.trim().to_owned());
        let answer_open = answer_open.unwrap_or_else(|| "\n\n".to_owned());
        Markers { open, close, cut, answer_open, answer_close: answer_close.unwrap_or_default() }
    }
}

impl MarkerSource {
    /// The markers, which `setting` names in an error.
    ///
    /// # Errors
    /// An unknown family; markers by which no thought would end.
    pub fn markers(&self, setting: &str) -> anyhow::Result<Markers> {
        let markers = match self {
            MarkerSource::Named(name) => Markers::named(name),
            MarkerSource::Own(markers) => markers.check().map(|()| markers.clone()),
        };
        Ok(markers.map_err(|error| Failure::usage(format!("{setting}: {error}")))?)
    }

    /// Reads the value of an option: a name, or a table as in a recipe, `{ open = "<a>", close = "</a>" }`.
    ///
    /// # Errors
    /// A table with other fields.
    pub fn parse(text: &str) -> anyhow::Result<MarkerSource> {
        let value =
            if text.trim_start().starts_with('{') { parse_value(text).0 } else { toml::Value::from(text) };
        value.try_into().with_context(|| format!("cannot read the markers {text}"))
    }
}

impl<'de> Deserialize<'de> for MarkerSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrTable)
    }
}

/// Reads either form. A derived enum without tags would not say which field of the table is wrong.
struct NameOrTable;

impl<'de> Visitor<'de> for NameOrTable {
    type Value = MarkerSource;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a marker family, or a table with open and close")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<MarkerSource, E> {
        Ok(MarkerSource::Named(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<MarkerSource, A::Error> {
        let written = Written::deserialize(MapAccessDeserializer::new(map))?;
        Ok(MarkerSource::Own(written.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, expected: &str) {
        let error = MarkerSource::parse(text).and_then(|source| source.markers("--markers")).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn own_markers_need_only_those_around_the_thought() {
        let own = MarkerSource::parse("{ open = \"<reason>\\n\", close = \"\\n</reason>\" }").unwrap();
        let markers = own.markers("--markers").unwrap();
        let expected = Markers {
            open: "<reason>\n".to_owned(),
            close: "\n</reason>".to_owned(),
            cut: "</reason>".to_owned(),
            answer_open: "\n\n".to_owned(),
            answer_close: String::new(),
        };
        assert_eq!(markers, expected);
        // Written out in full, and read back the same.
        let written = toml::Value::try_from(&own).unwrap();
        assert_eq!(written["cut"].as_str(), Some("</reason>"));
        assert_eq!(written.try_into::<MarkerSource>().unwrap(), own);
        assert_eq!(MarkerSource::parse("stratos").unwrap(), MarkerSource::Named("stratos".to_owned()));
    }

    #[test]
    fn markers_by_which_no_thought_ends_are_refused() {
        refused("thing", "--markers: unknown marker family \"thing\"; known are think, stratos, plain");
        refused("{ open = \"<a>\" }", "missing field `close`");
        refused(
            "{ open = \"<a>\", close = \"</a>\", end = \"\" }",
            "unknown field `end`, expected one of `open`",
        );
        refused("{ open = \"<a>\", close = \" \" }", "expected `cut` within `close`");
        refused("{ open = \"<a>\", close = \"</a>\", cut = \"b\" }", "expected `cut` within `close`");
        refused("{ open = \"***\", close = \"***\" }", "which `open` \"***\" holds already");
    }
}
