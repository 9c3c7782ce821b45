//! No response makes the judge of choices, of words, or the reader of programs panic.
#![no_main]

use latrace_verify::{choice, code, words};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, Vec<String>)| {
    let (gold, response, options) = texts;
    let _ = choice::judge(&[gold.to_owned()], response, Some(&options));
    let _ = words::judge(&[gold.to_owned()], response);
    let _ = code::program(response, code::Fencing::Required);
});
