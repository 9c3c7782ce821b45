//! `latrace doctor`: checks whether this machine has what a run needs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::choices::{ENGINES, one_of};
use super::engine::{engine, remove_logs};
use super::output::{print, print_json};
use crate::doctor::{Finding, Health, examine, limits};
use crate::tiny_job::try_engine;
use latrace_engine::{CpuEngine, EngineRole};
use latrace_io::failure::Failure;
use latrace_run::recipe::run::{ScoreEngine, engine_settings};

/// Arguments of `latrace doctor`.
#[derive(Args, Debug)]
#[command(after_help = "\
The exit code is 0 unless something that every run needs is missing. Makes no network requests, and prints no
token.

With --try, a tiny job goes through an engine: rows are scored, samples drawn, a model trained, whatever the engine
does, and compared with the built-in engine's. A server may take minutes to start.

Examples:
  latrace doctor
  latrace doctor --runs /data/runs --json
  latrace doctor --try cpu --try torchrun
  latrace doctor --bench --threads 1
  latrace doctor --try servers --engine-setting servers.kind=sglang")]
pub struct DoctorArguments {
    /// Folder where runs will be written
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Send a tiny job through an engine; may be repeated
    #[arg(long = "try", value_name = "ENGINE", value_parser = one_of::<ScoreEngine>(ENGINES))]
    engines: Vec<ScoreEngine>,
    /// Measure how fast products and memory are
    #[arg(long)]
    bench: bool,
    /// Setting of an engine, as in a recipe: 'servers.urls=["http://localhost:8000"]'; may be repeated
    #[arg(long = "engine-setting", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// Runs `latrace doctor`.
pub fn run(arguments: &DoctorArguments) -> Result<()> {
    // A misspelt setting is no finding about this machine.
    engine_settings(&arguments.settings)?;
    let mut findings = examine(&arguments.runs);
    if arguments.bench {
        findings.extend(limits());
    }
    for kind in &arguments.engines {
        findings.push(tried(*kind, &arguments.settings));
    }
    if findings.iter().all(|finding| finding.health != Health::Missing) {
        remove_logs()?;
    }
    if arguments.json {
        print_json(&findings)?;
    } else {
        print(&table(&findings))?;
    }
    check_nothing_missing(&findings)
}

/// What came of a tiny job through an engine: one that was asked for and does not work counts as missing.
fn tried(kind: ScoreEngine, settings: &[String]) -> Finding {
    use EngineRole::{Generate, Score, Train};
    let (what, roles, settings): (_, &[_], _) = match kind {
        ScoreEngine::Cpu => ("cpu, tried", &[Generate, Score, Train], &[][..]),
        ScoreEngine::Servers => ("servers, tried", &[Generate, Score], settings),
        ScoreEngine::Torchrun => ("torchrun, tried", &[Score, Train], settings),
    };
    let outcome = engine(kind, settings, CpuEngine::default()).and_then(|engine| try_engine(&*engine, roles));
    match outcome {
        Ok(found) => Finding { what, health: Health::Good, found },
        Err(error) => Finding { what, health: Health::Missing, found: format!("{error:#}") },
    }
}

/// An error, so that a script can tell by the exit code; after the table, which has the details.
fn check_nothing_missing(findings: &[Finding]) -> Result<()> {
    match missing(findings).as_slice() {
        [] => Ok(()),
        missing => Err(Failure::work(format!("missing, and needed: {}", missing.join(", "))).into()),
    }
}

fn missing(findings: &[Finding]) -> Vec<&str> {
    let missing = findings.iter().filter(|finding| finding.health == Health::Missing);
    missing.map(|finding| finding.what).collect()
}

fn table(findings: &[Finding]) -> String {
    findings.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn line(finding: &Finding) -> String {
    format!("{:<17}{:<9}{}", finding.what, mark(finding.health), finding.found)
}

fn mark(health: Health) -> &'static str {
    match health {
        Health::Good => "ok",
        Health::Lacking => "note",
        Health::Missing => "MISSING",
    }
}
