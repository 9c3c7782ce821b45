//! Answers in mathematics: read, normalised, compared by kind.
//!
//! [`judge`] is a pure function with bounded work. Integers and rationals are compared exactly, written decimals within a
//! relative tolerance, everything else by normal form and then at random points in 192-bit arithmetic. Never is text of a
//! response evaluated as a program.

mod compare;
mod exact;
mod numeric;
mod parse;
mod point;
mod prepare;
mod relation;
mod syntax;
mod token;
mod unit;

use crate::verdict::{Judgement, Reason};
use crate::{choice, response};
pub(crate) use parse::plain_text;
use parse::{Commas, has_grouped_digits, parse};

/// The longest answer that is read.
const MOST_BYTES: usize = 200_000;

/// Whether the answer in `prediction`, a response or a bare answer, is one of `golds`.
pub fn judge(golds: &[String], prediction: &str) -> Judgement {
    let references: Vec<Reference> = golds.iter().filter_map(|gold| Reference::read(gold)).collect();
    let Some(answer) = response::answer(prediction) else {
        let reason = if references.is_empty() { Reason::BadGold } else { Reason::NoAnswer };
        return Judgement::new(reason, None);
    };
    if references.is_empty() {
        return Judgement::new(Reason::BadGold, answer);
    }
    let reason = if references.iter().any(|reference| reference.is(&answer)) {
        Reason::Equal
    } else if parse_bounded(&answer, Commas::InNumbers).is_none() {
        Reason::Unreadable
    } else {
        Reason::Different
    };
    Judgement::new(reason, answer)
}

/// A reference answer as text and as read.
struct Reference {
    text: String,
    read: syntax::Expression,
}

impl Reference {
    fn read(gold: &str) -> Option<Reference> {
        let text = response::reference(gold);
        let read = parse_bounded(&text, Commas::InNumbers)?;
        Some(Reference { text, read })
    }

    fn is(&self, answer: &str) -> bool {
        if self.text.trim() == answer.trim() {
            return true;
        }
        if choice::is_letter(&self.text) && choice::letter_in(answer, None).is_some_and(|letter| self.text == letter.to_string()) {
            return true;
        }
        let Some(read) = parse_bounded(answer, Commas::InNumbers) else {
            return false;
        };
        if compare::same(&self.read, &read) {
            return true;
        }
        let is_list = |expression: &syntax::Expression| matches!(expression, syntax::Expression::List(..) | syntax::Expression::Set(_));
        let regrouped = (has_grouped_digits(&self.text) && is_list(&read)) || (has_grouped_digits(answer) && is_list(&self.read));
        regrouped && self.is_with_separate_commas(answer)
    }

    fn is_with_separate_commas(&self, answer: &str) -> bool {
        let (gold, answer) = (parse_bounded(&self.text, Commas::Separate), parse_bounded(answer, Commas::Separate));
        gold.zip(answer).is_some_and(|(gold, answer)| compare::same(&gold, &answer))
    }
}

/// Whether two bare answers say the same, for options that are formulas.
pub(crate) fn same_answer(one: &str, two: &str) -> bool {
    Reference::read(one).is_some_and(|reference| reference.is(two))
}

fn parse_bounded(text: &str, commas: Commas) -> Option<syntax::Expression> {
    if text.len() > MOST_BYTES { None } else { parse(text, commas) }
}
