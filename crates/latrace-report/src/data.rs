//! All that the report shows, and nothing else. The page is drawn from this alone, so what is not here cannot
//! be on it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::judged;
use latrace_core::Reason;
use latrace_objective::statistics::Accuracy;
use latrace_objective::statistics::Interval;

/// A run as its report tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Which run.
    pub run: Run,
    /// The same in words.
    pub findings: Findings,
    /// Stages in their order, those of other methods after those of the run itself.
    pub stages: Vec<ShownStage>,
    /// What was asked.
    pub questions: Option<QuestionCounts>,
    /// Measured models: initial, posterior, final, then others by name.
    pub models: Vec<MeasuredModel>,
    /// Pairs of models on the same questions.
    pub comparisons: Vec<PairedComparison>,
    /// Training curves.
    pub training: Vec<Training>,
    /// Where sampled traces were lost, in the order in which they were.
    pub funnel: Vec<FunnelStep>,
    /// Why answers got their verdicts.
    pub verdicts: Vec<VerdictCount>,
    /// How unequal the traces of a question weigh.
    pub weights: Option<WeightFigure>,
    /// L^1 … L^K.
    pub bounds: Option<Bounds>,
    /// Length of traces against log pi − log q.
    pub lengths: Option<LengthFigure>,
    /// Which questions each method learns from.
    pub emphasis: Option<Emphasis>,
    /// Traces to read.
    pub traces: TraceBrowser,
    /// What cannot be shown, by the figure's name, and why.
    pub missing: BTreeMap<String, String>,
}

/// Which run it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// What it is about: the task, or where its questions come from.
    pub task: Option<String>,
    /// What the final model learns from.
    pub method: Option<String>,
    /// Seed of everything random.
    pub seed: Option<u64>,
    /// Version of the program.
    pub version: Option<String>,
    /// Whether all of it is done.
    pub finished: bool,
    /// Most memory held (bytes).
    pub peak_memory_bytes: Option<u64>,
    /// All settings, as TOML.
    pub recipe: Option<String>,
}

/// The run in words, for someone who has never seen it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The outcome, in one sentence.
    pub headline: String,
    /// What was asked.
    pub asked: Vec<String>,
    /// What came out.
    pub outcome: Vec<String>,
    /// Whether to believe it.
    pub remarks: Vec<Remark>,
}

/// A reason to believe the outcome, or not to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Which way it speaks.
    pub kind: RemarkKind,
    /// What it says.
    pub text: String,
}

/// Which way a remark speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkKind {
    /// For the outcome.
    Support,
    /// Against it.
    Caution,
    /// What to know when reading it.
    Note,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Done.
    Done,
    /// Begun.
    Begun,
    /// Not begun.
    Waiting,
}

/// A stage of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownStage {
    /// Its folder within the run.
    pub folder: String,
    /// What it does, in a word or two.
    pub title: String,
    /// Another method that it belongs to.
    pub method: Option<String>,
    /// How far it is.
    pub state: StageState,
    /// Working time (s); of a begun stage, that of sessions that ended.
    pub seconds: Option<f64>,
    /// Tokens drawn or trained on.
    pub tokens: Option<u64>,
    /// How far a begun stage is.
    pub progress: Option<StageProgress>,
}

/// How far a begun stage is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Units done.
    pub done: u64,
    /// Units in all, where that is known.
    pub total: Option<u64>,
    /// What is counted, in the plural.
    pub unit: String,
    /// Units per second of late.
    pub per_second: Option<f64>,
    /// Seconds left at that rate.
    pub seconds_left: Option<f64>,
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuestionCounts {
    /// Questions to learn from.
    pub train: usize,
    /// Those of them with a trace of their own.
    pub with_trace: usize,
    /// Those of them with a hint.
    pub with_hint: usize,
    /// Questions that models are measured on.
    pub evaluation: usize,
    /// Which split these are.
    pub evaluation_split: Option<String>,
    /// Responses to each of them.
    pub responses_each: Option<u64>,
    /// One of them, as people read it.
    pub example: Option<String>,
}

/// The part that a model plays in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// pi_theta0.
    Initial,
    /// q.
    Posterior,
    /// pi_theta.
    Final,
    /// What another method made of the same data.
    Baseline,
}

