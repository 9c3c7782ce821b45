//! Counts of traces, answers and weights over all parts.

use std::collections::BTreeMap;

use anyhow::Result;
use latrace_core::Reason;
use latrace_objective::TraceScore;

use super::weighing::describe;
use super::{JoinedTraces, OnTrace, Tables};
use crate::data::{FunnelStep, Histogram, VerdictCount, WeightFigure};
use latrace_run::pipeline::records::{ScoreRecord, TraceRecord, WeightRecord};
use latrace_run::recipe::run::{Method, RunRecipe};

/// Bins of weights.
const RHO_BINS: usize = 20;
/// Maximum number of steps of one trace that effective sample sizes are counted by; each has two bins.
const EFFECTIVE_STEPS: usize = 16;

/// Counts over all parts.
#[derive(Default)]
pub(super) struct Counts {
    sampled: u64,
    closed: u64,
    right: u64,
    weighed: u64,
    chosen: u64,
    rho: Vec<f64>,
    effective: Vec<f64>,
    without_weight: usize,
    reasons: BTreeMap<Reason, u64>,
    /// Scores of all traces that have one.
    pub(super) scores: Vec<TraceScore>,
}

impl Counts {
    /// Counts the traces of a question.
    pub(super) fn add(&mut self, traces: &JoinedTraces) {
        for (trace, on) in traces {
            self.count(trace, on);
        }
        let weights = traces.iter().filter_map(|(_, on)| on.weight.as_ref());
        self.add_weights(weights.map(|weight| weight.weight).collect());
    }

    fn count(&mut self, trace: &TraceRecord, on: &OnTrace) {
        let has_weight = |pick: fn(&WeightRecord) -> f64| on.weight.as_ref().is_some_and(|of| pick(of) > 0.0);
        self.sampled += 1;
        self.closed += u64::from(trace.closed);
        self.weighed += u64::from(has_weight(|weight| weight.weight));
        self.chosen += u64::from(has_weight(|weight| weight.chosen));
        // Three numbers each, so that all fit into memory where the tokens of a run need not.
        self.scores.extend(on.score.as_ref().map(|score| trace_score(trace, score)));
        self.count_answers(on);
    }

    fn count_answers(&mut self, on: &OnTrace) {
        let reasons = || on.answers.iter().filter_map(|(_, reason)| *reason);
        self.right += u64::from(reasons().any(|reason| reason.verdict().is_correct()));
        for reason in reasons() {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// Adds the weights of a question's traces, and their effective sample size 1 / sum rho~^2.
    fn add_weights(&mut self, rho_k: Vec<f64>) {
        match rho_k.iter().map(|rho| rho * rho).sum::<f64>() {
            // 0 where every trace weighs nothing, and also where the question has no weights at all.
            squares if squares > 0.0 => self.effective.push(1.0 / squares),
            _ => self.without_weight += 1,
        }
        self.rho.extend(rho_k);
    }

    /// How many traces reached each step, as far as the stages that tell it are finished.
    pub(super) fn funnel(&self, tables: &Tables, recipe: &RunRecipe) -> Vec<FunnelStep> {
        let mut steps =
            vec![step("sampled", self.sampled, ""), step("came to their end", self.closed, "were cut off")];
        if tables.verdicts.is_some() {
            steps.push(step("led to a right answer", self.right, "led to none"));
        }
        if tables.weights.is_some() {
            steps.extend(self.weighing_steps(recipe));
        }
        steps
    }

    fn weighing_steps(&self, recipe: &RunRecipe) -> impl Iterator<Item = FunnelStep> {
        // Where exactly the traces with a right answer weigh something, the step would repeat the one before.
        let weighed =
            (self.weighed != self.right).then(|| step("weigh something", self.weighed, "weigh nothing"));
        // Only the variational method selects examples by weight.
        let chosen =
            (recipe.method == Method::Variational).then(|| step("chosen", self.chosen, "were not chosen"));
        weighed.into_iter().chain(chosen)
    }

    /// Distribution of weights among a question's traces.
    pub(super) fn weights(&self, recipe: &RunRecipe) -> Result<WeightFigure> {
        let traces_each = recipe.traces.sampling.n as usize;
        Ok(WeightFigure {
            description: describe(recipe)?,
            traces_each,
            rho: Histogram::of(self.rho.iter().copied(), 0.0, 1.0, RHO_BINS),
            effective: self.effective_sizes(traces_each),
            mean_effective: self.mean_effective(),
            questions: self.effective.len(),
            without_weight: self.without_weight,
        })
    }

    fn mean_effective(&self) -> f64 {
        self.effective.iter().sum::<f64>() / self.effective.len().max(1) as f64
    }

    fn effective_sizes(&self, traces_each: usize) -> Histogram {
        // Sizes are from 1 to K. With K = 1 the axis would have no width.
        let most = traces_each.max(2);
        Histogram::of(self.effective.iter().copied(), 1.0, most as f64, 2 * (most - 1).min(EFFECTIVE_STEPS))
    }

    /// Answers by reason, sorted by the verdict's name, then by the reason's.
    pub(super) fn verdicts(&self) -> Vec<VerdictCount> {
        let counts = self.reasons.iter().map(|(&reason, &count)| VerdictCount { reason, count });
        let mut counts: Vec<VerdictCount> = counts.collect();
        counts.sort_by_key(|count| (count.reason.verdict().name(), count.reason.code()));
        counts
    }
}

fn step(name: &str, count: u64, lost: &str) -> FunnelStep {
    FunnelStep { name: name.to_owned(), count, lost: lost.to_owned() }
}

fn trace_score(trace: &TraceRecord, score: &ScoreRecord) -> TraceScore {
    TraceScore {
        logp_sum: sum(&score.logprobs),
        logq_sum: sum(&trace.logprobs),
        tokens: score.logprobs.len(),
    }
}

/// Summed in f64: a trace has thousands of tokens.
fn sum(logprobs: &[f32]) -> f64 {
    logprobs.iter().copied().map(f64::from).sum()
}
