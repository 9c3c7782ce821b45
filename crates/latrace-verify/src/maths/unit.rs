//! Units and counted nouns behind a number.
//!
//! Policy: a unit that one side leaves out is no difference, where it is surely one; units that can be read
//! (powers and quotients of those in `UNITS` and `METRIC`) are converted exactly where they measure the same
//! and differ otherwise; two other nouns agree if the words of one are among the other's. What may stand
//! behind a number at all is in [`counted`](super::counted).

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_traits::{One, Pow};

use super::syntax::Rational;

/// What a unit measures, as powers of base kinds.
type Powers = &'static [(&'static str, i32)];

/// What a unit measures; its factor to that as a fraction; its symbols, whose case counts; and what may stand
/// in any case: its names, in the singular where that differs by an s alone, and symbols like no other.
type Unit = (Powers, i64, i64, &'static [&'static str], &'static [&'static str]);

const LENGTH: Powers = &[("length", 1)];
const AREA: Powers = &[("length", 2)];
const VOLUME: Powers = &[("length", 3)];
const MASS: Powers = &[("mass", 1)];
const TIME: Powers = &[("time", 1)];
const MONTH: Powers = &[("month", 1)];
const CURRENT: Powers = &[("current", 1)];
const CHARGE: Powers = &[("current", 1), ("time", 1)];
const FREQUENCY: Powers = &[("time", -1)];
const FORCE: Powers = &[("mass", 1), ("length", 1), ("time", -2)];
const PRESSURE: Powers = &[("mass", 1), ("length", -1), ("time", -2)];
const ENERGY: Powers = &[("mass", 1), ("length", 2), ("time", -2)];
const POWER: Powers = &[("mass", 1), ("length", 2), ("time", -3)];
const VOLTAGE: Powers = &[("mass", 1), ("length", 2), ("time", -3), ("current", -1)];
const RESISTANCE: Powers = &[("mass", 1), ("length", 2), ("time", -3), ("current", -2)];
const CAPACITY: Powers = &[("mass", -1), ("length", -2), ("time", 4), ("current", 2)];
const INDUCTANCE: Powers = &[("mass", 1), ("length", 2), ("time", -2), ("current", -2)];
const FLUX: Powers = &[("mass", 1), ("length", 2), ("time", -2), ("current", -1)];
const FIELD: Powers = &[("mass", 1), ("time", -2), ("current", -1)];