/// A measured model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredModel {
    /// Its name.
    pub name: String,
    /// Its part in the run.
    pub role: ModelRole,
    /// Over all questions.
    pub overall: Accuracy,
    /// By difficulty, from easy to hard.
    pub by_difficulty: Vec<ByDifficulty>,
    /// pass@1, pass@2, … up to the number of responses to each question.
    pub pass_at: Vec<Interval>,
    /// Responses cut at the most tokens allowed.
    pub truncated: usize,
    /// Responses that nobody could judge.
    pub undetermined: usize,
    /// Mean length of a response (tokens).
    pub mean_tokens: f64,
}

/// Accuracy on the questions of one difficulty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ByDifficulty {
    /// The difficulty.
    pub difficulty: String,
    /// Accuracy on its questions.
    pub accuracy: Accuracy,
}

/// Two models on the same questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedComparison {
    /// A model.
    pub model: String,
    /// The model it is compared with.
    pub against: String,
    /// How much more often the first is right: paired by question.
    pub difference: Interval,
    /// Questions that both were asked.
    pub questions: usize,
}

/// The training of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Its name.
    pub name: String,
    /// Updates done.
    pub steps: u64,
    /// Updates that one point is the mean of.
    pub steps_per_point: u64,
    /// Loss and gradient norm over the updates.
    pub points: Vec<TrainingPoint>,
}

/// The mean over some updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingPoint {
    /// The last of the updates.
    pub step: u64,
    /// Loss, as normalised in training.
    pub loss: f64,
    /// Norm of the gradient before it is clipped.
    pub grad_norm: f64,
}

/// Traces that came so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunnelStep {
    /// How far.
    pub name: String,
    /// How many.
    pub count: u64,
    /// What became of the others.
    pub lost: String,
}

/// Answers with one verdict for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    /// Why they are right or wrong. The page reads `verdict` and `reason`.
    #[serde(flatten, with = "judged")]
    pub reason: Reason,
    /// Answers.
    pub count: u64,
}

/// Counts in bins of equal width.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Lower end of the first bin.
    pub low: f64,
    /// Upper end of the last bin.
    pub high: f64,
    /// What each bin holds; each holds its lower end, the last both.
    pub counts: Vec<u64>,
}

/// How unequal the traces of a question weigh.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightFigure {
    /// What a weight is made of, and how traces are chosen, in a sentence.
    pub description: String,
    /// Traces of a question: K.
    pub traces_each: usize,
    /// rho~ of every trace.
    pub rho: Histogram,
    /// Effective sample size of every question that has weight.
    pub effective: Histogram,
    /// Its mean.
    pub mean_effective: f64,
    /// Questions that have weight.
    pub questions: usize,
    /// Questions none of whose traces weighs anything.
    pub without_weight: usize,
}

/// L^1 … L^K.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Whether the estimate is a bound at all, as only that of the full ratio is.
    pub is_bound: bool,
    /// The estimator of the ratio.
    pub ratio: String,
    /// From k = 1 on.
    pub points: Vec<BoundPoint>,
}

/// L^k over questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundPoint {
    /// Traces of each question.
    pub k: usize,
    /// Mean over the questions where L^1 is finite (nats), the same for every k; none where there are none.
    pub mean: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// Questions where it is minus infinity.
    pub unbounded: usize,
}

/// Length of traces against log pi − log q, as a sum over tokens and as its mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LengthFigure {
    /// Traces.
    pub traces: usize,
    /// The sum (nats).
    pub summed: Density,
    /// The mean (nats per token).
    pub mean: Density,
}

/// Counts over a grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// Ends of the horizontal axis: tokens.
    pub x: (f64, f64),
    /// Ends of the vertical axis.
    pub y: (f64, f64),
    /// Rows from the lowest y on, each from the lowest x on.
    pub counts: Vec<Vec<u64>>,
    /// Spearman's rank correlation.
    pub correlation: Option<f64>,
}

/// Which questions each method learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Emphasis {
    /// Weight of a question against the accuracy on it.
    pub curves: Vec<EmphasisCurve>,
    /// Accuracies on the run's questions.
    pub accuracies: Histogram,
    /// Whose accuracies these are.
    pub of: String,
}

/// A method's weight of a question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmphasisCurve {
    /// The method.
    pub name: String,
    /// (accuracy, weight).
    pub points: Vec<(f64, f64)>,
    /// Shares of the gradient that hard, medium and easy questions of this run would get.
    pub shares: [f64; 3],
}

