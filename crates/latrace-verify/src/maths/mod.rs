//! Answers in mathematics: read, normalised, compared by kind.
//!
//! [`judge`] is a pure function with bounded work. Integers and rationals are compared exactly, written
//! decimals within a relative tolerance, everything else by normal form and then at random points in 192-bit
//! arithmetic. The text of a response is never evaluated as a program.

mod collection;
mod compare;
mod complex;
mod evaluate;
mod exact;
mod label;
mod matrix;
mod numeric;
mod parse;
mod parts;
mod point;
mod prepare;
mod record;
mod region;
mod relation;
mod signs;
mod syntax;
mod token;
mod unit;
mod value;

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::letter;
use crate::response::{self, Convention};
pub(crate) use parse::plain_text;
use parse::{Commas, has_grouped_digits, parse};
use syntax::Expression;

/// The longest answer that is read.
const MOST_BYTES: usize = 200_000;

/// Whether the answer in `prediction`, a response or a bare answer, is one of `golds`. `convention` says
/// where it stands.
pub fn judge(golds: &[String], prediction: &str, convention: &Convention) -> Judgement {
    // References that cannot be read drop out. If none is left, the row is undetermined whatever the response
    // says: a wrong answer and a missing one are equally unproven.
    let references: Vec<Reference> = golds.iter().filter_map(|gold| Reference::read(gold)).collect();
    match (response::answers(prediction, convention), references.is_empty()) {
        (found, true) => Judgement::new(Reason::BadGold, found.map(|(answer, _)| answer)),
        (None, false) => Judgement::new(Reason::NoAnswer, None),
        (Some((answer, list)), false) => judge_answer(&references, answer, list),
    }
}

/// Judges an answer and the list that it may be the last member of.
fn judge_answer(references: &[Reference], answer: String, list: Option<String>) -> Judgement {
    let is_list =
        |list: &String| references.iter().any(|reference| reference.is_list() && reference.is(list));
    if let Some(list) = list.filter(is_list) {
        return Judgement::new(Reason::Equal, list);
    }
    // Text equality and inner boxes are tried before, so an answer that cannot be read may still be right.
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
    read: Expression,
}

impl Reference {
    fn read(gold: &str) -> Option<Reference> {
        let text = response::reference(gold);
        let read = parse_bounded(&text, Commas::InNumbers)?;
        Some(Reference { text, read })
    }

    fn is_list(&self) -> bool {
        let is_signed = |part: &Expression| matches!(part, Expression::PlusMinus(..));
        is_list(&self.read) || self.read.any(&is_signed)
    }

    fn is(&self, answer: &str) -> bool {
        // The same text is the same answer even where the parser understands less than the whole of it.
        if self.text.trim() == answer.trim() || self.is_letter(answer) {
            return true;
        }
        let Some(read) = parse_bounded(answer, Commas::InNumbers) else {
            return self.is_inner(answer);
        };
        compare::same(&self.read, &read)
            || self.is_with_decimal_comma(answer)
            || (self.may_be_regrouped(answer, &read) && self.is_with_separate_commas(answer))
            || self.is_inner(answer)
    }

    /// Some data sets file multiple choice under mathematics, with a letter for the reference.
    fn is_letter(&self, answer: &str) -> bool {
        let chosen = || letter::letter_in(answer, None);
        letter::is_letter(&self.text) && chosen().is_some_and(|letter| self.text == letter.to_string())
    }

    /// `1000,99` for `1000.99` is tried only for a decimal reference: elsewhere a comma separates.
    fn is_with_decimal_comma(&self, answer: &str) -> bool {
        value::is_decimal(&self.read) && with_decimal_point(answer).is_some_and(|pointed| self.is(&pointed))
    }

    /// `1,234` is one number or a list of two. The other reading is tried only where one side is a list
    /// already, so that two plain numbers are never pulled apart.
    fn may_be_regrouped(&self, answer: &str, read: &Expression) -> bool {
        (has_grouped_digits(&self.text) && is_list(read))
            || (has_grouped_digits(answer) && is_list(&self.read))
    }

    /// A box with words and a box in it says what the inner box says, as a reference does.
    fn is_inner(&self, answer: &str) -> bool {
        let inner = response::reference(answer);
        inner.len() < answer.trim().len() && self.is(&inner)
    }

    fn is_with_separate_commas(&self, answer: &str) -> bool {
        let (gold, answer) =
            (parse_bounded(&self.text, Commas::Separate), parse_bounded(answer, Commas::Separate));
        gold.zip(answer).is_some_and(|(gold, answer)| compare::same(&gold, &answer))
    }
}

fn is_list(expression: &Expression) -> bool {
    matches!(expression, Expression::List(..) | Expression::Set(_))
}

/// An answer that is one number with a comma for its decimal point, as `1000,99`. With one digit or a group
/// of three behind the comma it is as well two numbers, or a greater one.
fn with_decimal_point(answer: &str) -> Option<String> {
    let plain = answer.trim().trim_matches('$').trim();
    let (whole, fraction) = plain.split_once(',')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let grouped = fraction.len() == 3 && unsigned.len() <= 3 && unsigned != "0";
    (digits(unsigned) && digits(fraction) && fraction.len() > 1 && !grouped)
        .then(|| format!("{whole}.{fraction}"))
}

/// Whether two bare answers say the same, for options that are formulas.
pub(crate) fn same_answer(one: &str, two: &str) -> bool {
    Reference::read(one).is_some_and(|reference| reference.is(two))
}

fn parse_bounded(text: &str, commas: Commas) -> Option<Expression> {
    if text.len() > MOST_BYTES { None } else { parse(text, commas) }
}
