//! The command line: arguments, logging, the thread pool, and dispatch to each verb.

use std::env;
use std::fmt;
use std::io::{IsTerminal, stderr};
use std::time::SystemTime;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use latrace_engine::adapters::take_bases_from_hub;
use latrace_engine::cpu::Level;
use rayon::ThreadPoolBuilder;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::verbs::{
    answer, at_least_one, build, chat, clean, compare, completions, convert, doctor, eval, export, import,
    init, man, new, push, questions, recipe, report, run as run_verb, sample, score, serve, status, sweep,
    train, verify, weigh,
};
use latrace_io::clock::second_of;
use latrace_io::failure::Failure;
use latrace_io::machine;

/// The command line of `latrace`.
#[derive(Debug, Parser)]
#[command(
    name = "latrace",
    version,
    about = "Variational reasoning: from questions to a trained, measured model",
    after_help = "Examples:\n  \
        latrace run recipes/quickstart.toml    every stage, in the order of the verbs above\n  \
        latrace status runs/quickstart         progress and remaining time\n  \
        latrace report runs/quickstart         the run as one page\n  \
        latrace VERB --help                    what a verb reads and writes, with examples\n\n\
        Exit codes: 0 success, 1 failure, 2 usage error.\n\
        Environment: LATRACE_SIMD=baseline|avx2|avx512|avx512bf16|amx (aarch64: baseline|neon) sets the widest\n\
        instruction set to use. Results in f32 do not depend on it."
)]
pub struct Cli {
    /// Number of threads; default: all cores. Results do not depend on it
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "N", value_parser = at_least_one)]
    threads: Option<u64>,
    /// Verbosity of the log on stderr
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "LEVEL", value_enum, default_value_t = LogLevel::Info)]
    log_level: LogLevel,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Off => Self::OFF,
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every stage of a recipe, from questions to a trained, measured model
    Run(run_verb::RunArguments),
    /// Prepare question rows from a file or a built-in task, with prompts and hints
    Questions(questions::QuestionsArguments),
    /// Train a model on weighted rows
    Train(train::TrainArguments),
    /// Sample completions of given prompts from a model
    Sample(sample::SampleArguments),
    /// Compute log-probs of given responses under a model
    Score(score::ScoreArguments),
    /// Sample the reasoner's answers after given traces
    Answer(answer::AnswerArguments),
    /// Judge answers: maths, multiple choice, words, programs
    Verify(verify::VerifyArguments),
    /// Weigh traces: rho~, bounds, the chosen traces
    Weigh(weigh::WeighArguments),
    /// Build training rows from weighted traces
    Build(build::BuildArguments),
    /// Evaluate a model on a benchmark: avg@k and pass@k with intervals
    Eval(eval::EvalArguments),
    /// Write a run's report as one HTML page
    Report(report::ReportArguments),
    /// Serve a run's report on this machine, updated while the run is in progress
    Serve(serve::ServeArguments),
    /// Show a run's progress
    Status(status::StatusArguments),
    /// Remove what a run folder does not need: stages of other settings, checkpoints
    Clean(clean::CleanArguments),
    /// Carry out a recipe at every combination of listed values and seeds
    Sweep(sweep::SweepArguments),
    /// Compare models side by side: one table over models and benchmarks
    Compare(compare::CompareArguments),
    /// Export a training of a run for other trainers: TRL, LLaMA-Factory
    Export(export::ExportArguments),
    /// Take a model that was trained elsewhere as a stage of a run
    Import(import::ImportArguments),
    /// Write a commented recipe for your own questions and model
    New(new::NewArguments),
    /// Check a recipe, or print it with every setting
    Recipe(recipe::RecipeArguments),
    /// Upload a run's model to the Hugging Face hub
    Push(push::PushArguments),
    /// Chat with a model in the terminal
    Chat(chat::ChatArguments),
    /// Create a randomly initialised model from a configuration
    Init(init::InitArguments),
    /// Convert a model from or to GGUF, the files of llama.cpp
    Convert(convert::ConvertArguments),
    /// Check whether this machine has what a run needs
    Doctor(doctor::DoctorArguments),
    /// Print a shell completion script
    Completions(completions::CompletionsArguments),
    /// Write manual pages
    Man(man::ManArguments),
}

