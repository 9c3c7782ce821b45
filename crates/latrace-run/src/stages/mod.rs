//! The stages of a run, one file each, with one interface: the folders of earlier stages, settings and the
//! folder to fill as inputs, and counts as output.
//!
//! Each resumes from the finished parts in its folder; a part is written atomically.

pub mod answers;
pub mod dataset;
pub mod distillation;
pub mod evaluation;
pub mod mixture;
pub mod model;
pub mod posterior_dataset;
pub mod questions;
pub mod refinement_dataset;
pub mod rescoring;
pub mod scores;
mod selection;
pub mod traces;
pub mod training;
pub mod verdicts;
pub mod weights;

use std::marker::PhantomData;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use latrace_engine::boundary::Completion;
use serde_json::Value;

use crate::pipeline::context::RunContext;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::inputs::Inputs;
use crate::plan::{Node, Role, Settings};
use crate::recipe::run::Sampling;
use latrace_engine::sampling::{PartSamples, Prompt, SampleJob, draw_parts};
use latrace_engine::trace_codec::TraceCodec;
use latrace_io::progress::Progress;
use latrace_io::table::{Record, Table};

/// What a stage works with: the folders of its inputs, the engine, and the folder to fill.
#[derive(Clone, Copy)]
pub struct StageWork<'a> {
    inputs: &'a Inputs,
    context: &'a RunContext,
    stage: &'a StageFolder,
}

impl StageWork<'_> {
    /// The table of a required input.
    fn input<R>(&self, role: Role) -> Result<Table<R>> {
        Ok(Table::open(self.inputs.folder(role)?))
    }

    /// The stage's own table. Its parts carry the stage's key, as a record of what they were made from.
    fn output<R>(&self) -> Table<R> {
        Table::create(&self.stage.path, &self.stage.key())
    }

    fn model(&self) -> Result<&Path> {
        self.inputs.folder(Role::Model)
    }
}

/// Executes a node: fills the stage's folder, resuming from the parts already in it, and returns its counts.
///
/// # Errors
/// Those of the stage.
pub fn work(node: &Node, inputs: &Inputs, context: &RunContext, stage: &StageFolder) -> Result<Value> {
    let work = StageWork { inputs, context, stage };
    match &node.settings {
        Settings::Model(settings) => model::run(settings, stage),
        Settings::Questions(settings) => questions::run(settings, work),
        Settings::Fit(settings) => training::run(settings, work),
        Settings::Traces(settings) => traces::run(settings, work),
        Settings::Rescoring(settings) => rescoring::run(settings, work),
        Settings::Mixture(settings) => mixture::run(settings, work),
        Settings::Scores(settings) => scores::run(settings, work),
        Settings::Answers(settings) => answers::run(settings, work),
        Settings::Verdicts(settings) => verdicts::run(settings, work),
        Settings::Weights(settings) => weights::run(settings, work),
        Settings::PosteriorDataset => posterior_dataset::run(work),
        Settings::RefinementDataset(settings) => refinement_dataset::run(settings, work),
        Settings::Dataset(settings) => dataset::run(settings, work),
        Settings::Distillation(settings) => distillation::run(settings, work),
        Settings::Evaluation(settings) => evaluation::run(settings, work),
    }
}

/// The counts that a stage leaves in its record, over all rows of its table.
trait Counts<R>: Default {
    /// Counts a row.
    fn add(&mut self, row: &R);

    /// Counts several rows.
    fn add_all(&mut self, rows: &[R]) {
        rows.iter().for_each(|row| self.add(row));
    }
}

/// Counts of parts that other threads write.
struct SharedCounts<C>(Mutex<C>);

impl<C> SharedCounts<C> {
    fn new(counts: C) -> SharedCounts<C> {
        SharedCounts(Mutex::new(counts))
    }

    fn add_all<R>(&self, rows: &[R])
    where
        C: Counts<R>,
    {
        // Nothing that can panic runs under the lock, so that it is never poisoned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add_all(rows);
    }

