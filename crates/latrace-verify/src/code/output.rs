//! Whether what a program printed or returned is what was expected.

use super::json::Json;
use super::number::same_number;

/// Lines without blanks at their ends, blank lines at either end left out; then token by token, decimals
/// within the tolerance. Order and number of lines and tokens count.
pub(crate) fn same_text(expected: &str, printed: &str) -> bool {
    all_same(&lines(expected), &lines(printed), |one, two| one == two || same_tokens(one, two))
}

fn all_same<T>(one: &[T], two: &[T], same: impl Fn(&T, &T) -> bool) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| same(one, two))
}

fn lines(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let end = lines.iter().rposition(|line| !line.is_empty()).map_or(start, |last| last + 1);
    lines[start..end].to_vec()
}

fn same_tokens(expected: &str, printed: &str) -> bool {
    all_same(&tokens(expected), &tokens(printed), |one, two| one == two || same_number(one, two))
}

fn tokens(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// The value that the harness reported behind its nonce.
pub(crate) fn returned(stdout: &[u8], nonce: &str) -> Option<Json> {
    let text = std::str::from_utf8(stdout).ok()?;
    // The last occurrence is the harness's: it writes after the program has returned.
    let (_, value) = text.rsplit_once(nonce)?;
    Json::read(value.trim()).ok()
}

/// JSON values: numbers by value, everything else exactly. A truth value is no number.
pub(crate) fn same_value(expected: &Json, got: &Json) -> bool {
    match (expected, got) {
        (Json::Number(one), Json::Number(two)) => same_number(one, two),
        (Json::List(one), Json::List(two)) => all_same(one, two, same_value),
        (Json::Object(one), Json::Object(two)) => {
            // A field that is missing is not the same as one that is null.
            let is_same = |name: &str, value| got.has(name) && same_value(value, got.field(name));
            one.len() == two.len() && one.iter().all(|(name, value)| is_same(name, value))
        }
        _ => expected == got,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[track_caller]
    fn check_values(expected: &str, got: &str, same: bool) {
        assert_eq!(
            same_value(&Json::read(expected).unwrap(), &Json::read(got).unwrap()),
            same,
            "{expected} {got}"
        );
    }

    #[test]
    fn values_are_compared_as_json() {
        check_values("[1, 2.5]", "[1, 2.5000001]", true);
        check_values(r#"{"a": 1, "b": [2]}"#, r#"{"b": [2], "a": 1.0}"#, true);
        check_values(r#"{"a": 1}"#, r#"{"b": 1}"#, false);
        check_values(r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#, false);
        check_values("1", "true", false);
        check_values("[1, 2]", "[2, 1]", false);
        check_values("[1]", "[1, 1]", false);
        check_values("\"1\"", "1", false);
        check_values("null", "[]", false);
    }

    #[test]
    fn integers_beyond_64_bits_are_compared_exactly() {
        check_values("9007199254740993", "9007199254740992", false);
        check_values("[123456789012345678901234567890]", "[123456789012345678901234567890]", true);
        check_values("[123456789012345678901234567890]", "[123456789012345678901234567891]", false);
        check_values("-18446744073709551617", "-18446744073709551616", false);
        check_values("100000000000000000000", "1e20", true);
    }

    #[test]
    fn a_value_counts_only_behind_its_nonce() {
        assert_eq!(returned(b"noise\nabc[1]\n", "abc"), Some(Json::read("[1]").unwrap()));
        assert_eq!(returned(b"[1]", "abc"), None);
    }
}
