//! The trained model as others use it: `RUN/model`, a folder whose chat template makes the prompts of the training,
//! whose generation settings are those of the evaluation, and whose card says what was measured.
//!
//! Not in the training's own folder: the files of a finished stage are in its digest, and the numbers come after it.

mod card;
mod chat_template;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_core::SamplingParams;
use latrace_engine::adapters::{is_adapter, write_whole};
use latrace_engine::cpu::SaveDtype;
use latrace_engine::text_codec::TextCodec;
use latrace_engine::{ModelShape, copy_companions};
use latrace_io::failure::Failure;
use latrace_io::files::{replace_folder, write_text};
use serde::{Deserialize, Serialize};

use crate::layout;
use crate::pipeline::summary::RunSummary;
use crate::plan::{Plan, Stage};
use crate::recipe::run::RunRecipe;

/// The folder of the trained model in a run's folder.
pub const MODEL: &str = "model";

/// The file with the settings that samplers take a model's defaults from.
pub const GENERATION: &str = "generation_config.json";

/// Writes the model of a finished run, whole or not at all, and returns its folder. Weights are linked, not copied,
/// where the file system can.
///
/// # Errors
/// A model that cannot be read; files that cannot be written.
pub fn write(plan: &Plan, recipe: &RunRecipe, summary: &RunSummary, run: &Path) -> Result<PathBuf> {
    let node = plan.last(Stage::Final).context("a run trains a final model")?;
    let (trained, out) = (run.join(plan.nodes[node].folder()), run.join(MODEL));
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("cannot replace {}", out.display()))?;
    }
    replace_folder(&out, |folder| {
        fill(folder, &trained, recipe)?;
        write_text(&folder.join("README.md"), &card::of(plan, recipe, summary)?)
    })?;
    Ok(out)
}

/// The folder of a finished run's model.
///
/// # Errors
/// No folder of a run, or one whose run is not finished.
pub fn released_model(run: &Path) -> Result<PathBuf> {
    layout::check(run)?;
    let model = run.join(MODEL);
    if model.is_dir() {
        return Ok(model);
    }
    let (shown, hint) =
        (run.display(), "finish the run with `latrace run`, or give a model folder with --model");
    Err(Failure::work(format!("{shown} has no trained model")).hint(hint).into())
}

/// The sampling of a released model, which its generation settings state.
///
/// # Errors
/// Settings that cannot be read.
pub fn sampling_of(model: &Path) -> Result<SamplingParams> {
    let path = model.join(GENERATION);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let settings: Generation =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(settings.params())
}

fn fill(folder: &Path, trained: &Path, recipe: &RunRecipe) -> Result<()> {
    if is_adapter(trained)? {
        // In f32, the weights that were measured, but for the rounding of sums.
        write_whole(trained, folder, SaveDtype::F32)?;
    } else {
        link_weights(trained, folder)?;
        copy_companions(trained, folder)?;
    }
    let shape = ModelShape::read(trained)?;
    let text = TextCodec::open(trained, &shape)?;
    if let Some(template) = chat_template::of(recipe, &text)? {
        write_text(&folder.join("chat_template.jinja"), &template)?;
    }
    let generation = Generation::new(recipe.evaluation.sampling.params, shape.end_ids);
    write_text(&folder.join(GENERATION), &serde_json::to_string_pretty(&generation)?)
}

fn link_weights(trained: &Path, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(trained).with_context(|| format!("cannot read {}", trained.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "config.json" || name.contains(".safetensors") {
            link(&path, &folder.join(&name))?;
        }
    }
    Ok(())
}

/// A second name for a file, or a copy where the file system has no such thing.
fn link(from: &Path, to: &Path) -> Result<()> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).map(drop))
        .with_context(|| format!("cannot copy {}", from.display()))
}

/// Sampling in the terms of transformers, whose greedy decoding has no temperature.
#[derive(Debug, Serialize, Deserialize)]
struct Generation {
    eos_token_id: Vec<u32>,
    do_sample: bool,
    max_new_tokens: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_p: Option<f32>,
}

impl Generation {
    fn new(params: SamplingParams, end_ids: Vec<u32>) -> Generation {
        let do_sample = params.temperature > 0.0;
        Generation {
            eos_token_id: end_ids,
            do_sample,
            max_new_tokens: params.max_new_tokens,
            temperature: do_sample.then_some(params.temperature),
            top_p: do_sample.then_some(params.top_p),
            top_k: do_sample.then_some(params.top_k),
            min_p: do_sample.then_some(params.min_p),
        }
    }

    fn params(&self) -> SamplingParams {
        SamplingParams {
            temperature: self.temperature.filter(|_| self.do_sample).unwrap_or(0.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(0),
            min_p: self.min_p.unwrap_or(0.0),
            max_new_tokens: self.max_new_tokens,
        }
    }
}

#[cfg(test)]
mod tests;
