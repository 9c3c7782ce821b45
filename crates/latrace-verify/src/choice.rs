//! Multiple choice: one letter, or an option's own text.
//!
//! A box, or words such as "The answer is (C)", say which letter; without them, the last letter that stands
//! in brackets or alone. Several letters are no answer, even if the right one is among them.

use std::sync::OnceLock;

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::letter::{MOST_OPTIONS, last_letter, letter_in, unmarked};
use crate::maths::{Answer, Reference};
use crate::response::{self, Convention, Found, Place};

/// The options of one question and those that are right, read once.
#[derive(Debug)]
pub struct ChoiceReferences {
    golds: Vec<String>,
    options: Options,
    right: OnceLock<Vec<char>>,
}

impl ChoiceReferences {
    /// References, letters or options' texts, with all options if they are known.
    pub fn new(golds: Vec<String>, options: Option<Vec<String>>) -> ChoiceReferences {
        ChoiceReferences { golds, options: Options::new(options), right: OnceLock::new() }
    }

    /// Whether `prediction`, a response or a bare answer, chooses what one of the references says.
    /// `convention` says where it stands.
    pub fn judge(&self, prediction: &str, convention: &Convention) -> Judgement {
        // Whatever the response says: without a usable reference no choice is right or wrong.
        if self.right().is_empty() {
            return Judgement::new(Reason::BadGold, None);
        }
        match self.options.chosen_in(prediction, convention) {
            Some(letter) => Judgement::new(self.reason_for(letter), letter.to_string()),
            None => Judgement::new(Reason::NoAnswer, None),
        }
    }

    fn reason_for(&self, letter: char) -> Reason {
        if self.right().contains(&letter) { Reason::Equal } else { Reason::Different }
    }

    /// The letters of the references. As with mathematics, they are found by the thread that judges first.
    fn right(&self) -> &[char] {
        let letter = |gold: &String| self.options.choice_of(gold.trim());
        self.right.get_or_init(|| self.golds.iter().filter_map(letter).collect())
    }
}

/// The options that a question offers.
#[derive(Debug)]
struct Options {
    /// How many letters are options.
    letters: usize,
    /// The options' texts; none where they are not known.
    texts: Vec<String>,
    /// The same without markup.
    plain: Vec<String>,
    /// The same as mathematics, parsed when neither text nor plain text decides.
    formulas: OnceLock<Vec<Option<Reference>>>,
}

impl Options {
    fn new(texts: Option<Vec<String>>) -> Options {
        // Letters end at Z, however many options there are.
        let letters = texts.as_ref().map_or(MOST_OPTIONS, |texts| texts.len().min(26));
        let texts = texts.unwrap_or_default();
        let plain = texts.iter().map(|text| unmarked(text)).collect();
        Options { letters, texts, plain, formulas: OnceLock::new() }
    }

    /// The letter that a response chooses. A box, or words that announce an answer, decide; a whole text does
    /// if it is a choice.
    fn chosen_in(&self, prediction: &str, convention: &Convention) -> Option<char> {
        let text = response::visible(prediction)?;
        for place in &convention.places {
            let chosen = match response::look(text, place) {
                Found::Absent => continue,
                found => self.chosen_at(place, &found, text),
            };
            let decides = matches!(place, Place::Box { .. } | Place::Words { .. });
            // A box without a choice ends the search: letters elsewhere are what the response considered.
            if decides || chosen.is_some() {
                return chosen;
            }
        }
        None
    }

    /// The letter that what was found at a place of `text` chooses.
    fn chosen_at(&self, place: &Place, found: &Found, text: &str) -> Option<char> {
        match (place, found) {
            // Not what was found there, which was looked for among all letters: some may be no options here.
            (Place::LastLetter, _) => last_letter(text, self.letters),
            (Place::WholeText, Found::Answer(answer, _)) => {
                self.choice_of(answer).filter(|letter| self.opens_answer(*letter, answer))
            }
            (_, Found::Answer(answer, _)) => self.choice_of(answer),
            (_, Found::Nothing | Found::Absent) => None,
        }
    }

    /// Whether the letter that a text begins with is its answer: the text is short, or no other letter
    /// follows. `(A) is wrong, so I take B` begins with a letter too.
    fn opens_answer(&self, letter: char, text: &str) -> bool {
        const SHORT: usize = 5;
        text.split_whitespace().count() <= SHORT
            || last_letter(text, self.letters).is_none_or(|last| last == letter)
    }

    /// A letter that an answer begins with, or the option whose text it is.
    fn choice_of(&self, answer: &str) -> Option<char> {
        letter_in(answer, self.letters).or_else(|| self.with_text(answer))
    }

