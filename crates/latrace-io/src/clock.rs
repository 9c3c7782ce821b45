//! The day it is, and moments in words.

use std::time::{SystemTime, UNIX_EPOCH};

use latrace_core::Date;

/// Today's date, in UTC.
pub fn today() -> Date {
    date_of(since_1970(SystemTime::now()))
}

/// A moment in UTC, to the minute: `2026-11-30 21:05`.
pub fn minute_of(time: SystemTime) -> String {
    let seconds = since_1970(time);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{} {hour:02}:{minute:02}", date_of(seconds))
}

/// A moment in UTC, to the second: `2026-11-30T21:27:36Z`.
pub fn second_of(time: SystemTime) -> String {
    let seconds = since_1970(time);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{}T{hour:02}:{minute:02}:{:02}Z", date_of(seconds), seconds % 60)
}

fn date_of(seconds: u64) -> Date {
    Date::from_days((seconds / 86_400) as i64)
}

fn since_1970(time: SystemTime) -> u64 {
    // A clock before 1970 is set wrong; any date will do.
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_told_to_the_minute_or_the_second() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(minute_of(at(0)), "1970-01-01 00:00");
        assert_eq!(minute_of(at(86_400 + 23 * 3600 + 59 * 60 + 59)), "1970-01-02 23:59");
        assert_eq!(second_of(at(1_785_450_456)), "2026-07-30T22:27:36Z");
    }
}
