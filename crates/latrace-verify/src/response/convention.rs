//! Where a benchmark's answers stand, as data: `conventions/*.toml`, one file each.

use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

/// Where the answer of a response is looked for. The thought is dropped before.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Convention {
    #[serde(default)]
    name: String,
    about: String,
    pub(crate) places: Vec<Place>,
}

/// A place where an answer may stand. The first that is there decides.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Place {
    /// The last balanced box that its sentence does not deny. An empty box, or boxes none of which is closed,
    /// are no answer, and nothing else is looked at.
    Box {
        /// Whether boxes side by side, as in `\boxed{1} and \boxed{2}`, may be a list.
        #[serde(default)]
        join: bool,
    },
    /// Behind the last of some words, in lower case, up to the sentence's end or one of `ends`; words that
    /// are denied, `I doubt that the answer is`, or taken back, do not count.
    Words {
        words: Vec<String>,
        #[serde(default)]
        ends: Vec<String>,
        /// Whether the answer must be all that follows, and nothing but known words may stand before it: for
        /// languages of which no more is understood.
        #[serde(default)]
        alone: bool,
    },
    /// All of the text, if it is an answer rather than prose around one.
    BareAnswer,
    /// All of the text.
    WholeText,
    /// What the last sentence with a formula or a number concludes.
    LastValue,
    /// The number that ends last.
    LastNumber,
    /// The letter of an option that a sentence states.
    LastLetter,
}

/// No convention has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no convention {name:?}; there are {}", Convention::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownConvention {
    /// The name.
    pub name: String,
}

// Part of the binary: verdicts must not depend on files that happen to be installed.
const FILES: [(&str, &str); 6] = [
    ("boxed-first", include_str!("../../conventions/boxed-first.toml")),
    ("strict-boxed", include_str!("../../conventions/strict-boxed.toml")),
    ("gsm8k", include_str!("../../conventions/gsm8k.toml")),
    ("last-number", include_str!("../../conventions/last-number.toml")),
    ("choice-letter", include_str!("../../conventions/choice-letter.toml")),
    ("whole-text", include_str!("../../conventions/whole-text.toml")),
];

static ALL: LazyLock<Vec<Convention>> =
    LazyLock::new(|| FILES.iter().map(|(name, text)| read(name, text)).collect());

#[expect(clippy::panic, reason = "the files are part of the program, and a test reads each")]
fn read(name: &str, text: &str) -> Convention {
    match toml::from_str::<Convention>(text) {
        Ok(convention) => Convention { name: name.to_owned(), ..convention },
        Err(error) => panic!("conventions/{name}.toml: {error}"),
    }
}

impl Convention {
    /// The convention of a name.
    ///
    /// # Errors
    /// If there is none; the error lists the known names.
    pub fn named(name: &str) -> Result<&'static Convention, UnknownConvention> {
        ALL.iter()
            .find(|convention| convention.name == name)
            .ok_or_else(|| UnknownConvention { name: name.to_owned() })
    }

    /// All names.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    // The defaults by their places in `FILES`; a test compares the names.

    /// The default for mathematics, `boxed-first`.
    pub fn maths() -> &'static Convention {
        &ALL[0]
    }

    /// The default for choices, `choice-letter`.
    pub fn choices() -> &'static Convention {
        &ALL[4]
    }

    /// The default for words, `whole-text`.
    pub fn words() -> &'static Convention {
        &ALL[5]
    }

    /// Its name; empty if it was read from elsewhere.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it looks for, in a sentence.
    pub fn about(&self) -> &str {
        &self.about
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_convention_is_read_and_found_by_its_name() {
        for name in Convention::names() {
            let convention = Convention::named(name).unwrap();
            assert_eq!(convention.name(), name);
            assert!(!convention.places.is_empty() && !convention.about().is_empty());
        }
        assert_eq!(
            [Convention::maths(), Convention::choices(), Convention::words()].map(Convention::name),
            ["boxed-first", "choice-letter", "whole-text"]
        );
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let error = Convention::named("boxed").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no convention \"boxed\"; there are boxed-first, strict-boxed, gsm8k, last-number, \
             choice-letter, whole-text"
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        assert!(
            toml::from_str::<Convention>("about = \"x\"\n[[places]]\nkind = \"box\"\njoined = true").is_err()
        );
        assert!(toml::from_str::<Convention>("about = \"x\"\n[[places]]\nkind = \"boxes\"").is_err());
        assert!(toml::from_str::<Convention>("about = \"x\"\nplaces = []\nwhere = 1").is_err());
    }
}
