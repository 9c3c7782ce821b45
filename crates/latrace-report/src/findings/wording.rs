//! Numbers and names within sentences.

use latrace_io::words::grouped;
use latrace_objective::statistics::Interval;
use latrace_run::recipe::method_texts::short_name;

use crate::data::{MeasuredModel, PairedComparison};
use crate::text;

/// Maximum characters of the example question.
const EXAMPLE_LETTERS: usize = 160;
/// No-break space.
const SPACE: char = '\u{a0}';

pub(super) fn with_interval(model: &MeasuredModel) -> String {
    let overall = &model.overall;
    format!(
        "in {} of its responses (95{SPACE}% interval {} to {})",
        percent(overall.accuracy),
        digits(overall.low),
        percent(overall.high)
    )
}

pub(super) fn difference(pair: &PairedComparison) -> String {
    let Interval { mean, low, high } = pair.difference;
    format!("{} percentage points ({} to {})", signed(mean), signed(low), signed(high))
}

fn signed(share: f64) -> String {
    format!("{}{}", if share < 0.0 { "−" } else { "+" }, digits(share.abs()))
}

/// The name of a method within a sentence.
pub(super) fn method_name(name: &str) -> String {
    match name {
        "base" | "initial" | "posterior" | "final" => format!("the {name} model"),
        // A baseline under a name that the recipe chose.
        other => short_name(other).map_or_else(|| format!("“{other}”"), str::to_owned),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{}{SPACE}%", digits(share))
}

pub(super) fn digits(share: f64) -> String {
    format!("{:.1}", tenths(share * 100.0))
}

/// Rounds to tenths, halves up, as the page's script does: sentence and table must show the same number.
fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

pub(super) fn plural(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// The beginning of a question, on one line.
pub(super) fn example(question: &str) -> String {
    let one_line = question.split_whitespace().collect::<Vec<_>>().join(" ");
    text::shortened(one_line, EXAMPLE_LETTERS)
}
