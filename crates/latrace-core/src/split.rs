//! Splits of questions.

use serde::{Deserialize, Serialize};

/// A split of the questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Training split.
    Train,
    /// Validation split, for choosing settings.
    Validation,
    /// Test split, measured once at the end.
    Test,
}

impl Split {
    /// Every split, in the order of the enum.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The name in files and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }

    /// The split of this name; `None` if there is none.
    pub fn from_name(name: &str) -> Option<Split> {
        Split::ALL.into_iter().find(|split| split.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_recipes_and_rows() {
        for split in Split::ALL {
            assert_eq!(serde_json::to_value(split).unwrap(), split.name());
            assert_eq!(Split::from_name(split.name()), Some(split));
        }
        assert_eq!(Split::from_name("practice"), None);
    }
}
