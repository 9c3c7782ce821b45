use latrace_core::Reason;
use latrace_objective::AnswerChoice;

use super::*;
use crate::pipeline::records::{AnswerRecord, ExampleRecord, ScoreRecord};
use crate::recipe::run::{Dataset, Duplicates};
use crate::weigh::Fallbacks;

/// A question with a trace and an answer of its own, of two tokens each, behind a prompt of three.
fn question(id: &str) -> QuestionRecord {
    QuestionRecord {
        id: id.to_owned(),
        split: Split::Train,
        question: "q".to_owned(),
        hint: None,
        difficulty: None,
        kind: "math".to_owned(),
        reference: "{}".to_owned(),
        prompt_ids: vec![1, 2, 3],
        posterior_prompt_ids: None,
        trace_ids: Some(vec![90, 91]),
        answer_ids: Some(vec![92, 93]),
    }
}

/// A finished trace of a question: its token, the log of its ratio, its share among the chosen ones, and its
/// answers, each by its last token and whether it is right.
struct Sampled {
    token: u32,
    closed: bool,
    log_ratio: f64,
    chosen: f64,
    answers: Vec<(u32, bool)>,
}

fn sampled(token: u32, chosen: f64, answers: &[(u32, bool)]) -> Sampled {
    Sampled { token, closed: true, log_ratio: 0.0, chosen, answers: answers.to_vec() }
}

/// The traces of a question with the records on them. An answer is a given token 7, then one that was sampled.
fn joined(id: &str, traces: &[Sampled]) -> SampledQuestion {
    let numbered = || (0..).zip(traces);
    let trace = |(sample, of): (u64, &Sampled)| TraceRecord {
        id: id.to_owned(),
        sample,
        token_ids: vec![of.token, 5],
        logprobs: vec![-0.5, -0.25],
        closed: of.closed,
    };
    let mut join = Join::<TraceRecord, OnTrace<Verdict>>::new(numbered().map(trace), twice).unwrap();
    for (sample, of) in numbered() {
        let right = of.answers.iter().filter(|(_, right)| *right).count() as f64;
        let weight = WeightRecord {
            id: id.to_owned(),
            sample,
            log_ratio: Some(of.log_ratio),
            log_answer: Some((right / of.answers.len().max(1) as f64).ln()).filter(|log| log.is_finite()),
            weight: of.chosen,
            chosen: of.chosen,
            by_reference: false,
        };
        let score =
            ScoreRecord { id: id.to_owned(), sample, logprobs: vec![-1.0, -2.0], reference_logprobs: None };
        assert!(join.add([weight], OnTrace::put_weight).unwrap().is_empty());
        assert!(join.add([score], OnTrace::put_score).unwrap().is_empty());
        for (answer, &(token, right)) in (0..).zip(&of.answers) {
            let record = AnswerRecord {
                id: id.to_owned(),
                sample,
                answer,
                token_ids: vec![7, token],
                given: 1,
                logprobs: vec![-3.0],
                ended: true,
                text: String::new(),
            };
            assert!(join.add([record], OnTrace::put_answer).unwrap().is_empty());
            let verdict = VerdictRecord {
                id: id.to_owned(),
                sample,
                answer,
                reason: if right { Reason::Equal } else { Reason::Different },
                is_reference: false,
            };
            let put = |_: &TraceRecord, on: &mut OnTrace<Verdict>, record: VerdictRecord| {
                on.put_verdict(&record, record.answer, record.verdict())
            };
            assert!(join.add([verdict], put).unwrap().is_empty());
        }
    }
    join.into_questions().remove(0)
}

fn settings(method: Method) -> DatasetSettings {
    DatasetSettings {
        method,
        dataset: Dataset {
            answers: AnswerChoice::All,
            duplicates: Duplicates::Add,
            question_exponent: 0.0,
            originals: 0.0,
        },
        answers: 2,
        fallback: Fallback::OriginalRow,
        fallbacks: Fallbacks::default(),
        drop_above: None,
        seed: 0,
    }
}

/// The records of one question, as they are written, and the counts.
fn built(traces: &[Sampled], settings: &DatasetSettings) -> (Vec<ExampleRecord>, Value) {
    let (questions, mut totals) = ([question("q")], Totals::default());
    let samples = HashMap::from([("q".to_owned(), joined("q", traces))]);
    let examples = of_part(&questions, &samples, settings, &mut totals).unwrap();
    let scale = totals.scale();
    (examples.iter().map(|example| example.record(scale)).collect(), totals.counts())
}

