//! Exports the examples of a run's last training for other trainers: rows as text and as token ids, and the
//! training settings in the trainer's format.
//!
//! Whatever a trainer cannot express is listed in the exported README, never dropped silently.

mod llama_factory;
mod transformers;
mod trl;
mod yaml;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;
use latrace_engine::train_config::OverLength;
use serde_json::{Value, json};

use crate::pipeline::folder::read_record;
use crate::pipeline::records::ExampleRecord;
use crate::pipeline::runner::folder_of;
use crate::plan::{NodeId, Role, Stage, plan};
use crate::recipe::run::{RunRecipe, of_run};
use latrace_engine::ModelShape;
use latrace_engine::text_codec::TextCodec;
use latrace_io::failure::Failure;
use latrace_io::files::replace_folder;
use latrace_io::table::Table;

/// The trainer to export to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Hugging Face's TRL
    Trl,
    /// LLaMA-Factory
    LlamaFactory,
}

/// What was exported.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Rows.
    pub rows: usize,
    /// Rows dropped because they exceed the cut-off length.
    pub dropped: usize,
    /// Rows whose text does not tokenize back to their token ids.
    pub ambiguous: usize,
}

/// A training to export.
#[derive(Debug)]
struct Job {
    /// The model that training starts from.
    model: String,
    config: TrainConfig,
    rows: Vec<Example>,
    dropped: usize,
    ambiguous: usize,
}

/// An example, also as text.
#[derive(Debug)]
struct Example {
    record: ExampleRecord,
    prompt: String,
    completion: String,
}

impl Example {
    /// The weight of the sequence, shared by all its tokens.
    fn weight(&self) -> f64 {
        self.record.weight
    }

    /// The row with the fields that both trainers read.
    fn row(&self) -> Value {
        json!({"id": self.record.id, "source": self.record.source, "prompt": self.prompt, "completion": self.completion, "weight": self.weight()})
    }
}

impl Job {
    /// Total optimizer updates.
    fn steps(&self) -> u64 {
        let per_epoch = (self.rows.len() as u64).div_ceil(self.config.batch_size as u64);
        self.config.max_steps.unwrap_or(self.config.epochs * per_epoch)
    }

    /// Warm-up updates.
    fn warmup_steps(&self) -> u64 {
        (self.config.warmup_ratio * self.steps() as f64).ceil() as u64
    }

    /// C of the loss: the data set's mean response length (tokens).
    fn mean_response(&self) -> f64 {
        self.rows.iter().map(|row| row.record.response_ids.len()).sum::<usize>() as f64
            / self.rows.len() as f64
    }

    /// What is lost in a trainer without sequence weights.
    fn on_weights(&self) -> String {
        let weights = self.rows.iter().map(Example::weight);
        let (low, high) =
            weights.fold((f64::INFINITY, 0.0_f64), |(low, high), weight| (low.min(weight), high.max(weight)));
        if high - low <= 1e-9 * high {
            return format!(
                "All {} rows have weight {high:.4}: a trainer without sequence weights loses only that factor.",
                self.rows.len()
            );
        }
        format!(
            "The weights of the {} rows range from {low:.4} to {high:.4} (`weight` in data/train.jsonl): a trainer without sequence weights optimises a different objective.",
            self.rows.len()
        )
    }
}

/// Exports the last training of a run into a folder that is empty or absent.
///
/// # Errors
/// A run whose stage 8 is unfinished; rewarded samples, which a supervised trainer cannot use; I/O errors.
pub fn export(run: &Path, target: Target, out: &Path) -> Result<Exported> {
    let job = read_job(run)?;
    let files = match target {
        Target::Trl => trl::files(&job),
        Target::LlamaFactory => llama_factory::files(&job),
    };
    replace_folder(out, |folder| {
        for (name, text) in &files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(folder))?;
            fs::File::create(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    })?;
    Ok(Exported { rows: job.rows.len(), dropped: job.dropped, ambiguous: job.ambiguous })
}

/// A file name and its contents.
type File = (&'static str, String);

/// A README paragraph on whether the rows' text tokenizes back to their token ids.
fn on_text(job: &Job) -> String {
    match job.ambiguous {
        0 => "The text of every row tokenizes back to its token ids.".to_owned(),
        some => format!(
            "The text of {some} of {} rows does not tokenize back to its token ids, since a model may sample tokens that a tokenizer would not produce. Prefer the ids.",
            job.rows.len()
        ),
    }
}

fn json_lines(rows: impl Iterator<Item = Value>) -> String {
    rows.map(|row| format!("{row}\n")).collect()
}

fn read_job(run: &Path) -> Result<Job> {
    let recipe = of_run(run)?;
    if recipe.method.is_policy_gradient() {
        let message = "the examples of this run are rewarded samples, which supervised trainers cannot use";
        return Err(Failure::work(message).hint("TRL and other RL trainers sample for themselves").into());
    }
    let (dataset, model) = last_training(run, &recipe)?;
    let config = recipe.final_config();
    let initial = run.join(Stage::Initial.name());
    let shape = ModelShape::read(&initial)?;
    let text = TextCodec::open(&initial, &shape)?;
    let limit = config.cutoff_length.min(shape.positions);
    let mut job = Job { model, config, rows: Vec::new(), dropped: 0, ambiguous: 0 };
    for record in Table::<ExampleRecord>::open(&dataset).records()? {
        let record = record?;
        if record.prompt_ids.len() + record.response_ids.len() > limit
            && job.config.over_length != OverLength::Truncate
        {
            job.dropped += 1;
            continue;
        }
        let decode =
            |ids: &[u32]| text.decode(ids).with_context(|| format!("{} has no tokenizer", initial.display()));
        let (prompt, completion) = (decode(&record.prompt_ids)?, decode(&record.response_ids)?);
        let is_same = |part: &str, ids: &[u32]| text.encode("text", part).is_ok_and(|encoded| encoded == ids);
        job.ambiguous += usize::from(
            !(is_same(&prompt, &record.prompt_ids) && is_same(&completion, &record.response_ids)),
        );
        job.rows.push(Example { record, prompt, completion });
    }
    if job.rows.is_empty() {
        Err(Failure::work("the run has no row to train on within the cut-off length").into())
    } else {
        Ok(job)
    }
}

/// The examples of the last round with a finished stage 8, and the model that training on them starts from.
fn last_training(run: &Path, recipe: &RunRecipe) -> Result<(PathBuf, String)> {
    let plan = plan(recipe)?;
    let folder = |id: NodeId| run.join(plan.nodes[id].folder());
    let is_done = |id: NodeId| read_record(&folder(id)).ok().flatten().is_some_and(|record| record.done);
    let trainings = (1..=recipe.rounds).rev().filter_map(|round| plan.node(None, round, Stage::Final));
    let inputs = trainings.filter_map(|id| {
        let input = |role| plan.nodes[id].inputs.iter().find(|(known, _)| *known == role).map(|(_, id)| *id);
        Some((input(Role::Rows)?, input(Role::Model)?))
    });
    let Some((dataset, start)) = inputs.into_iter().find(|(dataset, _)| is_done(*dataset)) else {
        let message = format!("{} has no finished stage {}", run.display(), Stage::Dataset);
        return Err(Failure::work(message).hint("`latrace status` says how far the run is").into());
    };
    let model = folder_of(&plan.nodes[start], folder(start))?;
    let absolute = std::path::absolute(&model).ok().filter(|path| path.is_dir());
    Ok((folder(dataset), absolute.unwrap_or(model).display().to_string()))
}
