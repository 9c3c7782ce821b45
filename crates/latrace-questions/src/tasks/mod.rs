//! Built-in tasks: seeded questions with reference traces, verifiers and vocabularies, small enough for a
//! model trained from scratch.
//!
//! | task | question | answer | correct answers |
//! | --- | --- | --- | --- |
//! | [`walk`] | `36 97` | `+7 *2 -3 +7 +7` | every list of moves that arrives |
//! | [`countdown`] | `2 7 8 -> 42` | `( 8 - 2 ) * 7` | every expression with the value |
//! | [`arithmetic`] | `( 3 + 4 ) * 2` | `14` | one |
//! | [`graph`] | `a 3 b 7 … -> 0 1` | `a g` | every path |
//! | [`latin`] | `a 1 b _ …` | `b 2 …` | every completion |
//!
//! Words are separated by spaces, and each is one token: a number, a move, an operator. All random choices
//! are functions of the seed and the question.

pub mod arithmetic;
pub mod countdown;
mod expression;
pub mod graph;
pub mod latin;
mod moves;
mod splits;
pub mod tokenizer;
pub mod walk;

use anyhow::Result;
use latrace_objective::Rng;
use latrace_verify::{Judgement, Reason};
use serde::{Deserialize, Serialize};

use splits::{FALSE_STARTS, Grade, Solution};
pub use splits::{Sizes, Splits};

use arithmetic::Arithmetic;
use countdown::Countdown;
use graph::Graph;
use latin::Latin;
use walk::Walk;

/// The largest number that has a token; the least is 0.
pub const LARGEST: u8 = 99;
/// In a trace: marks the preceding step as a mistake.
const MISTAKE: &str = "x";

/// What a task's rules say of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceCheck {
    /// Every step follows from the question and the steps before it, and the last one arrives.
    Valid,
    /// Some step does not follow, or the trace does not arrive.
    Invalid,
    /// The question is none of the task's.
    Unknown,
}

impl TraceCheck {
    /// Of a trace of a question that can be read.
    fn of(is_valid: bool) -> TraceCheck {
        if is_valid { TraceCheck::Valid } else { TraceCheck::Invalid }
    }
}

/// A task in words, for a reader who has never seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskText {
    /// What is asked and which answers are right, in at most two sentences.
    pub meaning: &'static str,
    /// How a trace is written.
    pub trace: &'static str,
    /// What the difficulty of a question counts.
    pub difficulty: &'static str,
}

/// A built-in task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// From a number to another by +7, -3 and *2.
    Walk,
    /// Reach a number from others, each used at most once.
    Countdown,
    /// Evaluate a nested expression.
    Arithmetic,
    /// Find a path through a printed graph.
    Graph,
    /// Complete a Latin square.
    Latin,
}

impl Task {
    /// All tasks.
    pub const ALL: [Task; 5] = [Task::Walk, Task::Countdown, Task::Arithmetic, Task::Graph, Task::Latin];

