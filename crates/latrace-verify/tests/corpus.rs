//! The rules of `maths`, each with rows on both sides of its border: `corpus/math.txt`.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use latrace_verify::{Convention, Judgement, MathReferences, Verdict};

/// Reference, answer, expected verdict and why.
type Row = (String, String, Verdict, String);

fn rows() -> Vec<Row> {
    let lines =
        include_str!("corpus/math.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(row).collect()
}

fn row(line: &str) -> Row {
    let (verdict, rest) = line.split_once(" | ").unwrap();
    let (rest, why) = rest.rsplit_once(" | ").unwrap();
    // Bars inside an answer stand without blanks around them.
    let (gold, answer) = rest.split_once(" | ").unwrap();
    let verdict = [Verdict::Correct, Verdict::Wrong, Verdict::Undetermined]
        .into_iter()
        .find(|known| known.name() == verdict)
        .unwrap();
    (gold.to_owned(), answer.to_owned(), verdict, why.to_owned())
}

fn verdict(gold: &str, answer: &str) -> Verdict {
    judged(&[gold], answer).verdict()
}

fn judged(golds: &[&str], answer: &str) -> Judgement {
    let golds = golds.iter().map(|gold| (*gold).to_owned()).collect();
    MathReferences::new(golds).judge(answer, Convention::maths())
}

#[test]
fn every_rule_holds_on_both_sides_of_its_border() {
    let rows = rows();
    let count = |wanted: Verdict| rows.iter().filter(|row| row.2 == wanted).count();
    assert!(count(Verdict::Correct) > 80 && count(Verdict::Wrong) > 70);
    let failed: Vec<String> = rows
        .iter()
        .filter_map(|(gold, answer, expected, why)| {
            let got = judged(&[gold], answer);
            (got.verdict().name() != expected.name())
                .then(|| format!("{gold} | {answer} ({why}): {} for {}", got.reason, expected.name()))
        })
        .collect();
    assert!(failed.is_empty(), "{} rows:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_readable_answer_equals_itself() {
    for (gold, answer, expected, _) in rows() {
        for text in [gold, answer] {
            // Prose around a value, and what cannot be read, is no reference.
            if expected != Verdict::Undetermined {
                let itself = verdict(&text, &format!("\\boxed{{{text}}}"));
                assert_ne!(itself.name(), "wrong", "{text}");
            }
        }
    }
}

#[test]
fn equality_is_symmetric_where_no_row_says_otherwise() {
    for (gold, answer, expected, why) in rows() {
        let one_sided = why.starts_with("one way");
        // What cannot be read equals its own text alone.
        let readable = verdict(&answer, "another text") != Verdict::Undetermined;
        if expected != Verdict::Undetermined && readable && !one_sided {
            assert_eq!(verdict(&answer, &gold).name(), expected.name(), "{answer} | {gold}");
        }
    }
}

#[test]
fn any_of_several_references_will_do() {
    let golds = ["\\frac12", "50\\%"];
    assert_eq!(judged(&golds, "0.5").verdict(), Verdict::Correct);
    assert_eq!(judged(&golds, "0.4").verdict(), Verdict::Wrong);
}

/// References are parsed with the first answer; what that answer was must not matter to the others, and
/// neither must the thread.
#[test]
fn references_that_are_kept_give_the_verdicts_of_fresh_ones() {
    let answers = ["0.5", "1/2", "1,234", "(1, 234)", "1, 234", "\\boxed{1} and \\boxed{234}", "no", ""];
    for gold in ["\\frac12", "1,234", "1, 234", "(", "0.5"] {
        let kept = MathReferences::new(vec![gold.to_owned()]);
        let compare = |answer: &str| {
            assert_eq!(kept.judge(answer, Convention::maths()), judged(&[gold], answer), "{gold} {answer}");
        };
        std::thread::scope(|scope| {
            scope.spawn(|| answers.into_iter().for_each(compare));
            answers.into_iter().rev().for_each(compare);
        });
    }
}

/// Lengths and depths that no answer needs, but long answers have; and what is beyond every answer.
#[test]
fn long_answers_are_read_up_to_a_bound() {
    let nested = |depth: usize| "(".repeat(depth) + "5" + &")".repeat(depth);
    let ones = |count: usize| "1+".repeat(count - 1) + "1";
    let check = |gold: &str, answer: &str, expected: Verdict| {
        assert_eq!(verdict(gold, answer), expected, "{}", &answer[..answer.len().min(40)]);
    };
    check("5", &nested(40), Verdict::Correct);
    check("5", &nested(400), Verdict::Wrong);
    check("9000", &ones(9_000), Verdict::Correct);
    check("11000", &ones(11_000), Verdict::Wrong);
    check("5", &("0".repeat(19_999) + "5"), Verdict::Correct);
    check("5", &("0".repeat(20_000) + "5"), Verdict::Wrong);
    check("5", &(" ".repeat(300_000) + "5"), Verdict::Correct);
    check("5", &format!("\\boxed{{5{}}}", "~".repeat(199_999)), Verdict::Correct);
    check("5", &format!("\\boxed{{5{}}}", "~".repeat(200_000)), Verdict::Wrong);
}

/// Time for which this thread has had a processor, so that other work on the machine does not count.
fn busy() -> std::time::Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

#[test]
fn work_is_bounded() {
    let roots = "\\sqrt{".repeat(3_000) + "2" + &"}".repeat(3_000);
    let hostile = [
        "9^{9^{9^9}}".to_owned(),
        "9^{9^{9^{9^9}}}!".to_owned(),
        "100000!".to_owned(),
        roots,
        "7".repeat(100_000),
        format!("1.{}", "3".repeat(100_000)),
        "\\boxed{5} ".repeat(20_000),
        "\\boxed{".repeat(20_000),
        "{".repeat(100_000),
        "(".repeat(100_000),
        "1+".repeat(50_000) + "1",
        "x".repeat(100_000),
        "(a+b+c+d+e+f)^{40}(a-b-c-d-e-f)^{39}".to_owned(),
        "1,".repeat(20_000) + "1",
        "\\pm 1".repeat(5_000),
        "\\sin(10^{10^{9}})".to_owned(),
        "1e999999999".to_owned(),
        "x^{999999999}+1".to_owned(),
        "\\binom{999999999}{5}".to_owned(),
        "-".repeat(50_000) + "1",
        "2^{0.5^{0.5^{0.5^{-99999999}}}}".to_owned(),
        "\\frac".repeat(30_000),
        // Work that each step allows and that adds up.
        ["3000!"; 2_000].join("+"),
        "3000!!".repeat(50),
        ["\\frac{2999!}{3000!}"; 100].join("+"),
        format!("{}y{}", "(x+".repeat(30), ")^{40}".repeat(30)),
        (1..1_500).map(|at| format!("\\frac{{1}}{{{}}}", 2 * at + 1)).collect::<Vec<_>>().join("+"),
        (1..40).rev().map(|at| format!("(\\ln {at},\\ln {})", at + 1)).collect::<Vec<_>>().join("\\cup "),
        (0..3_000).map(|at| at.to_string()).collect::<Vec<_>>().join("<"),
        "\\frac{1}{1+".repeat(3_000) + "x" + &"}".repeat(3_000),
        "\\prod_{k=1}^{200}(x+ky)".to_owned(),
        "\\sum_{k=1}^{1000} k!".to_owned(),
        "\\sum_{k=1}^{100000000} k".to_owned(),
        "\\sum_{k=1}^n\\sum_{j=1}^n\\sum_{i=1}^n \\sqrt{ijkx}".to_owned(),
        "\\sqrt[3]{x+1}+".repeat(300) + "1",
        "\\frac{".repeat(30_000),
        "\\text{".repeat(30_000),
        "\\{x|".repeat(3_000),
        "|x".repeat(10_000),
        format!("5{}", ", 123".repeat(6_000)),
        // Boxes in boxes, with something else in each.
        format!("{}5{}", "\\boxed{a".repeat(12_000), "}".repeat(12_000)),
        format!("{}5{}", "\\boxed{".repeat(14_000), "}".repeat(14_000)),
        // Found by fuzzing: factorials of thousands at every point, multiplied and divided.
        "lcm1 By!the Integer Root Theorem x".to_owned(),
    ];
    for text in hostile {
        for gold in ["5", "x+1", "lcm1 By!the Integer Root Theorem", text.as_str()] {
            let started = busy();
            let got = verdict(gold, &text);
            let seconds = (busy() - started).as_secs_f64();
            // Twice what it may take where nothing else runs.
            assert!(seconds < 0.2, "{seconds} s for {}", &text[..text.len().min(40)]);
            assert!(
                gold == text || got != Verdict::Correct || text.starts_with("\\boxed{5}"),
                "{}",
                &text[..text.len().min(40)]
            );
        }
    }
}
