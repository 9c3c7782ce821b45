//! Algorithm 1 of the paper in stages: each round samples, scores and weighs traces, and trains the next model
//! on them.

use anyhow::Result;

use super::{
    AnswerSettings, DatasetSettings, EvaluatedQuestions, EvaluationSettings, FitRows, FitSettings,
    ModelSettings, Node, NodeId, Plan, QuestionSettings, Role, ScoreSettings, Settings, Stage, Step,
    TraceSettings, VerdictSettings, WeightSettings, settings_key,
};
use crate::recipe::run::{BaseEvaluation, Method, RunRecipe, StartFrom};

/// Adds the stages of a method.
pub(super) fn method(plan: &mut Plan, name: Option<&str>, recipe: &RunRecipe) -> Result<()> {
    let mut steps = Steps { plan, recipe: recipe.clone(), method: name, round: 1, refinement: 0 };
    let base = steps.base()?;
    let questions = steps.questions(base)?;
    steps.base_evaluation(questions, base)?;
    let initial = if recipe.initial.train { steps.initial(base, questions) } else { base };
    steps.evaluation(Stage::InitialEvaluation, questions, initial)?;
    steps.training_evaluations(questions, initial)?;
    let mut models = Models { base, initial, posterior: None, reasoner: initial };
    for round in 1..=recipe.rounds {
        (steps.round, steps.recipe) = (round, recipe.of_round(round));
        let dataset = steps.examples(questions, &mut models)?;
        let start = models.start(recipe.r#final.start, Some(models.reasoner));
        models.reasoner = steps.r#final(start, dataset);
    }
    // Evaluation is outside the rounds, and neither its folder nor its samples may depend on how many there are.
    (steps.round, steps.recipe) = (1, recipe.clone());
    steps.evaluation(Stage::FinalEvaluation, questions, models.reasoner)?;
    Ok(())
}

/// The models of a method, as the rounds leave them.
pub(super) struct Models {
    pub base: NodeId,
    /// pi_theta0.
    pub initial: NodeId,
    /// q of the last round that trained one.
    pub posterior: Option<NodeId>,
    /// pi_{t-1}, the model to be improved.
    pub reasoner: NodeId,
}

impl Models {
    /// The model that a training starts from, where `previous` is what it trained in the last round.
    pub fn start(&self, start: StartFrom, previous: Option<NodeId>) -> NodeId {
        match start {
            StartFrom::Base => self.base,
            StartFrom::Initial => self.initial,
            StartFrom::Previous => previous.unwrap_or(self.initial),
        }
    }
}

/// What stage 7 weighs, and the answers, whose texts only stage 8 reads.
struct Evidence {
    weighed: Vec<(Role, NodeId)>,
    answers: Option<(Role, NodeId)>,
}

/// Adds the stages of a method to a plan. Each function adds a stage, or a few, and returns its node.
pub(super) struct Steps<'a> {
    plan: &'a mut Plan,
    /// Of the round.
    pub recipe: RunRecipe,
    method: Option<&'a str>,
    pub round: u64,
    /// Of q, within the round.
    pub refinement: u64,
}

