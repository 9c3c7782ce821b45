//! The training to export: its examples, as token ids and as text, and its settings.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_engine::adapters::check_whole;
use latrace_engine::text_codec::TextCodec;
use latrace_engine::train_config::OverLength;
use latrace_engine::{ModelShape, TrainConfig};
use latrace_io::failure::Failure;
use serde_json::{Value, json};

use crate::pipeline::folder::read_record;
use crate::pipeline::records::ExampleRecord;
use crate::pipeline::runner::folder_of;
use crate::plan::{FitRows, Node, NodeId, Plan, Role, Settings, Stage, plan};
use crate::recipe::run::of_run;
use crate::stages::training::each_example;

/// A training to export.
#[derive(Debug)]
pub(super) struct Job {
    /// The model that training starts from.
    pub(super) model: String,
    pub(super) config: TrainConfig,
    pub(super) rows: Vec<Example>,
    /// Rows over the cut-off length.
    pub(super) dropped: usize,
    /// Rows whose text does not tokenize back to their token ids.
    pub(super) ambiguous: usize,
}

/// An example, also as text.
#[derive(Debug)]
pub(super) struct Example {
    pub(super) record: ExampleRecord,
    prompt: String,
    completion: String,
}

impl Example {
    fn decoded(record: ExampleRecord, text: &TextCodec, model: &Path) -> Result<Example> {
        let no_tokenizer = || format!("{} has no tokenizer", model.display());
        // The trainer's tokenizer puts these before the text once more.
        let begin = text.begin_ids();
        let prompt_ids = record.prompt_ids.strip_prefix(begin).unwrap_or(&record.prompt_ids);
        let prompt = text.decode(prompt_ids).with_context(no_tokenizer)?;
        let completion = text.decode(&record.response_ids).with_context(no_tokenizer)?;
        Ok(Example { record, prompt, completion })
    }

    /// Whether the text tokenizes back to the token ids. A model may sample tokens that a tokenizer would not
    /// produce, and a trainer that reads the text would then train on others.
    fn is_exact(&self, text: &TextCodec) -> bool {
        let prompt = text.encode_prompt("prompt", &self.prompt);
        let completion = text.encode("completion", &self.completion);
        prompt.is_ok_and(|ids| ids == self.record.prompt_ids)
            && completion.is_ok_and(|ids| ids == self.record.response_ids)
    }

    /// The row with the fields that both trainers read.
    pub(super) fn row(&self) -> Value {
        let ExampleRecord { id, source, weight, .. } = &self.record;
        let Example { prompt, completion, .. } = self;
        json!({"id": id, "source": source, "prompt": prompt, "completion": completion, "weight": weight})
    }
}

/// Fails for a training of which not all weights take part: what is written for other trainers trains all of them.
fn check_all_trained(config: &TrainConfig) -> Result<()> {
    if config.lora.is_none() && config.frozen.is_empty() {
        return Ok(());
    }
    let message = "the training is of an adapter (`lora`) or leaves parameters as they are (`frozen`), which is not exported";
    Err(Failure::work(message).hint("take it out of the recipe, or train here: `latrace run`").into())
}

impl Job {
    /// Reads a training of a run: that whose folder is `stage`, or else the last one of the run's own method that has
    /// its examples.
    ///
    /// # Errors
    /// Unfinished examples; those of a policy gradient; no row within the cut-off length.
    pub(super) fn read(run: &Path, stage: Option<&str>) -> Result<Job> {
        let plan = plan(&of_run(run)?)?;
        let training = match stage {
            Some(stage) => plan.training(stage)?,
            None => last_training(&plan, run)?,
        };
        let Settings::Fit(settings) = &plan.nodes[training].settings else {
            unreachable!("it is a training")
        };
        let input = |role| plan.nodes[training].input(role).context("a training has a model and rows");
        let (rows, start) = (&plan.nodes[input(Role::Rows)?], &plan.nodes[input(Role::Model)?]);
        let table = run.join(rows.folder());
        if !is_done(&table) {
            return Err(unfinished(run, rows).into());
        }
        let model = absolute(folder_of(start, run.join(start.folder()))?);
        let (shown, config) = (model.display().to_string(), settings.config());
        check_whole(&model, "another trainer")?;
        check_all_trained(&config)?;
        let mut job = Job { model: shown, config, rows: Vec::new(), dropped: 0, ambiguous: 0 };
        job.read_rows(settings.rows, &table, &model)?;
        if job.rows.is_empty() {
            return Err(Failure::work("the run has no row to train on within the cut-off length").into());
        }
        Ok(job)
    }

