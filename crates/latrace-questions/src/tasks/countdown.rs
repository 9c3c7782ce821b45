//! Countdown: reach a number from three or four others by + - * /, each used at most once.
//!
//! A question is `2 7 8 -> 42`, the numbers in ascending order; an answer is an expression, `( 8 - 2 ) * 7`,
//! and every one with the value is correct. It is worked out in exact fractions, and need not use all
//! numbers.
//!
//! The format is chosen for small models. A number is one token, so digits need not be learned first. Numbers
//! are 1 to 10 and intermediate results 1 to 99, so that the same sums recur often; the larger operand comes
//! first, which halves their number. Every operation except the outermost is in brackets, so there is no
//! precedence to learn. The trace contains the results and the answer does not, so neither can be copied from
//! the other.
//!
//! A trace is steps, `8 - 2 = 6 , 6 * 7 = 42`. In 45 % of questions it begins with two random steps that miss
//! the target, and starts over.
//!
//! The difficulty is the minimum number of numbers in an answer, 2 to 4, with a star if every such answer
//! multiplies or divides.

use std::collections::BTreeMap;

use latrace_objective::Rng;
use latrace_verify::Reason;

use super::expression::{Expression, Operator, Step, read_steps, told};
use super::splits::{Grade, Solution, cap};
use super::{MISTAKE, Rules, TaskText, TraceCheck, arrives, number, sometimes};

const LARGEST_GIVEN: u8 = 10;
const FEWEST_GIVEN: usize = 3;
const MOST_GIVEN: usize = 4;
/// The separator between the numbers and the target.
const ARROW: &str = "->";

/// The task.
pub(super) struct Countdown;

/// Numbers in ascending order, and the target.
pub(super) struct Puzzle {
    numbers: Vec<u8>,
    target: u8,
}

impl Rules for Countdown {
    type Puzzle = Puzzle;
    const WORDS: &'static [&'static str] = &[ARROW, "(", ")", "+", "-", "*", "/", "=", ","];
    const TEXT: TaskText = TaskText {
        meaning: "Reach the number behind the arrow from the numbers before it by + - * /, each number used at most once. An answer is an expression, and every one with that value is right.",
        trace: "A trace writes one operation after the other, each with its result; x withdraws all before it, and the search starts over.",
        difficulty: "the fewest numbers that an answer needs, with a star where every such answer multiplies or divides",
    };

    fn pool(rng: &mut Rng) -> Vec<Grade<Puzzle>> {
        let mut grades: BTreeMap<String, Vec<Puzzle>> = BTreeMap::new();
        for numbers in (FEWEST_GIVEN..=MOST_GIVEN).flat_map(|count| ascending(1, count)) {
            for (target, difficulty) in targets(&numbers) {
                let puzzle = Puzzle { numbers: numbers.clone(), target };
                grades.entry(difficulty.to_string()).or_default().push(puzzle);
            }
        }
        grades.into_iter().map(|(difficulty, puzzles)| cap(Grade { difficulty, puzzles }, rng)).collect()
    }

    fn label(puzzle: &Puzzle) -> String {
        format!("{}-{}", spaced(&puzzle.numbers).replace(' ', "-"), puzzle.target)
    }

    fn question(puzzle: &Puzzle) -> String {
        format!("{} {ARROW} {}", spaced(&puzzle.numbers), puzzle.target)
    }

    fn solve(puzzle: &Puzzle, rng: &mut Rng) -> Solution {
        // Drawn before the solution: in the other order, the same seed would give other traces.
        let mistake = sometimes(rng, |rng| false_start(puzzle, rng));
        let mistake = mistake.map(|steps| format!("{} {MISTAKE} ", told(&steps)));
        let steps = a_shortest(puzzle, rng);
        Solution {
            trace: mistake.unwrap_or_default() + &told(&steps),
            answer: expression(&puzzle.numbers, &steps).to_string(),
        }
    }

    fn judge(question: &str, answer: &str) -> Reason {
        let Some(puzzle) = read(question) else {
            return Reason::BadGold;
        };
        match Expression::parse(answer) {
            None => Reason::Unreadable,
            Some(expression) if solves(&expression, &puzzle) => Reason::Equal,
            Some(_) => Reason::Different,
        }
    }

    fn check_trace(question: &str, trace: &str) -> TraceCheck {
        let Some(puzzle) = read(question) else { return TraceCheck::Unknown };
        TraceCheck::of(arrives(trace, puzzle.target, |words| end_of(&puzzle.numbers, words)))
    }
}

