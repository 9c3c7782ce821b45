//! The diagnostics in words, for a terminal of 80 columns.

use latrace_io::words::wrapped;
use latrace_objective::statistics::Accuracy;

use super::SamplerMismatch;
use super::{Diagnostics, FITS, Lift, MethodCost, StepValidity};

/// How the compared answers are sampled.
const SETTINGS: &str = "The initial model answers with the settings of the evaluation; the posterior's traces and \
                        the answers after them are sampled as in training.";

/// The diagnostics as text: a table of accuracies, the validity of traces, the costs, and the cautions.
pub fn in_lines(diagnostics: &Diagnostics) -> Vec<String> {
    let Diagnostics { validity, mismatch, costs, cautions, .. } = diagnostics;
    let mut lines = accuracies(diagnostics);
    lines.extend(validity.iter().flat_map(validity_lines));
    lines.extend(mismatch.iter().flat_map(mismatch_lines));
    if !costs.is_empty() {
        lines.push(String::new());
        lines.push(format!("{:<24}{:>16}{:>16}{:>12}", "cost", "tokens drawn", "tokens trained", "seconds"));
        lines.extend(order(diagnostics).map(|(name, cost)| cost_row(name, cost)));
        lines.extend(wrapped(
            "",
            "A stage that methods share counts for each of them; evaluations count for none.",
        ));
    }
    if !cautions.is_empty() {
        lines.push(String::new());
    }
    lines.extend(cautions.iter().flat_map(|caution| wrapped("Caution: ", caution)));
    lines
}

/// Of each method; the recipe's own comes first, baselines by name.
fn order(diagnostics: &Diagnostics) -> impl Iterator<Item = (&String, &MethodCost)> {
    let of = |is_own: bool| diagnostics.costs.iter().filter(move |(name, _)| (*name == "final") == is_own);
    of(true).chain(of(false))
}

fn accuracies(diagnostics: &Diagnostics) -> Vec<String> {
    let Diagnostics { initial_on_traced, initial_on_held_out, initial_on_sampled, ceiling, lift, .. } =
        diagnostics;
    if initial_on_traced.is_none() && initial_on_sampled.is_none() {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "{:<36}{:>10}   {:<15}{:>11}",
        "can it help?", "accuracy", "95 % interval", "questions"
    )];
    let rows = [
        ("initial, on questions it learns from", initial_on_traced),
        ("initial, on held-out questions", initial_on_held_out),
        ("initial, on questions sampled for", initial_on_sampled),
        ("gold traces for all, held-out", ceiling),
    ];
    lines.extend(rows.into_iter().filter_map(|(name, of)| Some(accuracy_row(name, of.as_ref()?))));
    if let Some(lift) = lift {
        lines.extend(lift_rows(lift));
        // Temperatures may differ, and with them what both could reach.
        lines.extend(wrapped("", SETTINGS));
    }
    lines
}

fn accuracy_row(name: &str, of: &Accuracy) -> String {
    let Accuracy { accuracy, low, high, questions, .. } = of;
    let interval = format!("{:.1} to {:.1}", low * 100.0, high * 100.0);
    format!("{name:<36}{:>8.1} %   {interval:<15}{questions:>11}", accuracy * 100.0)
}

fn lift_rows(lift: &Lift) -> [String; 2] {
    let Lift { posterior, difference, questions, .. } = lift;
    let interval = format!("{:+.1} to {:+.1}", difference.low * 100.0, difference.high * 100.0);
    [
        accuracy_row("after the posterior's traces", posterior),
        format!(
            "{:<36}{:>+8.1}     {interval:<15}{questions:>11}",
            "lift over the initial model",
            difference.mean * 100.0
        ),
    ]
}

fn validity_lines(validity: &StepValidity) -> Vec<String> {
    let mass = validity
        .training_mass
        .map(|mass| format!(", and {:.1} % of the training weight is on such traces", mass * 100.0));
    let forced = validity
        .forced
        .map(|forced| format!(" Of the right answers {:.1} % follow the other traces.", forced * 100.0));
    let text = format!(
        "Of {} finished traces {:.1} % are valid in every step{}.{}",
        validity.finished,
        validity.share() * 100.0,
        mass.unwrap_or_default(),
        forced.unwrap_or_default()
    );
    wrapped("", &text)
}

fn mismatch_lines(mismatch: &SamplerMismatch) -> Vec<String> {
    let SamplerMismatch { mean, largest, mean_of_traces, .. } = mismatch;
    let text = format!(
        "The log-probs of the sampler and of the scorer differ by {mean:.1e} nats a token on average, {largest:.1e} at \
         most, and by {mean_of_traces:.1e} a trace; weights have the scorer's."
    );
    wrapped("", &text)
}

fn cost_row(name: &str, cost: &MethodCost) -> String {
    let MethodCost { tokens_drawn, tokens_trained, seconds } = cost;
    format!("{name:<24}{tokens_drawn:>16}{tokens_trained:>16}{seconds:>12.1}")
}

