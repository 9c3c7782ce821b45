//! The statistics of one question's group, and the weights an objective gives it.

use crate::Verdict;
use crate::error::{Error, Result, check_log_weights, same_length};
use crate::weights::{GroupOutcome, log_rho};

/// The statistics of one question: K traces, n answers each. Objectives read those they need and fail with
/// the name of one that is missing.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    traces: usize,
    verdict_km: &'a [Verdict],
    log_ratio_k: Option<&'a [f64]>,
    log_answer_k: Option<&'a [f64]>,
}

impl<'a> Group<'a> {
    /// A group of `traces` traces without statistics.
    ///
    /// # Errors
    /// No trace.
    pub fn new(traces: usize) -> Result<Self> {
        if traces == 0 {
            return Err(Error::Empty { operation: "Group::new", noun: "trace" });
        }
        Ok(Self { traces, verdict_km: &[], log_ratio_k: None, log_answer_k: None })
    }

    /// Adds verdicts on the answers; a reference answer (GML) is one answer per trace that is
    /// [`Verdict::Correct`].
    ///
    /// # Shapes
    /// `verdict_km`: K × n, row k holds the n answers of trace k.
    ///
    /// # Errors
    /// A count that K does not divide.
    pub fn with_verdicts(mut self, verdict_km: &'a [Verdict]) -> Result<Self> {
        // The next multiple of K: what the count should have been.
        let expected = verdict_km.len().div_ceil(self.traces) * self.traces;
        same_length("Group::with_verdicts", expected, verdict_km.len())?;
        self.verdict_km = verdict_km;
        Ok(self)
    }

    /// Adds log-ratios `log pi(z_k|x)/q(z_k|x,y')` of any [`crate::RatioEstimator`].
    ///
    /// # Shapes
    /// `log_ratio_k`: K, nats; -inf drops a trace.
    ///
    /// # Errors
    /// A length other than K, NaN or +inf.
    pub fn with_log_ratio(mut self, log_ratio_k: &'a [f64]) -> Result<Self> {
        self.check("Group::with_log_ratio", log_ratio_k)?;
        self.log_ratio_k = Some(log_ratio_k);
        Ok(self)
    }

    /// Adds log answer probabilities of any [`crate::AnswerEstimator`].
    ///
    /// # Shapes
    /// `log_answer_k`: K, nats; -inf for zero.
    ///
    /// # Errors
    /// A length other than K, NaN or +inf.
    pub fn with_log_answer(mut self, log_answer_k: &'a [f64]) -> Result<Self> {
        self.check("Group::with_log_answer", log_answer_k)?;
        self.log_answer_k = Some(log_answer_k);
        Ok(self)
    }

    /// One log-weight per trace.
    fn check(&self, operation: &'static str, log_weight_k: &[f64]) -> Result<()> {
        same_length(operation, self.traces, log_weight_k.len())?;
        check_log_weights(operation, log_weight_k)
    }

    /// K.
    #[must_use]
    pub fn traces(&self) -> usize {
        self.traces
    }

    /// n, answers per trace.
    #[must_use]
    pub fn answers(&self) -> usize {
        self.verdict_km.len() / self.traces
    }

    /// Verdicts on the answers of trace k.
    #[must_use]
    pub fn verdict_m(&self, trace: usize) -> &'a [Verdict] {
        &self.verdict_km[trace * self.answers()..(trace + 1) * self.answers()]
    }

    pub(super) fn verdicts(&self, operation: &'static str) -> Result<&'a [Verdict]> {
        let missing = Error::Missing { operation, statistic: "verdicts" };
        if self.verdict_km.is_empty() { Err(missing) } else { Ok(self.verdict_km) }
    }

    pub(super) fn log_ratio(&self, operation: &'static str) -> Result<&'a [f64]> {
        self.log_ratio_k.ok_or(Error::Missing { operation, statistic: "log-ratios of its traces" })
    }

    pub(super) fn log_answer(&self, operation: &'static str) -> Result<&'a [f64]> {
        self.log_answer_k.ok_or(Error::Missing { operation, statistic: "log answer probabilities" })
    }

    pub(super) fn log_rho(&self, operation: &'static str) -> Result<Vec<f64>> {
        let pairs = self.log_ratio(operation)?.iter().zip(self.log_answer(operation)?);
        Ok(pairs.map(|(&ratio, &answer)| log_rho(ratio, answer)).collect())
    }
}

/// Weights on the log-probs of whole sequences: the update ascends
/// `Σ_k trace_k ∇ log p(z_k) + Σ_km answer_km ∇ log p(y_km | z_k)`, log-probs summed over tokens.
///
/// # Shapes
/// `trace_k`: K. `answer_km`: K × n, row-major; empty where the objective has no answer term.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SequenceWeights {
    /// Weight on every token of trace k.
    pub trace_k: Vec<f64>,
    /// Weight on every token of answer m of trace k.
    pub answer_km: Vec<f64>,
    /// The group's outcome. Without a gradient every weight is 0.
    pub outcome: GroupOutcome,
    /// Traces of non-zero weight that have no correct answer, hence no answer term (ablations of rho only).
    pub without_answer: usize,
}

impl SequenceWeights {
    /// Weights of zero with a reason.
    pub(super) fn zero(group: &Group<'_>, outcome: GroupOutcome) -> Self {
        let answers = group.traces() * group.answers();
        Self { trace_k: vec![0.0; group.traces()], answer_km: vec![0.0; answers], outcome, without_answer: 0 }
    }

    /// Weights of zero on traces only, with a reason.
    pub(super) fn zero_traces(group: &Group<'_>, outcome: GroupOutcome) -> Self {
        Self::traces(vec![0.0; group.traces()], outcome)
    }

    /// Weights on traces only.
    pub(super) fn traces(trace_k: Vec<f64>, outcome: GroupOutcome) -> Self {
        Self { trace_k, answer_km: Vec::new(), outcome, without_answer: 0 }
    }

    /// One weight per rollout (z_k, y_km), averaged over the K × n rollouts; a trace's weight is the sum over
    /// its answers.
    pub(super) fn from_rollouts(group: &Group<'_>, rollout_km: impl Iterator<Item = f64>) -> Self {
        let (traces, answers) = (group.traces(), group.answers());
        let answer_km: Vec<f64> = rollout_km.map(|weight| weight / (traces * answers) as f64).collect();
        let trace_k = answer_km.chunks(answers).map(|row| row.iter().sum()).collect();
        // Weights may be of either sign, so it is not their sum that tells whether any is left.
        let outcome = outcome_of(&answer_km, traces);
        Self { trace_k, answer_km, outcome, without_answer: 0 }
    }
}

/// The outcome that follows from weights that were not normalised.
pub(super) fn outcome_of(weights: &[f64], traces: usize) -> GroupOutcome {
    match traces {
        _ if weights.iter().all(|&weight| weight == 0.0) => GroupOutcome::AllZero,
        1 => GroupOutcome::SingleTrace,
        _ => GroupOutcome::Weighted,
    }
}
