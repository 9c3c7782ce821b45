//! Values that JSON has no type for, as text.

use latrace_core::Date;

/// Bytes as the hexadecimal digits of a UUID, in its groups.
pub(super) fn uuid(bytes: &[u8]) -> String {
    let group = |(at, byte): (usize, &u8)| {
        format!("{}{byte:02x}", if [4, 6, 8, 10].contains(&at) { "-" } else { "" })
    };
    bytes.iter().enumerate().map(group).collect()
}

/// A big-endian integer in two's complement, `scale` of whose decimal digits are behind the point.
pub(super) fn decimal(bytes: &[u8], scale: usize) -> String {
    let is_negative = bytes.first().is_some_and(|first| *first >= 0x80);
    let digits = digits(magnitude(bytes, is_negative));
    // At least one digit before the point, of which zero has none.
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if is_negative { "-" } else { "" };
    let point = if scale == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

/// An integer without its sign.
fn magnitude(bytes: &[u8], is_negative: bool) -> Vec<u8> {
    let mut magnitude = bytes.to_vec();
    if is_negative {
        negate(&mut magnitude);
    }
    magnitude
}

/// In two's complement: all bits flipped, and 1 added.
fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
    }
}

/// Decimal digits of a big-endian integer, by long division.
fn digits(mut bytes: Vec<u8>) -> String {
    let mut digits = Vec::new();
    while bytes.iter().any(|byte| *byte != 0) {
        let mut remainder = 0_u16;
        for byte in &mut bytes {
            let dividend = remainder << 8 | u16::from(*byte);
            *byte = (dividend / 10) as u8;
            remainder = dividend % 10;
        }
        digits.push(char::from(b'0' + remainder as u8));
    }
    digits.iter().rev().collect()
}

/// Days since 1970 as a date.
pub(super) fn date(days: i64) -> String {
    Date::from_days(days).to_string()
}

/// Time since midnight, with as many thousandths, millionths or billionths as it has.
pub(super) fn time(value: i64, per_second: i64) -> String {
    let (seconds, fraction) = (value.div_euclid(per_second), value.rem_euclid(per_second));
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let billionths = fraction * (1_000_000_000 / per_second);
    let fraction = match billionths {
        0 => String::new(),
        _ if billionths % 1_000_000 == 0 => format!(".{:03}", billionths / 1_000_000),
        _ if billionths % 1_000 == 0 => format!(".{:06}", billionths / 1_000),
        _ => format!(".{billionths:09}"),
    };
    format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

/// Time since 1970 as RFC 3339 writes it, without a zone if none is known.
pub(super) fn timestamp(value: i64, per_second: i64, utc: bool) -> String {
    let per_day = per_second * 86_400;
    // Rounded down: before 1970, too, the time of day counts from the midnight before.
    let (days, time_of_day) = (value.div_euclid(per_day), value.rem_euclid(per_day));
    let zone = if utc { "Z" } else { "" };
    format!("{}T{}{zone}", date(days), time(time_of_day, per_second))
}

/// Months, days and milliseconds as a span.
pub(super) fn interval(months: i32, days: i32, milliseconds: i32) -> String {
    let hours = milliseconds / 3_600_000;
    let minutes = milliseconds / 60_000 % 60;
    let rest = milliseconds % 60_000;
    let whole = [(months, "mons"), (days, "days"), (hours, "hours"), (minutes, "mins")];
    let whole = whole.iter().filter(|(count, _)| *count != 0).map(|(count, unit)| format!("{count} {unit}"));
    // By hand: the whole seconds of -0.5 s are 0, which has no sign.
    let sign = if rest < 0 { "-" } else { "" };
    let seconds = format!("{sign}{}.{:03} secs", rest.abs() / 1000, rest.abs() % 1000);
    let parts: Vec<String> = whole.chain((rest != 0).then_some(seconds)).collect();
    if parts.is_empty() { "0 secs".to_owned() } else { parts.join(" ") }
}
