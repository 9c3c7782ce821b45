//! Amounts of memory: parsing human-readable sizes, and what the machine has.

use std::path::Path;
use std::str::FromStr;

/// A number of bytes: digits, optionally followed by K, M, G or T (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = power_of(&text[digits.len()..]).ok_or(NO_BYTES)?;
        // Not an integer, so that 1.5G is a size.
        let number: f64 = digits.parse().map_err(|_| NO_BYTES)?;
        if number.is_finite() && number > 0.0 {
            Ok(Bytes((number * 1024_f64.powi(power)) as u64))
        } else {
            Err("expected more than 0 bytes".to_owned())
        }
    }
}

const NO_BYTES: &str = "expected a number of bytes such as 500M or 4G";

/// The power of 1024 that a suffix stands for: "G", "GB" and "GiB" are the same.
fn power_of(suffix: &str) -> Option<i32> {
    Some(match suffix.to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return None,
    })
}

/// Memory available now, in bytes; 4 GiB where the system does not report it.
pub fn free_memory() -> u64 {
    of_system("MemAvailable:").unwrap_or(4 << 30)
}

/// Total memory of the machine, in bytes, where the system reports it.
pub fn total_memory() -> Option<u64> {
    of_system("MemTotal:")
}

fn of_system(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    // The kernel writes kB and means KiB.
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The memory limit of a control group, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In all.
    pub total: u64,
    /// Of that, what is not in use.
    pub free: u64,
}

/// The limit of the control group that this process is in, where there is one (Linux; both versions, as
/// containers mount them).
pub fn memory_limit() -> Option<Limit> {
    let group = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let root = Path::new("/sys/fs/cgroup");
    let of_version_2 = group.lines().find_map(|line| line.strip_prefix("0::/"));
    // A container may see its own group as the root; `memory` is the controller's folder of version 1.
    let folders =
        [of_version_2.map(|name| root.join(name)), Some(root.to_owned()), Some(root.join("memory"))];
    folders.into_iter().flatten().find_map(|folder| {
        let version_2 = limit_in(&folder, "memory.max", "memory.current");
        version_2.or_else(|| limit_in(&folder, "memory.limit_in_bytes", "memory.usage_in_bytes"))
    })
}

/// The limit in a group's folder: a number below what any machine has, or none.
fn limit_in(folder: &Path, limit: &str, usage: &str) -> Option<Limit> {
    let number = |name: &str| std::fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // Without a limit, version 2 says `max`, and version 1 a number near 2^63.
    let total = number(limit).filter(|&total| total < 1 << 60)?;
    Some(Limit { total, free: total.saturating_sub(number(usage).unwrap_or(0)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_a_group_are_numbers_and_max_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let read = || limit_in(folder.path(), "memory.max", "memory.current");
        assert_eq!(read(), None);
        write("memory.current", "300\n");
        write("memory.max", "max\n");
        assert_eq!(read(), None);
        write("memory.max", "1000\n");
        assert_eq!(read(), Some(Limit { total: 1000, free: 700 }));
        write("memory.max", "9223372036854771712\n");
        assert_eq!(read(), None);
    }

    #[test]
    fn amounts_are_read_as_written() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(text.parse::<Bytes>().ok().map(|bytes| bytes.0), expected, "{text}")
        };
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
