//! The day it is.

use std::time::{SystemTime, UNIX_EPOCH};

use latrace_core::Date;

/// Today's date, in UTC.
pub fn today() -> Date {
    // A clock before 1970 is set wrong; any date will do.
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Date::from_days((seconds / 86_400) as i64)
}
