//! No pair of texts makes the judge of maths panic or run long, and a readable answer equals itself.
#![no_main]

use latrace_verify::{Convention, Verdict, maths};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str)| {
    let (gold, answer) = texts;
    let _ = maths::judge(&[gold.to_owned()], answer, Convention::maths());
    let boxed = format!("\\boxed{{{gold}}}");
    let itself = maths::judge(&[gold.to_owned()], &boxed, Convention::maths());
    if itself.extracted.as_deref() == Some(gold.trim()) {
        assert_ne!(itself.verdict(), Verdict::Wrong, "{gold:?}");
    }
});
