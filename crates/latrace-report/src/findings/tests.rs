use super::remarks::note;
use super::*;
use crate::data::{
    ByDifficulty, ExampleQuestion, FunnelStep, Histogram, NamedMethod, RemarkKind, Training, TrainingPoint,
    VerdictCount, WeightFigure,
};
use latrace_core::Reason;
use latrace_objective::statistics::{Accuracy, Interval};

fn measured(name: &str, role: ModelRole, low: f64, high: f64) -> MeasuredModel {
    let overall = Accuracy { accuracy: (low + high) / 2.0, low, high, questions: 600, samples: 2400 };
    MeasuredModel {
        name: name.to_owned(),
        role,
        overall,
        by_difficulty: Vec::new(),
        pass_at: Vec::new(),
        truncated: 0,
        undetermined: 0,
        mean_tokens: 20.0,
    }
}

fn pair(model: &str, against: &str, low: f64, high: f64) -> PairedComparison {
    let difference = Interval { mean: (low + high) / 2.0, low, high };
    PairedComparison { model: model.to_owned(), against: against.to_owned(), difference, questions: 600 }
}

fn gained() -> ReportData {
    ReportData {
        models: vec![
            measured("initial", ModelRole::Initial, 0.40, 0.46),
            measured("final", ModelRole::Final, 0.62, 0.68),
        ],
        comparisons: vec![pair("final", "initial", 0.19, 0.25)],
        ..ReportData::default()
    }
}

#[track_caller]
fn check(data: &ReportData, kind: RemarkKind, expected: &str) {
    let findings = findings(data);
    assert!(
        findings.remarks.iter().any(|remark| remark.kind == kind && remark.text.contains(expected)),
        "{findings:?}"
    );
}

#[test]
fn the_headline_follows_the_interval_of_the_difference() {
    let mut data = gained();
    assert_eq!(
        findings(&data).headline,
        "Training on weighted traces raised accuracy from 43.0\u{a0}% to 65.0\u{a0}%"
    );
    check(&data, RemarkKind::Support, "do not overlap");
    data.comparisons[0] = pair("final", "initial", -0.01, 0.25);
    assert!(findings(&data).headline.starts_with("No clear gain"));
    check(&data, RemarkKind::Caution, "its interval holds zero");
    data.comparisons[0] = pair("final", "initial", -0.2, -0.1);
    assert!(findings(&data).headline.contains("lowered"));
    // Without pairs, intervals must be apart.
    data.comparisons.clear();
    assert!(findings(&data).headline.contains("raised"));
    data.models[1] = measured("final", ModelRole::Final, 0.45, 0.68);
    assert!(findings(&data).headline.starts_with("No clear gain"));
}

#[test]
fn overlapping_intervals_with_a_clear_pair_are_told_apart() {
    let mut data = gained();
    data.models[1] = measured("final", ModelRole::Final, 0.44, 0.50);
    check(&data, RemarkKind::Support, "overlap, but question by question");
}

#[test]
fn other_methods_are_weighed_against_the_final_model() {
    let mut data = gained();
    data.models.extend([
        measured("sft", ModelRole::Baseline, 0.4, 0.5),
        measured("rft", ModelRole::Baseline, 0.55, 0.61),
    ]);
    data.comparisons.push(pair("final", "rft", 0.04, 0.1));
    check(&data, RemarkKind::Support, "ahead of the best other method, RFT");
    data.comparisons[1] = pair("final", "rft", -0.04, 0.1);
    check(&data, RemarkKind::Caution, "better than RFT cannot be told");
    data.comparisons[1] = pair("final", "rft", -0.1, -0.04);
    check(&data, RemarkKind::Caution, "RFT is ahead of the final model");
}

