//! The number walk: from one number to another by +7, -3 and *2, never below 0 or above 99.
//!
//! A question is `FROM TO`, an answer is a list of moves, and every list that arrives is correct. The
//! difficulty is the minimum number of moves, 1 to 6. A trace writes the value after each move. In 45 % of
//! questions it begins with two random moves that do not arrive, and starts over.

use latrace_objective::Rng;
use latrace_verify::Reason;

use super::moves::{end_of, judge, told};
use super::splits::{Grade, Solution};
use super::{LARGEST, MISTAKE, Rules, TaskText, TraceCheck, arrives, number, sometimes};

/// A longer walk visits some value twice, so it has a shorter equivalent.
const MOST_MOVES: usize = LARGEST as usize;
const MOST_DIFFICULT: usize = 6;

const MOVES: [Move; 3] = [Move::Add, Move::Subtract, Move::Double];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    Add,
    Subtract,
    Double,
}

impl Move {
    fn word(self) -> &'static str {
        match self {
            Move::Add => "+7",
            Move::Subtract => "-3",
            Move::Double => "*2",
        }
    }

    fn of_word(word: &str) -> Option<Move> {
        MOVES.into_iter().find(|step| step.word() == word)
    }

    fn from(self, value: u8) -> Option<u8> {
        let next = match self {
            Move::Add => value.checked_add(7),
            Move::Subtract => value.checked_sub(3),
            Move::Double => value.checked_mul(2),
        };
        next.filter(|&next| next <= LARGEST)
    }
}

/// The task.
pub(super) struct Walk;

/// Start and end of a walk.
pub(super) struct Ends {
    from: u8,
    to: u8,
}

impl Rules for Walk {
    type Puzzle = Ends;
    const WORDS: &'static [&'static str] = &["+7", "-3", "*2"];
    const TEXT: TaskText = TaskText {
        meaning: "Get from the first number to the second by the moves +7, -3 and *2, never below 0 or above 99. An answer is a list of moves, and every list that arrives is right.",
        trace: "A trace writes the value after each move; x withdraws all before it, and the walk starts over.",
        difficulty: "the fewest moves that lead from the first number to the second",
    };

    fn pool(_: &mut Rng) -> Vec<Grade<Ends>> {
        let grade = |moves: usize| Grade { difficulty: moves.to_string(), puzzles: Vec::new() };
        let mut grades: Vec<Grade<Ends>> = (1..=MOST_DIFFICULT).map(grade).collect();
        for (moves, ends) in (0..=LARGEST).flat_map(|to| Routes::to(to).walks()) {
            grades[moves - 1].puzzles.push(ends);
        }
        grades
    }

    fn label(ends: &Ends) -> String {
        format!("{}-{}", ends.from, ends.to)
    }

    fn question(ends: &Ends) -> String {
        format!("{} {}", ends.from, ends.to)
    }

    fn solve(ends: &Ends, rng: &mut Rng) -> Solution {
        // Drawn before the path: in the other order, the same seed would give other traces.
        let mistake = sometimes(rng, |rng| false_start(ends, rng));
        let mistake = mistake.map(|moves| format!("{} {MISTAKE} ", told_walk(ends.from, &moves)));
        let path = Routes::to(ends.to).path(ends.from, rng);
        let answer: Vec<&str> = path.iter().map(|step| step.word()).collect();
        Solution {
            trace: mistake.unwrap_or_default() + &told_walk(ends.from, &path),
            answer: answer.join(" "),
        }
    }

    fn judge(question: &str, answer: &str) -> Reason {
        let Some(Ends { from, to }) = read(question) else { return Reason::BadGold };
        let next = |at: u8, word: &str| Ok(Move::of_word(word).ok_or(Reason::Unreadable)?.from(at));
        judge(answer, (from, to), MOST_MOVES, next)
    }

    fn check_trace(question: &str, trace: &str) -> TraceCheck {
        let Some(Ends { from, to }) = read(question) else { return TraceCheck::Unknown };
        let next = |at: u8, word: &str| Move::of_word(word)?.from(at);
        TraceCheck::of(arrives(trace, to, |words| end_of(from, words, next)))
    }
}

fn read(question: &str) -> Option<Ends> {
    let mut words = question.split_whitespace().map(number);
    let ends = Ends { from: words.next()??, to: words.next()?? };
    words.next().is_none().then_some(ends)
}

/// The start, then each move and the value after it.
fn told_walk(from: u8, moves: &[Move]) -> String {
    let mut at = from;
    told(
        from,
        moves.iter().map(|step| {
            at = step.from(at).unwrap_or(at);
            (step.word(), at)
        }),
    )
}

/// Two moves that never reach the end, uniformly among all such pairs; `None` if every walk reaches it.
fn false_start(ends: &Ends, rng: &mut Rng) -> Option<[Move; 2]> {
    let pairs = MOVES.into_iter().flat_map(|first| MOVES.map(|second| [first, second]));
    let pairs: Vec<[Move; 2]> = pairs.filter(|&moves| goes_astray(ends, moves)).collect();
    pairs.get(rng.below(pairs.len())).copied()
}

