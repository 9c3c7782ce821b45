//! Scoring with the built-in engine.

use std::path::Path;

use anyhow::Result;
use latrace_lm::{Model, Scorer};

use super::generate::named;
use super::{CallersError, CpuEngine};
use crate::boundary::{ModelShape, Score, ScoreClient, ScoreRow};

/// Rows taken from the client at once.
const ROWS_AT_ONCE: usize = 512;

/// Tokens of rows taken at once, as a multiple of those of a pass: passes are then nearly full.
const PASSES_AT_ONCE: usize = 64;

pub(super) struct CpuScore {
    model: Model,
    shape: ModelShape,
    tokens_per_pass: usize,
}

impl CpuScore {
    pub fn load(folder: &Path, engine: CpuEngine) -> Result<Self> {
        let shape = ModelShape::read(folder)?;
        Ok(Self { model: engine.load(folder)?, shape, tokens_per_pass: engine.options.score_tokens })
    }

    fn take_rows(&self, client: &mut dyn ScoreClient) -> Result<Vec<ScoreRow>> {
        let (mut rows, mut tokens) = (Vec::new(), 0);
        let most_tokens = self.tokens_per_pass.saturating_mul(PASSES_AT_ONCE);
        while rows.len() < ROWS_AT_ONCE && tokens < most_tokens {
            let Some(row) = client.next_row()? else { break };
            tokens += row.prompt.len() + row.response.len();
            rows.push(row);
        }
        Ok(rows)
    }
}

impl Score for CpuScore {
    fn shape(&self) -> &ModelShape {
        &self.shape
    }

    fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
        let mut scorer = Scorer::new(&self.model);
        let mut first = 0;
        loop {
            let rows = self.take_rows(client)?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut error = CallersError::default();
            // The scorer counts from the first of these rows, the client from the first of all.
            let outcome = scorer.score(&rows, self.tokens_per_pass, &mut |range, logp| {
                let mut rows = range.zip(logp);
                error.keep(rows.try_for_each(|(row, logp)| client.scored(first + row, logp)))
            });
            error.take()?;
            outcome.map_err(|error| named(error, |row| client.name(first + row)))?;
            first += rows.len();
        }
    }
}
