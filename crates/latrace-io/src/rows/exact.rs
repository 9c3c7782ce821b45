//! Values of rows that JSON in memory has no type for: numbers that 64 bits would round, and bytes.
//!
//! Each is an object of one field whose name no file has. [`describe`](super::describe) names them for what they are, so
//! that whoever expects something else refuses them; [`number_text`] and [`number_of`] read numbers of both kinds; writers
//! write the number, or the bytes.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Number, Value, json};

use super::Row;

const NUMBER: &str = "\u{0}number";
const BYTES: &str = "\u{0}bytes";

/// A number from its text in JSON, exactly.
///
/// # Errors
/// A text that is no number.
pub(crate) fn number(text: &str) -> serde_json::Result<Value> {
    if let Ok(number) = serde_json::from_str::<Number>(text)
        && holds(&number, text)
    {
        return Ok(Value::Number(number));
    }
    // Checked as JSON: a number out of range is one, and other texts are not.
    let raw: &RawValue = serde_json::from_str(text)?;
    Ok(json!({ NUMBER: raw.get() }))
}

/// Whether a number in memory is the one of the text.
fn holds(number: &Number, text: &str) -> bool {
    let is_integer = || !text.contains(['.', 'e', 'E']);
    // An integer that became a float would be written as one, whatever its value.
    !number.is_f64() || (decimal(&number.to_string()) == decimal(text) && (text == "-0" || !is_integer()))
}

/// The digits of a decimal without zeros at either end, and its exponent; nothing for zero. `None` for an exponent out
/// of all bounds.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    let (is_negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let dropped = (digits.len() - significant.len()) as i64;
    Some((
        is_negative,
        significant.to_owned(),
        exponent.checked_sub(fraction.len() as i64)?.checked_add(dropped)?,
    ))
}

/// Bytes without a meaning.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ BYTES: hex })
}

fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    fields.get(tag)?.as_str()
}

fn exact_number(value: &Value) -> Option<&str> {
    tagged(value, NUMBER)
}

/// The hexadecimal digits of bytes.
pub(super) fn hex_of(value: &Value) -> Option<&str> {
    tagged(value, BYTES)
}

/// The bytes of a value that is nothing else.
pub(super) fn bytes_of(value: &Value) -> Option<Vec<u8>> {
    let hex = hex_of(value)?;
    (0..hex.len() / 2).map(|at| u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()).collect()
}

/// Whether the value is bytes, which no text, number or list is.
pub fn is_bytes(value: &Value) -> bool {
    hex_of(value).is_some()
}

/// A number in full, as JSON writes it; `None` for what is no number.
pub fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        _ => exact_number(value).map(str::to_owned),
    }
}

/// A number, rounded if need be; `None` for what is no number.
pub fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| exact_number(value)?.parse().ok())
}

/// The JSON text of a value, with its numbers in full. Bytes become their hexadecimal digits.
///
/// # Errors
/// None that a value can cause.
pub fn json_text(value: &Value) -> serde_json::Result<String> {
    serde_json::to_string(&Written(value))
}

/// The JSON text of a row.
///
/// # Errors
/// As [`json_text`].
pub fn row_text(row: &Row) -> serde_json::Result<String> {
    serde_json::to_string(&WrittenRow(row))
}

/// Whether a row has numbers that are kept as texts.
pub(super) fn holds_numbers(row: &Row) -> bool {
    fn within(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(within),
            Value::Object(fields) => exact_number(value).is_some() || holds_numbers(fields),
            _ => false,
        }
    }
    row.values().any(within)
}

/// A value as files have it.
pub(super) struct Written<'a>(pub(super) &'a Value);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => match (exact_number(self.0), hex_of(self.0)) {
                (Some(number), _) => raw(number).map_err(serde::ser::Error::custom)?.serialize(serializer),
                (_, Some(hex)) => serializer.serialize_str(hex),
                (None, None) => WrittenRow(fields).serialize(serializer),
            },
            Value::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(&Written(item)))?;
                list.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

fn raw(number: &str) -> serde_json::Result<&RawValue> {
    serde_json::from_str(number)
}

/// A row as files have it.
pub(super) struct WrittenRow<'a>(pub(super) &'a Row);

impl Serialize for WrittenRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_map(Some(self.0.len()))?;
        self.0.iter().try_for_each(|(name, value)| fields.serialize_entry(name, &Written(value)))?;
        fields.end()
    }
}

/// As many levels as serde_json reads.
const DEPTH: usize = 128;

