//! Answers in words: the same once case, articles, punctuation and markup are gone.

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::maths::plain_text;
use crate::response::{self, Convention};

/// Whether the words in `prediction`, a response or a bare answer, are one of `golds`. `convention` says
/// where they stand.
pub fn judge(golds: &[String], prediction: &str, convention: &Convention) -> Judgement {
    let references: Vec<String> = golds
        .iter()
        .map(|gold| plain_text(&response::reference(gold)))
        .filter(|gold| !gold.is_empty())
        .collect();
    if references.is_empty() {
        return Judgement::new(Reason::BadGold, None);
    }
    let Some(answer) = response::answer(prediction, convention) else {
        return Judgement::new(Reason::NoAnswer, None);
    };
    let plain = plain_text(&answer);
    // Articles and punctuation alone are no answer.
    let reason = match plain.is_empty() {
        true => Reason::NoAnswer,
        false if references.contains(&plain) => Reason::Equal,
        false => Reason::Different,
    };
    Judgement::new(reason, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gold: &str, prediction: &str, expected: Reason) {
        assert_eq!(
            judge(&[gold.to_owned()], prediction, Convention::words()).reason,
            expected,
            "{gold:?} {prediction:?}"
        );
    }

    #[test]
    fn words_are_compared_without_their_dress() {
        check("no solution", "No solution.", Reason::Equal);
        check("an ellipse", "The answer is \\boxed{\\text{ellipse}}.", Reason::Equal);
        check("ellipse", "hyperbola", Reason::Different);
        check("ellipse", "<think>ellipse", Reason::NoAnswer);
        check("", "ellipse", Reason::BadGold);
    }
}
