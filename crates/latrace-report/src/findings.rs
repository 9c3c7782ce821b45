//! The run in words: the questions, the results, and how trustworthy they are. Every sentence is derived from
//! the report's numbers.

use latrace_core::Verdict;

use super::data::{
    Findings, MeasuredModel, ModelRole, PairedComparison, QuestionCounts, Remark, RemarkKind, ReportData,
    VerdictCount,
};

/// Number of questions below which intervals are called wide.
const FEW_QUESTIONS: usize = 200;
/// Share of responses, traces or verdicts above which a shortcoming is reported.
const MANY: f64 = 0.05;
/// Share of questions without weight above which it is reported.
const MANY_WITHOUT_WEIGHT: f64 = 0.2;
/// Share of K below which the mean effective sample size is called low.
const LOW_EFFECTIVE: f64 = 0.25;
/// Maximum characters of the example question.
const EXAMPLE_LETTERS: usize = 160;
/// No-break space.
const SPACE: char = '\u{a0}';

/// The findings for `data`, whose own `findings` are ignored.
pub fn findings(data: &ReportData) -> Findings {
    Findings { headline: headline(data), asked: asked(data), outcome: outcome(data), remarks: remarks(data) }
}

fn headline(data: &ReportData) -> String {
    let (Some(first), Some(last)) = (model(data, ModelRole::Initial), model(data, ModelRole::Final)) else {
        let done = data.stages.iter().filter(|stage| stage.state == super::StageState::Done).count();
        return if data.stages.is_empty() {
            "Nothing is done yet".to_owned()
        } else {
            format!("Not finished: {done} of {} stages are done", data.stages.len())
        };
    };
    let (from, to) = (percent(first.overall.accuracy), percent(last.overall.accuracy));
    match gain(data, last, first) {
        Gain::Up => format!("Training on weighted traces raised accuracy from {from} to {to}"),
        Gain::Down => format!("Training on weighted traces lowered accuracy from {from} to {to}"),
        Gain::Unclear => {
            format!("No clear gain: {from} right before training on weighted traces, {to} after")
        }
    }
}

/// The direction of a difference, if its interval excludes zero.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gain {
    Up,
    Down,
    Unclear,
}

fn gain(data: &ReportData, model: &MeasuredModel, against: &MeasuredModel) -> Gain {
    let (low, high) = match comparison(data, &model.name, &against.name) {
        Some(pair) => (pair.difference.low, pair.difference.high),
        None => (model.overall.low - against.overall.high, model.overall.high - against.overall.low),
    };
    if low > 0.0 {
        Gain::Up
    } else if high < 0.0 {
        Gain::Down
    } else {
        Gain::Unclear
    }
}

fn asked(data: &ReportData) -> Vec<String> {
    let Some(questions) = &data.questions else {
        return vec!["The questions are not there yet.".to_owned()];
    };
    let mut sentences = vec![training_questions(questions)];
    if questions.evaluation > 0 {
        let each =
            questions.responses_each.map_or(String::new(), |n| format!(", {} each", plural(n, "response")));
        sentences.push(format!(
            "Models are measured on {} that none of them was trained on{each}.",
            plural(questions.evaluation as u64, "other question")
        ));
    }
    if let Some(example) = &questions.example {
        sentences.push(format!("One of the questions: “{}”", shortened(example)));
    }
    sentences
}

fn training_questions(questions: &QuestionCounts) -> String {
    let QuestionCounts { train, with_trace, with_hint, .. } = *questions;
    let rest = train - with_trace;
    let start = format!("There are {} to learn from.", plural(train as u64, "question"));
    let hints = if with_hint == train { "a hint, such as the answer" } else { "at most a hint" };
    if rest == 0 {
        format!("{start} All of them come with a written-out thought.")
    } else if with_trace == 0 {
        format!("{start} None of them comes with a written-out thought.")
    } else {
        format!(
            "{start} {} of them come with a written-out thought; the other {} only with {hints}.",
            count(with_trace as u64),
            count(rest as u64)
        )
    }
}

fn outcome(data: &ReportData) -> Vec<String> {
    let (Some(first), Some(last)) = (model(data, ModelRole::Initial), model(data, ModelRole::Final)) else {
        return data
            .models
            .iter()
            .map(|model| format!("The {} model is right {}.", model.name, with_interval(model)))
            .chain(waiting(data))
            .collect();
    };
    let mut sentences = vec![format!(
        "The initial model is right {}; the final model {}.",
        with_interval(first),
        with_interval(last)
    )];
    sentences.extend(
        comparison(data, &last.name, &first.name)
            .map(|pair| format!("Question by question, that is {}.", difference(pair))),
    );
    sentences.extend(hardest(first, last));
    sentences.extend(best_baseline(data).map(|other| {
        let end = comparison(data, &last.name, &other.name).map_or(".".to_owned(), |pair| {
            format!(": against it, the final model makes {}.", difference(pair))
        });
        format!(
            "Of the other methods, {} does best, with {}{end}",
            method_name(&other.name),
            percent(other.overall.accuracy)
        )
    }));
    sentences
}

