//! The data of the report. The page is rendered from this alone.

mod browsed;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use browsed::{
    AnsweredQuestion, Browsed, BrowsedAnswer, BrowsedTrace, ResponseBrowser, ShownResponse, TraceBrowser,
};

use crate::judged;
use latrace_core::Reason;
use latrace_objective::statistics::Accuracy;
use latrace_objective::statistics::Interval;
use latrace_run::diagnostics::Diagnostics;
use latrace_run::pipeline::provenance::RunProvenance;

/// The data of a run's report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// The run's identity and settings.
    pub run: Run,
    /// The findings in words.
    pub findings: Findings,
    /// Stages in order, those of baselines after those of the run's own method.
    pub stages: Vec<ShownStage>,
    /// The questions of the run.
    pub questions: Option<QuestionCounts>,
    /// What tells whether the method can help on these questions.
    pub diagnostics: Diagnostics,
    /// Evaluated models: initial, posterior, final, then others by name.
    pub models: Vec<MeasuredModel>,
    /// Pairs of models on the same questions.
    pub comparisons: Vec<PairedComparison>,
    /// Training curves.
    pub training: Vec<Training>,
    /// Where sampled traces were lost, in pipeline order.
    pub funnel: Vec<FunnelStep>,
    /// Verdicts on answers, with their reasons.
    pub verdicts: Vec<VerdictCount>,
    /// Distribution of weights among a question's traces.
    pub weights: Option<WeightFigure>,
    /// L^1 … L^K.
    pub bounds: Option<Bounds>,
    /// Length of traces against log pi − log q.
    pub lengths: Option<LengthFigure>,
    /// Which questions each method learns from.
    pub emphasis: Option<Emphasis>,
    /// Responses to test questions, before and after training.
    #[serde(default)]
    pub responses: ResponseBrowser,
    /// Traces to read.
    pub traces: TraceBrowser,
    /// Figures that cannot be shown, by name, with the reason.
    pub missing: BTreeMap<String, String>,
}

/// Which run it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its folder's name.
    pub name: String,
    /// Its subject: the task, or the source of its questions.
    pub task: Option<String>,
    /// Training method of the final model.
    pub method: Option<String>,
    /// The methods that models are trained with: the run's own, then its baselines by name.
    #[serde(default)]
    pub methods: Vec<NamedMethod>,
    /// Random seed of the run.
    pub seed: Option<u64>,
    /// Version of the program.
    pub version: Option<String>,
    /// Whether the run is finished.
    pub finished: bool,
    /// Peak memory (bytes).
    pub peak_memory_bytes: Option<u64>,
    /// The arithmetics that engines computed in.
    #[serde(default)]
    pub compute: Vec<String>,
    /// When, where and by which command it was finished.
    #[serde(default)]
    pub provenance: Option<RunProvenance>,
    /// All settings, as TOML.
    pub recipe: Option<String>,
}

/// A method in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedMethod {
    /// The name of the model that it trains: `final`, or a baseline's.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Its name in full.
    pub long: String,
    /// What it does.
    pub clause: String,
    /// How it differs from the run's own settings, as a recipe spells it; empty for the run's own method.
    pub settings: String,
    /// Whether it is no competing method but what the best traces would lead to.
    pub is_ceiling: bool,
}

/// The run in words, for a reader who has never seen it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// The outcome, in one sentence.
    pub headline: String,
    /// The questions of the run.
    pub asked: Vec<String>,
    /// The results.
    pub outcome: Vec<String>,
    /// How trustworthy they are.
    pub remarks: Vec<Remark>,
}

/// A reason to trust the outcome or to doubt it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remark {
    /// Whether it supports the outcome.
    pub kind: RemarkKind,
    /// Its text.
    pub text: String,
}

/// Whether a remark supports the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemarkKind {
    /// Supports the outcome.
    Support,
    /// Casts doubt on it.
    Caution,
    /// Neutral background for reading it.
    Note,
}

/// State of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// Finished.
    Done,
    /// Begun.
    Begun,
    /// Not started.
    Waiting,
    /// Made under other settings than the recipe's: to be redone.
    Stale,
}

/// A stage of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShownStage {
    /// Its folder, relative to the run folder.
    pub folder: String,
    /// A short title.
    pub title: String,
    /// The baseline that it belongs to, if any.
    pub method: Option<String>,
    /// Its state.
    pub state: StageState,
    /// Working time (s) of a finished stage.
    pub seconds: Option<f64>,
    /// Tokens sampled or trained on.
    pub tokens: Option<u64>,
    /// Progress of a begun stage.
    pub progress: Option<StageProgress>,
}

/// Progress of a begun stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageProgress {
    /// Units done.
    pub done: u64,
    /// Total units, if known.
    pub total: Option<u64>,
    /// The unit, in the plural.
    pub unit: String,
    /// Current rate (units per second).
    pub per_second: Option<f64>,
    /// Remaining time at that rate (s).
    pub seconds_left: Option<f64>,
}

