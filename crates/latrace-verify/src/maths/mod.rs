//! Answers in mathematics: read, normalised, compared by kind.
//!
//! [`judge`] is a pure function with bounded work. Integers and rationals are compared exactly, written
//! decimals within a relative tolerance, everything else by normal form and then at random points in 192-bit
//! arithmetic. Never is text of a response evaluated as a program.

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

/// The longest answer that is read.
const MOST_BYTES: usize = 200_000;

/// Whether the answer in `prediction`, a response or a bare answer, is one of `golds`. `convention` says
/// where it stands.
pub fn judge(golds: &[String], prediction: &str, convention: &Convention) -> Judgement {
    let references: Vec<Reference> = golds.iter().filter_map(|gold| Reference::read(gold)).collect();
    let Some((answer, list)) = response::answers(prediction, convention) else {
        let reason = if references.is_empty() { Reason::BadGold } else { Reason::NoAnswer };
        return Judgement::new(reason, None);
    };
    if references.is_empty() {
        return Judgement::new(Reason::BadGold, answer);
    }
    // The last box may be the last member of the list that a reference is.
    if let Some(list) =
        list.filter(|list| references.iter().any(|reference| reference.is_list() && reference.is(list)))
    {
        return Judgement::new(Reason::Equal, list);
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

    fn is_list(&self) -> bool {
        let is_signed = |part: &syntax::Expression| matches!(part, syntax::Expression::PlusMinus(..));
        matches!(self.read, syntax::Expression::List(..) | syntax::Expression::Set(_))
            || self.read.any(&is_signed)
    }

    fn is(&self, answer: &str) -> bool {
        if self.text.trim() == answer.trim() {
            return true;
        }
        if letter::is_letter(&self.text)
            && letter::letter_in(answer, None).is_some_and(|letter| self.text == letter.to_string())
        {
            return true;
        }
        let Some(read) = parse_bounded(answer, Commas::InNumbers) else {
            return self.is_inner(answer);
        };
        if compare::same(&self.read, &read) {
            return true;
        }
        if value::is_decimal(&self.read)
            && with_decimal_point(answer).is_some_and(|pointed| self.is(&pointed))
        {
            return true;
        }
        let is_list = |expression: &syntax::Expression| {
            matches!(expression, syntax::Expression::List(..) | syntax::Expression::Set(_))
        };
        let regrouped = (has_grouped_digits(&self.text) && is_list(&read))
            || (has_grouped_digits(answer) && is_list(&self.read));
        (regrouped && self.is_with_separate_commas(answer)) || self.is_inner(answer)
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

fn parse_bounded(text: &str, commas: Commas) -> Option<syntax::Expression> {
    if text.len() > MOST_BYTES { None } else { parse(text, commas) }
}