/// A JSON text with its numbers in full.
///
/// # Errors
/// What is no JSON.
pub(super) fn parse(text: &[u8]) -> serde_json::Result<Value> {
    exact(serde_json::from_slice(text)?, DEPTH)
}

fn exact(raw: &RawValue, depth: usize) -> serde_json::Result<Value> {
    let text = raw.get();
    let inner = depth.checked_sub(1).ok_or_else(|| serde_json::Error::custom("recursion limit exceeded"));
    match text.as_bytes().first() {
        Some(b'{') => {
            let Fields(fields) = serde_json::from_str(text)?;
            let inner = inner?;
            let field = |(name, raw): (String, &RawValue)| Ok((name, exact(raw, inner)?));
            Ok(Value::Object(fields.into_iter().map(field).collect::<serde_json::Result<_>>()?))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let inner = inner?;
            items
                .into_iter()
                .map(|raw| exact(raw, inner))
                .collect::<serde_json::Result<_>>()
                .map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => number(text),
        _ => serde_json::from_str(text),
    }
}

/// The fields of an object, in order, still as texts.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

/// The name of a row's first field whose value is not valid, with what is wrong with it.
pub(super) fn wrong_field(text: &[u8]) -> Option<(String, serde_json::Error)> {
    let Fields(fields) = serde_json::from_slice(text).ok()?;
    fields.into_iter().find_map(|(name, raw)| Some((name, exact(raw, DEPTH).err()?)))
}

/// Whether a JSON text may hold a number that 64 bits would round: one of many digits, or of a great exponent.
pub(super) fn may_be_inexact(text: &[u8]) -> bool {
    // 15 significant digits of a decimal always survive in an `f64`, and three of an exponent may be too many.
    const DIGITS: usize = 16;
    const EXPONENT: usize = 3;
    let (mut digits, mut exponent) = (0, None);
    text.iter().any(|byte| {
        match byte {
            b'0'..=b'9' => {
                exponent = exponent.map(|length: usize| length + 1);
                digits += usize::from(digits > 0 || *byte != b'0');
            }
            b'.' => {}
            b'e' | b'E' if digits > 0 => exponent = Some(0),
            b'+' | b'-' if exponent == Some(0) => {}
            _ => (digits, exponent) = (0, None),
        }
        digits >= DIGITS || exponent >= Some(EXPONENT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, is_rounded: bool) {
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(exact_number(&value).is_some(), is_rounded, "{text}");
        assert!(!is_rounded || may_be_inexact(text.as_bytes()), "{text}");
        if is_rounded {
            assert_eq!(json_text(&value).unwrap(), text);
            assert_eq!(number_text(&value).unwrap(), text);
        } else {
            assert_eq!(value, serde_json::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn only_numbers_that_would_be_rounded_are_kept_as_texts() {
        for text in [
            "0",
            "-0",
            "0.10",
            "1e5",
            "1E+2",
            "0.30000000000000004",
            "9007199254740993",
            "1e308",
            "-1.5e-300",
        ] {
            check(text, false);
        }
        check(&i64::MIN.to_string(), false);
        check(&u64::MAX.to_string(), false);
        for text in [
            "18446744073709551616",
            "100000000000000000000",
            "-9223372036854775809",
            "0.1234567890123456789",
            "1e999",
            "-1e-999",
            "1e99999999999999999999",
            "3.14159265358979323846",
            "123456789012345678901234567890",
        ] {
            check(text, true);
        }
    }

    #[test]
    fn rows_keep_their_order_and_what_they_nest() {
        let text = r#"{"z":[1e999,{"b":"x","a":18446744073709551616}],"a":null,"t":"1e999"}"#;
        assert_eq!(json_text(&parse(text.as_bytes()).unwrap()).unwrap(), text);
        assert_eq!(number_of(&parse(b"18446744073709551616").unwrap()), Some(18_446_744_073_709_551_616.0));
        assert!(parse(b"{\"a\": 1} 2").is_err());
        let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
        assert!(parse(&deep).unwrap_err().to_string().contains("recursion limit"));
    }

    #[test]
    fn bytes_are_no_texts() {
        let value = bytes(&[0, 255]);
        assert!(is_bytes(&value) && !is_bytes(&json!({"a": 1})));
        assert_eq!(json_text(&value).unwrap(), "\"00ff\"");
        assert_eq!(super::super::describe(&value), "bytes (2 of them), which are no text");
    }
}