    /// The one option whose text the answer is: literally, or else by its meaning. "True, False" is not
    /// "False, True" where both are options, though as solutions they are the same.
    fn with_text(&self, answer: &str) -> Option<char> {
        let plain = unmarked(answer);
        // From the strictest comparison to the loosest, so that options that differ in order or units stay
        // apart.
        only(&self.texts, |option| option.trim() == answer.trim())
            .or_else(|| only(&self.plain, |option| *option == plain))
            .or_else(|| self.with_value(answer))
            .flatten()
    }

    fn with_value(&self, answer: &str) -> Option<Option<char>> {
        let formulas =
            self.formulas.get_or_init(|| self.texts.iter().map(|text| Reference::read(text)).collect());
        let answer = Answer::new(answer);
        only(formulas, |option| option.as_ref().is_some_and(|option| option.is(&answer)))
    }
}

/// The letter of the one option that is `chosen`; `Some(None)` where several are, which chooses nothing.
fn only<T>(options: &[T], chosen: impl Fn(&T) -> bool) -> Option<Option<char>> {
    let chosen = options.iter().zip('A'..='Z').filter(|(option, _)| chosen(option));
    let mut letters = chosen.map(|(_, letter)| letter);
    let first = letters.next()?;
    // Two options with the text that was answered: which one was meant is unknown.
    Some(letters.next().is_none().then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prediction: &str, expected: Option<char>) {
        assert_eq!(
            Options::new(None).chosen_in(prediction, Convention::choices()),
            expected,
            "{prediction:?}"
        );
    }

    #[test]
    fn letters_are_found_where_models_write_them() {
        check("\\boxed{(B)}", Some('B'));
        check("The answer is (C).", Some('C'));
        check("The answer is C) 42.", Some('C'));
        check("2 + 2 = 4, so the answer is B.\n\nAnswer: D", Some('D'));
        check("\\textbf{(B)}\\ 42", Some('B'));
        check("I think it's (D).", Some('D'));
        check("I think it's B", Some('B'));
        check("The answer is choice C!", Some('C'));
        check("The answer isn't A; it's \"B\".", Some('B'));
        check("**J**", Some('J'));
        check("\\boxed{K}", None);
        check("a", Some('A'));
    }

    #[test]
    fn several_letters_or_none_are_no_answer() {
        check("\\boxed{A, C}", None);
        check("The answer is (A) or (B).", None);
        check("A, C", None);
        check("\\boxed{(A)(B)}", None);
        check("\\boxed{(A)and(B)}", None);
        check("\\boxed{A. B. C.}", None);
        check("Answer: (C) A", Some('C'));
        check("(A) is wrong, so I take B", Some('B'));
        check("(B) vitamin A", Some('B'));
        check("It is A or B", None);
        check("Neither A nor B fits, so C", Some('C'));
        check("Neither A nor B.", None);
        check("None of these.", None);
        check("A good question.", None);
        check("<think>\\boxed{A}", None);
    }

    #[track_caller]
    fn check_of(options: [&str; 4], prediction: &str, expected: Option<char>) {
        let options = Options::new(Some(options.map(str::to_owned).to_vec()));
        assert_eq!(options.chosen_in(prediction, Convention::choices()), expected, "{prediction:?}");
    }

    #[test]
    fn an_options_text_chooses_it_unless_two_have_it() {
        let options = ["1/2", "2", "0.5 kg", "none of these"];
        check_of(options, "\\boxed{2}", Some('B'));
        check_of(options, "\\boxed{3}", None);
        check_of(options, "The answer is none of these.", Some('D'));
        check_of(options, "\\boxed{E}", None);
        let orders = ["True, True", "False, False", "True, False", "False, True"];
        check_of(orders, "\\boxed{\\text{True, False}}", Some('C'));
        check_of(orders, "\\boxed{False, True}", Some('D'));
        let twice = ["2", "1/2", "2", "0.5"];
        check_of(twice, "\\boxed{2}", None);
        check_of(twice, "\\boxed{\\frac{1}{2}}", None);
    }

    #[test]
    fn a_reference_is_a_letter_or_an_options_text() {
        let reason = |gold: &str, prediction: &str| {
            let options = ["1/2", "2", "0.5 kg", "none of these"].map(str::to_owned).to_vec();
            let references = ChoiceReferences::new(vec![gold.to_owned()], Some(options));
            references.judge(prediction, Convention::choices()).reason
        };
        assert_eq!(reason("2", "(B)"), Reason::Equal);
        assert_eq!(reason("B", "(A)"), Reason::Different);
        assert_eq!(reason("Z", "(A)"), Reason::BadGold);
    }
}
