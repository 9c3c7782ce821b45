//! Contamination: training questions that also stand in an evaluation set, whose accuracies then measure memory.
//!
//! Texts are compared as `normal` has them. A training question is either *the same* as one to be evaluated, or
//! *overlaps* with them: it shares any [`WORDS`] consecutive words with one. Of a question with fewer words only the
//! whole text is compared. All is counted in one pass, over hashes of the evaluated questions' runs of words.
//!
//! differs in: GPT-3's filter (arXiv 2005.14165, appendix C) drops overlaps found in more than ten documents as
//! boilerplate; here any overlap counts, and one is shown, so that a form in which all questions are posed is seen.

mod normal;

use std::collections::HashSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use latrace_core::{Question, Split};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use normal::{normalised, unspaced};

/// Consecutive words that two different questions share only if one was made from the other, or both from one form.
pub const WORDS: usize = 13;

/// The questions that models are evaluated on, as hashes of their texts and of their runs of words.
#[derive(Clone, Debug, Default)]
pub struct EvaluatedTexts {
    texts: HashSet<u64>,
    runs: HashSet<u64>,
}

impl EvaluatedTexts {
    /// Adds a question.
    pub fn add(&mut self, question: &str) {
        let text = normalised(question);
        // An empty text would be the same as any other without a word.
        if !text.is_empty() {
            self.texts.insert(hash(unspaced(&text)));
            self.runs.extend(runs(&words(&text)));
        }
    }

    /// Whether there is none to compare with.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// What a question shares with them.
    fn shared(&self, question: &str) -> Option<Shared> {
        let text = normalised(question);
        if self.texts.contains(&hash(unspaced(&text))) {
            return Some(Shared::Text);
        }
        let words = words(&text);
        let found = runs(&words).position(|run| self.runs.contains(&run))?;
        Some(Shared::Words(words[found..found + WORDS].join(" ")))
    }
}

/// What a training question shares with one to be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shared {
    /// All of its text.
    Text,
    /// These words.
    Words(String),
}

fn words(normalised: &str) -> Vec<&str> {
    normalised.split_ascii_whitespace().collect()
}

/// Hashes of all runs of consecutive words.
fn runs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = u64> + 'a {
    words.windows(WORDS).map(hash)
}

/// With 64 bits, a million evaluated runs and a billion of training, one false overlap in 20,000 such comparisons.
fn hash(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Training questions that also stand in an evaluation set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contamination {
    /// Those with the same text.
    pub same: u64,
    /// Others that share 13 consecutive words with a question to be evaluated.
    pub overlapping: u64,
    /// All training questions.
    pub of: u64,
}

impl Contamination {
    /// Whether there is any.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.same + self.overlapping > 0
    }
}

impl fmt::Display for Contamination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Contamination { same, overlapping, of } = self;
        write!(
            f,
            "of {of} training questions {same} also stand in the evaluation sets, and {overlapping} others share \
             {WORDS} consecutive words with a question there"
        )
    }
}

/// The counts, and an example of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundQuestions {
    /// How many there are.
    pub counts: Contamination,
    /// The id of the first question with the same text.
    pub same: Option<String>,
    /// The id of the first other one, and the words that it shares.
    pub overlapping: Option<(String, String)>,
}

impl FoundQuestions {
    /// The training questions among `questions` that stand among `evaluated`, or among the others of `questions`.
    #[must_use]
    pub fn of(questions: &[(Split, Question)], mut evaluated: EvaluatedTexts) -> Option<FoundQuestions> {
        let (train, held_out): (Vec<_>, Vec<_>) =
            questions.iter().partition(|(split, _)| *split == Split::Train);
        held_out.iter().for_each(|(_, question)| evaluated.add(&question.question));
        if evaluated.is_empty() {
            return None;
        }
        let shared: Vec<(&Question, Option<Shared>)> =
            train.par_iter().map(|(_, question)| (question, evaluated.shared(&question.question))).collect();
        let mut found = FoundQuestions::default();
        shared.into_iter().for_each(|(question, shared)| found.add(&question.id, shared));
        Some(found)
    }

