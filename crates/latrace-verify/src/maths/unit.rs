//! Units and counted nouns behind a number.
//!
//! Policy: a unit that one side leaves out is no difference; two known units of one kind are converted exactly; two
//! other nouns agree if the words of one are among the other's.

use num_bigint::BigInt;

use super::syntax::Rational;

/// A unit's kind, its factor to the kind's base unit as a fraction, and its names.
type Unit = (&'static str, i64, i64, &'static [&'static str]);

const UNITS: [Unit; 46] = [
    ("length", 1, 1_000_000_000, &["nm", "nanometer", "nanometre"]),
    ("length", 1, 1_000, &["mm", "millimeter", "millimetre"]),
    ("length", 1, 100, &["cm", "centimeter", "centimetre"]),
    ("length", 1, 10, &["dm", "decimeter", "decimetre"]),
    ("length", 1, 1, &["m", "meter", "metre"]),
    ("length", 1_000, 1, &["km", "kilometer", "kilometre"]),
    ("length", 254, 10_000, &["in", "inch", "inches"]),
    ("length", 3_048, 10_000, &["ft", "foot", "feet"]),
    ("length", 9_144, 10_000, &["yd", "yard"]),
    ("length", 1_609_344, 1_000, &["mi", "mile"]),
    ("mass", 1, 1_000_000, &["mg", "milligram"]),
    ("mass", 1, 1_000, &["g", "gram"]),
    ("mass", 1, 1, &["kg", "kilogram"]),
    ("mass", 1_000, 1, &["t", "tonne"]),
    ("mass", 45_359_237, 100_000_000, &["lb", "lbs", "pound"]),
    ("mass", 45_359_237, 1_600_000_000, &["oz", "ounce"]),
    ("time", 1, 1_000, &["ms", "millisecond"]),
    ("time", 1, 1, &["s", "sec", "second"]),
    ("time", 60, 1, &["min", "mins", "minute"]),
    ("time", 3_600, 1, &["h", "hr", "hrs", "hour"]),
    ("time", 86_400, 1, &["d", "day"]),
    ("time", 604_800, 1, &["wk", "week"]),
    ("month", 1, 1, &["month"]),
    ("month", 12, 1, &["yr", "year"]),
    ("volume", 1, 1_000, &["ml", "milliliter", "millilitre", "cm^3", "cubic centimeter", "cc"]),
    ("volume", 1, 1, &["l", "liter", "litre", "dm^3"]),
    ("volume", 1_000, 1, &["m^3", "cubic meter", "cubic metre"]),
    ("cubic feet", 1, 1, &["ft^3", "cubic feet", "cubic foot"]),
    ("cubic inches", 1, 1, &["in^3", "cubic inch", "cubic inches"]),
    ("gallon", 1, 1, &["gal", "gallon"]),
    ("area", 1, 1_000_000, &["mm^2", "square millimeter"]),
    ("area", 1, 10_000, &["cm^2", "square centimeter", "square cm", "sq cm"]),
    ("area", 1, 1, &["m^2", "square meter", "square metre", "sq m"]),
    ("area", 1_000_000, 1, &["km^2", "square kilometer", "square km"]),
    ("square feet", 1, 1, &["ft^2", "square feet", "square foot", "sq ft"]),
    ("square feet", 1, 144, &["in^2", "square inch", "square inches", "sq in"]),
    ("square feet", 9, 1, &["yd^2", "square yard"]),
    ("speed", 10, 36, &["km/h", "kph", "kmh", "kilometers per hour", "km per hour", "km/hr"]),
    ("speed", 1, 1, &["m/s", "meters per second"]),
    ("speed", 44_704, 100_000, &["mph", "miles per hour", "mi/h", "miles/hour"]),
    ("money", 1, 1, &["$", "dollar", "usd"]),
    ("money", 1, 100, &["cent", "¢"]),
    ("euro", 1, 1, &["€", "euro", "eur"]),
    ("sterling", 1, 1, &["£", "gbp"]),
    ("angle", 1, 1, &["degree", "deg", "°"]),
    ("radian", 1, 1, &["radian", "rad"]),
];

/// Words that count nothing in particular, so that they never tell two quantities apart.
const EMPTY: [&str; 14] = ["unit", "units", "square", "cubic", "the", "of", "a", "an", "total", "sq", "linear", "per", "approximately", "each"];

fn find(name: &str) -> Option<&'static Unit> {
    let lower = name.trim().trim_end_matches('.').to_lowercase();
    let matches = |unit: &&Unit| unit.3.iter().any(|known| *known == lower || (known.len() > 3 && lower.strip_suffix('s') == Some(known)));
    UNITS.iter().find(matches)
}

/// Whether `name` is a unit with a factor.
pub(crate) fn is_known(name: &str) -> bool {
    find(name).is_some()
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
    match (find(first), find(second)) {
        (Some(one), Some(other)) if one.0 == other.0 => {
            let factor = |unit: &Unit| Rational::new(BigInt::from(unit.1), BigInt::from(unit.2));
            Match::Factor(factor(one) / factor(other))
        }
        (Some(_), Some(_)) => Match::Different,
        _ => {
            let (one, other) = (words(first), words(second));
            let within = |inner: &[String], outer: &[String]| inner.iter().all(|word| outer.contains(word));
            if within(&one, &other) || within(&other, &one) { Match::Same } else { Match::Different }
        }
    }
}

fn words(phrase: &str) -> Vec<String> {
    let lower = phrase.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty() && !EMPTY.contains(word));
    words.map(|word| if word.len() > 3 { word.trim_end_matches('s').to_owned() } else { word.to_owned() }).collect()
}
