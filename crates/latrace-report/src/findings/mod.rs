//! The run in words: the questions, the results, and how trustworthy they are. Every sentence is derived from
//! the report's numbers.

mod remarks;
mod wording;

pub(crate) use wording::percent;

use latrace_io::words::grouped;

use super::data::{
    ExampleQuestion, Findings, MeasuredModel, ModelRole, PairedComparison, QuestionCounts, ReportData,
    StageState,
};
use super::text::capital;
use remarks::remarks;
use wording::{difference, example, method_name, plural, with_interval};

/// The findings for `data`, whose own `findings` are ignored.
pub fn findings(data: &ReportData) -> Findings {
    Findings { headline: headline(data), asked: asked(data), outcome: outcome(data), remarks: remarks(data) }
}

fn headline(data: &ReportData) -> String {
    let Some((first, last)) = trained(data) else { return unfinished(data) };
    let (from, to) = (percent(first.overall.accuracy), percent(last.overall.accuracy));
    let training = training(data);
    match gain(data, last, first) {
        Gain::Up => format!("{} raised accuracy from {from} to {to}", capital(&training)),
        Gain::Down => format!("{} lowered accuracy from {from} to {to}", capital(&training)),
        Gain::Unclear => format!("No clear gain: {from} right before {training}, {to} after"),
    }
}

/// What made the final model of the initial one.
fn training(data: &ReportData) -> String {
    match data.run.method.as_deref() {
        None | Some("variational") => "training on weighted traces".to_owned(),
        Some(other) => format!("training by {}", method_name(other)),
    }
}

fn unfinished(data: &ReportData) -> String {
    if data.stages.is_empty() {
        return "Nothing is done yet".to_owned();
    }
    format!("Not finished: {} of {} stages are done", done(data), data.stages.len())
}

fn done(data: &ReportData) -> usize {
    data.stages.iter().filter(|stage| stage.state == StageState::Done).count()
}

/// The direction of a difference, if its interval excludes zero.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gain {
    Up,
    Down,
    Unclear,
}

fn gain(data: &ReportData, model: &MeasuredModel, against: &MeasuredModel) -> Gain {
    match bounds_of_difference(data, model, against) {
        // An interval that contains zero claims no direction, however large the difference is.
        (low, _) if low > 0.0 => Gain::Up,
        (_, high) if high < 0.0 => Gain::Down,
        _ => Gain::Unclear,
    }
}

/// The interval of the difference. Without paired responses it is as wide as both intervals allow, so that a
/// claim is never stronger than the data.
fn bounds_of_difference(data: &ReportData, model: &MeasuredModel, against: &MeasuredModel) -> (f64, f64) {
    match comparison(data, &model.name, &against.name) {
        Some(pair) => (pair.difference.low, pair.difference.high),
        None => (model.overall.low - against.overall.high, model.overall.high - against.overall.low),
    }
}

fn asked(data: &ReportData) -> Vec<String> {
    let Some(questions) = &data.questions else {
        return vec!["The questions are not there yet.".to_owned()];
    };
    let mut sentences = Vec::new();
    sentences.extend(Some(questions.meaning.clone()).filter(|meaning| !meaning.is_empty()));
    sentences.extend(questions.example.as_ref().map(example_question));
    sentences.push(training_questions(questions));
    sentences.extend(evaluation_questions(questions));
    sentences
}

fn example_question(shown: &ExampleQuestion) -> String {
    let question = example(&shown.question);
    match &shown.answer {
        Some(answer) => format!("For example “{question}”, with the reference answer “{}”.", example(answer)),
        None => format!("One of the questions: “{question}”"),
    }
}

fn training_questions(questions: &QuestionCounts) -> String {
    let start = format!("There are {} to learn from.", plural(questions.train as u64, "question"));
    let (with, rest) = (questions.with_trace, questions.train - questions.with_trace);
    if rest == 0 {
        return format!("{start} All of them come with a written-out thought.");
    }
    if with == 0 {
        return format!("{start} None of them comes with a written-out thought.");
    }
    format!(
        "{start} {} of them come with a written-out thought; the other {} {}.",
        grouped(with as u64),
        grouped(rest as u64),
        hints(questions)
    )
}

