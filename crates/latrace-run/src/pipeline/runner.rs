//! Executes a plan in a run folder.
//!
//! A stage's key consists of its settings, the digests of its inputs, and the identity of the engine it uses.
//! A stage finished under the same key is kept, one begun under it is resumed, and one with another key is
//! redone. So after a change of the recipe, only the stages that depend on the change are redone.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_engine::boundary::ServerNote;
use latrace_io::difference::difference;
use latrace_io::files::checksum;
use latrace_io::hub::model_folder;
use latrace_io::model_folder::fingerprint;
use latrace_io::progress::StageAtWork;
use serde_json::{Map, Value, json};

use super::context::RunContext;
use super::folder::{Done, RunFolder, StageFolder, StageRecord, check_files, digest, mark, read_record};
use super::inputs::Inputs;
use super::stage_line::stage_line;
use crate::diagnostics::trained_tokens;
use crate::estimate::pace::{Pace, samples};
use crate::plan::{External, ModelSettings, Node, NodeId, Plan, Role, Settings, Step, settings_key};
use crate::stages;

/// Version of the stages' semantics: incremented when the same settings give different results.
const STAGE_VERSION: u32 = 2;

/// The state of a stage, which determines what a run will do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Finished under the same key: kept.
    Done,
    /// Begun under the same key: resumed.
    Begun,
    /// Absent.
    Missing,
    /// Present under another key: redone. Says what differs.
    Changed(String),
    /// Present, but its key is unknown until an earlier stage is done.
    Depends,
}

/// The state of each node of a plan.
///
/// # Errors
/// Records that cannot be read, finished stages whose files have changed, missing inputs.
pub fn states(plan: &Plan, run: &Path, context: &RunContext) -> Result<Vec<State>> {
    let mut states = Vec::new();
    let mut done: Vec<Option<Done>> = Vec::new();
    for node in &plan.nodes {
        let (state, found) = node_state(node, &done, run, context)?;
        states.push(state);
        done.push(found);
    }
    Ok(states)
}

/// The key of a training, or another node, as a run would compute it; `None` while an input is unfinished.
///
/// # Errors
/// As [`states`].
pub fn key_of(plan: &Plan, id: NodeId, run: &Path, context: &RunContext) -> Result<Option<Value>> {
    let mut done: Vec<Option<Done>> = Vec::new();
    for node in &plan.nodes[..id] {
        done.push(node_state(node, &done, run, context)?.1);
    }
    key(&plan.nodes[id], &done, context)
}

/// The state of a node, and the stage itself if it is done.
fn node_state(
    node: &Node,
    done: &[Option<Done>],
    run: &Path,
    context: &RunContext,
) -> Result<(State, Option<Done>)> {
    let folder = run.join(node.folder());
    let Some(key) = key(node, done, context)? else {
        let state = if folder.is_dir() { State::Depends } else { State::Missing };
        return Ok((state, None));
    };
    let record = read_record(&folder)?;
    let state = state_of(record.as_ref(), &key);
    // Later stages are keyed by its digest only if it will be kept.
    let of_done = record.filter(|_| state == State::Done);
    Ok((state, of_done.map(|record| finished(node, &folder, &record)).transpose()?))
}

/// Checks that the engines of the stages that are to be done are installed, which would otherwise come to light only
/// once the stages before have been done.
///
/// # Errors
/// Names what is missing, with what to install.
pub fn check_installed(plan: &Plan, states: &[State], context: &RunContext) -> Result<()> {
    let to_be_done = plan.nodes.iter().zip(states).filter(|(_, state)| **state != State::Done);
    let mut checked = Vec::new();
    for role in to_be_done.filter_map(|(node, _)| RunContext::role(node)) {
        if !checked.contains(&role) {
            context.engine.check_installed(role)?;
            checked.push(role);
        }
    }
    Ok(())
}

/// Executes the unfinished nodes of a plan, and returns every node's folder.
///
/// # Errors
/// The error of the first stage that fails; the stages before it are kept.
pub fn run(plan: &Plan, run: &RunFolder, context: &RunContext) -> Result<Vec<Done>> {
    let mut done: Vec<Option<Done>> = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        let folder = run.path().join(node.folder());
        // Nodes come in order of execution, so that all inputs are done.
        let key = key(node, &done, context)?.context("an input of the stage is missing")?;
        let mut was_at_work = false;
        let work = |stage: &StageFolder| {
            was_at_work = true;
            let _at_work = begin(plan, id, run.path())?;
            stages::work(node, &Inputs::of(node, &done), context, stage)
        };
        let result = do_stage(node, &folder, key, context, work)?;
        if was_at_work {
            say_done(plan, id, run.path())?;
        }
        done.push(Some(result));
    }
    Ok(done.into_iter().flatten().collect())
}

/// A stage that is about to be worked at is named in all that is counted.
fn begin(plan: &Plan, id: NodeId, run: &Path) -> Result<StageAtWork> {
    Ok(StageAtWork::begin(label(plan, id), samples(plan, run, id)?))
}

