//! Scores from servers.

use anyhow::Result;

use super::ask::ScoreAsk;
use super::fleet::{Common, Fleet};
use super::generate::{check_room, remarks};
use super::work::{Source, work};
use crate::boundary::{Error, ModelShape, Score, ScoreClient};

/// A row is scored as the prompt of a sample of this many tokens.
const NEW_TOKENS: usize = 1;

pub(super) struct ServersScore {
    fleet: Fleet,
    shape: ModelShape,
}

impl ServersScore {
    pub fn new(common: Common) -> Result<ServersScore> {
        let shape = common.shape.clone();
        Ok(ServersScore { fleet: Fleet::new(common)?, shape })
    }
}

impl Score for ServersScore {
    fn shape(&self) -> &ModelShape {
        &self.shape
    }

    fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
        work(&self.fleet, &mut Rows { fleet: &self.fleet, client, next: 0 })?;
        tracing::info!("{}", remarks(&self.fleet));
        Ok(())
    }
}

struct Rows<'a, 'b> {
    fleet: &'a Fleet,
    client: &'a mut (dyn ScoreClient + 'b),
    /// The number of the client's next row.
    next: usize,
}

impl Source<ScoreAsk> for Rows<'_, '_> {
    fn next(&mut self) -> Result<Option<Vec<ScoreAsk>>> {
        let Some(row) = self.client.next_row()? else { return Ok(None) };
        let number = self.next;
        let tokens = row.prompt.len() + row.response.len();
        check_room(self.fleet, tokens, NEW_TOKENS)
            .map_err(|detail| Error::Request { row: self.client.name(number), detail })?;
        self.next += 1;
        Ok(Some(vec![ScoreAsk { number, row }]))
    }

    fn answered(&mut self, ask: ScoreAsk, logp: Vec<f32>) -> Result<()> {
        self.client.scored(ask.number, logp)
    }

    fn name(&self, ask: &ScoreAsk) -> String {
        self.client.name(ask.number)
    }
}