fn hints(questions: &QuestionCounts) -> &'static str {
    let &QuestionCounts { train, with_hint, with_answer_as_hint, .. } = questions;
    // Those without a thought are not counted by themselves, so no more can be said of a mixture.
    if train == with_answer_as_hint {
        "only with the answer, the whole of which is the hint"
    } else if train == with_hint {
        "only with a hint"
    } else {
        "with at most a hint"
    }
}

fn evaluation_questions(questions: &QuestionCounts) -> Option<String> {
    let each = questions.responses_each.map(|n| format!(", {} each", plural(n, "response")));
    (questions.evaluation > 0).then(|| {
        format!(
            "Models are measured on {} that none of them was trained on{}.",
            plural(questions.evaluation as u64, "other question"),
            each.unwrap_or_default()
        )
    })
}

fn outcome(data: &ReportData) -> Vec<String> {
    let Some((first, last)) = trained(data) else { return outcome_so_far(data) };
    let both = format!(
        "The initial model is right {}; the final model {}.",
        with_interval(first),
        with_interval(last)
    );
    let paired = comparison(data, &last.name, &first.name)
        .map(|pair| format!("Question by question, that is {}.", difference(pair)));
    let further = [paired, hardest(first, last), against_baseline(data, last)];
    std::iter::once(both).chain(further.into_iter().flatten()).collect()
}

fn outcome_so_far(data: &ReportData) -> Vec<String> {
    data.models.iter().map(rightness).chain(waiting(data)).collect()
}

fn rightness(model: &MeasuredModel) -> String {
    format!("The {} model is right {}.", model.name, with_interval(model))
}

fn waiting(data: &ReportData) -> Option<String> {
    model(data, ModelRole::Final)
        .is_none()
        .then(|| "How good the final model is will be known when it has been measured.".to_owned())
}

/// The change of accuracy on the hardest questions.
fn hardest(first: &MeasuredModel, last: &MeasuredModel) -> Option<String> {
    // With a single difficulty, this would only repeat the overall accuracy.
    let after = last.by_difficulty.last().filter(|_| last.by_difficulty.len() > 1)?;
    let before = first.by_difficulty.iter().find(|entry| entry.difficulty == after.difficulty)?;
    let (from, to) = (percent(before.accuracy.accuracy), percent(after.accuracy.accuracy));
    Some(format!("On the hardest questions (difficulty {}) it went from {from} to {to}.", after.difficulty))
}

fn against_baseline(data: &ReportData, last: &MeasuredModel) -> Option<String> {
    let other = best_baseline(data)?;
    let (name, accuracy) = (method_name(&other.name), percent(other.overall.accuracy));
    let end = match comparison(data, &last.name, &other.name) {
        Some(pair) => format!(": against it, the final model makes {}.", difference(pair)),
        // Without responses to pair, there is no difference with an interval to state.
        None => ".".to_owned(),
    };
    let long = data.run.methods.iter().find(|of| of.name == other.name).map(|of| of.long.as_str());
    // Spelt out where it is named first, unless its name is already that.
    let long = long.filter(|long| !long.contains(&name)).map_or(String::new(), |long| format!(" ({long})"));
    Some(format!("Of the other methods, {name}{long} does best, with {accuracy}{end}"))
}

fn best_baseline(data: &ReportData) -> Option<&MeasuredModel> {
    let is_ceiling = |name: &str| data.run.methods.iter().any(|of| of.name == name && of.is_ceiling);
    let others =
        data.models.iter().filter(|model| model.role == ModelRole::Baseline && !is_ceiling(&model.name));
    others.max_by(|a, b| a.overall.accuracy.total_cmp(&b.overall.accuracy))
}

/// The initial and the final model, once both are measured.
fn trained(data: &ReportData) -> Option<(&MeasuredModel, &MeasuredModel)> {
    model(data, ModelRole::Initial).zip(model(data, ModelRole::Final))
}

fn model(data: &ReportData, role: ModelRole) -> Option<&MeasuredModel> {
    data.models.iter().find(|model| model.role == role)
}

fn comparison<'a>(data: &'a ReportData, model: &str, against: &str) -> Option<&'a PairedComparison> {
    data.comparisons.iter().find(|pair| pair.model == model && pair.against == against)
}

#[cfg(test)]
mod tests;
