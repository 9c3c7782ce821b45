//! The stages of a run, one file each, with one interface: the folders of earlier stages, settings and the
//! folder to fill as inputs, and counts as output.
//!
//! Each resumes from the finished parts in its folder; a part is written atomically.

pub mod answers;
pub mod dataset;
pub mod evaluation;
pub mod model;
pub mod questions;
pub mod scores;
pub mod traces;
pub mod training;
pub mod verdicts;
pub mod weights;

use std::marker::PhantomData;
use std::path::Path;

use anyhow::{Context, Result};
use latrace_engine::boundary::Completion;
use rayon::prelude::*;
use serde_json::Value;

use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::plan::{Node, Settings};
use latrace_engine::sampling::{PartSamples, Prompt, SampleJob, draw_parts};
use latrace_io::table::{Record, Table};

/// Executes a node: fills the stage's folder, resuming from the parts already in it, and returns its counts.
///
/// # Errors
/// Those of the stage.
pub fn work(node: &Node, inputs: &Inputs, context: &RunContext, stage: &StageFolder) -> Result<Value> {
    match &node.settings {
        Settings::Model(settings) => model::run(settings, stage),
        Settings::Questions(settings) => questions::run(settings, inputs, context, stage),
        Settings::Fit(settings) => training::run(settings, inputs, context, stage),
        Settings::Traces(settings) => traces::run(settings, inputs, context, stage),
        Settings::Scores(settings) => scores::run(settings, inputs, context, stage),
        Settings::Answers(settings) => answers::run(settings, inputs, context, stage),
        Settings::Verdicts(settings) => verdicts::run(settings, inputs, context, stage),
        Settings::Weights(settings) => weights::run(settings, inputs, stage),
        Settings::Dataset(settings) => dataset::run(settings, inputs, stage),
        Settings::Evaluation(settings) => evaluation::run(settings, inputs, context, stage),
    }
}

/// The counts that a stage leaves in its record, over all rows of its table.
trait Counts<R>: Default {
    /// Counts a row.
    fn add(&mut self, row: &R);
}

/// The parts of `out` still to be written; it gets as many as `source` has. Rows of the others, left by an
/// earlier attempt, are counted: those to come are counted as they are written, so that no stage reads its
/// own table again.
fn missing_parts<S, R: Record, C: Counts<R>>(
    source: &Table<S>,
    out: &Table<R>,
    counts: &mut C,
) -> Result<Vec<usize>> {
    let (written, missing): (Vec<usize>, Vec<usize>) = (0..source.parts()?).partition(|&part| out.has(part));
    for part in written {
        out.read(part)?.iter().for_each(|row| counts.add(row));
    }
    Ok(missing)
}

/// Prompts and records of a sampling stage: `ask` returns the prompts of a part, each with its subject, and
/// `record` makes the record of a subject and a numbered sample.
struct Sampled<'a, T, R, C, Ask, Make> {
    out: &'a Table<R>,
    counts: &'a mut C,
    ask: Ask,
    record: Make,
    of: PhantomData<T>,
}

impl<T, R, C, Ask, Make> PartSamples for Sampled<'_, T, R, C, Ask, Make>
where
    T: Sync + Send,
    R: Record + Send + Sync,
    C: Counts<R>,
    Ask: FnMut(usize) -> Result<Vec<(T, Prompt)>>,
    Make: Fn(&T, u64, Completion) -> Result<R> + Sync,
{
    type Of = T;

    fn read(&mut self, part: usize) -> Result<Vec<(T, Prompt)>> {
        (self.ask)(part)
    }

    fn write(&mut self, part: usize, samples: Vec<(T, Vec<Completion>)>) -> Result<()> {
        let make = &self.record;
        let of_prompt = |(of, completions): (T, Vec<Completion>)| {
            let records = (0..).zip(completions).map(|(number, completion)| make(&of, number, completion));
            records.collect::<Result<Vec<R>>>()
        };
        let records: Vec<Vec<R>> = samples.into_par_iter().map(of_prompt).collect::<Result<_>>()?;
        let records: Vec<R> = records.into_iter().flatten().collect();
        records.iter().for_each(|record| self.counts.add(record));
        self.out.write(part, &records)
    }
}

/// Writes the missing parts of `out`, with samples from the model in a folder, and returns the counts of all
/// parts.
fn draw_stage<S, T: Sync + Send, R: Record + Send + Sync, C: Counts<R>>(
    (source, out): (&Table<S>, &Table<R>),
    (context, model): (&RunContext, &Path),
    job: &SampleJob,
    stage: &StageFolder,
    ask: impl FnMut(usize) -> Result<Vec<(T, Prompt)>>,
    record: impl Fn(&T, u64, Completion) -> Result<R> + Sync,
) -> Result<C> {
    let mut counts = C::default();
    let parts = missing_parts(source, out, &mut counts)?;
    let mut samples = Sampled { out, counts: &mut counts, ask, record, of: PhantomData };
    draw_parts(job, parts, &stage.path, &mut samples, || context.engine.generator(model))
        .with_context(|| format!("cannot sample {}", job.stage))?;
    Ok(counts)
}
