//! Where the answer stands in a response.
//!
//! The thought is dropped; then a [`Convention`] says which places count, in which order.

mod boxed;
mod conclusion;
mod convention;
mod phrase;
mod thought;
mod tidy;
mod value;

use crate::letter::MOST_OPTIONS;
use crate::statement::{Letters, stated};
use boxed::Boxed;
pub(crate) use convention::Place;
pub use convention::{Convention, UnknownConvention};
pub use thought::visible;

/// What a place holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// An answer, and the list that it is the last member of, where boxes stand side by side.
    Answer(String, Option<String>),
    /// The place is there and holds no answer.
    Nothing,
    /// The place is not there.
    Absent,
}

impl Found {
    fn of(text: Option<impl AsRef<str>>) -> Found {
        let answer = text.and_then(|text| non_empty(text.as_ref()));
        answer.map_or(Found::Absent, |answer| Found::Answer(answer, None))
    }
}

/// What `place` of a response's visible text holds.
pub(crate) fn look(text: &str, place: &Place) -> Found {
    match place {
        Place::Box { join } => look_in_box(text, *join),
        Place::Words { words, ends, alone: false } => Found::of(phrase::after(text, words, ends)),
        Place::Words { words, alone: true, .. } => Found::of(phrase::alone_after(text, words)),
        Place::BareAnswer => Found::of(value::bare(text)),
        Place::WholeText => Found::of(Some(text)),
        Place::LastValue => Found::of(conclusion::of(text)),
        Place::LastNumber => Found::of(value::last_number(text).map(|(_, number)| number)),
        Place::LastLetter => Found::of(stated(text, &Letters::without_texts(MOST_OPTIONS)).map(String::from)),
    }
}

fn look_in_box(text: &str, join: bool) -> Found {
    match boxed::last(text) {
        Boxed::Found(content) => match non_empty(content) {
            Some(answer) => Found::Answer(answer, join.then(|| boxed::joined(text)).flatten()),
            None => Found::Nothing,
        },
        Boxed::Unusable => Found::Nothing,
        Boxed::Absent => Found::Absent,
    }
}

/// What follows the last box of a text.
pub(crate) fn behind_boxes(text: &str) -> &str {
    boxed::behind_last(text)
}

/// The answer of a response, and the list that it may be the last member of; `None` where there is none.
pub(crate) fn answers(response: &str, convention: &Convention) -> Option<(String, Option<String>)> {
    match find(response, convention)? {
        // Words behind an announcement may be a sentence of their own: "Answer: The largest n is 34."
        (Place::Words { .. }, answer, _) => Some((tidy::tidy(&concluded(answer)), None)),
        // The list is compared as it stands; only the answer is shown.
        (_, answer, list) => Some((tidy::tidy(&answer), list)),
    }
}

/// The first place of a response that is there, with the answer in it and its list.
fn find<'c>(response: &str, convention: &'c Convention) -> Option<(&'c Place, String, Option<String>)> {
    let text = visible(response)?;
    let mut found = convention.places.iter().map(|place| (place, look(text, place)));
    match found.find(|(_, found)| *found != Found::Absent)? {
        (place, Found::Answer(answer, list)) => Some((place, answer, list)),
        (_, Found::Nothing | Found::Absent) => None,
    }
}

/// What a sentence concludes; all of a text that is no sentence, or concludes nothing.
fn concluded(answer: String) -> String {
    let conclusion = if value::is_bare(answer.trim()) { None } else { conclusion::of(&answer) };
    conclusion.unwrap_or(answer)
}

/// The answer of a response, as it stands there but for braces around arguments; `None` where there is none.
pub fn answer(response: &str, convention: &Convention) -> Option<String> {
    find(response, convention).map(|(_, answer, _)| tidy::tidy(&answer))
}

/// The answer in a reference: its last box, or boxes side by side as a list; what follows `####`; or all of
/// it.
pub fn reference(gold: &str) -> String {
    if let Boxed::Found(content) = boxed::last(gold) {
        return boxed::joined_with_nouns(gold).unwrap_or_else(|| content.trim().to_owned());
    }
    // References of GSM8K are whole solutions, with the answer behind this mark.
    gold.rsplit_once("####").map_or(gold, |(_, answer)| answer).trim().to_owned()
}

