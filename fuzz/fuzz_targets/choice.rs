//! No response makes the judge of choices, of words, or the reader of programs panic.
#![no_main]

use latrace_verify::{Convention, choice, code, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, Vec<String>)| {
    let (gold, response, options) = texts;
    for name in Convention::names() {
        if let Ok(convention) = Convention::named(name) {
            let _ = choice::judge(&[gold.to_owned()], response, Some(&options), convention);
            let _ = words::judge(&[gold.to_owned()], response, convention);
        }
    }
    let _ = code::program(response, code::Fencing::Required);
});
