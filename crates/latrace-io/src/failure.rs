//! Errors of the command: message, hint and exit code. The only place that prints an error chain.

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::rows::{BadRow, FieldProblem};
use crate::stdout;

/// An error with an optional hint, and whether it is a usage error.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    kind: FailureKind,
}

/// The kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The work failed: exit code 1.
    Work,
    /// The command line or the recipe is wrong: exit code 2.
    Usage,
}

impl FailureKind {
    fn exit_code(self) -> ExitCode {
        match self {
            FailureKind::Work => ExitCode::from(1),
            FailureKind::Usage => ExitCode::from(2),
        }
    }
}

impl Failure {
    /// The work failed.
    pub fn work(message: impl Into<String>) -> Failure {
        Failure { message: message.into(), hint: None, kind: FailureKind::Work }
    }

    /// Wrong usage.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { kind: FailureKind::Usage, ..Failure::work(message) }
    }

    /// Adds a hint on what to do about it.
    pub fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: Some(hint.into()), ..self }
    }

    /// What to do about it, if there is a hint.
    #[must_use]
    pub fn its_hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Adds a hint where there is none yet.
    #[must_use]
    pub fn or_hint(self, hint: &str) -> Failure {
        Failure { hint: self.hint.or_else(|| Some(hint.to_owned())), ..self }
    }

    /// Puts words before the message, such as the file that it is about.
    #[must_use]
    pub fn preceded_by(self, words: &str) -> Failure {
        Failure { message: format!("{words}{}", self.message), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

/// Finds the hint of an error from another crate.
pub type HintOf = fn(&(dyn Error + 'static)) -> Option<String>;

/// Prints `error: …`, each `caused by: …`, then `hint: …` to stderr, and returns the exit code. Where the reader of
/// standard output has left, as `head` does, prints nothing: that is no failure. `hint_of`
/// returns hints of errors other than [`Failure`].
pub fn report(error: &anyhow::Error, hint_of: HintOf) -> ExitCode {
    // The reader of the output has what it asked for, and the error is that it left.
    if stdout::is_closed() {
        return ExitCode::SUCCESS;
    }
    // If stderr is closed, there is nowhere left to report the error.
    let _ = std::io::stderr().write_all(describe(error, hint_of).as_bytes());
    kind_of(error).exit_code()
}

fn describe(error: &anyhow::Error, hint_of: HintOf) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { "error" } else { "caused by" };
        text.push_str(&format!("{label}: {cause}\n"));
    }
    let hint = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<Failure>() {
        Some(failure) => failure.hint.clone(),
        None => hint_of_row(cause).or_else(|| hint_of(cause)),
    };
    // The outermost of several, which is the closest to what the user was doing.
    if let Some(hint) = error.chain().find_map(hint) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

fn hint_of_row(cause: &(dyn Error + 'static)) -> Option<String> {
    let of_row = cause.downcast_ref().and_then(BadRow::its_hint);
    of_row.or_else(|| cause.downcast_ref().and_then(FieldProblem::its_hint)).map(str::to_owned)
}

fn kind_of(error: &anyhow::Error) -> FailureKind {
    error.downcast_ref::<Failure>().map_or(FailureKind::Work, |failure| failure.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_chain_is_printed_in_order_and_the_hint_last() {
        let error = Err::<(), _>(Failure::work("no such column").hint("name it `id`"))
            .context("cannot read data.jsonl")
            .unwrap_err();
        assert_eq!(
            describe(&error, |_| None),
            "error: cannot read data.jsonl\ncaused by: no such column\nhint: name it `id`\n"
        );
        assert_eq!(kind_of(&error), FailureKind::Work);
    }

    #[test]
    fn wrong_usage_is_told_apart_under_context() {
        let error =
            Err::<(), _>(Failure::usage("unknown key")).context("cannot read the recipe").unwrap_err();
        assert_eq!(kind_of(&error), FailureKind::Usage);
    }
}
