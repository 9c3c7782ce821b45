//! The plan of a recipe: every stage with its inputs and settings. Planning is pure: it reads only the
//! recipe. The runner, `--dry-run`, the status, the report and the export all use this plan.

mod algorithm;
mod distillation;
mod drawing;
mod proposal;
mod refinement;
mod settings;
mod stage;

use std::path::PathBuf;

use anyhow::Result;
use latrace_io::failure::Failure;
use serde_json::{Value, json};

pub use distillation::DistillationSettings;
pub use drawing::RescoringSettings;
pub use refinement::RefinementSettings;
pub use settings::{
    AnswerSettings, DatasetSettings, EvaluatedQuestions, EvaluationSettings, External, FitRows, FitSettings,
    MixtureSettings, ModelSettings, OwnPrompts, PACE, QuestionSettings, ScoreSettings, Settings, Template,
    TraceSettings, VerdictSettings, WeightSettings,
};
pub use stage::Stage;

use crate::recipe::run::RunRecipe;

/// The plan of a recipe: its own method, then its baselines. A stage equal to an earlier one is shared with
/// it.
///
/// # Errors
/// Markers or templates that do not exist.
pub fn plan(recipe: &RunRecipe) -> Result<Plan> {
    let mut plan = Plan::default();
    algorithm::method(&mut plan, None, recipe)?;
    // After the recipe's own method, which therefore owns whatever a baseline can share.
    for (name, variant) in recipe.variants()? {
        algorithm::method(&mut plan, Some(&name), &variant)?;
    }
    Ok(plan)
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
    /// pi's part of a mixture's traces.
    ReasonerTraces,
    /// Stage 4.
    Scores,
    /// log q under another question's hint.
    ContrastScores,
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
            Role::ReasonerTraces => "reasoner_traces",
            Role::Scores => "scores",
            Role::ContrastScores => "contrast_scores",
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
    /// The round of q's refinement within that round, from 1; 0 for all other stages.
    pub refinement: u64,
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
        // Nor has round 1: a run of one round that is continued with a second keeps its folders.
        if self.round > 1 {
            folder.push(format!("round-{}", self.round));
        }
        if self.refinement > 0 {
            folder.push(format!("refinement-{}", self.refinement));
        }
        folder.join(self.stage.name())
    }

    /// Its folder, if it is a training.
    fn trained_in(&self) -> Option<PathBuf> {
        self.is_training().then(|| self.folder())
    }

    /// Whether it trains a model.
    pub fn is_training(&self) -> bool {
        matches!(self.settings, Settings::Fit(_))
    }

    /// The input of a role, if the node has one.
    pub fn input(&self, role: Role) -> Option<NodeId> {
        self.inputs.iter().find(|(known, _)| *known == role).map(|(_, id)| *id)
    }

    /// The stage's title, with its round.
    pub fn title(&self) -> String {
        let refinement = numbered(self.refinement > 0, || format!(", refinement {}", self.refinement));
        let round = numbered(self.round > 1, || format!(", round {}", self.round));
        format!("{}{refinement}{round}", self.stage.title())
    }
}

fn numbered(is_named: bool, name: impl FnOnce() -> String) -> String {
    if is_named { name() } else { String::new() }
}

/// A stage of a method: a node of its own, or a shared one.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The baseline; `None` for the recipe's own method.
    pub method: Option<String>,
    /// t of algorithm 1, from 1.
    pub round: u64,
    /// The round of q's refinement within that round, from 1; 0 for all other stages.
    pub refinement: u64,
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
        let method = self.method.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        let round = numbered(self.round > 1, || format!("round {}: ", self.round));
        let refinement = numbered(self.refinement > 0, || format!("refinement {}: ", self.refinement));
        format!("{method}{round}{refinement}{}", self.stage)
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
    /// The node of a method's stage in a given round; of q's refinements, the last one's.
    pub fn node(&self, method: Option<&str>, round: u64, stage: Stage) -> Option<NodeId> {
        self.steps_of(method, stage).filter(|step| step.round == round).last().map(|step| step.node)
    }

    /// The node of a stage of the recipe's own method, in the last round that has it.
    pub fn last(&self, stage: Stage) -> Option<NodeId> {
        self.last_of(None, stage)
    }

    /// The node of a method's stage, in the last round that has it.
    pub fn last_of(&self, method: Option<&str>, stage: Stage) -> Option<NodeId> {
        self.steps_of(method, stage).max_by_key(|step| step.round).map(|step| step.node)
    }

    /// The steps of a method's stage in their order, one for each round, or for each refinement of q in it.
    fn steps_of(&self, method: Option<&str>, stage: Stage) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(move |step| step.method.as_deref() == method && step.stage == stage)
    }

    /// The training whose folder in the run folder is `stage`.
    ///
    /// # Errors
    /// There is none: names all that there are.
    pub fn training(&self, stage: &str) -> Result<NodeId> {
        let trainings: Vec<(NodeId, PathBuf)> =
            self.nodes.iter().enumerate().filter_map(|(id, node)| Some((id, node.trained_in()?))).collect();
        let wanted = PathBuf::from(stage.trim_end_matches('/'));
        if let Some((id, _)) = trainings.iter().find(|(_, folder)| *folder == wanted) {
            return Ok(*id);
        }
        let known: Vec<String> = trainings.iter().map(|(_, folder)| folder.display().to_string()).collect();
        let known = known.join(", ");
        Err(Failure::usage(format!("{stage}: expected one of the run's trainings: {known}")).into())
    }

    /// Names of the baselines, in order of execution.
    pub fn methods(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.steps.iter().filter_map(|step| step.method.as_deref()).collect();
        // The steps of a method are contiguous, so adjacent duplicates are the only ones.
        names.dedup();
        names
    }
}

/// A node's settings, as serialised in its key.
pub fn settings_key(node: &Node) -> Value {
    json!(node.settings)
}

#[cfg(test)]
mod tests;
