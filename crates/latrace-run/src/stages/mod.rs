//! The stages of a run, one file each, of one shape: what earlier stages left, settings, and the folder to
//! fill, in; counts out.
//!
//! Each goes on from the parts that are in its folder, and writes a part only when it is whole.

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

use anyhow::Result;
use latrace_engine::lm::{Sample, Sampler};
use rayon::prelude::*;
use serde_json::Value;

use crate::pipeline::context::RunContext;
use crate::pipeline::drawing::draw;
use crate::pipeline::folder::StageFolder;
use crate::pipeline::runner::Inputs;
use crate::plan::{Node, Settings};
use latrace_engine::sampling::missing::{Draws, Prompt};
use latrace_io::progress::Progress;
use latrace_io::table::{Record, Table};

/// Does the work of a node: fills the stage's folder, resuming from what is there, and says what it counted.
///
/// # Errors
/// Those of the stage.
pub fn work(node: &Node, inputs: &Inputs, context: &RunContext, stage: &StageFolder) -> Result<Value> {
    match &node.settings {
        Settings::Model(settings) => model::run(settings, stage),
        Settings::Questions(settings) => questions::run(settings, inputs, context, stage),
        Settings::Fit(settings) => training::run(settings, inputs, stage),
        Settings::Traces(settings) => traces::run(settings, inputs, context, stage),
        Settings::Scores(settings) => scores::run(settings, inputs, context, stage),
        Settings::Answers(settings) => answers::run(settings, inputs, context, stage),
        Settings::Verdicts(settings) => verdicts::run(settings, inputs, context, stage),
        Settings::Weights(settings) => weights::run(settings, inputs, stage),
        Settings::Dataset(settings) => dataset::run(settings, inputs, stage),
        Settings::Evaluation(settings) => evaluation::run(settings, inputs, context, stage),
    }
}

/// Parts drawn in one go: memory holds their prompts and samples.
const PARTS_AT_ONCE: usize = 64;

/// The parts of `out` that are yet to be written, of as many as `source` has, in groups that memory can hold.
fn missing_parts<S: Record, R: Record>(source: &Table<S>, out: &Table<R>) -> Result<Vec<Vec<usize>>> {
    let missing: Vec<usize> = (0..source.parts()?).filter(|&part| !out.has(part)).collect();
    Ok(missing.chunks(PARTS_AT_ONCE).map(<[usize]>::to_vec).collect())
}

/// Writes the parts of `out` that are missing: `ask` gives what a part of `source` asks, each with its
/// prompt, and `record` makes the record of a sample.
fn draw_missing<S: Record, R: Record + Send, T: Sync>(
    source: &Table<S>,
    out: &Table<R>,
    make: impl FnOnce() -> Result<Sampler>,
    draws: &Draws<'_>,
    stage: &StageFolder,
    ask: impl Fn(usize) -> Result<Vec<(T, Prompt)>>,
    record: impl Fn(&T, Sample) -> Result<R> + Sync,
) -> Result<()> {
    let groups = missing_parts(source, out)?;
    if groups.is_empty() {
        return Ok(());
    }
    let (mut sampler, mut progress) = (make()?, Progress::new(draws.stage, 0, None));
    for group in groups {
        let parts = group.iter().map(|&part| ask(part)).collect::<Result<Vec<_>>>()?;
        draw(&mut sampler, draws, &parts, stage, &mut progress, &mut |at, samples| {
            let asked = parts[at].iter().zip(samples);
            let drawn: Vec<(&T, Sample)> = asked
                .flat_map(|((of, _), samples)| samples.into_iter().map(move |sample| (of, sample)))
                .collect();
            let records =
                drawn.into_par_iter().map(|(of, sample)| record(of, sample)).collect::<Result<Vec<R>>>()?;
            out.write(group[at], &records)
        })?;
    }
    progress.finish();
    Ok(())
}
