//! `latrace new`: writes a commented recipe for the user's own questions and model.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use latrace_engine::ModelShape;
use latrace_engine::text_codec::TextCodec;
use latrace_io::columns::pair;
use latrace_io::failure::Failure;
use latrace_io::files::write_text;
use latrace_io::hub::is_model_of_hub;
use latrace_questions::source::named_task;
use latrace_run::draft::{Draft, DraftModel, DraftQuestions, QuestionFile, name_from};
use latrace_run::preflight::preflight;
use latrace_run::recipe::run::RunRecipe;

use super::output::print;
use super::recipe::say_unchecked;

/// Arguments of `latrace new`.
#[derive(Args, Debug)]
#[command(after_help = "\
In a terminal, what is not given is asked for. The file of questions is looked into: columns of other names than ours
become `questions.columns` of the recipe, and its size decides limits and batches. Nothing is downloaded.

Examples:
  latrace new
  latrace new own.toml --model Qwen/Qwen3-0.6B --questions train.jsonl --test test.jsonl --kind math
  latrace new own.toml --model models/base --questions data.parquet --column question=body --kind text
  latrace new walk.toml --model random --task walk")]
pub struct NewArguments {
    /// Recipe to write
    #[arg(value_name = "OUT.toml", default_value = "recipe.toml")]
    out: PathBuf,
    /// Model to start from: a folder, a hub id (org/name[@revision]), or random for a small new one
    #[arg(long, value_name = "FOLDER|ID|random")]
    model: Option<String>,
    /// Questions to train on (.jsonl or .parquet)
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    questions: Option<PathBuf>,
    /// Questions to measure on; without them, the recipe says how to hold some out
    #[arg(long, value_name = "FILE", conflicts_with = "task")]
    test: Option<PathBuf>,
    /// How answers are judged, where rows do not say
    #[arg(long, value_name = "KIND", value_parser = KINDS, conflicts_with = "task")]
    kind: Option<String>,
    /// Which column of the file a field is, such as question=body
    #[arg(long, value_name = "OURS=THEIRS", value_parser = pair, conflicts_with = "task")]
    column: Vec<(String, String)>,
    /// A built-in task in place of questions: walk, countdown, arithmetic, graph or latin
    #[arg(long, value_name = "NAME")]
    task: Option<String>,
    /// Overwrite the recipe if there is one
    #[arg(long)]
    force: bool,
}

/// The kinds of verifiers that need nothing else of the user.
const KINDS: [&str; 4] = ["math", "choice", "code", "text"];

const RANDOM: &str = "random";

/// Runs `latrace new`.
pub fn run(arguments: &NewArguments) -> Result<()> {
    let out = arguments.out.as_path();
    // Before anything is asked.
    check_unwritten(out, arguments.force)?;
    let text = draft(arguments)?.text()?;
    // Before it is written: what a run would refuse is not left behind.
    let unchecked = preflight(&RunRecipe::parse(&text, out)?)?;
    write_text(out, &text)?;
    let out = out.display();
    print(&format!("wrote {out}; next: latrace recipe check {out}, then latrace run {out} --dry-run"))?;
    say_unchecked(&unchecked)
}

fn check_unwritten(out: &Path, force: bool) -> Result<()> {
    if force || !out.exists() {
        return Ok(());
    }
    let message = format!("{} exists", out.display());
    Err(Failure::usage(message).hint("add --force to overwrite it, or choose another name").into())
}

fn draft(arguments: &NewArguments) -> Result<Draft> {
    let folder = match arguments.out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let model = model(arguments, folder)?;
    let questions = questions(arguments, folder, model == DraftModel::Random)?;
    Ok(Draft { name: arguments.out.display().to_string(), model, questions })
}

fn model(arguments: &NewArguments, folder: &Path) -> Result<DraftModel> {
    let name = given_or_asked(
        arguments.model.clone(),
        "--model",
        "Model to start from (a folder, org/name, or random)",
    )?;
    if name == RANDOM {
        return Ok(DraftModel::Random);
    }
    let path = Path::new(&name);
    if path.is_dir() {
        let codec = TextCodec::open(path, &ModelShape::read(path)?)?;
        return Ok(DraftModel::Named { folder: name_from(folder, path), chat: Some(codec.has_template()) });
    }
    if is_model_of_hub(&name) {
        return Ok(DraftModel::Named { folder: name, chat: None });
    }
    let message = format!("--model {name}: expected a model folder, a hub id such as org/name, or random");
    Err(Failure::usage(message).into())
}

fn questions(arguments: &NewArguments, folder: &Path, traces_wanted: bool) -> Result<DraftQuestions> {
    if let Some(task) = &arguments.task {
        return Ok(DraftQuestions::Task(named_task("--task", task)?));
    }
    let file = arguments.questions.as_ref().map(|path| path.display().to_string());
    let asked = file.is_none();
    let file = PathBuf::from(given_or_asked(file, "--questions", "File of questions (.jsonl or .parquet)")?);
    let look =
        |path: &Path| QuestionFile::look(path, &name_from(folder, path), &arguments.column, traces_wanted);
    let train = look(&file)?;
    // Of test questions, not all that is said of training questions need be there, such as traces.
    train.check_given(&arguments.column)?;
    let test = match &arguments.test {
        None if asked => {
            answer("File of test questions (empty: none)")?.filter(|name| !name.is_empty()).map(PathBuf::from)
        }
        given => given.clone(),
    };
    let test = test.map(|path| look(&path)).transpose()?;
    let known = arguments.kind.clone().or_else(|| train.kind.map(str::to_owned));
    let kind = given_or_asked(known, "--kind", "How answers are judged (math, choice, code or text)")?;
    if !KINDS.contains(&kind.as_str()) {
        return Err(Failure::usage(format!("--kind {kind}: expected one of {}", KINDS.join(", "))).into());
    }
    Ok(DraftQuestions::Files { train, test, kind })
}

/// What was given for a flag, or what the user answers in a terminal.
fn given_or_asked(given: Option<String>, flag: &str, question: &str) -> Result<String> {
    let missing = || {
        Failure::usage(format!("{flag} is missing"))
            .hint("it is asked for in a terminal alone; see latrace new --help")
    };
    match given {
        Some(given) => Ok(given),
        None => Ok(answer(question)?.filter(|text| !text.is_empty()).ok_or_else(missing)?),
    }
}

/// The line that the user answers with; none without a terminal, where there is nobody to ask.
fn answer(question: &str) -> Result<Option<String>> {
    if !stdin().is_terminal() || !(stdout().is_terminal() || stderr().is_terminal()) {
        return Ok(None);
    }
    // On standard error, as every other word that is no result.
    eprint!("{question}: ");
    let mut line = String::new();
    stdin().read_line(&mut line).context("cannot read the answer")?;
    Ok(Some(line.trim().to_owned()))
}