impl Steps<'_> {
    fn base(&mut self) -> Result<NodeId> {
        let settings = ModelSettings::of(&self.recipe)?;
        Ok(self.add(Stage::Model, Settings::Model(settings), &[]))
    }

    /// Questions are encoded with the base model's tokenizer, which every later model inherits.
    fn questions(&mut self, base: NodeId) -> Result<NodeId> {
        let settings = QuestionSettings::of(&self.recipe)?;
        Ok(self.add(Stage::Questions, Settings::Questions(settings), &[(Role::Model, base)]))
    }

    fn initial(&mut self, base: NodeId, questions: NodeId) -> NodeId {
        let config = &self.recipe.initial.config;
        self.fit(
            Stage::Initial,
            FitSettings::new(FitRows::OwnTraces, config, &self.recipe.engine),
            base,
            questions,
        )
    }

    fn r#final(&mut self, start: NodeId, dataset: NodeId) -> NodeId {
        let settings = FitSettings::new(FitRows::Examples, &self.recipe.final_config(), &self.recipe.engine);
        self.fit(Stage::Final, settings, start, dataset)
    }

    pub fn fit(&mut self, stage: Stage, settings: FitSettings, model: NodeId, rows: NodeId) -> NodeId {
        self.add(stage, Settings::Fit(settings), &[(Role::Model, model), (Role::Rows, rows)])
    }

    fn evaluation(&mut self, stage: Stage, questions: NodeId, model: NodeId) -> Result<NodeId> {
        self.evaluation_on(EvaluatedQuestions::held_out(&self.recipe), stage, questions, model)
    }

    /// Evaluation of the model that the run starts from, which is the same for all methods, and pi_theta0 where that is
    /// not trained and has the same prompts.
    fn base_evaluation(&mut self, questions: NodeId, base: NodeId) -> Result<()> {
        let evaluated = EvaluatedQuestions::held_out(&self.recipe);
        let settings = match self.recipe.evaluation.base {
            _ if self.method.is_some() => return Ok(()),
            BaseEvaluation::None => return Ok(()),
            BaseEvaluation::Reasoner if !self.recipe.initial.train => return Ok(()),
            BaseEvaluation::Reasoner => EvaluationSettings::of(&self.recipe, evaluated)?,
            BaseEvaluation::Chat => EvaluationSettings::in_chats(&self.recipe, evaluated)?,
        };
        let inputs = [(Role::Questions, questions), (Role::Model, base)];
        self.add(Stage::BaseEvaluation, Settings::Evaluation(settings), &inputs);
        Ok(())
    }

    /// Evaluations of pi_theta0 on training questions: on those that it learns from, and on those for which traces
    /// are sampled. A baseline's would say little more than the recipe's own, and would cost as much.
    fn training_evaluations(&mut self, questions: NodeId, initial: NodeId) -> Result<()> {
        if self.recipe.evaluation.training == 0 || self.method.is_some() {
            return Ok(());
        }
        if self.recipe.initial.train {
            let traced = EvaluatedQuestions::traced(&self.recipe);
            self.evaluation_on(traced, Stage::InitialTraced, questions, initial)?;
        }
        if self.recipe.method != Method::Sft {
            let sampled = EvaluatedQuestions::sampled(&self.recipe);
            self.evaluation_on(sampled, Stage::InitialSampled, questions, initial)?;
        }
        Ok(())
    }

    fn evaluation_on(
        &mut self,
        evaluated: EvaluatedQuestions,
        stage: Stage,
        questions: NodeId,
        model: NodeId,
    ) -> Result<NodeId> {
        let settings = Settings::Evaluation(EvaluationSettings::of(&self.recipe, evaluated)?);
        Ok(self.add(stage, settings, &[(Role::Questions, questions), (Role::Model, model)]))
    }

    /// Stages 2 to 8: the training data of the next model.
    fn examples(&mut self, questions: NodeId, models: &mut Models) -> Result<NodeId> {
        if self.recipe.method == Method::Sft {
            // SFT trains on the rows' own traces, so nothing is sampled.
            return Ok(self.dataset(&[(Role::Questions, questions)]));
        }
        if self.recipe.method == Method::SelfDistillation {
            return self.distilled(questions, models);
        }
        let traces = self.proposed(questions, models)?;
        let evidence = self.evidence(questions, traces, models.reasoner)?;
        let weights = self.weights(Stage::Weights, &self.with_kinds(questions, &evidence.weighed));
        let mut inputs = vec![(Role::Questions, questions), (Role::Weights, weights)];
        inputs.extend(evidence.weighed);
        inputs.extend(evidence.answers);
        Ok(self.dataset(&inputs))
    }

    /// What stage 7 reads: the questions only where their kinds decide something.
    fn with_kinds(&self, questions: NodeId, weighed: &[(Role, NodeId)]) -> Vec<(Role, NodeId)> {
        let kinds = (!self.recipe.weights.fallbacks.is_empty()).then_some((Role::Questions, questions));
        kinds.into_iter().chain(weighed.iter().copied()).collect()
    }

    /// Stages 4 to 6: the evidence on traces. Whichever model samples the traces, the reasoner scores and
    /// answers, since it is the model to be improved.
    fn evidence(&mut self, questions: NodeId, traces: NodeId, reasoner: NodeId) -> Result<Evidence> {
        let after = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, reasoner)];
        let mut weighed = vec![(Role::Traces, traces), (Role::Scores, self.scores(Stage::Scores, &after))];
        if !self.recipe.draws_answers() {
            return Ok(Evidence { weighed, answers: None });
        }
        let answers = self.answers(Stage::Answers, &after)?;
        weighed.push((Role::Verdicts, self.verdicts(Stage::Verdicts, questions, answers)));
        Ok(Evidence { weighed, answers: Some((Role::Answers, answers)) })
    }

    pub fn traces(
        &mut self,
        stage: Stage,
        questions: NodeId,
        writer: NodeId,
        hinted: bool,
    ) -> Result<NodeId> {
        let settings = TraceSettings::of(&self.recipe, hinted)?;
        Ok(self.drawn(stage, settings, questions, writer))
    }

    pub fn scores(&mut self, stage: Stage, after: &[(Role, NodeId)]) -> NodeId {
        let references = self.recipe.scores_references();
        let settings = ScoreSettings { references, hinted: false, unfinished: false };
        self.add(stage, Settings::Scores(settings), after)
    }

    pub fn answers(&mut self, stage: Stage, after: &[(Role, NodeId)]) -> Result<NodeId> {
        let settings = AnswerSettings::of(&self.recipe)?;
        Ok(self.add(stage, Settings::Answers(settings), after))
    }

    pub fn verdicts(&mut self, stage: Stage, questions: NodeId, answers: NodeId) -> NodeId {
        let settings = VerdictSettings::of(&self.recipe);
        let inputs = [(Role::Questions, questions), (Role::Answers, answers)];
        self.add(stage, Settings::Verdicts(settings), &inputs)
    }

    pub fn weights(&mut self, stage: Stage, evidence: &[(Role, NodeId)]) -> NodeId {
        // The traces that q learns from are pi's alone.
        let mixture = if stage == Stage::Weights { self.recipe.mixture() } else { 0.0 };
        let (weigh, drawn) = (self.recipe.weigh_config(), self.recipe.drawn());
        let settings = WeightSettings { weigh, mixture, drawn };
        self.add(stage, Settings::Weights(settings), evidence)
    }

    fn dataset(&mut self, built_from: &[(Role, NodeId)]) -> NodeId {
        self.add(Stage::Dataset, Settings::Dataset(DatasetSettings::of(&self.recipe)), built_from)
    }

    pub fn add(&mut self, stage: Stage, settings: Settings, inputs: &[(Role, NodeId)]) -> NodeId {
        let method = self.method.map(str::to_owned);
        let (round, refinement, inputs) = (self.round, self.refinement, inputs.to_vec());
        let (node, shared) =
            self.share(Node { stage, round, refinement, method: method.clone(), inputs, settings });
        self.plan.steps.push(Step { method, round, refinement, stage, node, shared });
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
