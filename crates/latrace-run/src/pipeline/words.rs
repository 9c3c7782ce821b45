//! A run's summary in words.

use std::path::Path;

use latrace_io::words::{size, wrapped};
use latrace_objective::statistics::Accuracy;
use latrace_questions::contamination::Contamination;

use super::summary::{ModelSummary, RunSummary};
use crate::diagnostics::in_lines;
use crate::release::MODEL;

/// The summary as text: a table, and its interpretation.
pub fn in_words(summary: &RunSummary, run: &Path) -> String {
    let mut lines = table(summary);
    lines.push(String::new());
    let findings = verdict(summary).into_iter().chain(contamination(summary)).chain(bounds(summary));
    lines.extend(findings.chain([effort(summary)]).flat_map(|sentence| wrapped("", &sentence)));
    lines.extend(diagnostics(summary));
    lines.push(String::new());
    lines.extend(next_steps(summary, run));
    lines.join("\n")
}

/// Questions that models have trained on and are then asked.
fn contamination(summary: &RunSummary) -> Option<String> {
    let contaminated = summary.contaminated.filter(Contamination::is_any)?;
    Some(format!("Caution: {contaminated}: accuracies may measure what was memorised."))
}

/// What tells whether the method can help.
fn diagnostics(summary: &RunSummary) -> Vec<String> {
    let lines = in_lines(&summary.diagnostics);
    if lines.is_empty() { lines } else { [vec![String::new()], lines].concat() }
}

/// L^1 … L^K as bounds, or as surrogates with the reason.
fn bounds(summary: &RunSummary) -> Vec<String> {
    let mut lines = Vec::new();
    if !summary.bounds.is_empty() {
        let value = |bound: &Option<f64>| bound.map_or("-inf".to_owned(), |bound| format!("{bound:.3}"));
        let values = series(summary.bounds.iter().map(value).collect());
        lines.push(format!("Bounds on log P(correct), nats, mean over all questions: {values}."));
        lines.extend(unbounded(summary));
    }
    if let Some(reason) = &summary.no_bounds {
        let values = series(summary.surrogates.iter().map(|value| format!("{value:.3}")).collect());
        let values = if summary.surrogates.is_empty() { "none is finite".to_owned() } else { values };
        lines.push(format!("Surrogates of log P(correct), nats, where all are finite: {values}."));
        lines.push(format!("They are not bounds: {reason}."));
    }
    lines.extend(weights(summary));
    lines
}

fn series(values: Vec<String>) -> String {
    format!("L^1 … L^{} {}", values.len(), values.join(", "))
}

/// The questions that make a bound minus infinity.
fn unbounded(summary: &RunSummary) -> Option<String> {
    let (first, last) = (*summary.unbounded.first()?, *summary.unbounded.last()?);
    let traces = summary.unbounded.len();
    (first > 0).then(|| {
        format!(
            "L^k is minus infinity where k traces of a question have no end: L^1 because of {first} questions, L^{traces} because of {last}."
        )
    })
}

/// How many traces count, and how many differ.
fn weights(summary: &RunSummary) -> Option<String> {
    let has_traces = summary.no_bounds.is_some() || !summary.bounds.is_empty();
    let RunSummary { distinct_traces, distinct_effective_sample_size, without_usable_trace, .. } = summary;
    has_traces.then(|| {
        format!(
            "Of a question's traces {distinct_traces:.1} differ on average, with an effective sample size of {distinct_effective_sample_size:.1}; {without_usable_trace} questions have no usable trace.{}",
            clipped(summary)
        )
    })
}

fn clipped(summary: &RunSummary) -> String {
    let share = summary.diagnostics.traces.map_or(0.0, |traces| traces.clipped * 100.0);
    let traces = summary.clipped;
    if traces == 0 {
        return String::new();
    }
    format!(" The ratio of {traces} traces ({share:.0} %) is at its bound.")
}

fn effort(summary: &RunSummary) -> String {
    let seconds: f64 = summary.seconds.values().sum();
    let peak = size(summary.peak_memory_bytes);
    format!("{seconds:.0} s of work, {peak} at the peak, seed {}.", summary.seed)
}

