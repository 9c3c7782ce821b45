//! Selects the responses and traces that fit into a page: all of them, or those of seeded samples of questions.

use std::collections::HashMap;

use anyhow::Result;
use latrace_objective::Rng;

use super::data::{Browsed, ReportData, TraceBrowser};
use super::page::{PageUse, embeddable, page};
use latrace_io::failure::Failure;

/// The share of the room that responses may take: the rest is for traces.
const OF_RESPONSES: f64 = 0.4;

/// Keeps as many questions as fit into a page of `largest` bytes, sampled with the run's seed, in order.
///
/// # Errors
/// The page is too large even without traces.
pub fn fit(mut data: ReportData, largest: usize) -> Result<ReportData> {
    let seed = data.run.seed.unwrap_or(0);
    fit_responses(&mut data, largest, seed)?;
    let questions = std::mem::take(&mut data.traces.questions);
    let vocabulary = std::mem::take(&mut data.traces.vocabulary);
    // The collector may have been offered more questions than it could hold.
    data.traces.of = data.traces.of.max(questions.len());
    // Set before measuring, so that its own size is counted.
    data.traces.seed = Some(seed);
    let room = room_beside(&data, largest)?;
    let kept = Choice::new(&questions, &vocabulary, room).fill(seed)?;
    if kept.len() == data.traces.of {
        data.traces.seed = None;
    }
    let questions = only(questions, &kept);
    data.traces = renumbered(TraceBrowser { questions, ..data.traces }, &vocabulary);
    Ok(data)
}

/// Keeps as many of the questions with responses as fit into their share of what a page without them leaves.
fn fit_responses(data: &mut ReportData, largest: usize, seed: u64) -> Result<()> {
    let questions = std::mem::take(&mut data.responses.questions);
    let bare = ReportData { traces: TraceBrowser::default(), ..data.clone() };
    let mut room = (room_beside(&bare, largest)? as f64 * OF_RESPONSES) as usize;
    let mut fits = |at: usize| -> serde_json::Result<bool> {
        let cost = size(&questions[at])?;
        let fits = cost <= room;
        room -= if fits { cost } else { 0 };
        Ok(fits)
    };
    let kept = drawn(questions.len(), seed, &mut fits)?;
    data.responses.of = data.responses.of.max(questions.len());
    data.responses.seed = (kept.len() < data.responses.of).then_some(seed);
    data.responses.questions = only(questions, &kept);
    Ok(())
}

