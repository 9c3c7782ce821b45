//! Self-distillation: the reasoner's own samples, scored by q, which sees the hint.

use anyhow::Result;
use serde::Serialize;

use super::algorithm::{Models, Steps};
use super::{NodeId, QuestionSettings, Role, ScoreSettings, Settings, Stage, TraceSettings};
use crate::recipe::run::{Contrast, RunRecipe};

/// Building of a self-distillation's examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DistillationSettings {
    /// What is subtracted from the log-probs under the hint.
    pub contrast: Contrast,
}

impl Steps<'_> {
    /// Stages 2 to 8: the training data of the next model, with an advantage for each token. Nothing is answered or
    /// weighed.
    pub(super) fn distilled(&mut self, questions: NodeId, models: &mut Models) -> Result<NodeId> {
        let teacher = self.posterior(questions, models)?;
        let traces = self.drawn(Stage::Traces, of_student(&self.recipe)?, questions, models.reasoner);
        let scores = self.scores_of_teacher(Stage::ScoresOfPosterior, questions, traces, teacher);
        let mut inputs = vec![(Role::Questions, questions), (Role::Traces, traces), (Role::Scores, scores)];
        let contrast = self.recipe.distillation.contrast;
        if contrast == Contrast::WrongHint {
            let wrong = self.wrong_questions(models.base)?;
            let scores = self.scores_of_teacher(Stage::ScoresOfWrongHint, wrong, traces, teacher);
            inputs.push((Role::ContrastScores, scores));
        }
        let settings = Settings::Distillation(DistillationSettings { contrast });
        Ok(self.add(Stage::Dataset, settings, &inputs))
    }

    fn wrong_questions(&mut self, base: NodeId) -> Result<NodeId> {
        let settings = QuestionSettings::of(&self.recipe.with_wrong_hints())?;
        Ok(self.add(Stage::WrongQuestions, Settings::Questions(settings), &[(Role::Model, base)]))
    }

    fn scores_of_teacher(
        &mut self,
        stage: Stage,
        questions: NodeId,
        traces: NodeId,
        teacher: NodeId,
    ) -> NodeId {
        let settings = ScoreSettings { references: false, hinted: true, unfinished: true };
        let inputs = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, teacher)];
        self.add(stage, Settings::Scores(settings), &inputs)
    }
}

/// Traces without the hint, of the questions that have one for the teacher.
fn of_student(recipe: &RunRecipe) -> Result<TraceSettings> {
    Ok(TraceSettings { needs_hint: true, ..TraceSettings::of(recipe, false)? })
}

#[cfg(test)]
mod tests;