    fn add(&mut self, id: &str, shared: Option<Shared>) {
        let FoundQuestions { counts, same, overlapping } = self;
        counts.of += 1;
        match shared {
            None => {}
            Some(Shared::Text) => {
                counts.same += 1;
                same.get_or_insert_with(|| id.to_owned());
            }
            Some(Shared::Words(words)) => {
                counts.overlapping += 1;
                overlapping.get_or_insert_with(|| (id.to_owned(), words));
            }
        }
    }

    /// Logs the counts; as a warning, with examples, if there are any.
    pub fn log(&self) {
        if !self.counts.is_any() {
            return tracing::info!("{}", self.counts);
        }
        tracing::warn!("{}{}", self.counts, self.examples());
    }

    fn examples(&self) -> String {
        let same = self.same.iter().map(|id| format!("{id} (the same)"));
        let words = self.overlapping.iter().map(|(id, words)| format!("{id} (\"{words}\")"));
        format!("; for example {}", same.chain(words).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(split: Split, id: &str, text: &str) -> (Split, Question) {
        (split, Question { id: id.to_owned(), question: text.to_owned(), ..Question::default() })
    }

    fn found(train: &[&str], test: &[&str]) -> FoundQuestions {
        let numbered = |split, texts: &[&str]| -> Vec<_> {
            texts
                .iter()
                .enumerate()
                .map(|(at, text)| question(split, &format!("{split:?}-{at}"), text))
                .collect()
        };
        let questions = [numbered(Split::Train, train), numbered(Split::Test, test)].concat();
        FoundQuestions::of(&questions, EvaluatedTexts::default()).unwrap()
    }

    #[track_caller]
    fn check(train: &str, test: &str, same: u64, overlapping: u64) {
        assert_eq!(found(&[train], &[test]).counts, Contamination { same, overlapping, of: 1 }, "{train:?}");
    }

    const THIRTEEN: &str = "one two three four five six seven eight nine ten eleven twelve thirteen";

    #[test]
    fn the_same_text_is_found_however_it_is_set() {
        check("What is $3 + 4$?", "what is 3+4", 1, 0);
        check("What is 3 + 4?", "What is 3 - 4?", 0, 0);
        check("", "Which?", 0, 0);
    }

    #[test]
    fn thirteen_words_in_a_row_overlap_and_twelve_do_not() {
        check(&format!("So, {THIRTEEN}!"), &format!("Count: {THIRTEEN}"), 0, 1);
        let twelve = THIRTEEN.rsplit_once(' ').unwrap().0;
        check(&format!("{twelve} a"), &format!("{twelve} b"), 0, 0);
        // The same words, but not in a row.
        check(&THIRTEEN.replace("seven", "seven and"), &format!("{THIRTEEN} b"), 0, 0);
    }

    /// A short question has no 13 words to find within a longer one.
    #[test]
    fn of_a_short_question_the_whole_text_is_compared() {
        check("How many apples are left?", "How many apples are left", 1, 0);
        check(&format!("{THIRTEEN} How many apples are left?"), "How many apples are left?", 0, 0);
    }

    #[test]
    fn a_question_counts_once_and_the_first_is_the_example() {
        let both = format!("{THIRTEEN} fourteen");
        let found = found(&["a", THIRTEEN, &both, &both], &[THIRTEEN, "x"]);
        assert_eq!(found.counts, Contamination { same: 1, overlapping: 2, of: 4 });
        assert_eq!(found.same.as_deref(), Some("Train-1"));
        assert_eq!(found.overlapping, Some(("Train-2".to_owned(), THIRTEEN.to_owned())));
    }

    #[test]
    fn both_evaluation_splits_and_further_texts_are_compared_and_training_is_not() {
        let questions = [
            question(Split::Train, "a", "one"),
            question(Split::Train, "b", "one"),
            question(Split::Train, "c", "two"),
            question(Split::Train, "d", "three"),
            question(Split::Validation, "e", "two"),
        ];
        let mut further = EvaluatedTexts::default();
        further.add("THREE");
        let found = FoundQuestions::of(&questions, further).unwrap();
        assert_eq!(found.counts, Contamination { same: 2, overlapping: 0, of: 4 });
        // With nothing to compare with, nothing is known.
        assert_eq!(FoundQuestions::of(&questions[..4], EvaluatedTexts::default()), None);
    }
}
