//! The plan of a recipe: every stage with its inputs and settings. Planning is pure: it reads only the
//! recipe. The runner, `--dry-run`, the status, the report and the export all use this plan.

mod settings;
mod stage;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

pub use settings::{
    AnswerSettings, DatasetSettings, EvaluationSettings, External, FitRows, FitSettings, ModelSettings, PACE,
    QuestionSettings, ScoreSettings, Settings, Template, TraceSettings, VerdictSettings, WeightSettings,
};
pub use stage::Stage;

use crate::recipe::run::{FinalStart, Method, Proposal, RunRecipe};

/// The plan of a recipe: its own method, then its baselines. A stage equal to an earlier one is shared with
/// it.
///
/// # Errors
/// Markers or templates that do not exist.
pub fn plan(recipe: &RunRecipe) -> Result<Plan> {
    let mut plan = Plan::default();
    method(&mut plan, None, recipe)?;
    for (name, variant) in recipe.variants()? {
        method(&mut plan, Some(&name), &variant)?;
    }
    Ok(plan)
}

/// Algorithm 1 of the paper in stages: each round samples, scores and weighs traces, and trains the next
/// model on them.
fn method(plan: &mut Plan, name: Option<&str>, recipe: &RunRecipe) -> Result<()> {
    let evaluation = Settings::Evaluation(EvaluationSettings::of(recipe)?);
    let mut steps = Steps { plan, method: name, round: 1 };
    let base = steps.add(Stage::Model, Settings::Model(ModelSettings::of(recipe)?), &[]);
    let questions = steps.add(
        Stage::Questions,
        Settings::Questions(QuestionSettings::of(recipe)?),
        &[(Role::Model, base)],
    );
    let initial = steps.add(
        Stage::Initial,
        Settings::Fit(FitSettings::new(FitRows::OwnTraces, &recipe.initial)),
        &[(Role::Model, base), (Role::Rows, questions)],
    );
    steps.add(
        Stage::InitialEvaluation,
        evaluation.clone(),
        &[(Role::Questions, questions), (Role::Model, initial)],
    );
    let mut reasoner = initial;
    for round in 1..=recipe.rounds {
        steps.round = round;
        let start = match recipe.start {
            // Algorithm 1 continues from the model of the previous round.
            FinalStart::Initial => reasoner,
            FinalStart::Base => base,
        };
        let dataset = examples(&mut steps, recipe, &Models { base, reasoner }, questions)?;
        reasoner = steps.add(
            Stage::Final,
            Settings::Fit(FitSettings::new(FitRows::Examples, &recipe.final_config())),
            &[(Role::Model, start), (Role::Rows, dataset)],
        );
    }
    // Evaluation is outside the rounds, and its folder must not depend on how many there are.
    steps.round = 1;
    steps.add(Stage::FinalEvaluation, evaluation, &[(Role::Questions, questions), (Role::Model, reasoner)]);
    Ok(())
}

/// The models at the start of a round.
struct Models {
    base: NodeId,
    reasoner: NodeId,
}

/// Stages 2 to 8: the training data of the next model.
fn examples(steps: &mut Steps<'_>, recipe: &RunRecipe, models: &Models, questions: NodeId) -> Result<NodeId> {
    let dataset = Settings::Dataset(DatasetSettings::of(recipe));
    if recipe.method == Method::Sft {
        // SFT trains on the rows' own traces, so nothing is sampled.
        return Ok(steps.add(Stage::Dataset, dataset, &[(Role::Questions, questions)]));
    }
    let writer = match recipe.proposal() {
        Proposal::Initial => models.reasoner,
        Proposal::Posterior => steps.add(
            Stage::Posterior,
            Settings::Fit(FitSettings::new(FitRows::HintedTraces, &recipe.posterior)),
            &[(Role::Model, models.base), (Role::Rows, questions)],
        ),
    };
    let traces = steps.add(
        Stage::Traces,
        Settings::Traces(TraceSettings::of(recipe)?),
        &[(Role::Questions, questions), (Role::Model, writer)],
    );
    let after_traces = [(Role::Questions, questions), (Role::Traces, traces), (Role::Model, models.reasoner)];
    let scores = steps.add(
        Stage::Scores,
        Settings::Scores(ScoreSettings { references: recipe.scores_references() }),
        &after_traces,
    );
    let mut evidence = vec![(Role::Traces, traces), (Role::Scores, scores)];
    let mut answers = None;
    if recipe.draws_answers() {
        let drawn = steps.add(Stage::Answers, Settings::Answers(AnswerSettings::of(recipe)?), &after_traces);
        let verdicts = steps.add(
            Stage::Verdicts,
            Settings::Verdicts(VerdictSettings { time_limit: recipe.verdicts.time_limit }),
            &[(Role::Questions, questions), (Role::Answers, drawn)],
        );
        evidence.push((Role::Verdicts, verdicts));
        answers = Some((Role::Answers, drawn));
    }
    let weights = steps.add(
        Stage::Weights,
        Settings::Weights(WeightSettings { weigh: recipe.weigh_config(), drawn: recipe.drawn() }),
        &evidence,
    );
    let mut built_from = vec![(Role::Questions, questions), (Role::Weights, weights)];
    built_from.extend(evidence);
    built_from.extend(answers);
    Ok(steps.add(Stage::Dataset, dataset, &built_from))
}

