//! The plan of a training run, made before the first update: which rows each update takes, at which learning
//! rate, and what losses are divided by. A function of row lengths and settings alone, so that any trainer
//! carries out the same plan.

use crate::error::{Error, Result};
use crate::rows::{RowLengths, RowSource};
use crate::schedule::{epoch_order, learning_rate};
use crate::train_config::{Normaliser, OverLength, TrainConfig};
use serde::{Deserialize, Serialize};

/// What an update's sum of weighted token losses is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Divisor {
    /// One number for the whole run: mean response length C times rows, or questions, per update.
    Constant(f64),
    /// Response tokens of the update.
    ResponseTokens,
}

impl Divisor {
    /// The divisor of an update on responses of the given lengths.
    pub fn of(self, responses: impl IntoIterator<Item = usize>) -> f64 {
        match self {
            Self::Constant(divisor) => divisor,
            Self::ResponseTokens => responses.into_iter().sum::<usize>() as f64,
        }
    }
}

/// One optimiser step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Updates done with it: the first is 1.
    pub number: u64,
    /// Passes over the data done with it, with fraction.
    pub epoch: f64,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Its rows, by their places in the source, in the order of training.
    pub rows: Vec<usize>,
}

/// A training run before it is carried out.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainPlan {
    /// Rows that are trained on, by their places in the source, in its order.
    pub rows: Vec<usize>,
    /// Where in `rows` each unit of batches begins, and the end of the last: a row, or a question's rows.
    units: Vec<usize>,
    /// Rows left out as too long.
    pub dropped: usize,
    /// Rows that are cut to `row_limit`.
    pub truncated: usize,
    /// Most tokens of a row: `cutoff_length`, or the model's positions.
    pub row_limit: usize,
    /// Mean response length C (tokens), after cutting.
    pub mean_response: f64,
    /// What losses are divided by.
    pub divisor: Divisor,
    /// Updates in all.
    pub total_updates: u64,
    config: TrainConfig,
}

impl TrainPlan {
    /// Plans a run of a model with `max_positions` positions. Of the rows, only their lengths matter.
    ///
    /// # Errors
    /// A bad setting; a row over the limit, where the settings refuse those; no row left.
    pub fn new<S: RowSource + ?Sized>(
        source: &S,
        config: &TrainConfig,
        max_positions: usize,
    ) -> Result<Self> {
        config.validate()?;
        // Whatever the settings say, a model was not made for positions beyond its own.
        let row_limit = config.cutoff_length.min(max_positions);
        if config.over_length == OverLength::Error {
            check_lengths(source, row_limit)?;
        }
        let mut chosen = Chosen::default();
        for row in 0..source.len() {
            let begins_unit = config.batch_questions == 0 || !source.continues_question(row);
            chosen.begins_unit |= begins_unit;
            chosen.add(row, source.lengths(row), row_limit, config.over_length);
        }
        chosen.plan(row_limit, config)
    }

    /// The updates that are left after the first `done`.
    #[must_use]
    pub fn updates_after(&self, done: u64) -> Updates<'_> {
        Updates { plan: self, done, order: None }
    }

    /// The epoch of the update after `step` others, and its place within the epoch.
    fn place(&self, step: u64) -> (u64, usize) {
        let per_epoch = self.updates_per_epoch();
        (step / per_epoch, (step % per_epoch) as usize)
    }

    /// Updates of a pass over the data; the last one may have fewer rows.
    #[must_use]
    pub fn updates_per_epoch(&self) -> u64 {
        self.units().div_ceil(units_per_update(&self.config)) as u64
    }

    /// Rows, or questions, that batches are made of.
    fn units(&self) -> usize {
        self.units.len() - 1
    }

    fn rows_of_unit(&self, unit: usize) -> &[usize] {
        &self.rows[self.units[unit]..self.units[unit + 1]]
    }
}

/// Fails if a row is over the limit, for settings that refuse to drop or cut.
fn check_lengths<S: RowSource + ?Sized>(source: &S, limit: usize) -> Result<()> {
    let is_long = |row: &usize| source.lengths(*row).total() > limit;
    let Some(row) = (0..source.len()).find(is_long) else { return Ok(()) };
    let got = source.lengths(row).total();
    let detail = format!(
        "expected at most {limit} tokens (cutoff_length and the model's positions), got {got}; \
         over_length = \"error\""
    );
    Err(Error::row(name(source, row)?, detail))
}

