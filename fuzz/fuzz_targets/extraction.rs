//! No response makes any convention panic or run long, and what is found is judged as the same text alone is.
#![no_main]

use latrace_verify::{Convention, MathReferences};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|response: &str| {
    let references = MathReferences::new(vec!["42".to_owned()]);
    for name in Convention::names() {
        if let Ok(convention) = Convention::named(name) {
            let _ = references.judge(response, convention);
        }
    }
});
