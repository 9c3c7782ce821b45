//! How fast a run's engines are, by a short trial on the run's model: for estimates of time, which nothing else rests on.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_core::SamplingParams;
use latrace_engine::boundary::{FitJob, Request, ScoreRow, StopTexts};
use latrace_engine::sampling::generate_all;
use latrace_engine::scoring::score_all;
use latrace_engine::{Engine, EngineRole, Event, ManualEngine, ModelShape, TrainConfig, TrainRow, Weights};
use latrace_io::failure::Failure;

use super::Work;

/// Sequences of the trial, and most tokens of each.
const SEQUENCES: u32 = 32;
const TOKENS: usize = 256;

/// Updates of the trial's training; the rate is that of the last one.
const UPDATES: u64 = 2;

/// Tokens a second; none of what was not tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Of sampling.
    pub drawn: Option<f64>,
    /// Of scoring.
    pub scored: Option<f64>,
    /// Of training.
    pub trained: Option<f64>,
}

impl Rates {
    /// Measures, with a model, the engine at what there is to do: servers and trainers are started, and their start does
    /// not count. What is trained by hand is not tried.
    ///
    /// # Errors
    /// Those of the engine; a model without room for two tokens.
    pub fn measure(engine: &dyn Engine, model: &Path, todo: Work) -> Result<Rates> {
        let trial = Trial::of(&ModelShape::read(model)?)?;
        let by_hand = engine.identity(EngineRole::Train).kind == ManualEngine::KIND;
        let tried = |tokens: u64, measure: fn(&Trial, &dyn Engine, &Path) -> Result<f64>| {
            (tokens > 0).then(|| measure(&trial, engine, model)).transpose()
        };
        Ok(Rates {
            drawn: tried(todo.drawn, Trial::draw)?,
            scored: tried(todo.scored, Trial::score)?,
            trained: tried(if by_hand { 0 } else { todo.trained }, Trial::train)?,
        })
    }

    /// Seconds of a stage's work, as far as it was tried.
    pub fn seconds(&self, work: Work) -> f64 {
        let parts = [(work.drawn, self.drawn), (work.scored, self.scored), (work.trained, self.trained)];
        parts.into_iter().map(|(tokens, rate)| rate.map_or(0.0, |rate| tokens as f64 / rate)).sum()
    }
}

/// Sequences of ids that mean nothing: no time depends on what they say.
struct Trial {
    prompt: usize,
    response: usize,
    vocabulary: u32,
}

impl Trial {
    fn of(shape: &ModelShape) -> Result<Trial> {
        let tokens = shape.positions.min(TOKENS);
        if tokens < 2 {
            return Err(Failure::work("the model has no room for a prompt and a response").into());
        }
        Ok(Trial { prompt: tokens / 2, response: tokens / 2, vocabulary: shape.vocabulary_size as u32 })
    }

    fn ids(&self, sequence: u32, tokens: usize) -> Vec<u32> {
        (0..tokens as u32).map(|at| (sequence * 31 + at * 7) % self.vocabulary).collect()
    }

    fn draw(&self, engine: &dyn Engine, model: &Path) -> Result<f64> {
        let mut generator = engine.generator(model)?;
        let request = |sequence| Request {
            prompt: self.ids(sequence, self.prompt),
            seeds: vec![u64::from(sequence)],
            params: SamplingParams::plain(self.response),
            stop_ids: Vec::new(),
            stop_texts: StopTexts::default(),
        };
        let started = Instant::now();
        let drawn = generate_all(&mut *generator, (0..SEQUENCES).map(request).collect())?;
        let tokens: usize = drawn.iter().flatten().map(|completion| completion.ids.len()).sum();
        Ok(tokens as f64 / started.elapsed().as_secs_f64())
    }

    fn score(&self, engine: &dyn Engine, model: &Path) -> Result<f64> {
        let mut scorer = engine.scorer(model)?;
        let row = |sequence| ScoreRow {
            prompt: self.ids(sequence, self.prompt),
            response: self.ids(sequence + 1, self.response),
        };
        let started = Instant::now();
        let scores = score_all(&mut *scorer, (0..SEQUENCES).map(row).collect())?;
        let tokens: usize = scores.iter().map(Vec::len).sum();
        Ok(tokens as f64 / started.elapsed().as_secs_f64())
    }

    fn train(&self, engine: &dyn Engine, model: &Path) -> Result<f64> {
        let out = tempfile::tempdir().context("cannot make a folder for the trial's training")?;
        let row = |sequence: u32| TrainRow {
            id: sequence.to_string(),
            tokens: self.ids(sequence, self.prompt + self.response),
            prompt_len: self.prompt,
            weights: Weights::Row(1.0),
            policy: None,
        };
        let rows: Vec<TrainRow> = (0..SEQUENCES / 4).map(row).collect();
        let config =
            TrainConfig { max_steps: Some(UPDATES), batch_size: rows.len(), ..TrainConfig::default() };
        let job = FitJob { model, rows: &rows, config: &config, out: out.path(), resume: false };
        let mut rate = None;
        engine.trainer()?.fit(job, &mut |event| {
            if let Event::Step(metrics) = event {
                rate = Some(metrics.tokens_per_second);
            }
            Ok(())
        })?;
        rate.context("the trial's training reported no update")
    }
}

#[cfg(test)]
mod tests {
    use latrace_engine::CpuEngine;
    use latrace_engine::cpu::{SaveDtype, save_random};

    use super::*;
    use crate::stages::testing::write_smallest;

    #[test]
    fn a_trial_measures_every_part_and_times_follow_from_it() {
        let folder = tempfile::tempdir().unwrap();
        write_smallest(folder.path());
        save_random(folder.path(), 0, SaveDtype::F32, folder.path()).unwrap();
        let measured = |todo| Rates::measure(&CpuEngine::default(), folder.path(), todo).unwrap();
        let rates = measured(Work { drawn: 1, scored: 1, trained: 1, ..Work::default() });
        for rate in [rates.drawn, rates.scored, rates.trained] {
            assert!(rate.is_some_and(|rate| rate.is_finite() && rate > 0.0), "{rates:?}");
        }
        let rates = measured(Work { scored: 1, ..Work::default() });
        assert_eq!((rates.drawn, rates.trained), (None, None));
        let rates = Rates { drawn: Some(10.0), scored: Some(100.0), trained: Some(50.0) };
        let work = Work { drawn: 20, scored: 100, trained: 25, ..Work::default() };
        assert!((rates.seconds(work) - 3.5).abs() < 1e-12);
    }
}
