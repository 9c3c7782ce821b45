//! What a dry run says of the work ahead: how much, how long, and what memory and disk space it takes.

use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::EngineRole;
use latrace_io::words::{duration, short, size};
use latrace_run::estimate::needs::{Need, disk, memory, model_before};
use latrace_run::estimate::trial::Rates;
use latrace_run::estimate::{QuestionNumbers, Work, works};
use latrace_run::pipeline::context::RunContext;
use latrace_run::pipeline::runner::State;
use latrace_run::plan::Plan;
use latrace_run::recipe::run::RunRecipe;
use tempfile::tempdir;
use tracing::info;

/// A run before it is done.
pub(super) struct Ahead<'a> {
    pub recipe: &'a RunRecipe,
    pub plan: &'a Plan,
    pub states: &'a [State],
    pub context: &'a RunContext,
    pub run: &'a Path,
    questions: QuestionNumbers,
    works: Vec<Work>,
}

impl<'a> Ahead<'a> {
    /// # Errors
    /// Records or questions that cannot be read; templates that cannot be used; no traces where a model learns
    /// from them.
    pub(super) fn new(
        recipe: &'a RunRecipe,
        plan: &'a Plan,
        states: &'a [State],
        context: &'a RunContext,
        run: &'a Path,
    ) -> Result<Ahead<'a>> {
        let questions = QuestionNumbers::of(plan, run, &context.verifiers)?;
        Ok(Ahead { recipe, plan, states, context, run, questions, works: works(plan, questions) })
    }

    /// How much a stage that is not done has to do, at most.
    pub(super) fn amount(&self, node: usize) -> String {
        let Work { samples, drawn, scored, updates, trained } = self.works[node];
        match (drawn, scored, updates) {
            _ if self.states[node] == State::Done => String::new(),
            (1.., ..) => format!(": at most {samples} samples of {} tokens", drawn / samples.max(1)),
            (_, 1.., _) => format!(": at most {} tokens", short(scored)),
            (.., 1..) => format!(": {updates} updates, at most {} tokens", short(trained)),
            _ => String::new(),
        }
    }

    /// The work that is still to be done, with the place of each node.
    fn todo(&self) -> Vec<(usize, Work)> {
        let works = self.works.iter().copied().enumerate();
        works.filter(|(node, _)| self.states[*node] != State::Done).collect()
    }

    /// All that is still to be done, by which engine, and the memory and disk space that it takes.
    pub(super) fn in_all(&self) -> String {
        let todo = self.todo();
        let Work { drawn, scored, trained, .. } = todo.iter().map(|(_, work)| *work).sum();
        // A model that cannot be read is the run's error, in its first stage; the plan is shown all the same.
        let space = self.space(&todo).unwrap_or_else(|error| format!("Memory: not known, {error:#}\n"));
        let QuestionNumbers { train, traced, validation, test } = self.questions;
        format!(
            "\nQuestions: {train} to train on, {traced} of them with a trace, {validation} for validation, {test} \
             for the test.\nTo be done, if every sample and row were as long as it may be:\n{}{}{}{space}",
            self.tokens("drawn", drawn, EngineRole::Generate),
            self.tokens("scored", scored, EngineRole::Score),
            self.tokens("trained on", trained, EngineRole::Train),
        )
    }

    /// The memory and disk space that the work takes.
    fn space(&self, todo: &[(usize, Work)]) -> Result<String> {
        let scratch = tempdir().context("cannot make a folder for the model's shape")?;
        let model = model_before(self.plan, self.run, scratch.path(), false)?;
        let (parameters, memory) = memory(self.recipe, &model)?;
        Ok(format!(
            "Memory, for a model of {} parameters:\n{}Disk space:\n{}",
            short(parameters.all),
            lines(&memory),
            lines(&disk(self.plan, todo, parameters.all)),
        ))
    }

    fn tokens(&self, what: &str, tokens: u64, role: EngineRole) -> String {
        let engine = self.context.engine.identity(role).kind;
        format!("  {:>10} tokens {what} by {engine}\n", short(tokens))
    }

    /// How long the stages that are still to be done take at most, by the rates of a trial on the model to start from.
    ///
    /// # Errors
    /// Those of the engines.
    pub(super) fn times(&self) -> Result<String> {
        let scratch = tempdir().context("cannot make a folder for the trial's model")?;
        let model = model_before(self.plan, self.run, scratch.path(), true)?;
        info!("trying the engines on {}", model.display());
        let todo = self.todo().into_iter().map(|(_, work)| work).sum();
        let rates = Rates::measure(&*self.context.engine, &model, todo)?;
        let mut text = format!("{}. At most, that is:\n", in_words(rates));
        let mut all = 0.0;
        let steps = self.plan.steps.iter().filter(|step| !step.shared);
        for step in steps.filter(|step| self.states[step.node] != State::Done) {
            let seconds = rates.seconds(self.works[step.node]);
            if seconds > 0.0 {
                text += &format!("{:<32} {}\n", step.label(), duration(seconds));
            }
            all += seconds;
        }
        Ok(text + &format!("{:<32} {}\n", "in all", duration(all)))
    }
}

fn in_words(rates: Rates) -> String {
    let Rates { drawn, scored, trained } = rates;
    let tried = [("drawn", drawn), ("scored", scored), ("trained on", trained)];
    let tried: Vec<String> =
        tried.iter().filter_map(|(what, rate)| Some(format!("{:.0} {what}", (*rate)?))).collect();
    format!("Tokens a second in a short trial: {}", tried.join(", "))
}

fn lines(needs: &[Need]) -> String {
    let line = |need: &Need| {
        let Need { whose, what, bytes } = need;
        format!("  {:>11} {whose}: {what}\n", size(*bytes))
    };
    needs.iter().map(line).collect()
}