fn waiting(data: &ReportData) -> Option<String> {
    let what = if model(data, ModelRole::Final).is_some() { "the initial model" } else { "the final model" };
    data.models
        .iter()
        .all(|model| model.role != ModelRole::Final)
        .then(|| format!("How good {what} is will be known when it has been measured."))
}

fn with_interval(model: &MeasuredModel) -> String {
    let overall = &model.overall;
    format!(
        "on {} of questions (95{SPACE}% interval {} to {})",
        percent(overall.accuracy),
        digits(overall.low),
        percent(overall.high)
    )
}

fn difference(pair: &PairedComparison) -> String {
    let inner =
        |value: f64| format!("{}{:.1}", if value < 0.0 { "−" } else { "+" }, tenths((value * 100.0).abs()));
    let latrace_objective::statistics::Interval { mean, low, high } = pair.difference;
    format!("{} percentage points ({} to {})", inner(mean), inner(low), inner(high))
}

/// The change of accuracy on the hardest questions.
fn hardest(first: &MeasuredModel, last: &MeasuredModel) -> Option<String> {
    let after = last.by_difficulty.last().filter(|_| last.by_difficulty.len() > 1)?;
    let before = first.by_difficulty.iter().find(|entry| entry.difficulty == after.difficulty)?;
    let (from, to) = (percent(before.accuracy.accuracy), percent(after.accuracy.accuracy));
    Some(format!("On the hardest questions (difficulty {}) it went from {from} to {to}.", after.difficulty))
}

fn best_baseline(data: &ReportData) -> Option<&MeasuredModel> {
    let others = data.models.iter().filter(|model| model.role == ModelRole::Baseline);
    others.max_by(|a, b| a.overall.accuracy.total_cmp(&b.overall.accuracy))
}

fn remarks(data: &ReportData) -> Vec<Remark> {
    let found =
        [about_gain(data), about_baseline(data), about_size(data), about_split(data)].into_iter().flatten();
    let found = found
        .chain(about_responses(data))
        .chain(about_traces(data))
        .chain(about_verdicts(data))
        .chain(about_weights(data))
        .chain(about_training(data));
    let mut remarks: Vec<Remark> = found.chain(about_seed(data)).collect();
    remarks.sort_by_key(|remark| match remark.kind {
        RemarkKind::Support => 0,
        RemarkKind::Caution => 1,
        RemarkKind::Note => 2,
    });
    if remarks.is_empty() {
        remarks.push(note("Nothing has been measured yet."));
    }
    remarks
}

fn about_gain(data: &ReportData) -> Option<Remark> {
    let (first, last) = (model(data, ModelRole::Initial)?, model(data, ModelRole::Final)?);
    let apart = first.overall.high < last.overall.low || last.overall.high < first.overall.low;
    Some(match (gain(data, last, first), apart) {
        (Gain::Up, true) => support(
            "The intervals of the initial and the final model do not overlap: the gain is not an accident of which questions were asked.",
        ),
        (Gain::Up, false) => support(
            "The two intervals overlap, but question by question the difference is above zero throughout its interval.",
        ),
        (Gain::Down, _) => caution(
            "The final model is worse than the initial one, and the difference is below zero throughout its interval.",
        ),
        (Gain::Unclear, _) => caution(
            "The difference between the initial and the final model may be chance: its interval holds zero.",
        ),
    })
}

fn about_baseline(data: &ReportData) -> Option<Remark> {
    let (last, other) = (model(data, ModelRole::Final)?, best_baseline(data)?);
    let name = method_name(&other.name);
    Some(match gain(data, last, other) {
        Gain::Up => support(format!(
            "The final model beats the best other method, {name}, beyond the interval of their difference."
        )),
        Gain::Down => caution(format!(
            "{} beats the final model beyond the interval of their difference.",
            capital(&name)
        )),
        Gain::Unclear => caution(format!(
            "Whether the final model is better than {name} cannot be told: the interval of their difference holds zero."
        )),
    })
}

fn about_size(data: &ReportData) -> Option<Remark> {
    let questions = data.models.iter().map(|model| model.overall.questions).min()?;
    let width = data.models.iter().map(|model| model.overall.high - model.overall.low).fold(0.0, f64::max);
    let text = format!(
        "Only {} were asked: an accuracy is known to about ± {} points.",
        plural(questions as u64, "question"),
        digits(width / 2.0)
    );
    (questions < FEW_QUESTIONS).then(|| caution(text))
}

fn about_split(data: &ReportData) -> Option<Remark> {
    let split = data.questions.as_ref()?.evaluation_split.as_deref()?;
    let text = "These are validation questions: if settings were chosen by them, evaluate the test questions once, at the end.";
    (split == "validation" && !data.models.is_empty()).then(|| note(text))
}

fn about_responses(data: &ReportData) -> Vec<Remark> {
    let share = |part: usize, model: &MeasuredModel| part as f64 / model.overall.samples.max(1) as f64;
    let cut = data.models.iter().filter(|model| share(model.truncated, model) > MANY);
    let cut = cut.map(|model| {
        caution(format!(
            "{} of the responses of {} were cut at the most tokens allowed, and count as wrong where no answer came.",
            percent(share(model.truncated, model)),
            method_name(&model.name)
        ))
    });
    let unclear = data.models.iter().filter(|model| share(model.undetermined, model) > 0.01);
    let unclear = unclear.map(|model| {
        caution(format!(
            "The verifier could not judge {} of the responses of {}; they count as wrong.",
            percent(share(model.undetermined, model)),
            method_name(&model.name)
        ))
    });
    cut.chain(unclear).collect()
}