#[test]
fn what_the_best_traces_lead_to_is_no_competing_method_and_others_are_spelt_out() {
    let mut data = gained();
    data.models.extend([
        measured("gold", ModelRole::Baseline, 0.9, 0.95),
        measured("rft", ModelRole::Baseline, 0.55, 0.61),
    ]);
    let method = |name: &str, long: &str, is_ceiling| NamedMethod {
        name: name.to_owned(),
        title: String::new(),
        long: long.to_owned(),
        clause: String::new(),
        settings: String::new(),
        is_ceiling,
    };
    data.run.methods = vec![
        method("gold", "training on gold traces", true),
        method("rft", "rejection-sampling fine-tuning", false),
    ];
    let last = findings(&data).outcome.pop().unwrap();
    assert!(
        last.starts_with("Of the other methods, RFT (rejection-sampling fine-tuning) does best"),
        "{last}"
    );
    data.run.methods[0].is_ceiling = false;
    let last = findings(&data).outcome.pop().unwrap();
    assert!(last.starts_with("Of the other methods, gold traces does best"), "{last}");
}

#[test]
fn a_run_of_another_method_is_not_said_to_weigh_traces() {
    let mut data = gained();
    data.run.method = Some("rft".to_owned());
    assert!(findings(&data).headline.starts_with("Training by RFT raised"), "{}", findings(&data).headline);
}

#[test]
fn an_example_is_shown_with_its_meaning_and_its_answer() {
    let example = |answer: Option<&str>| ExampleQuestion {
        question: "36\n97".to_owned(),
        answer: answer.map(str::to_owned),
    };
    let asked = |answer| {
        let counts = QuestionCounts {
            meaning: "Get there.".to_owned(),
            example: Some(example(answer)),
            ..QuestionCounts::default()
        };
        findings(&ReportData { questions: Some(counts), ..ReportData::default() }).asked
    };
    assert_eq!(
        asked(Some("+7"))[..2],
        ["Get there.".to_owned(), "For example “36 97”, with the reference answer “+7”.".to_owned()]
    );
    assert_eq!(asked(None)[1], "One of the questions: “36 97”");
}

#[test]
fn shortcomings_become_cautions() {
    let mut data = gained();
    data.models[0].overall.questions = 30;
    data.models[1].truncated = 300;
    data.models[1].undetermined = 240;
    data.funnel = vec![step("sampled", 100), step("ended", 90)];
    data.verdicts = vec![VerdictCount { reason: Reason::NoSandbox, count: 1 }];
    let rho = Histogram::of([0.5], 0.0, 1.0, 2);
    let weights = WeightFigure {
        description: String::new(),
        traces_each: 8,
        effective: rho.clone(),
        rho,
        mean_effective: 1.5,
        questions: 3,
        without_weight: 1,
    };
    data.weights = Some(weights);
    let point = |step, loss| TrainingPoint { step, loss, grad_norm: 1.0 };
    data.training = vec![Training {
        name: "final".to_owned(),
        steps: 2,
        steps_per_point: 1,
        points: vec![point(1, 1.0), point(2, 1.5)],
    }];
    for expected in [
        "Only 30 questions",
        "12.5\u{a0}% of the responses of the final model were cut",
        "could not judge 10.0\u{a0}%",
        "10.0\u{a0}% of the sampled traces",
        "could not judge 100.0\u{a0}% of the answers",
        "worth 1.5 on average",
        "For 25.0\u{a0}% of the questions",
        "ended higher",
    ] {
        check(&data, RemarkKind::Caution, expected);
    }
}

fn step(name: &str, count: u64) -> FunnelStep {
    FunnelStep { name: name.to_owned(), count, lost: String::new() }
}

#[test]
fn a_run_that_has_just_begun_claims_nothing() {
    let findings = findings(&ReportData::default());
    assert_eq!(findings.headline, "Nothing is done yet");
    assert_eq!(findings.asked, ["The questions are not there yet."]);
    assert_eq!(findings.remarks, [note("Nothing has been measured yet.")]);
}

#[test]
fn large_numbers_have_commas() {
    assert_eq!(
        [grouped(7), grouped(1_000), grouped(16_710), grouped(1_234_567)],
        ["7", "1,000", "16,710", "1,234,567"]
    );
}

#[test]
fn without_pairs_a_gain_is_claimed_where_even_the_nearest_ends_are_apart() {
    let mut data = gained();
    data.comparisons.clear();
    data.models[1] = measured("final", ModelRole::Final, 0.43, 0.68);
    assert!(findings(&data).headline.starts_with("No clear gain"), "{}", findings(&data).headline);
    data.models[1] = measured("final", ModelRole::Final, 0.20, 0.39);
    assert!(findings(&data).headline.contains("lowered"));
}

