//! How the answer of a published row is read: data sets write more than the answer into its column.

use latrace_io::rows::FieldProblem;
use serde::{Deserialize, Serialize};

/// What of the `answer` column is the reference answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerRule {
    /// All of it.
    AsIs,
    /// What comes before a unit in round brackets at its end, such as `9 (apples)` in ASDiv.
    WithoutUnits,
    /// What comes after the last `####`, as in GSM8K.
    AfterHashes,
}

/// The mark before an answer in GSM8K.
pub(super) const HASHES: &str = "####";

impl AnswerRule {
    /// Whether the answer is the whole column.
    pub(super) fn is_as_is(&self) -> bool {
        *self == AnswerRule::AsIs
    }

    /// The answer in a column's text.
    ///
    /// # Errors
    /// A text without the mark that the answer follows, or with nothing behind it.
    pub(super) fn answer(self, text: &str) -> Result<&str, FieldProblem> {
        match self {
            AnswerRule::AsIs => Ok(text),
            AnswerRule::WithoutUnits => Ok(without_unit(text)),
            AnswerRule::AfterHashes => after_hashes(text),
        }
    }
}

fn after_hashes(text: &str) -> Result<&str, FieldProblem> {
    // The last mark: the working before it may be any text.
    let answer = text.rsplit_once(HASHES).map(|(_, answer)| answer.trim());
    answer.filter(|answer| !answer.is_empty()).ok_or_else(|| {
        let end: String = text.trim().chars().rev().take(40).collect();
        let end: String = end.chars().rev().collect();
        let problem =
            FieldProblem::new("answer", "an answer behind \"####\"", format!("a text that ends in {end:?}"));
        problem.hint("questions.answer_rule says how answers are read: as-is takes the whole column")
    })
}

/// A text without the unit in brackets at its end. Brackets with digits, such as coordinates, are part of the answer,
/// and so are those that follow without a space, such as a function's.
fn without_unit(text: &str) -> &str {
    let text = text.trim();
    let cut = || {
        let (value, unit) = text.strip_suffix(')')?.rsplit_once('(')?;
        let is_apart = value.ends_with(char::is_whitespace) && !value.trim().is_empty();
        let is_words = unit.trim().starts_with(char::is_alphabetic)
            && !unit.contains(|letter: char| letter == ')' || letter.is_numeric());
        (is_apart && is_words).then(|| value.trim())
    };
    cut().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_in_brackets_are_cut_and_other_brackets_kept() {
        let check = |text: &str, expected: &str| {
            assert_eq!(AnswerRule::WithoutUnits.answer(text).unwrap(), expected);
        };
        check("9 (apples)", "9");
        check(" 57 ( science books)", "57");
        check("0.46 (dollars)", "0.46");
        check("12 (star-shaped stones)", "12");
        check("36 (sq. inches)", "36");
        // All that ASDiv has beside them.
        for kept in
            ["383", "5:45", "5/2", "Yes", "-(1/3)", "3:30 p.m.", "Cesar's toothbrush", "They are equal"]
        {
            check(kept, kept);
        }
        for kept in ["(2, 3)", "x (2, 3)", "f(x)", "(apples)", "3 (a (b))", "3 (apples) or 4"] {
            check(kept, kept);
        }
    }

    #[test]
    fn answers_behind_hashes_are_found_or_missed_by_name() {
        let rule = AnswerRule::AfterHashes;
        assert_eq!(rule.answer("48/2 = 24\n#### no\n#### 1,024").unwrap(), "1,024");
        for text in ["so it is 24", "24 ####", ""] {
            let problem = rule.answer(text).unwrap_err();
            assert!(problem.to_string().starts_with("field \"answer\": expected an answer behind \"####\""));
            assert!(problem.its_hint().is_some_and(|hint| hint.contains("answer_rule")));
        }
        assert_eq!(AnswerRule::AsIs.answer(" 24 ####").unwrap(), " 24 ####");
    }
}
