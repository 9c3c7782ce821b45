//! What the answers to a question are compared with.

use latrace_core::Question;
use serde_json::{Value, json};

/// The kind of programs.
const CODE: &str = "code";

/// Whether a question asks for a program.
#[must_use]
pub fn is_code(question: &Question) -> bool {
    question.kind.as_deref() == Some(CODE)
}

/// What the verifier compares with: tests, or the accepted answers, or the solution if there is no answer.
#[must_use]
pub fn reference(question: &Question) -> Value {
    let mut reference = json!({"gold": gold(question).map(|(_, gold)| gold)});
    if let Some(options) = &question.options {
        reference["options"] = json!(options);
    }
    if let Some(limits) = question.rest.get("limits") {
        reference["limits"] = limits.clone();
    }
    reference
}

/// The field that holds what is compared with, and what it holds.
pub(super) fn gold(question: &Question) -> Option<(&'static str, Value)> {
    let tests = question.tests.clone().map(|tests| ("tests", tests));
    let answer = question.answer.as_deref();
    // A program is judged by tests alone: another text beside it is no test, and would make every answer wrong.
    if is_code(question) {
        return tests.or_else(|| Some(("answer", tests_in(answer?)?)));
    }
    let solution = || Some(("solution", json!(question.solution.as_ref()?)));
    tests.or_else(|| Some(("answer", json!(answer?)))).or_else(solution)
}

/// The tests that a text holds: an object or a list, as JSON.
fn tests_in(answer: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(answer).ok()?;
    (value.is_object() || value.is_array()).then(|| json!(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_with_tests_or_the_answer_before_the_solution() {
        let of = |row: Value| reference(&serde_json::from_value(row).unwrap())["gold"].clone();
        assert_eq!(of(json!({"answer": "2", "solution": "So it is 2."})), "2");
        assert_eq!(of(json!({"solution": "So it is 2."})), "So it is 2.");
        assert_eq!(of(json!({"answer": "2", "tests": {"inputs": ["1"]}})), json!({"inputs": ["1"]}));
        assert_eq!(of(json!({})), Value::Null);
        let row = json!({"answer": "A", "options": ["x", "y"], "limits": {"seconds": 2}});
        let expected = json!({"gold": "A", "options": ["x", "y"], "limits": {"seconds": 2}});
        assert_eq!(reference(&serde_json::from_value(row).unwrap()), expected);
    }
}
