//! How many questions a run has, before it begins: with what can be told from them of its templates and its trainings.

use std::path::Path;

use anyhow::{Context, Result, bail};
use latrace_core::{Question, Split};
use latrace_engine::adapters::adapter_parameters;
use latrace_engine::text_codec::TextCodec;
use latrace_engine::train_config::Init;
use latrace_engine::{ModelShape, check_random};
use latrace_io::failure::Failure;
use latrace_io::model_folder::tensor_shapes;
use latrace_questions::verifiers::Verifiers;
use serde::Deserialize;
use serde_json::Value;
use tempfile::tempdir;

use super::needs::model_before;
use crate::pipeline::folder::{StageRecord, read_record};
use crate::plan::{
    EvaluatedQuestions, EvaluationSettings, FitRows, ModelSettings, Node, NodeId, Plan, QuestionSettings,
    Role, Settings, Stage,
};
use crate::recipe::run::{Method, TracedQuestions};
use crate::stages::questions::count;

/// Numbers of questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct QuestionNumbers {
    /// Of the training split.
    pub train: u64,
    /// Of these, with a trace.
    pub traced: u64,
    /// Of the validation split.
    pub validation: u64,
    /// Of the test split.
    pub test: u64,
}

impl QuestionNumbers {
    /// As a finished stage 0 counted them, or as it would: by all that it does, but for writing.
    ///
    /// # Errors
    /// Records that cannot be read; those of stage 0; no traces where a model learns from them.
    pub fn of(plan: &Plan, run: &Path, verifiers: &Verifiers) -> Result<QuestionNumbers> {
        let counts = match QuestionNumbers::recorded(plan, run)? {
            Some(counts) => counts,
            None => serde_json::from_value(count_ahead(plan, run, verifiers)?)?,
        };
        check_traced(plan, counts)?;
        Ok(counts)
    }

    /// As a finished stage 0 counted them; none before.
    ///
    /// # Errors
    /// Records that cannot be read.
    pub fn recorded(plan: &Plan, run: &Path) -> Result<Option<QuestionNumbers>> {
        let folder = run.join(node(plan)?.folder());
        let Some(record) = read_record(&folder)?.filter(StageRecord::is_current) else { return Ok(None) };
        let cannot = || format!("{} does not count its questions", folder.display());
        serde_json::from_value(record.counts).map(Some).with_context(cannot)
    }

    /// Those of questions that were read.
    #[must_use]
    pub fn of_read(questions: &[(Split, Question)]) -> QuestionNumbers {
        let mut numbers = QuestionNumbers::default();
        questions.iter().for_each(|(split, question)| numbers.add(*split, question));
        numbers
    }

    fn add(&mut self, split: Split, question: &Question) {
        match split {
            Split::Train => {
                self.train += 1;
                self.traced += u64::from(question.trace.is_some());
            }
            Split::Validation => self.validation += 1,
            Split::Test => self.test += 1,
        }
    }

    pub(super) fn sampled(self, questions: TracedQuestions, limit: usize) -> u64 {
        let all = match questions {
            TracedQuestions::All => self.train,
            TracedQuestions::Unseen => self.train - self.traced,
        };
        at_most(all, limit)
    }

    pub(super) fn evaluated(self, questions: EvaluatedQuestions) -> u64 {
        match questions {
            EvaluatedQuestions::Split { split: Split::Train } => self.train,
            EvaluatedQuestions::Split { split: Split::Validation } => self.validation,
            EvaluatedQuestions::Split { split: Split::Test } => self.test,
            EvaluatedQuestions::Traced { traced } => self.traced.min(traced as u64),
            EvaluatedQuestions::Sampled { sampled, questions, limit } => {
                self.sampled(questions, limit).min(sampled as u64)
            }
        }
    }
}

fn node(plan: &Plan) -> Result<&Node> {
    let node = plan.node(None, 1, Stage::Questions).map(|id| &plan.nodes[id]);
    node.context("the plan has no questions")
}

