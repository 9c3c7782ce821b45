//! Multiple choice: one letter, or an option's own text.
//!
//! A box, or words such as "The answer is (C)", say which letter; without them, the last letter that stands
//! in brackets or alone. Several letters are no answer, even if the right one is among them.

use latrace_core::Reason;

use crate::judgement::Judgement;
use crate::letter::{last_letter, letter_in, unmarked};
use crate::maths::same_answer;
use crate::response::{self, Convention, Found, Place};

/// Whether `prediction`, a response or a bare answer, chooses what one of `golds` (letters, or options'
/// texts) says. `convention` says where it stands.
pub fn judge(
    golds: &[String],
    prediction: &str,
    options: Option<&[String]>,
    convention: &Convention,
) -> Judgement {
    let right: Vec<char> = golds.iter().filter_map(|gold| choice_of(gold.trim(), options)).collect();
    if right.is_empty() {
        return Judgement::new(Reason::BadGold, None);
    }
    match letter_of(prediction, options, convention) {
        Some(letter) if right.contains(&letter) => Judgement::new(Reason::Equal, letter.to_string()),
        Some(letter) => Judgement::new(Reason::Different, letter.to_string()),
        None => Judgement::new(Reason::NoAnswer, None),
    }
}

/// The letter that a response chooses. A box, or words that announce an answer, decide; a whole text does if
/// it is a choice.
fn letter_of(prediction: &str, options: Option<&[String]>, convention: &Convention) -> Option<char> {
    let text = response::visible(prediction)?;
    for place in &convention.places {
        let decides = matches!(place, Place::Box { .. } | Place::Words { .. });
        let chosen = match (place, response::look(text, place)) {
            (_, Found::Absent) => continue,
            (Place::LastLetter, _) => last_letter(text, options),
            (Place::WholeText, Found::Answer(answer, _)) => {
                choice_of(&answer, options).filter(|letter| opens_answer(*letter, &answer, options))
            }
            (_, Found::Answer(answer, _)) => choice_of(&answer, options),
            (_, Found::Nothing) => None,
        };
        // A box with no choice in it ends the search: letters elsewhere are what the response thought about.
        if decides || chosen.is_some() {
            return chosen;
        }
    }
    None
}

/// Whether the letter that a text begins with is its answer: it is a short one, or no other letter follows.
/// `(A) is wrong, so I take B` begins with a letter too.
fn opens_answer(letter: char, text: &str, options: Option<&[String]>) -> bool {
    const SHORT: usize = 5;
    text.split_whitespace().count() <= SHORT || last_letter(text, options).is_none_or(|last| last == letter)
}

/// A letter that an answer begins with, or the option whose text it is.
fn choice_of(answer: &str, options: Option<&[String]>) -> Option<char> {
    letter_in(answer, options).or_else(|| option_with_text(answer, options))
}

/// The one option whose text the answer is: to the letter, or else in what it says. "True, False" is not
/// "False, True" where both are options, though as solutions they are the same.
fn option_with_text(answer: &str, options: Option<&[String]>) -> Option<char> {
    let options = options?;
    let plain = unmarked(answer);
    // From the strictest comparison to the loosest, so that options that differ in order or units stay apart.
    only(options, |option| option.trim() == answer.trim())
        .or_else(|| only(options, |option| unmarked(option) == plain))
        .or_else(|| only(options, |option| same_answer(option, answer)))
        .flatten()
}

/// The letter of the one option that is `chosen`; `Some(None)` where several are, which chooses nothing.
fn only(options: &[String], chosen: impl Fn(&str) -> bool) -> Option<Option<char>> {
    let mut letters =
        options.iter().zip('A'..='Z').filter(|(option, _)| chosen(option)).map(|(_, letter)| letter);
    let first = letters.next()?;
    // Two options with the text that was answered: which one was meant is unknown.
    Some(letters.next().is_none().then_some(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prediction: &str, expected: Option<char>) {
        assert_eq!(letter_of(prediction, None, Convention::choices()), expected, "{prediction:?}");
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
    fn an_options_text_chooses_it_unless_two_have_it() {
        let options: Vec<String> = ["1/2", "2", "0.5 kg", "none of these"].map(str::to_owned).to_vec();
        assert_eq!(letter_of("\\boxed{2}", Some(&options), Convention::choices()), Some('B'));
        assert_eq!(letter_of("\\boxed{3}", Some(&options), Convention::choices()), None);
        assert_eq!(
            letter_of("The answer is none of these.", Some(&options), Convention::choices()),
            Some('D')
        );
        assert_eq!(letter_of("\\boxed{E}", Some(&options), Convention::choices()), None);
        assert_eq!(
            judge(&["2".to_owned()], "(B)", Some(&options), Convention::choices()).reason,
            Reason::Equal
        );
        assert_eq!(
            judge(&["B".to_owned()], "(A)", Some(&options), Convention::choices()).reason,
            Reason::Different
        );
        assert_eq!(
            judge(&["Z".to_owned()], "(A)", Some(&options), Convention::choices()).reason,
            Reason::BadGold
        );
        let orders: Vec<String> =
            ["True, True", "False, False", "True, False", "False, True"].map(str::to_owned).to_vec();
        assert_eq!(
            letter_of("\\boxed{\\text{True, False}}", Some(&orders), Convention::choices()),
            Some('C')
        );
        assert_eq!(letter_of("\\boxed{False, True}", Some(&orders), Convention::choices()), Some('D'));
        let twice: Vec<String> = ["2", "1/2", "2", "0.5"].map(str::to_owned).to_vec();
        assert_eq!(letter_of("\\boxed{2}", Some(&twice), Convention::choices()), None);
        assert_eq!(letter_of("\\boxed{\\frac{1}{2}}", Some(&twice), Convention::choices()), None);
    }
}
