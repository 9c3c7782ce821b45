//! What holds for every answer, tried on random ones.

use std::time::Duration;

use latrace_verify::{
    ChoiceReferences, Convention, Judgement, MathReferences, Verdict, WordReferences, code,
};
use proptest::prelude::*;

/// Time for which this thread has had a processor.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn verdict(gold: &str, answer: &str) -> Verdict {
    judged(gold, &format!("\\boxed{{{answer}}}")).verdict()
}

fn judged(gold: &str, answer: &str) -> Judgement {
    MathReferences::new(vec![gold.to_owned()]).judge(answer, Convention::maths())
}

/// Text that looks like an answer: pieces of notation in any order.
fn notation() -> impl Strategy<Value = String> {
    let pieces = [
        "1",
        "2",
        "10",
        "0.5",
        "x",
        "n",
        "\\pi",
        "e",
        "i",
        "+",
        "-",
        "*",
        "/",
        "^",
        "_",
        "(",
        ")",
        "[",
        "]",
        "\\{",
        "\\}",
        "{",
        "}",
        ",",
        "=",
        "<",
        "\\le ",
        "\\frac",
        "\\frac{1}{2}",
        "\\sqrt",
        "\\sqrt[3]{2}",
        "\\pm ",
        "\\infty",
        "\\cup ",
        "|",
        "!",
        "\\%",
        "^\\circ",
        "\\text{ cm}",
        "\\text{ or }",
        " ",
        "\\sin ",
        "\\log_2 ",
        "\\binom",
        ":",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "\\boxed",
        "$",
        "\\sum_{k=1}^{n}",
        "\\in ",
        "\\overline",
        "99999999999999999999",
        "mod",
        "é",
        "\\",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..25).prop_map(|pieces| pieces.concat())
}

/// A readable expression of one variable. It has no zero, since a product with one is refused.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (1..1000_i64).prop_map(|value| value.to_string()),
        Just("x".to_owned()),
        Just("\\pi".to_owned()),
        (1..9_u8, 1..9_u8).prop_map(|(a, b)| format!("\\frac{{{a}}}{{{b}}}"))
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            two.clone().prop_map(|(a, b)| format!("({a}+{b})")),
            two.clone().prop_map(|(a, b)| format!("({a}-{b})")),
            two.prop_map(|(a, b)| format!("({a})({b})")),
            inner.clone().prop_map(|a| format!("\\sqrt{{{a}}}")),
            inner.clone().prop_map(|a| format!("({a})^{{2}}")),
            inner.prop_map(|a| format!("\\sin({a})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_a_judge_panic_or_run_long(gold in notation(), answer in notation()) {
        let started = busy();
        let golds = vec![gold.clone()];
        let _ = judged(&gold, &answer);
        let _ = WordReferences::new(&golds).judge(&answer, Convention::words());
        let _ = ChoiceReferences::new(golds, None).judge(&answer, Convention::choices());
        let _ = code::program(&answer, code::Fencing::Required);
        prop_assert!(busy() - started < Duration::from_secs(1), "{gold:?} {answer:?}");
    }

    #[test]
    fn a_readable_answer_equals_itself(gold in notation()) {
        let boxed = format!("\\boxed{{{gold}}}");
        let judged = judged(&gold, &boxed);
        // A reference with a box in it, or braces that end the box early, is not what was boxed.
        if judged.extracted.as_deref() == Some(gold.trim()) && !gold.contains("boxed") {
            prop_assert_ne!(judged.verdict(), Verdict::Wrong, "{:?}", gold);
        }
    }

    #[test]
    fn equality_survives_rewriting_and_no_number_equals_the_next(one in expression(), two in expression()) {
        prop_assert_eq!(verdict(&one, &one), Verdict::Correct);
        prop_assert_eq!(verdict(&format!("{one}+{two}"), &format!("{two}+{one}")), Verdict::Correct);
        prop_assert_eq!(verdict(&format!("2({one})"), &format!("({one})+{one}")), Verdict::Correct);
        prop_assert_eq!(verdict(&one, &format!("{one}+1")), Verdict::Wrong);
        prop_assert_eq!(verdict(&one, &two), verdict(&two, &one));
    }

    #[test]
    fn signs_count_whatever_the_names(one in "[a-df-hj-z]", two in "[A-Z]") {
        prop_assert_eq!(verdict(&one, &format!("|{one}|")), Verdict::Wrong);
        prop_assert_eq!(verdict(&format!("{one}|{two}|"), &format!("|{one}|{two}")), Verdict::Wrong);
        prop_assert_eq!(verdict(&format!("\\sqrt{{{one}^2}}"), &format!("|{one}|")), Verdict::Correct);
    }

    #[test]
    fn integers_of_any_size_are_exact(digits in "[1-9][0-9]{0,60}", place in 0..60_usize) {
        let mut other = digits.clone().into_bytes();
        let place = place % other.len();
        other[place] = if other[place] == b'9' { b'8' } else { other[place] + 1 };
        let other = String::from_utf8(other).unwrap_or_default();
        prop_assert_eq!(verdict(&digits, &digits), Verdict::Correct);
        prop_assert_eq!(verdict(&digits, &other), Verdict::Wrong);
        prop_assert_eq!(verdict(&format!("{digits}/7"), &format!("{other}/7")), Verdict::Wrong);
    }

    #[test]
    fn any_text_may_be_tests(text in ".{0,200}") {
        let _ = code::Tests::read(&code::Json::Text(text.clone()));
        let packed = ("private_test_cases".to_owned(), code::Json::Text(text));
        let _ = code::Tests::read(&code::Json::Object(vec![packed]));
    }
}
