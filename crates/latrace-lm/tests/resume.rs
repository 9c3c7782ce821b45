//! An interrupted run goes on to the same bits; rows over the cut-off are dropped, cut or refused, and
//! counted.
#![allow(clippy::unwrap_used, reason = "a helper of tests fails where it stands")]

mod common;

use common::{Golden, folder, golden_config};
use latrace_lm::train_config::{Loss, Normaliser, OverLength, Schedule, TrainConfig};
use latrace_lm::{
    Error, Event, Policy, RowFile, RowFileWriter, RowSource, TrainJob, TrainRow, Weights, train,
};
use std::path::Path;

/// Runs the job, stopping as a kill would right after `stop` updates; returns what was reported.
fn run(
    out: &Path,
    config: &TrainConfig,
    rows: &dyn RowSource,
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
    run(whole.path(), &config(), &rows, false, None).0.unwrap();
    for stop in [1, 2, 5, 8] {
        let out = tempfile::tempdir().unwrap();
        run(out.path(), &config(), &rows, false, Some(stop)).0.unwrap_err();
        // What a kill while writing a checkpoint leaves behind.
        std::fs::create_dir(out.path().join(".unfinished")).unwrap();
        std::fs::write(out.path().join(".unfinished/model.safetensors"), "half").unwrap();
        let (result, events) = run(out.path(), &config(), &rows, true, None);
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
    run(out.path(), &config(), &rows, false, None).0.unwrap();
    let before = weights(out.path());
    // What a kill between the end of the run and its clearing up leaves behind.
    for left in [".unfinished", "checkpoint-2"] {
        std::fs::create_dir(out.path().join(left)).unwrap();
    }
    let (result, events) = run(out.path(), &config(), &rows, true, None);
    result.unwrap();
    assert!(matches!(events[..], [Event::NothingToDo]), "{events:?}");
    assert_eq!(weights(out.path()), before);
    assert!([".unfinished", "checkpoint-2"].iter().all(|left| !out.path().join(left).exists()));
}

#[test]
fn other_rows_or_settings_are_not_resumed() {
    let rows = Golden::read("qwen3").rows();
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &config(), &rows, false, Some(5)).0.unwrap_err();
    let other = TrainConfig { learning_rate: 1e-3, ..config() };
    let error = run(out.path(), &other, &rows, true, None).0.unwrap_err();
    assert!(error.to_string().contains("fingerprint"), "{error}");
    let mut changed = rows.clone();
    changed[0].weights = Weights::Row(0.5);
    run(out.path(), &config(), &changed, true, None).0.unwrap_err();
    // How often to save and how to split a batch are free to change.
    let free = TrainConfig { checkpoint_every: 3, tokens_per_micro_batch: 50, ..config() };
    run(out.path(), &free, &rows, true, None).0.unwrap();
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
        let (result, events) = run(out.path(), &config, &rows, false, None);
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

/// Rows with a policy, of which the second response token is given where there are enough of them.
fn policy_rows(advantages: impl Fn(f32, usize) -> Weights) -> Vec<TrainRow> {
    let mut rows = Golden::read("llama-bias").rows();
    for row in &mut rows {
        let (response, advantage) = (row.response_len(), row.weights.at(0) - 0.3);
        let given = if response > 2 { 1..2 } else { 0..0 };
        let old_logp = (0..response).map(|i| -3.0 - i as f32 * 0.01).collect();
        row.policy = Some(Policy { advantages: advantages(advantage, response), given, old_logp });
        row.weights = Weights::Row(1.0);
    }
    rows
}

fn fingerprint(out: &Path) -> String {
    let json = std::fs::read(out.join("training.json")).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&json).unwrap();
    said["fingerprint"].as_str().unwrap().to_owned()
}

