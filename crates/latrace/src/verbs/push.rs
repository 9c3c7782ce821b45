//! `latrace push`: uploads a run's model to the Hugging Face hub.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use latrace_io::failure::Failure;
use latrace_io::hub::upload::{UploadFile, UploadOutcome, UploadTarget, upload, upload_files};
use latrace_io::text_table::markdown;
use latrace_io::words::size;
use latrace_report::status::{RunState, look};
use latrace_run::release::released_model;

use super::output::print;

/// Arguments of `latrace push`.
#[derive(Args, Debug)]
#[command(after_help = "\
Uploads RUN/model as one commit: weights, tokenizer, chat template, sampling settings and README.md, the model card.
The card holds the recipe as it was, with its paths: read it before you make a model public. The repository is created
unless it exists. Files that the hub has are not sent again, so that the same command goes on after an interruption, and
does nothing where all files are there as they are.

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
    print(&said(&upload(&files, &target)?, files.len(), &target))
}

fn said(outcome: &UploadOutcome, all: usize, UploadTarget { id, revision, .. }: &UploadTarget) -> String {
    let UploadOutcome::Committed { url, uploaded, known, unchanged } = outcome else {
        return format!("Nothing to do: {id} (branch {revision}) has all {all} files already.");
    };
    let others = [(known, "more were there already"), (unchanged, "files are unchanged")];
    let others: String = others
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, what)| format!("; {count} {what}"))
        .collect();
    format!("Uploaded {uploaded} large files{others}. {url}")
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
