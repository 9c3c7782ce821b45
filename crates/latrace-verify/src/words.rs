//! Answers in words: compared without case, articles, punctuation and markup.

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::maths::plain_text;
use crate::response::{self, Convention};

/// Accepted answers to one question, reduced to plain words once.
#[derive(Debug)]
pub struct WordReferences(Vec<String>);

impl WordReferences {
    /// References from their texts.
    pub fn new(golds: &[String]) -> WordReferences {
        let plain = golds.iter().map(|gold| plain_text(&response::reference(gold)));
        WordReferences(plain.filter(|gold| !gold.is_empty()).collect())
    }

    /// Whether the words in `prediction`, a response or a bare answer, are one of the references.
    /// `convention` says where they stand.
    pub fn judge(&self, prediction: &str, convention: &Convention) -> Judgement {
        if self.0.is_empty() {
            return Judgement::new(Reason::BadGold, None);
        }
        match response::answer(prediction, convention) {
            Some(answer) => Judgement::new(self.reason_for(&answer), answer),
            None => Judgement::new(Reason::NoAnswer, None),
        }
    }

    fn reason_for(&self, answer: &str) -> Reason {
        match plain_text(answer) {
            // Articles and punctuation alone are no answer.
            plain if plain.is_empty() => Reason::NoAnswer,
            plain if self.0.contains(&plain) => Reason::Equal,
            _ => Reason::Different,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gold: &str, prediction: &str, expected: Reason) {
        assert_eq!(
            WordReferences::new(&[gold.to_owned()]).judge(prediction, Convention::words()).reason,
            expected,
            "{gold:?} {prediction:?}"
        );
    }

    #[test]
    fn words_are_compared_without_case_articles_and_markup() {
        check("no solution", "No solution.", Reason::Equal);
        check("an ellipse", "The answer is \\boxed{\\text{ellipse}}.", Reason::Equal);
        check("ellipse", "hyperbola", Reason::Different);
        check("ellipse", "<think>ellipse", Reason::NoAnswer);
        check("", "ellipse", Reason::BadGold);
    }
}