fn non_empty(text: &str) -> Option<String> {
    // Models print zero-width spaces and byte-order marks; neither is an answer.
    let blank = |c: char| c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{feff}');
    let trimmed = text.trim_matches(blank);
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(response: &str, expected: Option<&str>) {
        check_by("boxed-first", response, expected);
    }

    #[track_caller]
    fn check_by(convention: &str, response: &str, expected: Option<&str>) {
        assert_eq!(
            answers(response, Convention::named(convention).unwrap()).map(|(answer, _)| answer).as_deref(),
            expected,
            "{response:?}"
        );
    }

    #[test]
    fn the_last_balanced_box_counts() {
        check("\\boxed{1} then \\boxed{2}.", Some("2"));
        check("\\boxed{\\boxed{5}}", Some("5"));
        check("\\boxed{\\frac{1}{2}} and \\boxed{3", Some("\\frac{1}{2}"));
        check("\\fbox{5}", Some("5"));
        check("$\\boxed 7$", Some("7"));
        check("the answer is 3, \\boxed{}", None);
        check("the answer is \\boxed{3", None);
        check("\\boxed{\\left\\{1,2\\right\\}}", Some("\\left\\{1,2\\right\\}"));
        check("\\boxed{\\frac12}", Some("\\frac{1}{2}"));
    }

    #[test]
    fn boxes_side_by_side_may_be_a_list() {
        let list = |response: &str| answers(response, Convention::maths()).and_then(|(_, list)| list);
        assert_eq!(list("\\boxed{1}, \\boxed{2} and \\boxed{3}").as_deref(), Some("1, 2, 3"));
        assert_eq!(list("$x = \\boxed{1}$ or $x=\\boxed{-2}$.").as_deref(), Some("1, -2"));
        assert_eq!(
            list("\\[\\boxed{(2, 2)} \\quad \\text{and} \\quad \\boxed{(6, 2)}\\]").as_deref(),
            Some("(2, 2), (6, 2)")
        );
        let gap = |blanks: usize| list(&format!("\\boxed{{1}},{}\\boxed{{2}}", "\\quad".repeat(blanks)));
        assert_eq!(gap(11).as_deref(), Some("1, 2"));
        assert_eq!(gap(12), None, "a gap of more than sixty characters joins nothing");
        assert_eq!(list("$abc=\\boxed{1}$ or $abc=\\boxed{2}$").as_deref(), Some("1, 2"));
        assert_eq!(list("$area=\\boxed{1}$ or $area=\\boxed{2}$"), None, "a word is no name");
        assert_eq!(list("first \\boxed{1}. Then corrected: \\boxed{2}"), None);
        assert_eq!(list("\\boxed{1} \\boxed{2}"), None);
        assert_eq!(list("\\boxed{1} is wrong, \\boxed{2}"), None);
        assert_eq!(reference("\\boxed{1} papers and \\boxed{2} bins"), "1, 2");
        assert_eq!(reference("We find \\boxed{1}. In all: \\boxed{2}"), "2");
    }

    #[test]
    fn a_thought_holds_no_answer() {
        check("<think>\\boxed{1}</think> The answer is 2.", Some("2"));
        check("<think>\\boxed{1}", None);
        check("<think>a</think><reasoning>\\boxed{1}</reasoning>\\boxed{2}", Some("2"));
        check("\\boxed{1}<|im_end|>\\boxed{2}<|endoftext|>", Some("1"));
        check("<answer>\\boxed{1}</answer>\\boxed{2}", Some("1"));
        check("\\boxed{1}</think>\\boxed{2}", Some("2"));
        check(
            "<|begin_of_thought|>\\boxed{1}<|end_of_thought|>\
             <|begin_of_solution|>\\boxed{6}<|end_of_solution|>",
            Some("6"),
        );
    }

    #[test]
    fn words_come_before_bare_values() {
        check("So the answer is: $42$", Some("42"));
        check("The final answer is $64$. I hope it is correct.", Some("64"));
        check("The answer is 5, not 6.", Some("5"));
        check("He has 3.\n#### 1,234", Some("1,234"));
        check("The final answer is **17**.", Some("17"));
        check("# Answer\n\n42", Some("42"));
    }

    #[test]
    fn without_words_the_last_value_counts() {
        check("There are 2 here and then we find 10", Some("10"));
        check("In the end we see that it costs $1,250.50 in all.", Some("1,250.50"));
        check("So we conclude that the sum equals $x+1$.", Some("x+1"));
        check("125 miles", Some("125 miles"));
        check("x\ny\nz", Some("x\ny\nz"));
        check("w\nx\ny\n4", Some("4"));
        check("It is not 5", None);
        check("So $x$ is 5", Some("5"));
        check("We get $x$ in 5", None);
        check("The answer isn't 5.", None);
        check("we cannot tell from what is given here", None);
    }

    #[test]
    fn a_sentence_that_concludes_states_its_last_value() {
        check("Therefore, x = 42.", Some("x = 42"));
        check("I think it is 42.", Some("42"));
        check("Final Answer: The largest n is 34.", Some("34"));
        check("Answer $9$", Some("9"));
        check("After solving we get $1/2$", Some("1/2"));
        check("42 is the answer.", Some("42"));
        check("First compute 6*7.\n42", Some("42"));
        check("So 6*7 is computed first\n\n$42$", Some("42"));
        check("= 42", Some("42"));
        check("He runs 9 * 60 = 540 meters in a week.", Some("540 meters"));
        check("It costs $21-$2 = $19 in all", Some("19"));
        check("So the solutions are 2 and 10.", Some("2 and 10"));
        check("It is not 41, it is 42.", Some("42"));
        check("We first thought 41, but it is 42.", Some("42"));
        check("Let n = 3. Then x = 42.", Some("x = 42"));
        check("答案是 42。", Some("42"));
        check("La réponse est 42.", Some("42"));
    }

    #[test]
    fn a_value_that_is_denied_or_left_open_is_no_answer() {
        for text in [
            "The answer cannot be 42",
            "I doubt that the answer is 42.",
            "It would be 42 if n were odd.",
            "If n is odd, it is 42.",
            "42? No.",
            "42 is wrong",
            "x = 42 is extraneous",
            "It is 42 or so",
            "The answer lies between 41 and 43",
            "It is about 42.",
            "We first thought 42, but that was wrong",
            "So x = 42. That is wrong.",
            "So x \\ne 42",
            "Wrong answers\n42",
            "We have 5 at 42",
            "42 is a solution",
            "In the case x = 42",
            "Let x = 42.",
            "It is 42...",
        ] {
            check(text, None);
        }
        check("The answer is 42, which is wrong", None);
        check("The answer is 43. I doubt that the answer is 42.", Some("43"));
        check("The answer is 42. No, the answer is 43.", Some("43"));
    }

    #[test]
    fn a_box_that_its_sentence_denies_does_not_count() {
        check("obviously not \\boxed{42}", None);
        check("So x \\ne \\boxed{42}", None);
        check("I do not think that it is \\boxed{42}", None);
        check("\\boxed{42} is wrong", None);
        check("\\boxed{42}, which is wrong", None);
        check("\\boxed{42}. That is wrong.", None);
        check("\\boxed{41} is wrong; \\boxed{42}", Some("42"));
        check("The answer is \\boxed{42}, not \\boxed{41}.", Some("42"));
        check("not \\boxed{41} but \\boxed{42}", Some("42"));
        check("neither \\boxed{41} nor \\boxed{42}", None);
        // Other words than the box's own sentence change nothing.
        check("Since x is not 0, it is \\boxed{42}", Some("42"));
        check("The number of wrong answers is \\boxed{42}", Some("42"));
        check("The probability of not choosing it is \\boxed{42}", Some("42"));
        check("x is not less than \\boxed{42}", Some("42"));
        check("\\boxed{42}. It is not hard to check.", Some("42"));
    }

    #[test]
    fn a_number_is_taken_with_its_sign_groups_and_fraction() {
        let check = |response: &str, expected: &str| check_by("last-number", response, Some(expected));
        check("From 5 - 3 we get 50%", "50%");
        check("so it is -3.", "-3");
        check("x-3", "3");
        check("about .5", ".5");
        check("1,234.5 or 1/2", "1/2");
        check("one, 1,234.5", "1,234.5");
    }

    #[test]
    fn other_conventions_look_elsewhere() {
        check_by("strict-boxed", "\\boxed{1} so the answer is 2", Some("1"));
        check_by("strict-boxed", "The answer is 2", None);
        check_by("gsm8k", "\\boxed{1}\n#### 42", Some("42"));
        check_by("gsm8k", "It is \\boxed{1} of 3", Some("1"));
        check_by("gsm8k", "He has 3 and then 4 apples", Some("4"));
        check_by("last-number", "\\boxed{1} and the answer is 2 of 3.", Some("3"));
        check_by("choice-letter", "It must be (B).", Some("It must be (B)."));
        check_by("whole-text", "an ellipse", Some("an ellipse"));
    }
}
