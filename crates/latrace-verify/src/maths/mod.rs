//! Answers in mathematics: read, normalised, compared by kind.
//!
//! [`MathReferences::judge`] is a pure function with bounded work. Integers and rationals are compared
//! exactly, written decimals within a relative tolerance, everything else by normal form and then at random
//! points in 192-bit arithmetic. The text of a response is never evaluated as a program.
//!
//! Policy for what has several readings. `0,5` is a decimal where the other side is one, and a list
//! elsewhere; `1,5` is a list. `5, 000` is one number, since no member of a list begins with a zero;
//! `70, 110` is a list. `C(5,2)` in an answer is a number where the reference has no variables; in a reference
//! it may be a point. `\operatorname{arccot}` has values from 0 to π. A sign of equality, approximation or
//! conclusion in front of an answer adds nothing; any other relation does. `for all x` behind an equation adds
//! nothing; a condition does. Sums, products and integrals with bounds are their values.

mod characters;
mod closed;
mod collection;
mod compare;
mod complex;
mod counted;
mod evaluate;
mod exact;
mod functions;
mod inequality;
mod label;
mod matrix;
mod numeric;
mod parse;
mod parts;
mod point;
mod prepare;
mod reading;
mod record;
mod reference;
mod region;
mod relation;
mod signs;
mod syntax;
mod token;
mod unit;
mod univariate;
mod value;
mod work;

use std::sync::OnceLock;

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::response::{self, Convention};
pub(crate) use parse::plain_text;
pub use reading::Reading;
pub(crate) use reference::{Answer, Reference};

/// Accepted answers to one question, read once and compared with any number of responses.
#[derive(Debug)]
pub struct MathReferences {
    golds: Vec<String>,
    /// Read with the first response, by the thread that judges it: references of different questions are read
    /// in parallel, and a panic of the parser surfaces where the caller guards against one.
    read: OnceLock<Vec<Reference>>,
}

impl MathReferences {
    /// References from their texts, which may be responses: a box, or `####`, marks the answer.
    pub fn new(golds: Vec<String>) -> MathReferences {
        MathReferences { golds, read: OnceLock::new() }
    }

    /// Whether the answer in `prediction`, a response or a bare answer, is one of the references.
    /// `convention` says where it stands.
    pub fn judge(&self, prediction: &str, convention: &Convention) -> Judgement {
        let references = self.references();
        let Some((answer, list)) = response::answers(prediction, convention) else {
            return Judgement::new(unless_unreadable(references, Reason::NoAnswer), None);
        };
        judge_answer(references, answer, list)
    }

    /// What each reference is read as.
    pub fn readings(&self) -> Vec<Reading> {
        self.references().iter().map(Reference::reading).collect()
    }

    fn references(&self) -> &[Reference] {
        self.read.get_or_init(|| self.golds.iter().filter_map(|gold| Reference::read(gold)).collect())
    }
}

/// Judges an answer and the list that it may be the last member of.
fn judge_answer(references: &[Reference], answer: String, list: Option<String>) -> Judgement {
    if let Some(list) = list.filter(|list| is_listed(references, list)) {
        return Judgement::new(Reason::Equal, list);
    }
    Judgement::new(reason_for(references, &Answer::new(&answer)), answer)
}

/// Boxes side by side are one list only where a reference is a list; elsewhere the last box is the answer.
fn is_listed(references: &[Reference], list: &str) -> bool {
    let list = Answer::new(list);
    references.iter().any(|reference| reference.is_list() && reference.is(&list))
}

fn reason_for(references: &[Reference], answer: &Answer<'_>) -> Reason {
    // Text equality and inner boxes come first, so that an answer that cannot be parsed may still be correct.
    if references.iter().any(|reference| reference.is(answer)) {
        return Reason::Equal;
    }
    // The answer is shown even where nothing can be said about it.
    unless_unreadable(references, answer.read().map_or(Reason::Unreadable, |_| Reason::Different))
}

/// If no reference can be parsed, the row is undetermined whatever the response says: a wrong answer and a
/// missing one are equally unproven.
fn unless_unreadable(references: &[Reference], reason: Reason) -> Reason {
    if references.iter().any(Reference::is_readable) { reason } else { Reason::BadGold }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(gold: &str, expected: Reading) {
        assert_eq!(MathReferences::new(vec![gold.to_owned()]).readings(), [expected], "{gold:?}");
    }

    #[test]
    fn references_say_what_they_are_read_as() {
        check("42", Reading::Number);
        check("-25\\%", Reading::Number);
        check("5 dozen", Reading::Number);
        check("5 cm", Reading::Quantity);
        check("2\\sqrt{3}", Reading::Expression);
        check("2abc", Reading::Expression);
        check("x = 5", Reading::Relation);
        check("\\{1, 2\\}", Reading::Set);
        check("1, 2", Reading::List);
        check("(1, 2)", Reading::Tuple);
        check("(1, 2]", Reading::Interval);
        check("(1, \\infty)", Reading::Interval);
        check("\\begin{pmatrix}1\\\\2\\end{pmatrix}", Reading::Matrix);
        check("no solution", Reading::Words);
        check("9 (apples)", Reading::NumberBesideWords);
        check("5\\text{ or more}", Reading::NumberBesideWords);
        check("①③④", Reading::Unreadable);
        check("\\frac{1}{", Reading::Unreadable);
    }
}
