//! Arithmetic: the value of a nested expression.
//!
//! A question is `( 3 + 4 ) * 2`, with every operation except the outermost in brackets and numbers from 1 to
//! 9; the answer is one number. All intermediate values are 0 to 99, each a single token. The difficulty is
//! the number of operations, 1 to 6.
//!
//! A trace evaluates the operations from the inside out: `3 + 4 = 7 , 7 * 2 = 14`. In 45 % of questions one
//! step is first written with a wrong result close to the right one, and corrected at once: `3 + 4 = 9 x 3 +
//! 4 = 7 , …`.

use std::collections::{BTreeSet, HashSet};

use latrace_objective::Rng;
use latrace_verify::Reason;

use super::expression::{Expression, Operator, Step, read_steps, told};
use super::splits::{Grade, PER_GRADE, Solution};
use super::{LARGEST, MISTAKE, Rules, TaskText, TraceCheck, number, sometimes};

const OPERATORS: [Operator; 3] = [Operator::Add, Operator::Subtract, Operator::Multiply];
const LARGEST_GIVEN: u8 = 9;
const MOST_DIFFICULT: usize = 6;
/// Maximum distance of a wrong result from the right one.
const NEAR: u8 = 9;

/// The task.
pub(super) struct Arithmetic;

impl Rules for Arithmetic {
    type Puzzle = Expression;
    const WORDS: &'static [&'static str] = &["(", ")", "+", "-", "*", "=", ","];
    const TEXT: TaskText = TaskText {
        meaning: "Work out the value of an expression, in which every operation but the outermost has brackets. One number is right.",
        trace: "A trace works out one operation after the other, from the inside; x withdraws a wrong result, and the step is written again.",
        difficulty: "the operations in the expression",
    };

    fn pool(rng: &mut Rng) -> Vec<Grade<Expression>> {
        (1..=MOST_DIFFICULT).map(|operations| grade(operations, rng)).collect()
    }

    fn label(expression: &Expression) -> String {
        expression.to_string().replace(' ', "")
    }

    fn question(expression: &Expression) -> String {
        expression.to_string()
    }

    fn solve(expression: &Expression, rng: &mut Rng) -> Solution {
        let mut steps = expression.steps().unwrap_or_default();
        let answer = steps.last().map_or(String::new(), |step| step.result.to_string());
        let trace = match sometimes(rng, |rng| wrong_step(&steps, rng)) {
            Some((at, wrong)) => {
                // The same step follows once more, with its right result.
                let rest = steps.split_off(at);
                steps.push(wrong);
                format!("{} {MISTAKE} {}", told(&steps), told(&rest))
            }
            None => told(&steps),
        };
        Solution { trace, answer }
    }

    fn judge(question: &str, answer: &str) -> Reason {
        let value = Expression::parse(question).and_then(|expression| expression.value());
        match (value, number(answer)) {
            (None, _) => Reason::BadGold,
            (Some(_), None) => Reason::Unreadable,
            (Some(value), Some(answer)) if answer == value => Reason::Equal,
            _ => Reason::Different,
        }
    }

    fn check_trace(question: &str, trace: &str) -> TraceCheck {
        // Longer expressions than the task's are not followed: the ways to read a trace grow exponentially.
        let is_of_task =
            |expression: &Expression| expression.steps().is_some_and(|steps| steps.len() <= MOST_DIFFICULT);
        match Expression::parse(question).filter(is_of_task) {
            None => TraceCheck::Unknown,
            Some(expression) => {
                TraceCheck::of(kept_steps(trace).is_some_and(|steps| works_out(expression, steps)))
            }
        }
    }
}

/// Whether steps, in whatever order they can be taken, leave a number of an expression.
fn works_out(expression: Expression, steps: Vec<Step>) -> bool {
    // Equal operations at several places are the same step: every expression that may be left is kept.
    let mut left = HashSet::from([expression]);
    for step in steps {
        left =
            left.iter().filter(|_| step.is_right()).flat_map(|expression| expression.after(&step)).collect();
    }
    left.iter().any(|expression| matches!(expression, Expression::Number(_)))
}

/// The steps of a trace that are not marked as mistakes; none where a mark follows a right step, or another step
/// than the mistaken one follows the mark.
fn kept_steps(trace: &str) -> Option<Vec<Step>> {
    let words: Vec<&str> = trace.split_whitespace().collect();
    let mut kept: Vec<Step> = Vec::new();
    for steps in words.split(|word| *word == MISTAKE).map(read_steps) {
        let steps = steps?;
        if let Some(mistake) = kept.pop() {
            let is_corrected = steps.first().is_some_and(|step| step.repeats(&mistake));
            if mistake.is_right() || !is_corrected {
                return None;
            }
        }
        kept.extend(steps);
    }
    Some(kept)
}