/// A row's id: only its contents have it.
fn name<S: RowSource + ?Sized>(source: &S, row: usize) -> Result<String> {
    Ok(source.read(&[row])?.into_iter().next().map_or_else(|| row.to_string(), |row| row.id))
}

/// Rows that are trained on, as they are chosen.
#[derive(Default)]
struct Chosen {
    rows: Vec<usize>,
    units: Vec<usize>,
    /// Whether the next row that is chosen begins a unit: the question's first row may be dropped.
    begins_unit: bool,
    response_tokens: usize,
    dropped: usize,
    truncated: usize,
}

impl Chosen {
    fn add(&mut self, row: usize, lengths: RowLengths, limit: usize, over_length: OverLength) {
        let is_long = lengths.total() > limit;
        if is_long && !can_be_cut(lengths, limit, over_length) {
            self.dropped += 1;
            return;
        }
        self.truncated += usize::from(is_long);
        self.response_tokens += lengths.total().min(limit) - lengths.prompt;
        if std::mem::take(&mut self.begins_unit) {
            self.units.push(self.rows.len());
        }
        self.rows.push(row);
    }

    fn check_not_empty(&self, row_limit: usize) -> Result<()> {
        let Self { rows, dropped, .. } = self;
        if !rows.is_empty() {
            return Ok(());
        }
        let counts = format!("{dropped} of {dropped} are longer than {row_limit} tokens");
        Err(Error::Invalid(format!("no rows to train on: {counts}")))
    }

    fn plan(self, row_limit: usize, config: &TrainConfig) -> Result<TrainPlan> {
        self.check_not_empty(row_limit)?;
        let Self { rows, mut units, response_tokens, dropped, truncated, .. } = self;
        units.push(rows.len());
        let mean_response = response_tokens as f64 / rows.len() as f64;
        let mut plan = TrainPlan {
            rows,
            units,
            dropped,
            truncated,
            row_limit,
            mean_response,
            divisor: divisor(config, mean_response),
            total_updates: 0,
            config: config.clone(),
        };
        // An epoch's last update may be smaller, so this is not rows × epochs / batch size.
        plan.total_updates = config.max_steps.unwrap_or(config.epochs * plan.updates_per_epoch());
        Ok(plan)
    }
}

/// A row that consists of prompt alone once it is cut has no token with a loss.
fn can_be_cut(lengths: RowLengths, limit: usize, over_length: OverLength) -> bool {
    over_length == OverLength::Truncate && lengths.prompt < limit
}

fn divisor(config: &TrainConfig, mean_response: f64) -> Divisor {
    match config.normaliser {
        // The same for every update, so that a token's weight does not depend on the lengths of the rows it
        // happens to share an update with.
        Normaliser::Constant => Divisor::Constant(mean_response * units_per_update(config) as f64),
        Normaliser::TokenMean => Divisor::ResponseTokens,
    }
}

/// Rows, or questions, of an update.
fn units_per_update(config: &TrainConfig) -> usize {
    if config.batch_questions == 0 { config.batch_size } else { config.batch_questions }
}

/// The updates of a plan, one after another.
#[derive(Clone, Debug)]
pub struct Updates<'a> {
    plan: &'a TrainPlan,
    done: u64,
    /// An epoch and the order of its rows, kept while the epoch lasts.
    order: Option<(u64, Vec<usize>)>,
}

impl Updates<'_> {
    /// The rows of the update after `step` others: the next units of its epoch's order.
    fn rows(&mut self, step: u64) -> Vec<usize> {
        let (plan, batch) = (self.plan, units_per_update(&self.plan.config));
        let (epoch, within) = plan.place(step);
        let units = self.order(epoch).iter().skip(within * batch).take(batch);
        units.flat_map(|&unit| plan.rows_of_unit(unit)).copied().collect()
    }

    fn order(&mut self, epoch: u64) -> &[usize] {
        let (count, TrainConfig { shuffle, seed, .. }) = (self.plan.units(), &self.plan.config);
        // Shuffling takes time proportional to all rows, so an order is kept while its epoch lasts.
        let kept = self.order.take().filter(|(of, _)| *of == epoch);
        let new = || (epoch, epoch_order(count, *shuffle, *seed, epoch));
        &self.order.insert(kept.unwrap_or_else(new)).1
    }
}