// Factors are exact by definition: an inch is 2.54 cm, a pound 0.45359237 kg. A month has no length in
// days, a gallon differs between countries, and temperatures differ by more than a factor: each is a kind
// of its own.
#[rustfmt::skip]
const UNITS: [Unit; 53] = [
    (LENGTH, 1, 100, &[], &["cm"]),
    (LENGTH, 1_000, 1, &[], &["km"]),
    (MASS, 1, 1, &[], &["kg"]),
    (LENGTH, 1, 10_000_000_000, &["Å", "Å"], &["ångström", "angstrom"]),
    (LENGTH, 254, 10_000, &[], &["in", "inch", "inches"]),
    (LENGTH, 3_048, 10_000, &[], &["ft", "foot", "feet"]),
    (LENGTH, 9_144, 10_000, &[], &["yd", "yds", "yard"]),
    (LENGTH, 1_609_344, 1_000, &[], &["mi", "mile"]),
    (AREA, 10_000, 1, &["ha"], &["hectare"]),
    (AREA, 40_468_564_224, 10_000_000, &[], &["acre"]),
    (VOLUME, 1, 1_000_000, &[], &["cc"]),
    (&[("gallon", 1)], 1, 1, &[], &["gal", "gallon"]),
    (MASS, 1_000, 1, &["t"], &["tonne"]),
    (MASS, 45_359_237, 100_000_000, &[], &["lb", "lbs", "pound"]),
    (MASS, 45_359_237, 1_600_000_000, &[], &["oz", "ounce"]),
    (TIME, 60, 1, &[], &["min", "minute"]),
    (TIME, 3_600, 1, &["h"], &["hr", "hrs", "hour"]),
    (TIME, 86_400, 1, &["d"], &["day"]),
    (TIME, 604_800, 1, &[], &["wk", "wks", "week"]),
    (TIME, 1_209_600, 1, &[], &["fortnight"]),
    (MONTH, 1, 1, &[], &["month"]),
    (MONTH, 12, 1, &[], &["yr", "yrs", "year"]),
    (MONTH, 120, 1, &[], &["decade"]),
    (MONTH, 1_200, 1, &[], &["century", "centuries"]),
    (&[("money", 1)], 1, 1, &["$"], &["dollar", "usd", "buck"]),
    (&[("money", 1)], 1, 100, &["¢"], &["cent"]),
    (&[("euro", 1)], 1, 1, &["€"], &["euro", "eur"]),
    (&[("sterling", 1)], 1, 1, &["£"], &["gbp"]),
    (&[("yen", 1)], 1, 1, &["¥"], &["yen", "jpy"]),
    (&[("rupee", 1)], 1, 1, &["₹"], &["rupee", "inr"]),
    (&[("yuan", 1)], 1, 1, &["元"], &["yuan", "rmb", "cny"]),
    (&[("angle", 1)], 1, 1, &["°"], &["degree", "deg"]),
    (&[("radian", 1)], 1, 1, &[], &["radian", "rad"]),
    (&[("celsius", 1)], 1, 1, &["°C", "℃"], &["celsius", "°c"]),
    (&[("fahrenheit", 1)], 1, 1, &["°F", "℉"], &["fahrenheit", "°f"]),
    (&[("kelvin", 1)], 1, 1, &["K"], &["kelvin"]),
    (PRESSURE, 101_325, 1, &["atm"], &["atmosphere"]),
    (PRESSURE, 100_000, 1, &["bar"], &[]),
    (ENERGY, 1_000, 1, &[], &["kj"]),
    (ENERGY, 3_600, 1, &["Wh"], &[]),
    (ENERGY, 3_600_000, 1, &[], &["kwh"]),
    (&[("part", 1)], 1, 100, &[], &["percent"]),
    (&[("decibel", 1)], 1, 1, &["dB"], &["decibel"]),
    // Whether a kilobyte has 1,000 or 1,024 bytes is not agreed: each size is a kind, of which a byte is
    // eight.
    (&[("data", 1)], 1, 1, &[], &["bit"]),
    (&[("data", 1)], 8, 1, &[], &["byte"]),
    (&[("kilodata", 1)], 1, 1, &["kb", "kbit"], &["kilobit"]),
    (&[("kilodata", 1)], 8, 1, &["kB", "KB"], &["kilobyte"]),
    (&[("megadata", 1)], 1, 1, &["Mb", "Mbit"], &["megabit"]),
    (&[("megadata", 1)], 8, 1, &["MB"], &["megabyte"]),
    (&[("gigadata", 1)], 1, 1, &["Gb", "Gbit"], &["gigabit"]),
    (&[("gigadata", 1)], 8, 1, &["GB"], &["gigabyte"]),
    (&[("teradata", 1)], 1, 1, &["Tb", "Tbit"], &["terabit"]),
    (&[("teradata", 1)], 8, 1, &["TB"], &["terabyte"]),
];

/// Units that take the prefixes of the metric system, by factors to the base units.
#[rustfmt::skip]
const METRIC: [Unit; 20] = [
    (LENGTH, 1, 1, &["m"], &["meter", "metre"]),
    (MASS, 1, 1_000, &["g"], &["gram", "gramme"]),
    (TIME, 1, 1, &["s"], &["sec", "second"]),
    (VOLUME, 1, 1_000, &["l", "L", "ℓ"], &["liter", "litre"]),
    (CURRENT, 1, 1, &["A"], &["ampere", "amp"]),
    (&[("amount", 1)], 1, 1, &["mol"], &["mole"]),
    (FREQUENCY, 1, 1, &["Hz"], &["hz", "hertz"]),
    (FORCE, 1, 1, &["N"], &["newton"]),
    (PRESSURE, 1, 1, &["Pa"], &["pascal"]),
    (ENERGY, 1, 1, &["J"], &["joule"]),
    (&[("calorie", 1)], 1, 1, &["cal"], &["calorie"]),
    (&[("electronvolt", 1)], 1, 1, &["eV"], &["electronvolt"]),
    (POWER, 1, 1, &["W"], &["watt"]),
    (CHARGE, 1, 1, &["C"], &["coulomb"]),
    (VOLTAGE, 1, 1, &["V"], &["volt"]),
    (RESISTANCE, 1, 1, &["Ω", "Ω"], &["ohm"]),
    (CAPACITY, 1, 1, &["F"], &["farad"]),
    (INDUCTANCE, 1, 1, &["H"], &["henry"]),
    (FLUX, 1, 1, &["Wb"], &["weber"]),
    (FIELD, 1, 1, &["T"], &["tesla"]),
];

