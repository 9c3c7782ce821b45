//! Arguments of a verifier of the user's own.

use anyhow::Result;
use clap::Args;
use latrace_io::failure::Failure;
use latrace_verify::command::CommandSettings;

use super::at_least_one;
use super::verify::positive;

/// A verifier of the user's own, for rows of the kind `command`.
#[derive(Args, Clone, Debug)]
pub(super) struct VerifierArguments {
    /// Program that judges questions of the kind `command`, with its arguments, such as "python3 judge.py": it
    /// reads rows and writes verdicts as JSON Lines. No shell runs it; quotes hold arguments together
    #[arg(long, value_name = "COMMAND")]
    verifier_command: Option<String>,
    /// Run the verifier as any other program, not in the sandbox, where it finds the system and the files that
    /// its command names
    #[arg(long, requires = "verifier_command")]
    verifier_no_sandbox: bool,
    /// Time limit of the verifier for one batch, in seconds
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = positive, requires = "verifier_command")]
    verifier_time_limit: f64,
    /// Rows that the verifier gets at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one, requires = "verifier_command")]
    verifier_batch: u64,
}

impl VerifierArguments {
    /// The settings, without a command if none is given.
    pub(super) fn settings(&self) -> Result<CommandSettings> {
        let settings = CommandSettings {
            command: self.verifier_command.as_deref().map_or(Ok(Vec::new()), words)?,
            sandbox: !self.verifier_no_sandbox,
            time_limit_s: self.verifier_time_limit,
            batch: self.verifier_batch as usize,
        };
        settings.check().map_err(|error| Failure::usage(format!("verifier {error}")))?;
        Ok(settings)
    }
}

/// A command's words, as a shell takes them apart.
fn words(command: &str) -> Result<Vec<String>> {
    let words = shlex::split(command).filter(|words| !words.is_empty());
    let refused = || {
        let message = format!("--verifier-command: expected a program and its arguments, got {command:?}");
        Failure::usage(message).hint("every quote needs its closing one")
    };
    Ok(words.ok_or_else(refused)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        assert_eq!(
            words("python3 'my judge.py' --level \"a b\"").unwrap(),
            ["python3", "my judge.py", "--level", "a b"]
        );
        assert_eq!(words("judge $HOME *;ls").unwrap(), ["judge", "$HOME", "*;ls"]);
        for refused in ["", "  ", "python3 'judge.py"] {
            assert!(words(refused).is_err(), "{refused}");
        }
    }
}
