//! Algorithm 1 of the paper in stages: each round samples, scores and weighs traces, and trains the next model
//! on them.

use anyhow::Result;

use super::{
    AnswerSettings, DatasetSettings, EvaluationSettings, FitRows, FitSettings, ModelSettings, Node, NodeId,
    Plan, QuestionSettings, Role, ScoreSettings, Settings, Stage, Step, TraceSettings, VerdictSettings,
    WeightSettings, settings_key,
};
use crate::recipe::run::{FinalStart, Method, Proposal, RunRecipe};

/// Adds the stages of a method.
pub(super) fn method(plan: &mut Plan, name: Option<&str>, recipe: &RunRecipe) -> Result<()> {
    let mut steps = Steps { plan, recipe, method: name, round: 1 };
    let base = steps.base()?;
    let questions = steps.questions(base)?;
    let initial = steps.initial(base, questions);
    steps.evaluation(Stage::InitialEvaluation, questions, initial)?;
    let mut reasoner = initial;
    for round in 1..=recipe.rounds {
        steps.round = round;
        let start = match recipe.start {
            // Algorithm 1 continues from the model of the previous round.
            FinalStart::Initial => reasoner,
            FinalStart::Base => base,
        };
        let dataset = steps.examples(base, reasoner, questions)?;
        reasoner = steps.r#final(start, dataset);
    }
    // Evaluation is outside the rounds, and its folder must not depend on how many there are.
    steps.round = 1;
    steps.evaluation(Stage::FinalEvaluation, questions, reasoner)?;
    Ok(())
}

/// What stage 7 weighs, and the answers, whose texts only stage 8 reads.
struct Evidence {
    weighed: Vec<(Role, NodeId)>,
    answers: Option<(Role, NodeId)>,
}

/// Adds the stages of a method to a plan. Each function adds a stage, or a few, and returns its node.
struct Steps<'a> {
    plan: &'a mut Plan,
    recipe: &'a RunRecipe,
    method: Option<&'a str>,
    round: u64,
}