/// Metric prefixes: the power of ten, the symbols and the name.
const PREFIXES: [(i32, &[&str], &str); 11] = [
    (-12, &["p"], "pico"),
    (-9, &["n"], "nano"),
    // The micro sign, the Greek letter, and what keyboards have.
    (-6, &["µ", "μ", "u"], "micro"),
    (-3, &["m"], "milli"),
    (-2, &["c"], "centi"),
    (-1, &["d"], "deci"),
    (2, &["h"], "hecto"),
    (3, &["k"], "kilo"),
    (6, &["M"], "mega"),
    (9, &["G"], "giga"),
    (12, &["T"], "tera"),
];

/// Short names of quotients.
const QUOTIENTS: [(&str, &str); 3] = [("mph", "mi/h"), ("kph", "km/h"), ("kmh", "km/h")];

/// Words that count nothing in particular, which do not distinguish quantities.
#[rustfmt::skip]
const EMPTY: [&str; 16] = [
    "unit", "units", "square", "cubic", "the", "of", "a", "an", "in", "total", "sq", "linear", "per", "each",
    "left", "all",
];

/// A unit that was found: what it measures, and its factor to the base units.
struct Found {
    powers: Powers,
    factor: Rational,
}

impl Found {
    fn new((powers, above, below, ..): &Unit, exponent: i32) -> Found {
        let own = Rational::new(BigInt::from(*above), BigInt::from(*below));
        Found { powers, factor: own * Pow::pow(Rational::from_integer(BigInt::from(10)), exponent) }
    }
}

/// The unit of a name. A symbol as it is written goes first: `mW` is no `MW`, and `Mb` no `MB`.
fn find(name: &str) -> Option<Found> {
    let name = name.trim().trim_end_matches('.');
    let lower = name.to_lowercase();
    // Times of day look like picometres.
    if is_time_of_day(&lower) {
        return None;
    }
    by_symbol(name).or_else(|| by_name(&lower))
}

fn by_symbol(symbol: &str) -> Option<Found> {
    let own = UNITS.iter().chain(&METRIC).find(|unit| unit.3.contains(&symbol));
    own.map(|unit| Found::new(unit, 0)).or_else(|| with_metric_prefix(symbol))
}

fn with_metric_prefix(symbol: &str) -> Option<Found> {
    PREFIXES.iter().find_map(|(exponent, symbols, _)| {
        let rest = symbols.iter().find_map(|prefix| symbol.strip_prefix(prefix))?;
        Some(Found::new(METRIC.iter().find(|unit| unit.3.contains(&rest))?, *exponent))
    })
}

fn by_name(lower: &str) -> Option<Found> {
    let is_named = |unit: &&Unit, word: &str| unit.4.iter().any(|known| is_name_of(word, known));
    let own = UNITS.iter().chain(&METRIC).find(|unit| is_named(unit, lower));
    own.map(|unit| Found::new(unit, 0)).or_else(|| {
        PREFIXES.iter().find_map(|(exponent, _, prefix)| {
            let rest = lower.strip_prefix(prefix)?;
            Some(Found::new(METRIC.iter().find(|unit| is_named(unit, rest))?, *exponent))
        })
    })
}

/// Only words have a plural: `ms` are no metres.
fn is_name_of(word: &str, unit: &str) -> bool {
    word == unit || (unit.len() > 2 && word.strip_suffix('s') == Some(unit))
}

/// Whether a word is a unit that can be read.
pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some() || quotient(name).is_some()
}