fn grade(operations: usize, rng: &mut Rng) -> Grade<Expression> {
    // There are fewer expressions of one operation than a grade holds: drawing that many would never end.
    let puzzles = if operations == 1 { simple() } else { drawn(operations, rng) };
    Grade { difficulty: operations.to_string(), puzzles }
}

/// One of the steps with a wrong result, and its place.
fn wrong_step(steps: &[Step], rng: &mut Rng) -> Option<(usize, Step)> {
    let at = rng.below(steps.len());
    let step = *steps.get(at)?;
    Some((at, Step { result: slip(step.result, rng), ..step }))
}

/// All expressions of one operation.
fn simple() -> Vec<Expression> {
    let numbers = || 1..=LARGEST_GIVEN;
    let pairs = numbers().flat_map(|left| numbers().map(move |right| (left, right)));
    let all = pairs.flat_map(|(left, right)| {
        let [left, right] = [left, right].map(Expression::Number);
        OPERATORS.map(|operator| Expression::operation(left.clone(), operator, right.clone()))
    });
    all.filter(|expression| expression.value().is_some()).collect()
}

/// As many distinct random expressions as a grade holds; with two or more operations there are many more than
/// that.
fn drawn(operations: usize, rng: &mut Rng) -> Vec<Expression> {
    let (mut seen, mut expressions) = (BTreeSet::new(), Vec::new());
    while expressions.len() < PER_GRADE {
        let drawn = draw(operations, rng).filter(|(expression, _)| seen.insert(expression.to_string()));
        expressions.extend(drawn.map(|(expression, _)| expression));
    }
    expressions
}

/// A random expression and its value; `None` if no operator has a result with a token. Splits the operations
/// at random between the two sides, so that expressions are of all shapes.
fn draw(operations: usize, rng: &mut Rng) -> Option<(Expression, u8)> {
    if operations == 0 {
        let number = 1 + rng.below(usize::from(LARGEST_GIVEN)) as u8;
        return Some((Expression::Number(number), number));
    }
    let before = rng.below(operations);
    let (left, right) = (draw(before, rng)?, draw(operations - 1 - before, rng)?);
    let (operator, value) = draw_operator(left.1, right.1, rng)?;
    Some((Expression::operation(left.0, operator, right.0), value))
}

/// An operator whose result has a token, and the result.
fn draw_operator(left: u8, right: u8, rng: &mut Rng) -> Option<(Operator, u8)> {
    let result = |operator: Operator| Some((operator, operator.apply(left, right)?));
    let results: Vec<(Operator, u8)> = OPERATORS.into_iter().filter_map(result).collect();
    // `None` if no operator has a result: `below(0)` is 0, and there is no element.
    results.get(rng.below(results.len())).copied()
}