/// Traces to read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceBrowser {
    /// Questions that have traces.
    pub of: usize,
    /// Seed of the choice, where not all of them are here.
    pub seed: Option<u64>,
    /// Who wrote the traces.
    pub writer: String,
    /// Texts of tokens; traces hold their numbers.
    pub vocabulary: Vec<String>,
    /// Questions, in the run's order.
    pub questions: Vec<Browsed>,
}

/// A question and its traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Browsed {
    /// Its name.
    pub id: String,
    /// As people read it.
    pub question: String,
    /// The hint that the posterior sees.
    pub hint: Option<String>,
    /// How hard it is.
    pub difficulty: Option<String>,
    /// Its traces, by number.
    pub traces: Vec<BrowsedTrace>,
}

/// A trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BrowsedTrace {
    /// k.
    pub sample: u64,
    /// Whether it came to its end.
    pub closed: bool,
    /// rho~.
    pub weight: Option<f64>,
    /// Its share among the chosen traces.
    pub chosen: f64,
    /// Log of the estimated ratio (nats).
    pub log_ratio: Option<f64>,
    /// Log of the estimated answer probability (nats); none for minus infinity.
    pub log_answer: Option<f64>,
    /// Its length, which may be more than what is shown.
    pub length: usize,
    /// Numbers in the vocabulary.
    pub tokens: Vec<u32>,
    /// log pi − log q of each shown token, in hundredths of a nat; empty where it is not known.
    pub centinats: Vec<i32>,
    /// Answers after it, equal ones as one.
    pub answers: Vec<BrowsedAnswer>,
}

/// An answer, and how often it was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowsedAnswer {
    /// As its judge reads it.
    pub text: String,
    /// Why it is right or wrong; none where nobody judged it. The page reads `verdict` and `reason`.
    #[serde(flatten, with = "judged::option")]
    pub reason: Option<Reason>,
    /// Whether it came to its end.
    pub ended: bool,
    /// How many of the trace's answers are this.
    pub times: u64,
}

impl Histogram {
    /// Counts values between `low` and `high`; those outside are taken as the nearer end.
    pub fn of(values: impl IntoIterator<Item = f64>, low: f64, high: f64, bins: usize) -> Histogram {
        let mut counts = vec![0; bins];
        values.into_iter().for_each(|value| counts[bin(value, low, high, bins)] += 1);
        Histogram { low, high, counts }
    }
}

/// The bin of a value, the ends' for what lies outside.
pub(super) fn bin(value: f64, low: f64, high: f64, bins: usize) -> usize {
    // Differences of rounding must not move a value that stands on an edge, such as 0.15 of 20 bins, below
    // it.
    let place = (value - low) / (high - low) * bins as f64 + 1e-9;
    (place.max(0.0) as usize).min(bins.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_their_lower_end_and_the_last_both() {
        let edges = (0..=20).map(|i| f64::from(i) / 20.0);
        let counts = Histogram::of(edges, 0.0, 1.0, 20).counts;
        assert_eq!(counts[..19], [1; 19]);
        assert_eq!(counts[19], 2);
    }

    #[test]
    fn judgements_are_told_with_their_verdict() {
        let told = |reason| {
            let answer = BrowsedAnswer { text: "y".to_owned(), reason, ended: true, times: 1 };
            let json = serde_json::to_value(&answer).unwrap();
            assert_eq!(serde_json::from_value::<BrowsedAnswer>(json.clone()).unwrap(), answer);
            (json["verdict"].clone(), json["reason"].clone())
        };
        assert_eq!(told(Some(Reason::NoAnswer)), ("wrong".into(), "no_answer".into()));
        assert_eq!(told(None), (serde_json::Value::Null, serde_json::Value::Null));
        let count = VerdictCount { reason: Reason::Equal, count: 3 };
        let json = r#"{"verdict":"correct","reason":"equal","count":3}"#;
        assert_eq!(serde_json::to_string(&count).unwrap(), json);
        assert_eq!(serde_json::from_str::<VerdictCount>(json).unwrap(), count);
        let unknown = json.replace("equal", "splendid");
        assert!(serde_json::from_str::<VerdictCount>(&unknown).is_err(), "never taken for another");
    }

    #[test]
    fn values_outside_count_at_the_ends() {
        assert_eq!(Histogram::of([-1.0, 0.4, 7.0], 0.0, 1.0, 2).counts, [2, 1]);
    }
}