fn weights(records: &[ExampleRecord]) -> Vec<(i64, f64)> {
    records.iter().map(|record| (record.source, record.weight)).collect()
}

#[test]
fn a_chosen_trace_is_followed_by_its_right_answers_and_its_weight_rescaled() {
    let mut settings = settings(Method::Variational);
    settings.dataset.originals = 0.5;
    let traces = [sampled(10, 0.2, &[(20, true), (21, false)]), sampled(11, 0.0, &[(22, true), (23, true)])];
    let (records, counts) = built(&traces, &settings);
    // Scaled to a mean of 1 in each used question; the row's own trace keeps the weight that the recipe gives.
    assert_eq!(weights(&records), [(0, 1.0), (MIXED_IN, 0.5)]);
    let first = &records[0];
    assert_eq!((&first.response_ids[..], first.trace_tokens, first.given), (&[10, 5, 7, 20][..], 2, 1));
    assert_eq!(first.old_logprobs, None);
    assert_eq!((&counts["scale"], &counts["built"], &counts["own"]), (&json!(5.0), &json!(1), &json!(1)));
}

#[test]
fn what_the_trainer_would_drop_does_not_take_its_question_with_it() {
    let traces = || [sampled(10, 1.0, &[(20, true), (21, false)])];
    // Three tokens of prompt, two of the trace, two of the answer.
    let fits = DatasetSettings { drop_above: Some(7), ..settings(Method::Variational) };
    let (records, counts) = built(&traces(), &fits);
    assert_eq!((weights(&records), &counts["too_long"]), (vec![(0, 1.0)], &json!(0)));
    let too_long = DatasetSettings { drop_above: Some(6), ..fits };
    let (records, counts) = built(&traces(), &too_long);
    assert_eq!(weights(&records), [(FELL_BACK, 1.0)]);
    assert_eq!((&counts["too_long"], &counts["fell_back"]), (&json!(1), &json!(1)));
}

#[test]
fn only_the_variational_method_falls_back_on_the_rows_own_trace() {
    let wrong = || [sampled(10, 0.0, &[(20, false), (21, false)])];
    let check = |settings: &DatasetSettings, expected: &[(i64, f64)], left_out: u64| {
        let (records, counts) = built(&wrong(), settings);
        assert_eq!((weights(&records).as_slice(), &counts["left_out"]), (expected, &json!(left_out)));
    };
    check(&settings(Method::Variational), &[(FELL_BACK, 1.0)], 0);
    check(&settings(Method::Rft), &[], 1);
    check(&settings(Method::Grpo), &[], 1);
    check(&DatasetSettings { fallback: Fallback::Skip, ..settings(Method::Variational) }, &[], 1);
}

#[test]
fn a_policy_gradient_counts_unfinished_traces_against_the_policy() {
    let mut unfinished = sampled(11, 0.0, &[]);
    unfinished.closed = false;
    let mut grpo = settings(Method::Grpo);
    grpo.dataset.originals = 1.0;
    let (records, counts) = built(&[sampled(10, 0.0, &[(20, true), (21, true)]), unfinished], &grpo);
    // Two right rollouts of four, and the trace without an end has those of both answers that it never got. Rows'
    // own traces are no samples of the policy.
    assert_eq!(weights(&records), [(0, 0.25), (0, 0.25), (1, -0.5)]);
    assert_eq!(counts["scale"], 1.0);
    // The given token has no log-prob of its own.
    assert_eq!(records[0].old_logprobs, Some(vec![-1.0, -2.0, 0.0, -3.0]));
    assert_eq!(records[0].response_ids.len(), 4);
    // Sampled by the policy itself, without an answer.
    assert_eq!(records[2].response_ids, [11, 5]);
    assert_eq!(records[2].old_logprobs, Some(vec![-0.5, -0.25]));
    // Other methods leave unfinished traces out.
    let mut unfinished = sampled(11, 0.5, &[]);
    unfinished.closed = false;
    let traces = [sampled(10, 0.5, &[(20, true), (21, true)]), unfinished];
    assert_eq!(built(&traces, &settings(Method::Variational)).0.len(), 2);
}

