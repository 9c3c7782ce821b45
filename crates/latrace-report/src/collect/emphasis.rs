//! The weight that each method gives a question: section 6, over the accuracies of the run's own questions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use latrace_objective::diagnostics::{gradient_share, weight_curve};
use latrace_objective::{Objective, Weighting};

use super::super::data::{Emphasis, EmphasisCurve, Histogram};
use super::stages::RunStages;
use latrace_io::table::Table;
use latrace_run::pipeline::records::{TraceRecord, VerdictRecord};
use latrace_run::plan::Stage;
use latrace_run::recipe::run::{Proposal, RunRecipe};

/// The methods of section 6, under their recipe names.
const METHODS: [(&str, Objective); 4] = [
    ("variational", Objective::MultiTrace(Weighting::Rho)),
    ("rft", Objective::Rft),
    ("binary-rl", Objective::BinaryReward),
    ("grpo", Objective::Grpo),
];
/// Points per curve.
const STEPS: usize = 50;
/// Bins of accuracies.
const BINS: usize = 20;

/// The curves and the accuracies; `None` if no answers after traces were judged.
pub(super) fn read(recipe: &RunRecipe, stages: &RunStages) -> Result<Option<Emphasis>> {
    let Some((of, traces, verdicts)) = source(recipe, stages)? else { return Ok(None) };
    let accuracy_q = accuracies(traces, verdicts)?;
    let curve = |(name, objective): (&str, Objective)| -> Result<EmphasisCurve> {
        let share = gradient_share(&objective, &accuracy_q)?;
        Ok(EmphasisCurve {
            name: name.to_owned(),
            points: weight_curve(&objective, STEPS),
            shares: [share.hard, share.medium, share.easy],
        })
    };
    let curves = METHODS.into_iter().map(curve).collect::<Result<_>>()?;
    Ok(Some(Emphasis { curves, accuracies: Histogram::of(accuracy_q, 0.0, 1.0, BINS), of }))
}

/// The source of the accuracies: answers after the initial model's own traces if some method sampled them,
/// because the posterior's traces saw the hint.
fn source<'a>(recipe: &RunRecipe, stages: &'a RunStages) -> Result<Option<(String, &'a Path, &'a Path)>> {
    for (name, variant) in recipe.variants()? {
        let of_variant = |stage: Stage| stages.done_of(&name, stage);
        if variant.proposal() == Proposal::Initial
            && let (Some(traces), Some(verdicts)) = (of_variant(Stage::Traces), of_variant(Stage::Verdicts))
        {
            return Ok(Some((
                format!("answers after the initial model’s own traces, of the baseline {name}"),
                traces,
                verdicts,
            )));
        }
    }
    let of = match recipe.proposal() {
        Proposal::Initial => "answers after the initial model’s own traces",
        Proposal::Posterior => {
            "answers after the posterior’s traces, which saw the hint and so flatter the initial model"
        }
    };
    Ok(stages
        .done(Stage::Traces)
        .zip(stages.done(Stage::Verdicts))
        .map(|(traces, verdicts)| (of.to_owned(), traces, verdicts)))
}

/// The mean over a question's traces of the share of correct answers after each; an unfinished trace has
/// none.
fn accuracies(traces: &Path, verdicts: &Path) -> Result<Vec<f64>> {
    let (traces, verdicts) = (Table::<TraceRecord>::open(traces), Table::<VerdictRecord>::open(verdicts));
    let mut accuracies = Vec::new();
    for part in 0..traces.parts()? {
        let mut answers: BTreeMap<(String, u64), (u64, u64)> = BTreeMap::new();
        for verdict in verdicts.read(part)? {
            let is_correct = verdict.verdict().is_correct();
            let (right, all) = answers.entry((verdict.id, verdict.sample)).or_default();
            *right += u64::from(is_correct);
            *all += 1;
        }
        let mut questions: BTreeMap<String, (f64, u64)> = BTreeMap::new();
        for trace in traces.read(part)? {
            let (right, all) = answers.get(&(trace.id.clone(), trace.sample)).copied().unwrap_or((0, 1));
            let (sum, count) = questions.entry(trace.id).or_default();
            *sum += right as f64 / all as f64;
            *count += 1;
        }
        accuracies.extend(questions.into_values().map(|(sum, count)| (sum / count as f64).min(1.0)));
    }
    Ok(accuracies)
}
