//! Numbers, durations and sentences as people read them.

/// Columns of a terminal.
pub const WIDTH: usize = 80;

/// A whole number with its thousands apart: 25,600.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration (s), with as many units as matter at its size.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..120 => format!("{whole} s"),
        120..7200 => format!("{} min {:02} s", whole / 60, whole % 60),
        7200..172_800 => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} days {:02} h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// A text in lines of at most [`WIDTH`] columns, all but the first indented as far as `opening` goes.
pub fn wrapped(opening: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(opening.len());
    let mut lines = vec![opening.to_owned()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        let separator = if line.len() == opening.len() { "" } else { " " };
        if line.chars().count() + separator.len() + word.chars().count() <= WIDTH {
            *line += &format!("{separator}{word}");
        } else {
            lines.push(format!("{indent}{word}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let numbers = [0, 999, 1000, 25_600, 1_234_567];
        assert_eq!(numbers.map(grouped), ["0", "999", "1,000", "25,600", "1,234,567"]);
    }

    #[test]
    fn durations_are_told_with_what_matters_of_them() {
        let durations = [0.04, 9.44, 59.7, 125.0, 7325.0, 200_000.0];
        let expected = ["0.0 s", "9.4 s", "60 s", "2 min 05 s", "2 h 02 min", "2 days 07 h"];
        assert_eq!(durations.map(duration), expected);
    }
}