/// Runs the command given on the command line.
pub fn run(cli: &Cli) -> Result<()> {
    start_logging(cli.log_level);
    check_simd()?;
    start_threads(cli.thread_count())?;
    take_bases_from_hub();
    // Run on a thread of the pool: entered from outside, each of the many short parallel loops would pay for
    // waking the pool.
    rayon::scope(|_| dispatch(&cli.command))
}

impl Cli {
    fn thread_count(&self) -> usize {
        self.threads.map_or_else(machine::cores, |threads| threads as usize)
    }
}

fn dispatch(command: &Command) -> Result<()> {
    match command {
        Command::Run(arguments) => run_verb::run(arguments),
        Command::Questions(arguments) => questions::run(arguments),
        Command::Train(arguments) => train::run(arguments),
        Command::Sample(arguments) => sample::run(arguments),
        Command::Score(arguments) => score::run(arguments),
        Command::Answer(arguments) => answer::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Weigh(arguments) => weigh::run(arguments),
        Command::Build(arguments) => build::run(arguments),
        Command::Eval(arguments) => eval::run(arguments),
        Command::Report(arguments) => report::run(arguments),
        Command::Serve(arguments) => serve::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Clean(arguments) => clean::run(arguments),
        Command::Sweep(arguments) => sweep::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Export(arguments) => export::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::New(arguments) => new::run(arguments),
        Command::Recipe(arguments) => recipe::run(arguments),
        Command::Push(arguments) => push::run(arguments),
        Command::Chat(arguments) => chat::run(arguments),
        Command::Init(arguments) => init::run(arguments),
        Command::Convert(arguments) => convert::run(arguments),
        Command::Doctor(arguments) => doctor::run(arguments),
        // These two describe the whole command line, which no verb knows.
        Command::Completions(arguments) => completions::run(arguments, &mut Cli::command()),
        Command::Man(arguments) => man::run(arguments, &mut Cli::command()),
    }
}

/// The time of a log line, in UTC: of the day on a terminal, where lines are short, and with the date elsewhere.
struct ToTheSecond;

impl FormatTime for ToTheSecond {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        let now = second_of(SystemTime::now());
        if stderr().is_terminal() { line.write_str(&now[11..19]) } else { line.write_str(&now) }
    }
}

fn start_logging(level: LogLevel) {
    // A caller that uses this crate as a library may have installed its own subscriber, which stays.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_timer(ToTheSecond)
        .with_ansi(stderr().is_terminal())
        // Never to standard output, where verbs without `--out` write their rows.
        .with_writer(stderr)
        // Nor a word about a closed standard error: there is nowhere to say it.
        .log_internal_errors(false)
        .try_init();
}

/// Refuses an unknown value here: the engine would silently ignore it.
fn check_simd() -> Result<()> {
    let Ok(name) = env::var(Level::VARIABLE) else { return Ok(()) };
    match Level::named(&name) {
        Some(_) => Ok(()),
        None => Err(unknown_level(&name).into()),
    }
}

fn unknown_level(name: &str) -> Failure {
    let (variable, known) = (Level::VARIABLE, Level::NAMES.map(|(name, _)| name).join(", "));
    Failure::usage(format!("the environment's {variable}: expected one of {known}, got \"{name}\""))
}

fn start_threads(threads: usize) -> Result<()> {
    // The global pool, because the engine's parallel loops name none.
    let pool = ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().with_context(|| format!("cannot start {threads} threads"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn verbs_come_in_the_order_of_the_pipeline_and_each_shows_examples() {
        let readme =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
        let stages = readme.lines().filter(|line| {
            line.starts_with("| ") && line[2..].starts_with(|first: char| first.is_ascii_digit())
        });
        let mut expected = vec!["run"];
        for verb in stages.filter_map(|line| line.split('|').nth(4)).map(|cell| cell.trim().trim_matches('`'))
        {
            if !expected.contains(&verb) {
                expected.push(verb);
            }
        }
        let command = Cli::command();
        let verbs: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
        assert_eq!(verbs[..expected.len()], expected);
        for verb in command.get_subcommands() {
            let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                after.contains("Example") && after.contains(&format!("  latrace {}", verb.get_name())),
                "{}",
                verb.get_name()
            );
        }
    }
}
