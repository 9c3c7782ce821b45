//! What a run says of a stage that is done: one line.

use latrace_io::words::{duration, grouped};
use latrace_objective::statistics::Accuracy;
use serde_json::Value;

use super::folder::StageRecord;
use crate::estimate::pace::Pace;
use crate::plan::{Node, Settings, Stage};

/// The line of a finished stage: what it came to, how long it took, and how long the rest takes.
pub(super) fn stage_line(
    node: &Node,
    record: &StageRecord,
    trained: Option<u64>,
    pace: Option<&Pace>,
) -> String {
    let mut parts = vec![came_to(node, &record.counts, trained)];
    let tokens = trained.or_else(|| record.counts["tokens"].as_u64());
    // A rate over less than a second says more of the clock than of the engine.
    if let Some(tokens) = tokens.filter(|_| record.seconds >= 1.0) {
        parts.push(format!("{} tokens/s", grouped((tokens as f64 / record.seconds) as u64)));
    }
    parts.push(duration(record.seconds));
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}{}", parts.join(", "), rest(pace))
}

/// How long the rest takes, as far as a stage of its kind was measured.
fn rest(pace: Option<&Pace>) -> String {
    let Some((seconds, is_all)) = pace.map(Pace::left).filter(|(seconds, _)| *seconds > 0.0) else {
        return String::new();
    };
    let about = if is_all { "about" } else { "at least" };
    format!("; {about} {} left", duration(seconds))
}

/// What a stage came to, by its counts.
fn came_to(node: &Node, counts: &Value, trained: Option<u64>) -> String {
    let count = |name: &str| counts[name].as_u64().unwrap_or(0);
    match (&node.settings, node.stage) {
        (Settings::Evaluation(_), _) => accuracy(counts),
        (Settings::Fit(_), _) => {
            trained.map_or_else(String::new, |tokens| format!("{} tokens", grouped(tokens)))
        }
        (Settings::Traces(_), _) => format!("{} traces", grouped(count("sampled"))),
        (Settings::Answers(_), _) => format!("{} answers", grouped(count("sampled"))),
        (Settings::Scores(_) | Settings::Rescoring(_), _) => {
            format!("{} traces scored", grouped(count("scored")))
        }
        (Settings::Verdicts(_), _) => {
            format!("{} of {} answers right", grouped(count("correct")), grouped(count("judged")))
        }
        (_, Stage::Questions) => format!("{} training questions", grouped(count("train"))),
        (_, Stage::Model) => format!("{} parameters", grouped(count("parameters"))),
        (_, Stage::Dataset) => format!("{} examples", grouped(count("built") + count("own"))),
        _ => String::new(),
    }
}

/// An evaluation's accuracy with its interval.
fn accuracy(counts: &Value) -> String {
    let overall = serde_json::from_value::<Accuracy>(counts["overall"].clone());
    overall.map_or_else(
        |_| String::new(),
        |Accuracy { accuracy, low, high, .. }| {
            let [accuracy, low, high] = [accuracy, low, high].map(|share| 100.0 * share);
            format!("{accuracy:.1} % right ({low:.1} to {high:.1})")
        },
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::plan::plan;
    use crate::recipe::run::RunRecipe;

    #[track_caller]
    fn check(stage: Stage, seconds: f64, counts: Value, trained: Option<u64>, expected: &str) {
        let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let plan = plan(&RunRecipe::read(&recipe, &[]).unwrap()).unwrap();
        let node = &plan.nodes[plan.node(None, 1, stage).unwrap()];
        let record = StageRecord {
            stage: stage.name().to_owned(),
            key: Value::Null,
            done: true,
            seconds,
            peak_memory_bytes: 0,
            files: BTreeMap::new(),
            counts,
            servers: Vec::new(),
            stale: None,
        };
        assert_eq!(stage_line(node, &record, trained, None), expected);
    }

    #[test]
    fn a_stage_says_what_it_came_to() {
        let overall =
            json!({"accuracy": 0.284, "low": 0.251, "high": 0.317, "questions": 600, "samples": 2400});
        let evaluated = json!({"overall": overall, "tokens": 48_000});
        check(
            Stage::InitialEvaluation,
            12.0,
            evaluated,
            None,
            "28.4 % right (25.1 to 31.7), 4,000 tokens/s, 12 s",
        );
        check(
            Stage::Initial,
            125.0,
            json!({"rows": 9}),
            Some(1_250_000),
            "1,250,000 tokens, 10,000 tokens/s, 2 min 05 s",
        );
        check(Stage::Traces, 0.5, json!({"sampled": 25_600, "tokens": 9}), None, "25,600 traces, 0.5 s");
        check(
            Stage::Verdicts,
            3.0,
            json!({"judged": 400, "correct": 5}),
            None,
            "5 of 400 answers right, 3.0 s",
        );
        check(Stage::Weights, 3.0, json!({"effective_sample_size": 18.633_333_333}), None, "3.0 s");
    }
}
