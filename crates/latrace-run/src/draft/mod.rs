//! A first recipe for a user's own questions and model: what `latrace new` writes.
//!
//! Sizes are those of the shipped recipes of the same form: `gsm8k.toml` for a random model, `gsm8k-chat.toml` and
//! `smollm2-asdiv.toml` for a given one, `quickstart.toml` for a built-in task.

mod columns;
mod look;
mod sections;

use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_questions::tasks::Task;

pub use look::QuestionFile;

/// What a recipe is drafted for.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The recipe's file name, for its own commands.
    pub name: String,
    /// The model that is trained.
    pub model: DraftModel,
    /// What it is trained on.
    pub questions: DraftQuestions,
}

/// The model that a drafted recipe starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftModel {
    /// A small one, drawn at random.
    Random,
    /// A folder or an id on the hub.
    Named {
        /// As the recipe names it.
        folder: String,
        /// Whether it has a chat template; none where the model is not on this machine.
        chat: Option<bool>,
    },
}

/// The questions of a drafted recipe.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "a draft has one")]
pub enum DraftQuestions {
    /// A built-in task.
    Task(Task),
    /// Files of the user's own.
    Files {
        /// To train on.
        train: QuestionFile,
        /// To measure on.
        test: Option<QuestionFile>,
        /// The verifier of rows without a `kind`.
        kind: String,
    },
}

impl Draft {
    /// The recipe, with comments that say why.
    ///
    /// # Errors
    /// A random model for questions without traces, which it could not learn from.
    pub fn text(&self) -> Result<String> {
        if let (DraftModel::Random, DraftQuestions::Files { train, .. }) = (&self.model, &self.questions)
            && !train.has_traces
        {
            return Err(no_traces(train).into());
        }
        Ok(sections::all(self))
    }

    /// Whether the first models learn from traces in the data.
    fn has_traces(&self) -> bool {
        match &self.questions {
            DraftQuestions::Task(_) => true,
            DraftQuestions::Files { train, .. } => train.has_traces,
        }
    }
}

fn no_traces(file: &QuestionFile) -> Failure {
    let message =
        format!("--model random: {} has no traces, which a random model has to learn from first", file.name);
    Failure::usage(message).hint(
        "give a model that can answer already, such as --model Qwen/Qwen3-0.6B, or the column of the traces: --column trace=NAME",
    )
}

/// The name by which a recipe in `folder` finds a file: beside it if it can, else as it was given.
#[must_use]
pub fn name_from(folder: &Path, file: &Path) -> String {
    let beside = || {
        let (folder, file) = (folder.canonicalize().ok()?, file.canonicalize().ok()?);
        let inside = file.strip_prefix(&folder).ok().map(Path::to_owned);
        Some(inside.unwrap_or(file).to_str()?.to_owned())
    };
    beside().unwrap_or_else(|| file.display().to_string())
}

#[cfg(test)]
mod tests;
