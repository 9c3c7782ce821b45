//! Who draws the traces of a round, and what q learns from before it does.

use std::mem::replace;

use anyhow::Result;

use super::algorithm::{Models, Steps};
use super::{
    FitRows, FitSettings, MixtureSettings, NodeId, Role, ScoreSettings, Settings, Stage, TraceSettings,
};
use crate::recipe::run::{PosteriorRows, Proposal, RunRecipe, Sampling};

impl Steps<'_> {
    /// Stages 2 and 3: the traces of the round.
    pub(super) fn proposed(&mut self, questions: NodeId, models: &mut Models) -> Result<NodeId> {
        match self.recipe.proposal() {
            Proposal::Initial => self.traces(Stage::Traces, questions, models.initial, false),
            Proposal::Reasoner => self.traces(Stage::Traces, questions, models.reasoner, false),
            Proposal::Posterior => {
                let posterior = self.posterior(questions, models)?;
                match self.recipe.traces.of_reasoner() {
                    0 => self.traces(Stage::Traces, questions, posterior, true),
                    own => self.mixture(questions, posterior, models.reasoner, own),
                }
            }
        }
    }

    /// q of this round: what it starts from, trained by (9) and refined as far as the recipe says.
    pub(super) fn posterior(&mut self, questions: NodeId, models: &mut Models) -> Result<NodeId> {
        let trained = self.trained(questions, models)?;
        let refined = self.refined(questions, trained, models.reasoner)?;
        if self.recipe.posterior.is_trained() {
            models.posterior = Some(refined);
        }
        Ok(refined)
    }

    /// q trained by (9), or the model that it starts from.
    fn trained(&mut self, questions: NodeId, models: &Models) -> Result<NodeId> {
        let start = self.recipe.posterior.start;
        if !self.recipe.posterior.train {
            return Ok(start.map_or(models.reasoner, |start| models.start(start, models.posterior)));
        }
        let model = match start {
            Some(start) => models.start(start, models.posterior),
            None => models.posterior.unwrap_or(models.base),
        };
        let (of, rows) = if self.round == 1 && self.recipe.posterior.rows == PosteriorRows::Data {
            (FitRows::HintedTraces, questions)
        } else {
            (FitRows::Examples, self.posterior_examples(questions, models.reasoner)?)
        };
        let settings = FitSettings::new(of, &self.recipe.posterior.config, &self.recipe.engine);
        Ok(self.fit(Stage::Posterior, settings, model, rows))
    }

    /// What q learns from by (9): traces of the reasoner, weighted by w~.
    fn posterior_examples(&mut self, questions: NodeId, reasoner: NodeId) -> Result<NodeId> {
        let of_posterior = self.recipe.of_posterior();
        let of_round = replace(&mut self.recipe, of_posterior);
        let traces = self.traces(Stage::PosteriorTraces, questions, reasoner, false)?;
        let evidence = self.posterior_evidence(questions, traces, reasoner)?;
        let weights = self.weights(Stage::PosteriorWeights, &evidence);
        self.recipe = of_round;
        let built_from = [(Role::Questions, questions), (Role::Traces, traces), (Role::Weights, weights)];
        Ok(self.add(Stage::PosteriorDataset, Settings::PosteriorDataset, &built_from))
    }

    /// What w~ is made of. log pi of pi's own traces is known; a likelihood estimator needs that of the answer.
    fn posterior_evidence(
        &mut self,
        questions: NodeId,
        traces: NodeId,
        reasoner: NodeId,
    ) -> Result<Vec<(Role, NodeId)>> {
        let after = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, reasoner)];
        let mut evidence = vec![(Role::Traces, traces)];
        if self.recipe.weigh_config().reads_references() {
            evidence.push((Role::Scores, self.scores(Stage::PosteriorScores, &after)));
        }
        if self.recipe.draws_answers() {
            let answers = self.answers(Stage::PosteriorAnswers, &after)?;
            let verdicts = self.verdicts(Stage::PosteriorVerdicts, questions, answers);
            evidence.push((Role::Verdicts, verdicts));
        }
        Ok(evidence)
    }

    /// Traces of q and, `own` of each question, of pi, each with its log-probs under q.
    fn mixture(
        &mut self,
        questions: NodeId,
        posterior: NodeId,
        reasoner: NodeId,
        own: u64,
    ) -> Result<NodeId> {
        let all = self.recipe.traces.sampling.n;
        let settings = of_mixture(&self.recipe, true, all - own)?;
        let drawn = self.drawn(Stage::TracesOfPosterior, settings, questions, posterior);
        // q scores them in any case.
        let settings = of_mixture(&self.recipe.of_mixture(), false, own)?;
        let of_reasoner = self.drawn(Stage::TracesOfReasoner, settings, questions, reasoner);
        let settings = Settings::Scores(ScoreSettings { references: false, hinted: true, unfinished: false });
        let inputs = [(Role::Questions, questions), (Role::Traces, of_reasoner), (Role::Model, posterior)];
        let scores = self.add(Stage::ScoresOfPosterior, settings, &inputs);
        let inputs = [(Role::Traces, drawn), (Role::ReasonerTraces, of_reasoner), (Role::Scores, scores)];
        Ok(self.add(Stage::Traces, Settings::Mixture(MixtureSettings { of_reasoner: own }), &inputs))
    }
}

/// `n` traces of each question with a hint, as one model's part of a mixture.
fn of_mixture(recipe: &RunRecipe, hinted: bool, n: u64) -> Result<TraceSettings> {
    let settings = TraceSettings::of(recipe, hinted)?;
    let sampling = Sampling { n, ..settings.sampling };
    Ok(TraceSettings { needs_hint: true, sampling, ..settings })
}