/// The result of the last of some steps; none where one is wrong, or uses a number that is not left.
fn end_of(numbers: &[u8], words: &[&str]) -> Option<u8> {
    let (mut left, mut end) = (numbers.to_vec(), None);
    for step in read_steps(words)? {
        take(&mut left, step.left)?;
        take(&mut left, step.right)?;
        left.push(step.result);
        end = Some(step.result).filter(|_| step.is_right());
        end?;
    }
    end
}

/// The numbers are compared first, because an expression of at most four cannot overflow.
fn solves(expression: &Expression, puzzle: &Puzzle) -> bool {
    available(&puzzle.numbers, expression.numbers())
        && exact(expression).is_some_and(|value| value.is(puzzle.target))
}

fn spaced(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(" ")
}

/// All ascending lists of `count` numbers from `least` on.
fn ascending(least: u8, count: usize) -> Vec<Vec<u8>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    (least..=LARGEST_GIVEN).flat_map(|first| beginning_with(first, count)).collect()
}

fn beginning_with(first: u8, count: usize) -> Vec<Vec<u8>> {
    let rests = ascending(first, count - 1).into_iter();
    rests.map(|rest| [vec![first], rest].concat()).collect()
}

fn read(question: &str) -> Option<Puzzle> {
    let (numbers, target) = question.split_once(ARROW)?;
    Some(Puzzle { numbers: given(numbers)?, target: number(target.trim())? })
}

fn given(text: &str) -> Option<Vec<u8>> {
    // A question may be any text: one word too many is enough to refuse it.
    let words = text.split_whitespace().take(MOST_GIVEN + 1);
    let numbers: Vec<u8> = words.map(number).collect::<Option<_>>()?;
    (1..=MOST_GIVEN).contains(&numbers.len()).then_some(numbers)
}

/// Whether each of `used` is given, as often as it is used.
fn available(given: &[u8], used: Vec<u8>) -> bool {
    // Removed one by one, because a number may be given twice.
    let mut left = given.to_vec();
    used.into_iter().all(|number| take(&mut left, number).is_some())
}

fn take(left: &mut Vec<u8>, number: u8) -> Option<u8> {
    let at = left.iter().position(|&other| other == number)?;
    Some(left.swap_remove(at))
}

/// A fraction, not in lowest terms. Of an expression of n numbers up to 99, both parts are at most 2^(n - 1)
/// 99^n.
#[derive(Clone, Copy)]
struct Fraction {
    numerator: i64,
    denominator: i64,
}

impl Fraction {
    fn whole(number: u8) -> Fraction {
        Fraction { numerator: i64::from(number), denominator: 1 }
    }

    /// `None` on division by zero.
    fn of(numerator: i64, denominator: i64) -> Option<Fraction> {
        (denominator != 0).then_some(Fraction { numerator, denominator })
    }

    fn is(self, whole: u8) -> bool {
        self.numerator == i64::from(whole) * self.denominator
    }
}

/// The value; `None` on division by zero.
fn exact(expression: &Expression) -> Option<Fraction> {
    match expression {
        Expression::Number(number) => Some(Fraction::whole(*number)),
        Expression::Operation(left, operator, right) => combine(exact(left)?, *operator, exact(right)?),
    }
}

fn combine(left: Fraction, operator: Operator, right: Fraction) -> Option<Fraction> {
    let Fraction { numerator: a, denominator: b } = left;
    let Fraction { numerator: c, denominator: d } = right;
    match operator {
        Operator::Add => Fraction::of(a * d + c * b, b * d),
        Operator::Subtract => Fraction::of(a * d - c * b, b * d),
        Operator::Multiply => Fraction::of(a * c, b * d),
        Operator::Divide => Fraction::of(a * d, b * c),
    }
}

/// The numbers left after some steps.
#[derive(Clone, Default)]
struct State {
    numbers: Vec<u8>,
    steps: Vec<Step>,
}

impl State {
    fn start(numbers: &[u8]) -> State {
        State { numbers: numbers.to_vec(), steps: Vec::new() }
    }

    fn reached(&self) -> Option<u8> {
        self.steps.last().map(|step| step.result)
    }

    fn difficulty(&self) -> Difficulty {
        let multiplies = self.steps.iter().any(|step| step.operator.is_product());
        Difficulty { numbers: self.steps.len() + 1, multiplies }
    }

    /// All distinct successor states: equal numbers lead to the same one more than once.
    fn onwards(&self) -> Vec<State> {
        let mut states: Vec<State> = Vec::new();
        for next in pairs(self.numbers.len()).flat_map(|pair| self.after(pair)) {
            // Equal steps from the same numbers leave the same numbers.
            if !states.iter().any(|state| state.steps == next.steps) {
                states.push(next);
            }
        }
        states
    }

