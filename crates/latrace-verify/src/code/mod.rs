//! Programs: taken from a response, run against tests in a sandbox, judged by what they print or return.
//!
//! Expected outputs never enter the sandbox of a program, and what it returns is rebuilt from built-in values
//! before it is compared. Without a working sandbox nothing runs and the verdict is undetermined.

mod block;
mod cases;
mod conversation;
mod inside;
mod json;
pub mod launcher;
mod layers;
mod limits;
mod literal;
mod number;
mod output;
mod parts;
mod pickle;
mod sandbox;
pub(crate) mod supervisor;

pub use block::{Fencing, program};
pub use cases::{Check, Test, Tests};
pub use json::Json;
pub use layers::{Layer, LayerState, layers};
pub use limits::Limits;
pub use parts::Unavailable;
pub use sandbox::Sandbox;

use latrace_core::Reason;

use crate::judgement::Judgement;
use conversation::Endings;
use inside::check_code;
use supervisor::{Ending, Run};

/// Whether the program in `prediction` passes all of `tests`; the first that fails gives the reason. `slot`
/// tells runs at the same time apart.
pub fn judge(
    tests: &Tests,
    prediction: &str,
    fencing: Fencing,
    limits: &Limits,
    sandbox: &Sandbox,
    slot: u32,
) -> Judgement {
    let Some(source) = program(prediction, fencing) else {
        return Judgement::new(Reason::NoAnswer, None);
    };
    // Lazily: nothing runs after the first failure.
    let mut reasons = tests.iter().map(|test| judge_one(test, &source, limits, sandbox, slot));
    let reason = reasons.find(|reason| *reason != Reason::Equal).unwrap_or(Reason::Equal);
    Judgement::new(reason, source)
}

fn judge_one(test: &Test, source: &str, limits: &Limits, sandbox: &Sandbox, slot: u32) -> Reason {
    let run = |inside: &[String], input: &str| sandbox.run(inside, source, input, limits, slot);
    match test {
        Test::Printing { input, output } => {
            let run = run(&inside::script(), input);
            after(&run, || output::same_text(output, &String::from_utf8_lossy(&run.stdout)))
        }
        Test::Returning { function, arguments, expected, unwrapped } => {
            // The program shares its process with the harness, and might print what looks like a result; it
            // cannot know the nonce before it runs.
            let nonce = sandbox.nonce();
            let run = run(&inside::call(), &request(&nonce, function.as_deref(), arguments));
            let returned = || output::returned(&run.stdout, &nonce);
            after(&run, || returned().is_some_and(|value| is_expected(expected, &value, *unwrapped)))
        }
        Test::Checking(check) => {
            let endings = sandbox.check(&check.completed(source), check, limits, slot);
            of_check(endings).unwrap_or(Reason::Equal)
        }
    }
}

/// Why a check did not pass, if it did not.
fn of_check(Endings { program, check }: Endings) -> Option<Reason> {
    match (program, check) {
        (_, Ending::NotStarted) | (Ending::NotStarted, _) => Some(Reason::NoSandbox),
        // The program ends when the check does, so that only its limits say more.
        (Ending::Exited(_), Ending::Exited(code)) => match code {
            0 => None,
            check_code::DIFFERENT => Some(Reason::Different),
            check_code::BAD_CHECK => Some(Reason::BadGold),
            _ => Some(Reason::Crashed),
        },
        (Ending::Exited(_), limit) | (limit, _) => Some(failure(limit)),
    }
}

/// What the harness reads.
fn request(nonce: &str, function: Option<&str>, arguments: &[Json]) -> String {
    let text = |text: &str| Json::Text(text.to_owned());
    let fields = [
        ("nonce", text(nonce)),
        ("function", function.map_or(Json::Null, text)),
        ("arguments", Json::List(arguments.to_vec())),
    ];
    Json::Object(fields.map(|(name, value)| (name.to_owned(), value)).to_vec()).to_string()
}

/// Whether a function returned what it should; `unwrapped` if `expected` may be a list around that.
fn is_expected(expected: &Json, value: &Json, unwrapped: bool) -> bool {
    // APPS wraps each expected value in a list of one, and programs return either.
    let inner = expected.list().and_then(<[Json]>::first).filter(|_| unwrapped);
    [Some(expected), inner].into_iter().flatten().any(|expected| output::same_value(expected, value))
}

/// The reason that a run's end gives, or the comparison where it ended well.
fn after(run: &Run, passes: impl FnOnce() -> bool) -> Reason {
    // What a program printed before it failed is not compared: it would pass by luck.
    match run.ending {
        Ending::Exited(0) if passes() => Reason::Equal,
        Ending::Exited(0) => Reason::Different,
        ending => failure(ending),
    }
}

/// The reason that is given for a run that did not end well.
fn failure(ending: Ending) -> Reason {
    match ending {
        Ending::Exited(_) => Reason::Crashed,
        Ending::TimeLimit => Reason::TimeLimit,
        Ending::MemoryLimit => Reason::MemoryLimit,
        Ending::OutputLimit => Reason::OutputLimit,
        Ending::Blocked => Reason::Blocked,
        Ending::NotStarted => Reason::NoSandbox,
    }
}
