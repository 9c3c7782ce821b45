//! A 4 x 4 Latin square: each of the numbers 1 to 4 once in every row and column.
//!
//! A question is the cells, `a` to `p`, row by row, each with its number or with `_` if it is to be filled: `a 1 b _ …`. An
//! answer is the cells to be filled, in the same order, each with its number: `b 2 g 1`; every completion is correct. The
//! difficulty is their number: 6, 8, 10 or 12.
//!
//! A trace fills the cells in another order: next comes a cell with the fewest numbers left. In 45 % of questions it begins
//! with a number that contradicts no other but leads to no completion, where there is one, and starts over.
//!
//! The hint is one completion: with it, nobody has to find out which of the numbers left for a cell lead to one.

use std::collections::BTreeSet;

use latrace_objective::Rng;
use latrace_verify::Reason;

use super::splits::{Grade, PER_GRADE, Solution};
use super::{MISTAKE, Rules, TaskText, TraceCheck, attempts_arrive, number, sometimes};

const SIDE: usize = 4;
const CELLS: usize = SIDE * SIDE;
/// Names of cells, row by row.
const NAMES: [&str; CELLS] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
const BLANK: &str = "_";
/// Numbers of cells to be filled.
const DIFFICULTIES: [usize; 4] = [6, 8, 10, 12];

/// The task.
pub(super) struct Latin;

/// The numbers in the cells, row by row; 0 in those to be filled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Grid([u8; CELLS]);

/// A cell and the number that is written into it.
type Step = (usize, u8);

impl Rules for Latin {
    type Puzzle = Grid;
    const WORDS: &'static [&'static str] =
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", BLANK];
    const TEXT: TaskText = TaskText {
        meaning: "Fill the blanks (_) of a 4 x 4 square, whose cells are named a to p row by row, so that each row and column has each of the numbers 1 to 4 once. An answer is the filled cells with their numbers, and every completion is right.",
        trace: "A trace fills one cell after the other; x withdraws all before it, and the square is filled anew.",
        difficulty: "the cells to be filled",
    };

    fn pool(rng: &mut Rng) -> Vec<Grade<Grid>> {
        let squares = Grid([0; CELLS]).completions();
        DIFFICULTIES.map(|blanks| grade(&squares, blanks, rng)).into()
    }

    fn label(grid: &Grid) -> String {
        grid.0.iter().map(u8::to_string).collect()
    }

    fn question(grid: &Grid) -> String {
        let number = |number: u8| if number == 0 { BLANK.to_owned() } else { number.to_string() };
        let cells: Vec<String> =
            NAMES.iter().zip(grid.0).map(|(name, of)| format!("{name} {}", number(of))).collect();
        cells.join(" ")
    }

    fn solve(grid: &Grid, rng: &mut Rng) -> Solution {
        // Drawn before the completion: in the other order, the same seed would give other traces.
        let mistake = sometimes(rng, |rng| grid.false_start(rng));
        let mistake = mistake.map(|steps| format!("{} {MISTAKE} ", told(&steps)));
        let completions = grid.completions();
        let square = &completions[rng.below(completions.len())];
        let answer: Vec<Step> = grid.blanks().map(|cell| (cell, square.0[cell])).collect();
        Solution { trace: mistake.unwrap_or_default() + &told(&grid.steps_to(square)), answer: told(&answer) }
    }

    fn judge(question: &str, answer: &str) -> Reason {
        let Some(grid) = read(question) else { return Reason::BadGold };
        let words: Vec<&str> = answer.split_whitespace().take(2 * CELLS + 1).collect();
        let Some(steps) = words.chunks(2).map(step).collect::<Option<Vec<Step>>>() else {
            return Reason::Unreadable;
        };
        // In the order of the question, so that an answer has one form.
        let is_sorted = steps.is_sorted_by_key(|&(cell, _)| cell);
        let filled = steps.into_iter().try_fold(grid, |grid, step| grid.with(step));
        let is_right = is_sorted && filled.is_some_and(|grid| grid.is_full());
        if is_right { Reason::Equal } else { Reason::Different }
    }

    fn check_trace(question: &str, trace: &str) -> TraceCheck {
        let Some(grid) = read(question) else { return TraceCheck::Unknown };
        let is_full = |words: &[&str]| Some(grid.after(words)?.is_full());
        TraceCheck::of(attempts_arrive(trace, is_full))
    }
}