/// Says what a stage came to, and how long the rest takes.
fn say_done(plan: &Plan, id: NodeId, run: &Path) -> Result<()> {
    let node = &plan.nodes[id];
    let folder = run.join(node.folder());
    let record = read_record(&folder)?.context("a finished stage has no record")?;
    let trained = if node.is_training() { trained_tokens(&folder)? } else { None };
    let pace = Pace::of(plan, run)?;
    tracing::info!("stage {}: {}", label(plan, id), stage_line(node, &record, trained, pace.as_ref()));
    Ok(())
}

/// A node's name in messages: its place in the plan, and the name of the first step that uses it.
fn label(plan: &Plan, id: NodeId) -> String {
    let step = plan.steps.iter().find(|step| step.node == id).map(Step::label).unwrap_or_default();
    format!("{}/{} {step}", id + 1, plan.nodes.len())
}

/// Executes a stage unless it is finished under the same key: `work` fills its folder, resuming from the
/// parts already in it.
fn do_stage(
    node: &Node,
    folder: &Path,
    key: Value,
    context: &RunContext,
    work: impl FnOnce(&StageFolder) -> Result<Value>,
) -> Result<Done> {
    let record = read_record(folder)?;
    let state = state_of(record.as_ref(), &key);
    if let (State::Done, Some(record)) = (&state, &record) {
        // It was thought to change with a stage before it, whose result turned out to be the same.
        mark(folder, None)?;
        return finished(node, folder, record);
    }
    if let State::Changed(_) = state {
        remove(folder)?;
    }
    let Earlier { seconds, servers } = earlier(&state, record);
    let mut stage = StageFolder::begin(folder, node.stage.name(), key, seconds)?;
    stage.note(servers)?;
    let outcome = work(&stage);
    stage.note(context.engine.take_server_notes())?;
    // An error of the work is recorded, too, with the time until then.
    let result = stage.end(outcome)?;
    Ok(Done { folder: folder_of(node, result.folder)?, ..result })
}

/// What earlier sessions leave to one that resumes a stage.
#[derive(Default)]
struct Earlier {
    /// Their working time (s).
    seconds: f64,
    /// Their servers.
    servers: Vec<ServerNote>,
}

fn earlier(state: &State, record: Option<StageRecord>) -> Earlier {
    let record = record.filter(|_| *state == State::Begun);
    record.map_or_else(Earlier::default, |StageRecord { seconds, servers, .. }| Earlier { seconds, servers })
}

/// Removes a stage made under another key: its parts must not be mixed with new ones.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// A finished stage, after checking that its files are unchanged.
fn finished(node: &Node, folder: &Path, record: &StageRecord) -> Result<Done> {
    check_files(folder, record)?;
    Ok(Done { digest: digest(record), folder: folder_of(node, folder.to_owned())? })
}

/// The folder of a stage's files. A given model is used in place, not copied.
///
/// # Errors
/// A model that is neither a folder nor available from the hub.
pub fn folder_of(node: &Node, folder: PathBuf) -> Result<PathBuf> {
    match &node.settings {
        Settings::Model(ModelSettings::Given { folder }) => model_folder(folder),
        _ => Ok(folder),
    }
}

fn state_of(record: Option<&StageRecord>, key: &Value) -> State {
    match record {
        None => State::Missing,
        Some(record) if record.key != *key => State::Changed(difference(&record.key, key)),
        Some(record) if record.done => State::Done,
        Some(_) => State::Begun,
    }
}

/// The key of a stage; `None` while an input is unfinished.
fn key(node: &Node, done: &[Option<Done>], context: &RunContext) -> Result<Option<Value>> {
    let Some(inputs) = input_digests(node, done) else { return Ok(None) };
    let mut key = json!({
        "stage": node.stage.name(),
        "version": STAGE_VERSION,
        "settings": settings_key(node),
        "inputs": inputs,
    });
    let externals = externals(node)?;
    if !externals.is_empty() {
        key["files"] = json!(externals);
    }
    if node.settings.has_verifier() {
        // Of what was read, and is run, not of what the files hold now.
        key["verifier"] = json!(context.verifiers.checksums());
    }
    if let Some(engine) = context.identity(node) {
        key["engine"] = json!(engine);
    }
    Ok(Some(key))
}

/// The digests of a stage's inputs; `None` while one is unfinished. A digest is of what the input contains,
/// not of its key: an input that is redone with the same result leaves this stage valid.
fn input_digests(node: &Node, done: &[Option<Done>]) -> Option<Map<String, Value>> {
    let digest = |&(role, id): &(Role, NodeId)| {
        let input = done.get(id)?.as_ref()?;
        Some((role.name().to_owned(), json!(input.digest)))
    };
    node.inputs.iter().map(digest).collect()
}

/// Checksums of a stage's inputs outside the run folder.
fn externals(node: &Node) -> Result<BTreeMap<String, Value>> {
    node.settings.externals().into_iter().map(checksum_of).collect()
}

fn checksum_of(external: External<'_>) -> Result<(String, Value)> {
    Ok(match external {
        External::Model(name) => ("model".to_owned(), json!(fingerprint(&model_folder(name)?)?)),
        External::Questions(source) => ("questions".to_owned(), json!(source.checksums()?)),
        External::Template(path) => (format!("template {}", file_name(path)), json!(checksum(path)?)),
    })
}

/// The file name alone: a template that moves to another folder is still the same template.
fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
