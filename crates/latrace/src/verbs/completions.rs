//! `latrace completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::output::write;

/// Arguments of `latrace completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  latrace completions bash > ~/.local/share/bash-completion/completions/latrace
  latrace completions zsh > ~/.zfunc/_latrace
  latrace completions fish > ~/.config/fish/completions/latrace.fish")]
pub struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs `latrace completions`.
pub fn run(arguments: &CompletionsArguments, command: &mut Command) -> Result<()> {
    let mut script = Vec::new();
    // Into memory first: `generate` panics if it cannot write.
    generate(arguments.shell, command, "latrace", &mut script);
    write(&script)
}