/// The commands on lines of their own, whole, to be copied.
fn next_steps(summary: &RunSummary, run: &Path) -> Vec<String> {
    let (run, seed) = (run.display(), summary.seed + 1);
    vec![
        format!("The model is in {run}/{MODEL}. Next:"),
        format!("  latrace chat {run}      talks to it"),
        format!("  latrace report {run}    draws the run as one page"),
        format!("  latrace run … --run-dir {run}-seed-{seed} seed={seed}    repeats it with another seed"),
    ]
}

fn table(summary: &RunSummary) -> Vec<String> {
    let difficulties = difficulties(summary);
    let header: String = difficulties.iter().map(|name| format!("{name:>7}")).collect();
    let mut lines = vec![format!("{:<16}{:>9}   {:<15}{header}", "model", "accuracy", "95 % interval")];
    // By name, `final` would come before `initial`.
    let mut models: Vec<(&String, &ModelSummary)> = summary.models.iter().collect();
    models.sort_by_key(|(name, _)| order(name));
    lines.extend(models.into_iter().map(|(name, model)| row(name, model, &difficulties)));
    lines
}

/// The columns. All models are evaluated on the same questions, so that any one of them has all.
fn difficulties(summary: &RunSummary) -> Vec<&String> {
    let first = summary.models.values().next();
    first.into_iter().flat_map(|model| model.by_difficulty.keys()).collect()
}

/// The run's own models come first, in the order of training; the sort keeps baselines in that of their
/// names.
fn order(name: &str) -> usize {
    match name {
        "base" => 0,
        "initial" => 1,
        "final" => 2,
        _ => 3,
    }
}

fn row(name: &str, model: &ModelSummary, difficulties: &[&String]) -> String {
    let Accuracy { accuracy, low, high, .. } = model.overall;
    let (accuracy, low, high) = (accuracy * 100.0, low * 100.0, high * 100.0);
    let by_difficulty: String = difficulties.iter().map(|name| cell(model, name)).collect();
    format!("{name:<16}{accuracy:>8.1} %  {low:>5.1} to {high:<5.1} {by_difficulty}")
}

fn cell(model: &ModelSummary, difficulty: &str) -> String {
    let accuracy = model.by_difficulty.get(difficulty);
    accuracy.map_or("      -".to_owned(), |of| format!("{:>7.1}", of.accuracy * 100.0))
}

/// Whether the method helped, as far as the intervals can tell.
fn verdict(summary: &RunSummary) -> Option<String> {
    let (initial, last) = (&summary.models.get("initial")?.overall, &summary.models.get("final")?.overall);
    let gain = (last.accuracy - initial.accuracy) * 100.0;
    let of = format!("on {} questions × {} responses", last.questions, last.samples / last.questions.max(1));
    Some(if last.low > initial.high {
        above(gain, &of)
    } else if last.high < initial.low {
        below(-gain, &of)
    } else {
        undecided(gain, &of)
    })
}

fn above(points: f64, of: &str) -> String {
    format!(
        "The final model's accuracy is {points:.1} points above the initial one's, {of}; the intervals do not overlap."
    )
}

fn below(points: f64, of: &str) -> String {
    format!(
        "The final model's accuracy is {points:.1} points below the initial one's, {of}; the intervals do not overlap. The report shows where traces were lost."
    )
}

