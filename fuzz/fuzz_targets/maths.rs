//! No pair of texts makes the judge of maths panic or run long, and a readable answer equals itself.
#![no_main]

use latrace_verify::{Convention, MathReferences, Verdict};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str)| {
    let (gold, answer) = texts;
    let references = MathReferences::new(vec![gold.to_owned()]);
    let _ = references.judge(answer, Convention::maths());
    let boxed = format!("\\boxed{{{gold}}}");
    let itself = references.judge(&boxed, Convention::maths());
    if itself.extracted.as_deref() == Some(gold.trim()) {
        assert_ne!(itself.verdict(), Verdict::Wrong, "{gold:?}");
    }
});