    /// Reads the examples of a data set, with the tokenizer of `model`, which all models of a run share.
    fn read_rows(&mut self, of: FitRows, table: &Path, model: &Path) -> Result<()> {
        let shape = ModelShape::read(model)?;
        let text = TextCodec::open(model, &shape)?;
        let limit = self.config.cutoff_length.min(shape.positions);
        each_example(of, table, |record| {
            check_supervised(&record)?;
            if self.is_dropped(&record, limit) {
                self.dropped += 1;
            } else {
                self.add(Example::decoded(record, &text, model)?, &text);
            }
            Ok(())
        })
    }

    fn add(&mut self, example: Example, text: &TextCodec) {
        self.ambiguous += usize::from(!example.is_exact(text));
        self.rows.push(example);
    }

    /// Whether our own trainer would drop a row for its length.
    fn is_dropped(&self, record: &ExampleRecord, limit: usize) -> bool {
        let tokens = record.prompt_ids.len() + record.response_ids.len();
        tokens > limit && self.config.over_length != OverLength::Truncate
    }

    /// Total optimizer updates.
    pub(super) fn steps(&self) -> u64 {
        let per_epoch = (self.rows.len() as u64).div_ceil(self.rows_per_update());
        self.config.max_steps.unwrap_or(self.config.epochs * per_epoch)
    }

    /// Rows of an update. Where it has a number of questions, their mean number of rows: no other trainer keeps a
    /// question's rows together.
    pub(super) fn rows_per_update(&self) -> u64 {
        if self.config.batch_questions == 0 {
            return self.config.batch_size as u64;
        }
        let same = self.rows.windows(2).filter(|pair| pair[0].record.id == pair[1].record.id).count();
        let questions = (self.rows.len() - same).max(1);
        let rows = self.config.batch_questions * self.rows.len();
        (rows as f64 / questions as f64).round().max(1.0) as u64
    }

    /// Warm-up updates.
    pub(super) fn warmup_steps(&self) -> u64 {
        (self.config.warmup_ratio * self.steps() as f64).ceil() as u64
    }

    /// C of the loss: the data set's mean response length (tokens).
    pub(super) fn mean_response(&self) -> f64 {
        let tokens: usize = self.rows.iter().map(|row| row.record.response_ids.len()).sum();
        tokens as f64 / self.rows.len() as f64
    }

    /// The smallest and the largest weight of a row.
    pub(super) fn weight_range(&self) -> (f64, f64) {
        let widened = |(low, high): (f64, f64), weight| (low.min(weight), high.max(weight));
        self.rows.iter().map(|row| row.record.weight).fold((f64::INFINITY, 0.0), widened)
    }
}

/// Refuses rewarded samples: without old log-probs and clipping, a negative advantage would push the loss
/// to minus infinity.
fn check_supervised(example: &ExampleRecord) -> Result<()> {
    if example.old_logprobs.is_none() {
        return Ok(());
    }
    let message = "the examples of this training are rewarded samples, which supervised trainers cannot use";
    Err(Failure::work(message).hint("TRL and other RL trainers sample for themselves").into())
}

/// The training of the last round with finished examples: an unfinished run can be exported as far as it is.
fn last_training(plan: &Plan, run: &Path) -> Result<NodeId> {
    let trainings =
        plan.steps.iter().rev().filter(|step| step.method.is_none() && step.stage == Stage::Final);
    let has_examples = |id: &NodeId| {
        let rows = plan.nodes[*id].input(Role::Rows);
        rows.is_some_and(|rows| is_done(&run.join(plan.nodes[rows].folder())))
    };
    trainings.map(|step| step.node).find(has_examples).ok_or_else(|| no_dataset(run).into())
}

fn is_done(stage: &Path) -> bool {
    read_record(stage).ok().flatten().is_some_and(|record| record.is_current())
}

fn no_dataset(run: &Path) -> Failure {
    Failure::work(format!("{} has no finished stage {}", run.display(), Stage::Dataset))
        .hint("`latrace status` says how far the run is")
}

fn unfinished(run: &Path, stage: &Node) -> Failure {
    Failure::work(format!("{} has no finished {}", run.display(), stage.folder().display()))
        .hint("`latrace status` says how far the run is")
}

/// The absolute path of a model folder: the export is used from another working directory. A hub id is left as
/// it is.
fn absolute(model: PathBuf) -> PathBuf {
    std::path::absolute(&model).ok().filter(|path| path.is_dir()).unwrap_or(model)
}