impl Iterator for Updates<'_> {
    type Item = Update;

    fn next(&mut self) -> Option<Update> {
        let (plan, step) = (self.plan, self.done);
        // With `max_steps`, this may be within an epoch, or after more epochs than `epochs` says.
        if step >= plan.total_updates {
            return None;
        }
        self.done += 1;
        Some(Update {
            number: self.done,
            epoch: self.done as f64 / plan.updates_per_epoch() as f64,
            learning_rate: learning_rate(&plan.config, step, plan.total_updates),
            rows: self.rows(step),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{TrainRow, Weights};
    use crate::train_config::Schedule;

    /// Rows of the given (prompt, response) lengths.
    fn rows(lengths: &[(usize, usize)]) -> Vec<TrainRow> {
        let row = |(i, &(prompt, response)): (usize, &(usize, usize))| TrainRow {
            id: format!("row {i}"),
            tokens: vec![0; prompt + response],
            prompt_len: prompt,
            weights: Weights::Row(1.0),
            policy: None,
        };
        lengths.iter().enumerate().map(row).collect()
    }

    fn config(batch_size: usize) -> TrainConfig {
        TrainConfig { batch_size, shuffle: false, epochs: 2, warmup_ratio: 0.0, ..TrainConfig::default() }
    }

    fn plan(lengths: &[(usize, usize)], config: &TrainConfig) -> TrainPlan {
        TrainPlan::new(&rows(lengths), config, 1000).unwrap()
    }

    #[test]
    fn every_epoch_takes_every_row_once() {
        let plan = plan(&[(1, 1); 5], &TrainConfig { shuffle: true, ..config(2) });
        assert_eq!((plan.updates_per_epoch(), plan.total_updates), (3, 6));
        let updates: Vec<Update> = plan.updates_after(0).collect();
        assert_eq!(updates.iter().map(|update| update.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let epochs: Vec<Vec<usize>> =
            updates.chunks(3).map(|epoch| epoch.iter().flat_map(|u| u.rows.clone()).collect()).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3, 4]);
        }
        assert_ne!(epochs[0], epochs[1], "each epoch has an order of its own");
        assert_eq!(updates.iter().map(|u| u.rows.len()).collect::<Vec<_>>(), [2, 2, 1, 2, 2, 1]);
        assert_eq!((updates[1].epoch, updates[2].epoch), (2.0 / 3.0, 1.0));
    }

    #[test]
    fn a_resumed_run_sees_the_updates_that_are_left() {
        let plan = plan(&[(1, 1); 7], &TrainConfig { shuffle: true, ..config(3) });
        let all: Vec<Update> = plan.updates_after(0).collect();
        for done in 0..=all.len() {
            assert_eq!(plan.updates_after(done as u64).collect::<Vec<_>>(), all[done..]);
        }
        assert_eq!(plan.updates_after(99).count(), 0);
    }

    #[test]
    fn rates_follow_the_schedule_over_all_updates() {
        let config =
            TrainConfig { schedule: Schedule::Linear, learning_rate: 1.0, max_steps: Some(4), ..config(2) };
        let plan = plan(&[(1, 1); 2], &config);
        let rates: Vec<f64> = plan.updates_after(0).map(|update| update.learning_rate).collect();
        assert_eq!(rates, [1.0, 0.75, 0.5, 0.25], "max_steps wins over epochs");
    }

    #[test]
    fn losses_are_divided_by_mean_length_times_batch_or_by_tokens() {
        let constant = plan(&[(1, 2), (1, 6)], &config(3));
        assert_eq!((constant.mean_response, constant.divisor), (4.0, Divisor::Constant(12.0)));
        assert_eq!(constant.divisor.of([1, 2]), 12.0, "whatever the update holds");
        let config = TrainConfig { normaliser: Normaliser::TokenMean, ..config(3) };
        let by_tokens = plan(&[(1, 2), (1, 6)], &config);
        assert_eq!((by_tokens.divisor, by_tokens.divisor.of([1, 2])), (Divisor::ResponseTokens, 3.0));
    }

    /// Rows of questions, given as their numbers, each of one prompt and one response token.
    fn of_questions(questions: &[usize]) -> Vec<TrainRow> {
        let mut rows = rows(&vec![(1, 1); questions.len()]);
        rows.iter_mut().zip(questions).for_each(|(row, question)| row.id = question.to_string());
        rows
    }

    #[test]
    fn a_batch_of_questions_has_all_rows_of_each() {
        let config = TrainConfig { batch_questions: 2, shuffle: true, ..config(1) };
        let source = of_questions(&[7, 7, 7, 3, 5, 5, 7]);
        let plan = TrainPlan::new(&source, &config, 1000).unwrap();
        assert_eq!(plan.units, [0, 3, 4, 6, 7], "a question that comes back is another unit");
        assert_eq!((plan.updates_per_epoch(), plan.divisor), (2, Divisor::Constant(2.0)));
        let whole = [vec![0, 1, 2], vec![3], vec![4, 5], vec![6]];
        let mut seen = Vec::new();
        for update in plan.updates_after(0).take(2) {
            let mut left = update.rows.as_slice();
            while let Some(question) = whole.iter().find(|rows| left.starts_with(rows)) {
                seen.push(question.clone());
                left = &left[question.len()..];
            }
            assert!(left.is_empty(), "{:?}", update.rows);
        }
        seen.sort();
        assert_eq!(seen, whole);
    }

    #[test]
    fn a_question_whose_first_row_is_dropped_is_a_unit_of_the_others() {
        let mut source = rows(&[(1, 1), (1, 9), (1, 1), (1, 1)]);
        source.iter_mut().zip(["a", "b", "b", "b"]).for_each(|(row, id)| row.id = id.to_owned());
        let config = TrainConfig { batch_questions: 1, cutoff_length: 5, ..config(1) };
        let plan = TrainPlan::new(&source, &config, 1000).unwrap();
        assert_eq!(
            plan.updates_after(0).map(|update| update.rows).take(2).collect::<Vec<_>>(),
            [vec![0], vec![2, 3]]
        );
    }

    /// Rows that are trained on, dropped, truncated, and the mean response length.
    #[track_caller]
    fn check(over_length: OverLength, expected: (&[usize], usize, usize, f64)) {
        let config = TrainConfig { cutoff_length: 5, over_length, ..config(2) };
        let plan = plan(&[(2, 3), (2, 4), (4, 9), (5, 1), (6, 1)], &config);
        let got = (plan.rows.as_slice(), plan.dropped, plan.truncated, plan.mean_response);
        assert_eq!(got, expected, "{over_length:?}");
    }

    #[test]
    fn long_rows_are_dropped_or_cut() {
        check(OverLength::Drop, (&[0], 4, 0, 3.0));
        check(OverLength::Truncate, (&[0, 1, 2], 2, 2, 7.0 / 3.0));
    }

    #[test]
    fn updates_name_rows_by_their_place_in_the_source() {
        let plan = plan(&[(1, 9), (1, 1), (1, 9), (1, 1)], &TrainConfig { cutoff_length: 5, ..config(2) });
        assert_eq!(plan.updates_after(0).next().unwrap().rows, [1, 3]);
    }

    #[test]
    fn long_rows_are_refused_by_name() {
        let refuse = TrainConfig { over_length: OverLength::Error, cutoff_length: 5, ..config(2) };
        let error = |lengths: &[(usize, usize)], positions| {
            TrainPlan::new(&rows(lengths), &refuse, positions).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(error(&[(2, 3)], 5), Ok(()));
        let message = error(&[(2, 3), (3, 3)], 9).unwrap_err();
        assert!(message.starts_with("row \"row 1\": expected at most 5 tokens"), "{message}");
        assert!(message.contains("got 6"), "{message}");
        let message = error(&[(2, 3)], 4).unwrap_err();
        assert!(message.contains("at most 4 tokens"), "the model's positions are a limit too: {message}");
    }

    #[test]
    fn a_plan_without_rows_is_refused() {
        let short = TrainConfig { cutoff_length: 2, ..config(2) };
        let error =
            |lengths: &[(usize, usize)]| TrainPlan::new(&rows(lengths), &short, 9).unwrap_err().to_string();
        assert_eq!(error(&[(1, 2), (1, 3)]), "no rows to train on: 2 of 2 are longer than 2 tokens");
        assert!(error(&[]).starts_with("no rows to train on"));
        let bad = TrainConfig { batch_size: 0, ..config(2) };
        assert!(TrainPlan::new(&rows(&[(1, 1)]), &bad, 9).unwrap_err().to_string().contains("batch_size"));
    }

    #[test]
    fn an_update_is_data_that_other_trainers_read() {
        let update = plan(&[(1, 1); 2], &config(2)).updates_after(0).next().unwrap();
        let line = serde_json::to_value(&update).unwrap();
        let expected = serde_json::json!({"number": 1, "epoch": 1.0, "learning_rate": 1e-5, "rows": [0, 1]});
        assert_eq!(line, expected);
        assert_eq!(serde_json::from_value::<Update>(line).unwrap(), update);
        assert_eq!(
            serde_json::to_value(Divisor::Constant(2.0)).unwrap(),
            serde_json::json!({"constant": 2.0})
        );
    }
}