/// The places of what fits, in ascending order, tried in a random order: the first might be the easiest.
fn drawn(
    of: usize,
    seed: u64,
    fits: &mut dyn FnMut(usize) -> serde_json::Result<bool>,
) -> serde_json::Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..of).collect();
    Rng::at(seed, &[11]).shuffle(&mut order);
    let mut kept = Vec::new();
    for at in order {
        if fits(at)? {
            kept.push(at);
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

/// Bytes that the page without traces leaves.
fn room_beside(data: &ReportData, largest: usize) -> Result<usize> {
    // Measured as served, which is the longer form.
    let rest = page(data, PageUse::Served)?.len();
    largest.checked_sub(rest).ok_or_else(|| too_large(rest, largest).into())
}

fn too_large(without: usize, largest: usize) -> Failure {
    let message = format!("the report would be {without} bytes without any trace; the limit is {largest}");
    Failure::work(message)
}

/// The questions at these indices, which are in ascending order.
fn only<T>(questions: Vec<T>, kept: &[usize]) -> Vec<T> {
    (0..)
        .zip(questions)
        .filter(|(at, _)| kept.binary_search(at).is_ok())
        .map(|(_, question)| question)
        .collect()
}

/// The choice of questions for a page, while it is made.
struct Choice<'a> {
    questions: &'a [Browsed],
    vocabulary: &'a [String],
    /// Bytes that are left.
    room: usize,
    /// Whether a token is used by a chosen question, so that its text costs nothing more.
    is_known: Vec<bool>,
}

impl<'a> Choice<'a> {
    fn new(questions: &'a [Browsed], vocabulary: &'a [String], room: usize) -> Choice<'a> {
        Choice { questions, vocabulary, room, is_known: vec![false; vocabulary.len()] }
    }

    /// Takes questions while there is room; returns their indices in ascending order.
    fn fill(mut self, seed: u64) -> serde_json::Result<Vec<usize>> {
        let questions = self.questions;
        drawn(questions.len(), seed, &mut |at| self.take(&questions[at]))
    }

    /// Takes a question if it fits. One that is too large is skipped in favour of smaller ones; after a few
    /// misses the page is as good as full.
    fn take(&mut self, question: &Browsed) -> serde_json::Result<bool> {
        let new = self.new_tokens(question);
        let words = new.iter().map(|&token| size(&self.vocabulary[token as usize]));
        let cost = size(question)? + words.sum::<serde_json::Result<usize>>()?;
        let fits = cost <= self.room;
        if fits {
            self.room -= cost;
            new.iter().for_each(|&token| self.is_known[token as usize] = true);
        }
        Ok(fits)
    }

    fn new_tokens(&self, question: &Browsed) -> Vec<u32> {
        let tokens = tokens_of(question).copied();
        let mut new: Vec<u32> = tokens.filter(|&token| !self.is_known[token as usize]).collect();
        // Each once: the page holds a token's text once, however often it is used.
        new.sort_unstable();
        new.dedup();
        new
    }
}

fn tokens_of(question: &Browsed) -> impl Iterator<Item = &u32> {
    question.traces.iter().flat_map(|trace| &trace.tokens)
}

/// Size in the page, including the comma.
fn size(value: &(impl serde::Serialize + ?Sized)) -> serde_json::Result<usize> {
    Ok(embeddable(&serde_json::to_string(value)?).len() + 1)
}

/// Removes unused words from the vocabulary, and sorts it by frequency, so that frequent words get short
/// indices.
fn renumbered(mut traces: TraceBrowser, vocabulary: &[String]) -> TraceBrowser {
    let tokens = by_frequency(&traces.questions);
    let number: HashMap<u32, u32> = (0..).zip(&tokens).map(|(number, &token)| (token, number)).collect();
    let traces_of = traces.questions.iter_mut().flat_map(|question| &mut question.traces);
    traces_of.flat_map(|trace| &mut trace.tokens).for_each(|token| *token = number[token]);
    traces.vocabulary = tokens.iter().map(|&token| vocabulary[token as usize].clone()).collect();
    traces
}

/// The tokens in use, the most frequent first; equally frequent ones by number, so that a page depends only on
/// its run.
fn by_frequency(questions: &[Browsed]) -> Vec<u32> {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for token in questions.iter().flat_map(tokens_of) {
        *counts.entry(*token).or_default() += 1;
    }
    let mut tokens: Vec<(u32, u64)> = counts.into_iter().collect();
    tokens.sort_by_key(|&(token, count)| (std::cmp::Reverse(count), token));
    tokens.into_iter().map(|(token, _)| token).collect()
}

#[cfg(test)]
mod tests {
    use super::super::data::{AnsweredQuestion, BrowsedTrace, ShownResponse};
    use super::*;

    fn trace(tokens: &[u32]) -> BrowsedTrace {
        BrowsedTrace {
            sample: 0,
            closed: true,
            weight: Some(1.0),
            chosen: 1.0,
            log_ratio: Some(0.0),
            times: 1,
            length: tokens.len(),
            tokens: tokens.to_vec(),
            centinats: vec![-5; tokens.len()],
            answers: Vec::new(),
        }
    }