/// Reasons to doubt that the method can help.
pub(super) fn cautions(diagnostics: &Diagnostics) -> Vec<String> {
    let fit = diagnostics.initial_on_traced.as_ref().and_then(does_not_fit);
    let lift = diagnostics.lift.as_ref().and_then(does_not_lift);
    fit.into_iter().chain(lift).collect()
}

fn does_not_fit(traced: &Accuracy) -> Option<String> {
    let (right, least) = (traced.accuracy * 100.0, FITS * 100.0);
    (traced.accuracy < FITS).then(|| {
        format!(
            "the initial model does not fit its own traces: it is right on {right:.1} % of the questions that it \
             learns from. Nobody's traces help where the model cannot fit them; train it longer, or take a larger \
             one. The border of {least:.0} % is between the built-in tasks where the method gained (70 % and more) \
             and the one where it did not (37 %)."
        )
    })
}

fn does_not_lift(lift: &Lift) -> Option<String> {
    let Lift { questions, posterior, initial, difference } = lift;
    let [posterior, initial] = [posterior, initial].map(|of| of.accuracy * 100.0);
    let [low, high] = [difference.low, difference.high].map(|end| end * 100.0);
    (difference.low <= 0.0).then(|| {
        format!(
            "the posterior is no better than the initial model on the same {questions} questions: right answers \
             follow {posterior:.1} % of its traces, and the initial model gives {initial:.1} % without them (95 % \
             interval of the difference {low:+.1} to {high:+.1} points). Such traces teach nothing, or worse; train it \
             longer, or from the initial model (posterior.start = \"initial\")."
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use latrace_io::words::WIDTH;
    use latrace_objective::statistics::Interval;

    use super::*;

    fn accuracy(accuracy: f64) -> Accuracy {
        Accuracy { accuracy, low: accuracy - 0.05, high: accuracy + 0.05, questions: 200, samples: 800 }
    }

    fn diagnostics(traced: f64, low: f64) -> Diagnostics {
        let difference = Interval { mean: low + 0.1, low, high: low + 0.2 };
        let cost =
            MethodCost { tokens_drawn: 123_456_789_012, tokens_trained: 98_765_432_109, seconds: 86400.0 };
        let of_method = |name: &str| (name.to_owned(), cost);
        let mut diagnostics = Diagnostics {
            initial_on_traced: Some(accuracy(traced)),
            initial_on_held_out: Some(accuracy(0.25)),
            initial_on_sampled: Some(accuracy(0.3)),
            ceiling: Some(accuracy(0.45)),
            lift: Some(Lift { questions: 200, posterior: accuracy(0.4), initial: accuracy(0.3), difference }),
            mismatch: Some(SamplerMismatch {
                traces: 100,
                tokens: 2000,
                mean: 0.0021,
                largest: 0.125,
                mean_of_traces: 0.02,
            }),
            validity: Some(StepValidity {
                finished: 25_600,
                valid: 12_800,
                training_mass: Some(0.625),
                forced: Some(0.125),
            }),
            costs: BTreeMap::from(["best-of-rft", "final"].map(of_method)),
            ..Diagnostics::default()
        };
        diagnostics.cautions = cautions(&diagnostics);
        diagnostics
    }

    #[test]
    fn lines_fit_into_a_terminal_and_say_what_was_measured() {
        let lines = in_lines(&diagnostics(0.35, -0.1));
        assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{lines:#?}");
        let text = lines.join("\n");
        for expected in [
            "initial, on questions it learns from    35.0 %   30.0 to 40.0           200",
            "gold traces for all, held-out           45.0 %   40.0 to 50.0           200",
            "lift over the initial model             +0.0     -10.0 to +10.0         200",
            "Of 25600 finished traces 50.0 % are valid in every step, and 62.5 % of the",
            "Of the right answers 12.5 % follow the",
            "The log-probs of the sampler and of the scorer differ by 2.1e-3 nats a token on",
            "final                       123456789012     98765432109     86400.0",
            "Caution: the initial model does not fit its own traces",
            "         ",
        ] {
            assert!(text.contains(expected), "{expected:?} in\n{text}");
        }
        assert!(text.find("final  ").unwrap() < text.find("best-of-rft").unwrap(), "{text}");
        assert!(in_lines(&Diagnostics::default()).is_empty());
    }

    #[test]
    fn cautions_are_for_a_model_that_does_not_fit_and_a_posterior_that_is_no_better() {
        let check = |traced, low, expected: &[&str]| {
            let cautions = diagnostics(traced, low).cautions;
            assert_eq!(cautions.len(), expected.len(), "{cautions:?}");
            assert!(
                cautions.iter().zip(expected).all(|(text, start)| text.starts_with(start)),
                "{cautions:?}"
            );
        };
        check(0.6, 0.001, &[]);
        check(0.599, 0.001, &["the initial model does not fit"]);
        // An interval that holds zero, or lies below it.
        check(0.6, 0.0, &["the posterior is no better"]);
        check(0.6, -0.9, &["the posterior is no better"]);
        check(0.1, -0.1, &["the initial model does not fit", "the posterior is no better"]);
    }
}
