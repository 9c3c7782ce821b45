//! The torchrun engine: with a shell script in place of its ranks, and, where `LATRACE_PYTHON` names a Python that has
//! PyTorch and transformers, with real ranks on the CPU. Without a test harness, since children are started through
//! this binary.

#![allow(
    clippy::unwrap_used,
    reason = "tests fail where they stand; without a harness, clippy does not see them as tests"
)]

mod fake;
mod real;
mod shared;

use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    if let Some(code) = latrace_engine::child::hidden() {
        return code;
    }
    // As of the usual harness: only tests whose name has this.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let real = if real::python().is_some() { real::TESTS } else { &[] };
    for (name, test) in fake::TESTS.iter().chain(real).filter(|(name, _)| name.contains(&filter)) {
        let start = Instant::now();
        test();
        println!("test {name} ... ok ({:.1} s)", start.elapsed().as_secs_f64());
    }
    // There is none if no scorer was tested.
    let _ = std::fs::remove_dir_all(shared::scoring_folder());
    if real.is_empty() {
        println!(
            "NOT TESTED: torchrun with real ranks; set LATRACE_PYTHON to a Python that has torch and transformers"
        );
    }
    ExitCode::SUCCESS
}
