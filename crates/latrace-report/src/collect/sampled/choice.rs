//! The selection of questions whose traces are held for reading, and their token ids as texts.

use std::collections::{BTreeMap, HashMap};

use latrace_core::Tokenizer;
use latrace_objective::Rng;

use super::JoinedTraces;
use super::browsed::{browsed, bytes_of};
use crate::collect::pieces::pieces;
use crate::collect::words::text_of;
use crate::data::{Browsed, TraceBrowser};
use crate::page::LARGEST_PAGE;
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::recipe::run::{Proposal, RunRecipe};

/// Maximum bytes of questions held for reading: more than fits into a page, so that the page can be filled.
const HELD: usize = 4 * LARGEST_PAGE;

/// Reservoir sample of questions to read: those with the lowest random keys, up to the byte limit.
#[derive(Default)]
pub(super) struct Choice {
    seed: u64,
    offered: usize,
    held: usize,
    /// Bytes and contents, by random key and place in the run.
    questions: BTreeMap<(u64, usize), (usize, Browsed)>,
}

impl Choice {
    pub(super) fn new(seed: u64) -> Choice {
        Choice { seed, ..Choice::default() }
    }

    /// Takes a question, and drops those with the highest keys that there is no longer room for.
    pub(super) fn offer(&mut self, question: QuestionRecord, traces: JoinedTraces) {
        // Keyed by place in the run, so that the choice does not depend on how the run is cut into parts.
        let key = Rng::at(self.seed, &[11, self.offered as u64]).next_u64();
        let browsed = browsed(question, traces);
        let bytes = bytes_of(&browsed);
        // With the place, so that two questions of one key do not replace each other.
        self.questions.insert((key, self.offered), (bytes, browsed));
        self.offered += 1;
        self.held += bytes;
        self.shrink();
    }

    fn shrink(&mut self) {
        while self.held > HELD
            && let Some((_, (bytes, _))) = self.questions.pop_last()
        {
            self.held -= bytes;
        }
    }

    /// The questions in run order, with token ids decoded.
    pub(super) fn traces(self, recipe: &RunRecipe, tokenizer: Option<Tokenizer>) -> TraceBrowser {
        let writer = writer(recipe.proposal()).to_owned();
        let of = self.offered;
        let mut questions = self.in_run_order();
        let vocabulary = decoded(&mut questions, tokenizer.as_ref());
        // `fit` sets the seed if a page cannot hold all of them.
        TraceBrowser { of, seed: None, writer, vocabulary, questions }
    }

    fn in_run_order(self) -> Vec<Browsed> {
        let placed = self.questions.into_iter().map(|((_, place), (_, browsed))| (place, browsed));
        placed.collect::<BTreeMap<_, _>>().into_values().collect()
    }
}

fn writer(proposal: Proposal) -> &'static str {
    match proposal {
        Proposal::Posterior => "the posterior",
        Proposal::Initial => "the initial model itself",
        Proposal::Reasoner => "the model to be improved itself",
    }
}

/// Replaces token ids by numbers of token texts, and returns the texts.
fn decoded(questions: &mut [Browsed], tokenizer: Option<&Tokenizer>) -> Vec<String> {
    let mut vocabulary = Vocabulary::default();
    for trace in questions.iter_mut().flat_map(|question| &mut question.traces) {
        let pieces = pieces(&trace.tokens, |ids| text_of(tokenizer, ids));
        trace.tokens = pieces.into_iter().map(|piece| vocabulary.number_of(piece)).collect();
    }
    vocabulary.into_words()
}

/// Token texts, numbered in order of first occurrence. Texts, because ids of different tokens can have the
/// same one, and one that completes a character has another text each time.
#[derive(Default)]
struct Vocabulary(HashMap<String, u32>);

impl Vocabulary {
    fn number_of(&mut self, word: String) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(word).or_insert(next)
    }

    fn into_words(self) -> Vec<String> {
        let mut words: Vec<(String, u32)> = self.0.into_iter().collect();
        words.sort_by_key(|&(_, number)| number);
        words.into_iter().map(|(word, _)| word).collect()
    }
}

#[cfg(test)]
mod tests {
    use latrace_core::Split;
    use latrace_run::join::OnTrace;
    use latrace_run::pipeline::records::TraceRecord;

    use super::*;

    #[test]
    fn as_many_questions_are_held_as_there_is_room_for() {
        let mut choice = Choice::new(3);
        for number in 0..400 {
            let trace = TraceRecord {
                id: number.to_string(),
                sample: 0,
                token_ids: vec![1; 4000],
                logprobs: Vec::new(),
                closed: true,
            };
            let question = QuestionRecord {
                id: number.to_string(),
                split: Split::Train,
                question: String::new(),
                hint: None,
                difficulty: None,
                kind: String::new(),
                reference: String::new(),
                prompt_ids: Vec::new(),
                posterior_prompt_ids: None,
                trace_ids: None,
                answer_ids: None,
            };
            choice.offer(question, vec![(trace, OnTrace::default())]);
        }
        let each = bytes_of(&choice.questions.first_key_value().unwrap().1.1);
        assert_eq!((choice.offered, choice.questions.len()), (400, HELD / each));
        let places: Vec<usize> = choice.in_run_order().iter().map(|of| of.id.parse().unwrap()).collect();
        assert!(places.is_sorted() && places[0] < 20 && places[places.len() - 1] > 380, "{places:?}");
    }
}
