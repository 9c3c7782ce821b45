//! Reasons to trust the outcome or to doubt it.

use latrace_core::{Reason, Verdict};

use super::wording::{digits, method_name, percent, plural};
use super::{Gain, best_baseline, gain, model, trained};
use crate::data::{
    MeasuredModel, ModelRole, Remark, RemarkKind, ReportData, Training, VerdictCount, WeightFigure,
};
use crate::text::capital;

/// Number of questions below which intervals are called wide: at 200, an accuracy of one half is known to
/// about ± 7 points.
const FEW_QUESTIONS: usize = 200;
/// Share of responses or traces above which truncation is reported.
const MANY: f64 = 0.05;
/// Share of answers above which missing verdicts are reported: lower than [`MANY`], because a verifier that
/// works judges nearly all.
const MANY_UNDETERMINED: f64 = 0.01;
/// Share of questions without weight above which it is reported.
const MANY_WITHOUT_WEIGHT: f64 = 0.2;
/// Difference in accuracy between the questions that a model was trained on and others above which it is said to know
/// the former by heart.
const BY_HEART: f64 = 0.2;
/// Share of K below which the mean effective sample size is called low.
const LOW_EFFECTIVE: f64 = 0.25;

/// All remarks: first those that support the outcome, then cautions, then background.
pub(super) fn remarks(data: &ReportData) -> Vec<Remark> {
    let mut remarks = about_results(data);
    remarks.extend(data.diagnostics.cautions.iter().map(|text| caution(capital(text))));
    remarks.extend(about_traces(data));
    remarks.extend(about_verdicts(data));
    remarks.extend(about_weights(data));
    remarks.extend(about_training(data));
    remarks.extend(about_memory(data));
    remarks.extend(about_seed(data));
    // The sort is stable: within a kind, the order above remains.
    remarks.sort_by_key(|remark| rank(remark.kind));
    if remarks.is_empty() {
        remarks.push(note("Nothing has been measured yet."));
    }
    remarks
}

fn rank(kind: RemarkKind) -> u8 {
    match kind {
        RemarkKind::Support => 0,
        RemarkKind::Caution => 1,
        RemarkKind::Note => 2,
    }
}

fn about_results(data: &ReportData) -> Vec<Remark> {
    let single = [
        about_gain(data),
        about_baseline(data),
        about_size(data),
        about_contamination(data),
        about_split(data),
    ];
    let truncated = data.models.iter().filter_map(about_truncated);
    let undetermined = data.models.iter().filter_map(about_undetermined);
    single.into_iter().flatten().chain(truncated).chain(undetermined).collect()
}

fn about_gain(data: &ReportData) -> Option<Remark> {
    let (first, last) = trained(data)?;
    // Paired by question, the difference is known better than either accuracy, and can be clear where these
    // overlap.
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
            "The final model is ahead of the best other method, {name}: the 95\u{a0}% interval of the difference is above zero."
        )),
        Gain::Down => caution(format!(
            "{} is ahead of the final model: the 95\u{a0}% interval of the difference is below zero.",
            capital(&name)
        )),
        Gain::Unclear => caution(format!(
            "Whether the final model is better than {name} cannot be told: the interval of their difference holds zero."
        )),
    })
}

fn about_size(data: &ReportData) -> Option<Remark> {
    let questions = data.models.iter().map(|model| model.overall.questions).min()?;
    let (few, points) = (plural(questions as u64, "question"), digits(widest_interval(data) / 2.0));
    (questions < FEW_QUESTIONS)
        .then(|| caution(format!("Only {few} were asked: an accuracy is known to about ± {points} points.")))
}

fn widest_interval(data: &ReportData) -> f64 {
    data.models.iter().map(|model| model.overall.high - model.overall.low).fold(0.0, f64::max)
}

fn about_contamination(data: &ReportData) -> Option<Remark> {
    let contaminated = data.questions.as_ref()?.contaminated.as_deref()?;
    Some(caution(format!("{}: accuracies may measure what was memorised.", capital(contaminated))))
}

fn about_split(data: &ReportData) -> Option<Remark> {
    let split = data.questions.as_ref()?.evaluation_split.as_deref()?;
    let text = "These are validation questions: if settings were chosen by them, evaluate the test questions once, at the end.";
    (split == "validation" && !data.models.is_empty()).then(|| note(text))
}

