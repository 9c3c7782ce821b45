//! Log-probs of rows, on the caller's side of the boundary: rows in memory, and rows in the parts of a table.

use std::collections::{BTreeMap, VecDeque};
use std::thread::scope;

use anyhow::Result;
use latrace_io::progress::Progress;

use crate::boundary::{Score, ScoreClient, ScoreRow};
use crate::open_parts::{OpenParts, Whole};
use crate::sampling::PromptPlace;
use crate::write_behind::WriteBehind;

/// Where rows of parts come from, and their scores go. A part is written while later ones are read.
pub trait PartScores: Sync {
    /// What a row is built from, and written with its scores.
    type Of: Send;

    /// The rows of a part, each with its source and its display name.
    ///
    /// # Errors
    /// A part that cannot be read.
    fn read(&self, part: usize) -> Result<Vec<(Self::Of, String, ScoreRow)>>;

    /// Writes a part: log p (nats) of each row's response tokens.
    ///
    /// # Errors
    /// I/O errors.
    fn write(&self, part: usize, scores: Vec<(Self::Of, Vec<f32>)>) -> Result<()>;
}

/// Scores `parts` (their numbers, in ascending order) with the scorer that `make` gives; it is not made where
/// there are none. Parts are read as the engine has room, and written when their last row is scored. Scores
/// of unfinished parts are not kept: scoring is cheap compared with sampling.
///
/// # Errors
/// Whatever `make` and `scores` return, unchanged; rows that do not fit the model; log-probs that cannot be
/// right.
pub fn score_parts<S: PartScores>(
    parts: Vec<usize>,
    scores: &S,
    make: impl FnOnce() -> Result<Box<dyn Score>>,
    progress: &mut Progress,
) -> Result<()> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut scorer = make()?;
    scope(|scope| {
        let mut parts = Parts::new(parts, scores, WriteBehind::new(scope), progress);
        scorer.score(&mut parts)?;
        parts.writing.finish()
    })
}

struct Parts<'scope, 'env, S: PartScores> {
    unread: VecDeque<usize>,
    scores: &'env S,
    writing: WriteBehind<'scope, 'env>,
    progress: &'env mut Progress,
    /// Rows that the engine has not taken.
    waiting: VecDeque<(PromptPlace, String, ScoreRow)>,
    /// Rows that it has, by its number.
    given: BTreeMap<usize, (PromptPlace, String)>,
    next: usize,
    open: OpenParts<S::Of, Vec<f32>>,
}

impl<'scope, 'env, S: PartScores> Parts<'scope, 'env, S> {
    fn new(
        parts: Vec<usize>,
        scores: &'env S,
        writing: WriteBehind<'scope, 'env>,
        progress: &'env mut Progress,
    ) -> Self {
        Parts {
            unread: parts.into(),
            scores,
            writing,
            progress,
            waiting: VecDeque::new(),
            given: BTreeMap::new(),
            next: 0,
            open: OpenParts::default(),
        }
    }

    fn read(&mut self, part: usize) -> Result<()> {
        let mut all = Vec::new();
        for (prompt, (of, name, row)) in self.scores.read(part)?.into_iter().enumerate() {
            self.waiting.push_back((PromptPlace { part, prompt }, name, row));
            all.push(of);
        }
        match self.open.begin(part, all, 1) {
            Some(empty) => self.write(part, empty),
            None => Ok(()),
        }
    }

    fn write(&mut self, part: usize, whole: Whole<S::Of, Vec<f32>>) -> Result<()> {
        // A row has one list of scores.
        let one = |(of, scores): (S::Of, Vec<Vec<f32>>)| (of, scores.into_iter().next().unwrap_or_default());
        let scores = self.scores;
        self.writing.begin(move || scores.write(part, whole.into_iter().map(one).collect()))?;
        self.progress.advance(1);
        Ok(())
    }
}

impl<S: PartScores> ScoreClient for Parts<'_, '_, S> {
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

/// Scores rows in memory.
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::boundary::{Engine, Error, ModelShape};
    use crate::random::Random;

    fn scorer() -> Result<Box<dyn Score>> {
        Random::small().scorer(Path::new("none"))
    }

    fn row(response: &[u32]) -> ScoreRow {
        ScoreRow { prompt: vec![1], response: response.to_vec() }
    }

    /// A part's number, and its rows' names with their log-probs.
    type WrittenPart = (usize, Vec<(u32, Vec<f32>)>);

    #[derive(Default)]
    struct Memory {
        bad: bool,
        written: Mutex<Vec<WrittenPart>>,
    }

    impl PartScores for Memory {
        type Of = u32;

        fn read(&self, part: usize) -> Result<Vec<(u32, String, ScoreRow)>> {
            let of = |id: u32| (id, format!("row {id}"), row(&[id, id + 1]));
            let last = if self.bad { vec![of(99)] } else { Vec::new() };
            Ok((0..part as u32).map(of).chain(last).collect())
        }

        fn write(&self, part: usize, scores: Vec<(u32, Vec<f32>)>) -> Result<()> {
            self.written.lock().unwrap().push((part, scores));
            Ok(())
        }
    }

    #[test]
    fn every_part_is_written_with_the_scores_of_its_rows() {
        let memory = Memory::default();
        let mut progress = Progress::new("parts", 0, None);
        score_parts(vec![2, 0, 3], &memory, scorer, &mut progress).unwrap();
        let mut written = memory.written.into_inner().unwrap();
        written.sort_by_key(|(part, _)| *part);
        let one = |id| (id, score_all(&mut *scorer().unwrap(), vec![row(&[id, id + 1])]).unwrap().remove(0));
        let expected: Vec<_> =
            [0, 2, 3].map(|part| (part, (0..part as u32).map(one).collect::<Vec<_>>())).into();
        assert_eq!(written, expected);
    }

    #[test]
    fn without_parts_no_scorer_is_made() {
        let never = || -> Result<Box<dyn Score>> { panic!("nothing is missing") };
        let mut progress = Progress::new("parts", 0, None);
        score_parts(Vec::new(), &Memory::default(), never, &mut progress).unwrap();
    }

    #[test]
    fn a_row_that_does_not_fit_the_model_is_named() {
        let memory = Memory { bad: true, ..Memory::default() };
        let error = score_parts(vec![1], &memory, scorer, &mut Progress::new("parts", 0, None));
        let error = error.unwrap_err();
        let Some(Error::Request { row, .. }) = error.downcast_ref() else { panic!("{error:?}") };
        assert_eq!(row, "row 99");
    }

    /// Gives too few numbers, wrong ones, none, or those of another row.
    struct Liar(usize);

    impl Score for Liar {
        fn shape(&self) -> &ModelShape {
            static SHAPE: ModelShape = ModelShape { vocabulary_size: 50, positions: 40, end_ids: Vec::new() };
            &SHAPE
        }

        fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
            let row = client.next_row()?.map_or(0, |row| row.response.len());
            match self.0 {
                0 => client.scored(0, vec![-1.0; row - 1]),
                1 => client.scored(0, vec![f32::NAN; row]),
                2 => Ok(()),
                _ => client.scored(1, vec![-1.0; row]),
            }
        }
    }

    #[test]
    fn scores_that_cannot_be_right_are_refused() {
        let expected =
            ["expected 2 log-probs", "got NaN", "finished without its log-probs", "already arrived"];
        for (lie, expected) in expected.into_iter().enumerate() {
            let error = score_all(&mut Liar(lie), vec![row(&[1, 2])]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
