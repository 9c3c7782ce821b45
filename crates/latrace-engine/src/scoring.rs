//! Log-probs of rows, on the caller's side of the boundary: rows in memory, and rows in the parts of a table.

use std::collections::{BTreeMap, VecDeque};

use anyhow::Result;
use latrace_io::progress::Progress;

use crate::boundary::{Score, ScoreClient, ScoreRow};
use crate::open_parts::{OpenParts, Whole};
use crate::sampling::Place;

/// Where rows of parts come from, and their scores go.
pub trait PartScores {
    /// What a row was made of, and its scores' record is.
    type Of;

    /// The rows of a part, each with what it was made of and what people call it.
    ///
    /// # Errors
    /// A part that cannot be read.
    fn read(&mut self, part: usize) -> Result<Vec<(Self::Of, String, ScoreRow)>>;

    /// Writes a part: log p (nats) of each row's response tokens.
    ///
    /// # Errors
    /// What the file system refuses.
    fn write(&mut self, part: usize, scores: Vec<(Self::Of, Vec<f32>)>) -> Result<()>;
}

/// Scores `parts` (their numbers, in ascending order) with the scorer that `make` gives; it is not made where
/// there are none. Parts are read as the engine has room, and written as their last row is scored. Of a part
/// that is not whole nothing is kept: scoring is cheap beside drawing.
///
/// # Errors
/// Whatever `make` and `scores` return, unchanged; rows that do not fit the model; log-probs that cannot be
/// right.
pub fn score_parts<S: PartScores>(
    parts: Vec<usize>,
    scores: &mut S,
    make: impl FnOnce() -> Result<Box<dyn Score>>,
    progress: &mut Progress,
) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut scorer = make()?;
    let mut client = Parts {
        unread: parts.into(),
        scores,
        progress,
        waiting: VecDeque::new(),
        given: BTreeMap::new(),
        next: 0,
        open: OpenParts::default(),
    };
    scorer.score(&mut client)
}

struct Parts<'a, S: PartScores> {
    unread: VecDeque<usize>,
    scores: &'a mut S,
    progress: &'a mut Progress,
    /// Rows that the engine has not taken.
    waiting: VecDeque<(Place, String, ScoreRow)>,
    /// Rows that it has, by its number.
    given: BTreeMap<usize, (Place, String)>,
    next: usize,
    open: OpenParts<S::Of, Vec<f32>>,
}

impl<S: PartScores> Parts<'_, S> {
    fn read(&mut self, part: usize) -> Result<()> {
        let mut all = Vec::new();
        for (at, (of, name, row)) in self.scores.read(part)?.into_iter().enumerate() {
            self.waiting.push_back((Place { part, prompt: at }, name, row));
            all.push(of);
        }
        match self.open.begin(part, all, 1) {
            Some(empty) => self.write(part, empty),
            None => Ok(()),
        }
    }

    fn write(&mut self, part: usize, whole: Whole<S::Of, Vec<f32>>) -> Result<()> {
        let one = |(of, scores): (S::Of, Vec<Vec<f32>>)| (of, scores.into_iter().flatten().collect());
        self.scores.write(part, whole.into_iter().map(one).collect())?;
        self.progress.advance(1);
        Ok(())
    }
}

impl<S: PartScores> ScoreClient for Parts<'_, S> {
    fn next_row(&mut self) -> Result<Option<ScoreRow>> {
        while self.waiting.is_empty() {
            let Some(part) = self.unread.pop_front() else { return Ok(None) };
            self.read(part)?;
        }
        let Some((place, name, row)) = self.waiting.pop_front() else { return Ok(None) };
        self.given.insert(self.next, (place, name));
        self.next += 1;
        Ok(Some(row))
    }

    fn scored(&mut self, row: usize, logp: Vec<f32>) -> Result<()> {
        let Some((place, _)) = self.given.remove(&row) else { return Ok(()) };
        match self.open.add(place, 0, logp) {
            Some(whole) => self.write(place.part, whole),
            None => Ok(()),
        }
    }

    fn name(&self, row: usize) -> String {
        self.given.get(&row).map_or_else(|| row.to_string(), |(_, name)| name.clone())
    }
}

/// Scores rows that lie in memory, row by row.
///
/// # Errors
/// Rows that do not fit the model; log-probs that cannot be right.
pub fn score_all(scorer: &mut dyn Score, rows: Vec<ScoreRow>) -> Result<Vec<Vec<f32>>> {
    let mut client = Rows { scores: vec![Vec::new(); rows.len()], rows: rows.into_iter() };
    scorer.score(&mut client)?;
    Ok(client.scores)
}

struct Rows {
    rows: std::vec::IntoIter<ScoreRow>,
    scores: Vec<Vec<f32>>,
}

impl ScoreClient for Rows {
    fn next_row(&mut self) -> Result<Option<ScoreRow>> {
        Ok(self.rows.next())
    }

    fn scored(&mut self, row: usize, logp: Vec<f32>) -> Result<()> {
        self.scores[row] = logp;
        Ok(())
    }
}