/// A wrong result close to the right one.
fn slip(right: u8, rng: &mut Rng) -> u8 {
    let near: Vec<u8> = (right.saturating_sub(NEAR)..=LARGEST.min(right.saturating_add(NEAR)))
        .filter(|&wrong| wrong != right)
        .collect();
    near.get(rng.below(near.len())).copied().unwrap_or(right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use crate::tasks::tests::traced;

    /// Rewrites the first innermost operation as its value, until one number is left; every step that this
    /// takes.
    fn steps_reference(question: &str) -> Vec<String> {
        let (mut text, mut steps) = (format!("( {question} )"), Vec::new());
        while let Some(close) = text.find(" )") {
            let open = text[..close].rfind("( ").unwrap();
            let inner = text[open + 2..close].to_owned();
            let words: Vec<&str> = inner.split(' ').collect();
            let (left, right): (i32, i32) = (words[0].parse().unwrap(), words[2].parse().unwrap());
            let value = match words[1] {
                "+" => left + right,
                "-" => left - right,
                _ => left * right,
            };
            steps.push(format!("{inner} = {value}"));
            text.replace_range(open..close + 2, &value.to_string());
        }
        steps
    }

    #[test]
    fn traces_are_all_steps_in_order_and_end_in_their_answer() {
        for question in traced(Task::Arithmetic, 3000, 3) {
            let trace = question.trace.unwrap();
            let steps = steps_reference(&question.question);
            assert_eq!(question.difficulty.unwrap(), steps.len().to_string());
            assert_eq!(trace.rsplit(' ').next(), question.answer.as_deref());
            let Some((before, after)) = trace.split_once(" x ") else {
                assert_eq!(trace, steps.join(" , "));
                continue;
            };
            let (before, after): (Vec<&str>, Vec<&str>) =
                (before.split(" , ").collect(), after.split(" , ").collect());
            assert_eq!([&before[..before.len() - 1], &after].concat(), steps);
            let (wrong, right) = (before.last().unwrap(), after[0]);
            let (wrong, right) = (wrong.split_once(" = ").unwrap(), right.split_once(" = ").unwrap());
            assert!(
                wrong.0 == right.0
                    && number(wrong.1).unwrap().abs_diff(number(right.1).unwrap()) <= NEAR
                    && wrong.1 != right.1,
                "{trace}"
            );
        }
    }

    #[test]
    fn one_operation_is_every_pair_of_numbers() {
        // 81 sums, 81 products, and the 45 differences that are not negative.
        assert_eq!(simple().len(), 81 + 81 + 45);
        let counts: Vec<usize> =
            Arithmetic::pool(&mut Rng::new(1)).iter().map(|grade| grade.puzzles.len()).collect();
        assert_eq!(counts, [207, PER_GRADE, PER_GRADE, PER_GRADE, PER_GRADE, PER_GRADE]);
    }

    #[track_caller]
    fn check(question: &str, answer: &str, expected: Reason) {
        assert_eq!(Task::Arithmetic.judge(question, answer).reason, expected, "{question}: {answer}");
    }

    #[test]
    fn the_value_alone_is_right() {
        check("( 3 + 4 ) * 2", "14", Reason::Equal);
        check("3 + 4 * 2", "11", Reason::Equal);
        check("( 3 + 4 ) * 2", "7 * 2", Reason::Unreadable);
        check("( 3 + 4 ) * 2", "14 14", Reason::Unreadable);
        check("( 3 + 4 ) * 2", "+14", Reason::Unreadable);
        check("( 3 + 4 ) * 2", "014", Reason::Unreadable);
        check("( 3 + 4 ) * 2", "11", Reason::Different);
        check("( 3 + 4 ) * 2", "114", Reason::Unreadable);
        check("( 3 + 4 ) * 2", "", Reason::NoAnswer);
        check("3 - 4", "-1", Reason::BadGold);
        check("( 3 + 4", "7", Reason::BadGold);
    }

    #[track_caller]
    fn check_trace(question: &str, trace: &str, expected: TraceCheck) {
        assert_eq!(Task::Arithmetic.check_trace(question, trace), expected, "{question}: {trace}");
    }

    #[test]
    fn a_trace_is_valid_where_its_steps_are_those_of_the_question() {
        let question = "( ( 3 + 4 ) - 2 ) * ( 3 + 4 )";
        check_trace(question, "3 + 4 = 7 , 7 - 2 = 5 , 3 + 4 = 7 , 5 * 7 = 35", TraceCheck::Valid);
        check_trace(question, "3 + 4 = 7 , 3 + 4 = 7 , 7 - 2 = 5 , 5 * 7 = 35", TraceCheck::Valid);
        check_trace(
            question,
            "3 + 4 = 8 x 3 + 4 = 7 , 7 - 2 = 5 , 3 + 4 = 7 , 5 * 7 = 35",
            TraceCheck::Valid,
        );
        check_trace(question, "3 + 4 = 7 , 7 - 2 = 5 , 5 * 7 = 35", TraceCheck::Invalid);
        check_trace(question, "7 - 2 = 5 , 3 + 4 = 7 , 3 + 4 = 7 , 5 * 7 = 35", TraceCheck::Invalid);
        // Forced onto the value.
        check_trace("( 3 + 4 ) * 2", "3 + 4 = 9 , 9 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "3 + 4 = 9 , 7 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "7 * 2 = 14", TraceCheck::Invalid);
        // A mistake that is none, and one that is not corrected.
        check_trace("( 3 + 4 ) * 2", "3 + 4 = 7 x 3 + 4 = 7 , 7 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "3 + 5 = 9 x 3 + 4 = 7 , 7 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "x 3 + 4 = 7 , 7 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "3 + 4 = 7 , 7 * 2 = 14 , 7 * 2 = 14", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "3 + 4 = 7 , 7 * 2 = 14 x", TraceCheck::Invalid);
        check_trace("( 3 + 4 ) * 2", "", TraceCheck::Invalid);
        check_trace("7", "7", TraceCheck::Invalid);
        check_trace("( 3 + 4", "3 + 4 = 7", TraceCheck::Unknown);
        check_trace(&["1 * 1"; 16].join(" + "), "1 * 1 = 1", TraceCheck::Unknown);
    }

    #[test]
    fn slips_stay_in_range() {
        let slips: BTreeSet<u8> = (0..500).map(|draw| slip(97, &mut Rng::at(0, &[draw]))).collect();
        assert_eq!(slips, (88..=99).filter(|&value| value != 97).collect());
        assert!((0..500).all(|draw| (1..=9).contains(&slip(0, &mut Rng::at(0, &[draw])))));
    }
}