fn read(question: &str) -> Option<Grid> {
    let words: Vec<&str> = question.split_whitespace().take(2 * CELLS + 1).collect();
    let number = |(at, of): (usize, &[&str])| match *of {
        [name, BLANK] if name == NAMES[at] => Some(0),
        [name, value] if name == NAMES[at] => number(value).filter(|&number| is_of_square(number)),
        _ => None,
    };
    if words.len() != 2 * CELLS {
        return None;
    }
    let numbers = words.chunks(2).enumerate().map(number).collect::<Option<Vec<u8>>>()?;
    // Numbers that contradict each other are no question, nor is a full square.
    let given = (0..CELLS).zip(numbers).filter(|(_, number)| *number != 0);
    let grid = given.into_iter().try_fold(Grid([0; CELLS]), |grid, step| grid.with(step));
    grid.filter(|grid| !grid.is_full())
}

/// A cell and its number.
fn step(words: &[&str]) -> Option<Step> {
    let &[name, value] = words else { return None };
    Some((NAMES.iter().position(|&known| known == name)?, number(value)?))
}

fn is_of_square(number: u8) -> bool {
    (1..=SIDE as u8).contains(&number)
}

/// Each cell's name, and the number in it.
fn told(steps: &[Step]) -> String {
    let words: Vec<String> =
        steps.iter().map(|&(cell, number)| format!("{} {number}", NAMES[cell])).collect();
    words.join(" ")
}

impl Grid {
    /// The cells to be filled.
    fn blanks(&self) -> impl Iterator<Item = usize> {
        (0..CELLS).filter(|&cell| self.0[cell] == 0)
    }

    fn is_full(&self) -> bool {
        self.blanks().next().is_none()
    }

    /// The grid with one more number; none if the cell has one, or its row or column has this one.
    fn with(&self, (cell, number): Step) -> Option<Grid> {
        if self.0[cell] != 0 || !self.left(cell).any(|left| left == number) {
            return None;
        }
        let mut next = self.clone();
        next.0[cell] = number;
        Some(next)
    }

    /// The numbers that no row or column keeps from a cell.
    fn left(&self, cell: usize) -> impl Iterator<Item = u8> {
        let (row, column) = (cell - cell % SIDE, cell % SIDE);
        // As bits: searches ask this often.
        let taken =
            (0..SIDE).fold(0_u8, |taken, at| taken | 1 << self.0[row + at] | 1 << self.0[column + SIDE * at]);
        (1..=SIDE as u8).filter(move |number| taken & 1 << number == 0)
    }

    /// The cell to fill next: of those with the fewest numbers left, the first.
    fn next(&self) -> Option<usize> {
        self.blanks().min_by_key(|&cell| self.left(cell).count())
    }

    /// All full squares with these numbers.
    fn completions(&self) -> Vec<Grid> {
        let Some(cell) = self.next() else { return vec![self.clone()] };
        self.left(cell)
            .filter_map(|number| self.with((cell, number)))
            .flat_map(|next| next.completions())
            .collect()
    }

    /// How the cells are filled on the way to a full square.
    fn steps_to(&self, square: &Grid) -> Vec<Step> {
        let (mut grid, mut steps) = (self.clone(), Vec::new());
        while let Some(cell) = grid.next() {
            let step = (cell, square.0[cell]);
            steps.push(step);
            match grid.with(step) {
                Some(next) => grid = next,
                None => break,
            }
        }
        steps
    }

    /// The first steps to a random completion, then a number that contradicts no other but leads to none; `None` if there is
    /// no such number on the way.
    fn false_start(&self, rng: &mut Rng) -> Option<Vec<Step>> {
        let completions = self.completions();
        let steps = self.steps_to(&completions[rng.below(completions.len())]);
        let mut ways: Vec<Vec<Step>> = Vec::new();
        let mut grid = self.clone();
        for (done, &step) in steps.iter().enumerate() {
            let astray = grid.left(step.0).filter(|&number| grid.is_astray((step.0, number)));
            ways.extend(astray.map(|number| [&steps[..done], &[(step.0, number)]].concat()));
            grid = grid.with(step)?;
        }
        let chosen = rng.below(ways.len());
        (chosen < ways.len()).then(|| ways.swap_remove(chosen))
    }

    /// Whether a step that contradicts nothing leaves no completion.
    fn is_astray(&self, step: Step) -> bool {
        self.with(step).is_some_and(|next| next.completions().is_empty())
    }

