//! A reference answer, and what it is compared with: an answer parsed once.

use std::cell::OnceCell;
use std::sync::OnceLock;

use super::compare;
use super::parse::{Commas, has_grouped_digits, parse};
use super::prepare::without_surroundings;
use super::reading::{Reading, number_beside_words};
use super::syntax::Expression;
use super::{value, work};
use crate::letter::{self, MOST_OPTIONS};
use crate::response;

// Above every answer that means something, and below what would make one row slow.
/// The longest answer that is parsed.
const MOST_BYTES: usize = 200_000;

/// An answer as text and as parsed: at most once, however many references it is compared with.
pub(crate) struct Answer<'a> {
    text: &'a str,
    read: OnceCell<Option<Expression>>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(text: &'a str) -> Answer<'a> {
        Answer { text, read: OnceCell::new() }
    }

    /// The answer as a tree; `None` where it cannot be parsed.
    pub(super) fn read(&self) -> Option<&Expression> {
        // Only when it is needed: the same text is decided without it.
        self.read.get_or_init(|| parse_bounded(self.text, Commas::InNumbers)).as_ref()
    }
}

/// A reference answer as text and as parsed.
///
/// Policy: the same text is the same answer whatever it is, also where it cannot be parsed: words of any
/// script, `①③`, prose. A reference that cannot be parsed says nothing about any other answer.
#[derive(Debug)]
pub(crate) struct Reference {
    text: String,
    /// The answer as a tree; where it cannot be parsed, the text without what only lays it out.
    read: Result<Expression, String>,
    /// Parsed with every comma as a separator, which few answers need.
    separated: OnceLock<Option<Expression>>,
}

impl Reference {
    /// The answer in `gold`; `None` where there is none.
    pub(crate) fn read(gold: &str) -> Option<Self> {
        let text = response::reference(gold);
        let read = work::apart(work::READING, || parse_bounded(&text, Commas::InNumbers)).flatten();
        let read = read.ok_or_else(|| to_the_letter(&text));
        let is_empty = read.as_ref().is_err_and(String::is_empty);
        (!is_empty).then(|| Self { text, read, separated: OnceLock::new() })
    }

    /// Whether it can be compared with more than its own text.
    pub(super) fn is_readable(&self) -> bool {
        self.read.is_ok()
    }

    /// What it is read as.
    pub(super) fn reading(&self) -> Reading {
        let refuses = |number: &String| !self.is(&Answer::new(number));
        match self.read.as_ref().ok().map(Reading::of) {
            // Number words have changed the number: `5 dozen` refuses 5 for a reason.
            Some(reading @ (Reading::Number | Reading::Quantity)) => reading,
            _ if number_beside_words(&self.text).filter(refuses).is_some() => Reading::NumberBesideWords,
            reading => reading.unwrap_or(Reading::Unreadable),
        }
    }

    /// Whether several values are asked for.
    pub(super) fn is_list(&self) -> bool {
        let is_signed = |part: &Expression| matches!(part, Expression::PlusMinus(..));
        self.read.as_ref().is_ok_and(|read| is_list(read) || read.any(&is_signed))
    }

    /// Whether an answer says the same.
    pub(crate) fn is(&self, answer: &Answer<'_>) -> bool {
        let inner = inner(answer.text);
        let is_text = self.is_as_text(answer.text) || inner.iter().any(|inner| self.is_as_text(inner));
        let is_read =
            || self.is_as_read(answer) || inner.iter().any(|inner| self.is_as_read(&Answer::new(inner)));
        // Texts first: what takes too long to compute may still be the same to the letter.
        is_text || work::bounded(work::COMPARISON, is_read) == Some(true)
    }

    /// The same text is the same answer even where the parser does not understand all of it.
    fn is_as_text(&self, answer: &str) -> bool {
        self.text.trim() == answer.trim()
            || self.is_letter(answer)
            || self.read.as_ref().is_err_and(|letters| *letters == to_the_letter(answer))
    }

    /// Whether an answer, as it is read, says what the reference does.
    fn is_as_read(&self, answer: &Answer<'_>) -> bool {
        let Ok(gold) = &self.read else {
            return false;
        };
        // From the cheapest reading to the rarest: most correct answers are decided before the last.
        let as_read = |read: &Expression| {
            compare::same(gold, read)
                || self.is_with_decimal_comma(gold, answer.text)
                || self.is_pointed(gold, answer.text, read)
                || (self.may_be_regrouped(gold, answer.text, read)
                    && self.is_with_separate_commas(answer.text))
        };
        answer.read().is_some_and(as_read)
    }

