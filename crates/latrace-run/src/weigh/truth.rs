//! No number that a weighing calls a bound exceeds log P(Y|x) beyond its error, by a thousand seeds on a world
//! whose P is known.

use latrace_core::SamplingParams;
use latrace_objective::{
    AnswerAccuracy, AnswerEvidence, AnswerScore, JudgedAnswer, Rng, SampledRest, TraceScore, Verdict,
};
use serde_json::json;

use super::{Distribution, Drawn, Evidence, TraceGroup, WeighConfig, WeighSummary, weigh_groups};

const P: f64 = 0.5;
const QUESTIONS: u64 = 40;
const TRACES: u64 = 4;
const ANSWERS: usize = 2;
const SEEDS: u64 = 1_000;

/// A trace with pi = q. After it y* has a probability between 0.05 P and 0.9 P, other correct answers the rest
/// of P.
fn evidence(question: u64, sample: u64, rng: &mut Rng) -> Evidence {
    let of_reference = (0.05 + 0.85 * rng.uniform()) * P;
    let mut judged = || {
        let place = rng.uniform();
        let verdict = if place < P { Verdict::Correct } else { Verdict::Wrong };
        JudgedAnswer { verdict, is_reference: place < of_reference }
    };
    let answers: Vec<JudgedAnswer> = (0..ANSWERS).map(|_| judged()).collect();
    let verdicts: Vec<Verdict> = answers.iter().map(|answer| answer.verdict).collect();
    Evidence {
        id: json!(question),
        sample,
        score: TraceScore { logp_sum: -3.0, logq_sum: -3.0, tokens: 4 },
        ended: true,
        answer: AnswerEvidence {
            accuracy: Some(AnswerAccuracy::from_verdicts(&verdicts).unwrap()),
            reference: Some(AnswerScore { logp_sum: of_reference.ln(), tokens: 1 }),
            rest: Some(SampledRest::from_answers(&answers).unwrap()),
        },
    }
}

fn weighed(seed: u64) -> WeighSummary {
    let group = |question: u64| {
        let mut rng = Rng::at(seed, &[question]);
        let traces = (0..TRACES).map(|sample| evidence(question, sample, &mut rng)).collect();
        TraceGroup { id: json!(question), traces, unended: 0, unverified: false, fallback: None }
    };
    let plain = Some(Distribution::from(SamplingParams::plain(1)));
    let drawn = Drawn { traces: plain, answers: plain };
    let groups = (0..QUESTIONS).map(group).collect();
    weigh_groups(groups, &WeighConfig::default(), &drawn).unwrap().1
}

#[test]
fn no_bound_exceeds_the_truth_and_bounds_rise_with_traces() {
    let (mut exceeding, mut surrogates_exceeding) = ([0_u32; TRACES as usize], 0);
    for seed in 0..SEEDS {
        let summary = weighed(seed);
        let bound_k = summary.bounds.unwrap().of_k;
        assert!(bound_k.windows(2).all(|pair| pair[0].mean < pair[1].mean), "{bound_k:?}");
        for (count, bound) in exceeding.iter_mut().zip(&bound_k) {
            *count += u32::from(bound.mean - 1.96 * bound.standard_error.unwrap() > P.ln());
        }
        let surrogate = &summary.surrogates.of_k[0];
        surrogates_exceeding +=
            u32::from(surrogate.mean_of_finite - 1.96 * surrogate.standard_error.unwrap() > P.ln());
    }
    assert!(exceeding.iter().all(|&count| count <= 25), "of {SEEDS} seeds: {exceeding:?}");
    // What is left of the questions where a mean over all would be minus infinity bounds nothing, and this test
    // sees it.
    assert!(surrogates_exceeding > 500, "{surrogates_exceeding} of {SEEDS} seeds");
}
