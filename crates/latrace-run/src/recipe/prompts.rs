//! How questions, hints and thoughts become text.

use anyhow::Result;
use latrace_core::{Date, Markers};
use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

use super::markers::MarkerSource;

/// How questions, hints and thoughts become text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// Markers around a thought.
    pub markers: MarkerSource,
    /// Template of the reasoner.
    pub reasoner: String,
    /// Template of the posterior.
    pub posterior: String,
    /// System message of a conversation.
    pub system: String,
    /// Date of chat templates that ask for it; none before a run begins.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "date_unless_empty")]
    pub date: Option<Date>,
}

impl Prompts {
    /// The markers around a thought.
    ///
    /// # Errors
    /// An unknown family; markers by which no thought would end.
    pub fn markers(&self) -> Result<Markers> {
        self.markers.markers("prompts.markers")
    }
}

/// A date, as a text or as TOML writes dates; an empty text stands for none.
fn date_unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    let text = match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(serde::de::Error::custom) }
}