    /// States after each step with the two numbers at `pair`. Steps whose result is 0 or one of the two are
    /// skipped, because no shortest solution has one.
    fn after(&self, pair: (usize, usize)) -> impl Iterator<Item = State> {
        let (one, other) = (self.numbers[pair.0], self.numbers[pair.1]);
        // The larger operand first: the other way round, subtraction and division have no result.
        let (left, right) = (one.max(other), one.min(other));
        let steps = Operator::ALL.into_iter().filter_map(move |operator| Step::of(left, operator, right));
        let useful = steps.filter(move |step| ![0, left, right].contains(&step.result));
        useful.map(move |step| self.with(pair, step))
    }

    fn with(&self, (first, second): (usize, usize), step: Step) -> State {
        let mut next = self.clone();
        // The later index first, so that the other stays valid.
        next.numbers.remove(second);
        next.numbers.remove(first);
        next.numbers.push(step.result);
        next.steps.push(step);
        next
    }
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |first| (first + 1..count).map(move |second| (first, second)))
}

/// States by the number of steps that led to them, from 1 on.
fn levels(numbers: &[u8]) -> impl Iterator<Item = Vec<State>> {
    let mut states = vec![State::start(numbers)];
    (1..numbers.len()).map(move |_| {
        states = states.iter().flat_map(State::onwards).collect();
        states.clone()
    })
}

/// Difficulty of a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Difficulty {
    numbers: usize,
    multiplies: bool,
}

impl std::fmt::Display for Difficulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.numbers, if self.multiplies { "*" } else { "" })
    }
}

/// Targets reachable from `numbers` and not among them, each with its least difficulty.
fn targets(numbers: &[u8]) -> BTreeMap<u8, Difficulty> {
    let mut targets: BTreeMap<u8, Difficulty> = BTreeMap::new();
    for state in levels(numbers).flatten() {
        if let Some(reached) = state.reached().filter(|reached| !numbers.contains(reached)) {
            let difficulty = state.difficulty();
            targets.entry(reached).and_modify(|least| *least = difficulty.min(*least)).or_insert(difficulty);
        }
    }
    targets
}

/// The final states of all shortest solutions.
fn shortest(puzzle: &Puzzle) -> Vec<State> {
    // Each level has one step more than the one before, so the first with a solution has all of the shortest.
    let mut arrived = levels(&puzzle.numbers).map(|level| arrived(level, puzzle.target));
    arrived.find(|states| !states.is_empty()).unwrap_or_default()
}

fn arrived(level: Vec<State>, target: u8) -> Vec<State> {
    level.into_iter().filter(|state| state.reached() == Some(target)).collect()
}

/// The steps of a shortest solution, uniformly among all.
fn a_shortest(puzzle: &Puzzle, rng: &mut Rng) -> Vec<Step> {
    let mut all = shortest(puzzle);
    // Every puzzle of the pool has a solution.
    if all.is_empty() { Vec::new() } else { all.swap_remove(rng.below(all.len())).steps }
}

/// Two steps that never reach the target, uniformly among all such pairs; `None` if there is none.
fn false_start(puzzle: &Puzzle, rng: &mut Rng) -> Option<Vec<Step>> {
    let misses = |state: &State| state.reached() != Some(puzzle.target);
    let first = State::start(&puzzle.numbers).onwards().into_iter().filter(misses);
    // The first step must miss as well: a trace that has reached the target does not start over.
    let second: Vec<State> = first.flat_map(|state| state.onwards()).filter(misses).collect();
    second.get(rng.below(second.len())).map(|state| state.steps.clone())
}

/// Steps as one expression.
fn expression(numbers: &[u8], steps: &[Step]) -> Expression {
    let mut parts = Parts::of(numbers);
    for step in steps {
        let (left, right) = (parts.take(step.left), parts.take(step.right));
        parts.0.push((step.result, Expression::operation(left, step.operator, right)));
    }
    parts.0.pop().map_or(Expression::Number(0), |(_, expression)| expression)
}

/// The parts of an unfinished expression, with their values.
struct Parts(Vec<(u8, Expression)>);

impl Parts {
    fn of(numbers: &[u8]) -> Parts {
        Parts(numbers.iter().map(|&number| (number, Expression::Number(number))).collect())
    }

