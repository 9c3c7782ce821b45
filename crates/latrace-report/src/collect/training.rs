//! Training curves and progress, from `metrics.jsonl`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use serde::Deserialize;

use super::super::data::{StageProgress, Training, TrainingPoint};
use crate::text::cannot_read;
use latrace_engine::training::METRICS;

/// Maximum points per curve.
const POINTS: usize = 200;
/// Number of recent updates that determine the current rate.
const LATELY: usize = 50;

/// The fields of an update that the report uses.
#[derive(Debug, Deserialize)]
struct Update {
    step: u64,
    epoch: f64,
    loss: f64,
    grad_norm: f64,
    time: f64,
}

/// Loss and gradient norm of a training; `None` if no update was logged.
pub(super) fn curve_of(name: &str, folder: &Path) -> Result<Option<Training>> {
    let updates = read(folder)?;
    Ok((!updates.is_empty()).then(|| curve(name.to_owned(), &updates)))
}

fn curve(name: String, updates: &[Update]) -> Training {
    // At least one update per point; the last point may have fewer than the others.
    let width = updates.len().div_ceil(POINTS);
    Training {
        name,
        steps: last_step(updates),
        steps_per_point: width as u64,
        points: updates.chunks(width).map(point).collect(),
    }
}

/// The mean of consecutive updates. A sample of them would show noise, and hide spikes between its points.
fn point(updates: &[Update]) -> TrainingPoint {
    let mean = |pick: fn(&Update) -> f64| updates.iter().map(pick).sum::<f64>() / updates.len() as f64;
    TrainingPoint {
        step: last_step(updates),
        loss: mean(|update| update.loss),
        grad_norm: mean(|update| update.grad_norm),
    }
}

fn last_step(updates: &[Update]) -> u64 {
    updates[updates.len() - 1].step
}

/// Progress of a training.
pub(super) fn progress(folder: &Path, config: &TrainConfig) -> Result<Option<StageProgress>> {
    let updates = read(folder)?;
    let Some(last) = updates.last() else { return Ok(None) };
    let total = config.max_steps.or_else(|| steps_of_epochs(last, config.epochs));
    let per_second = recent_rate(&updates, last);
    let left = total.map(|total| total.saturating_sub(last.step) as f64);
    let seconds_left = per_second.zip(left).map(|(rate, left)| left / rate);
    Ok(Some(StageProgress { done: last.step, total, unit: "updates".to_owned(), per_second, seconds_left }))
}

/// All updates, extrapolated from an update that says how much of an epoch is done: the plan of the training
/// is not in the folder.
fn steps_of_epochs(last: &Update, epochs: u64) -> Option<u64> {
    (last.epoch > 0.0).then(|| (last.step as f64 / last.epoch * epochs as f64).round() as u64)
}

/// Updates per second, of late: time per update follows the lengths of rows, and changes after a restart.
fn recent_rate(updates: &[Update], last: &Update) -> Option<f64> {
    let first = &updates[updates.len().saturating_sub(LATELY)];
    let seconds = last.time - first.time;
    // A single update has taken no time that is known.
    (seconds > 0.0).then(|| (last.step - first.step) as f64 / seconds)
}

/// The completely logged updates: the last line may still be being written.
fn read(folder: &Path) -> Result<Vec<Update>> {
    let path = folder.join(METRICS);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(parse(&text)),
        // A training that has just begun has not created it yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| cannot_read(&path)),
    }
}

fn parse(text: &str) -> Vec<Update> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(steps: u64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let line = |step: u64| {
            format!(
                "{{\"step\":{step},\"epoch\":{},\"loss\":{step},\"grad_norm\":2.0,\"tokens\":10,\"time\":{},\"lr\":0.1}}\n",
                step as f64 / 100.0,
                step as f64 / 4.0
            )
        };
        fs::write(folder.path().join(METRICS), (1..=steps).map(line).collect::<String>() + "{\"step\":")
            .unwrap();
        folder
    }

    #[test]
    fn points_are_means_and_the_last_line_may_be_cut() {
        let folder = folder(401);
        let curve = curve("final".to_owned(), &read(folder.path()).unwrap());
        assert_eq!((curve.steps, curve.steps_per_point, curve.points.len()), (401, 3, 134));
        assert_eq!(curve.points[0], TrainingPoint { step: 3, loss: 2.0, grad_norm: 2.0 });
        assert_eq!(curve.points[133].step, 401);
    }

    #[test]
    fn progress_knows_the_rate_and_what_is_left() {
        let folder = folder(150);
        let config = TrainConfig { epochs: 3, max_steps: None, ..TrainConfig::default() };
        let expected = StageProgress {
            done: 150,
            total: Some(300),
            unit: "updates".to_owned(),
            per_second: Some(4.0),
            seconds_left: Some(37.5),
        };
        assert_eq!(progress(folder.path(), &config).unwrap(), Some(expected));
        let config = TrainConfig { max_steps: Some(200), ..config };
        assert_eq!(progress(folder.path(), &config).unwrap().unwrap().seconds_left, Some(12.5));
        assert_eq!(progress(tempfile::tempdir().unwrap().path(), &config).unwrap(), None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_updates() {
        // A hundred slow updates, then a hundred at four a second.
        let time =
            |step: u64| if step <= 100 { step as f64 * 10.0 } else { 1000.0 + (step - 100) as f64 / 4.0 };
        let updates: Vec<Update> = (1..=200)
            .map(|step| Update { step, epoch: 1.0, loss: 0.0, grad_norm: 0.0, time: time(step) })
            .collect();
        assert_eq!(recent_rate(&updates, &updates[199]), Some(4.0));
        assert_eq!(recent_rate(&updates[..1], &updates[0]), None);
    }
}
