//! Selects the traces that fit into a page: all of them, or those of a seeded sample of questions.

use std::collections::HashMap;

use latrace_objective::Rng;

use super::data::{Browsed, ReportData, TraceBrowser};
use super::page::{PageUse, embeddable, page};
use latrace_io::failure::Failure;

/// Keeps as many questions as fit into a page of `largest` bytes, sampled with the run's seed, in order.
///
/// # Errors
/// The page is too large even without traces.
pub fn fit(mut data: ReportData, largest: usize) -> anyhow::Result<ReportData> {
    let questions = std::mem::take(&mut data.traces.questions);
    let vocabulary = std::mem::take(&mut data.traces.vocabulary);
    data.traces.of = data.traces.of.max(questions.len());
    let seed = data.run.seed.unwrap_or(0);
    // Set before measuring, so that its own size is counted.
    data.traces.seed = Some(seed);
    let without = page(&data, PageUse::Served)?.len();
    if without > largest {
        return Err(Failure::work(format!(
            "the report would be {without} bytes without any trace; the limit is {largest}"
        ))
        .into());
    }
    let kept = chosen(&questions, &vocabulary, seed, largest - without)?;
    if kept.len() == data.traces.of {
        data.traces.seed = None;
    }
    let questions: Vec<Browsed> = questions
        .into_iter()
        .enumerate()
        .filter(|(at, _)| kept.binary_search(at).is_ok())
        .map(|(_, question)| question)
        .collect();
    data.traces = renumbered(TraceBrowser { questions, ..data.traces }, &vocabulary);
    Ok(data)
}

/// Indices of the questions that fit into `room` bytes, in ascending order.
fn chosen(
    questions: &[Browsed],
    vocabulary: &[String],
    seed: u64,
    mut room: usize,
) -> serde_json::Result<Vec<usize>> {
    let mut order: Vec<usize> = (0..questions.len()).collect();
    Rng::at(seed, &[11]).shuffle(&mut order);
    let mut is_known = vec![false; vocabulary.len()];
    let mut kept = Vec::new();
    for at in order {
        let question = &questions[at];
        let mut new: Vec<u32> = question
            .traces
            .iter()
            .flat_map(|trace| &trace.tokens)
            .copied()
            .filter(|&token| !is_known[token as usize])
            .collect();
        new.sort_unstable();
        new.dedup();
        let words =
            new.iter().map(|&token| size(&vocabulary[token as usize])).sum::<serde_json::Result<usize>>()?;
        let cost = size(question)? + words;
        // A question that is too large is skipped in favour of smaller ones; after a few misses the page is
        // as good as full.
        if cost <= room {
            room -= cost;
            new.iter().for_each(|&token| is_known[token as usize] = true);
            kept.push(at);
        }
    }
    kept.sort_unstable();
    Ok(kept)
}

/// Size in the page, including the comma.
fn size(value: &(impl serde::Serialize + ?Sized)) -> serde_json::Result<usize> {
    Ok(embeddable(&serde_json::to_string(value)?).len() + 1)
}

/// Removes unused words from the vocabulary, and sorts it by frequency, so that frequent words get short
/// indices.
fn renumbered(mut traces: TraceBrowser, vocabulary: &[String]) -> TraceBrowser {
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for token in traces.questions.iter().flat_map(|question| &question.traces).flat_map(|trace| &trace.tokens)
    {
        *counts.entry(*token).or_default() += 1;
    }
    let mut tokens: Vec<(u32, u64)> = counts.into_iter().collect();
    tokens.sort_by_key(|&(token, count)| (std::cmp::Reverse(count), token));
    let number: HashMap<u32, u32> =
        tokens.iter().enumerate().map(|(at, &(token, _))| (token, at as u32)).collect();
    for token in traces
        .questions
        .iter_mut()
        .flat_map(|question| &mut question.traces)
        .flat_map(|trace| &mut trace.tokens)
    {
        *token = number[token];
    }
    traces.vocabulary = tokens.iter().map(|&(token, _)| vocabulary[token as usize].clone()).collect();
    traces
}

#[cfg(test)]
mod tests {
    use super::super::data::BrowsedTrace;
    use super::*;

    fn trace(tokens: &[u32]) -> BrowsedTrace {
        BrowsedTrace {
            sample: 0,
            closed: true,
            weight: Some(1.0),
            chosen: 1.0,
            log_ratio: Some(0.0),
            log_answer: Some(0.0),
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
