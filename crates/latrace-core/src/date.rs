//! Dates of the Gregorian calendar.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, Result};

/// A date of the Gregorian calendar, extended to all years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// The year; 0 is the one before the year 1.
    pub year: i64,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// From 1 March of the year 0 to 1 January 1970.
const DAYS_BEFORE_1970: i64 = 719_468;

impl Date {
    /// The date so many days after 1 January 1970.
    ///
    /// Follows Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2021), `civil_from_days`: years begin in
    /// March, so that the leap day is the last of its year.
    pub fn from_days(days: i64) -> Date {
        const DAYS_IN_400_YEARS: i64 = 146_097;
        let since_march_of_0 = days + DAYS_BEFORE_1970;
        let era = since_march_of_0.div_euclid(DAYS_IN_400_YEARS);
        let day_of_era = since_march_of_0.rem_euclid(DAYS_IN_400_YEARS);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let months_since_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
        let month = (months_since_march + 2) % 12 + 1;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Date { year, month: month as u8, day: day as u8 }
    }

    /// Days since 1 January 1970: `days_from_civil` of the same paper.
    pub fn days(self) -> i64 {
        let months_since_march = (i64::from(self.month) + 9) % 12;
        let year = self.year - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * months_since_march + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year
            - DAYS_BEFORE_1970
    }

    /// The date as `strftime` of the C locale writes it.
    ///
    /// # Errors
    /// A directive that a date has no value for, such as that of the hour.
    pub fn format(self, format: &str) -> Result<String> {
        let mut text = String::new();
        let mut characters = format.chars();
        while let Some(character) = characters.next() {
            if character != '%' {
                text.push(character);
                continue;
            }
            let mut directive = characters.next();
            // glibc's flag that leaves out leading zeros.
            let is_bare = directive == Some('-');
            if is_bare {
                directive = characters.next();
            }
            let part = directive.and_then(|directive| self.part(directive));
            let part = part.ok_or_else(|| unknown_directive(format, directive))?;
            text.push_str(if is_bare { part.trim_start_matches('0') } else { &part });
        }
        Ok(text)
    }

    fn part(self, directive: char) -> Option<String> {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = WEEKDAYS[(self.days() + 4).rem_euclid(7) as usize];
        Some(match directive {
            'Y' => self.year.to_string(),
            'y' => format!("{:02}", self.year.rem_euclid(100)),
            'm' => format!("{:02}", self.month),
            'd' => format!("{:02}", self.day),
            'e' => format!("{:2}", self.day),
            'B' => month.to_owned(),
            'b' | 'h' => month[..3].to_owned(),
            'A' => weekday.to_owned(),
            'a' => weekday[..3].to_owned(),
            'j' => format!("{:03}", self.days() - Date { month: 1, day: 1, ..self }.days() + 1),
            'F' => self.to_string(),
            'D' | 'x' => self.format("%m/%d/%y").ok()?,
            '%' => "%".to_owned(),
            _ => return None,
        })
    }
}

fn unknown_directive(format: &str, directive: Option<char>) -> Error {
    let directive = directive.map(String::from).unwrap_or_default();
    Error::NoDate {
        expected: "directives of a date (%Y, %y, %m, %d, %e, %B, %b, %A, %a, %j)",
        got: format!("%{directive} in {format:?}"),
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Date { year, month, day } = self;
        match year {
            0..=9999 => write!(f, "{year:04}-{month:02}-{day:02}"),
            // ISO 8601 requires a sign where a year does not have four digits.
            _ => write!(f, "{year:+05}-{month:02}-{day:02}"),
        }
    }
}

impl FromStr for Date {
    type Err = Error;

    /// Reads `YYYY-MM-DD`.
    fn from_str(text: &str) -> Result<Date> {
        let wrong = || Error::NoDate { expected: "a date, YYYY-MM-DD", got: format!("{text:?}") };
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(wrong()) };
        let read =
            || Some(Date { year: year.parse().ok()?, month: month.parse().ok()?, day: day.parse().ok()? });
        // There and back, so that 31 February is none.
        let is_real = |date: &Date| (1..=12).contains(&date.month) && Date::from_days(date.days()) == *date;
        read().filter(is_real).filter(|date| date.to_string() == text).ok_or_else(wrong)
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Date, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_one_to_one() {
        for (days, expected) in
            [(0, "1970-01-01"), (-1, "1969-12-31"), (19_782, "2024-02-29"), (-719_163, "0000-12-31")]
        {
            let date = Date::from_days(days);
            assert_eq!((date.to_string().as_str(), date.days()), (expected, days));
            assert_eq!(expected.parse::<Date>().unwrap(), date);
        }
        assert_eq!(Date::from_days(2_932_897).to_string(), "+10000-01-01");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-01", "2026-1-1", "today", "", "2026-01-01-01"] {
            let error = text.parse::<Date>().unwrap_err().to_string();
            assert!(error.contains("expected a date, YYYY-MM-DD"), "{error}");
        }
    }

    #[test]
    fn a_time_of_day_is_no_part_of_a_date() {
        let date = "2026-03-07".parse::<Date>().unwrap();
        assert_eq!(date.format("%a %-d.%-m.%Y, 100%%").unwrap(), "Sat 7.3.2026, 100%");
        for format in ["%H:%M", "%", "%-"] {
            assert!(
                date.format(format).unwrap_err().to_string().contains("directives of a date"),
                "{format}"
            );
        }
    }
}
