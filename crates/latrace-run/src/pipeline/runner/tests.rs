use std::fs;

use super::*;
use crate::plan::{DatasetSettings, Stage};
use crate::recipe::run::{Dataset, Duplicates, Method};
use crate::weigh::Fallbacks;
use latrace_objective::{AnswerChoice, Fallback};

/// A stage of which only the key matters here.
fn node(stage: Stage, seed: u64, inputs: &[(Role, usize)]) -> Node {
    let dataset = Dataset {
        answers: AnswerChoice::All,
        duplicates: Duplicates::Add,
        question_exponent: 0.0,
        originals: 1.0,
    };
    let settings = DatasetSettings {
        method: Method::Sft,
        dataset,
        answers: 1,
        fallback: Fallback::default(),
        fallbacks: Fallbacks::default(),
        drop_above: None,
        seed,
    };
    Node {
        stage,
        round: 1,
        refinement: 0,
        method: None,
        inputs: inputs.to_vec(),
        settings: Settings::Dataset(settings),
    }
}

/// Does a node with `work` in place of the stage's own.
fn do_by(
    run: &Path,
    node: &Node,
    done: &[Option<Done>],
    work: impl FnOnce(&StageFolder) -> Result<Value>,
) -> (State, Result<Done>) {
    let folder = run.join(node.folder());
    let key = key(node, done, &context()).unwrap().unwrap();
    let state = state_of(read_record(&folder).unwrap().as_ref(), &key);
    let result = do_stage(node, &folder, key, &context(), work);
    (state, result)
}

fn context() -> RunContext {
    RunContext::with_engine(Box::new(latrace_engine::CpuEngine::default()))
}

fn writes(text: &'static str) -> impl FnOnce(&StageFolder) -> Result<Value> {
    move |stage| {
        fs::write(stage.path.join("x"), text)?;
        Ok(json!({"rows": 1}))
    }
}

fn never(_: &StageFolder) -> Result<Value> {
    anyhow::bail!("this stage is done")
}

#[test]
fn a_stage_is_done_once_and_again_when_its_settings_or_inputs_change() {
    let run = tempfile::tempdir().unwrap();
    let (first, second) = (node(Stage::Traces, 1, &[]), node(Stage::Scores, 1, &[(Role::Traces, 0)]));
    let (state, done) = do_by(run.path(), &first, &[], writes("1"));
    assert_eq!(state, State::Missing);
    let done = [Some(done.unwrap())];
    do_by(run.path(), &second, &done, writes("2")).1.unwrap();
    let (state, kept) = do_by(run.path(), &first, &[], never);
    assert_eq!((state, kept.unwrap().digest), (State::Done, done[0].as_ref().unwrap().digest.clone()));
    assert_eq!(do_by(run.path(), &second, &done, never).0, State::Done);
    // What comes out the same leaves later stages as they are.
    let (state, same) = do_by(run.path(), &node(Stage::Traces, 2, &[]), &[], writes("1"));
    assert_eq!(state, State::Changed("seed was 1, is 2".to_owned()));
    assert_eq!(do_by(run.path(), &second, &[Some(same.unwrap())], never).0, State::Done);
    let (_, other) = do_by(run.path(), &node(Stage::Traces, 3, &[]), &[], writes("3"));
    let (state, redone) = do_by(run.path(), &second, &[Some(other.unwrap())], never);
    assert_eq!(state, State::Changed("traces changed".to_owned()));
    assert!(redone.is_err());
}

#[test]
fn a_stage_that_failed_resumes_from_its_files() {
    let run = tempfile::tempdir().unwrap();
    let node = node(Stage::Traces, 1, &[]);
    let (_, failed) = do_by(run.path(), &node, &[], |stage| {
        fs::write(stage.path.join("x"), "1")?;
        anyhow::bail!("no more")
    });
    assert!(failed.is_err());
    let (state, done) =
        do_by(run.path(), &node, &[], |stage| Ok(json!(fs::read_to_string(stage.path.join("x"))?)));
    assert_eq!(state, State::Begun);
    assert_eq!(read_record(&done.unwrap().folder).unwrap().unwrap().counts, json!("1"));
}

#[test]
fn files_that_change_under_a_run_are_named() {
    let run = tempfile::tempdir().unwrap();
    let node = node(Stage::Traces, 1, &[]);
    let (_, done) = do_by(run.path(), &node, &[], writes("1"));
    fs::write(done.unwrap().folder.join("x"), "2").unwrap();
    let error = do_by(run.path(), &node, &[], never).1.unwrap_err().to_string();
    assert!(error.contains("has changed since the stage finished"), "{error}");
}

#[test]
fn files_of_another_key_are_never_mixed_with_new_ones() {
    let run = tempfile::tempdir().unwrap();
    let (_, done) = do_by(run.path(), &node(Stage::Traces, 1, &[]), &[], writes("1"));
    let folder = done.unwrap().folder;
    let (_, redone) = do_by(run.path(), &node(Stage::Traces, 2, &[]), &[], |stage| {
        assert!(!stage.path.join("x").exists());
        Ok(json!({"rows": 0}))
    });
    let record = read_record(&redone.unwrap().folder).unwrap().unwrap();
    assert!(record.files.is_empty() && !folder.join("x").exists());
}

#[test]
fn only_a_resumed_stage_continues_its_time() {
    let record = |done| StageRecord {
        stage: String::new(),
        key: Value::Null,
        done,
        seconds: 5.0,
        peak_memory_bytes: 0,
        files: BTreeMap::new(),
        counts: Value::Null,
        servers: Vec::new(),
        stale: None,
    };
    let seconds = |state, record| earlier(&state, record).seconds;
    assert_eq!(seconds(State::Begun, Some(record(false))), 5.0);
    assert_eq!(seconds(State::Changed(String::new()), Some(record(true))), 0.0);
    assert_eq!(seconds(State::Missing, None), 0.0);
}
