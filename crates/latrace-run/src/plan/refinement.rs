//! The refinement of q by policy gradient: rounds within a round of algorithm 1, each on fresh samples of the last q.

use anyhow::Result;
use latrace_core::SamplingParams;
use serde::Serialize;

use super::algorithm::Steps;
use super::{FitRows, FitSettings, NodeId, Role, ScoreSettings, Settings, Stage, TraceSettings};
use crate::recipe::run::{RefinementObjective, RunRecipe, Sampling};

/// The advantages that q is refined by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RefinementSettings {
    /// What q is refined to do.
    pub objective: RefinementObjective,
}

impl Steps<'_> {
    /// q after all rounds of its refinement; q itself where there are none.
    pub(super) fn refined(&mut self, questions: NodeId, q: NodeId, reasoner: NodeId) -> Result<NodeId> {
        let mut refined = q;
        for round in 1..=self.recipe.posterior.refine.rounds {
            self.refinement = round;
            refined = self.refined_once(questions, refined, reasoner)?;
        }
        self.refinement = 0;
        Ok(refined)
    }

    fn refined_once(&mut self, questions: NodeId, q: NodeId, reasoner: NodeId) -> Result<NodeId> {
        let traces = of_refined(&self.recipe, self.refinement)?;
        let traces = self.drawn(Stage::RefinementTraces, traces, questions, q);
        // Of the model to be improved: its likelihoods are the reward.
        let scores = Settings::Scores(ScoreSettings { references: true, hinted: false, unfinished: false });
        let inputs = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, reasoner)];
        let scores = self.add(Stage::RefinementScores, scores, &inputs);
        let dataset = RefinementSettings { objective: self.recipe.posterior.refine.objective };
        let inputs = [(Role::Questions, questions), (Role::Traces, traces), (Role::Scores, scores)];
        let rows = self.add(Stage::RefinementDataset, Settings::RefinementDataset(dataset), &inputs);
        let config = self.recipe.of_refinement(self.refinement).posterior.refine.config;
        Ok(self.fit(
            Stage::Refinement,
            FitSettings::new(FitRows::Examples, &config, &self.recipe.engine),
            q,
            rows,
        ))
    }
}

/// Traces of the questions that stage 3 samples traces for, drawn from q itself, since their log-probs are those of
/// the samples.
fn of_refined(recipe: &RunRecipe, round: u64) -> Result<TraceSettings> {
    let params = SamplingParams::plain(recipe.traces.sampling.params.max_new_tokens);
    let settings = TraceSettings::of(recipe, true)?;
    Ok(TraceSettings {
        sampling: Sampling { n: recipe.posterior.refine.n, params },
        seed: recipe.of_refinement(round).seed,
        // The same questions whatever the samples' seed.
        questions_seed: Some(settings.seed),
        ..settings
    })
}

#[cfg(test)]
mod tests;