    /// The name in recipes and in a question's `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Task::Walk => "walk",
            Task::Countdown => "countdown",
            Task::Arithmetic => "arithmetic",
            Task::Graph => "graph",
            Task::Latin => "latin",
        }
    }

    /// The task of a name.
    pub fn named(name: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|task| task.name() == name)
    }

    /// What its questions mean.
    pub fn text(self) -> TaskText {
        match self {
            Task::Walk => Walk::TEXT,
            Task::Countdown => Countdown::TEXT,
            Task::Arithmetic => Arithmetic::TEXT,
            Task::Graph => Graph::TEXT,
            Task::Latin => Latin::TEXT,
        }
    }

    /// Disjoint splits, determined by sizes and seed. All have about the same mix of difficulties.
    ///
    /// # Errors
    /// The task has fewer distinct questions than requested.
    pub fn questions(self, sizes: &Sizes, seed: u64) -> Result<Splits> {
        match self {
            Task::Walk => splits::splits::<Walk>(self.name(), sizes, seed),
            Task::Countdown => splits::splits::<Countdown>(self.name(), sizes, seed),
            Task::Arithmetic => splits::splits::<Arithmetic>(self.name(), sizes, seed),
            Task::Graph => splits::splits::<Graph>(self.name(), sizes, seed),
            Task::Latin => splits::splits::<Latin>(self.name(), sizes, seed),
        }
    }

    /// Whether `answer` answers `question`. Both may be arbitrary text; the work is bounded.
    pub fn judge(self, question: &str, answer: &str) -> Judgement {
        let answer = answer.trim();
        if answer.is_empty() {
            return Judgement::new(Reason::NoAnswer, None);
        }
        Judgement::new(self.reason(question, answer), answer.to_owned())
    }

    fn reason(self, question: &str, answer: &str) -> Reason {
        match self {
            Task::Walk => Walk::judge(question, answer),
            Task::Countdown => Countdown::judge(question, answer),
            Task::Arithmetic => Arithmetic::judge(question, answer),
            Task::Graph => Graph::judge(question, answer),
            Task::Latin => Latin::judge(question, answer),
        }
    }

    /// Whether every step of `trace`, a thought without markers, is right. Unlike the verdict on an answer, this
    /// finds traces that are forced onto an answer which is given as the hint.
    pub fn check_trace(self, question: &str, trace: &str) -> TraceCheck {
        match self {
            Task::Walk => Walk::check_trace(question, trace),
            Task::Countdown => Countdown::check_trace(question, trace),
            Task::Arithmetic => Arithmetic::check_trace(question, trace),
            Task::Graph => Graph::check_trace(question, trace),
            Task::Latin => Latin::check_trace(question, trace),
        }
    }

    /// The `tokenizer.json` of the task's vocabulary.
    pub fn tokenizer(self) -> String {
        let numbers = (0..=LARGEST).map(|number| number.to_string());
        let others = self.words().iter().copied().chain([MISTAKE]).map(str::to_owned);
        tokenizer::tokenizer_json(&numbers.chain(others).collect::<Vec<_>>())
    }

    fn words(self) -> &'static [&'static str] {
        match self {
            Task::Walk => Walk::WORDS,
            Task::Countdown => Countdown::WORDS,
            Task::Arithmetic => Arithmetic::WORDS,
            Task::Graph => Graph::WORDS,
            Task::Latin => Latin::WORDS,
        }
    }
}

/// The definition of a task.
trait Rules {
    /// A question in the task's own terms.
    type Puzzle;
    /// Its words, apart from numbers and the mistake mark.
    const WORDS: &'static [&'static str];
    /// What its questions mean.
    const TEXT: TaskText;

    /// All distinct puzzles of the task under a seed, by difficulty. Their number does not depend on the
    /// seed.
    fn pool(rng: &mut Rng) -> Vec<Grade<Self::Puzzle>>;
    /// A unique key of a puzzle within the task, for its id.
    fn label(puzzle: &Self::Puzzle) -> String;
    /// The text of the question.
    fn question(puzzle: &Self::Puzzle) -> String;
    /// A random reference solution.
    fn solve(puzzle: &Self::Puzzle, rng: &mut Rng) -> Solution;
    /// Whether a non-empty text answers a question.
    fn judge(question: &str, answer: &str) -> Reason;
    /// Whether every step of a trace is right.
    fn check_trace(question: &str, trace: &str) -> TraceCheck;
}

/// A number as written in questions and answers: without sign or leading zeros, since other spellings have no
/// token.
fn number(word: &str) -> Option<u8> {
    // An empty word passes here, but cannot be parsed below.
    if !word.bytes().all(|byte| byte.is_ascii_digit()) || word.starts_with('0') && word != "0" {
        return None;
    }
    word.parse().ok().filter(|&value| value <= LARGEST)
}

/// Whether the last attempt of a trace reaches the target, and those before it, which are marked as mistakes, do
/// not. `end_of` gives the number that an attempt's steps lead to; none where one of them is wrong.
fn arrives(trace: &str, target: u8, end_of: impl Fn(&[&str]) -> Option<u8>) -> bool {
    attempts_arrive(trace, |words| Some(end_of(words)? == target))
}

/// Whether the last attempt of a trace arrives, and those before it, which are marked as mistakes, do not. `arrives` says
/// it of an attempt; none where one of its steps is wrong.
fn attempts_arrive(trace: &str, arrives: impl Fn(&[&str]) -> Option<bool>) -> bool {
    let words: Vec<&str> = trace.split_whitespace().collect();
    let mut attempts = words.rsplit(|word| *word == MISTAKE).map(arrives);
    // From the back: the last attempt first.
    attempts.next() == Some(Some(true)) && attempts.all(|arrived| arrived == Some(false))
}