/// The questions of the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QuestionCounts {
    /// Training questions.
    pub train: usize,
    /// Those of them with a trace of their own.
    pub with_trace: usize,
    /// Those of them with a hint.
    pub with_hint: usize,
    /// Those of them whose hint is the reference answer itself.
    #[serde(default)]
    pub with_answer_as_hint: usize,
    /// Questions that models are evaluated on.
    pub evaluation: usize,
    /// Their split.
    pub evaluation_split: Option<String>,
    /// Responses per question.
    pub responses_each: Option<u64>,
    /// What is to be said of training questions that also stand in the evaluation sets; none if there are none.
    #[serde(default)]
    pub contaminated: Option<String>,
    /// What the questions mean and which answers are right.
    #[serde(default)]
    pub meaning: String,
    /// How a trace is written, for a built-in task.
    #[serde(default)]
    pub trace: Option<String>,
    /// What the difficulty of a question counts, for a built-in task.
    #[serde(default)]
    pub difficulty: Option<String>,
    /// Training questions of each difficulty that come with a trace, from easy to hard.
    #[serde(default)]
    pub traced_by_difficulty: Vec<(String, usize)>,
    /// An example.
    pub example: Option<ExampleQuestion>,
}

/// A question with its reference answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExampleQuestion {
    /// The question.
    pub question: String,
    /// Its reference answer, if that is a text.
    pub answer: Option<String>,
}

/// The role of a model in the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelRole {
    /// The model that the run starts from.
    Base,
    /// pi_theta0.
    Initial,
    /// q.
    Posterior,
    /// pi_theta.
    Final,
    /// The final model of a baseline.
    Baseline,
}

/// An evaluated model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredModel {
    /// Its name.
    pub name: String,
    /// Its role in the run.
    pub role: ModelRole,
    /// Over all questions.
    pub overall: Accuracy,
    /// By difficulty, from easy to hard.
    pub by_difficulty: Vec<ByDifficulty>,
    /// pass@1, pass@2, … up to the number of responses per question.
    pub pass_at: Vec<Interval>,
    /// Responses truncated at the token limit.
    pub truncated: usize,
    /// Responses with an undetermined verdict.
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
    /// Difference in accuracy, paired by question.
    pub difference: Interval,
    /// Questions that both answered.
    pub questions: usize,
}

/// The training of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Its name.
    pub name: String,
    /// Updates done.
    pub steps: u64,
    /// Number of updates averaged per point.
    pub steps_per_point: u64,
    /// Loss and gradient norm over the updates.
    pub points: Vec<TrainingPoint>,
}

/// Mean over consecutive updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingPoint {
    /// The last of the updates.
    pub step: u64,
    /// Loss, as normalised in training.
    pub loss: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
}

/// The traces that reached a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunnelStep {
    /// The step reached.
    pub name: String,
    /// Number of traces.
    pub count: u64,
    /// What happened to the others.
    pub lost: String,
}

/// Answers with the same verdict and reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictCount {
    /// Why they are correct or wrong. The page reads `verdict` and `reason`.
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
    /// Counts per bin. Bins include their lower end; the last includes both.
    pub counts: Vec<u64>,
}

/// Distribution of weights among a question's traces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightFigure {
    /// A sentence on how weights are computed and traces selected.
    pub description: String,
    /// Traces per question: K.
    pub traces_each: usize,
    /// rho~ of every trace.
    pub rho: Histogram,
    /// Effective sample size of every question with non-zero weight.
    pub effective: Histogram,
    /// Its mean.
    pub mean_effective: f64,
    /// Questions with non-zero weight.
    pub questions: usize,
    /// Questions whose traces all have weight 0.
    pub without_weight: usize,
}

/// L^1 … L^K: bounds, or surrogates if there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Why these are surrogates; `None` for bounds.
    pub no_bounds: Option<String>,
    /// The estimator of the ratio.
    pub ratio: String,
    /// From k = 1 on.
    pub points: Vec<BoundPoint>,
}

/// L^k over questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BoundPoint {
    /// Traces per question.
    pub k: usize,
    /// For bounds, the mean over all questions (nats); `None` is minus infinity. For surrogates, the mean over
    /// the questions where L^1 is finite, the same questions for every k; `None` if there are none.
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
    /// Rows in order of increasing y, each in order of increasing x.
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
    /// The source of the accuracies.
    pub of: String,
}

/// A method's weighting of questions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmphasisCurve {
    /// The method.
    pub name: String,
    /// Its title.
    pub title: String,
    /// (accuracy, weight).
    pub points: Vec<(f64, f64)>,
    /// Shares of the gradient from hard, medium and easy questions of this run.
    pub shares: [f64; 3],
}

impl Histogram {
    /// Counts values between `low` and `high`; values outside are clamped.
    pub fn of(values: impl IntoIterator<Item = f64>, low: f64, high: f64, bins: usize) -> Histogram {
        let mut counts = vec![0; bins];
        values.into_iter().for_each(|value| counts[bin(value, low, high, bins)] += 1);
        Histogram { low, high, counts }
    }
}

/// The bin of a value, clamped to the range.
pub(super) fn bin(value: f64, low: f64, high: f64, bins: usize) -> usize {
    // Rounding error must not move a value on a bin edge, such as 0.15 with 20 bins, below the edge.
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