    /// The grid after the steps of an attempt; none where one of them is wrong.
    fn after(&self, words: &[&str]) -> Option<Grid> {
        if words.is_empty() {
            return None;
        }
        words.chunks(2).try_fold(self.clone(), |grid, words| grid.with(step(words)?))
    }
}

/// Distinct random puzzles with so many cells to be filled.
fn grade(squares: &[Grid], blanks: usize, rng: &mut Rng) -> Grade<Grid> {
    let mut puzzles = BTreeSet::new();
    while puzzles.len() < PER_GRADE {
        puzzles.insert(draw(squares, blanks, rng));
    }
    Grade { difficulty: blanks.to_string(), puzzles: puzzles.into_iter().collect() }
}

fn draw(squares: &[Grid], blanks: usize, rng: &mut Rng) -> Grid {
    let mut grid = squares[rng.below(squares.len())].clone();
    let mut cells: Vec<usize> = (0..CELLS).collect();
    rng.shuffle(&mut cells);
    cells[..blanks].iter().for_each(|&cell| grid.0[cell] = 0);
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use crate::tasks::tests::{check_uniform, traced};

    fn squares() -> Vec<Grid> {
        Grid([0; CELLS]).completions()
    }

    /// The squares that agree with a grid.
    fn completions_reference(grid: &Grid, squares: &[Grid]) -> Vec<Grid> {
        let agrees = |square: &&Grid| {
            grid.0.iter().zip(square.0).all(|(&given, number)| given == 0 || given == number)
        };
        squares.iter().filter(agrees).cloned().collect()
    }

    #[test]
    fn there_are_576_squares_each_with_every_number_once_in_a_row_and_column() {
        let squares = squares();
        // The number of Latin squares of order 4 (OEIS A002860).
        assert_eq!(squares.iter().collect::<BTreeSet<_>>().len(), 576);
        assert_eq!(squares.len(), 576);
        for square in squares {
            for line in 0..SIDE {
                let row: BTreeSet<u8> = (0..SIDE).map(|at| square.0[SIDE * line + at]).collect();
                let column: BTreeSet<u8> = (0..SIDE).map(|at| square.0[SIDE * at + line]).collect();
                assert_eq!([row, column], [BTreeSet::from([1, 2, 3, 4]), BTreeSet::from([1, 2, 3, 4])]);
            }
        }
    }

    #[test]
    fn the_completions_of_a_grid_are_the_squares_that_agree_with_it() {
        let (squares, mut rng) = (squares(), Rng::new(5));
        for blanks in DIFFICULTIES {
            let grid = draw(&squares, blanks, &mut rng);
            let sorted = |mut grids: Vec<Grid>| {
                grids.sort();
                grids
            };
            assert_eq!(sorted(grid.completions()), sorted(completions_reference(&grid, &squares)));
        }
    }

    #[test]
    fn traces_fill_the_most_certain_cell_first_and_end_in_their_answer() {
        let squares = squares();
        for question in traced(Task::Latin, 1000, 3) {
            let grid = read(&question.question).unwrap();
            assert_eq!(Latin::question(&grid), question.question);
            let (trace, answer) = (question.trace.unwrap(), question.answer.unwrap());
            let attempts: Vec<&str> = trace.split(" x ").collect();
            for (left, attempt) in attempts.iter().enumerate().map(|(at, of)| (attempts.len() - 1 - at, of)) {
                let words: Vec<&str> = attempt.split(' ').collect();
                let mut filled = grid.clone();
                for step in words.chunks(2) {
                    let cell = NAMES.iter().position(|&name| name == step[0]).unwrap();
                    let fewest = filled.blanks().map(|cell| filled.left(cell).count()).min().unwrap();
                    assert_eq!(filled.left(cell).count(), fewest, "{trace}");
                    filled = filled.with((cell, number(step[1]).unwrap())).unwrap();
                }
                // The mistake has no completion; what follows it is one.
                assert_eq!(completions_reference(&filled, &squares).is_empty(), left > 0, "{trace}");
                if left == 0 {
                    let answered: Vec<String> =
                        grid.blanks().map(|cell| format!("{} {}", NAMES[cell], filled.0[cell])).collect();
                    assert_eq!(answered.join(" "), answer);
                    assert_eq!(grid.blanks().count().to_string(), question.difficulty.clone().unwrap());
                }
            }
        }
    }

    #[test]
    fn completions_are_equally_likely() {
        let (squares, mut rng) = (squares(), Rng::new(4));
        let grids: Vec<Grid> = (0..200).map(|_| draw(&squares, 12, &mut rng)).collect();
        let grid = grids.into_iter().max_by_key(|grid| grid.completions().len()).unwrap();
        let answers: Vec<String> = grid
            .completions()
            .iter()
            .map(|square| told(&grid.blanks().map(|cell| (cell, square.0[cell])).collect::<Vec<_>>()))
            .collect();
        assert!(answers.len() >= 10, "{}", answers.len());
        check_uniform(&answers, |draw| Latin::solve(&grid, &mut Rng::at(1, &[draw])).answer);
    }

    const QUESTION: &str = "a 1 b _ c 3 d 4 e 3 f 4 g _ h 2 i _ j 1 k 4 l 3 m 4 n 3 o 2 p 1";

    #[track_caller]
    fn check(question: &str, answer: &str, expected: Reason) {
        assert_eq!(Task::Latin.judge(question, answer).reason, expected, "{question}: {answer}");
    }

    #[test]
    fn every_completion_is_right() {
        check(QUESTION, "b 2 g 1 i 2", Reason::Equal);
        check(QUESTION, "b 2 g 1", Reason::Different);
        check(QUESTION, "b 2 i 2 g 1", Reason::Different);
        check(QUESTION, "a 1 b 2 g 1 i 2", Reason::Different);
        check(QUESTION, "b 2 g 1 i 2 i 2", Reason::Different);
        check(QUESTION, "b 2 g 1 i 1", Reason::Different);
        check(QUESTION, "b 2 g 1 i 5", Reason::Different);
        check(QUESTION, "b 2 g 1 i", Reason::Unreadable);
        check(QUESTION, "b 2 g 1 i 2 x", Reason::Unreadable);
        check(QUESTION, "2 1 2", Reason::Unreadable);
        check(QUESTION, "", Reason::NoAnswer);
        // Two completions.
        let open = "a 1 b 2 c 3 d 4 e 2 f 1 g 4 h 3 i 3 j 4 k _ l _ m 4 n 3 o _ p _";
        check(open, "k 1 l 2 o 2 p 1", Reason::Equal);
        check(open, "k 2 l 1 o 1 p 2", Reason::Equal);
        check(open, "k 1 l 2 o 1 p 2", Reason::Different);
    }

    #[test]
    fn what_is_no_grid_with_blanks_is_no_question() {
        for spoilt in [
            QUESTION.replace("b _", "b 2").replace("g _", "g 1").replace("i _", "i 2"),
            QUESTION.replace("d 4", "d 3"),
            QUESTION.replace("e 3", "e 1"),
            QUESTION.replace("a 1", "a 5"),
            QUESTION.replace("a 1", "a 0"),
            QUESTION.replace("a 1", "b 1"),
            QUESTION.replace("a 1 ", ""),
            format!("{QUESTION} a"),
        ] {
            check(&spoilt, "b 2 g 1 i 2", Reason::BadGold);
        }
    }

    #[track_caller]
    fn check_trace(trace: &str, expected: TraceCheck) {
        assert_eq!(Task::Latin.check_trace(QUESTION, trace), expected, "{trace}");
    }

    #[test]
    fn a_trace_is_valid_where_no_number_contradicts_and_the_last_attempt_fills_the_square() {
        check_trace("b 2 g 1 i 2", TraceCheck::Valid);
        check_trace("i 2 g 1 b 2", TraceCheck::Valid);
        check_trace("b 2 x b 2 g 1 i 2", TraceCheck::Valid);
        check_trace("b 2 g 1", TraceCheck::Invalid);
        check_trace("b 1 g 1 i 2", TraceCheck::Invalid);
        check_trace("a 1 b 2 g 1 i 2", TraceCheck::Invalid);
        check_trace("b 2 b 2 g 1 i 2", TraceCheck::Invalid);
        check_trace("b 2 g 1 i 2 x b 2 g 1 i 2", TraceCheck::Invalid);
        check_trace("x b 2 g 1 i 2", TraceCheck::Invalid);
        check_trace("b 2 g 1 i", TraceCheck::Invalid);
        check_trace("", TraceCheck::Invalid);
        assert_eq!(Task::Latin.check_trace("1 _", "b 2"), TraceCheck::Unknown);
    }
}
