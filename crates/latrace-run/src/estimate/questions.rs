//! How many questions a run has, before it begins: with what can be told from them of its templates and its trainings.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_core::{Message, Question, Split};
use latrace_engine::ModelShape;
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_questions::source::Source;
use latrace_questions::tasks::Sizes;
use serde::Deserialize;

use super::needs::start_model;
use crate::pipeline::folder::{StageRecord, read_record};
use crate::plan::{
    EvaluatedQuestions, EvaluationSettings, FitRows, ModelSettings, Node, Plan, QuestionSettings, Settings,
    Stage,
};
use crate::recipe::run::{Method, TracedQuestions};
use crate::stages::questions::check_prompts;

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
    /// As a finished stage 0 counted them, as a built-in task's settings say, or by reading their files. The templates
    /// are tried on what is read.
    ///
    /// # Errors
    /// Records or questions that cannot be read; templates that cannot be used; no traces where a model learns
    /// from them.
    pub fn of(plan: &Plan, run: &Path) -> Result<QuestionNumbers> {
        let counts = QuestionNumbers::counted(plan, run)?;
        check_traced(plan, counts)?;
        Ok(counts)
    }

    fn counted(plan: &Plan, run: &Path) -> Result<QuestionNumbers> {
        let node = plan.node(None, 1, Stage::Questions).map(|id| &plan.nodes[id]);
        let node = node.context("the plan has no questions")?;
        let folder = run.join(node.folder());
        if let Some(record) = read_record(&folder)?.filter(StageRecord::is_current) {
            let cannot = || format!("{} does not count its questions", folder.display());
            return serde_json::from_value(record.counts).with_context(cannot);
        }
        let Settings::Questions(settings) = &node.settings else { return Ok(QuestionNumbers::default()) };
        let source = &settings.source;
        if source.task.is_empty() {
            let mut counts = QuestionNumbers::default();
            read_ahead(plan, run, settings, source)?
                .iter()
                .for_each(|(split, question)| counts.add(*split, question));
            return Ok(counts);
        }
        // One question tells whether the templates can be used.
        let one = Sizes { traced: 1, untraced: 0, validation: 0, test: 0 };
        read_ahead(plan, run, settings, &Source { sizes: one, ..source.clone() })?;
        let sizes = &source.sizes;
        Ok(QuestionNumbers {
            train: (sizes.traced + sizes.untraced) as u64,
            traced: sizes.traced as u64,
            validation: sizes.validation as u64,
            test: sizes.test as u64,
        })
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

/// The questions of a source, after the templates have been tried on them with the model's own, as far as it is there.
fn read_ahead(
    plan: &Plan,
    run: &Path,
    settings: &QuestionSettings,
    source: &Source,
) -> Result<Vec<(Split, Question)>> {
    let model = start_model(plan, run);
    let codec = model.as_deref().map(|folder| opened(folder, settings)).transpose()?;
    let questions = match &codec {
        None => source.read(&settings.markers, None),
        Some(codec) => {
            let render = |messages: &[Message]| codec.prompt(messages);
            source.read(&settings.markers, Some(&render))
        }
    }?;
    // A random model is made without a chat template; that of a given one that is not there yet is not known.
    if codec.is_some() || !starts_from_given(plan) {
        let prompting = [settings.reasoner.compile()?, settings.posterior.compile()?];
        check_prompts(&questions, prompting.each_ref(), &settings.markers, codec.as_ref())?;
        check_own_prompts(plan, &questions, settings, codec.as_ref())?;
    }
    Ok(questions)
}

fn opened(model: &Path, settings: &QuestionSettings) -> Result<TextCodec> {
    let mut codec = TextCodec::open(model, &ModelShape::read(model)?)?;
    if let Some(date) = settings.date {
        codec.set_date(date);
    }
    Ok(codec)
}

fn starts_from_given(plan: &Plan) -> bool {
    let model = plan.node(None, 1, Stage::Model).map(|id| &plan.nodes[id].settings);
    matches!(model, Some(Settings::Model(ModelSettings::Given { .. })))
}

/// Tries the prompts that the model is evaluated with in its own chat template.
fn check_own_prompts(
    plan: &Plan,
    questions: &[(Split, Question)],
    settings: &QuestionSettings,
    codec: Option<&TextCodec>,
) -> Result<()> {
    let Some(id) = plan.node(None, 1, Stage::BaseEvaluation) else { return Ok(()) };
    let Settings::Evaluation(EvaluationSettings { own_prompts: Some(own), .. }) = &plan.nodes[id].settings
    else {
        return Ok(());
    };
    let Some((_, question)) = questions.first() else { return Ok(()) };
    let prompting = own.conversation.compile()?;
    prompting.prompt(question, None, false, &settings.markers, codec).map(drop).context("evaluation.base")
}

/// Checks that there are questions with a trace where a model learns from these alone.
fn check_traced(plan: &Plan, questions: QuestionNumbers) -> Result<()> {
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
