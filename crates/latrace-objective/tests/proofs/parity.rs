//! The published build rules (sail-sg/variational-reasoning 21bc48a, as described in the project's notes),
//! transcribed plainly, against this crate's estimators, `best`, `first` and fallbacks on 200 synthetic
//! questions with K = 8.

use latrace_objective::answer::AnswerAccuracy;
use latrace_objective::selection::{PUBLISHED_LENGTH_LIMIT, drop_long_traces};
use latrace_objective::{
    AnswerChoice, AnswerEstimator, AnswerEvidence, AnswerScore, Fallback, Provenance, RatioEstimator,
    Resolution, Rng, Selection, TraceScore, Verdict, weights,
};

const TRACES: usize = 8;

struct Question {
    has_automatic_verifier: bool,
    /// Token log-probs of each trace under pi and q.
    trace: Vec<(Vec<f64>, Vec<f64>)>,
    /// Token log-probs of the reference answer after each trace.
    reference: Vec<Vec<f64>>,
    verdict: Vec<Vec<Verdict>>,
}

/// A built row: (k, −1 or −2; index of the answer, `None` for the reference answer or the original's).
type Row = (i64, Option<usize>);

fn questions() -> Vec<Question> {
    (0..200).map(|q| question(&mut Rng::at(11, &[q]))).collect()
}

fn question(rng: &mut Rng) -> Question {
    let difficulty = [0.0, 0.02, 0.2, 0.7][rng.below(4)];
    let all_long = rng.below(12) == 0;
    let mut made = Question {
        has_automatic_verifier: rng.below(3) > 0,
        trace: vec![],
        reference: vec![],
        verdict: vec![],
    };
    for k in 0..TRACES {
        let length = match rng.below(10) {
            _ if all_long => 28_000 + rng.below(3),
            0 => 27_998 + rng.below(4),
            _ => 1 + rng.below(40),
        };
        let log_probs =
            |rng: &mut Rng, count: usize| (0..count).map(|_| -2.0 * rng.uniform()).collect::<Vec<f64>>();
        made.trace.push((log_probs(rng, length), log_probs(rng, length)));
        let answer_length = 1 + rng.below(12);
        made.reference.push(log_probs(rng, answer_length));
        let verdict = |rng: &mut Rng| match rng.uniform() {
            draw if draw < difficulty => Verdict::Correct,
            draw if draw > 0.95 => Verdict::Undetermined,
            _ => Verdict::Wrong,
        };
        made.verdict.push((0..8).map(|_| verdict(rng)).collect());
        // Exact ties: some traces repeat an earlier one.
        if k > 0 && rng.below(6) == 0 {
            made.trace[k] = made.trace[k - 1].clone();
            made.reference[k] = made.reference[k - 1].clone();
            made.verdict[k] = made.verdict[k - 1].clone();
        }
    }
    made
}

/// "Both token lists are cut to the shorter of the two, then the mean difference is taken"; `None` from
/// 28,000 on.
fn published_log_ratio(question: &Question, k: usize) -> Option<f64> {
    let (pi, q) = &question.trace[k];
    let shared = if pi.len() < q.len() { pi.len() } else { q.len() };
    if shared >= 28_000 {
        return None;
    }
    let mut difference = 0.0;
    for t in 0..shared {
        difference += pi[t] - q[t];
    }
    Some(difference / shared as f64)
}

/// "GML score = mean log pi(y*) tokens + mean log-ratio over z"; the first maximum in run order.
fn published_gml(question: &Question) -> Row {
    let (mut best, mut chosen) = (f64::NEG_INFINITY, -1);
    for k in 0..8 {
        let Some(log_ratio) = published_log_ratio(question, k) else {
            continue;
        };
        let mut answer = 0.0;
        for log_prob in &question.reference[k] {
            answer += log_prob;
        }
        let score = answer / question.reference[k].len() as f64 + log_ratio;
        if score > best {
            best = score;
            chosen = k as i64;
        }
    }
    (chosen, None)
}