fn about_traces(data: &ReportData) -> Option<Remark> {
    let (sampled, ended) = (data.funnel.first()?.count, data.funnel.get(1)?.count);
    let lost = 1.0 - ended as f64 / sampled.max(1) as f64;
    (lost > MANY).then(|| {
        caution(format!("{} of the sampled traces never came to their end and were left out.", percent(lost)))
    })
}

fn about_verdicts(data: &ReportData) -> Option<Remark> {
    let is_undetermined = |count: &&VerdictCount| count.reason.verdict() == Verdict::Undetermined;
    let undetermined: u64 = data.verdicts.iter().filter(is_undetermined).map(|count| count.count).sum();
    let all: u64 = data.verdicts.iter().map(|count| count.count).sum();
    let share = undetermined as f64 / all.max(1) as f64;
    (share > 0.01).then(|| {
        caution(format!(
            "The verifier could not judge {} of the answers that traces are weighed by.",
            percent(share)
        ))
    })
}

fn about_weights(data: &ReportData) -> Vec<Remark> {
    let Some(weights) = &data.weights else { return Vec::new() };
    let mut remarks = Vec::new();
    let (mean, each) = (weights.mean_effective, weights.traces_each);
    if each > 1 && weights.questions > 0 && mean < LOW_EFFECTIVE * each as f64 {
        remarks.push(caution(format!(
            "Weights are very unequal: of {each} traces a question’s weights are worth {mean:.1} on average, so that few traces decide what is learnt."
        )));
    }
    let without = weights.without_weight as f64 / (weights.questions + weights.without_weight).max(1) as f64;
    if without > MANY_WITHOUT_WEIGHT {
        remarks.push(caution(format!(
            "For {} of the questions no trace led to a right answer: nothing new is learnt from them.",
            percent(without)
        )));
    }
    remarks
}

fn about_training(data: &ReportData) -> Vec<Remark> {
    let rose = data.training.iter().filter(|training| {
        let (first, last) = (training.points.first(), training.points.last());
        first.zip(last).is_some_and(|(first, last)| last.loss > first.loss)
    });
    rose.map(|training| {
        caution(format!("The loss of the {} model ended higher than it began.", training.name))
    })
    .collect()
}

fn about_seed(data: &ReportData) -> Option<Remark> {
    let text = "This is one run with one seed: intervals say what another draw of questions would change, not what another training run would.";
    (!data.models.is_empty()).then(|| note(text))
}

fn support(text: impl Into<String>) -> Remark {
    Remark { kind: RemarkKind::Support, text: text.into() }
}

fn caution(text: impl Into<String>) -> Remark {
    Remark { kind: RemarkKind::Caution, text: text.into() }
}

fn note(text: impl Into<String>) -> Remark {
    Remark { kind: RemarkKind::Note, text: text.into() }
}

fn model(data: &ReportData, role: ModelRole) -> Option<&MeasuredModel> {
    data.models.iter().find(|model| model.role == role)
}

fn comparison<'a>(data: &'a ReportData, model: &str, against: &str) -> Option<&'a PairedComparison> {
    data.comparisons.iter().find(|pair| pair.model == model && pair.against == against)
}

/// The name of a method within a sentence.
fn method_name(name: &str) -> String {
    match name {
        "rft" | "sft" | "grpo" => name.to_uppercase(),
        "binary-rl" => "binary RL".to_owned(),
        "verifree" => "VeriFree".to_owned(),
        "initial" | "posterior" | "final" => format!("the {name} model"),
        other => format!("“{other}”"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn digits(share: f64) -> String {
    format!("{:.1}", tenths(share * 100.0))
}

/// Rounds to tenths, halves up, as the page's script does.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

fn percent(share: f64) -> String {
    format!("{}{SPACE}%", digits(share))
}

fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

fn shortened(text: &str) -> String {
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= EXAMPLE_LETTERS {
        one_line
    } else {
        format!("{}…", one_line.chars().take(EXAMPLE_LETTERS).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::{FunnelStep, Histogram, Training, TrainingPoint, WeightFigure};
    use super::*;
    use latrace_core::Reason;
    use latrace_objective::statistics::Accuracy;
    use latrace_objective::statistics::Interval;

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
        check(&data, RemarkKind::Support, "beats the best other method, RFT");
        data.comparisons[1] = pair("final", "rft", -0.04, 0.1);
        check(&data, RemarkKind::Caution, "better than RFT cannot be told");
        data.comparisons[1] = pair("final", "rft", -0.1, -0.04);
        check(&data, RemarkKind::Caution, "RFT beats the final model");
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
            [count(7), count(1_000), count(16_710), count(1_234_567)],
            ["7", "1,000", "16,710", "1,234,567"]
        );
    }
}
