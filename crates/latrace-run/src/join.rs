//! The join of questions' traces with the records on them: scores, answers, verdicts and weights. Records
//! belong together by question and trace number, never by their order.

use std::borrow::Cow;
use std::collections::HashMap;

use anyhow::{Result, bail};

use crate::pipeline::records::{AnswerRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord};
use crate::pipeline::views::{TraceLogprobs, TraceTokens};

/// A trace, or a record on one.
pub trait OfTrace {
    /// Its question.
    fn question(&self) -> Cow<'_, str>;

    /// k.
    fn sample(&self) -> u64;
}

macro_rules! of_trace {
    ($($record:ty),+) => {$(
        impl OfTrace for $record {
            fn question(&self) -> Cow<'_, str> {
                Cow::Borrowed(&self.id)
            }

            fn sample(&self) -> u64 {
                self.sample
            }
        }
    )+};
}

of_trace!(TraceRecord, TraceLogprobs, TraceTokens, ScoreRecord, AnswerRecord, VerdictRecord, WeightRecord);

/// Traces `T` by question, each with what has been joined to it: an `S` that begins empty.
#[derive(Debug)]
pub struct Join<T, S> {
    /// In order of the traces.
    questions: Vec<QuestionTraces<T, S>>,
    places: HashMap<String, usize>,
}

/// A question and its traces.
#[derive(Debug)]
pub struct QuestionTraces<T, S> {
    /// Its id, as [`OfTrace::question`] gives it.
    pub id: String,
    /// Its traces in their order, each with the records on it.
    pub traces: Vec<(T, S)>,
    places: HashMap<u64, usize>,
}

impl<T: OfTrace, S: Default> QuestionTraces<T, S> {
    fn trace(&self, sample: u64) -> Option<&T> {
        self.places.get(&sample).map(|&place| &self.traces[place].0)
    }

    fn push(&mut self, trace: T) {
        self.places.insert(trace.sample(), self.traces.len());
        self.traces.push((trace, S::default()));
    }
}

impl<T: OfTrace, S: Default> Join<T, S> {
    /// Groups traces by question.
    ///
    /// # Errors
    /// What `twice` makes of a trace that appears again, and the earlier one.
    pub fn new(
        traces: impl IntoIterator<Item = T>,
        twice: impl Fn(&T, &T) -> anyhow::Error,
    ) -> Result<Join<T, S>> {
        let mut join = Join { questions: Vec::new(), places: HashMap::new() };
        for trace in traces {
            let question = join.question(&trace.question());
            if let Some(earlier) = question.trace(trace.sample()) {
                return Err(twice(&trace, earlier));
            }
            question.push(trace);
        }
        Ok(join)
    }

    fn question(&mut self, id: &str) -> &mut QuestionTraces<T, S> {
        let place = self.places.get(id).copied().unwrap_or_else(|| self.add_question(id));
        &mut self.questions[place]
    }

    fn add_question(&mut self, id: &str) -> usize {
        let place = self.questions.len();
        self.questions.push(QuestionTraces { id: id.to_owned(), traces: Vec::new(), places: HashMap::new() });
        self.places.insert(id.to_owned(), place);
        place
    }

    /// Joins records: `put` puts each beside its trace. Returns those that have no trace.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn add<R: OfTrace>(
        &mut self,
        records: impl IntoIterator<Item = R>,
        mut put: impl FnMut(&T, &mut S, R) -> Result<()>,
    ) -> Result<Vec<R>> {
        let mut unmatched = Vec::new();
        for record in records {
            match self.find(&record) {
                Some((trace, joined)) => put(trace, joined, record)?,
                None => unmatched.push(record),
            }
        }
        Ok(unmatched)
    }

    fn find(&mut self, record: &impl OfTrace) -> Option<(&T, &mut S)> {
        let place = *self.places.get(&*record.question())?;
        let question = &mut self.questions[place];
        let place = *question.places.get(&record.sample())?;
        let (trace, joined) = &mut question.traces[place];
        Some((trace, joined))
    }

    /// The questions, in order of their first traces.
    pub fn into_questions(self) -> Vec<QuestionTraces<T, S>> {
        self.questions
    }
}

/// A run's records on one trace; answers are judged by a verdict `V`.
#[derive(Debug)]
pub struct OnTrace<V> {
    /// Its log-probs under pi_theta0.
    pub score: Option<ScoreRecord>,
    /// The answers after it, in order of their numbers, each with its verdict.
    pub answers: Vec<(AnswerRecord, Option<V>)>,
    /// Its weight.
    pub weight: Option<WeightRecord>,
}

// Implemented by hand, because the derive would ask for a default verdict.
impl<V> Default for OnTrace<V> {
    fn default() -> OnTrace<V> {
        OnTrace { score: None, answers: Vec::new(), weight: None }
    }
}

impl<V> OnTrace<V> {
    /// Puts a score beside its trace.
    ///
    /// # Errors
    /// There is one already.
    pub fn put_score<T>(_: &T, on: &mut OnTrace<V>, score: ScoreRecord) -> Result<()> {
        put_once(&mut on.score, score)
    }

    /// Puts a weight beside its trace.
    ///
    /// # Errors
    /// There is one already.
    pub fn put_weight<T>(_: &T, on: &mut OnTrace<V>, weight: WeightRecord) -> Result<()> {
        put_once(&mut on.weight, weight)
    }

