//! Prompts that are read once for several responses change no bit of a log-prob.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{ADAPTERS, Tested, folder, on_each_device};
use latrace_lm::{Model, ScoreRow, Scorer};

on_each_device!(shared_prompts_change_no_bit);

fn tokens(length: usize, seed: u32, vocabulary: usize) -> Vec<u32> {
    (0..length as u32).map(|i| (i * i + 7 * i + 31 * seed) % vocabulary as u32).collect()
}

fn score<D: Tested>(model: &Model<D>, rows: &[ScoreRow], budget: usize) -> Vec<Vec<f32>> {
    let (mut all, mut next) = (Vec::new(), 0);
    Scorer::new(model)
        .score(rows, budget, &mut |range, logp| {
            assert_eq!(range.start, next, "rows come in order");
            next = range.end;
            all.extend(logp);
            Ok(())
        })
        .unwrap();
    all
}

/// Prompts that end before, at and after the end of a block of the cache, which has 64 tokens.
fn shared_prompts_change_no_bit<D: Tested>() {
    for case in D::SAMPLED.iter().chain(&ADAPTERS[..1]) {
        let model = Model::load_on(D::DEVICE, &folder(case)).unwrap();
        let vocabulary = model.config.vocab_size;
        let mut rows = Vec::new();
        for (seed, length) in [1, 5, 63, 64, 65, 130].into_iter().enumerate() {
            let prompt = tokens(length, seed as u32, vocabulary);
            for (k, response) in [1, 2, 70, 1].into_iter().enumerate() {
                let response = tokens(response, 100 + k as u32, vocabulary);
                rows.push(ScoreRow { prompt: prompt.clone(), response });
            }
        }
        // One that begins like another, but is not it; and one that is not beside those with its prompt.
        rows.push(ScoreRow { prompt: tokens(64, 4, vocabulary), response: tokens(9, 7, vocabulary) });
        rows.push(ScoreRow { prompt: tokens(5, 1, vocabulary), response: tokens(9, 8, vocabulary) });
        let alone: Vec<Vec<f32>> =
            rows.iter().flat_map(|row| score(&model, std::slice::from_ref(row), 1000)).collect();
        for budget in [1, 100, 333, 100_000] {
            assert_eq!(score(&model, &rows, budget), alone, "{case}, passes of {budget}");
        }
    }
}