/// Fingerprints as they were when weights were held token by token: runs interrupted then still resume.
#[test]
fn checkpoints_of_before_are_known_by_their_fingerprints() {
    let config = TrainConfig { over_length: OverLength::Truncate, ..config() };
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &config, &Golden::read("qwen3").rows(), false, None).0.unwrap();
    assert_eq!(fingerprint(out.path()), "9a675b1f4d775795");
    let config =
        TrainConfig { loss: Loss::ClippedPolicyGradient, normaliser: Normaliser::TokenMean, ..config };
    let each = |advantage, response| Weights::PerToken(vec![advantage; response]);
    let once = |advantage, _| Weights::Row(advantage);
    for rows in [policy_rows(each), policy_rows(once)] {
        let out = tempfile::tempdir().unwrap();
        run(out.path(), &config, &rows, false, None).0.unwrap();
        assert_eq!(fingerprint(out.path()), "7290fc2cd0c77a63");
    }
}

#[test]
fn a_checkpoint_of_another_version_is_refused() {
    let rows = Golden::read("qwen3").rows();
    let out = tempfile::tempdir().unwrap();
    run(out.path(), &config(), &rows, false, Some(5)).0.unwrap_err();
    let path = out.path().join("checkpoint-4/training.json");
    let json = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, json.replace("\"schema\": 2", "\"schema\": 1")).unwrap();
    let error = run(out.path(), &config(), &rows, true, None).0.unwrap_err().to_string();
    assert!(error.contains("field `schema`: expected 2, got 1"), "{error}");
}

fn row_file(folder: &Path, rows: &[TrainRow]) -> RowFile {
    let mut writer = RowFileWriter::create(&folder.join("rows")).unwrap();
    rows.iter().for_each(|row| writer.push(row).unwrap());
    writer.finish().unwrap()
}

#[test]
fn rows_of_a_file_train_to_the_bits_of_rows_in_memory() {
    let rows = Golden::read("qwen3").rows();
    let folder = tempfile::tempdir().unwrap();
    let file = row_file(folder.path(), &rows);
    let (memory, resumed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(memory.path(), &config(), &rows, false, None).0.unwrap();
    // Where rows come from is no part of a run: it may change between two attempts.
    run(resumed.path(), &config(), &rows, false, Some(5)).0.unwrap_err();
    let (result, events) = run(resumed.path(), &config(), &file, true, None);
    result.unwrap();
    assert!(matches!(events[0], Event::Started { resumed_from: Some(4), .. }), "{:?}", events[0]);
    assert_eq!(weights(resumed.path()), weights(memory.path()));
}

#[test]
fn rows_are_checked_before_anything_is_trained() {
    let rows = Golden::read("qwen3").rows();
    let refused = |change: &dyn Fn(&mut Vec<TrainRow>), config: &TrainConfig| {
        let (out, mut rows) = (tempfile::tempdir().unwrap(), rows.clone());
        change(&mut rows);
        let (result, events) = run(out.path(), config, &rows, false, None);
        assert!(events.is_empty() || result.is_ok(), "{events:?}");
        result.map_err(|error| error.to_string())
    };
    let error = refused(&|rows| rows[3].weights = Weights::Row(-1.0), &config()).unwrap_err();
    assert!(error.starts_with("row \"row 3\": weight of response token 0"), "{error}");
    let error = refused(&|rows| *rows.last_mut().unwrap().tokens.last_mut().unwrap() = 100_000, &config());
    let error = error.unwrap_err();
    assert!(error.starts_with("row \"row 3\": token 22: expected an id below"), "{error}");
    let cut = TrainConfig { cutoff_length: 40, over_length: OverLength::Truncate, ..config() };
    refused(&|rows| rows[2].tokens[40] = 100_000, &cut).expect("what is cut off is not read");
    refused(&|rows| rows[2].tokens[39] = 100_000, &cut).unwrap_err();
    let dropped = TrainConfig { over_length: OverLength::Drop, ..cut };
    refused(&|rows| rows[2].tokens[39] = 100_000, &dropped).expect("a dropped row is not read");
}
