//! Multiple choice: one letter, or an option's own text.
//!
//! A box, or words such as "The answer is (C)", say which letter, unless their sentence denies it; without
//! them, the text says it as a whole, or states it in a sentence (`statement.rs`). Several letters are no
//! answer, even if the right one is among them. A box that names no option is passed over for words behind it
//! that do.

use std::sync::OnceLock;

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::letter::{MOST_OPTIONS, letter_in, letter_said, split_label, unmarked};
use crate::maths::{Answer, Reference};
use crate::response::{self, Convention, Found, Place};
use crate::statement::{Letters, Quoted, Texts, stated};

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
        let letter = |gold: &String| self.options.choice_in_reference(gold.trim());
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
        let mut text = response::visible(prediction)?;
        for place in &convention.places {
            let found = match response::look(text, &with_list(place)) {
                Found::Absent => continue,
                found => found,
            };
            let chosen = self.chosen_at(place, &found, text);
            match place {
                _ if chosen.is_some() => return chosen,
                // Letters before a box without one are what the response considered. Behind it words may
                // announce one all the same: the box holds a formula then, of no option.
                Place::Box { .. } if !self.names_letters(&found) => text = response::behind_boxes(text),
                Place::Box { .. } | Place::Words { .. } => return None,
                _ => {}
            }
        }
        None
    }

    /// The letter that what was found at a place of `text` chooses.
    fn chosen_at(&self, place: &Place, found: &Found, text: &str) -> Option<char> {
        let Found::Answer(answer, list) = found else {
            return None;
        };
        match place {
            // "\\boxed{A} or \\boxed{B}" chooses nothing.
            Place::Box { .. } if list.as_ref().is_some_and(|list| !self.is_one_choice(list)) => None,
            Place::Words { .. } => {
                self.announced(answer).filter(|letter| !self.is_contradicted(*letter, answer, text))
            }
            // Not what was found there, which was looked for among all letters: some may be no options here.
            Place::LastLetter => self.stated(text),
            Place::WholeText => {
                let in_words = || self.stated(answer).or_else(|| self.with_text(answer));
                self.labelled(answer).unwrap_or_else(in_words)
            }
            _ => self.choice_of(answer),
        }
    }

    /// Whether boxes side by side hold the same letter.
    fn is_one_choice(&self, list: &str) -> bool {
        let mut letters = list.split(", ").map(|part| self.choice_of(part));
        let first = letters.next().flatten();
        first.is_some() && letters.all(|letter| letter == first)
    }

    /// The letter that words behind an announcement choose.
    fn announced(&self, answer: &str) -> Option<char> {
        let in_words = || self.stated(&format!("{ANNOUNCEMENT}{answer}")).or_else(|| self.with_text(answer));
        self.labelled(answer).unwrap_or_else(in_words)
    }

    /// Whether a text goes on from an announced answer to state another letter.
    fn is_contradicted(&self, letter: char, answer: &str, text: &str) -> bool {
        let behind = text.rfind(answer).map_or("", |at| &text[at + answer.len()..]);
        self.stated(behind).is_some_and(|other| other != letter)
    }

    /// The letter that a text states.
    fn stated(&self, text: &str) -> Option<char> {
        stated(text, &self.letters())
    }

    fn letters(&self) -> Letters<'_> {
        Letters { count: self.letters, texts: self }
    }

    /// Whether what was found names letters, of options or of none.
    fn names_letters(&self, found: &Found) -> bool {
        let Found::Answer(answer, _) = found else {
            return false;
        };
        let plain = unmarked(answer);
        let mut words = plain.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        words
            .all(|word| word.len() == 1 || matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "not"))
            && plain.contains(|c: char| c.is_ascii_uppercase())
    }

    /// The letter of a label before the text of an option: it is chosen whatever the text says, `B. False`,
    /// if the text is its own, and nothing is if it is another's.
    fn labelled(&self, answer: &str) -> Option<Option<char>> {
        let (letter, text) = split_label(answer)?;
        match self.quoted(letter, &text) {
            Quoted::Own => Some(Some(letter)),
            Quoted::Another => Some(None),
            Quoted::Unknown => None,
        }
    }

    /// A letter that an answer begins with, or the option whose text it is, or a letter that it states.
    fn choice_of(&self, answer: &str) -> Option<char> {
        let in_words = || self.with_text(answer).or_else(|| self.stated(&format!("{ANNOUNCEMENT}{answer}")));
        self.labelled(answer).unwrap_or_else(|| letter_said(answer, self.letters).or_else(in_words))
    }

    /// The same in a reference, which denies nothing.
    fn choice_in_reference(&self, gold: &str) -> Option<char> {
        letter_in(gold, self.letters).or_else(|| self.with_text(gold))
    }

    /// The one option whose text the answer is: literally, or else by its meaning. "True, False" is not
    /// "False, True" where both are options, though as solutions they are the same.
    fn with_text(&self, answer: &str) -> Option<char> {
        let plain = unmarked(answer);
        // From the strictest comparison to the loosest, so that options that differ in order or units stay
        // apart.
        only(&self.texts, |option| option.trim() == answer.trim())
            .or_else(|| only(&self.plain, |option| is_same_text(option, &plain)))
            .or_else(|| self.with_quantity(&plain))
            .or_else(|| self.with_value(answer))
            .flatten()
    }

    /// The option with the same number and the same unit, or no unit: `6.10 MeV` for `6.1 MeV`. Mathematics
    /// reads letters right behind a number as a product.
    fn with_quantity(&self, answer: &str) -> Option<Option<char>> {
        let (number, unit) = quantity(answer)?;
        let number = Answer::new(number);
        let is_same = |option: &String| {
            quantity(option).is_some_and(|(value, other)| {
                let is_unit = unit.is_empty() || other == unit;
                is_unit && Reference::read(value).is_some_and(|value| value.is(&number))
            })
        };
        only(&self.plain, is_same)
    }

    fn with_value(&self, answer: &str) -> Option<Option<char>> {
        let formulas =
            self.formulas.get_or_init(|| self.texts.iter().map(|text| Reference::read(text)).collect());
        let answer = Answer::new(answer);
        only(formulas, |option| option.as_ref().is_some_and(|option| option.is(&answer)))
    }
}

