//! A path through a printed graph.
//!
//! Two edges leave each of the places 0 to 7. A question lists the ends of all edges, `a 3 b 7 c 1 …`, of which `a` and `b`
//! leave place 0, `c` and `d` place 1 and so on, and then the two places to connect: `… -> 0 1`. An answer is a list of
//! edges, `a g`, and every list that leads from the one place to the other is correct. The difficulty is the minimum number
//! of edges, 1 to 5.
//!
//! A trace writes the place after each edge: `0 a 3 g 1`. In 45 % of questions it begins with two random edges that do not
//! arrive, and starts over.
//!
//! The hint names the edges but not the places between them. With it, a trace only reads off where each edge ends; without
//! it, the model must also find out which edges lead on.

use std::collections::BTreeSet;
use std::ops::Range;

use latrace_objective::Rng;
use latrace_verify::Reason;

use super::moves::{end_of, judge, told};
use super::splits::{Grade, PER_GRADE, Solution};
use super::{MISTAKE, Rules, TaskText, TraceCheck, arrives, number, sometimes};

/// Names of edges, in the order in which they are printed: those of a place beside each other.
const NAMES: [&str; EDGES] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
const EDGES: usize = PLACES * LEAVING;
const PLACES: usize = 8;
/// Edges that leave a place.
const LEAVING: usize = 2;
const MOST_DIFFICULT: usize = 5;
/// Edges of a false start.
const ASTRAY: usize = 2;
/// The separator between the edges and the two places.
const ARROW: &str = "->";

/// The task.
pub(super) struct Graph;

/// The end of each edge, and the two places to connect.
pub(super) struct Puzzle {
    ends: [u8; EDGES],
    from: u8,
    to: u8,
}

impl Rules for Graph {
    type Puzzle = Puzzle;
    const WORDS: &'static [&'static str] =
        &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", ARROW];
    const TEXT: TaskText = TaskText {
        meaning: "The question lists 16 edges by name, each with the place where it ends: a and b leave place 0, c and d place 1, and so on up to place 7. An answer is a list of edges that leads from the first place behind the arrow to the second, and every such list is right.",
        trace: "A trace writes the place after each edge; x withdraws all before it, and the search starts over.",
        difficulty: "the fewest edges of a path",
    };

    fn pool(rng: &mut Rng) -> Vec<Grade<Puzzle>> {
        let mut pool = Pool::new();
        while !pool.is_full() {
            pool.add(draw(rng));
        }
        pool.grades
    }

    fn label(puzzle: &Puzzle) -> String {
        let ends: String = puzzle.ends.iter().map(u8::to_string).collect();
        format!("{ends}-{}-{}", puzzle.from, puzzle.to)
    }

    fn question(puzzle: &Puzzle) -> String {
        let edges: Vec<String> =
            NAMES.iter().zip(puzzle.ends).map(|(name, end)| format!("{name} {end}")).collect();
        format!("{} {ARROW} {} {}", edges.join(" "), puzzle.from, puzzle.to)
    }

    fn solve(puzzle: &Puzzle, rng: &mut Rng) -> Solution {
        // Drawn before the path: in the other order, the same seed would give other traces.
        let mistake = sometimes(rng, |rng| puzzle.false_start(rng));
        let mistake = mistake.map(|edges| format!("{} {MISTAKE} ", puzzle.told(&edges)));
        let path = puzzle.path(rng);
        let answer: Vec<&str> = path.iter().map(|&edge| NAMES[edge]).collect();
        Solution { trace: mistake.unwrap_or_default() + &puzzle.told(&path), answer: answer.join(" ") }
    }

    fn judge(question: &str, answer: &str) -> Reason {
        let Some(puzzle) = read(question) else { return Reason::BadGold };
        let next = |at: u8, word: &str| Ok(puzzle.end(at, named(word).ok_or(Reason::Unreadable)?));
        // A path with more edges than there are takes one twice, so it has a shorter equivalent.
        judge(answer, (puzzle.from, puzzle.to), EDGES, next)
    }

    fn check_trace(question: &str, trace: &str) -> TraceCheck {
        let Some(puzzle) = read(question) else { return TraceCheck::Unknown };
        let end_of = |words: &[&str]| end_of(puzzle.from, words, |at, name| puzzle.end(at, named(name)?));
        TraceCheck::of(arrives(trace, puzzle.to, end_of))
    }
}

/// The edge of a name.
fn named(name: &str) -> Option<usize> {
    NAMES.iter().position(|&known| known == name)
}

fn read(question: &str) -> Option<Puzzle> {
    let words: Vec<&str> = question.split_whitespace().take(2 * EDGES + 4).collect();
    let (edges, connect) = words.split_at_checked(2 * EDGES)?;
    let end = |(at, edge): (usize, &[&str])| place(edge[1]).filter(|_| edge[0] == NAMES[at]);
    let ends: Vec<u8> = edges.chunks(2).enumerate().map(end).collect::<Option<_>>()?;
    let &[ARROW, from, to] = connect else { return None };
    Some(Puzzle { ends: ends.try_into().ok()?, from: place(from)?, to: place(to)? })
}

