//! Units and counted nouns behind a number.
//!
//! Policy: a unit that one side leaves out is no difference; units that can be read (powers and quotients of
//! those in `UNITS`) are converted exactly where they measure the same and differ otherwise; two other nouns
//! agree if the words of one are among the other's.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_traits::{One, Pow};

use super::syntax::Rational;

/// What a unit measures and to which power, its factor to that as a fraction, and its names.
type Unit = (&'static str, i32, i64, i64, &'static [&'static str]);

// Factors are exact by definition: an inch is 2.54 cm, a pound 0.45359237 kg. A month has no length in days, a
// gallon differs between countries, and temperatures differ by more than a factor: each is a kind of its own.
const UNITS: [Unit; 41] = [
    ("length", 1, 1, 1_000_000_000, &["nm", "nanometer", "nanometre"]),
    ("length", 1, 1, 10_000_000_000, &["ångström", "angstrom"]),
    ("length", 1, 1, 1_000, &["mm", "millimeter", "millimetre"]),
    ("length", 1, 1, 100, &["cm", "centimeter", "centimetre"]),
    ("length", 1, 1, 10, &["dm", "decimeter", "decimetre"]),
    ("length", 1, 1, 1, &["m", "meter", "metre"]),
    ("length", 1, 1_000, 1, &["km", "kilometer", "kilometre"]),
    ("length", 1, 254, 10_000, &["in", "inch", "inches"]),
    ("length", 1, 3_048, 10_000, &["ft", "foot", "feet"]),
    ("length", 1, 9_144, 10_000, &["yd", "yard"]),
    ("length", 1, 1_609_344, 1_000, &["mi", "mile"]),
    ("mass", 1, 1, 1_000_000, &["mg", "milligram"]),
    ("mass", 1, 1, 1_000, &["g", "gram"]),
    ("mass", 1, 1, 1, &["kg", "kilogram"]),
    ("mass", 1, 1_000, 1, &["t", "tonne"]),
    ("mass", 1, 45_359_237, 100_000_000, &["lb", "lbs", "pound"]),
    ("mass", 1, 45_359_237, 1_600_000_000, &["oz", "ounce"]),
    ("time", 1, 1, 1_000, &["ms", "millisecond"]),
    ("time", 1, 1, 1, &["s", "sec", "second"]),
    ("time", 1, 60, 1, &["min", "mins", "minute"]),
    ("time", 1, 3_600, 1, &["h", "hr", "hrs", "hour"]),
    ("time", 1, 86_400, 1, &["d", "day"]),
    ("time", 1, 604_800, 1, &["wk", "week"]),
    ("month", 1, 1, 1, &["month"]),
    ("month", 1, 12, 1, &["yr", "year"]),
    ("length", 3, 1, 1_000_000, &["ml", "milliliter", "millilitre", "cc"]),
    ("length", 3, 1, 1_000, &["l", "liter", "litre"]),
    ("gallon", 1, 1, 1, &["gal", "gallon"]),
    ("money", 1, 1, 1, &["$", "dollar", "usd"]),
    ("money", 1, 1, 100, &["cent", "¢"]),
    ("euro", 1, 1, 1, &["€", "euro", "eur"]),
    ("sterling", 1, 1, 1, &["£", "gbp"]),
    ("angle", 1, 1, 1, &["degree", "deg", "°"]),
    ("radian", 1, 1, 1, &["radian", "rad"]),
    ("celsius", 1, 1, 1, &["celsius", "°c"]),
    ("fahrenheit", 1, 1, 1, &["fahrenheit", "°f"]),
    ("force", 1, 1, 1, &["n", "newton"]),
    ("energy", 1, 1, 1, &["j", "joule"]),
    ("energy", 1, 1_000, 1, &["kj", "kilojoule"]),
    ("power", 1, 1, 1, &["w", "watt"]),
    ("part", 1, 1, 100, &["percent"]),
];

/// Short names of quotients.
const QUOTIENTS: [(&str, &str); 3] = [("mph", "mi/h"), ("kph", "km/h"), ("kmh", "km/h")];

/// Words that count nothing in particular, which do not distinguish quantities.
#[rustfmt::skip]
const EMPTY: [&str; 14] = [
    "unit", "units", "square", "cubic", "the", "of", "a", "an", "total", "sq", "linear", "per",
    "approximately", "each",
];

fn find(name: &str) -> Option<&'static Unit> {
    let lower = name.trim().trim_end_matches('.').to_lowercase();
    UNITS.iter().find(|unit| unit.4.iter().any(|known| is_name_of(&lower, known)))
}

/// Only words have a plural: `ms` are no metres.
fn is_name_of(word: &str, unit: &str) -> bool {
    word == unit || (unit.len() > 3 && word.strip_suffix('s') == Some(unit))
}

/// Whether a word begins a unit that can be read.
pub(crate) fn is_known(name: &str) -> bool {
    find(micro(name).unwrap_or(name)).is_some()
        || QUOTIENTS.iter().any(|(short, _)| *short == name.to_lowercase())
}

/// The unit of which a name, as `μm` or `microseconds`, is the millionth part.
fn micro(name: &str) -> Option<&str> {
    let symbol = name.strip_prefix(['μ', 'µ']);
    symbol.or_else(|| name.strip_prefix("micro").filter(|unit| unit.len() > 1))
}

/// How two units go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The same.
    Same,
    /// The first is this many of the second.
    Factor(Rational),
    /// They measure different things.
    Different,
}

