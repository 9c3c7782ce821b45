//! No response makes the judge of choices, of words, or the reader of programs panic.
#![no_main]

use latrace_verify::{ChoiceReferences, Convention, WordReferences, code};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, Vec<String>)| {
    let (gold, response, options) = texts;
    let golds = vec![gold.to_owned()];
    let words = WordReferences::new(&golds);
    let choices = ChoiceReferences::new(golds, Some(options));
    for name in Convention::names() {
        if let Ok(convention) = Convention::named(name) {
            let _ = choices.judge(response, convention);
            let _ = words.judge(response, convention);
        }
    }
    let _ = code::program(response, code::Fencing::Required);
});
