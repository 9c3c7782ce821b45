//! Training: everything is planned here, carried out by the ranks, and reported as by the built-in trainer.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use latrace_lm::train_config::Init;
use latrace_lm::trainer::Outcome;
use latrace_lm::{
    Event, Metrics, Model, RowSource, SaveDtype, Survey, TokenLimits, TrainConfig, TrainPlan, TrainRow,
    Update,
};

use super::TorchrunConfig;
use super::checkpoints::{Checkpoint, Position, keep_only, latest, mark_finished, remove};
use super::job::{Training, What, rows_file, write_plan};
use super::model::check_weights;
use super::publish::publish;
use super::worker::{RankEvent, Ranks};
use crate::boundary::{Fit, FitJob, ModelShape};

/// The folder in that of a training with what the ranks were told and what they said.
pub const WORK: &str = "torchrun";

pub(super) struct TorchrunFit {
    pub config: TorchrunConfig,
}

impl Fit for TorchrunFit {
    fn fit(&mut self, job: FitJob<'_>, observer: &mut dyn FnMut(Event) -> Result<()>) -> Result<()> {
        job.config.validate()?;
        let survey = Survey::of(job.rows, job.config)?;
        let run = TorchrunRun::new(&self.config, &job, survey.fingerprint())?;
        let position = if job.resume { run.latest()? } else { Position::Fresh };
        let checkpoint = match position {
            Position::Finished => {
                run.clear()?;
                return observer(Event::NothingToDo);
            }
            Position::Checkpoint(checkpoint) => Some(checkpoint),
            Position::Fresh => None,
        };
        let shape = ModelShape::read(job.model)?;
        let limits = TokenLimits { vocabulary: shape.vocabulary_size, positions: shape.positions };
        let plan = survey.plan(job.rows, job.config, limits)?;
        run.carry_out(&plan, checkpoint, observer)
    }
}

/// A training run and where its files are.
struct TorchrunRun<'a> {
    config: &'a TorchrunConfig,
    job: &'a FitJob<'a>,
    /// In full, since the ranks may run in another folder.
    out: PathBuf,
    work: PathBuf,
    fingerprint: String,
}

impl<'a> TorchrunRun<'a> {
    fn new(config: &'a TorchrunConfig, job: &'a FitJob<'a>, rows_and_settings: u64) -> Result<Self> {
        let out = full_path(job.out)?;
        // Another engine, or another data type, is another run.
        let engine = format!("{}-{}-{}", super::KIND, super::NUMERICS, config.dtype.name());
        let fingerprint = format!("{engine}-{rows_and_settings:016x}");
        Ok(Self { config, job, work: out.join(WORK), out, fingerprint })
    }

    fn latest(&self) -> Result<Position> {
        latest(&self.out, &self.work, &self.fingerprint)
    }

    fn carry_out(
        &self,
        plan: &TrainPlan,
        checkpoint: Option<Checkpoint>,
        observer: &mut dyn FnMut(Event) -> Result<()>,
    ) -> Result<()> {
        self.config.check_installed()?;
        let mut ranks = self.start(plan, checkpoint.as_ref())?;
        let done = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let mut updates = plan.updates_after(done);
        let mut saved = false;
        while let Some(event) = ranks.next()? {
            match event {
                RankEvent::Started { .. } => {
                    describe(&event, checkpoint.as_ref());
                    observer(started(plan, checkpoint.as_ref()))?;
                }
                RankEvent::Update { .. } => {
                    let update = updates.next().context("the ranks made more updates than planned")?;
                    observer(Event::Step(self.metrics(plan, &update, &event)?))?;
                }
                RankEvent::Checkpoint { step } => {
                    keep_only(&self.work, Some(step))?;
                    observer(Event::Checkpoint { step })?;
                }
                RankEvent::Saved => saved = true,
                RankEvent::Scored { .. } => {}
            }
        }
        ensure!(saved, "the ranks ended without a model in {}", self.work.display());
        self.finish(plan)?;
        observer(Event::Finished)
    }

    /// Writes the files of the job and starts the ranks.
    fn start(&self, plan: &TrainPlan, checkpoint: Option<&Checkpoint>) -> Result<Ranks> {
        self.make_work_folder(checkpoint)?;
        let rows = rows_file(&self.work, self.job.rows)?;
        let what =
            Training::new(&self.work, rows.clone(), plan, self.job.config, &self.fingerprint, checkpoint);
        write_plan(&what.plan, plan, self.job.rows)?;
        let model = self.first_model(checkpoint)?;
        Ranks::start(&self.work, &model, self.config, What::Train(Box::new(what)), Some(rows))
    }

