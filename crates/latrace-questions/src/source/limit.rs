//! How many questions of each split are read.

use std::fmt;

use latrace_core::Split;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Maximum number of questions: the same for every split, or one for each; 0 is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum QuestionLimit {
    /// Of every split.
    Each(usize),
    /// Of each split its own.
    BySplit(SplitLimits),
}

/// A maximum for each split; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitLimits {
    /// Of the training split.
    train: usize,
    /// Of the validation split.
    validation: usize,
    /// Of the test split.
    test: usize,
}

impl QuestionLimit {
    /// The limit of a split, if it has one.
    pub(super) fn of(self, split: Split) -> Option<usize> {
        let limit = match (self, split) {
            (QuestionLimit::Each(limit), _) => limit,
            (QuestionLimit::BySplit(limits), Split::Train) => limits.train,
            (QuestionLimit::BySplit(limits), Split::Validation) => limits.validation,
            (QuestionLimit::BySplit(limits), Split::Test) => limits.test,
        };
        Some(limit).filter(|&limit| limit > 0)
    }
}

impl<'de> Deserialize<'de> for QuestionLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrTable)
    }
}

/// Reads either form. A derived enum without tags would not say which field of the table is wrong.
struct NumberOrTable;

impl<'de> Visitor<'de> for NumberOrTable {
    type Value = QuestionLimit;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number of questions, or one for each of train, validation and test")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<QuestionLimit, E> {
        let limit = usize::try_from(number);
        limit
            .map(QuestionLimit::Each)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<QuestionLimit, E> {
        let limit = usize::try_from(number);
        limit
            .map(QuestionLimit::Each)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Unsigned(number), &self))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<QuestionLimit, A::Error> {
        SplitLimits::deserialize(MapAccessDeserializer::new(map)).map(QuestionLimit::BySplit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[track_caller]
    fn check(value: Value, expected: [Option<usize>; 3]) {
        let limit: QuestionLimit = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(Split::ALL.map(|split| limit.of(split)), expected);
        // Written as it was read: a stage's key and the resolved recipe hold it.
        let written: QuestionLimit = serde_json::from_value(json!(limit)).unwrap();
        assert_eq!(written, limit, "{value}");
    }

    #[test]
    fn a_limit_is_one_number_or_one_of_each_split() {
        check(json!(0), [None; 3]);
        check(json!(7), [Some(7); 3]);
        check(json!({"test": 5}), [None, None, Some(5)]);
        check(json!({"train": 1, "validation": 2, "test": 0}), [Some(1), Some(2), None]);
    }

    #[test]
    fn what_is_neither_is_refused() {
        let refused = |value: Value, expected: &str| {
            let error = serde_json::from_value::<QuestionLimit>(value).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        refused(json!(-1), "integer `-1`, expected a number of questions");
        refused(json!("many"), "expected a number of questions, or one for each");
        refused(json!({"tests": 1}), "unknown field `tests`, expected one of `train`, `validation`, `test`");
    }
}
