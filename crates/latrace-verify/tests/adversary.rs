//! An adversary that knows a right answer tries to pass wrong ones: negated, hedged, extended, wrapped and
//! replaced as `corpus/adversary.txt` says, around random values. Nothing of it may be accepted, since training
//! would find it; what its last section does to an answer, which keeps it right, may not be refused.
//!
//! `LATRACE_ADVERSARY_CASES=10000` sets the tries of each section.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use std::collections::BTreeMap;

use latrace_core::random::Rng;
use latrace_verify::{Convention, MathReferences, Verdict};

const SEED: u64 = 20_261_130;

/// What a template applies to, from the widest to the narrowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Any,
    Number,
    Integer,
}

struct Template {
    kind: Kind,
    text: &'static str,
}

/// The templates by section, in the order of the file.
fn sections() -> Vec<(&'static str, Vec<Template>)> {
    let mut sections: Vec<(&str, Vec<Template>)> = Vec::new();
    for line in include_str!("corpus/adversary.txt").lines() {
        if let Some(name) = line.strip_prefix("## ") {
            sections.push((name, Vec::new()));
        } else if !line.is_empty() && !line.starts_with('#') {
            sections.last_mut().unwrap().1.push(template(line));
        }
    }
    sections
}

fn template(line: &'static str) -> Template {
    let (kind, text) = line.split_once(" | ").unwrap();
    let kind = match kind {
        "any" => Kind::Any,
        "number" => Kind::Number,
        "integer" => Kind::Integer,
        other => panic!("unknown kind {other}"),
    };
    Template { kind, text }
}

/// A random value that a template of `kind` applies to. `above` is below every number in it, so that values
/// drawn above 3 and above 1000 differ, and those with several members share none.
fn value(kind: Kind, form: usize, above: u64, rng: &mut Rng) -> String {
    let forms = match kind {
        Kind::Integer => 2,
        Kind::Number => 4,
        Kind::Any => 11,
    };
    let mut number = || above + 1 + rng.below(900) as u64;
    let (a, b, c) = (number(), number(), number());
    match form % forms {
        0 => a.to_string(),
        1 => format!("-{a}"),
        2 => format!("{a}.{}5", b % 10),
        3 => format!("{}", a * 1_000_003),
        // In lowest terms, because neighbours have no common divisor.
        4 => format!("\\frac{{{a}}}{{{}}}", a + 1),
        5 => format!("{a}\\sqrt{{{}}}", [2, 3, 5, 7, 11][(b % 5) as usize]),
        6 => format!("{a}x^2+{b}x-{c}"),
        7 => format!("({a}, {})", a + b),
        8 => format!("[{a}, {})", a + b),
        9 => format!("\\{{{a}, {}, {}\\}}", a + b, a + b + c),
        _ => format!("{a}\\pi"),
    }
}

fn tries() -> usize {
    std::env::var("LATRACE_ADVERSARY_CASES").ok().map_or(600, |tries| tries.parse().unwrap())
}

fn is_accepted(gold: &str, answer: &str) -> bool {
    let judged = MathReferences::new(vec![gold.to_owned()])
        .judge(&format!("We get $\\boxed{{{answer}}}$."), Convention::maths());
    judged.verdict() == Verdict::Correct
}

/// Templates of `section` whose verdict was not `expected`, each with its count and first example.
fn failures(name: &str, section: &[Template], expected: bool) -> BTreeMap<&'static str, (usize, String)> {
    let mut failed = BTreeMap::new();
    for index in 0..tries() {
        let template = &section[index % section.len()];
        let mut rng = Rng::at(SEED, &[name.len() as u64, index as u64]);
        let form = index / section.len();
        let gold = value(template.kind, form, 3, &mut rng);
        let other = value(template.kind, form, 1000, &mut rng);
        let answer = template.text.replace("{G}", &gold).replace("{O}", &other);
        if is_accepted(&gold, &answer) != expected {
            failed.entry(template.text).or_insert((0, format!("{gold} | {answer}"))).0 += 1;
        }
    }
    failed
}

#[test]
fn nothing_wrong_is_accepted_and_nothing_right_refused() {
    let mut failed = Vec::new();
    for (name, section) in sections() {
        for (template, (count, example)) in failures(name, &section, name == "keeps") {
            failed.push(format!("{name}: {template}: {count}, as {example}"));
        }
    }
    assert!(failed.is_empty(), "{} templates:\n{}", failed.len(), failed.join("\n"));
}