fn place(word: &str) -> Option<u8> {
    number(word).filter(|&place| usize::from(place) < PLACES)
}

impl Puzzle {
    /// Where an edge leads from a place; none if it does not leave that place.
    fn end(&self, at: u8, edge: usize) -> Option<u8> {
        leaving(at).contains(&edge).then(|| self.ends[edge])
    }

    /// The first place, then each edge and the place after it.
    fn told(&self, path: &[usize]) -> String {
        told(self.from, path.iter().map(|&edge| (NAMES[edge], self.ends[edge])))
    }

    /// All paths of the fewest edges; none if there is none of at most [`MOST_DIFFICULT`].
    fn shortest(&self) -> Vec<Vec<usize>> {
        let mut paths = vec![(self.from, Vec::new())];
        for _ in 0..MOST_DIFFICULT {
            paths = paths.iter().flat_map(|(at, path)| self.onwards(*at, path)).collect();
            let arrived = paths.iter().filter(|(at, _)| *at == self.to);
            let arrived: Vec<Vec<usize>> = arrived.map(|(_, path)| path.clone()).collect();
            if !arrived.is_empty() {
                return arrived;
            }
        }
        Vec::new()
    }

    fn onwards(&self, at: u8, path: &[usize]) -> Vec<(u8, Vec<usize>)> {
        leaving(at).map(|edge| (self.ends[edge], [path, &[edge]].concat())).collect()
    }

    /// One of the shortest paths, uniformly.
    fn path(&self, rng: &mut Rng) -> Vec<usize> {
        let mut paths = self.shortest();
        paths.swap_remove(rng.below(paths.len()))
    }

    /// Two edges that do not touch the last place, uniformly among all such pairs; none if there are none.
    fn false_start(&self, rng: &mut Rng) -> Option<[usize; ASTRAY]> {
        let astray = |at: u8| leaving(at).filter(|&edge| self.ends[edge] != self.to);
        let pairs =
            astray(self.from).flat_map(|first| astray(self.ends[first]).map(move |next| [first, next]));
        let pairs: Vec<[usize; ASTRAY]> = pairs.collect();
        pairs.get(rng.below(pairs.len())).copied()
    }
}

/// The edges that leave a place.
fn leaving(at: u8) -> Range<usize> {
    let first = usize::from(at) * LEAVING;
    first..first + LEAVING
}

/// A random graph, and two of its places.
fn draw(rng: &mut Rng) -> Puzzle {
    let ends = [(); EDGES].map(|()| rng.below(PLACES) as u8);
    let (from, others) = (rng.below(PLACES), rng.below(PLACES - 1));
    // Another place than the first.
    let to = (from + 1 + others) % PLACES;
    Puzzle { ends, from: from as u8, to: to as u8 }
}

/// Distinct puzzles by their fewest edges.
struct Pool {
    grades: Vec<Grade<Puzzle>>,
    seen: BTreeSet<String>,
}

impl Pool {
    fn new() -> Pool {
        let grade = |edges: usize| Grade { difficulty: edges.to_string(), puzzles: Vec::new() };
        Pool { grades: (1..=MOST_DIFFICULT).map(grade).collect(), seen: BTreeSet::new() }
    }

    fn is_full(&self) -> bool {
        self.grades.iter().all(|grade| grade.puzzles.len() == PER_GRADE)
    }

