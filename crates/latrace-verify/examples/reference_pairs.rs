//! Which different references does the judge of maths take for the same? Each accepted pair is a convention
//! or a fault, so the list is read by eye.
//!
//! ```sh
//! jq --raw-output '.final_answer[]' olympiadbench.jsonl > references.txt
//! cargo run --release -p latrace-verify --example reference_pairs -- references.txt 2000000
//! ```
//!
//! The file holds references, one per line; of their ordered pairs at most the given number is tried, a
//! seeded sample. Accepted pairs go to standard output, counts to standard error.

use std::collections::BTreeSet;
use std::error::Error;

use latrace_core::random::Rng;
use latrace_verify::{Convention, MathReferences, Verdict};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(most)) = (arguments.next(), arguments.next()) else {
        return Err("usage: reference_pairs REFERENCES.txt MOST_PAIRS".into());
    };
    let text = std::fs::read_to_string(file)?;
    let references: Vec<&str> =
        text.lines().filter(|line| !line.trim().is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
    let judges: Vec<MathReferences> =
        references.iter().map(|&gold| MathReferences::new(vec![gold.to_owned()])).collect();
    let all = references.len() * references.len().saturating_sub(1);
    let tried = all.min(most.parse()?);
    let mut accepted = 0;
    for (gold, answer) in pairs(references.len(), tried) {
        let boxed = format!("\\boxed{{{}}}", references[answer]);
        if judges[gold].judge(&boxed, Convention::maths()).verdict() == Verdict::Correct {
            accepted += 1;
            println!("{}\t{}", references[gold], references[answer]);
        }
    }
    eprintln!(
        "{} different references, {tried} of {all} ordered pairs tried, {accepted} accepted",
        references.len()
    );
    Ok(())
}

/// All ordered pairs of different indices below `count`, or a sample with replacement where there are more than
/// `tried`.
fn pairs(count: usize, tried: usize) -> Box<dyn Iterator<Item = (usize, usize)>> {
    let all = (0..count).flat_map(move |gold| (0..count).map(move |answer| (gold, answer)));
    let different = all.filter(|(gold, answer)| gold != answer);
    if tried == count * count.saturating_sub(1) {
        return Box::new(different);
    }
    let mut rng = Rng::new(1);
    Box::new((0..tried).map(move |_| {
        let gold = rng.below(count);
        // Among the others, each as likely.
        let answer = (gold + 1 + rng.below(count - 1)) % count;
        (gold, answer)
    }))
}
