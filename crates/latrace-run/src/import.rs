//! A model that was trained elsewhere becomes a training stage of a run, and the stages after it go on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_engine::{check_same_model, copy_companions};
use latrace_io::failure::Failure;
use latrace_io::files::replace_folder;
use latrace_io::hub::model_folder;
use latrace_io::model_folder::fingerprint;
use serde_json::{Value, json};

use crate::pipeline::context::RunContext;
use crate::pipeline::currency::{mark_stages, remove_results};
use crate::pipeline::folder::{RunFolder, StageFolder, StageRecord, read_record};
use crate::pipeline::runner::{folder_of, key_of, remove, states};
use crate::plan::{Node, Plan, Role, plan};
use crate::recipe::run::of_run;

/// The count of an imported stage that says where its model came from, as the command named it.
const IMPORTED_FROM: &str = "imported_from";

/// Where the imported models of a run came from, by the folders of their stages.
///
/// # Errors
/// Records that cannot be read.
pub fn imported(plan: &Plan, run: &Path) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for node in &plan.nodes {
        let record = read_record(&run.join(node.folder()))?;
        if let Some(from) = record.as_ref().and_then(origin) {
            all.insert(node.folder().display().to_string(), from);
        }
    }
    Ok(all)
}

fn origin(record: &StageRecord) -> Option<String> {
    // Imports of earlier versions have checksums alone.
    record.counts.get("imported")?;
    let named = record.counts.get(IMPORTED_FROM).and_then(Value::as_str);
    Some(named.unwrap_or("a folder that was not recorded").to_owned())
}

/// Makes `model`, a folder or an id on the hub, the result of a training of the run: `stage` is the stage's folder in the run
/// folder, such as `09-final` or `baselines/rft/round-2/09-final`. A stage that is finished is replaced only if `replace`.
///
/// # Errors
/// A stage that trains nothing, is finished, or whose inputs are not; a model of another shape; I/O errors.
pub fn import(run: &Path, stage: &str, model: &str, replace: bool) -> Result<()> {
    let named = model;
    let model = &model_folder(named)?;
    let recipe = of_run(run)?;
    let (plan, context) = (plan(&recipe)?, RunContext::new(&recipe, run)?);
    let node = plan.training(stage)?;
    let held = RunFolder::lock(run)?;
    let key = key_of(&plan, node, held.path(), &context)?.ok_or_else(|| unready(stage))?;
    let node = &plan.nodes[node];
    let out = run.join(node.folder());
    if read_record(&out)?.is_some_and(|record| record.done && record.key == key) && !replace {
        return Err(finished(stage).into());
    }
    let start = start_of(&plan, node, run)?;
    check_same_model(&start, model)?;
    replace_folder(&out, |folder| {
        take(folder, node, key, &start, model, named)?;
        give_way(&out, run)
    })?;
    // What was made of the model before is no result of the run any more.
    mark_stages(&plan, &states(&plan, run, &context)?, run)
}

/// Removes an earlier training once the new one is whole; before it, what the run says of it.
fn give_way(out: &Path, run: &Path) -> Result<()> {
    if !out.exists() {
        return Ok(());
    }
    remove_results(run)?;
    remove(out)
}

/// Copies the model, with the run's own tokenizer and a record of where it came from.
fn take(folder: &Path, node: &Node, key: Value, start: &Path, model: &Path, named: &str) -> Result<()> {
    let begun = StageFolder::begin(folder, node.stage.name(), key, 0.0)?;
    let taken = || {
        // The tokenizer stays the run's own, whatever a trainer has made of it.
        copy_companions(start, folder)?;
        copy(model, folder)?;
        Ok(json!({"imported": fingerprint(model)?, IMPORTED_FROM: named}))
    };
    begun.end(taken()).map(drop)
}

/// Copies the weights of the trained model and its own configuration.
fn copy(model: &Path, folder: &Path) -> Result<()> {
    let cannot = || format!("cannot copy {} to {}", model.display(), folder.display());
    for entry in fs::read_dir(model).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_file() && is_of_model(&name) {
            fs::copy(&path, folder.join(&name)).with_context(cannot)?;
        }
    }
    Ok(())
}

fn is_of_model(name: &str) -> bool {
    name.ends_with(".safetensors")
        || ["config.json", "generation_config.json", "model.safetensors.index.json"].contains(&name)
}

/// The folder of the model that a training starts from.
fn start_of(plan: &Plan, node: &Node, run: &Path) -> Result<PathBuf> {
    let start = node.input(Role::Model).context("a training starts from a model")?;
    let start = &plan.nodes[start];
    folder_of(start, run.join(start.folder()))
}

fn unready(stage: &str) -> Failure {
    Failure::work(format!("the stages that {stage} depends on are not finished")).hint(
        "`latrace run` does them; with engine.train = \"manual\" it stops where a model is to be imported",
    )
}

fn finished(stage: &str) -> Failure {
    Failure::usage(format!("{stage} is finished already, and nothing was changed"))
        .hint("--replace puts the imported model in its place; the stages after it will be redone")
}
