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

/// A large number with three digits and its unit: 1.23 M.
pub fn short(number: u64) -> String {
    scaled(number).trim_end().to_owned()
}

/// A size (bytes) with three digits and its unit, of 1000 of the next smaller one: 217 MB.
pub fn size(bytes: u64) -> String {
    scaled(bytes) + "B"
}

/// A number with three digits, and the beginning of its unit.
fn scaled(number: u64) -> String {
    let steps = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let number = number as f64;
    let (size, unit) = steps.into_iter().find(|(size, _)| number >= *size).unwrap_or((1.0, " "));
    let scaled = number / size;
    let digits = if scaled >= 100.0 || size == 1.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
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
    fn sizes_have_three_digits_and_the_unit_that_suits_them() {
        let sizes = [0, 999, 1000, 12_345_678, 3_210_000_000, 7 << 40];
        assert_eq!(sizes.map(size), ["0 B", "999 B", "1.00 kB", "12.3 MB", "3.21 GB", "7.70 TB"]);
        assert_eq!([7, 25_600, 135_000_000].map(short), ["7", "25.6 k", "135 M"]);
    }

    #[test]
    fn durations_are_told_with_what_matters_of_them() {
        let durations = [0.04, 9.44, 59.7, 125.0, 7325.0, 200_000.0];
        let expected = ["0.0 s", "9.4 s", "60 s", "2 min 05 s", "2 h 02 min", "2 days 07 h"];
        assert_eq!(durations.map(duration), expected);
    }
}