    /// Puts an answer beside its trace, in its place among the others.
    ///
    /// # Errors
    /// There is one of that number already.
    pub fn put_answer<T>(_: &T, on: &mut OnTrace<V>, answer: AnswerRecord) -> Result<()> {
        // Sorted by number: a random choice among answers must not depend on the order of rows.
        match on.answers.binary_search_by_key(&answer.answer, |(other, _)| other.answer) {
            Ok(_) => bail!("{}, answer {} appears twice", name(&answer), answer.answer),
            Err(place) => on.answers.insert(place, (answer, None)),
        }
        Ok(())
    }

    /// Puts the verdict of a record beside the answer of that number.
    ///
    /// # Errors
    /// There is no such answer, or it has a verdict already.
    pub fn put_verdict(&mut self, record: &impl OfTrace, answer: u64, verdict: V) -> Result<()> {
        let name = || format!("{}, answer {answer}", name(record));
        let place = self.answers.binary_search_by_key(&answer, |(other, _)| other.answer);
        match place.ok().map(|place| &mut self.answers[place].1) {
            None => bail!("there is a verdict on {}, but there is no such answer", name()),
            Some(Some(_)) => bail!("{}: the verdict appears twice", name()),
            Some(empty) => *empty = Some(verdict),
        }
        Ok(())
    }
}

/// Fills an empty place.
///
/// # Errors
/// It is not empty.
pub fn put_once<R: OfTrace>(place: &mut Option<R>, record: R) -> Result<()> {
    if place.is_some() {
        bail!("{} appears twice", name(&record));
    }
    *place = Some(record);
    Ok(())
}

/// A trace as messages name it.
pub fn name(record: &impl OfTrace) -> String {
    format!("id {}, sample {}", record.question(), record.sample())
}

/// Refuses records that have no trace.
///
/// # Errors
/// There is one.
pub fn all_matched<R: OfTrace>(unmatched: &[R]) -> Result<()> {
    match unmatched.first() {
        None => Ok(()),
        Some(record) => bail!("there is a row with {}, but there is no such trace", name(record)),
    }
}

/// The error of a trace that appears twice.
pub fn twice<T: OfTrace>(trace: &T, _: &T) -> anyhow::Error {
    anyhow::anyhow!("{} appears twice", name(trace))
}

#[cfg(test)]
mod tests {
    use latrace_core::Reason;

    use super::*;

    fn trace(id: &str, sample: u64) -> TraceLogprobs {
        TraceLogprobs { id: id.to_owned(), sample, logprobs: Vec::new(), closed: true }
    }

    fn verdict(id: &str, sample: u64, answer: u64) -> VerdictRecord {
        VerdictRecord { id: id.to_owned(), sample, answer, reason: Reason::Equal, is_reference: false }
    }

    fn answer(id: &str, sample: u64, answer: u64) -> AnswerRecord {
        let (token_ids, logprobs, text) = (Vec::new(), Vec::new(), String::new());
        AnswerRecord { id: id.to_owned(), sample, answer, token_ids, given: 0, logprobs, ended: true, text }
    }

    fn join(traces: &[(&str, u64)]) -> Result<Join<TraceLogprobs, OnTrace<Reason>>> {
        Join::new(traces.iter().map(|&(id, sample)| trace(id, sample)), twice)
    }

    fn put_verdict(_: &TraceLogprobs, on: &mut OnTrace<Reason>, record: VerdictRecord) -> Result<()> {
        on.put_verdict(&record, record.answer, record.reason)
    }

    #[test]
    fn records_join_by_question_and_number_whatever_their_order() {
        let mut join = join(&[("b", 1), ("a", 0), ("b", 0)]).unwrap();
        let answers = [answer("b", 0, 1), answer("a", 0, 0), answer("b", 0, 0), answer("c", 0, 0)];
        let unmatched = join.add(answers, OnTrace::put_answer).unwrap();
        assert_eq!(unmatched, [answer("c", 0, 0)]);
        assert!(join.add([verdict("b", 0, 1)], put_verdict).unwrap().is_empty());
        let questions = join.into_questions();
        let found: Vec<(&str, Vec<(u64, usize)>)> = questions
            .iter()
            .map(|of| (&*of.id, of.traces.iter().map(|(of, on)| (of.sample, on.answers.len())).collect()))
            .collect();
        assert_eq!(found, [("b", vec![(1, 0), (0, 2)]), ("a", vec![(0, 1)])]);
        let answers = &questions[0].traces[1].1.answers;
        assert_eq!((answers[0].0.answer, answers[0].1.is_some()), (0, false));
        assert_eq!((answers[1].0.answer, answers[1].1.is_some()), (1, true));
    }

    #[test]
    fn what_appears_twice_or_has_nothing_to_join_is_named() {
        assert_eq!(join(&[("a", 3), ("a", 3)]).unwrap_err().to_string(), "id a, sample 3 appears twice");
        let mut join = join(&[("a", 3)]).unwrap();
        let twice = [answer("a", 3, 1), answer("a", 3, 1)];
        let error = join.add(twice, OnTrace::put_answer).unwrap_err();
        assert_eq!(error.to_string(), "id a, sample 3, answer 1 appears twice");
        let error = join.add([verdict("a", 3, 0)], put_verdict).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is a verdict on id a, sample 3, answer 0, but there is no such answer"
        );
        let twice = [verdict("a", 3, 1), verdict("a", 3, 1)];
        let error = join.add(twice, put_verdict).unwrap_err();
        assert_eq!(error.to_string(), "id a, sample 3, answer 1: the verdict appears twice");
        let error = all_matched(&[verdict("z", 0, 0)]).unwrap_err();
        assert_eq!(error.to_string(), "there is a row with id z, sample 0, but there is no such trace");
    }
}
