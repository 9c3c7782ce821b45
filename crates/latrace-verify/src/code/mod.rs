//! Programs: taken from a response, run against tests in a sandbox, judged by what they print or return.
//!
//! Expected outputs never enter the sandbox. Without a working sandbox nothing runs and the verdict is
//! undetermined.

mod block;
mod cases;
mod inside;
mod json;
pub mod launcher;
mod layers;
mod limits;
mod number;
mod output;
mod parts;
mod pickle;
mod sandbox;
mod supervisor;

pub use block::{Fencing, program};
pub use cases::{Test, Tests};
pub use json::Json;
pub use layers::{Layer, LayerState, layers};
pub use limits::Limits;
pub use parts::Unavailable;
pub use sandbox::Sandbox;

use latrace_core::Reason;

use crate::judgement::Judgement;
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
    let failed = tests
        .iter()
        .map(|test| judge_one(test, &source, limits, sandbox, slot))
        .find(|reason| *reason != Reason::Equal);
    Judgement::new(failed.unwrap_or(Reason::Equal), source)
}

fn judge_one(test: &Test, source: &str, limits: &Limits, sandbox: &Sandbox, slot: u32) -> Reason {
    match test {
        Test::Printing { input, output } => {
            let run = sandbox.run(&inside::script(), source, input, limits, slot);
            after(&run, || output::same_text(output, &String::from_utf8_lossy(&run.stdout)))
        }
        Test::Returning { function, arguments, expected, unwrapped } => {
            let nonce = sandbox.nonce();
            let text = |text: &str| Json::Text(text.to_owned());
            let request = Json::Object(vec![
                ("nonce".to_owned(), text(&nonce)),
                ("function".to_owned(), function.as_deref().map_or(Json::Null, text)),
                ("arguments".to_owned(), Json::List(arguments.clone())),
            ]);
            let request = request.to_string();
            let run = sandbox.run(&inside::harness(), source, &request, limits, slot);
            after(&run, || match output::returned(&run.stdout, &nonce) {
                Some(value) => {
                    output::same_value(expected, &value)
                        || (*unwrapped
                            && expected
                                .list()
                                .and_then(<[Json]>::first)
                                .is_some_and(|inner| output::same_value(inner, &value)))
                }
                None => false,
            })
        }
    }
}

/// The reason that a run's end gives, or the comparison where it ended well.
fn after(run: &Run, passes: impl FnOnce() -> bool) -> Reason {
    match run.ending {
        Ending::Exited(0) if passes() => Reason::Equal,
        Ending::Exited(0) => Reason::Different,
        Ending::Exited(_) => Reason::Crashed,
        Ending::TimeLimit => Reason::TimeLimit,
        Ending::MemoryLimit => Reason::MemoryLimit,
        Ending::OutputLimit => Reason::OutputLimit,
        Ending::Blocked => Reason::Blocked,
        Ending::NotStarted => Reason::NoSandbox,
    }
}
