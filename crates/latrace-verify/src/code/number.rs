//! Whether a number that a program printed or returned is the one that was expected: by their digits.

// Looser than floats are: programs may print six digits, or sum in another order.
/// How far a decimal may be from the expected one: relative, absolute below 1 and for whole numbers.
const TOLERANCE: f64 = 1e-6;
/// The greatest power of ten that is written out.
const MOST_ZEROS: usize = 5_000;

/// Two numbers in decimal notation. Whole numbers, `6.0` and `1e3` among them, are equal exactly whatever
/// their size; a number written with a point or an exponent may differ by the tolerance; one written without
/// is not met by a fraction.
pub(crate) fn same_number(expected: &str, got: &str) -> bool {
    is_number(expected) && is_number(got) && is_same(expected, got)
}

fn is_same(expected: &str, got: &str) -> bool {
    match (whole(expected), whole(got)) {
        (Some(one), Some(two)) => one == two,
        // An expected integer is exact; `6.0` says that a float was printed.
        (Some(_), None) => expected.contains(['.', 'e', 'E']) && is_near(expected, got, |_| TOLERANCE),
        (None, _) => is_near(expected, got, |value| TOLERANCE * value.abs().max(1.0)),
    }
}

/// As floats, which only numbers that are not whole are compared as.
fn is_near(expected: &str, got: &str, tolerance: fn(f64) -> f64) -> bool {
    let values = expected.parse::<f64>().ok().zip(got.parse::<f64>().ok());
    values.is_some_and(|(expected, got)| (expected - got).abs() <= tolerance(expected))
}

fn is_number(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_digit()) && token.bytes().all(is_of_number)
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')
}

/// The sign and the digits of a whole number.
fn whole(token: &str) -> Option<(bool, String)> {
    let (negative, unsigned) = split_sign(token);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !is_digits(integer) || !is_digits(fraction) || integer.len() + fraction.len() == 0 {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let zeros = zeros(exponent, fraction.len())?;
    let all = format!("{integer}{fraction}{}", "0".repeat(zeros));
    let significant = all.trim_start_matches('0');
    // −0 is 0.
    Some((negative && !significant.is_empty(), significant.to_owned()))
}

fn split_sign(token: &str) -> (bool, &str) {
    match token.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, token.strip_prefix('+').unwrap_or(token)),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The zeros that an exponent adds behind the digits of the fraction; `None` where it leaves a fraction.
fn zeros(exponent: &str, fraction: usize) -> Option<usize> {
    let zeros = usize::try_from(exponent.parse::<i64>().ok()?).ok()?.checked_sub(fraction)?;
    // `1e999999999` must not be written out.
    (zeros <= MOST_ZEROS).then_some(zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(expected: &str, got: &str, same: bool) {
        assert_eq!(same_number(expected, got), same, "{expected} {got}");
    }

    #[test]
    fn whole_numbers_are_exact_whatever_their_size() {
        check("6", "6.0", true);
        check("6.00", "+6", true);
        check("-0", "0", true);
        check("007", "7", true);
        check("1e3", "1000", true);
        check("1.5e+3", "1500.0", true);
        check("1000000007", "1000000009", false);
        check("1000000007.0", "1000000009.0", false);
        check("9007199254740993", "9007199254740992", false);
        check("9007199254740993", "9007199254740992.0", false);
        check("18446744073709551616", "18446744073709551617", false);
        check("123456789012345678901234567890", "123456789012345678901234567890", true);
        check("123456789012345678901234567890", "123456789012345678901234567891", false);
        check("1e5000", "10e4999", true);
        check("1e5001", "1e5001", false);
        check("123456789012345678901234567890", "1.2345678901234568e+29", false);
        check("6", "-6", false);
    }

    #[test]
    fn decimals_have_a_tolerance() {
        check("0.333333", "0.3333333333", true);
        check("0.333", "0.334", false);
        check("0.5", "0.5000009", true);
        check("0.5", "0.5000011", false);
        check("1000.5", "1000.5009", true);
        check("1000.5", "1000.5011", false);
        check("2.0", "2.0000009", true);
        check("2.0", "2.0000011", false);
        check("2.0", "1.9999999999999998", true);
        check("0.9999999", "1", true);
        check("3", "3.0000001", false);
        check("2.0", "2.1", false);
        check("123456.5", "123456.6", true);
        check("12.5", "12.6", false);
        check("1e-7", "0", true);
        check("1.5", "-1.5", false);
    }

    #[test]
    fn what_is_no_number_is_equal_to_none() {
        check("1.5", "nan", false);
        check("2020-01-01", "2020-01-02", false);
        check("1.2.3", "1.2.4", false);
        check("e", "e", false);
        check("1e999999999", "2e999999999", false);
        check("-", "-", false);
    }
}
