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
    /// The response was truncated at the token limit, and has no thought: what it says so far is not its answer.
    Cut,
}

/// Whether the prompt of a response opened a thought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Opening {
    /// It did.
    Opened,
    /// It left that to the model.
    Unopened,
    /// The prompt is not known.
    #[default]
    Unknown,
}

impl Opening {
    /// That of a prompt which ends with the marker that opens a thought, or does not.
    pub fn of(opens: bool) -> Opening {
        if opens { Opening::Opened } else { Opening::Unopened }
    }
}

/// The answer in `response`; `truncated`: it hit the token limit.
pub fn answer_of<'a>(response: &'a str, opening: Opening, truncated: bool, markers: &Markers) -> Answer<'a> {
    let has_thought = opening == Opening::Opened || markers.holds_open(response);
    match markers.split(response) {
        Some((_, answer)) => Answer::Given(answer),
        None if truncated && !has_thought && opening == Opening::Unopened => Answer::Cut,
        None if truncated => Answer::Truncated,
        None if has_thought => Answer::Unclosed,
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
            // Nor is the beginning of an answer.
            Answer::Cut => None,
        }
    }

    /// Whether the response has a thought that does not end, as far as is known.
    pub fn is_unclosed(self) -> bool {
        matches!(self, Answer::Unclosed | Answer::Truncated)
    }

    /// Whether the response has no thought.
    pub fn is_without_thought(self) -> bool {
        matches!(self, Answer::AtOnce(_) | Answer::Cut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(family: &str, response: &str, opened: bool, truncated: bool, expected: Answer<'_>) {
        let opening = if opened { Opening::Opened } else { Opening::Unknown };
        assert_eq!(
            answer_of(response, opening, truncated, &Markers::named(family).unwrap()),
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
        let of =
            |response: &'static str, truncated| answer_of(response, Opening::Unopened, truncated, &markers);
        assert_eq!(of("2 + 2 = 4 #### 4", false), Answer::Given("4"));
        assert_eq!(of("It is 4.", false), Answer::AtOnce("It is 4."));
        assert_eq!(of("It is", true), Answer::Cut);
    }

    #[test]
    fn a_cut_answer_is_a_thought_without_an_end_only_where_a_thought_may_have_begun() {
        let markers = Markers::named("think").unwrap();
        let check = |response: &str, opening: Opening, unclosed: bool, without_thought: bool| {
            let answer = answer_of(response, opening, true, &markers);
            assert_eq!((answer.is_unclosed(), answer.is_without_thought()), (unclosed, without_thought));
            assert_eq!(answer.text(), None);
        };
        check("2 + 2 =", Opening::Unopened, false, true);
        check("<think> 2 + 2 =", Opening::Unopened, true, false);
        check("2 + 2 =", Opening::Opened, true, false);
        // The prompt may have opened one.
        check("2 + 2 =", Opening::Unknown, true, false);
    }
}
