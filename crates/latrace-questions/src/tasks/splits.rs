//! Divides a task's puzzles into disjoint splits with the same mix of difficulties.

use anyhow::Result;
use latrace_core::Question;
use latrace_objective::Rng;
use serde::{Deserialize, Serialize};

use super::Rules;
use latrace_io::failure::Failure;

/// Number of questions of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// With a reference trace and an answer.
    pub traced: usize,
    /// Training questions with an answer but no trace.
    pub untraced: usize,
    /// Validation split.
    pub validation: usize,
    /// Test split.
    pub test: usize,
}

impl Sizes {
    fn total(&self) -> usize {
        [self.traced, self.untraced, self.validation, self.test].into_iter().fold(0, usize::saturating_add)
    }
}

/// Distinct questions of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Splits {
    /// With a reference trace and an answer.
    pub traced: Vec<Question>,
    /// Training questions with an answer but no trace.
    pub untraced: Vec<Question>,
    /// Validation split; answers only.
    pub validation: Vec<Question>,
    /// Test split; answers only.
    pub test: Vec<Question>,
}

/// Puzzles of one difficulty.
pub(super) struct Grade<P> {
    /// Its name.
    pub(super) difficulty: String,
    /// All of its puzzles, distinct.
    pub(super) puzzles: Vec<P>,
}

/// A reference solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Solution {
    /// The thought, including false starts.
    pub(super) trace: String,
    /// The answer that it arrives at.
    pub(super) answer: String,
}

/// Probability that a trace has a false start, if one is possible.
pub(super) const FALSE_STARTS: f64 = 0.45;
/// Maximum number of puzzles per difficulty, in tasks with very unequal numbers.
pub(super) const PER_GRADE: usize = 2000;

/// Purpose of a random choice: the second part of its key.
const ORDER: u64 = 0;
const SOLUTION: u64 = 1;
const POOL: u64 = 2;

/// A grade of at most [`PER_GRADE`] puzzles.
pub(super) fn cap<P>(mut grade: Grade<P>, rng: &mut Rng) -> Grade<P> {
    // A random subset: the first puzzles of a pool are alike.
    rng.shuffle(&mut grade.puzzles);
    grade.puzzles.truncate(PER_GRADE);
    grade
}

/// The splits of a task's puzzles. Test questions are taken first, then validation, so that they do not
/// depend on the sizes of the other splits.
pub(super) fn splits<R: Rules>(name: &str, sizes: &Sizes, seed: u64) -> Result<Splits> {
    let puzzles = interleaved(R::pool(&mut Rng::at(seed, &[POOL])), &mut Rng::at(seed, &[ORDER]));
    if puzzles.len() < sizes.total() {
        return Err(too_few(name, puzzles.len(), sizes).into());
    }
    let mut rest = puzzles.iter().map(|(difficulty, puzzle)| question::<R>(name, difficulty, puzzle, seed));
    let mut next = |count: usize| rest.by_ref().take(count).collect();
    // The order of the fields is that in which they take their questions.
    Ok(Splits {
        test: without_traces(next(sizes.test)),
        validation: without_traces(next(sizes.validation)),
        traced: next(sizes.traced),
        untraced: without_traces(next(sizes.untraced)),
    })
}

fn too_few(name: &str, distinct: usize, sizes: &Sizes) -> Failure {
    let requested = sizes.total();
    Failure::usage(format!(
        "the task {name} has {distinct} distinct questions, but {requested} are requested"
    ))
    .hint("lower traced, untraced, validation or test")
}

fn without_traces(mut questions: Vec<Question>) -> Vec<Question> {
    questions.iter_mut().for_each(|question| question.trace = None);
    questions
}

/// All puzzles in a stratified random order, in which every stretch has about the mix of the whole.
fn interleaved<P>(grades: Vec<Grade<P>>, rng: &mut Rng) -> Vec<(String, P)> {
    let mut placed: Vec<(f64, String, P)> = grades.into_iter().flat_map(|grade| spread(grade, rng)).collect();
    // Positions are floats without NaN, so the total order is the usual one.
    placed.sort_by(|(left, ..), (right, ..)| left.total_cmp(right));
    placed.into_iter().map(|(_, difficulty, puzzle)| (difficulty, puzzle)).collect()
}

/// The puzzles of a grade, shuffled and spread over [0, 1): number i of n is in [i / n, (i + 1) / n).
/// Uniformly random positions would leave the mix of a small split to chance.
fn spread<P>(grade: Grade<P>, rng: &mut Rng) -> Vec<(f64, String, P)> {
    let Grade { difficulty, mut puzzles } = grade;
    rng.shuffle(&mut puzzles);
    let count = puzzles.len() as f64;
    let ranked = puzzles.into_iter().enumerate();
    ranked.map(|(rank, puzzle)| ((rank as f64 + rng.uniform()) / count, difficulty.clone(), puzzle)).collect()
}

/// A puzzle as a question, with a solution that depends only on the seed and the puzzle.
fn question<R: Rules>(name: &str, difficulty: &str, puzzle: &R::Puzzle, seed: u64) -> Question {
    let id = format!("{name}-{}", R::label(puzzle));
    let Solution { trace, answer } = R::solve(puzzle, &mut solution_rng(seed, &id));
    Question {
        id,
        question: R::question(puzzle),
        trace: Some(trace),
        answer: Some(answer),
        kind: Some(name.to_owned()),
        difficulty: Some(difficulty.to_owned()),
        source: Some(name.to_owned()),
        ..Question::default()
    }
}

/// Keyed by the puzzle and not by its place, so that a question has the same solution in whichever split it
/// is.
fn solution_rng(seed: u64, id: &str) -> Rng {
    let key: Vec<u64> = [SOLUTION].into_iter().chain(id.bytes().map(u64::from)).collect();
    Rng::at(seed, &key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_stretch_has_the_mix_of_the_whole() {
        let grade = |difficulty: &str, count: usize| Grade {
            difficulty: difficulty.to_owned(),
            puzzles: (0..count).collect(),
        };
        let order = interleaved(vec![grade("few", 100), grade("many", 900)], &mut Rng::new(3));
        for stretch in order.chunks(100) {
            let few = stretch.iter().filter(|(difficulty, _)| difficulty == "few").count();
            assert!((8..=12).contains(&few), "{few} of 100, not about 10");
        }
        let mut seen: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        order.iter().for_each(|(difficulty, puzzle)| seen.entry(difficulty).or_default().push(*puzzle));
        let few = seen.get_mut("few").unwrap();
        assert!(!few.is_sorted(), "not shuffled");
        few.sort_unstable();
        assert_eq!(*few, (0..100).collect::<Vec<_>>());
    }
}