#[test]
fn the_hardest_questions_are_the_last_of_the_difficulties() {
    let mut data = gained();
    let by_difficulty = |shares: [f64; 2]| {
        let accuracy = |accuracy| Accuracy { accuracy, low: 0.0, high: 1.0, questions: 9, samples: 9 };
        let of = |(name, share): (&str, f64)| ByDifficulty {
            difficulty: name.to_owned(),
            accuracy: accuracy(share),
        };
        ["1", "2"].into_iter().zip(shares).map(of).collect::<Vec<_>>()
    };
    let outcome = |data: &ReportData| findings(data).outcome.join(" ");
    data.models[0].by_difficulty = by_difficulty([0.9, 0.1]);
    data.models[1].by_difficulty = by_difficulty([0.95, 0.3]);
    let expected = "(difficulty 2) it went from 10.0\u{a0}% to 30.0\u{a0}%";
    assert!(outcome(&data).contains(expected), "{}", outcome(&data));
    data.models[1].by_difficulty.pop();
    assert!(!outcome(&data).contains("hardest"));
}

#[test]
fn a_hint_is_promised_where_every_question_has_one() {
    let asked = |with_trace, with_hint, with_answer_as_hint| {
        let counts = QuestionCounts {
            train: 10,
            with_trace,
            with_hint,
            with_answer_as_hint,
            ..QuestionCounts::default()
        };
        findings(&ReportData { questions: Some(counts), ..ReportData::default() }).asked.remove(0)
    };
    for (counts, expected) in [
        ((4, 10, 10), "the other 6 only with the answer, the whole of which is the hint."),
        ((4, 10, 9), "the other 6 only with a hint."),
        ((4, 9, 9), "the other 6 with at most a hint."),
        ((10, 10, 10), "All of them come with a written-out thought."),
        ((0, 0, 0), "None of them comes with a written-out thought."),
    ] {
        let said = asked(counts.0, counts.1, counts.2);
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn what_the_initial_model_knows_by_heart_is_told_beside_the_outcome() {
    let told = |on_traced, held_out| {
        let accuracy = |accuracy| Accuracy { accuracy, low: 0.0, high: 1.0, questions: 9, samples: 9 };
        let mut data = gained();
        data.diagnostics.initial_on_traced = Some(accuracy(on_traced));
        data.diagnostics.initial_on_held_out = Some(accuracy(held_out));
        let remarks = findings(&data).remarks;
        remarks.into_iter().find(|remark| remark.text.contains("by heart"))
    };
    let remark = told(0.991, 0.08).unwrap();
    assert_eq!(remark.kind, RemarkKind::Note);
    assert!(
        remark.text.contains("99.1\u{a0}% of its responses to them, 8.0\u{a0}% of those to others"),
        "{remark:?}"
    );
    assert_eq!([told(0.7, 0.6), told(0.1, 0.6)], [None, None]);
}

#[test]
fn few_questions_are_fewer_than_two_hundred() {
    let is_few = |questions| {
        let mut data = gained();
        data.models[0].overall.questions = questions;
        findings(&data).remarks.iter().any(|remark| remark.text.starts_with("Only "))
    };
    assert_eq!([is_few(199), is_few(200)], [true, false]);
}

#[test]
fn an_interval_that_touches_zero_claims_no_gain() {
    let mut data = gained();
    assert!(findings(&data).outcome.join(" ").contains("+22.0 percentage points (+19.0 to +25.0)"));
    data.comparisons[0] = pair("final", "initial", 0.0, 0.2);
    assert!(findings(&data).headline.starts_with("No clear gain"));
    data.comparisons[0] = pair("final", "initial", -0.2, 0.0);
    assert!(findings(&data).headline.starts_with("No clear gain"));
    assert!(findings(&data).outcome.join(" ").contains("−10.0 percentage points (−20.0 to +0.0)"));
}

#[test]
fn support_comes_before_cautions_and_cautions_before_notes() {
    let mut data = gained();
    data.models[0].overall.questions = 30;
    let kinds: Vec<RemarkKind> = findings(&data).remarks.iter().map(|remark| remark.kind).collect();
    assert_eq!(kinds, [RemarkKind::Support, RemarkKind::Caution, RemarkKind::Note]);
}