fn goes_astray(ends: &Ends, moves: [Move; 2]) -> bool {
    let astray = |at: u8, step: Move| step.from(at).filter(|&next| next != ends.to);
    moves.into_iter().try_fold(ends.from, astray).is_some()
}

/// Shortest walks to one value, from every value within the maximum difficulty.
struct Routes {
    end: u8,
    /// Minimum moves from each value, and the number of shortest walks.
    fewest: Vec<Option<(usize, f64)>>,
}

impl Routes {
    /// Breadth-first from the end.
    fn to(end: u8) -> Routes {
        let mut routes = Routes { end, fewest: vec![None; usize::from(LARGEST) + 1] };
        routes.fewest[usize::from(end)] = Some((0, 1.0));
        // Each layer is collected before it is entered, so that it is not extended from itself.
        for distance in 0..MOST_DIFFICULT {
            for (at, ways) in routes.layer_before(distance) {
                routes.fewest[usize::from(at)] = Some((distance + 1, ways));
            }
        }
        routes
    }

    /// Values of no known distance from which some move leads into the layer at `distance`, with the number
    /// of shortest walks from each.
    fn layer_before(&self, distance: usize) -> Vec<(u8, f64)> {
        let unknown = (0..=LARGEST).filter(|&at| self.distance(at).is_none());
        unknown.map(|at| (at, self.ways(at, distance))).filter(|&(_, ways)| ways > 0.0).collect()
    }

    /// All walks of at least one move, each with its fewest moves.
    fn walks(&self) -> Vec<(usize, Ends)> {
        let walk = |from: u8| Some((self.distance(from)?, Ends { from, to: self.end }));
        (0..=LARGEST).filter_map(walk).filter(|&(moves, _)| moves > 0).collect()
    }

    fn distance(&self, at: u8) -> Option<usize> {
        self.fewest[usize::from(at)].map(|(distance, _)| distance)
    }

    /// Number of walks from `at` of one move and then `left` more, where `left` is the minimum after that
    /// move.
    fn ways(&self, at: u8, left: usize) -> f64 {
        MOVES.into_iter().map(|step| self.ways_after(at, step, left)).sum()
    }

    fn ways_after(&self, at: u8, step: Move, left: usize) -> f64 {
        let after = step.from(at).and_then(|next| self.fewest[usize::from(next)]);
        after.filter(|&(distance, _)| distance == left).map_or(0.0, |(_, ways)| ways)
    }