    fn into_inner(self) -> C {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an earlier attempt has left to do.
struct Missing {
    /// The parts still to be written.
    parts: Vec<usize>,
    /// The rows of the others.
    written_rows: u64,
}

/// The parts of `out` still to be written; it gets as many as `source` has. Rows of the others, left by an
/// earlier attempt, are counted: those to come are counted as they are written, so that no stage reads its
/// own table again.
fn missing_parts<S, R: Record, C: Counts<R>>(
    source: &Table<S>,
    out: &Table<R>,
    counts: &mut C,
) -> Result<Missing> {
    let (written, parts): (Vec<usize>, Vec<usize>) = (0..source.parts()?).partition(|&part| out.has(part));
    // All are of this stage's key: the runner removes a folder whose key has changed.
    let mut written_rows = 0;
    for part in written {
        let rows = out.read(part)?;
        written_rows += rows.len() as u64;
        counts.add_all(&rows);
    }
    Ok(Missing { parts, written_rows })
}

/// A progress bar over all parts, which begins behind those that an earlier attempt has written.
fn parts_progress(what: &'static str, all: usize, missing: usize) -> Progress {
    Progress::new(what, (all - missing) as u64, Some(all as u64))
}

/// Prompts and records of a sampling stage: `ask` returns the prompts of a part, each with its subject, and
/// `records` makes the records of a part's subjects and their samples.
struct Sampled<'a, T, R, C, Ask, Make> {
    out: &'a Table<R>,
    counts: SharedCounts<C>,
    ask: Ask,
    records: Make,
    of: PhantomData<fn() -> T>,
}

impl<T, R, C, Ask, Make> PartSamples for Sampled<'_, T, R, C, Ask, Make>
where
    T: Sync + Send,
    R: Record + Send + Sync,
    C: Counts<R> + Send,
    Ask: Fn(usize) -> Result<Vec<(T, Prompt)>> + Sync,
    Make: Fn(Vec<(T, Vec<Completion>)>) -> Result<Vec<R>> + Sync,
{
    type Of = T;

    fn read(&self, part: usize) -> Result<Vec<(T, Prompt)>> {
        (self.ask)(part)
    }

    fn write(&self, part: usize, samples: Vec<(T, Vec<Completion>)>) -> Result<()> {
        // On the thread that writes, without the pool, all threads of which the engine may hold.
        let records = (self.records)(samples)?;
        self.counts.add_all(&records);
        self.out.write(part, &records)
    }
}

/// Makes the records of a part's samples one by one, numbered in the order in which each prompt's are drawn.
fn one_by_one<T, R>(
    record: impl Fn(&T, u64, Completion) -> R + Sync,
) -> impl Fn(Vec<(T, Vec<Completion>)>) -> Result<Vec<R>> + Sync {
    move |samples| {
        let numbered = |of: T, drawn: Vec<Completion>| {
            (0..).zip(drawn).map(|(number, drawn)| record(&of, number, drawn)).collect::<Vec<R>>()
        };
        Ok(samples.into_iter().flat_map(|(of, drawn)| numbered(of, drawn)).collect())
    }
}

/// The job that draws `sampling` samples which end as an answer does: answers, and whole responses.
fn answer_job(stage: &'static str, sampling: Sampling, seed: u64, codec: &TraceCodec) -> SampleJob {
    let Sampling { n, params } = sampling;
    let (stop_ids, stop_texts) = (codec.answer_end_ids(), codec.answer_stops());
    SampleJob { stage, seed, n, params, stop_ids, stop_texts }
}

/// Writes the missing parts of the stage's table, with samples from its model, and returns the counts of all
/// parts.
fn draw_stage<S, T: Sync + Send, R: Record + Send + Sync, C: Counts<R> + Send>(
    work: StageWork<'_>,
    source: &Table<S>,
    job: &SampleJob,
    ask: impl Fn(usize) -> Result<Vec<(T, Prompt)>> + Sync,
    records: impl Fn(Vec<(T, Vec<Completion>)>) -> Result<Vec<R>> + Sync,
) -> Result<C> {
    let (model, out) = (work.model()?, &work.output());
    let mut counts = C::default();
    let Missing { parts, written_rows } = missing_parts(source, out, &mut counts)?;
    let samples = Sampled { out, counts: SharedCounts::new(counts), ask, records, of: PhantomData };
    draw_parts(job, parts, written_rows, &work.stage.path, &samples, || work.context.engine.generator(model))
        .with_context(|| format!("cannot sample {}", job.stage))?;
    Ok(samples.counts.into_inner())
}

#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod tests {
    use latrace_core::Split;

    use super::*;
    use crate::pipeline::records::QuestionRecord;
    use testing::question;

    #[derive(Default)]
    struct Rows(usize);

    impl Counts<QuestionRecord> for Rows {
        fn add(&mut self, _: &QuestionRecord) {
            self.0 += 1;
        }
    }

    #[test]
    fn rows_of_parts_that_are_there_are_counted_and_the_others_are_missing() {
        let (source, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = Table::<QuestionRecord>::create(source.path(), "key");
        let out = Table::<QuestionRecord>::create(out.path(), "key");
        let rows = |count: usize| vec![question("q", Split::Train); count];
        (0..3).for_each(|part| source.write(part, &rows(1)).unwrap());
        out.write(1, &rows(5)).unwrap();
        let mut counts = Rows::default();
        let missing = missing_parts(&source, &out, &mut counts).unwrap();
        assert_eq!((missing.parts, missing.written_rows, counts.0), (vec![0, 2], 5, 5));
    }
}
