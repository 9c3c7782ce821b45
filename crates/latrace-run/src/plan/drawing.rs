//! Traces with their log-probs under the model that draws them.

use serde::Serialize;

use super::algorithm::Steps;
use super::{NodeId, Role, Settings, Stage, TraceSettings};

/// Scoring of drawn traces, whose log-probs it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RescoringSettings {
    /// Whether the prompt has the hint.
    pub hinted: bool,
    /// Whether unfinished traces are scored too; otherwise they keep the log-probs of the sampler.
    pub unfinished: bool,
}

impl Steps<'_> {
    /// Traces, drawn by `writer`. An engine whose sampler and scorer do not agree to the bit draws them in a stage
    /// before, and the scorer of log pi gives them their log-probs: rho exponentiates the difference of the two.
    pub fn drawn(
        &mut self,
        stage: Stage,
        settings: TraceSettings,
        questions: NodeId,
        writer: NodeId,
    ) -> NodeId {
        let inputs = [(Role::Questions, questions), (Role::Model, writer)];
        let rescoring = RescoringSettings {
            hinted: settings.hinted,
            // Policy gradients learn from unfinished traces; elsewhere their weight is 0.
            unfinished: self.recipe.method.is_policy_gradient() || stage == Stage::RefinementTraces,
        };
        match stage.drawn().filter(|_| !self.recipe.engine.samples_exactly()) {
            None => self.add(stage, Settings::Traces(settings), &inputs),
            Some(before) => {
                let drawn = self.add(before, Settings::Traces(settings), &inputs);
                let inputs = [inputs[0], (Role::Traces, drawn), inputs[1]];
                self.add(stage, Settings::Rescoring(rescoring), &inputs)
            }
        }
    }
}

#[cfg(test)]
mod tests;
