//! Evaluation results: accuracies from the stages' counts, pass@k and paired differences from the responses.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::super::data::{ByDifficulty, MeasuredModel, ModelRole, PairedComparison};
use super::stages::RunStages;
use latrace_core::Verdict;
use latrace_io::table::Table;
use latrace_objective::statistics::{Accuracy, Interval, Tally, bootstrap, pass_curve};
use latrace_run::comparison::SEED;
use latrace_run::pipeline::folder::read_record;
use latrace_run::pipeline::records::ResponseRecord;
use latrace_run::pipeline::summary::evaluations;
use latrace_run::plan::{Node, Stage};
use latrace_run::stages::evaluation::Measured;

/// The evaluation results.
pub(super) struct Measurements {
    /// Models: initial, final, then others by name.
    pub(super) models: Vec<MeasuredModel>,
    /// The final model against each of the others.
    pub(super) comparisons: Vec<PairedComparison>,
}

/// A model's responses.
#[derive(Default)]
struct Responses {
    /// Correct responses and all, by question.
    tally_q: BTreeMap<String, Tally>,
    undetermined: usize,
    tokens: usize,
    count: usize,
}

/// Reads all finished evaluations.
pub(super) fn read(stages: &RunStages) -> Result<Measurements> {
    let (mut models, mut responses) = (Vec::new(), BTreeMap::new());
    for (name, id) in evaluations(&stages.plan) {
        if let Some(folder) = stages.done_node(id) {
            let of_model = read_responses(folder)?;
            models.push(model(&name, role(&stages.plan.nodes[id]), folder, &of_model)?);
            responses.insert(name, of_model);
        }
    }
    let others = models.iter().filter(|model| model.role != ModelRole::Final);
    let comparisons = others.filter_map(|other| compare(&responses, "final", &other.name)).collect();
    Ok(Measurements { models, comparisons })
}

fn role(node: &Node) -> ModelRole {
    // Only a baseline's stages name their method.
    match (&node.method, node.stage) {
        (Some(_), _) => ModelRole::Baseline,
        (None, Stage::BaseEvaluation) => ModelRole::Base,
        (None, Stage::InitialEvaluation) => ModelRole::Initial,
        (None, _) => ModelRole::Final,
    }
}

fn read_responses(folder: &Path) -> Result<Responses> {
    let mut responses = Responses::default();
    for response in Table::open(folder).records()? {
        responses.add(response?);
    }
    Ok(responses)
}

impl Responses {
    fn add(&mut self, response: ResponseRecord) {
        let verdict = response.verdict();
        self.count_verdict(response.id, verdict);
        self.tokens += response.token_ids.len();
        self.count += 1;
    }

    fn count_verdict(&mut self, id: String, verdict: Verdict) {
        let tally = self.tally_q.entry(id).or_insert(Tally { right: 0, samples: 0 });
        tally.right += usize::from(verdict.is_correct());
        tally.samples += 1;
        self.undetermined += usize::from(verdict == Verdict::Undetermined);
    }
}

fn model(name: &str, role: ModelRole, folder: &Path, responses: &Responses) -> Result<MeasuredModel> {
    let Measured { overall, by_difficulty, truncated, .. } = measured(folder)?;
    Ok(MeasuredModel {
        name: name.to_owned(),
        role,
        pass_at: passes(responses, &overall),
        overall,
        by_difficulty: from_easy_to_hard(by_difficulty),
        truncated: truncated as usize,
        undetermined: responses.undetermined,
        // An evaluation of no questions has a mean of 0: NaN would be null in the page's data.
        mean_tokens: responses.tokens as f64 / responses.count.max(1) as f64,
    })
}

/// The counts of an evaluation, as its stage recorded them: the report shows the run's own numbers.
fn measured(folder: &Path) -> Result<Measured> {
    let record = read_record(folder)?.with_context(|| format!("{} contains no stage", folder.display()))?;
    serde_json::from_value(record.counts)
        .with_context(|| format!("{} contains no evaluation", folder.display()))
}

fn from_easy_to_hard(by_difficulty: BTreeMap<String, Accuracy>) -> Vec<ByDifficulty> {
    let entry = |(difficulty, accuracy)| ByDifficulty { difficulty, accuracy };
    easy_to_hard(by_difficulty).into_iter().map(entry).collect()
}

/// Orders difficulties by number if all are numbers, by the usual words if all are such words, and otherwise
/// by name.
pub(super) fn easy_to_hard<T>(by_difficulty: BTreeMap<String, T>) -> Vec<(String, T)> {
    let mut entries: Vec<(String, T)> = by_difficulty.into_iter().collect();
    let scales: [Scale; 2] = [|name| name.parse().ok(), place_of_word];
    for scale in scales {
        sort_if_ranked(&mut entries, scale);
    }
    entries
}

