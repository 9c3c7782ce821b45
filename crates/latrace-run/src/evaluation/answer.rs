//! Extracts the part of a response that is judged: the answer after the thought, and nothing if the thought
//! was not finished.

use latrace_core::Markers;

/// The part of a response that counts as its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The text after the thought.
    Given(&'a str),
    /// The whole response, which has no thought: an answer given at once.
    AtOnce(&'a str),
    /// The thought has no end.
    Unclosed,
    /// The response was truncated at the token limit before the thought ended, so its text is not an answer.
    Truncated,
}

/// The answer in `response`. `opened`: the prompt opened the thought; `truncated`: the response hit the token
/// limit.
pub fn answer_of<'a>(response: &'a str, opened: bool, truncated: bool, markers: &Markers) -> Answer<'a> {
    match markers.split(response) {
        Some((_, answer)) => Answer::Given(answer),
        None if truncated => Answer::Truncated,
        None if opened || markers.holds_open(response) => Answer::Unclosed,
        None => Answer::AtOnce(response),
    }
}

impl<'a> Answer<'a> {
    /// The text that is judged, if there is any.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Answer::Given(text) | Answer::AtOnce(text) => Some(text),
            // Nothing in an unfinished thought is an answer, however much it looks like one.
            Answer::Unclosed | Answer::Truncated => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: &str, response: &str, opened: bool, truncated: bool, expected: Answer<'_>) {
        assert_eq!(
            answer_of(response, opened, truncated, &Markers::named(family).unwrap()),
            expected,
            "{response:?}"
        );
    }

    #[test]
    fn the_answer_stands_behind_the_thought() {
        check("think", "so 4\n</think>\n\n\\boxed{4}", true, false, Answer::Given("\\boxed{4}"));
        check("think", "<think>\nso 4\n</think>\n\n\\boxed{4}", false, false, Answer::Given("\\boxed{4}"));
        check(
            "stratos",
            "why\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n4\n\n<|end_of_solution|>",
            true,
            false,
            Answer::Given("4"),
        );
        // The answer may be cut; its thought is whole.
        check("think", "so 4</think> The answer is", true, true, Answer::Given("The answer is"));
    }

    #[test]
    fn a_thought_without_an_end_has_no_answer() {
        check("think", "so \\boxed{4}", true, false, Answer::Unclosed);
        check("think", "<think> so \\boxed{4}", false, false, Answer::Unclosed);
        check("think", "so \\boxed{4}", true, true, Answer::Truncated);
    }

    #[test]
    fn a_response_without_a_thought_is_all_answer_unless_it_was_cut() {
        check("think", "2 + 2 = 4, so \\boxed{4}", false, false, Answer::AtOnce("2 + 2 = 4, so \\boxed{4}"));
        check("think", "2 + 2 = 4, so", false, true, Answer::Truncated);
    }

    #[test]
    fn where_nothing_opens_a_thought_only_its_end_tells_of_one() {
        let markers = Markers {
            open: String::new(),
            close: "####".to_owned(),
            cut: "####".to_owned(),
            ..Markers::named("think").unwrap()
        };
        let of = |response: &'static str, truncated| answer_of(response, false, truncated, &markers);
        assert_eq!(of("2 + 2 = 4 #### 4", false), Answer::Given("4"));
        assert_eq!(of("It is 4.", false), Answer::AtOnce("It is 4."));
        assert_eq!(of("It is", true), Answer::Truncated);
    }
}
