//! An interrupted run goes on to the same bits; rows over the cut-off are dropped, cut or refused, and
//! counted.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{Golden, folder, golden_config};
use latrace_lm::train_config::{OverLength, Schedule, TrainConfig};
use latrace_lm::{Error, Event, TrainJob, TrainRow, train};
use std::path::Path;

/// Runs the job, stopping as a kill would right after `stop` updates; returns what was reported.
fn run(
    out: &Path,
    config: &TrainConfig,
    rows: Vec<TrainRow>,
    resume: bool,
    stop: Option<u64>,
) -> (Result<(), Error>, Vec<Event>) {
    let model_dir = folder("qwen3");
    let job = TrainJob { model_dir: &model_dir, out, rows, config: config.clone(), resume };
    let mut events = Vec::new();
    let result = train(job, &mut |event| {
        let killed = matches!(&event, Event::Step(metrics) if Some(metrics.step) == stop);
        events.push(event);
        if killed { Err(Error::Invalid("killed".into())) } else { Ok(()) }
    });
    (result, events)
}

fn weights(out: &Path) -> Vec<u8> {
    std::fs::read(out.join("model.safetensors")).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig {
        batch_size: 3,
        max_steps: Some(9),
        checkpoint_every: 2,
        shuffle: true,
        schedule: Schedule::Cosine,
        warmup_ratio: 0.2,
        ..golden_config()
    }
}

#[test]
fn an_interrupted_run_ends_in_the_same_bits() {
    let rows = Golden::read("qwen3").rows();
    let whole = tempfile::tempdir().unwrap();
    run(whole.path(), &config(), rows.clone(), false, None).0.unwrap();
    for stop in [1, 2, 5, 8] {
        let out = tempfile::tempdir().unwrap();
        run(out.path(), &config(), rows.clone(), false, Some(stop)).0.unwrap_err();
        // What a kill while writing a checkpoint leaves behind.
        std::fs::create_dir(out.path().join(".unfinished")).unwrap();
        std::fs::write(out.path().join(".unfinished/model.safetensors"), "half").unwrap();
        let (result, events) = run(out.path(), &config(), rows.clone(), true, None);
        result.unwrap();
        // The checkpoint of step `stop` itself is written after its metrics, so a kill between the two loses
        // it.
        let expected = ((stop - 1) / 2 * 2 > 0).then_some((stop - 1) / 2 * 2);
        assert!(
            matches!(events[0], Event::Started { resumed_from, .. } if resumed_from == expected),
            "{:?}",
            events[0]
        );
        assert_eq!(weights(out.path()), weights(whole.path()), "stopped after {stop}");
        let left: Vec<_> = std::fs::read_dir(out.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(
            !left.iter().any(|name| name.to_string_lossy().contains("checkpoint-") || name == ".unfinished"),
            "{left:?}"
        );
    }
}

#[test]
fn a_finished_run_says_that_nothing_is_left_to_do() {
    let rows = Golden::read("qwen3").rows();
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &config(), rows.clone(), false, None).0.unwrap();
    let before = weights(out.path());
    // What a kill between the end of the run and its clearing up leaves behind.
    for left in [".unfinished", "checkpoint-2"] {
        std::fs::create_dir(out.path().join(left)).unwrap();
    }
    let (result, events) = run(out.path(), &config(), rows, true, None);
    result.unwrap();
    assert!(matches!(events[..], [Event::NothingToDo]), "{events:?}");
    assert_eq!(weights(out.path()), before);
    assert!([".unfinished", "checkpoint-2"].iter().all(|left| !out.path().join(left).exists()));
}

#[test]
fn other_rows_or_settings_are_not_resumed() {
    let rows = Golden::read("qwen3").rows();
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &config(), rows.clone(), false, Some(5)).0.unwrap_err();
    let other = TrainConfig { learning_rate: 1e-3, ..config() };
    let error = run(out.path(), &other, rows.clone(), true, None).0.unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
    let mut changed = rows.clone();
    changed[0].weights[0] = 0.5;
    run(out.path(), &config(), changed, true, None).0.unwrap_err();
    // How often to save and how to split a batch are free to change.
    let free = TrainConfig { checkpoint_every: 3, tokens_per_micro_batch: 50, ..config() };
    run(out.path(), &free, rows, true, None).0.unwrap();
}

#[test]
fn rows_over_the_cut_off_are_counted() {
    let rows = Golden::read("qwen3").rows();
    let lengths: Vec<usize> = rows.iter().map(|r| r.tokens.len()).collect();
    let cutoff = *lengths.iter().max().unwrap() - 1;
    let started = |over_length| {
        let out = tempfile::tempdir().unwrap();
        let config =
            TrainConfig { cutoff_length: cutoff, over_length, max_steps: Some(1), ..golden_config() };
        let (result, events) = run(out.path(), &config, rows.clone(), false, None);
        result.map(|()| match (&events[0], &events[1]) {
            (Event::Started { dropped, truncated, .. }, Event::Step(metrics)) => {
                (*dropped, *truncated, metrics.dropped_rows, metrics.truncated_rows, metrics.tokens)
            }
            other => panic!("{other:?}"),
        })
    };
    let total: usize = lengths.iter().sum();
    assert_eq!(started(OverLength::Drop).unwrap(), (1, 0, 1, 0, total - cutoff - 1));
    assert_eq!(started(OverLength::Truncate).unwrap(), (0, 1, 0, 1, total - 1));
    let error = started(OverLength::Error).unwrap_err();
    assert!(error.to_string().contains(&format!("got {}", cutoff + 1)), "{error}");
}