/// Whether a word is a unit even outside `\text`, where letters side by side are a product: `kT` and `Mg` are
/// read as products, `kHz` and `kg` are not.
pub(crate) fn is_known_among_letters(word: &str) -> bool {
    const MOST_FACTORS: usize = 2;
    let is_metric = || METRIC.iter().any(|unit| unit.3.contains(&word)) || with_metric_prefix(word).is_some();
    is_known(word) && (SPELLED_PLAINLY.contains(&word) || word.len() > MOST_FACTORS || !is_metric())
}

/// Symbols of two letters that are seldom meant as products.
const SPELLED_PLAINLY: [&str; 12] = ["nm", "mm", "cm", "dm", "km", "mg", "kg", "ms", "ml", "mL", "kJ", "Hz"];

/// Whether all of a unit can be read.
pub(crate) fn is_measure(name: &str) -> bool {
    measure(name).is_some()
}

/// Whether a symbol is also short for a large number.
pub(crate) fn is_abbreviation(name: &str) -> bool {
    matches!(name.trim(), "K" | "M" | "B" | "G" | "T")
}

/// Whether it is `am` or `pm`.
pub(crate) fn is_time_of_day(name: &str) -> bool {
    half_of_day(name).is_some()
}

/// `am` or `pm`, however it is written.
fn half_of_day(name: &str) -> Option<&'static str> {
    let plain = name.to_lowercase().replace('.', "");
    ["am", "pm"].into_iter().find(|half| *half == plain)
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
    if first == second || (is_time_of_day(first) && half_of_day(first) == half_of_day(second)) {
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
    matches!(find(money)?.powers, [(kind, 1)] if MONEY.contains(kind)).then_some(money)
}

/// The kinds that prices have.
const MONEY: [&str; 6] = ["money", "euro", "sterling", "yen", "rupee", "yuan"];

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
    let symbols = name.replace(" per ", "/");
    symbols
        .replace(" squared", "^2")
        .replace(" cubed", "^3")
        .replace('²', "^2")
        .replace('³', "^3")
        .replace(['(', ')'], " ")
        .replace(['{', '}'], "")
}

impl Measure {
    /// Multiplies by the units between two slashes, or divides if `sign` is negative.
    fn take_side(&mut self, side: &str, sign: i32) -> Option<()> {
        // `square` and `cubic` stand before the unit that they raise.
        let mut power = 1;
        for word in side.split([' ', '·', '*']).filter(|word| !is_filler(word)) {
            match word.to_lowercase().as_str() {
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
        self.multiply(&find(name)?, power);
        Some(())
    }

    fn multiply(&mut self, unit: &Found, power: i32) {
        for (kind, own) in unit.powers {
            *self.powers.entry(kind).or_default() += own * power;
        }
        self.factor *= Pow::pow(unit.factor.clone(), power);
    }
}

/// An empty text, between two separators, or a word that joins.
fn is_filler(word: &str) -> bool {
    matches!(word, "" | "a" | "an" | "the" | "of")
}

/// The units above and below the slash of a short name, as `mph`.
fn quotient(name: &str) -> Option<(&'static str, &'static str)> {
    QUOTIENTS.iter().find(|(short, _)| name.eq_ignore_ascii_case(short))?.1.split_once('/')
}

/// The words that name what is counted, in the singular.
fn words(phrase: &str) -> Vec<String> {
    let all = phrase.split(|c: char| !c.is_alphanumeric()).map(without_case);
    all.filter(|word| names_something(word)).map(|word| singular(&word)).collect()
}

/// A word in lower case; but not what may be a symbol.
fn without_case(word: &str) -> String {
    if word.len() > 2 { word.to_lowercase() } else { word.to_owned() }
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
        check("N", "kg m/s^2", Some((1, 1)));
        check("kWh", "MJ", Some((36, 10)));
        check("V", "mV", Some((1000, 1)));
        check("μm", "µm", Some((1, 1)));
        check("micrometers", "m", Some((1, 1_000_000)));
        check("cm²", "m²", Some((1, 10_000)));
    }

    #[test]
    fn the_case_of_a_symbol_counts() {
        check("mW", "MW", Some((1, 1_000_000_000)));
        check("MB", "Mb", Some((8, 1)));
        check("GB", "MB", None);
        check("KM", "km", Some((1, 1)));
        check("Hours", "h", Some((1, 1)));
        check("M", "m", None);
        check("MPH", "mph", Some((1, 1)));
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