fn undecided(gain: f64, of: &str) -> String {
    format!(
        "The final model differs from the initial one by {gain:+.1} points, {of}; the intervals overlap, so this may be chance."
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn model(accuracy: f64, difficulties: &[(&str, f64)]) -> ModelSummary {
        let of = |accuracy: f64| Accuracy {
            accuracy,
            low: accuracy - 0.05,
            high: accuracy + 0.05,
            questions: 100,
            samples: 400,
        };
        let by_difficulty =
            difficulties.iter().map(|(name, share)| ((*name).to_owned(), of(*share))).collect();
        ModelSummary {
            overall: of(accuracy),
            by_difficulty,
            distinct_right: None,
            truncated: 0,
            without_thought: 0,
        }
    }

    fn summary(initial: f64, last: f64) -> RunSummary {
        let models = [
            ("final", model(last, &[("1", 0.9), ("2", 0.5)])),
            ("initial", model(initial, &[("1", 0.8), ("2", 0.4)])),
            ("rft", model(0.3, &[("1", 0.3)])),
        ];
        RunSummary {
            provenance: None,
            models: models.into_iter().map(|(name, model)| (name.to_owned(), model)).collect(),
            bounds: vec![None, Some(-1.25)],
            no_bounds: None,
            unbounded: vec![3, 0],
            surrogates: Vec::new(),
            without_usable_trace: 7,
            effective_sample_size: 2.5,
            distinct_effective_sample_size: 1.5,
            distinct_traces: 3.25,
            clipped: 0,
            contaminated: None,
            diagnostics: Default::default(),
            seconds: BTreeMap::from([("a".to_owned(), 10.0), ("b".to_owned(), 32.4)]),
            peak_memory_bytes: 123_400_000,
            seed: 4,
            version: String::new(),
        }
    }

    fn words(summary: &RunSummary) -> String {
        in_words(summary, Path::new("runs/x"))
    }

    #[test]
    fn models_stand_in_the_order_of_training_with_a_column_for_each_difficulty() {
        let text = words(&summary(0.4, 0.6));
        let lines: Vec<&str> = text.lines().take(4).collect();
        let names: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(names, ["model", "initial", "final", "rft"]);
        assert!(lines[0].ends_with("      1      2"), "{text}");
        assert_eq!(lines[2], "final               60.0 %   55.0 to 65.0     90.0   50.0");
        assert!(lines[3].ends_with("   30.0      -"), "{text}");
    }

    /// As one line: where sentences are broken does not matter here.
    fn unwrapped(text: &str) -> String {
        text.replace('\n', " ")
    }

    #[test]
    fn sentences_fit_a_terminal_of_80_columns() {
        let text = words(&summary(0.4, 0.52));
        // A table is as wide as it has columns, and a command stays whole.
        let sentences =
            text.lines().skip_while(|line| !line.is_empty()).take_while(|line| !line.contains("Next:"));
        assert!(
            sentences.clone().count() > 4 && sentences.clone().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn a_gain_is_claimed_where_the_intervals_are_apart() {
        let check = |initial, last, expected: &str| {
            let text = unwrapped(&words(&summary(initial, last)));
            assert!(text.contains(&format!("{expected}, on 100 questions × 4 responses; ")), "{text}");
        };
        check(0.4, 0.52, "The final model's accuracy is 12.0 points above the initial one's");
        check(0.52, 0.4, "The final model's accuracy is 12.0 points below the initial one's");
        check(0.4, 0.48, "The final model differs from the initial one by +8.0 points");
        check(0.48, 0.4, "The final model differs from the initial one by -8.0 points");
    }

    #[test]
    fn bounds_that_are_not_finite_and_reasons_for_none_are_told() {
        let mut summary = summary(0.4, 0.6);
        let check = |summary: &RunSummary, expected: &[&str], absent: &str| {
            let text = unwrapped(&words(summary));
            assert!(expected.iter().all(|part| text.contains(part)) && !text.contains(absent), "{text}");
        };
        let of_traces = "Of a question's traces 3.2 differ on average, with an effective sample size of 1.5; \
                         7 questions have no usable trace.";
        let bounds = "mean over all questions: L^1 … L^2 -inf, -1.250.";
        let why = "L^1 because of 3 questions, L^2 because of 0.";
        check(
            &summary,
            &[bounds, why, of_traces, "42 s of work, 123 MB at the peak, seed 4."],
            "at its bound",
        );
        check(&summary, &["latrace report runs/x ", "--run-dir runs/x-seed-5 seed=5 "], "Surrogates");
        (summary.unbounded, summary.clipped) = (vec![0, 0], 9);
        check(&summary, &["The ratio of 9 traces (0 %) is at its bound."], "L^k is minus infinity");
        (summary.bounds, summary.no_bounds) = (Vec::new(), Some("traces were tempered".to_owned()));
        check(&summary, &["none is finite", "They are not bounds: traces were tempered."], "Bounds on");
        summary.surrogates = vec![-2.0, -1.5];
        check(&summary, &["L^1 … L^2 -2.000, -1.500"], "none is finite");
        summary.no_bounds = None;
        check(&summary, &[], "Of a question's traces");
    }
}