/// "Acc score = accuracy × exp(mean log-ratio); traces of accuracy 0 are not candidates; first maximum in run
/// order wins; the answer is a verified sampled answer of that trace. RUC rows without any candidate fall
/// back to the GML score with the reference answer; other rows without a candidate keep the original trace."
fn published_acc(question: &Question) -> Row {
    let (mut best, mut chosen) = (-1.0, None);
    for k in 0..8 {
        let Some(log_ratio) = published_log_ratio(question, k) else {
            continue;
        };
        let mut correct = 0;
        for m in 0..8 {
            if question.verdict[k][m] == Verdict::Correct {
                correct += 1;
            }
        }
        if correct == 0 {
            continue;
        }
        let score = f64::from(correct) / 8.0 * log_ratio.exp();
        if score > best {
            best = score;
            chosen = Some(k);
        }
    }
    match chosen {
        Some(k) => {
            let mut first = 0;
            while question.verdict[k][first] != Verdict::Correct {
                first += 1;
            }
            (k as i64, Some(first))
        }
        None if question.has_automatic_verifier => (-1, None),
        None => published_gml(question),
    }
}

fn log_rho(question: &Question, answer: AnswerEstimator) -> Vec<f64> {
    let trace = |k: usize| {
        let (pi, q) = &question.trace[k];
        let evidence = AnswerEvidence {
            accuracy: Some(AnswerAccuracy::from_verdicts(&question.verdict[k]).unwrap()),
            reference: Some(AnswerScore::from_tokens(&question.reference[k]).unwrap()),
            rest: None,
        };
        let log_ratio = RatioEstimator::Geometric.log_ratio(&TraceScore::from_tokens(pi, q).unwrap());
        weights::log_rho(log_ratio, answer.log_probability(&evidence).unwrap())
    };
    let mut log_rho_k: Vec<f64> = (0..TRACES).map(trace).collect();
    let tokens_k: Vec<usize> = question.trace.iter().map(|(pi, _)| pi.len()).collect();
    drop_long_traces(&mut log_rho_k, &tokens_k, PUBLISHED_LENGTH_LIMIT).unwrap();
    log_rho_k
}

fn build(question: &Question, answer: AnswerEstimator, fallback: Fallback) -> (Row, Resolution) {
    let (main_k, gml_k) =
        (log_rho(question, answer), log_rho(question, AnswerEstimator::GeometricLikelihood));
    let mut rng = Rng::new(0);
    let resolution = fallback.resolve(&main_k, &gml_k);
    let mut best = |log_rho_k: &[f64]| Selection::Best.select(log_rho_k, &mut rng).unwrap()[0].trace;
    let row = match resolution {
        Resolution::Main => {
            let trace = best(&main_k);
            let share_m = AnswerChoice::First.shares(&question.verdict[trace], || Rng::new(0));
            let first = || share_m.iter().position(|&share| share == 1.0).unwrap();
            (Provenance::Trace(trace).code(), (answer == AnswerEstimator::Accuracy).then(first))
        }
        Resolution::GeometricLikelihood => (Provenance::Trace(best(&gml_k)).code(), None),
        Resolution::OriginalRow => (Provenance::FellBack.code(), None),
        Resolution::Skipped => panic!("no published rule skips"),
    };
    (row, resolution)
}

#[test]
fn accuracy_rows_are_those_of_the_published_build() {
    let mut counts = latrace_objective::fallback::FallbackCounts::default();
    for (q, question) in questions().iter().enumerate() {
        let fallback = Fallback::published(question.has_automatic_verifier);
        let (row, resolution) = build(question, AnswerEstimator::Accuracy, fallback);
        assert_eq!(row, published_acc(question), "question {q}");
        counts.add(resolution);
    }
    assert!(counts.main > 90 && counts.geometric_likelihood > 10 && counts.original_row > 20, "{counts:?}");
    assert_eq!(counts.skipped, 0);
}

#[test]
fn geometric_likelihood_rows_are_those_of_the_published_build() {
    let mut fell_back = 0;
    for (q, question) in questions().iter().enumerate() {
        let (row, _) = build(question, AnswerEstimator::GeometricLikelihood, Fallback::OriginalRow);
        assert_eq!(row, published_gml(question), "question {q}");
        fell_back += u32::from(row.0 == -1);
    }
    assert!(fell_back > 5, "{fell_back}");
}