/// Counts questions before the run has a model, which is made for that where none is given.
fn count_ahead(plan: &Plan, run: &Path, verifiers: &Verifiers) -> Result<Value> {
    let Settings::Questions(settings) = &node(plan)?.settings else { bail!("the plan has no questions") };
    let scratch = tempdir().context("cannot make a folder for the tokenizer")?;
    let model = model_before(plan, run, scratch.path(), false)?;
    check_model(plan, &model)?;
    let counts = count(settings, &model, verifiers)?;
    check_own_prompts(plan, settings, &model)?;
    Ok(counts)
}

/// Checks that stages can use the model, and that each training's adapter can be put on it.
fn check_model(plan: &Plan, model: &Path) -> Result<()> {
    let base = plan.node(None, 1, Stage::Model).context("the plan begins with no model")?;
    if let Settings::Model(ModelSettings::Random { .. }) = &plan.nodes[base].settings {
        check_random(model).map_err(|error| of_shape(&error, model))?;
    } else if plan.nodes.iter().any(|node| reads_weights(node, base)) {
        tensor_shapes(model).context("model.folder")?;
    }
    plan.nodes.iter().try_for_each(|node| {
        let Settings::Fit(settings) = &node.settings else { return Ok(()) };
        let Some(lora) = settings.config().lora else { return Ok(()) };
        adapter_parameters(model, &lora).map(drop).with_context(|| node.folder().display().to_string())
    })
}

/// A problem with the shape of a random model, whose file is none of the user's.
fn of_shape(error: &anyhow::Error, model: &Path) -> Failure {
    let file = format!("{}: ", model.join("config.json").display());
    Failure::usage(format!("model.shape: {}", format!("{error:#}").replace(&file, "")))
}

fn reads_weights(node: &Node, base: NodeId) -> bool {
    node.input(Role::Model) == Some(base)
        && match &node.settings {
            Settings::Questions(_) => false,
            Settings::Fit(settings) => settings.config().init == Init::Model,
            _ => true,
        }
}

/// Tries the prompts that the model is evaluated with in its own chat template.
fn check_own_prompts(plan: &Plan, settings: &QuestionSettings, model: &Path) -> Result<()> {
    let Some(id) = plan.node(None, 1, Stage::BaseEvaluation) else { return Ok(()) };
    let Settings::Evaluation(EvaluationSettings { own_prompts: Some(own), .. }) = &plan.nodes[id].settings
    else {
        return Ok(());
    };
    let (codec, question) = (TextCodec::open(model, &ModelShape::read(model)?)?, Question::default());
    let prompting = own.conversation.compile()?;
    let prompt = prompting.prompt(&question, None, false, &settings.markers, Some(&codec));
    prompt.map(drop).context("evaluation.base")
}

/// Checks that there are questions with a trace where a model learns from these alone.
pub(crate) fn check_traced(plan: &Plan, questions: QuestionNumbers) -> Result<()> {
    let learns_from_traces = |node: &&Node| match &node.settings {
        Settings::Fit(settings) => settings.rows != FitRows::Examples,
        Settings::Dataset(settings) => settings.method == Method::Sft,
        _ => false,
    };
    // Without any question, the plan is all that there is to show.
    let has_none = questions.traced == 0 && questions.train > 0;
    match plan.nodes.iter().find(learns_from_traces).filter(|_| has_none) {
        None => Ok(()),
        Some(node) => {
            let (stage, train) = (node.folder(), questions.train);
            let message =
                format!("{}: expected training questions with a trace, got none of {train}", stage.display());
            let hint = "initial.train = false and posterior.train = false leave both models as they are; posterior.rows = \
                        \"samples\" trains the posterior on samples of the initial model";
            Err(Failure::usage(message).hint(hint).into())
        }
    }
}

/// `limit` of 0 is none.
fn at_most(all: u64, limit: usize) -> u64 {
    if limit == 0 { all } else { all.min(limit as u64) }
}