    fn many(questions: u32) -> ReportData {
        let browsed = |at: u32| Browsed {
            id: format!("q{at:04}"),
            question: "<b>&".repeat(10),
            hint: None,
            difficulty: None,
            traces: vec![trace(&[0, 3 + at % 40, 3 + at % 7]); 4],
        };
        let vocabulary = (0..50).map(|at| format!("</{at}>")).collect();
        let traces = TraceBrowser {
            of: 0,
            seed: None,
            writer: "the posterior".to_owned(),
            vocabulary,
            questions: (0..questions).map(browsed).collect(),
        };
        ReportData { traces, ..ReportData::default() }
    }

    fn texts(data: &ReportData) -> Vec<Vec<&str>> {
        let traces = data.traces.questions.iter().flat_map(|question| &question.traces);
        traces
            .map(|trace| {
                trace.tokens.iter().map(|&token| data.traces.vocabulary[token as usize].as_str()).collect()
            })
            .collect()
    }

    #[test]
    fn all_are_kept_where_there_is_room_and_say_the_same() {
        let data = many(30);
        let fitted = fit(data.clone(), 2_000_000).unwrap();
        assert_eq!((fitted.traces.questions.len(), fitted.traces.of, fitted.traces.seed), (30, 30, None));
        assert_eq!(texts(&fitted), texts(&data));
        assert_eq!(fitted.traces.vocabulary[0], "</0>");
        assert_eq!(fitted.traces.vocabulary.len(), 31);
    }

    #[test]
    fn a_page_never_exceeds_its_limit_and_uses_it() {
        let without = page(&many(0), PageUse::Served).unwrap().len();
        for room in [100, 5_000, 60_000] {
            let fitted = fit(many(400), without + room).unwrap();
            let length = page(&fitted, PageUse::Served).unwrap().len();
            assert!(length <= without + room, "{length} of {}", without + room);
            assert_eq!((fitted.traces.of, fitted.traces.seed), (400, Some(0)));
            assert!(room < 5_000 || length + 1_500 > without + room, "{length} of {}", without + room);
            assert!(fitted.traces.questions.windows(2).all(|pair| pair[0].id < pair[1].id));
        }
    }

    #[test]
    fn responses_leave_room_for_traces() {
        let response = ShownResponse {
            thought: "36 +7 43 ".repeat(40),
            answer: None,
            reason: latrace_core::Reason::NoAnswer,
            truncated: false,
            times: 1,
        };
        let question = |at: usize| AnsweredQuestion {
            id: format!("q{at:04}"),
            question: String::new(),
            answer: None,
            difficulty: None,
            responses: vec![vec![response.clone()]; 2],
        };
        let mut data = many(400);
        data.responses.questions = (0..300).map(question).collect();
        data.responses.of = 600;
        let without = page(&many(0), PageUse::Served).unwrap().len();
        let fitted = fit(data.clone(), without + 60_000).unwrap();
        let kept = fitted.responses.questions.len();
        assert!((20..60).contains(&kept), "{kept}");
        assert!(fitted.responses.questions.is_sorted_by(|a, b| a.id < b.id));
        assert_eq!((fitted.responses.of, fitted.responses.seed), (600, Some(0)));
        assert!(fitted.traces.questions.len() > 30, "{}", fitted.traces.questions.len());
        assert!(page(&fitted, PageUse::Served).unwrap().len() <= without + 60_000);
        data.responses.of = 300;
        assert_eq!(fit(data, 4_000_000).unwrap().responses.seed, None);
    }

    #[test]
    fn the_sample_is_the_seeds() {
        let names = |seed: u64| {
            let mut data = many(400);
            data.run.seed = Some(seed);
            let without = page(&many(0), PageUse::Served).unwrap().len();
            fit(data, without + 20_000)
                .unwrap()
                .traces
                .questions
                .into_iter()
                .map(|question| question.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), names(1));
        assert_ne!(names(1), names(2));
    }

    #[test]
    fn a_page_too_large_by_itself_is_an_error() {
        assert!(fit(many(1), 1_000).unwrap_err().to_string().contains("without any trace"));
    }
}