/// Compares two units.
pub(crate) fn compare(first: &str, second: &str) -> Match {
    if first == second {
        return Match::Same;
    }
    // 5 dollars answers a question for dollars per hour; which hour is in the question.
    match (price(first), price(second)) {
        (Some(money), None) => return compare(money, second),
        (None, Some(money)) => return compare(first, money),
        _ => {}
    }
    match (measure(first), measure(second)) {
        (Some(one), Some(other)) if one.powers == other.powers => Match::Factor(one.factor / other.factor),
        (Some(_), Some(_)) => Match::Different,
        _ if count_the_same(&words(first), &words(second)) => Match::Same,
        _ => Match::Different,
    }
}

/// `apples` and `red apples`: an adjective makes no other unit.
fn count_the_same(one: &[String], other: &[String]) -> bool {
    all_in(one, other) || all_in(other, one)
}

fn all_in(words: &[String], others: &[String]) -> bool {
    words.iter().all(|word| others.contains(word))
}

/// The money in `dollars per hour`: what a price is for may be left out.
fn price(unit: &str) -> Option<&str> {
    let (money, _) = unit.split_once(" per ").or_else(|| unit.split_once('/'))?;
    matches!(find(money)?.0, "money" | "euro" | "sterling").then_some(money)
}

/// What a unit measures: powers of kinds, and the factor to their base units.
#[derive(Clone, Debug)]
struct Measure {
    powers: BTreeMap<&'static str, i32>,
    factor: Rational,
}

/// Reads `m/s^2`, `square feet`, `miles per hour`, `kg m^{-3}`; `None` where a part of it is no unit.
fn measure(name: &str) -> Option<Measure> {
    let mut measure = Measure { powers: BTreeMap::new(), factor: Rational::one() };
    for (at, side) in spelled(name).split('/').enumerate() {
        // `a/b/c` divides by both.
        measure.take_side(side, if at == 0 { 1 } else { -1 })?;
    }
    // `m/m` measures nothing, and must not differ from a number without a unit.
    measure.powers.retain(|_, power| *power != 0);
    (!measure.powers.is_empty()).then_some(measure)
}

fn spelled(name: &str) -> String {
    let symbols = name.to_lowercase().replace(" per ", "/");
    symbols.replace(" squared", "^2").replace(" cubed", "^3").replace(['(', ')'], " ").replace(['{', '}'], "")
}

impl Measure {
    /// Multiplies by the units between two slashes, or divides if `sign` is negative.
    fn take_side(&mut self, side: &str, sign: i32) -> Option<()> {
        // `square` and `cubic` stand before the unit that they raise.
        let mut power = 1;
        for word in side.split([' ', '·', '*']).filter(|word| !is_filler(word)) {
            match word {
                "square" | "sq" | "sq." => power = 2,
                "cubic" | "cu" | "cu." => power = 3,
                _ => self.take(word, sign * std::mem::replace(&mut power, 1))?,
            }
        }
        Some(())
    }

    /// Multiplies by a word, perhaps with a power behind it, to the power `times`.
    fn take(&mut self, word: &str, times: i32) -> Option<()> {
        // No power is meant to be higher.
        const MOST_POWER: i32 = 6;
        let (name, power) = word.split_once('^').unwrap_or((word, "1"));
        if let Some((above, below)) = quotient(name) {
            self.take(above, times)?;
            return self.take(below, -times);
        }
        let power = power.parse::<i32>().ok().filter(|power| power.abs() <= MOST_POWER)? * times;
        let part = micro(name);
        self.multiply(find(part.unwrap_or(name))?, power);
        if part.is_some() {
            self.factor *= Pow::pow(Rational::new(BigInt::one(), BigInt::from(1_000_000)), power);
        }
        Some(())
    }