fn about_truncated(model: &MeasuredModel) -> Option<Remark> {
    let share = share_of_responses(model.truncated, model);
    let (shown, name) = (percent(share), method_name(&model.name));
    (share > MANY).then(|| {
        caution(format!(
            "{shown} of the responses of {name} were cut at the most tokens allowed, and count as wrong where no answer came."
        ))
    })
}

fn about_undetermined(model: &MeasuredModel) -> Option<Remark> {
    let share = share_of_responses(model.undetermined, model);
    let (shown, name) = (percent(share), method_name(&model.name));
    (share > MANY_UNDETERMINED).then(|| {
        caution(format!(
            "The verifier could not judge {shown} of the responses of {name}; they count as wrong."
        ))
    })
}

fn share_of_responses(part: usize, model: &MeasuredModel) -> f64 {
    part as f64 / model.overall.samples.max(1) as f64
}

fn about_traces(data: &ReportData) -> Option<Remark> {
    let (sampled, ended) = (data.funnel.first()?.count, data.funnel.get(1)?.count);
    let lost = 1.0 - ended as f64 / sampled.max(1) as f64;
    let shown = percent(lost);
    (lost > MANY)
        .then(|| caution(format!("{shown} of the sampled traces never came to their end and were left out.")))
}

fn about_verdicts(data: &ReportData) -> Option<Remark> {
    let share = undetermined_share(&data.verdicts);
    let shown = percent(share);
    (share > MANY_UNDETERMINED).then(|| {
        caution(format!("The verifier could not judge {shown} of the answers that traces are weighed by."))
    })
}

fn undetermined_share(verdicts: &[VerdictCount]) -> f64 {
    // A program without tests is no failure of the verifier.
    let is_undetermined = |count: &&VerdictCount| {
        count.reason.verdict() == Verdict::Undetermined && count.reason != Reason::NoVerifier
    };
    let undetermined = total(verdicts.iter().filter(is_undetermined));
    undetermined as f64 / total(verdicts.iter()).max(1) as f64
}

fn total<'a>(counts: impl Iterator<Item = &'a VerdictCount>) -> u64 {
    counts.map(|count| count.count).sum()
}

fn about_weights(data: &ReportData) -> Vec<Remark> {
    let Some(weights) = &data.weights else { return Vec::new() };
    about_inequality(weights).into_iter().chain(about_weightless(weights)).collect()
}

fn about_inequality(weights: &WeightFigure) -> Option<Remark> {
    let (mean, each) = (weights.mean_effective, weights.traces_each);
    // A single trace has all of its question's weight, whatever the method.
    let is_low = each > 1 && weights.questions > 0 && mean < LOW_EFFECTIVE * each as f64;
    is_low.then(|| {
        caution(format!(
            "Weights are very unequal: of {each} traces a question’s weights are worth {mean:.1} on average, so that few traces decide what is learnt."
        ))
    })
}

fn about_weightless(weights: &WeightFigure) -> Option<Remark> {
    let share = share_without_weight(weights);
    let shown = percent(share);
    (share > MANY_WITHOUT_WEIGHT).then(|| {
        caution(format!(
            "For {shown} of the questions no trace led to a right answer: nothing new is learnt from them."
        ))
    })
}

fn share_without_weight(weights: &WeightFigure) -> f64 {
    let all = weights.questions + weights.without_weight;
    weights.without_weight as f64 / all.max(1) as f64
}

fn about_training(data: &ReportData) -> Vec<Remark> {
    let rose = data.training.iter().filter(|training| has_risen(training));
    rose.map(about_rise).collect()
}

fn about_rise(training: &Training) -> Remark {
    caution(format!("The loss of the {} model ended higher than it began.", training.name))
}

fn has_risen(training: &Training) -> bool {
    let ends = training.points.first().zip(training.points.last());
    // A training of so few updates that the curve has one point is never reported: the ends are the same.
    ends.is_some_and(|(first, last)| last.loss > first.loss)
}

/// Told at the top, so that the high accuracy further down surprises nobody.
fn about_memory(data: &ReportData) -> Option<Remark> {
    let (own, other) = (data.diagnostics.initial_on_traced?, data.diagnostics.initial_on_held_out?);
    let shown = [own, other].map(|of| percent(of.accuracy));
    (own.accuracy - other.accuracy > BY_HEART).then(|| {
        let [own, other] = shown;
        note(format!(
            "The initial model knows by heart much of the questions that it was trained on: it is right in {own} of its responses to them, {other} of those to others. Only the latter count in its accuracy."
        ))
    })
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

pub(super) fn note(text: impl Into<String>) -> Remark {
    Remark { kind: RemarkKind::Note, text: text.into() }
}
