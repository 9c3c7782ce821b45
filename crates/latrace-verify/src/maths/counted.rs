//! What may stand behind a number and leave it as it is: a unit, or the noun of what is counted.
//!
//! Policy: `5 cm`, `5 apples`, `5 white t-shirts`, `5 cups of flour`, `5 dollars per hour`, `5 hours a day`
//! and `5 apples in total` say what 5 says. A noun is known by its plural or is one of `words/nouns.txt`;
//! before it stand adjectives and nouns in the singular. Nothing else is a counted noun: no function words
//! (`5 or more`, `5 at most`, `5 is extraneous`), no verbs (`5 fails`), no adjective alone
//! (`5 extraneous`), no quantities (`5 dozen`, `5 lakh`, `5 k`, `5 halves`), no digits (`5 to 6`), no
//! brackets (`5 (or 6)`). Doubt is a reject: `5 gizmo` and `5 leaves a remainder` are not 5.

use std::collections::HashSet;
use std::sync::LazyLock;

use num_bigint::BigInt;

use super::syntax::Rational;
use super::unit;

/// Words of one kind, from a file of them.
struct Words(HashSet<&'static str>);

impl Words {
    fn read(file: &'static str) -> Words {
        let lines = file.lines().filter(|line| !line.starts_with('#'));
        Words(lines.flat_map(str::split_whitespace).collect())
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(word)
    }

    /// Whether it has the word, or the one that the word is the plural (or, of a verb, the third person) of.
    fn has_stem(&self, word: &str) -> bool {
        self.has(word) || stems(word).any(|stem| self.has(&stem))
    }
}

static FUNCTION_WORDS: LazyLock<Words> =
    LazyLock::new(|| Words::read(include_str!("../../words/function-words.txt")));
static QUANTITIES: LazyLock<Words> =
    LazyLock::new(|| Words::read(include_str!("../../words/quantities.txt")));
static VERBS: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("../../words/verbs.txt")));
static NOUNS: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("../../words/nouns.txt")));
static PLURALS: LazyLock<Words> = LazyLock::new(|| Words::read(include_str!("../../words/plurals.txt")));

/// What a word in -s, -es or -ies may be a form of.
fn stems(word: &str) -> impl Iterator<Item = String> {
    const ENDINGS: [(&str, &str); 4] = [("ies", "y"), ("ves", "f"), ("es", ""), ("s", "")];
    let stems =
        ENDINGS.iter().filter_map(|(ending, stem)| Some(format!("{}{stem}", word.strip_suffix(ending)?)));
    // `pies` are no form of pi.
    stems.filter(|stem| stem.len() > 2)
}

/// Whether a word joins, compares, denies or states something, so that it is no product of letters either.
pub(super) fn is_function_word(word: &str) -> bool {
    FUNCTION_WORDS.has(&word.to_lowercase())
}

/// Whether a word behind a number changes what it says. Two letters may be a product.
pub(super) fn says_more(word: &str) -> bool {
    let lower = word.to_lowercase();
    lower.len() > 2 && (FUNCTION_WORDS.has(&lower) || QUANTITIES.has_stem(&lower))
}

/// Number words behind a number, which multiply it, as fractions.
#[rustfmt::skip]
const SCALES: [(&str, i64, i64); 31] = [
    ("dozen", 12, 1), ("hundred", 100, 1), ("thousand", 1_000, 1), ("lakh", 100_000, 1),
    ("million", 1_000_000, 1), ("crore", 10_000_000, 1), ("billion", 1_000_000_000, 1),
    ("trillion", 1_000_000_000_000, 1),
    ("tens", 10, 1), ("halves", 1, 2), ("thirds", 1, 3), ("fourths", 1, 4), ("fifths", 1, 5),
    ("sixths", 1, 6),
    ("sevenths", 1, 7), ("eighths", 1, 8), ("ninths", 1, 9), ("tenths", 1, 10), ("elevenths", 1, 11),
    ("twelfths", 1, 12), ("thirteenths", 1, 13), ("fourteenths", 1, 14), ("fifteenths", 1, 15),
    ("sixteenths", 1, 16), ("seventeenths", 1, 17), ("eighteenths", 1, 18), ("nineteenths", 1, 19),
    ("twentieths", 1, 20), ("hundredths", 1, 100), ("thousandths", 1, 1_000), ("millionths", 1, 1_000_000),
];

fn scale(word: &str) -> Option<Rational> {
    let lower = word.to_lowercase();
    // `5 hundreds` are 500; a plural of the others would be one of a plural.
    let single = lower.strip_suffix('s').unwrap_or(&lower);
    let is_named = |name: &str| name == lower || (name == single && !name.ends_with('s'));
    let (_, above, below) = SCALES.iter().find(|(name, ..)| is_named(name))?;
    Some(Rational::new(BigInt::from(*above), BigInt::from(*below)))
}