    fn multiply(&mut self, (kind, own, above, below, _): &'static Unit, power: i32) {
        *self.powers.entry(kind).or_default() += own * power;
        let factor = Rational::new(BigInt::from(*above), BigInt::from(*below));
        self.factor *= Pow::pow(factor, power);
    }
}

/// An empty text, between two separators, or a word that joins.
fn is_filler(word: &str) -> bool {
    matches!(word, "" | "a" | "an" | "the" | "of")
}

/// The units above and below the slash of a short name, as `mph`.
fn quotient(name: &str) -> Option<(&'static str, &'static str)> {
    QUOTIENTS.iter().find(|(short, _)| *short == name)?.1.split_once('/')
}

/// The words that name what is counted, in the singular.
fn words(phrase: &str) -> Vec<String> {
    let lower = phrase.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| names_something(word)).map(singular).collect()
}

fn names_something(word: &str) -> bool {
    !word.is_empty() && !EMPTY.contains(&word)
}

fn singular(word: &str) -> String {
    // `gas` and `bus` are no plurals.
    if word.len() > 3 { word.trim_end_matches('s').to_owned() } else { word.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(first: &str, second: &str, expected: Option<(i64, i64)>) {
        let got = match compare(first, second) {
            Match::Same => Some(Rational::one()),
            Match::Factor(factor) => Some(factor),
            Match::Different => None,
        };
        assert_eq!(
            got,
            expected.map(|(above, below)| Rational::new(above.into(), below.into())),
            "{first:?} {second:?}"
        );
    }

    #[test]
    fn what_measures_the_same_is_converted() {
        check("km/h", "m/s", Some((10, 36)));
        check("miles per hour", "mph", Some((1, 1)));
        check("square feet", "ft^2", Some((1, 1)));
        check("sq in", "square feet", Some((1, 144)));
        check("cm^3", "ml", Some((1, 1)));
        check("cubic meters", "liters", Some((1000, 1)));
        check("m s^-2", "m/s^2", Some((1, 1)));
        check("m s^{-2}", "m/s^2", Some((1, 1)));
        check("μm", "m", Some((1, 1_000_000)));
        check("μm^2", "m^2", Some((1, 1_000_000_000_000)));
        check("microseconds", "μs", Some((1, 1)));
        check("dollars", "cents", Some((100, 1)));
        check("dollars per apple", "dollars", Some((1, 1)));
        check("dollars", "$ per hour", Some((1, 1)));
    }

    #[test]
    fn every_unit_is_so_many_of_another() {
        let table = [
            ("km", "m", 1000, 1),
            ("m", "dm", 10, 1),
            ("m", "cm", 100, 1),
            ("m", "mm", 1000, 1),
            ("mm", "nm", 1_000_000, 1),
            ("nm", "angstrom", 10, 1),
            ("inch", "cm", 254, 100),
            ("foot", "inch", 12, 1),
            ("yard", "foot", 3, 1),
            ("mile", "yard", 1760, 1),
            ("kg", "g", 1000, 1),
            ("g", "mg", 1000, 1),
            ("tonne", "kg", 1000, 1),
            ("pound", "ounce", 16, 1),
            ("pound", "kg", 45_359_237, 100_000_000),
            ("s", "ms", 1000, 1),
            ("minute", "s", 60, 1),
            ("hour", "minute", 60, 1),
            ("day", "hour", 24, 1),
            ("week", "day", 7, 1),
            ("year", "month", 12, 1),
            ("litre", "ml", 1000, 1),
            ("litre", "cubic dm", 1, 1),
            ("dollar", "cent", 100, 1),
            ("kj", "joule", 1000, 1),
            ("m^6", "cm^6", 1_000_000_000_000, 1),
        ];
        for (one, other, above, below) in table {
            check(one, other, Some((above, below)));
            check(other, one, Some((below, above)));
        }
        // No power is meant to be that high.
        check("m^7", "cm^7", None);
    }

    #[test]
    fn what_measures_another_thing_differs() {
        check("m/s", "m/s^2", None);
        check("cm", "cm^2", None);
        check("dollars per hour", "euros", None);
        check("dollars per hour", "dollars per day", Some((24, 1)));
        check("kg", "m", None);
        check("apples", "oranges", None);
        check("apples", "red apples", Some((1, 1)));
        check("miles", "miles away", Some((1, 1)));
        check("units", "cm", Some((1, 1)));
    }
}
