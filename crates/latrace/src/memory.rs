//! Amounts of memory: as people write them, and as the machine has them.

use std::str::FromStr;

/// A number of bytes: digits, and perhaps K, M, G or T (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = match text[digits.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
            "" => 0,
            "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            _ => return Err("expected a number of bytes such as 500M or 4G".to_owned()),
        };
        let number: f64 = digits.parse().map_err(|_| "expected a number of bytes such as 500M or 4G".to_owned())?;
        if number.is_finite() && number > 0.0 { Ok(Bytes((number * 1024_f64.powi(power)) as u64)) } else { Err("expected more than 0 bytes".to_owned()) }
    }
}

/// Memory that the system could give now, in bytes; 4 GiB where it does not say.
pub fn free_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(4 << 30, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_written() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(text.parse::<Bytes>().ok().map(|bytes| bytes.0), expected, "{text}");
        check("1000", Some(1000));
        check("4G", Some(4 << 30));
        check("1.5MiB", Some(3 << 19));
        check("2kb", Some(2048));
        check("0", None);
        check("-1", None);
        check("4 apples", None);
        check("", None);
    }
}