    /// Leaves of earlier ranks' work only the checkpoint to resume from.
    fn make_work_folder(&self, checkpoint: Option<&Checkpoint>) -> Result<()> {
        let work = &self.work;
        fs::create_dir_all(work).with_context(|| format!("cannot create {}", work.display()))?;
        keep_only(work, checkpoint.map(|checkpoint| checkpoint.step))?;
        self.leftovers().iter().try_for_each(|path| remove(path))
    }

    /// What a finished run does not need.
    fn leftovers(&self) -> [PathBuf; 4] {
        ["first-model", "model", "model.unfinished", "rows"].map(|name| self.work.join(name))
    }

    /// The folder of the first weights; of a run that resumes, only its `config.json` is read.
    fn first_model(&self, checkpoint: Option<&Checkpoint>) -> Result<PathBuf> {
        let (model, TrainConfig { init, seed, .. }) = (full_path(self.job.model)?, self.job.config);
        if checkpoint.is_some() {
            return Ok(model);
        }
        if *init == Init::Model {
            check_weights(&model)?;
            return Ok(model);
        }
        // Drawn by the built-in engine, so that both engines begin with the same weights.
        let first = self.work.join("first-model");
        fs::create_dir(&first).with_context(|| format!("cannot create {}", first.display()))?;
        Model::random(&model, *seed)?.save(&first, SaveDtype::F32, &model)?;
        Ok(first)
    }

    /// What the built-in trainer says of an update: the ranks measure, everything else follows from the plan.
    fn metrics(&self, plan: &TrainPlan, update: &Update, event: &RankEvent) -> Result<Metrics> {
        let RankEvent::Update { number, loss, grad_norm, seconds, peak_memory_bytes } = *event else {
            unreachable!("called for updates alone")
        };
        ensure!(number == update.number, "the ranks made update {number}: expected {}", update.number);
        let rows = cut_rows(self.job.rows, plan, update)?;
        let tokens = rows.iter().map(|row| row.tokens.len()).sum();
        let outcome = Outcome { loss, grad_norm, tokens };
        let compute = self.config.dtype.name();
        Ok(Metrics { peak_memory_bytes, ..Metrics::new(plan, update, &rows, outcome, seconds, compute) })
    }

    fn finish(&self, plan: &TrainPlan) -> Result<()> {
        let TrainConfig { save_dtype, seed, .. } = self.job.config;
        publish(&self.work.join("model"), &self.out, self.job.model, (*save_dtype).into())?;
        mark_finished(&self.out, plan.total_updates, &self.fingerprint, *seed)?;
        // Checkpoints go last: until the mark is on disk, they are what a killed run resumes from.
        self.clear()
    }

    /// Removes checkpoints and what else only a run in progress needs; job, plan and log stay.
    fn clear(&self) -> Result<()> {
        keep_only(&self.work, None)?;
        self.leftovers().iter().try_for_each(|path| remove(path))
    }
}

fn full_path(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("cannot find {}", path.display()))
}

/// The rows of an update, cut to the plan's limit.
fn cut_rows(source: &dyn RowSource, plan: &TrainPlan, update: &Update) -> Result<Vec<TrainRow>> {
    let mut rows = source.read(&update.rows)?;
    rows.iter_mut().for_each(|row| row.truncate(plan.row_limit));
    Ok(rows)
}

fn started(plan: &TrainPlan, checkpoint: Option<&Checkpoint>) -> Event {
    Event::Started {
        total_steps: plan.total_updates,
        dropped: plan.dropped,
        truncated: plan.truncated,
        resumed_from: checkpoint.map(|checkpoint| checkpoint.step),
        normaliser: plan.mean_response,
    }
}

fn describe(event: &RankEvent, checkpoint: Option<&Checkpoint>) {
    event.describe();
    let RankEvent::Started { ranks, .. } = event else { return };
    if let Some(before) = checkpoint.map(|checkpoint| checkpoint.ranks).filter(|before| before != ranks) {
        tracing::warn!(
            "the checkpoint is of {before} ranks: with {ranks}, sums are rounded in another order"
        );
    }
}