#[test]
fn equal_sequences_are_merged_and_equal_answers_to_other_traces_are_not() {
    let traces = || {
        [
            sampled(10, 0.25, &[(20, true), (20, true)]),
            sampled(10, 0.25, &[(20, true), (21, false)]),
            sampled(11, 0.5, &[(20, true), (21, false)]),
        ]
    };
    let mut settings = settings(Method::Variational);
    assert_eq!(weights(&built(&traces(), &settings).0), [(0, 0.5), (2, 0.5)]);
    settings.dataset.duplicates = Duplicates::Once;
    let (records, _) = built(&traces(), &settings);
    // An answer of 0.125 and a trace of 0.5, scaled to a sum of 1.
    assert_eq!(weights(&records), [(0, 0.2), (2, 0.8)]);
}

#[test]
fn a_trace_without_a_right_answer_is_learnt_without_one() {
    let traces =
        [sampled(10, 0.5, &[(20, false), (21, false)]), sampled(11, 0.5, &[(20, true), (21, false)])];
    let (records, _) = built(&traces, &settings(Method::Variational));
    assert_eq!(records[0].response_ids, [10, 5]);
    assert_eq!(weights(&records), [(0, 0.5), (1, 0.5)]);
    // Leave-one-out weights, which `latrace weigh` computes, may be negative.
    let traces =
        [sampled(10, -0.5, &[(20, false), (21, false)]), sampled(11, 0.5, &[(20, true), (21, false)])];
    assert_eq!(weights(&built(&traces, &settings(Method::Variational)).0), [(0, -0.5), (1, 0.5)]);
}

#[test]
fn advantages_are_scaled_by_their_size_whatever_their_sign() {
    // Three right of four: advantages sum to zero, and are scaled to a sum of 1 without their signs.
    let traces = [sampled(10, 0.0, &[(20, true), (21, true)]), sampled(11, 0.0, &[(22, true), (23, false)])];
    let (records, _) = built(&traces, &settings(Method::Grpo));
    let expected = [(0, 1.0 / 6.0), (0, 1.0 / 6.0), (1, 1.0 / 6.0), (1, -0.5)];
    assert_eq!(records.len(), expected.len());
    for ((source, weight), (trace, share)) in weights(&records).into_iter().zip(expected) {
        assert!(source == trace && (weight - share).abs() < 1e-12, "{records:?}");
    }
}

#[test]
fn advantages_of_equal_sequences_that_cancel_leave_no_example() {
    // The same answer, judged right once and wrong once.
    let traces = [sampled(10, 0.0, &[(20, true), (20, false)])];
    let (records, counts) = built(&traces, &settings(Method::Grpo));
    assert_eq!((records.len(), &counts["left_out"]), (0, &json!(1)));
}

#[test]
fn a_question_counts_by_a_power_of_its_accuracy() {
    // A quarter of the answers is right.
    let traces =
        [sampled(10, 0.0, &[(20, true), (21, false)]), sampled(11, 0.0, &[(22, false), (23, false)])];
    let of = joined("q", &traces);
    assert_eq!(question_factor(&of, 0.0), 1.0);
    assert!((question_factor(&of, -1.0) - 4.0).abs() < 1e-12);
    assert!((question_factor(&of, 2.0) - 0.0625).abs() < 1e-12);
    let wrong = joined("q", &[sampled(10, 0.0, &[(20, false)])]);
    assert_eq!(question_factor(&wrong, -1.0), 0.0);
    // Ratios above 1 do not make an accuracy of more than 1.
    let mut likely = sampled(10, 0.0, &[(20, true)]);
    likely.log_ratio = 3.0;
    assert_eq!(question_factor(&joined("q", &[likely]), 1.0), 1.0);
}

#[test]
fn counts_of_parts_add_up() {
    let part = |too_long| Totals {
        asked: 6,
        used: 3,
        fell_back: 2,
        skipped: 1,
        weights: vec![1.0, 2.0, 3.0],
        built: 4,
        own: 5,
        too_long,
    };
    let mut totals = part(7);
    totals.add(&part(8));
    let expected = json!({
        "questions": 12, "used": 6, "fell_back": 4, "left_out": 2, "built": 8, "own": 10, "too_long": 15, "scale": 0.5,
    });
    assert_eq!(totals.counts(), expected);
    assert_eq!(Totals::default().scale(), 1.0);
}