impl Texts for Options {
    fn quoted(&self, letter: char, text: &str) -> Quoted {
        let plain = unmarked(text);
        let is_text =
            |option: &String| !plain.is_empty() && (is_same_text(option, &plain) || is_cut(option, &plain));
        match self.plain.get(letter as usize - 'A' as usize) {
            Some(own) if is_text(own) => Quoted::Own,
            _ if self.plain.iter().any(is_text) => Quoted::Another,
            _ => Quoted::Unknown,
        }
    }
}

/// Whether an option's text is the one that was answered, but for its full stop.
fn is_same_text(option: &str, answer: &str) -> bool {
    let without_stop = |text: &str| text.trim_end_matches(['.', ' ']).to_owned();
    without_stop(option) == without_stop(answer)
}

/// Whether an answer is an option's text up to a reason or a comma, where announcements end, or its first
/// words.
fn is_cut(option: &str, answer: &str) -> bool {
    const FEWEST_WORDS: usize = 3;
    let rest = option.strip_prefix(answer);
    rest.is_some_and(|rest| {
        let is_whole = [",", ". ", " because ", " since "].iter().any(|end| rest.starts_with(end));
        is_whole || (rest.starts_with(' ') && answer.split_whitespace().count() >= FEWEST_WORDS)
    })
}

/// A place with boxes side by side as a list.
fn with_list(place: &Place) -> Place {
    match place {
        Place::Box { .. } => Place::Box { join: true },
        other => other.clone(),
    }
}

/// What an answer is read behind.
const ANNOUNCEMENT: &str = "Answer: ";

/// The number and the unit that a text consists of; the unit may be left out.
fn quantity(text: &str) -> Option<(&str, &str)> {
    let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
    let at = text.find(|c: char| !is_number(c)).unwrap_or(text.len());
    let (number, unit) = (&text[..at], text[at..].trim());
    let is_unit = unit.split_whitespace().count() <= 1 && unit.chars().next().is_none_or(char::is_alphabetic);
    (number.ends_with(|c: char| c.is_ascii_digit()) && is_unit).then_some((number, unit))
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

    #[test]
    fn a_letter_that_is_denied_or_left_open_is_no_choice() {
        for text in [
            "The answer cannot be A",
            "The answer isn't (A).",
            "Not A.",
            "A? No.",
            "A: no. B: no.",
            "(A) is wrong",
            "I do not think it is A",
            "I doubt that the answer is A.",
            "We can eliminate A.",
            "Anything but A",
            "Every option but A is right",
            "If x is 0, the answer is A.",
            "It would be A if x were 0.",
            "Had x been 0, option A",
            "The answer is A? No..",
            "The answer is A, which is wrong",
            "The answer is A. No, that's wrong.",
            "The answer is A, or maybe B",
            "I first thought A",
            "Maybe A",
            "obviously not \\boxed{A}",
            "\\boxed{A} is wrong",
            "\\boxed{A}? No.",
            "\\boxed{A is wrong}",
            "\\boxed{A} or \\boxed{B}",
            "option A\nB",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn a_letter_that_names_something_else_is_no_choice() {
        for text in [
            "Vitamin C",
            "I need help from Mr. B",
            "plan B",
            "grade A",
            "by J. B.",
            "the line from A to B",
            "B-12",
            "B = 3",
            "A good plan",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn the_last_statement_counts() {
        check("The answer is for sure D, it can't be A or B", Some('D'));
        check("Choice B is right, C is wrong", Some('B'));
        check("The answer is A, I first thought, but it is C.", Some('C'));
        check("It is not A but C", Some('C'));
        check("A and B are wrong. So C.", Some('C'));
        check("The answer is A. Actually, it is C.", Some('C'));
        check("\\boxed{A} is wrong; \\boxed{B}", Some('B'));
        check("It is not \\boxed{A}. The answer is B.", Some('B'));
        check("\\boxed{x^2} holds.\n\n**Answer: D**", Some('D'));
        check("\\boxed{A, B}\n\nAnswer: D", None);
        check("The answer is B. The other options are wrong.", Some('B'));
        check("Correct option: (b)", Some('B'));
        check("答案：B", Some('B'));
        check("所以选B", Some('B'));
        check("Ответ: B", Some('B'));
        check("答案不是B", None);
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
        let energies = ["5.80 MeV", "6.10MeV", "6.10 keV", "4.9 MeV"];
        check_of(energies, "\\boxed{6.10\\,\\text{MeV}}", Some('B'));
        check_of(energies, "\\boxed{6.1 MeV}", Some('B'));
        check_of(energies, "\\boxed{6.10 meV}", None);
        check_of(energies, "\\boxed{6.1}", None);
        check_of(energies, "\\boxed{4.90}", Some('D'));
    }

    #[test]
    fn an_options_own_text_may_deny() {
        let options = ["True, False", "It is not known", "the cake", "none of these, since it is late"];
        check_of(options, "\\boxed{A. True, False}", Some('A'));
        check_of(options, "Answer: B) It is not known", Some('B'));
        check_of(options, "Answer: A) It is not known", None);
        check_of(options, "My answer: C (the cake)", Some('C'));
        check_of(options, "My answer: C (wrong)", None);
        check_of(options, "The answer is (D) none of these, since it is late.", Some('D'));
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
