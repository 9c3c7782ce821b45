//! An adversary of choices and of short answers without a box: sentences that name the right letter or number
//! without stating it, wrapped, extended and spliced at random. None may be accepted.
//!
//! Templates are in `adversary_prose/`, by kind. `LATRACE_ADVERSARY_CASES` says how many cases each kind has;
//! an ordinary run tries fewer than the 10,000 of a full one.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

use latrace_verify::{ChoiceReferences, Convention, Judgement, MathReferences, Verdict};

const SEED: u64 = 17;
const FEWEST_TEMPLATES: usize = 30;

/// A generator of random numbers (SplitMix64), so that a case is the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

/// A kind's name and its templates.
type Kind = (&'static str, Vec<&'static str>);

fn kinds(text: &'static str) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(name) => kinds.push((name, Vec::new())),
            None => kinds.last_mut().unwrap().1.push(line),
        }
    }
    assert!(kinds.iter().all(|(_, templates)| templates.len() >= FEWEST_TEMPLATES));
    kinds
}

fn cases_of_kind() -> u64 {
    std::env::var("LATRACE_ADVERSARY_CASES").ok().map_or(500, |count| count.parse().unwrap())
}

/// What may stand before a sentence and say nothing of the answer.
const BEFORE: [&str; 8] = [
    "",
    "",
    "Let us see. ",
    "The question is about a cake.\n\n",
    "We are asked for a length. ",
    "First, read the text carefully.\n",
    "<think>I have no idea.</think>",
    "## Solution\n\n",
];

/// What may stand behind it.
const BEHIND: [&str; 9] = [
    "",
    "",
    ".",
    "\n",
    ".\n\n",
    ". I hope this helps.",
    ". Thank you for asking.",
    ". That is all I can say.",
    "!",
];

/// How a letter or a number may be written.
fn dressed(random: &mut Random, text: &str, styles: &[&str]) -> String {
    random.pick(styles).replace("{}", text)
}

fn sentence(random: &mut Random, template: &str, behind: &[&str]) -> String {
    let mut letters = template.chars();
    let first = letters.next().unwrap();
    let sentence = match random.below(2) {
        0 => first.to_uppercase().chain(letters).collect(),
        _ => template.to_owned(),
    };
    let ends: &[char] = if sentence.ends_with('?') { &['.', '!'] } else { &[] };
    let behind = random.pick(behind).trim_start_matches(ends);
    format!("{}{}{}", random.pick(&BEFORE), sentence.replace("\\n", "\n"), behind)
}

/// The sentence with both answers filled in.
fn filled(sentence: &str, [right, wrong]: [(&str, String); 2]) -> String {
    // Through characters that stand in no template: an answer may look like a place for the other.
    let marked = sentence.replace(right.0, "\u{1}").replace(wrong.0, "\u{2}");
    marked.replace('\u{1}', &right.1).replace('\u{2}', &wrong.1)
}

/// Judges so many cases of each kind, and reports those that were accepted.
fn accepted(text: &'static str, case: impl Fn(&mut Random, &str) -> (String, Judgement)) -> Vec<String> {
    let mut accepted = Vec::new();
    for (at, (name, templates)) in kinds(text).into_iter().enumerate() {
        let mut random = Random(SEED + at as u64);
        for _ in 0..cases_of_kind() {
            let template = random.pick(&templates);
            let (response, judgement) = case(&mut random, template);
            if judgement.verdict() == Verdict::Correct {
                accepted.push(format!("{name}: {response:?} by {template:?}: {:?}", judgement.extracted));
            }
        }
    }
    accepted
}

const OPTIONS: [&str; 4] = ["11 cm", "cheesecake", "-84", "Insufficient information"];

fn choice(random: &mut Random, template: &str) -> (String, Judgement) {
    const LETTERS: [&str; 4] = ["A", "B", "C", "D"];
    const STYLES: [&str; 7] = ["{}", "{}", "({})", "**{}**", "\"{}\"", "$\\text{{}}$", "option {}"];
    let right = usize::try_from(random.below(4)).unwrap();
    let wrong = (right + 1 + usize::try_from(random.below(3)).unwrap()) % 4;
    // A name is not written as an option is.
    let is_name = |template: &str| {
        ["{A}-", "{A} =", "{A}(", "{A}. S", "J. {A}", "{A} m", "x + {A}", "({A})", "{A} {B}", "{A}{B}"]
            .iter()
            .any(|form| template.contains(form))
    };
    let styles: &[&str] = if is_name(template) { &["{}"] } else { &STYLES };
    let said = sentence(random, template, &BEHIND);
    let letters =
        [("{A}", dressed(random, LETTERS[right], styles)), ("{B}", dressed(random, LETTERS[wrong], styles))];
    let response = filled(&said, letters);
    let options = (random.below(2) == 0).then(|| OPTIONS.map(str::to_owned).to_vec());
    let references = ChoiceReferences::new(vec![LETTERS[right].to_owned()], options);
    let judgement = references.judge(&response, Convention::choices());
    (response, judgement)
}

fn number(random: &mut Random, template: &str) -> (String, Judgement) {
    const STYLES: [&str; 6] = ["{}", "{}", "${}$", "\\({}\\)", "**{}**", "{}"];
    let right = random.below(997) + 3;
    let wrong = right + 1 + random.below(50);
    let is_plain = template.contains("{{n}")
        || template.contains("}{")
        || template.contains("-{n}")
        || template.contains("{n}k");
    let styles: &[&str] = if is_plain { &["{}"] } else { &STYLES };
    // A number before an exclamation mark may be a factorial.
    let said = sentence(random, template, &BEHIND[..BEHIND.len() - 1]);
    let numbers = [
        ("{n}", dressed(random, &right.to_string(), styles)),
        ("{m}", dressed(random, &wrong.to_string(), styles)),
    ];
    let response = filled(&said, numbers);
    let judgement = MathReferences::new(vec![right.to_string()]).judge(&response, Convention::maths());
    (response, judgement)
}

#[track_caller]
fn assert_none(accepted: &[String]) {
    let shown = accepted.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(accepted.is_empty(), "{} cases:\n{shown}", accepted.len());
}

#[test]
fn no_sentence_that_chooses_nothing_is_a_choice() {
    assert_none(&accepted(include_str!("adversary_prose/choice.txt"), choice));
}

#[test]
fn no_sentence_that_concludes_nothing_is_an_answer() {
    assert_none(&accepted(include_str!("adversary_prose/number.txt"), number));
}

/// The other side of the border: sentences that state the same letters and numbers are accepted.
#[test]
fn sentences_that_state_an_answer_are_accepted() {
    let stated = include_str!("adversary_prose/stated.txt");
    let lines = stated.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut random = Random(SEED);
    let mut refused = Vec::new();
    for template in lines {
        let judge = if template.contains("{A}") { choice } else { number };
        for _ in 0..20 {
            let (response, judgement) = judge(&mut random, template);
            if judgement.verdict() != Verdict::Correct {
                refused.push(format!("{response:?} by {template:?}: {:?}", judgement.extracted));
            }
        }
    }
    assert_none(&refused);
}