/// A node's index in its plan.
pub type NodeId = usize;

/// The role of an input in the stage that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The model to use or train.
    Model,
    /// The training data.
    Rows,
    /// Stage 0.
    Questions,
    /// Stage 3.
    Traces,
    /// Stage 4.
    Scores,
    /// Stage 5.
    Answers,
    /// Stage 6.
    Verdicts,
    /// Stage 7.
    Weights,
}

impl Role {
    /// The role's name in keys.
    pub fn name(self) -> &'static str {
        match self {
            Role::Model => "model",
            Role::Rows => "rows",
            Role::Questions => "questions",
            Role::Traces => "traces",
            Role::Scores => "scores",
            Role::Answers => "answers",
            Role::Verdicts => "verdicts",
            Role::Weights => "weights",
        }
    }
}

/// A stage of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Which stage it is.
    pub stage: Stage,
    /// t of algorithm 1, from 1; stages outside the rounds count as round 1.
    pub round: u64,
    /// The baseline that it belongs to; `None` for the recipe's own method.
    pub method: Option<String>,
    /// Its inputs, as indices in the plan: always earlier nodes.
    pub inputs: Vec<(Role, NodeId)>,
    /// Its complete settings.
    pub settings: Settings,
}

impl Node {
    /// Its folder, relative to the run folder.
    pub fn folder(&self) -> PathBuf {
        let mut folder = PathBuf::new();
        // The recipe's own method has no prefix, so that adding a baseline moves none of its folders.
        if let Some(method) = &self.method {
            folder.push("baselines");
            folder.push(method);
        }
        if self.round > 1 {
            folder.push(format!("round-{}", self.round));
        }
        folder.join(self.stage.name())
    }

    /// The stage's title, with its round.
    pub fn title(&self) -> String {
        match self.round {
            1 => self.stage.title().to_owned(),
            round => format!("{}, round {round}", self.stage.title()),
        }
    }
}

/// A stage of a method: a node of its own, or a shared one.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The baseline; `None` for the recipe's own method.
    pub method: Option<String>,
    /// t of algorithm 1, from 1.
    pub round: u64,
    /// Which stage it is.
    pub stage: Stage,
    /// Its node.
    pub node: NodeId,
    /// Whether an earlier step uses the same node.
    pub shared: bool,
}

impl Step {
    /// The step's display name: `rft: round 2: 03-traces`.
    pub fn label(&self) -> String {
        let method = self.method.as_ref().map_or(String::new(), |name| format!("{name}: "));
        let round = if self.round > 1 { format!("round {}: ", self.round) } else { String::new() };
        format!("{method}{round}{}", self.stage)
    }
}

/// All stages of a run, in order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Each stage once.
    pub nodes: Vec<Node>,
    /// The steps of each method.
    pub steps: Vec<Step>,
}

impl Plan {
    /// The node of a method's stage in a given round.
    pub fn node(&self, method: Option<&str>, round: u64, stage: Stage) -> Option<NodeId> {
        let is_it =
            |step: &&Step| step.method.as_deref() == method && step.round == round && step.stage == stage;
        self.steps.iter().find(is_it).map(|step| step.node)
    }

    /// The node of a stage of the recipe's own method, in the last round that has it.
    pub fn last(&self, stage: Stage) -> Option<NodeId> {
        self.last_of(None, stage)
    }

    /// The node of a method's stage, in the last round that has it.
    pub fn last_of(&self, method: Option<&str>, stage: Stage) -> Option<NodeId> {
        let is_it = |step: &&Step| step.method.as_deref() == method && step.stage == stage;
        self.steps.iter().filter(is_it).max_by_key(|step| step.round).map(|step| step.node)
    }

    /// Names of the baselines, in order of execution.
    pub fn methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.steps.iter().filter_map(|step| step.method.as_deref()).collect();
        // The steps of a method are contiguous, so adjacent duplicates are the only ones.
        names.dedup();
        names
    }
}

/// Adds the stages of a method to a plan.
struct Steps<'a> {
    plan: &'a mut Plan,
    method: Option<&'a str>,
    round: u64,
}

impl Steps<'_> {
    fn add(&mut self, stage: Stage, settings: Settings, inputs: &[(Role, NodeId)]) -> NodeId {
        let node = Node {
            stage,
            round: self.round,
            method: self.method.map(str::to_owned),
            inputs: inputs.to_vec(),
            settings,
        };
        // Inputs are compared by node, so sharing propagates: a stage is shared only if all its inputs are.
        let known = self.plan.nodes.iter().position(|earlier| is_same(earlier, &node));
        let id = known.unwrap_or(self.plan.nodes.len());
        self.plan.steps.push(Step {
            method: node.method.clone(),
            round: self.round,
            stage,
            node: id,
            shared: known.is_some(),
        });
        if known.is_none() {
            self.plan.nodes.push(node);
        }
        id
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

/// A node's settings, as serialised in its key.
pub fn settings_key(node: &Node) -> Value {
    json!(node.settings)
}

#[cfg(test)]
mod tests;
