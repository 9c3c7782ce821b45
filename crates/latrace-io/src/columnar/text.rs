//! Values that JSON has no type for, as text.

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// Days since 1970 as a date of the Gregorian calendar, extended to all years.
///
/// Follows Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2021), `civil_from_days`: years begin in
/// March, so that the leap day is the last of its year.
pub(super) fn date(days: i64) -> String {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    // From 1 March of the year 0 to 1 January 1970.
    let since_march_of_0 = days + 719_468;
    let era = since_march_of_0.div_euclid(DAYS_IN_400_YEARS);
    let day_of_era = since_march_of_0.rem_euclid(DAYS_IN_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month = (months_since_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
        // ISO 8601 requires a sign where a year does not have four digits.
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
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
