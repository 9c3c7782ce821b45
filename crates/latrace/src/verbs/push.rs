//! `latrace push`: uploads a run's model to the Hugging Face hub.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use latrace_io::failure::Failure;
use latrace_io::hub::upload::{UploadFile, UploadTarget, upload, upload_files};
use latrace_io::text_table::markdown;
use latrace_report::status::{RunState, look};
use latrace_run::release::released_model;

use super::output::print;

/// Arguments of `latrace push`.
#[derive(Args, Debug)]
#[command(after_help = "\
Uploads RUN/model as one commit: weights, tokenizer, chat template, sampling settings and README.md, the model card.
The card holds the recipe as it was, with its paths: read it before you make a model public. The repository is created
unless it exists. Files that the hub has are not sent again, so that the same command goes on after an interruption.

HF_TOKEN, or the token of the hub's own login, must be one that may write; it is sent to the hub alone (HF_ENDPOINT,
by default https://huggingface.co).

Tested against a local server that speaks the hub's interface, not against the hub itself.

Examples:
  latrace push runs/quickstart org/walk --dry-run
  HF_TOKEN=... latrace push runs/quickstart org/walk --private
  HF_TOKEN=... latrace push runs/quickstart org/walk --revision seed-2 --message 'The second seed'")]
pub struct PushArguments {
    /// The run folder
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// The repository on the hub
    #[arg(value_name = "ORG/NAME")]
    repository: String,
    /// Create the repository as a private one; one that exists and is public is refused
    #[arg(long)]
    private: bool,
    /// Branch to commit to, created unless it exists [default: main]
    #[arg(long, value_name = "BRANCH")]
    revision: Option<String>,
    /// Message of the commit [default: one that names the run]
    #[arg(long, value_name = "TEXT")]
    message: Option<String>,
    /// Show what would be uploaded, without any request
    #[arg(long)]
    dry_run: bool,
}

/// Runs `latrace push`.
pub fn run(arguments: &PushArguments) -> Result<()> {
    let PushArguments { run, repository, private, revision, .. } = arguments;
    let message = arguments.message.clone().unwrap_or_else(|| default_message(run));
    let target = UploadTarget::new(repository, revision.as_deref(), *private, message)?;
    check_finished(run)?;
    let files = upload_files(&released_model(run)?)?;
    print(&listed(&files, &target))?;
    if arguments.dry_run {
        return Ok(());
    }
    let outcome = upload(&files, &target)?;
    let known = match outcome.known {
        0 => String::new(),
        known => format!("; {known} more were there already"),
    };
    print(&format!("Uploaded {} large files{known}. {}", outcome.uploaded, outcome.url))
}

fn default_message(run: &Path) -> String {
    format!("Model of the run {}", run.file_name().unwrap_or(run.as_os_str()).display())
}

/// Refuses a run whose model may be that of an earlier recipe, or none.
fn check_finished(run: &Path) -> Result<()> {
    let status = look(run)?;
    if status.state == RunState::Done {
        return Ok(());
    }
    let (shown, done, all) = (run.display(), status.done, status.stages.len());
    Err(Failure::work(format!("{shown} is not finished: {done} of {all} stages are done"))
        .hint("`latrace run` with the same recipe finishes it")
        .into())
}

/// What will be uploaded, with sizes.
fn listed(files: &[UploadFile], target: &UploadTarget) -> String {
    let rows: Vec<[String; 2]> = files.iter().map(|file| [file.name.clone(), size(file.size)]).collect();
    let table = markdown(&["file", "size"].map(str::to_owned), &rows);
    let all = size(files.iter().map(|file| file.size).sum());
    let UploadTarget { id, revision, private, message } = target;
    let private = if *private { ", private" } else { "" };
    format!("{table}\n{} files, {all}, to {id} (branch {revision}{private}): {message}", files.len())
}

/// A size in the unit that suits it.
fn size(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let sizes = [0, 999, 1000, 12_345_678, 3_210_000_000];
        assert_eq!(sizes.map(size), ["0 B", "999 B", "1.0 kB", "12.3 MB", "3.21 GB"]);
    }
}