/// With probability [`FALSE_STARTS`], what `draw` gives: the false start of a trace, where one is possible.
fn sometimes<T>(rng: &mut Rng, draw: impl FnOnce(&mut Rng) -> Option<T>) -> Option<T> {
    if rng.uniform() < FALSE_STARTS { draw(rng) } else { None }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use latrace_core::{Question, Tokenizer};
    use latrace_verify::Verdict;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const SIZES: Sizes = Sizes { traced: 400, untraced: 500, validation: 100, test: 200 };

    fn all(splits: &Splits) -> impl Iterator<Item = &Question> {
        [&splits.test, &splits.validation, &splits.traced, &splits.untraced].into_iter().flatten()
    }

    /// Training questions with traces.
    pub(super) fn traced(task: Task, count: usize, seed: u64) -> Vec<Question> {
        let sizes = Sizes { traced: count, untraced: 0, validation: 0, test: 0 };
        task.questions(&sizes, seed).unwrap().traced
    }

    /// Draws 200 times as often as there are outcomes, and checks that all are about equally frequent.
    #[track_caller]
    pub(super) fn check_uniform<T: Ord + Clone>(outcomes: &[T], draw: impl Fn(u64) -> T) {
        let mut counts: BTreeMap<T, f64> = outcomes.iter().map(|outcome| (outcome.clone(), 0.0)).collect();
        (0..200 * outcomes.len() as u64).for_each(|at| *counts.get_mut(&draw(at)).unwrap() += 1.0);
        let chi_square: f64 = counts.values().map(|count| (count - 200.0).powi(2) / 200.0).sum();
        let freedom = (outcomes.len() - 1) as f64;
        // Mean and five standard deviations of the distribution: the seed is fixed, so this holds for good or
        // not at all.
        let most = freedom + 5.0 * (2.0 * freedom).sqrt();
        assert!(chi_square < most, "{chi_square} at {freedom} degrees of freedom");
    }

    /// A trace with the number at word `at` replaced by the next one; none where that word is no number.
    fn spoilt(trace: &str, at: usize) -> Option<String> {
        let mut words: Vec<String> = trace.split(' ').map(str::to_owned).collect();
        let next = (number(&words[at])? + 1) % (LARGEST + 1);
        words[at] = next.to_string();
        Some(words.join(" "))
    }

    /// Whether the word at `at` is a number that is withdrawn where another one would do as well: the wrong result of
    /// arithmetic, a number in a square that is started over.
    fn is_withdrawn(task: Task, trace: &str, at: usize) -> bool {
        let mut rest = trace.split(' ').skip(at + 1);
        match task {
            Task::Walk | Task::Countdown | Task::Graph => false,
            Task::Arithmetic => rest.next() == Some(MISTAKE),
            Task::Latin => rest.any(|word| word == MISTAKE),
        }
    }

    #[test]
    fn reference_traces_are_valid_and_not_with_another_number() {
        for task in Task::ALL {
            for question in traced(task, 1000, 6) {
                let (text, trace) = (&question.question, question.trace.unwrap());
                let check = |trace: &str| task.check_trace(text, trace);
                assert_eq!(check(&trace), TraceCheck::Valid, "{text}: {trace}");
                for at in (0..trace.split(' ').count()).filter(|&at| !is_withdrawn(task, &trace, at)) {
                    let Some(spoilt) = spoilt(&trace, at) else { continue };
                    assert_eq!(check(&spoilt), TraceCheck::Invalid, "{text}: {spoilt}");
                }
                let words: Vec<&str> = trace.split(' ').collect();
                for cut in 0..words.len() {
                    assert_eq!(
                        check(&words[..cut].join(" ")),
                        TraceCheck::Invalid,
                        "{text}: {trace} cut at {cut}"
                    );
                }
            }
        }
    }

    #[test]
    fn false_starts_are_as_frequent_as_they_should_be() {
        for (task, count) in [(Task::Walk, 4927), (Task::Countdown, 3000), (Task::Arithmetic, 3000)] {
            let questions = traced(task, count, 8);
            let has_mistake = |question: &&Question| question.trace.as_ref().unwrap().contains(MISTAKE);
            let mistakes = questions.iter().filter(has_mistake).count() as f64;
            let expected = count as f64 * FALSE_STARTS;
            let deviation = (expected * (1.0 - FALSE_STARTS)).sqrt();
            assert!((mistakes - expected).abs() < 3.0 * deviation, "{task:?}: {mistakes} of {expected}");
        }
    }

    #[test]
    fn tasks_say_what_they_are_in_two_sentences() {
        for task in Task::ALL {
            let TaskText { meaning, trace, difficulty } = task.text();
            assert!(sentences(meaning) <= 2 && meaning.ends_with('.'), "{meaning}");
            assert!(trace.starts_with("A trace ") && trace.ends_with('.'), "{trace}");
            assert!(!difficulty.ends_with('.') && difficulty.starts_with("the "), "{difficulty}");
        }
    }

    /// How many sentences a text has.
    pub(crate) fn sentences(text: &str) -> usize {
        text.split(". ").count()
    }

    #[test]
    fn names_lead_to_tasks_and_are_those_of_files() {
        for task in Task::ALL {
            assert_eq!(Task::named(task.name()), Some(task));
            assert_eq!(serde_json::to_value(task).unwrap(), task.name());
        }
        assert_eq!(Task::named("Walk"), None);
        assert!(
            serde_json::from_str::<Sizes>(
                r#"{"traced": 1, "untraced": 1, "validation": 1, "test": 1, "rest": 1}"#
            )
            .is_err()
        );
    }

    #[test]
    fn splits_are_as_large_as_asked_disjoint_and_reproducible() {
        for task in Task::ALL {
            let splits = task.questions(&SIZES, 5).unwrap();
            assert_eq!(
                [splits.traced.len(), splits.untraced.len(), splits.validation.len(), splits.test.len()],
                [400, 500, 100, 200]
            );
            let ids: BTreeSet<&str> = all(&splits).map(|question| question.id.as_str()).collect();
            let texts: BTreeSet<&str> = all(&splits).map(|question| question.question.as_str()).collect();
            assert_eq!((ids.len(), texts.len()), (1200, 1200), "{task:?}");
            assert_eq!(splits, task.questions(&SIZES, 5).unwrap());
            assert_ne!(splits, task.questions(&SIZES, 6).unwrap());
        }
    }

    #[test]
    fn held_out_questions_do_not_depend_on_how_many_there_are_to_learn_from() {
        for task in Task::ALL {
            let (splits, fewer) = (
                task.questions(&SIZES, 5).unwrap(),
                task.questions(&Sizes { traced: 10, untraced: 0, ..SIZES }, 5).unwrap(),
            );
            assert_eq!((&splits.test, &splits.validation), (&fewer.test, &fewer.validation));
            assert_eq!(splits.traced[..10], fewer.traced);
        }
    }

    #[test]
    fn splits_have_the_same_mix_of_difficulties() {
        for task in Task::ALL {
            let splits = task.questions(&SIZES, 2).unwrap();
            let shares = |questions: &[Question]| {
                let mut shares: BTreeMap<String, f64> = BTreeMap::new();
                questions.iter().for_each(|question| {
                    *shares.entry(question.difficulty.clone().unwrap()).or_default() +=
                        1.0 / questions.len() as f64
                });
                shares
            };
            let (traced, test) = (shares(&splits.traced), shares(&splits.test));
            // A cut moves at most one question of a grade at either end.
            let close = traced.iter().all(|(name, share)| {
                (share - test.get(name).unwrap_or(&0.0)).abs() <= 2.0 / 200.0 + 2.0 / 400.0
            });
            assert!(close, "{task:?}: {traced:?} against {test:?}");
        }
    }

    #[test]
    fn too_many_questions_are_refused_with_how_many_there_are() {
        for task in Task::ALL {
            let error = task.questions(&Sizes { traced: usize::MAX, ..SIZES }, 0).unwrap_err().to_string();
            assert!(
                error.contains(&format!("the task {} has ", task.name())) && !error.contains(" has 0 "),
                "{error}"
            );
        }
    }

    #[test]
    fn fields_are_those_of_each_kind_of_question() {
        for task in Task::ALL {
            let splits = task.questions(&SIZES, 1).unwrap();
            let with_trace =
                |questions: &[Question]| questions.iter().filter(|question| question.trace.is_some()).count();
            assert_eq!(
                [&splits.traced, &splits.untraced, &splits.validation, &splits.test]
                    .map(|split| with_trace(split)),
                [400, 0, 0, 0]
            );
            for question in all(&splits) {
                assert_eq!(
                    (question.kind.as_deref(), question.source.as_deref()),
                    (Some(task.name()), Some(task.name()))
                );
                assert!(question.difficulty.is_some() && question.id.starts_with(task.name()));
                assert_eq!(question.hint(), question.answer.as_deref());
            }
        }
    }

    #[test]
    fn a_question_is_solved_the_same_in_whatever_split_it_is() {
        for task in Task::ALL {
            let apart =
                task.questions(&Sizes { test: 300, validation: 0, traced: 0, untraced: 0 }, 4).unwrap();
            let together =
                task.questions(&Sizes { test: 0, validation: 0, traced: 300, untraced: 0 }, 4).unwrap();
            for (tested, traced) in apart.test.iter().zip(&together.traced) {
                assert_eq!(*tested, Question { trace: None, ..traced.clone() });
            }
        }
    }

    #[test]
    fn every_text_is_made_of_known_words() {
        for task in Task::ALL {
            let tokenizer = Tokenizer::from_bytes(task.tokenizer().as_bytes()).unwrap();
            let splits = task.questions(&SIZES, 9).unwrap();
            for text in all(&splits)
                .flat_map(|question| {
                    [Some(&question.question), question.trace.as_ref(), question.answer.as_ref()]
                })
                .flatten()
            {
                let ids = tokenizer.encode(text).unwrap();
                assert!(!ids.contains(&tokenizer.token_id(tokenizer::UNKNOWN).unwrap()), "{text}");
                assert_eq!(tokenizer.decode(&ids).unwrap(), *text);
            }
        }
    }

    #[test]
    fn reference_answers_are_right_and_spoilt_ones_are_not() {
        for task in Task::ALL {
            let splits = task.questions(&SIZES, 7).unwrap();
            for question in all(&splits) {
                let answer = question.answer.as_deref().unwrap();
                let verdict = |answer: &str| task.judge(&question.question, answer).verdict();
                assert_eq!(verdict(answer), Verdict::Correct, "{question:?}");
                assert_eq!(verdict(&format!(" {answer}\n")), Verdict::Correct);
                for spoilt in [
                    "",
                    " ",
                    "?",
                    "100",
                    "<unk>",
                    "x",
                    &format!("{answer} ?"),
                    &format!("{answer} x"),
                    &answer.replace(' ', "")[1..],
                ] {
                    assert_eq!(verdict(spoilt).name(), "wrong", "{spoilt} for {question:?}");
                }
                let (last, others) = answer.split_once(' ').map_or((answer, ""), |_| {
                    (answer.rsplit(' ').next().unwrap(), &answer[..answer.rfind(' ').unwrap()])
                });
                assert_ne!(verdict(others), Verdict::Correct, "{last} missing from {question:?}");
            }
        }
    }

    #[test]
    fn endless_answers_are_wrong() {
        for task in Task::ALL {
            let question = &task.questions(&SIZES, 7).unwrap().test[0];
            let answer = question.answer.as_deref().unwrap();
            for word in [answer, "+7 *2", "1 +", "1 + 1 = 2 ,", "(", ")", "9", "?"] {
                assert_eq!(
                    task.judge(&question.question, &format!("{word} ").repeat(100_000)).verdict(),
                    Verdict::Wrong,
                    "{word}"
                );
            }
        }
    }

    #[test]
    fn a_question_that_cannot_be_read_is_neither_right_nor_wrong() {
        for task in Task::ALL {
            for question in [
                "",
                "one two",
                "1 100",
                "( 1",
                "1 +",
                "1 + 1 )",
                "01 2",
                "1 -> 100",
                "1 2 3 4 5 6 7 8 -> 9",
                &"( ".repeat(100_000),
                &"1 + ".repeat(100_000),
            ] {
                assert_eq!(task.judge(question, "1").verdict(), Verdict::Undetermined, "{task:?} {question}");
            }
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(["0", "7", "99"].map(number), [Some(0), Some(7), Some(99)]);
        assert_eq!(["", "+7", "-0", "07", "00", "100", "1.0", "٣"].map(number), [None; 8]);
    }

    proptest! {
        #[test]
        fn judges_take_any_text(question in "\\PC*", answer in "\\PC*") {
            for task in Task::ALL {
                prop_assert!(task.judge(&question, &answer).extracted.is_none_or(|extracted| extracted == answer.trim()));
            }
        }

        #[test]
        fn judges_take_any_words(
            question in "(([0-9]{1,3}|[-+*/()=,x]|->|[+]7|[*]2|-3) ){0,12}",
            answer in "(([0-9]{1,3}|[0-9]/[0-9]|[-+*/()=,x]|->|[+]7|[*]2|-3) ){0,24}",
        ) {
            for task in Task::ALL {
                prop_assert!(task.judge(&question, &answer).extracted.is_none_or(|extracted| extracted == answer.trim()));
            }
        }
    }
}