/// The rank of a difficulty's name; `None` if the name is none of the scale's.
type Scale = fn(&str) -> Option<f64>;

fn sort_if_ranked<T>(entries: &mut [(String, T)], scale: Scale) {
    // All or none: a name off the scale would come before the easiest.
    if entries.iter().all(|(difficulty, _)| scale(difficulty).is_some()) {
        entries.sort_by(|(a, _), (b, _)| by_scale(scale, a, b));
    }
}

fn place_of_word(name: &str) -> Option<f64> {
    let place = ["easy", "medium", "hard"].iter().position(|word| name.eq_ignore_ascii_case(word));
    place.map(|place| place as f64)
}

/// The names were in alphabetic order, which the stable sort keeps where ranks are equal.
fn by_scale(scale: Scale, a: &str, b: &str) -> Ordering {
    scale(a).partial_cmp(&scale(b)).unwrap_or(Ordering::Equal)
}

/// pass@1, pass@2, … up to the responses that every question has; empty if that is only pass@1.
fn passes(responses: &Responses, overall: &Accuracy) -> Vec<Interval> {
    let tally_q: Vec<Tally> = responses.tally_q.values().copied().collect();
    let passes = pass_curve(&tally_q, overall, SEED);
    // pass@1 alone is the accuracy, which the report shows anyway.
    if passes.len() < 2 { Vec::new() } else { passes }
}

/// The difference in accuracy on the questions that both answered; `None` if there are none.
fn compare(responses: &BTreeMap<String, Responses>, model: &str, against: &str) -> Option<PairedComparison> {
    let difference_q = differences(responses.get(model)?, responses.get(against)?);
    let questions = difference_q.len();
    (questions > 0).then(|| PairedComparison {
        model: model.to_owned(),
        against: against.to_owned(),
        difference: bootstrap(&difference_q, SEED),
        questions,
    })
}

/// Differences of accuracy, question by question: the spread of difficulties, which is most of an accuracy's
/// interval, cancels.
fn differences(model: &Responses, against: &Responses) -> Vec<f64> {
    let pairs = model.tally_q.iter().filter_map(|(id, ours)| Some((ours, against.tally_q.get(id)?)));
    pairs.map(|(ours, theirs)| ours.share() - theirs.share()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accuracy(value: f64) -> Accuracy {
        Accuracy { accuracy: value, low: 0.0, high: 1.0, questions: 1, samples: 1 }
    }

    #[track_caller]
    fn check_order(given: &[&str], expected: &[&str]) {
        let entries =
            from_easy_to_hard(given.iter().map(|name| ((*name).to_owned(), accuracy(0.5))).collect());
        assert_eq!(entries.iter().map(|entry| entry.difficulty.as_str()).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn difficulties_go_from_easy_to_hard() {
        check_order(&["10", "9", "1"], &["1", "9", "10"]);
        check_order(&["hard", "Easy", "medium"], &["Easy", "medium", "hard"]);
        check_order(&["geometry", "algebra", "2"], &["2", "algebra", "geometry"]);
    }

    fn responses(right_q: &[(&str, usize, usize)]) -> Responses {
        let tally = |&(id, right, samples): &(&str, usize, usize)| (id.to_owned(), Tally { right, samples });
        Responses { tally_q: right_q.iter().map(tally).collect(), ..Responses::default() }
    }

    #[test]
    fn differences_are_paired_by_question() {
        let all = BTreeMap::from([
            ("final".to_owned(), responses(&[("a", 4, 4), ("b", 2, 4), ("c", 1, 4)])),
            ("rft".to_owned(), responses(&[("a", 3, 4), ("b", 1, 4), ("d", 4, 4)])),
        ]);
        let pair = compare(&all, "final", "rft").unwrap();
        assert_eq!(
            (pair.questions, pair.difference.mean, pair.difference.low, pair.difference.high),
            (2, 0.25, 0.25, 0.25)
        );
        assert_eq!(compare(&all, "final", "nobody"), None);
    }

    #[test]
    fn passes_go_as_far_as_every_question_has_responses() {
        assert_eq!(
            passes(&responses(&[("a", 1, 4), ("b", 4, 5)]), &accuracy(0.525))
                .iter()
                .map(|pass| pass.mean)
                .collect::<Vec<_>>(),
            [0.525, 0.75, 0.875, 1.0]
        );
        assert_eq!(passes(&responses(&[("a", 1, 1)]), &accuracy(1.0)), []);
    }
}
