//! The project's own chores: `cargo xtask check`, and the figures of its documents.

mod bench;
mod boundaries;
mod dependencies;
mod licences;
mod map;
mod notices;
mod sources;

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask check [--fast | --no-tests | --step NAME]
       cargo xtask docs
       cargo xtask bench [--python PROGRAM] [--save]
       cargo xtask map OUT.svg SETTING/SEED ...
       cargo xtask notices OUT

map draws where the method pays, from the summaries of runs; docs/science.md has its command. bench measures training, scoring and sampling beside the machine's limits and xtask/src/bench/baseline.json, which --save writes, and beside PyTorch and vLLM if PROGRAM is a python that has them; nothing else should run meanwhile. docs rewrites the reference pages that are made from the code. notices writes the licences of all that is built in. check runs every check, cheapest first, and stops at the first that fails.
  --fast      without documentation and tests
  --no-tests  without tests
  --step      one check alone";

/// A check: its name, whether `--fast` and `--no-tests` leave it out, how it is done, and what to do when it
/// fails.
struct Step {
    name: &'static str,
    cost: Cost,
    run: fn() -> Result<()>,
    remedy: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Low,
    Documentation,
    Tests,
}

const STEPS: [Step; 8] = [
    Step { name: "format", cost: Cost::Low, run: format, remedy: "run `cargo fmt --all`" },
    Step {
        name: "boundaries",
        cost: Cost::Low,
        run: boundaries::check,
        remedy: "see ARCHITECTURE.md for what each crate may use",
    },
    Step {
        name: "unused dependencies",
        cost: Cost::Low,
        run: dependencies::check,
        remedy: "remove the dependency from that Cargo.toml",
    },
    Step {
        name: "licences",
        cost: Cost::Low,
        run: licences::check,
        remedy: "take another package, or extend the list in xtask/src/licences.rs with a reason",
    },
    Step {
        name: "clippy",
        cost: Cost::Low,
        run: clippy,
        remedy: "run `cargo clippy --workspace --all-targets`; an `allow` needs its reason beside it",
    },
    Step {
        name: "fuzz targets",
        cost: Cost::Documentation,
        run: fuzz_targets,
        remedy: "run `cargo check --manifest-path fuzz/Cargo.toml`",
    },
    Step {
        name: "documentation",
        cost: Cost::Documentation,
        run: documentation,
        remedy: "run `cargo doc --workspace --no-deps`",
    },
    Step { name: "tests", cost: Cost::Tests, run: tests, remedy: "run `cargo test --workspace`" },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bench", arguments @ ..] => return finished(bench::run(arguments)),
        ["docs"] => return finished(rewrite_pages()),
        ["notices", out] => return finished(notices::write(out)),
        ["map", out, runs @ ..] if !runs.is_empty() => return finished(map::draw(out, runs)),
        _ => {}
    }
    let chosen: Vec<&Step> = match arguments.as_slice() {
        ["check"] => up_to(Cost::Tests),
        ["check", "--no-tests"] => up_to(Cost::Documentation),
        ["check", "--fast"] => up_to(Cost::Low),
        ["check", "--step", name] => STEPS.iter().filter(|step| step.name == *name).collect(),
        _ => Vec::new(),
    };
    if chosen.is_empty() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    check(&chosen)
}

fn up_to(most: Cost) -> Vec<&'static Step> {
    STEPS.iter().filter(|step| step.cost <= most).collect()
}

fn check(steps: &[&Step]) -> ExitCode {
    for step in steps {
        println!("{} …", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        let seconds = started.elapsed().as_secs_f64();
        if let Err(error) = outcome {
            println!("{}: failed after {seconds:.1} s\n{error:#}\nwhat to do: {}", step.name, step.remedy);
            return ExitCode::FAILURE;
        }
        println!("{}: passed in {seconds:.1} s", step.name);
    }
    ExitCode::SUCCESS
}

/// The test that compares the pages with the code writes them instead.
fn rewrite_pages() -> Result<()> {
    cargo(&["test", "--package", "latrace", "--test", "docs"], &[("LATRACE_UPDATE_DOCS", "1")])
}

fn finished(outcome: Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    eprintln!("{error:#}");
    ExitCode::FAILURE
}

fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], &[])
}

fn clippy() -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])
}

/// They stand outside the workspace, since their driver is of use to nothing else.
fn fuzz_targets() -> Result<()> {
    cargo(&["check", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/fuzz"], &[])
}

fn documentation() -> Result<()> {
    cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
}

fn tests() -> Result<()> {
    cargo(&["test", "--workspace"], &[])
}

fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let status = Command::new(sources::cargo()).args(arguments).envs(environment.iter().copied()).status()?;
    if !status.success() {
        bail!("`cargo {}` failed", arguments.join(" "));
    }
    Ok(())
}