    /// If a number is both given and computed, either may be taken: every step of a shortest solution is
    /// needed. The latest is.
    fn take(&mut self, value: u8) -> Expression {
        let at = self.0.iter().rposition(|(other, _)| *other == value);
        at.map_or(Expression::Number(value), |at| self.0.remove(at).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use crate::tasks::tests::{check_uniform, traced};
    use std::collections::BTreeSet;

    fn steps(text: &str) -> Vec<Step> {
        let step = |text: &str| {
            let words: Vec<&str> = text.split(' ').collect();
            let operator = Operator::ALL.into_iter().find(|operator| operator.word() == words[1]).unwrap();
            let step = Step::of(number(words[0]).unwrap(), operator, number(words[2]).unwrap()).unwrap();
            assert_eq!(step.to_string(), text);
            step
        };
        text.split(" , ").map(step).collect()
    }

    /// The numbers left after `steps`; fails where a step uses what is not there.
    #[track_caller]
    fn left_after(numbers: &[u8], steps: &[Step]) -> Vec<u8> {
        let mut left = numbers.to_vec();
        for step in steps {
            for used in [step.left, step.right] {
                left.remove(left.iter().position(|&number| number == used).unwrap());
            }
            left.push(step.result);
        }
        left
    }

    #[test]
    fn traces_end_in_their_answer() {
        for question in traced(Task::Countdown, 3000, 3) {
            let (puzzle, trace) = (read(&question.question).unwrap(), question.trace.unwrap());
            let parts: Vec<Vec<Step>> = trace.split(" x ").map(steps).collect();
            parts.iter().for_each(|steps| drop(left_after(&puzzle.numbers, steps)));
            let last = parts.last().unwrap();
            assert_eq!(last.last().unwrap().result, puzzle.target);
            let answer = Expression::parse(question.answer.as_ref().unwrap()).unwrap();
            let sorted = |steps: &[Step]| steps.iter().copied().collect::<BTreeSet<_>>();
            assert_eq!(sorted(&answer.steps().unwrap()), sorted(last), "{trace} but {answer}");
            assert!(
                parts.len() == 1
                    || parts.len() == 2
                        && parts[0].len() == 2
                        && parts[0].iter().all(|step| step.result != puzzle.target),
                "{trace}"
            );
        }
    }

    /// The fewest numbers that reach each value, and whether that takes a product: every expression of every
    /// choice of numbers, worked out one by one.
    fn difficulties_reference(numbers: &[u8]) -> BTreeMap<u8, (usize, bool)> {
        let mut found: BTreeMap<u8, (usize, bool)> = BTreeMap::new();
        for choice in 1_u32..1 << numbers.len() {
            let chosen: Vec<u8> =
                (0..numbers.len()).filter(|at| choice >> at & 1 == 1).map(|at| numbers[at]).collect();
            for (value, multiplies) in values_reference(&chosen) {
                let candidate = (chosen.len(), multiplies);
                found.entry(value).and_modify(|best| *best = candidate.min(*best)).or_insert(candidate);
            }
        }
        found
    }

    /// Values of the expressions that use all of `numbers`, by every split into two sides.
    fn values_reference(numbers: &[u8]) -> BTreeSet<(u8, bool)> {
        if numbers.len() == 1 {
            return BTreeSet::from([(numbers[0], false)]);
        }
        let mut values = BTreeSet::new();
        for side in 1_u32..(1 << numbers.len()) - 1 {
            let (left, right): (Vec<usize>, Vec<usize>) =
                (0..numbers.len()).partition(|at| side >> at & 1 == 1);
            let of = |side: Vec<usize>| {
                values_reference(&side.into_iter().map(|at| numbers[at]).collect::<Vec<_>>())
            };
            let (left, right) = (of(left), of(right));
            for ((a, one), (b, other)) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
                let results = Operator::ALL.into_iter().filter_map(|operator| {
                    Some((operator.apply(a, b)?, one || other || operator.is_product()))
                });
                values.extend(results);
            }
        }
        values
    }

    #[test]
    fn difficulties_are_those_of_all_expressions() {
        for numbers in [
            vec![1, 1, 1],
            vec![2, 7, 8],
            vec![1, 2, 3, 4],
            vec![3, 3, 8, 8],
            vec![5, 5, 5, 5],
            vec![1, 4, 9, 10],
        ] {
            let mut expected = difficulties_reference(&numbers);
            expected.retain(|value, _| *value != 0 && !numbers.contains(value));
            let found: BTreeMap<u8, (usize, bool)> = targets(&numbers)
                .into_iter()
                .map(|(target, least)| (target, (least.numbers, least.multiplies)))
                .collect();
            assert_eq!(found, expected, "{numbers:?}");
        }
    }

    #[test]
    fn reference_answers_use_as_few_numbers_as_the_difficulty_says() {
        for question in traced(Task::Countdown, 3000, 4) {
            let (answer, difficulty) =
                (Expression::parse(question.answer.as_ref().unwrap()).unwrap(), question.difficulty.unwrap());
            assert_eq!(answer.numbers().len().to_string(), difficulty.trim_end_matches('*'), "{answer}");
            let multiplies = answer.steps().unwrap().iter().any(|step| step.operator.is_product());
            assert!(multiplies || !difficulty.ends_with('*'), "{answer} at {difficulty}");
        }
    }

    #[test]
    fn shortest_ways_are_equally_likely() {
        let puzzle = Puzzle { numbers: vec![2, 3, 4, 9], target: 10 };
        let ways: Vec<String> = shortest(&puzzle).iter().map(|state| told(&state.steps)).collect();
        assert!(ways.len() > 3, "{ways:?}");
        assert_eq!(ways.iter().collect::<BTreeSet<_>>().len(), ways.len());
        check_uniform(&ways, |draw| {
            let trace = Countdown::solve(&puzzle, &mut Rng::at(2, &[draw])).trace;
            trace.rsplit(" x ").next().unwrap().to_owned()
        });
    }

    #[track_caller]
    fn check(question: &str, answer: &str, expected: Reason) {
        assert_eq!(Task::Countdown.judge(question, answer).reason, expected, "{question}: {answer}");
    }

    #[test]
    fn every_expression_with_the_value_is_right() {
        check("2 7 8 -> 42", "( 8 - 2 ) * 7", Reason::Equal);
        check("2 7 8 -> 42", "7 * ( 8 - 2 )", Reason::Equal);
        check("2 7 8 -> 42", "7 * 8 - 2 * 7", Reason::Different);
        check("2 7 8 -> 15", "8 + 7", Reason::Equal);
        check("2 7 8 -> 42", "8 - 2 * 7", Reason::Different);
        check("3 3 8 8 -> 24", "8 / ( 3 - 8 / 3 )", Reason::Equal);
        check("1 3 3 -> 1", "1 / 3 * 3", Reason::Equal);
        check("2 5 7 -> 4", "2 - 5 + 7", Reason::Equal);
        check("2 5 7 -> 0", "( 2 + 5 ) - 7", Reason::Equal);
        check("7 -> 7", "7", Reason::Equal);
    }

    #[track_caller]
    fn check_trace(question: &str, trace: &str, expected: TraceCheck) {
        assert_eq!(Task::Countdown.check_trace(question, trace), expected, "{question}: {trace}");
    }

    #[test]
    fn a_trace_is_valid_where_each_step_uses_what_is_left_and_the_last_attempt_arrives() {
        check_trace("2 7 8 -> 42", "8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Valid);
        check_trace("2 7 8 -> 42", "8 + 7 = 15 , 15 - 2 = 13 x 8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Valid);
        check_trace("2 7 8 -> 42", "8 - 2 = 6", TraceCheck::Invalid);
        // Forced onto the target: a wrong result, a number that is not given, one that is used up.
        check_trace("2 7 8 -> 42", "8 - 2 = 6 , 6 + 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "6 * 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "7 * 7 = 49 , 49 - 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "8 - 2 = 5 , 5 + 7 = 12 x 8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "8 - 2 = 6 , 6 * 7 = 42 x 8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "x 8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Invalid);
        check_trace("2 7 8 -> 42", "", TraceCheck::Invalid);
        check_trace("2 7 8 42", "8 - 2 = 6 , 6 * 7 = 42", TraceCheck::Unknown);
    }

    #[test]
    fn numbers_are_used_as_often_as_they_are_given() {
        check("2 7 8 -> 16", "8 + 8", Reason::Different);
        check("2 8 8 -> 16", "8 + 8", Reason::Equal);
        check("2 7 8 -> 42", "42", Reason::Different);
        check("2 7 8 -> 42", "6 * 7", Reason::Different);
    }

    #[test]
    fn what_has_no_value_is_not_right() {
        check("2 2 7 -> 0", "7 / ( 2 - 2 )", Reason::Different);
        check("2 2 7 -> 7", "7 + ( 2 - 2 ) / ( 2 - 2 )", Reason::Different);
        check("2 7 8 -> 42", "( 8 - 2 ) * 7 = 42", Reason::Unreadable);
        check("2 7 8 -> 42", "( 8 - 2 * 7", Reason::Unreadable);
        check("2 7 8 -> 42", "", Reason::NoAnswer);
        check("2 7 8 42", "( 8 - 2 ) * 7", Reason::BadGold);
        check("2 7 8 8 8 -> 42", "( 8 - 2 ) * 7", Reason::BadGold);
        check("-> 42", "( 8 - 2 ) * 7", Reason::BadGold);
    }
}