impl Steps<'_> {
    fn base(&mut self) -> Result<NodeId> {
        let settings = ModelSettings::of(self.recipe)?;
        Ok(self.add(Stage::Model, Settings::Model(settings), &[]))
    }

    /// Questions are encoded with the base model's tokenizer, which every later model inherits.
    fn questions(&mut self, base: NodeId) -> Result<NodeId> {
        let settings = QuestionSettings::of(self.recipe)?;
        Ok(self.add(Stage::Questions, Settings::Questions(settings), &[(Role::Model, base)]))
    }

    fn initial(&mut self, base: NodeId, questions: NodeId) -> NodeId {
        let settings = FitSettings::new(FitRows::OwnTraces, &self.recipe.initial);
        self.fit(Stage::Initial, settings, base, questions)
    }

    fn posterior(&mut self, base: NodeId, questions: NodeId) -> NodeId {
        let settings = FitSettings::new(FitRows::HintedTraces, &self.recipe.posterior);
        self.fit(Stage::Posterior, settings, base, questions)
    }

    fn r#final(&mut self, start: NodeId, dataset: NodeId) -> NodeId {
        let settings = FitSettings::new(FitRows::Examples, &self.recipe.final_config());
        self.fit(Stage::Final, settings, start, dataset)
    }

    fn fit(&mut self, stage: Stage, settings: FitSettings, model: NodeId, rows: NodeId) -> NodeId {
        self.add(stage, Settings::Fit(settings), &[(Role::Model, model), (Role::Rows, rows)])
    }

    fn evaluation(&mut self, stage: Stage, questions: NodeId, model: NodeId) -> Result<NodeId> {
        let settings = Settings::Evaluation(EvaluationSettings::of(self.recipe)?);
        Ok(self.add(stage, settings, &[(Role::Questions, questions), (Role::Model, model)]))
    }

    /// Stages 2 to 8: the training data of the next model.
    fn examples(&mut self, base: NodeId, reasoner: NodeId, questions: NodeId) -> Result<NodeId> {
        if self.recipe.method == Method::Sft {
            // SFT trains on the rows' own traces, so nothing is sampled.
            return Ok(self.dataset(&[(Role::Questions, questions)]));
        }
        let writer = match self.recipe.proposal() {
            Proposal::Initial => reasoner,
            Proposal::Posterior => self.posterior(base, questions),
        };
        let traces = self.traces(questions, writer)?;
        let evidence = self.evidence(questions, traces, reasoner)?;
        let weights = self.weights(&evidence.weighed);
        let mut inputs = vec![(Role::Questions, questions), (Role::Weights, weights)];
        inputs.extend(evidence.weighed);
        inputs.extend(evidence.answers);
        Ok(self.dataset(&inputs))
    }

    /// Stages 4 to 6: the evidence on traces. Whichever model samples the traces, the reasoner scores and
    /// answers, since it is the model to be improved.
    fn evidence(&mut self, questions: NodeId, traces: NodeId, reasoner: NodeId) -> Result<Evidence> {
        let after = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, reasoner)];
        let mut weighed = vec![(Role::Traces, traces), (Role::Scores, self.scores(&after))];
        if !self.recipe.draws_answers() {
            return Ok(Evidence { weighed, answers: None });
        }
        let answers = self.answers(&after)?;
        weighed.push((Role::Verdicts, self.verdicts(questions, answers)));
        Ok(Evidence { weighed, answers: Some((Role::Answers, answers)) })
    }

    fn traces(&mut self, questions: NodeId, writer: NodeId) -> Result<NodeId> {
        let settings = Settings::Traces(TraceSettings::of(self.recipe)?);
        Ok(self.add(Stage::Traces, settings, &[(Role::Questions, questions), (Role::Model, writer)]))
    }

    fn scores(&mut self, after: &[(Role, NodeId)]) -> NodeId {
        let settings = ScoreSettings { references: self.recipe.scores_references() };
        self.add(Stage::Scores, Settings::Scores(settings), after)
    }

    fn answers(&mut self, after: &[(Role, NodeId)]) -> Result<NodeId> {
        let settings = AnswerSettings::of(self.recipe)?;
        Ok(self.add(Stage::Answers, Settings::Answers(settings), after))
    }

    fn verdicts(&mut self, questions: NodeId, answers: NodeId) -> NodeId {
        let settings = VerdictSettings { time_limit: self.recipe.verdicts.time_limit };
        let inputs = [(Role::Questions, questions), (Role::Answers, answers)];
        self.add(Stage::Verdicts, Settings::Verdicts(settings), &inputs)
    }

    fn weights(&mut self, evidence: &[(Role, NodeId)]) -> NodeId {
        let settings = WeightSettings { weigh: self.recipe.weigh_config(), drawn: self.recipe.drawn() };
        self.add(Stage::Weights, Settings::Weights(settings), evidence)
    }

    fn dataset(&mut self, built_from: &[(Role, NodeId)]) -> NodeId {
        self.add(Stage::Dataset, Settings::Dataset(DatasetSettings::of(self.recipe)), built_from)
    }

    fn add(&mut self, stage: Stage, settings: Settings, inputs: &[(Role, NodeId)]) -> NodeId {
        let method = self.method.map(str::to_owned);
        let (round, inputs) = (self.round, inputs.to_vec());
        let (node, shared) = self.share(Node { stage, round, method: method.clone(), inputs, settings });
        self.plan.steps.push(Step { method, round, stage, node, shared });
        node
    }

    /// The place of a node in the plan, and whether an equal one was there already. Inputs are compared by
    /// node, so sharing propagates: a stage is shared only if all its inputs are.
    fn share(&mut self, node: Node) -> (NodeId, bool) {
        let nodes = &mut self.plan.nodes;
        if let Some(known) = nodes.iter().position(|earlier| is_same(earlier, &node)) {
            return (known, true);
        }
        nodes.push(node);
        (nodes.len() - 1, false)
    }
}

/// Whether two nodes give the same result and may be shared. A baseline shares with the recipe's own method
/// and with itself, but not with another baseline, which the next run may skip.
fn is_same(earlier: &Node, node: &Node) -> bool {
    (earlier.method.is_none() || earlier.method == node.method)
        && earlier.stage == node.stage
        && earlier.inputs == node.inputs
        && settings_key(earlier) == settings_key(node)
        && earlier.settings.externals() == node.settings.externals()
}