    /// Adds a puzzle, if it has a path, is a new one, and its grade has room.
    fn add(&mut self, puzzle: Puzzle) {
        let Some(path) = puzzle.shortest().pop() else { return };
        let grade = &mut self.grades[path.len() - 1].puzzles;
        if grade.len() < PER_GRADE && self.seen.insert(Graph::question(&puzzle)) {
            grade.push(puzzle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::Task;
    use crate::tasks::tests::{check_uniform, traced};

    /// Fewest edges between the two places, by relaxing all edges until nothing changes.
    fn fewest_reference(puzzle: &Puzzle) -> Option<usize> {
        let mut distance = [None; PLACES];
        distance[usize::from(puzzle.from)] = Some(0);
        for _ in 0..PLACES {
            for (edge, end) in puzzle.ends.iter().enumerate() {
                let Some(through) = distance[edge / 2].map(|edges: usize| edges + 1) else { continue };
                let known = &mut distance[usize::from(*end)];
                *known = Some(known.map_or(through, |known| known.min(through)));
            }
        }
        distance[usize::from(puzzle.to)]
    }

    #[test]
    fn every_grade_is_full_of_distinct_graphs_of_its_distance() {
        let grades = Graph::pool(&mut Rng::new(1));
        assert_eq!(grades.len(), MOST_DIFFICULT);
        for grade in grades {
            assert_eq!(grade.puzzles.len(), PER_GRADE);
            let texts: BTreeSet<String> = grade.puzzles.iter().map(Graph::question).collect();
            assert_eq!(texts.len(), PER_GRADE);
            for puzzle in &grade.puzzles {
                assert_eq!(fewest_reference(puzzle).unwrap().to_string(), grade.difficulty);
            }
        }
    }

    #[test]
    fn traces_end_in_their_answer_by_a_shortest_path() {
        for question in traced(Task::Graph, 3000, 3) {
            let puzzle = read(&question.question).unwrap();
            assert_eq!(Graph::question(&puzzle), question.question);
            let (trace, answer) = (question.trace.unwrap(), question.answer.unwrap());
            let attempts: Vec<Vec<&str>> =
                trace.split(" x ").map(|attempt| attempt.split(' ').collect()).collect();
            let (last, before) = attempts.split_last().unwrap();
            let names: Vec<&str> = last.iter().skip(1).step_by(2).copied().collect();
            assert_eq!(names.join(" "), answer);
            assert_eq!(names.len().to_string(), question.difficulty.unwrap());
            assert_eq!((last[0], last[last.len() - 1]), (&*puzzle.from.to_string(), &*puzzle.to.to_string()));
            for attempt in before {
                assert_eq!(attempt.len(), 5, "{trace}");
                assert!(attempt.iter().skip(2).step_by(2).all(|&place| place != puzzle.to.to_string()));
            }
        }
    }

    #[test]
    fn shortest_paths_are_equally_likely() {
        let grades = Graph::pool(&mut Rng::new(2));
        let puzzles = grades.into_iter().flat_map(|grade| grade.puzzles);
        let puzzle = puzzles.max_by_key(|puzzle| puzzle.shortest().len()).unwrap();
        let paths = puzzle.shortest();
        assert!(paths.len() >= 3, "{}", paths.len());
        check_uniform(&paths, |draw| puzzle.path(&mut Rng::at(1, &[draw])));
    }

    /// From 0 by a to 3, by b to 2; from 2 by e to 3; from 3 by g to 1, by h to 0; every other edge leads to 7.
    const QUESTION: &str = "a 3 b 2 c 7 d 7 e 3 f 7 g 1 h 0 i 7 j 7 k 7 l 7 m 7 n 7 o 7 p 7 -> 0 1";

    #[track_caller]
    fn check(question: &str, answer: &str, expected: Reason) {
        assert_eq!(Task::Graph.judge(question, answer).reason, expected, "{question}: {answer}");
    }

    #[test]
    fn every_path_that_arrives_is_right() {
        check(QUESTION, "a g", Reason::Equal);
        check(QUESTION, "b e g", Reason::Equal);
        check(QUESTION, "a h a g", Reason::Equal);
        let around = |times: usize| format!("{}a g", "a h ".repeat(times));
        // As many edges as there are, and two more.
        check(QUESTION, &around(7), Reason::Equal);
        check(QUESTION, &around(8), Reason::Different);
        check(QUESTION, "a", Reason::Different);
        check(QUESTION, "g", Reason::Different);
        check(QUESTION, "a e", Reason::Different);
        check(QUESTION, "a z", Reason::Unreadable);
        check(QUESTION, "ag", Reason::Unreadable);
        check(QUESTION, "0 a 3 g 1", Reason::Unreadable);
        check(QUESTION, "", Reason::NoAnswer);
    }

    #[test]
    fn what_is_no_graph_is_no_question() {
        for spoilt in [
            QUESTION.replace("a 3", "a 8"),
            QUESTION.replace("a 3", "b 3"),
            QUESTION.replace(" -> 0 1", ""),
            QUESTION.replace("0 1", "0"),
            QUESTION.replace("0 1", "0 8"),
            QUESTION.replace("0 1", "0 1 2"),
            QUESTION.replace("p 7 ", ""),
            QUESTION.replace("->", "x"),
        ] {
            check(&spoilt, "a g", Reason::BadGold);
        }
    }

    #[track_caller]
    fn check_trace(trace: &str, expected: TraceCheck) {
        assert_eq!(Task::Graph.check_trace(QUESTION, trace), expected, "{trace}");
    }

    #[test]
    fn a_trace_is_valid_where_each_edge_leaves_its_place_and_the_last_attempt_arrives() {
        check_trace("0 a 3 g 1", TraceCheck::Valid);
        check_trace("0 b 2 f 7 x 0 a 3 g 1", TraceCheck::Valid);
        check_trace("0 b 2 x 0 a 3 h 0 x 0 a 3 g 1", TraceCheck::Valid);
        // An edge that does not leave the place, the wrong end, another start.
        check_trace("0 a 3 e 3 g 1", TraceCheck::Invalid);
        check_trace("0 a 2 e 3 g 1", TraceCheck::Invalid);
        check_trace("3 g 1", TraceCheck::Invalid);
        // A mistake that is none, nothing, and no end.
        check_trace("0 a 3 g 1 x 0 a 3 g 1", TraceCheck::Invalid);
        check_trace("0 x 0 a 3 g 1", TraceCheck::Invalid);
        check_trace("0 a 3", TraceCheck::Invalid);
        check_trace("", TraceCheck::Invalid);
        assert_eq!(Task::Graph.check_trace("0 1", "0 a 3 g 1"), TraceCheck::Unknown);
    }
}