/// The factor of the number words that a unit begins with, and what they count: `hundred thousand dollars`.
pub(super) fn scales(unit: &str) -> (Option<Rational>, &str) {
    let (first, rest) = unit.split_once(' ').unwrap_or((unit, ""));
    let Some(factor) = scale(first) else {
        return (None, unit);
    };
    match scales(rest) {
        (Some(more), rest) => (Some(factor * more), rest),
        (None, rest) => (Some(factor), rest.trim_start_matches("of ")),
    }
}

/// Whether a number with this behind it is that number of something, perhaps times number words.
pub(super) fn is_unit(phrase: &str) -> bool {
    match scales(phrase) {
        (Some(_), "") => true,
        (_, unit) => is_counted(unit),
    }
}

/// Whether a number with this behind it is that number of something.
fn is_counted(phrase: &str) -> bool {
    // `5 % of it` and `5 (cm)` are more than a number and its unit.
    if phrase.len() > MOST_BYTES {
        return false;
    }
    let lower = phrase.to_lowercase();
    let is_part = lower.starts_with("of ") || lower.ends_with(" of") || lower.starts_with("percent ");
    if is_part || phrase.starts_with(['(', '[']) {
        return false;
    }
    is_ordinal_ending(phrase)
        || unit::is_time_of_day(phrase)
        || unit::is_measure(phrase)
        || is_noun_phrase(phrase)
}

// Also a bound on the work: factors of units are multiplied exactly.
/// The longest phrase that is read.
const MOST_BYTES: usize = 120;

/// The letters of `5th`.
fn is_ordinal_ending(phrase: &str) -> bool {
    matches!(phrase, "st" | "nd" | "rd" | "th")
}

fn is_noun_phrase(phrase: &str) -> bool {
    // More words than these are a sentence.
    const MOST_WORDS: usize = 8;
    let spelled = phrase.replace('/', " per ").replace('’', "'");
    let words: Vec<String> = spelled.split_whitespace().map(in_lower_case).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let plain = words.iter().all(|word| is_plain(without_power(word)));
    plain && words.len() <= MOST_WORDS && is_counted_noun(&words)
}

/// A word without its case, but for symbols of units, such as MW.
fn in_lower_case(word: &str) -> String {
    let word = without_abbreviation_mark(word);
    if unit::is_known(word) { word.to_owned() } else { word.to_lowercase() }
}

/// `sq.` without its full stop.
fn without_abbreviation_mark(word: &str) -> &str {
    word.trim_end_matches('.')
}

/// `units` of `units^2`: areas and volumes are counted in powers of a unit, and nothing else is.
fn without_power(word: &str) -> &str {
    let base = word.strip_suffix("^2").or_else(|| word.strip_suffix("^3"));
    base.filter(|base| matches!(*base, "unit" | "units")).unwrap_or(word)
}

/// Letters, with hyphens and apostrophes between them: no digits, no brackets, no punctuation.
fn is_plain(word: &str) -> bool {
    let parts = || word.split(['-', '\'']);
    parts().all(|part| !part.is_empty() && part.chars().all(char::is_alphabetic))
}

/// A noun with what stands before it, and the phrases behind it; or those alone, as in `5 per hour`.
fn is_counted_noun(words: &[&str]) -> bool {
    let Some((first, others)) = words.split_first() else {
        return false;
    };
    // What begins a phrase behind a noun may stand before one too: `5 left turns`.
    let end = 1 + others.iter().position(|word| begins_complement(word)).unwrap_or(others.len());
    let (noun, complements) = words.split_at(end);
    (stands_alone(first) && are_complements(words))
        || (is_noun_with_modifiers(noun) && are_complements(complements))
}

fn is_noun_with_modifiers(words: &[&str]) -> bool {
    match words {
        [modifiers @ .., head] => modifiers.iter().all(|word| is_modifier(word)) && is_noun(head),
        [] => false,
    }
}

/// Words that begin what may stand behind a noun.
fn begins_complement(word: &str) -> bool {
    matches!(word, "of" | "per" | "a" | "an" | "each" | "every" | "in") || is_tail(word)
}

fn is_tail(word: &str) -> bool {
    TAILS.contains(&word) || ADJECTIVES.contains(&word)
}

/// Whether what begins a complement needs no noun before it: `5 of them` is a part of something, and `5 high`
/// lacks its unit.
fn stands_alone(complement: &str) -> bool {
    complement != "of" && !ADJECTIVES.contains(&complement)
}

/// Adjectives behind a unit.
const ADJECTIVES: [&str; 7] = ["old", "long", "wide", "tall", "high", "deep", "thick"];

/// Words behind a noun that leave the number as it is.
const TAILS: [&str; 10] =
    ["away", "left", "remaining", "total", "altogether", "overall", "apart", "daily", "weekly", "together"];

fn are_complements(words: &[&str]) -> bool {
    match words {
        [] => true,
        ["in", "total" | "all", rest @ ..] => are_complements(rest),
        // At the end alone: `5 each way` is followed by a noun.
        ["each"] => true,
        ["of" | "per", rest @ ..] => is_object(rest, is_told),
        ["a" | "an" | "each" | "every", rest @ ..] => is_object(rest, is_noun),
        [word, rest @ ..] => is_tail(word) && are_complements(rest),
    }
}