    /// Some data sets file multiple choice under mathematics, with a letter for the reference.
    fn is_letter(&self, answer: &str) -> bool {
        let chosen = || letter::letter_said(answer, MOST_OPTIONS);
        letter::is_letter(&self.text) && chosen().is_some_and(|letter| self.text == letter.to_string())
    }

    /// `1000,99` for `1000.99` is tried only for a decimal reference: elsewhere a comma separates.
    fn is_with_decimal_comma(&self, gold: &Expression, answer: &str) -> bool {
        let pointed = || with_decimal_point(answer);
        value::is_decimal(gold) && pointed().is_some_and(|pointed| self.is(&Answer::new(&pointed)))
    }

    /// A reference `0,5` is 0.5 for an answer that is a decimal, and a list for any other.
    fn is_pointed(&self, gold: &Expression, answer: &str, read: &Expression) -> bool {
        let pointed = || with_decimal_point(&self.text).and_then(|pointed| Reference::read(&pointed));
        is_list(gold)
            && value::is_decimal(read)
            && pointed().is_some_and(|gold| gold.is(&Answer::new(answer)))
    }

    /// `1,234` is one number or a list of two. The other reading is tried only where one side is a list
    /// already, so that two plain numbers are never pulled apart.
    fn may_be_regrouped(&self, gold: &Expression, answer: &str, read: &Expression) -> bool {
        (has_grouped_digits(&self.text) && is_list(read)) || (has_grouped_digits(answer) && is_list(gold))
    }

    fn is_with_separate_commas(&self, answer: &str) -> bool {
        let separated =
            || work::apart(work::READING, || parse_bounded(&self.text, Commas::Separate)).flatten();
        let gold = self.separated.get_or_init(separated).as_ref();
        let answer = parse_bounded(answer, Commas::Separate);
        gold.zip(answer).is_some_and(|(gold, answer)| compare::same(gold, &answer))
    }
}

/// A box with words and a box in it says what the inner box says, as a reference does: what the boxes within
/// an answer hold, from the outermost.
fn inner(answer: &str) -> Vec<String> {
    // Each is read.
    const MOST_NESTED: usize = 4;
    let next = |outer: &str| {
        let inner = response::reference(outer);
        (inner.len() < outer.trim().len()).then_some(inner)
    };
    std::iter::successors(next(answer), |outer| next(outer)).take(MOST_NESTED).collect()
}

/// A text without the marks and blanks that only lay it out; one blank stays where words or digits would run
/// together.
fn to_the_letter(text: &str) -> String {
    let plain = without_surroundings(text).replace('$', " ");
    let spaced = LAYOUT.iter().fold(plain, |plain, command| plain.replace(command, " "));
    let mut letters = String::with_capacity(spaced.len());
    for word in spaced.split_whitespace() {
        if letters.ends_with(char::is_alphanumeric) && word.starts_with(char::is_alphanumeric) {
            letters.push(' ');
        }
        letters.push_str(word);
    }
    letters
}

/// Commands for space, and delimiters of formulas.
const LAYOUT: [&str; 9] = ["\\(", "\\)", "\\[", "\\]", "\\,", "\\;", "\\:", "\\!", "\\ "];

fn is_list(expression: &Expression) -> bool {
    matches!(expression, Expression::List(..) | Expression::Set(_))
}

/// An answer that is one number with a comma for its decimal point, as `1000,99` and `0,5`. Where it begins
/// with another digit than zero, one digit or a group of three behind the comma may be another number.
fn with_decimal_point(answer: &str) -> Option<String> {
    let plain = answer.trim().trim_matches('$').trim();
    let (whole, fraction) = plain.split_once(',')?;
    let unsigned = whole.strip_prefix('-').unwrap_or(whole);
    let ambiguous = fraction.len() == 1 || (fraction.len() == 3 && unsigned.len() <= 3);
    let clear = is_digits(unsigned) && is_digits(fraction) && (unsigned == "0" || !ambiguous);
    clear.then(|| format!("{whole}.{fraction}"))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_bounded(text: &str, commas: Commas) -> Option<Expression> {
    if text.len() > MOST_BYTES {
        return None;
    }
    work::bounded(work::READING, || parse(text, commas)).flatten()
}
