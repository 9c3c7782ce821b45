//! Whether what a program printed or returned is what was expected.

use serde_json::Value;

/// How far a printed or returned decimal may be from the expected one: relative, or absolute below 1.
const TOLERANCE: f64 = 1e-6;

/// Lines without blanks at their ends, blank lines at either end left out; then token by token, decimals within the
/// tolerance. Order and number of lines and tokens count.
pub(crate) fn same_text(expected: &str, printed: &str) -> bool {
    let (expected, printed) = (lines(expected), lines(printed));
    expected.len() == printed.len() && expected.iter().zip(&printed).all(|(one, two)| one == two || same_tokens(one, two))
}

fn lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |last| last + 1);
    lines[start..end].to_vec()
}

fn same_tokens(expected: &str, printed: &str) -> bool {
    let (expected, printed): (Vec<&str>, Vec<&str>) = (expected.split_whitespace().collect(), printed.split_whitespace().collect());
    expected.len() == printed.len() && expected.iter().zip(&printed).all(|(one, two)| one == two || same_numbers(one, two))
}

/// Two decimals; a whole number only equals a whole number.
fn same_numbers(expected: &str, printed: &str) -> bool {
    if !is_decimal(expected) || !is_decimal(printed) {
        return false;
    }
    match (whole(expected), whole(printed)) {
        (Some(one), Some(two)) => one == two,
        (None, None) => expected.parse::<f64>().ok().zip(printed.parse::<f64>().ok()).is_some_and(|(one, two)| near(one, two)),
        // An expected 0.5 may come out as 0.5000001, an expected 3 may not come out as 3.0000001; 2.9999999 is no 3.
        (None, Some(_)) => expected.parse::<f64>().ok().zip(printed.parse::<f64>().ok()).is_some_and(|(one, two)| near(one, two)),
        (Some(_), None) => false,
    }
}

fn is_decimal(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_digit()) && token.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'))
}

/// The sign and digits of a whole number, also one written as `6.0`.
fn whole(token: &str) -> Option<(bool, &str)> {
    let (negative, digits) = match token.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, token.strip_prefix('+').unwrap_or(token)),
    };
    let (integer, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits_only = !integer.is_empty() && integer.bytes().all(|byte| byte.is_ascii_digit()) && fraction.bytes().all(|byte| byte == b'0');
    let significant = integer.trim_start_matches('0');
    digits_only.then_some((negative && !significant.is_empty(), significant))
}

fn near(expected: f64, got: f64) -> bool {
    (expected - got).abs() <= TOLERANCE * expected.abs().max(1.0)
}

/// The value that the harness reported behind its nonce.
pub(crate) fn returned(stdout: &[u8], nonce: &str) -> Option<Value> {
    let text = std::str::from_utf8(stdout).ok()?;
    let (_, value) = text.rsplit_once(nonce)?;
    serde_json::from_str(value.trim()).ok()
}

/// JSON values: numbers by value, decimals within the tolerance, everything else exactly. A truth value is no number.
pub(crate) fn same_value(expected: &Value, got: &Value) -> bool {
    match (expected, got) {
        (Value::Number(one), Value::Number(two)) => match (one.as_i64(), two.as_i64()) {
            (Some(one), Some(two)) => one == two,
            _ if one.is_u64() && two.is_u64() => one == two,
            _ => one.as_f64().zip(two.as_f64()).is_some_and(|(left, right)| left == right || ((one.is_f64() && left.fract() != 0.0) && near(left, right))),
        },
        (Value::Array(one), Value::Array(two)) => one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same_value(one, two)),
        (Value::Object(one), Value::Object(two)) => {
            one.len() == two.len() && one.iter().all(|(key, value)| two.get(key).is_some_and(|other| same_value(value, other)))
        }
        _ => expected == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(expected: &str, printed: &str, same: bool) {
        assert_eq!(same_text(expected, printed), same, "{expected:?} {printed:?}");
    }

    #[test]
    fn blanks_at_the_ends_do_not_count() {
        check("6\n", "6", true);
        check("6\n", "\n6 \r\n\n", true);
        check("1 2\n3", "1  2\n3\n", true);
        check("6\n", "", false);
    }

    #[test]
    fn order_and_number_count() {
        check("1\n2", "2\n1", false);
        check("1 2", "2 1", false);
        check("1\n2", "1 2", false);
        check("1\n1", "1", false);
        check("1", "1 1", false);
    }

    #[test]
    fn decimals_have_a_tolerance_and_whole_numbers_none() {
        check("0.333333", "0.3333333333", true);
        check("0.333", "0.334", false);
        check("6", "6.0", true);
        check("1000000007", "1000000009", false);
        check("100000000000000000000", "100000000000000000001", false);
        check("3", "3.0000001", false);
        check("abc", "abd", false);
        check("1.5", "nan", false);
    }

    #[test]
    fn values_are_compared_as_json() {
        assert!(same_value(&json!([1, 2.5]), &json!([1, 2.500_000_1])));
        assert!(same_value(&json!({"a": 1}), &json!({"a": 1.0})));
        assert!(!same_value(&json!(1), &json!(true)));
        assert!(!same_value(&json!([1, 2]), &json!([2, 1])));
        assert!(!same_value(&json!(9_007_199_254_740_993_i64), &json!(9_007_199_254_740_992_i64)));
        assert!(!same_value(&json!("1"), &json!(1)));
        assert_eq!(returned(b"noise\nabc[1]\n", "abc"), Some(json!([1])));
        assert_eq!(returned(b"[1]", "abc"), None);
    }
}
