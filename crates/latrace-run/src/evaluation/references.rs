//! What a benchmark's references are read as.
//!
//! Judging each reference against itself shows only that it equals its own text, which holds for any text.
//! What an answer has to look like to be correct depends on what the reference is read as.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;
use latrace_questions::benchmarks::for_each;
use latrace_verify::Reading;

use super::{BenchmarkRun, judging};

/// References by what they are read as, each with the first question that has one.
#[derive(Debug, Default)]
pub struct ReferenceReadings(BTreeMap<Reading, Counted>);

#[derive(Debug)]
struct Counted {
    references: u64,
    example: String,
}

impl ReferenceReadings {
    /// Reads the references of all chosen questions. There are none where the kind has one reading only.
    ///
    /// # Errors
    /// A reference that is invalid for its kind; I/O errors.
    pub fn of(plan: &BenchmarkRun) -> Result<ReferenceReadings> {
        let mut readings = ReferenceReadings::default();
        for_each(&plan.benchmark, &plan.files, &plan.chosen, |id, item| {
            for reading in judging::query(&plan.benchmark, &id, &item)?.readings() {
                readings.count(reading, &id);
            }
            Ok(())
        })?;
        Ok(readings)
    }

    fn count(&mut self, reading: Reading, id: &str) {
        let new = || Counted { references: 0, example: id.to_owned() };
        self.0.entry(reading).or_insert_with(new).references += 1;
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is likely to refuse correct answers, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        let warnings = WARNINGS.iter().filter_map(|(reading, warning)| Some((self.0.get(reading)?, warning)));
        warnings
            .map(|(Counted { references, example }, warning)| {
                format!("{references} references, such as that of question {example}, {warning}")
            })
            .collect()
    }
}

/// Readings that refuse what a reader would accept.
const WARNINGS: [(Reading, &str); 2] = [
    (
        Reading::NumberBesideWords,
        "hold a number beside words that are no unit, and refuse the number alone: remove the words",
    ),
    (
        Reading::Unreadable,
        "cannot be read: only the same text is correct, and other answers are undetermined",
    ),
];

impl fmt::Display for ReferenceReadings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let readings = self.0.iter().map(|(reading, counted)| format!("{reading} ({})", counted.references));
        f.write_str(&readings.collect::<Vec<_>>().join(", "))
    }
}