    /// A uniformly random shortest walk: each move is drawn in proportion to the number of walks that
    /// continue from it.
    fn path(&self, from: u8, rng: &mut Rng) -> Vec<Move> {
        let (mut at, mut path) = (from, Vec::new());
        for left in (0..self.distance(from).unwrap_or(0)).rev() {
            let ways = MOVES.map(|step| self.ways_after(at, step, left));
            // Never all 0: `at` lies on a shortest walk, so some move continues one.
            let Some(step) = rng.weighted(&ways).map(|chosen| MOVES[chosen]) else { break };
            at = step.from(at).unwrap_or(at);
            path.push(step);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use crate::tasks::tests::{check_uniform, traced};
    use std::collections::{BTreeMap, VecDeque};

    /// Fewest moves from `from` to everywhere, one value at a time from a queue.
    fn distances_reference(from: u8) -> BTreeMap<u8, usize> {
        let (mut distances, mut queue) = (BTreeMap::from([(from, 0)]), VecDeque::from([from]));
        while let Some(at) = queue.pop_front() {
            for next in MOVES.into_iter().filter_map(|step| step.from(at)) {
                if !distances.contains_key(&next) {
                    distances.insert(next, distances[&at] + 1);
                    queue.push_back(next);
                }
            }
        }
        distances
    }

    /// Every list of `moves` moves that arrives.
    fn walks_reference(from: u8, to: u8, moves: usize) -> Vec<Vec<Move>> {
        if moves == 0 {
            return if from == to { vec![Vec::new()] } else { Vec::new() };
        }
        let after =
            |step: Move| step.from(from).map_or(Vec::new(), |next| walks_reference(next, to, moves - 1));
        MOVES
            .into_iter()
            .flat_map(|step| after(step).into_iter().map(move |rest| [vec![step], rest].concat()))
            .collect()
    }

    #[test]
    fn the_pool_is_every_pair_one_to_six_moves_apart() {
        let grades = Walk::pool(&mut Rng::new(0));
        assert_eq!(grades.iter().map(|grade| grade.puzzles.len()).sum::<usize>(), 4927);
        let mut expected = vec![0; 6];
        for from in 0..=LARGEST {
            distances_reference(from)
                .values()
                .filter(|&&moves| (1..=6).contains(&moves))
                .for_each(|moves| expected[moves - 1] += 1);
        }
        assert_eq!(grades.iter().map(|grade| grade.puzzles.len()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn traces_end_in_their_answer_by_a_shortest_walk() {
        for question in traced(Task::Walk, 4927, 3) {
            let (from, to) = question.question.split_once(' ').unwrap();
            let (trace, answer) = (question.trace.unwrap(), question.answer.unwrap());
            let parts: Vec<&str> = trace.split(" x ").collect();
            for (part, moves) in parts.iter().zip([2, 0].into_iter().skip(2 - parts.len())) {
                let words: Vec<&str> = part.split(' ').collect();
                assert_eq!(words[0], from);
                let values: Vec<u8> = words.iter().step_by(2).map(|word| number(word).unwrap()).collect();
                for (pair, word) in values.windows(2).zip(words.iter().skip(1).step_by(2)) {
                    assert_eq!(Move::of_word(word).unwrap().from(pair[0]), Some(pair[1]), "{trace}");
                }
                assert!(moves == 0 || values.len() == 3 && !words[1..].contains(&to), "{trace}");
            }
            let last: Vec<&str> = parts.last().unwrap().split(' ').collect();
            assert_eq!(last.iter().skip(1).step_by(2).copied().collect::<Vec<_>>().join(" "), answer);
            assert_eq!(*last.last().unwrap(), to);
            let fewest = distances_reference(number(from).unwrap())[&number(to).unwrap()];
            assert_eq!(
                (answer.split(' ').count(), question.difficulty.unwrap()),
                (fewest, fewest.to_string())
            );
            assert_eq!(question.id, format!("walk-{from}-{to}"));
        }
    }

    #[test]
    fn shortest_walks_are_equally_likely() {
        let pairs = (0..=LARGEST).flat_map(|from| {
            distances_reference(from)
                .into_iter()
                .filter(|&(_, moves)| moves == 6)
                .map(move |(to, _)| (from, to))
        });
        let (from, to, all) = pairs
            .map(|(from, to)| (from, to, walks_reference(from, to, 6)))
            .max_by_key(|(.., all)| all.len())
            .unwrap();
        assert!(all.len() >= 10, "{}", all.len());
        let routes = Routes::to(to);
        check_uniform(&all, |draw| routes.path(from, &mut Rng::at(1, &[draw])));
    }

    #[track_caller]
    fn check(question: &str, answer: &str, expected: Reason) {
        assert_eq!(Task::Walk.judge(question, answer).reason, expected, "{question}: {answer}");
    }

    #[test]
    fn every_walk_that_arrives_is_right() {
        check("36 97", "+7 *2 -3 +7 +7", Reason::Equal);
        check("36 97", "+7 -3 -3 *2 +7 +7 +7 -3 -3 -3 +7 -3 +7", Reason::Equal);
        check("10 14", "+7 -3", Reason::Equal);
        check("10 14", "-3 +7", Reason::Equal);
        check("10 14", "-3 *2", Reason::Equal);
        check("10 14", "+7 -3 +7 -3 -3 -3 +7 -3", Reason::Different);
        check("10 14", "+7 -3 x", Reason::Unreadable);
        check("10 14", "17 -3", Reason::Unreadable);
        check("10 14", "", Reason::NoAnswer);
        check("10 14", "+7", Reason::Different);
        check("10 114", "+7", Reason::BadGold);
        check("10 14 3", "+7", Reason::BadGold);
    }

    #[track_caller]
    fn check_trace(question: &str, trace: &str, expected: TraceCheck) {
        assert_eq!(Task::Walk.check_trace(question, trace), expected, "{question}: {trace}");
    }

    #[test]
    fn a_trace_is_valid_where_each_value_follows_and_the_last_attempt_arrives() {
        check_trace("10 14", "10 +7 17 -3 14", TraceCheck::Valid);
        check_trace("10 14", "10 -3 7 x 10 *2 20 +7 27 x 10 -3 7 *2 14", TraceCheck::Valid);
        check_trace("10 14", "10 +7 17 -3 14 +7 21 -3 18", TraceCheck::Invalid);
        // Forced onto the end.
        check_trace("10 14", "10 +7 14", TraceCheck::Invalid);
        check_trace("10 14", "10 -3 8 x 10 -3 7 *2 14", TraceCheck::Invalid);
        check_trace("10 14", "11 -3 8 +7 15 x 10 -3 7 *2 14", TraceCheck::Invalid);
        // A mistake that is none, or nothing.
        check_trace("10 14", "10 -3 7 *2 14 x 10 -3 7 *2 14", TraceCheck::Invalid);
        check_trace("10 14", "10 x 10 -3 7 *2 14", TraceCheck::Invalid);
        check_trace("1 5", "1 -3 -2 +7 5", TraceCheck::Invalid);
        check_trace("10 14", "", TraceCheck::Invalid);
        check_trace("10 10", "10", TraceCheck::Invalid);
        check_trace("10", "10 -3 7 *2 14", TraceCheck::Unknown);
    }

    #[test]
    fn walks_stay_between_0_and_99() {
        check("1 5", "-3 +7", Reason::Different);
        check("98 99", "+7 -3 -3", Reason::Different);
        check("98 95", "*2 -3", Reason::Different);
        check("0 0", "*2", Reason::Equal);
    }

    #[test]
    fn walks_have_fewer_moves_than_there_are_values() {
        check("0 0", &["*2"; 99].join(" "), Reason::Equal);
        check("0 0", &["*2"; 100].join(" "), Reason::Different);
    }
}
