//! A question and its traces, reduced to what a reader sees of them.

use latrace_core::Reason;

use super::{JoinedTraces, OnTrace};
use crate::data::{Browsed, BrowsedAnswer, BrowsedTrace};
use crate::text::shortened;
use latrace_run::pipeline::records::{AnswerRecord, QuestionRecord, ScoreRecord, TraceRecord};

/// Maximum tokens shown of a trace. A few traces of the longest kind would otherwise fill the page.
const SHOWN_TOKENS: usize = 4000;
/// Maximum characters shown of an answer, a question or a hint.
const SHOWN_LETTERS: usize = 2000;

/// A question to read; its traces are still token ids.
pub(super) fn browsed(question: QuestionRecord, traces: JoinedTraces) -> Browsed {
    let QuestionRecord { id, question, hint, difficulty, .. } = question;
    Browsed {
        id,
        question: shortened(question, SHOWN_LETTERS),
        hint: hint.map(|hint| shortened(hint, SHOWN_LETTERS)),
        difficulty,
        traces: browsed_traces(traces),
    }
}

/// Merges equal traces, in order of first occurrence: their weights and answers add up.
fn browsed_traces(traces: JoinedTraces) -> Vec<BrowsedTrace> {
    // By all tokens, not by those that are shown.
    let mut merged: Vec<(Vec<u32>, BrowsedTrace)> = Vec::new();
    for (trace, on) in traces {
        let (ids, new) = (trace.token_ids.clone(), browsed_trace(trace, on));
        match merged.iter_mut().find(|(known, _)| *known == ids) {
            Some((_, known)) => add(known, new),
            None => merged.push((ids, new)),
        }
    }
    merged.into_iter().map(|(_, trace)| trace).collect()
}

fn add(known: &mut BrowsedTrace, more: BrowsedTrace) {
    known.times += more.times;
    known.weight = known.weight.zip(more.weight).map_or(known.weight.or(more.weight), |(a, b)| Some(a + b));
    known.chosen += more.chosen;
    more.answers.into_iter().for_each(|answer| add_answer(&mut known.answers, answer));
}

fn browsed_trace(trace: TraceRecord, on: OnTrace) -> BrowsedTrace {
    let OnTrace { score, answers, weight } = on;
    let weight = weight.as_ref();
    BrowsedTrace {
        sample: trace.sample,
        times: 1,
        closed: trace.closed,
        weight: weight.map(|weight| weight.weight),
        // A trace that was not weighed was not chosen either.
        chosen: weight.map_or(0.0, |weight| weight.chosen),
        log_ratio: weight.and_then(|weight| weight.log_ratio),
        // Before the tokens are cut to what is shown: the page states the true length.
        length: trace.token_ids.len(),
        centinats: score.map_or(Vec::new(), |score| centinats(&score, &trace)),
        tokens: trace.token_ids.into_iter().take(SHOWN_TOKENS).collect(),
        answers: browsed_answers(answers),
    }
}

/// log pi − log q of each shown token, in hundredths of a nat: as whole numbers they take the fewest bytes in
/// JSON.
fn centinats(score: &ScoreRecord, trace: &TraceRecord) -> Vec<i32> {
    let pairs = score.logprobs.iter().zip(&trace.logprobs).take(SHOWN_TOKENS);
    pairs.map(hundredths).collect()
}

fn hundredths((&logp, &logq): (&f32, &f32)) -> i32 {
    ((f64::from(logp) - f64::from(logq)) * 100.0).round() as i32
}

/// Merges equal answers, in order of first occurrence.
fn browsed_answers(answers: Vec<(AnswerRecord, Option<Reason>)>) -> Vec<BrowsedAnswer> {
    let mut browsed: Vec<BrowsedAnswer> = Vec::new();
    for (answer, reason) in answers {
        add_answer(&mut browsed, browsed_answer(answer, reason));
    }
    browsed
}

fn add_answer(browsed: &mut Vec<BrowsedAnswer>, new: BrowsedAnswer) {
    match browsed.iter_mut().find(|known| is_same(known, &new)) {
        Some(known) => known.times += new.times,
        None => browsed.push(new),
    }
}

fn browsed_answer(answer: AnswerRecord, reason: Option<Reason>) -> BrowsedAnswer {
    let text = shortened(answer.text, SHOWN_LETTERS);
    BrowsedAnswer { text, reason, ended: answer.ended, times: 1 }
}

fn is_same(a: &BrowsedAnswer, b: &BrowsedAnswer) -> bool {
    a.text == b.text && a.reason == b.reason && a.ended == b.ended
}

/// Approximate size of a question in memory and on the page: its texts, and what the fields around them take.
pub(super) fn bytes_of(question: &Browsed) -> usize {
    let hint = question.hint.as_ref().map_or(0, String::len);
    let traces: usize = question.traces.iter().map(bytes_of_trace).sum();
    200 + question.question.len() + hint + traces
}

fn bytes_of_trace(trace: &BrowsedTrace) -> usize {
    let answers = trace.answers.iter().map(|answer| 80 + answer.text.len());
    // A token's index and its centinats, with their commas.
    150 + 8 * trace.tokens.len() + answers.sum::<usize>()
}