/// What stands behind a preposition, up to the next complement: words of which the last is a `noun`.
fn is_object(words: &[&str], noun: fn(&str) -> bool) -> bool {
    let words = match words {
        ["the" | "a" | "an", rest @ ..] => rest,
        words => words,
    };
    let end = words.iter().position(|word| begins_complement(word)).unwrap_or(words.len());
    let (object, rest) = words.split_at(end);
    match object {
        [modifiers @ .., head] => {
            modifiers.iter().all(|word| is_told(word)) && noun(head) && are_complements(rest)
        }
        [] => false,
    }
}

/// Whether a word is none that could change the number.
fn is_told(word: &str) -> bool {
    let parts = || std::iter::once(word).chain(word.split(['-', '\'']));
    parts().all(|part| !FUNCTION_WORDS.has(part) && !QUANTITIES.has_stem(part)) && !is_adverb(word)
}

/// `approximately`; of adjectives in -ly, those that nouns often have.
fn is_adverb(word: &str) -> bool {
    word.ends_with("ly")
        && !NOUNS.has(word)
        && !matches!(word, "daily" | "weekly" | "monthly" | "yearly" | "hourly")
}

/// An adjective, or a noun in the singular. What ends like a plural would be a verb: `5 kills birds`.
fn is_modifier(word: &str) -> bool {
    word.len() > 1 && is_told(word) && !is_plural_form(word)
}

fn is_noun(word: &str) -> bool {
    let word = without_power(word);
    // Of a compound the last part is the noun: `push-ups`.
    let last = word.rsplit(['-', '\'']).next().unwrap_or(word);
    is_told(word) && (NOUNS.has(last) || PLURALS.has(last) || is_unit_word(word) || is_plural(last))
}

/// A single letter is no unit among words: `5 red m`.
fn is_unit_word(word: &str) -> bool {
    word.len() > 1 && unit::is_known(word)
}

fn is_plural(word: &str) -> bool {
    is_plural_form(word) && !VERBS.has_stem(word)
}

fn is_plural_form(word: &str) -> bool {
    // `gas` and `bus`, `glass`, `radius` and `basis` are no plurals.
    word.len() > 2 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|ending| word.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(phrases: &[&str], expected: bool) {
        for phrase in phrases {
            assert_eq!(is_counted(phrase), expected, "{phrase:?}");
        }
    }

    #[test]
    fn units_and_nouns_are_counted() {
        check(
            &["cm", "square feet", "sq. ft.", "m/s^2", "N·m", "J/(kg·K)", "GB", "μm", "units^2", "°C", "th"],
            true,
        );
        check(
            &["apples", "white t-shirts", "push-ups", "times", "people", "different ways", "any text"],
            true,
        );
        check(&["cups of flour", "pieces of the chocolate cake", "dollars per hour", "dollars/hour"], true);
        check(
            &["hours a day", "times a day", "per hour", "each", "apples each", "miles away", "feet tall"],
            true,
        );
        check(&["apples left", "left turns", "in total", "apples in all", "years old", "MW of power"], true);
    }

    #[test]
    fn nothing_else_is() {
        check(
            &["or more", "and a half", "at most", "is extraneous", "if n is odd", "of them", "not apples"],
            false,
        );
        check(
            &["extraneous", "rejected", "too small", "gizmo", "high", "old", "roughly", "roughly apples"],
            false,
        );
        check(
            &["fails", "works", "remains", "exceeds limits", "times as many", "times more", "more apples"],
            false,
        );
        check(
            &["half", "quarters", "pair", "couples", "k", "mn", "percent of them", "of a meter", "pi"],
            false,
        );
        check(
            &["r3", "to 6", "apples, oranges", "(or 6)", "(cm)", "apples or", "sets of three", "x m"],
            false,
        );
        check(&["", "-", "apples apples apples apples apples apples apples apples apples"], false);
    }

    #[test]
    fn number_words_multiply() {
        let factor =
            |phrase: &str| scales(phrase).0.map(|factor| (factor.numer().clone(), factor.denom().clone()));
        let check = |phrase: &str, above: i64, below: i64| {
            assert_eq!(factor(phrase), Some((above.into(), below.into())), "{phrase:?}");
        };
        check("dozen eggs", 12, 1);
        check("hundred thousand dollars", 100_000, 1);
        check("Hundreds of apples", 100, 1);
        check("lakh", 100_000, 1);
        check("sevenths", 1, 7);
        assert_eq!(scales("hundred thousand of the dollars").1, "the dollars");
        assert_eq!(factor("seventh"), None);
        assert_eq!(factor("apples"), None);
    }

    #[test]
    fn the_files_have_each_word_once() {
        let files = [&FUNCTION_WORDS, &QUANTITIES, &VERBS, &PLURALS];
        for (at, one) in files.iter().enumerate() {
            for two in &files[at + 1..] {
                assert_eq!(one.0.intersection(&two.0).next(), None);
            }
        }
        let uncounted = FUNCTION_WORDS.0.union(&QUANTITIES.0).copied().collect::<HashSet<_>>();
        assert_eq!(uncounted.intersection(&NOUNS.0).next(), None);
    }
}
