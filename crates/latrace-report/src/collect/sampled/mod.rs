//! Stages 3 to 7, part by part: losses and weights of traces, and a selection of traces to read.

mod browsed;
mod choice;
mod counts;
mod weighing;

use std::collections::HashMap;

use anyhow::Result;
use latrace_core::Reason;

use super::lengths::lengths;
use super::stages::RunStages;
use super::words::tokenizer;
use crate::data::{Bounds, FunnelStep, LengthFigure, TraceBrowser, VerdictCount, WeightFigure};
use choice::Choice;
use counts::Counts;
use latrace_io::table::{Record, Table};
use latrace_run::join::{self, Join, OfTrace, all_matched};
use latrace_run::pipeline::records::{
    AnswerRecord, QuestionRecord, ScoreRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use latrace_run::plan::Stage;
use latrace_run::recipe::run::RunRecipe;
use weighing::bounds;

/// The data on sampled traces.
#[derive(Default)]
pub(super) struct Sampled {
    pub(super) funnel: Vec<FunnelStep>,
    pub(super) verdicts: Vec<VerdictCount>,
    pub(super) weights: Option<WeightFigure>,
    pub(super) bounds: Option<Bounds>,
    pub(super) lengths: Option<LengthFigure>,
    pub(super) traces: TraceBrowser,
}

/// Reads the finished ones of stages 3 to 7.
pub(super) fn read(recipe: &RunRecipe, stages: &RunStages) -> Result<Sampled> {
    let Some(tables) = Tables::open(stages) else { return Ok(Sampled::default()) };
    let (mut counts, mut choice) = (Counts::default(), Choice::new(recipe.seed));
    // Part by part, because the traces of a run need not fit into memory.
    for part in 0..tables.traces.parts()? {
        for (question, traces) in tables.read(part)? {
            counts.add(&traces);
            choice.offer(question, traces);
        }
    }
    Ok(Sampled {
        funnel: counts.funnel(&tables, recipe),
        weights: tables.weights.is_some().then(|| counts.weights(recipe)).transpose()?,
        bounds: stages.counts(Stage::Weights).map(bounds),
        lengths: lengths(&counts.scores)?,
        traces: choice.traces(recipe, tokenizer(stages)?),
        verdicts: counts.verdicts(),
    })
}

/// The tables of finished stages.
struct Tables {
    questions: Table<QuestionRecord>,
    traces: Table<TraceRecord>,
    scores: Option<Table<ScoreRecord>>,
    answers: Option<Table<AnswerRecord>>,
    verdicts: Option<Table<VerdictRecord>>,
    weights: Option<Table<WeightRecord>>,
}

type OnTrace = join::OnTrace<Reason>;

/// The traces of a question, each with the records on it.
type JoinedTraces = Vec<(TraceRecord, OnTrace)>;

impl Tables {
    /// The tables, if there are traces.
    fn open(stages: &RunStages) -> Option<Tables> {
        Some(Tables {
            questions: Table::open(stages.done(Stage::Questions)?),
            traces: Table::open(stages.done(Stage::Traces)?),
            scores: stages.done(Stage::Scores).map(Table::open),
            answers: stages.done(Stage::Answers).map(Table::open),
            verdicts: stages.done(Stage::Verdicts).map(Table::open),
            weights: stages.done(Stage::Weights).map(Table::open),
        })
    }

    /// The questions of a part that have traces, in order.
    fn read(&self, part: usize) -> Result<Vec<(QuestionRecord, JoinedTraces)>> {
        let joined = self.join(part)?.into_questions().into_iter();
        let mut traces: HashMap<String, _> = joined.map(|question| (question.id, question.traces)).collect();
        let questions = self.questions.read(part)?.into_iter();
        Ok(questions.filter_map(|question| traces.remove(&question.id).map(|of| (question, of))).collect())
    }

    /// The traces of a part with all records on them; verdicts after the answers that they are on.
    fn join(&self, part: usize) -> Result<TraceJoin> {
        let mut join = TraceJoin::new(self.traces.read(part)?, join::twice)?;
        add(&mut join, &self.scores, part, OnTrace::put_score)?;
        add(&mut join, &self.weights, part, OnTrace::put_weight)?;
        add(&mut join, &self.answers, part, OnTrace::put_answer)?;
        add(&mut join, &self.verdicts, part, |_, on, record: VerdictRecord| {
            on.put_verdict(&record, record.answer, record.reason)
        })?;
        Ok(join)
    }
}

type TraceJoin = Join<TraceRecord, OnTrace>;

/// Joins a part of a table to its traces, if the stage is finished. A record without a trace is an error:
/// the run folder holds stages of different runs.
fn add<R: Record + OfTrace>(
    join: &mut TraceJoin,
    table: &Option<Table<R>>,
    part: usize,
    put: impl FnMut(&TraceRecord, &mut OnTrace, R) -> Result<()>,
) -> Result<()> {
    let Some(table) = table else { return Ok(()) };
    all_matched(&join.add(table.read(part)?, put)?)
}
