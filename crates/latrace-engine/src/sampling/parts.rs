//! Samples of prompts that lie in the parts of a table: those of the stages.
//!
//! Parts are read as the engine has room, and each is handed over when its last sample is there, while samples
//! of later parts are being drawn: nothing waits for a part. Until then, finished samples stand in a journal
//! of the part, so that a kill loses little more than the samples that were being drawn.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use latrace_core::StopReason;
use latrace_io::progress::Progress;

use super::draw::{Drawing, MissingSamples, Place, Prompt, SampleJob, Spent, draw_missing};
use super::journal::{FinishedSample, SampleLines};
use crate::boundary::{Completion, Generate};
use crate::open_parts::OpenParts;

/// A finished sample is in its journal after this time, give or take a few tokens. Engines so fast that parts
/// are whole before that write no journal, which would cost more than drawing does.
const JOURNAL_AFTER: Duration = Duration::from_millis(50);

/// Where samples of parts come from and go.
pub trait PartSamples {
    /// What a prompt was made of, and its samples' records are.
    type Of;

    /// The prompts of a part, each with what it was made of. No two prompts of a stage have one id.
    ///
    /// # Errors
    /// A part that cannot be read.
    fn read(&mut self, part: usize) -> Result<Vec<(Self::Of, Prompt)>>;

    /// Writes a part: samples of each prompt in the order of their numbers.
    ///
    /// # Errors
    /// What the file system refuses.
    fn write(&mut self, part: usize, samples: Vec<(Self::Of, Vec<Completion>)>) -> Result<()>;
}

/// Draws the samples of `parts` (their numbers, in ascending order), resuming from the journals in `folder`.
///
/// # Errors
/// Whatever `samples` returns; as [`draw_missing`].
pub fn draw_parts<S: PartSamples>(
    job: &SampleJob,
    parts: Vec<usize>,
    folder: &Path,
    samples: &mut S,
    make: impl FnOnce() -> Result<Box<dyn Generate>>,
) -> Result<Spent> {
    if parts.is_empty() {
        return Ok(Spent::default());
    }
    let mut progress = Progress::new(job.stage, 0, None);
    let mut drawing = Parts {
        n: job.n as usize,
        folder: folder.to_owned(),
        unread: parts.into(),
        samples,
        missing: VecDeque::new(),
        ids: HashMap::new(),
        open: OpenParts::default(),
        journals: BTreeMap::new(),
        unwritten: Vec::new(),
        unwritten_since: Instant::now(),
        earlier: 0,
    };
    let spent = draw_missing(job, &mut drawing, make, &mut progress)?;
    progress.finish();
    if drawing.earlier > 0 {
        tracing::info!("{} samples were finished before", drawing.earlier);
    }
    Ok(spent)
}

struct Parts<'a, S: PartSamples> {
    n: usize,
    folder: PathBuf,
    unread: VecDeque<usize>,
    samples: &'a mut S,
    /// Of parts that were read, what the engine has not taken.
    missing: VecDeque<MissingSamples>,
    /// The ids of prompts of open parts, by part.
    ids: HashMap<usize, Vec<String>>,
    open: OpenParts<S::Of, Completion>,
    journals: BTreeMap<usize, SampleLines>,
    /// Samples that are in no journal yet.
    unwritten: Vec<(Place, usize)>,
    unwritten_since: Instant,
    earlier: u64,
}

impl<S: PartSamples> Parts<'_, S> {
    /// Reads a part and its journal. One without missing samples is written at once.
    fn read(&mut self, part: usize) -> Result<()> {
        let (of, prompts): (Vec<_>, Vec<_>) = self.samples.read(part)?.into_iter().unzip();
        let mut earlier = self.earlier(part, &prompts)?;
        for (at, prompt) in prompts.iter().enumerate() {
            let is_missing = |number: &u64| !earlier.contains_key(&(at, *number as usize));
            let numbers: Vec<u64> = (0..self.n as u64).filter(is_missing).collect();
            if !numbers.is_empty() {
                let (place, prompt) = (Place { part, prompt: at }, prompt.clone());
                self.missing.push_back(MissingSamples { place, prompt, numbers });
            }
        }
        self.ids.insert(part, prompts.into_iter().map(|prompt| prompt.stream).collect());
        if let Some(whole) = self.open.begin(part, of, self.n) {
            return self.write(part, whole);
        }
        self.earlier += earlier.len() as u64;
        while let Some(((prompt, number), completion)) = earlier.pop_first() {
            self.add(Place { part, prompt }, number, completion)?;
        }
        Ok(())
    }

    /// The samples in a part's journal, by prompt and number.
    fn earlier(&mut self, part: usize, prompts: &[Prompt]) -> Result<BTreeMap<(usize, usize), Completion>> {
        let path = self.journal(part);
        if !path.is_file() {
            return Ok(BTreeMap::new());
        }
        let (lines, finished) = SampleLines::open(&path)?;
        self.journals.insert(part, lines);
        let places: HashMap<&str, usize> =
            prompts.iter().enumerate().map(|(at, prompt)| (prompt.stream.as_str(), at)).collect();
        let recognise = |finished: FinishedSample| {
            let at = *finished.id.as_str().and_then(|key| places.get(key))?;
            let number = usize::try_from(finished.sample).ok().filter(|&number| number < self.n)?;
            Some(finished.completion().map(|completion| ((at, number), completion)))
        };
        let earlier: Result<_> = finished.into_iter().filter_map(recognise).collect();
        earlier.with_context(|| format!("cannot resume from {}", path.display()))
    }

    fn journal(&self, part: usize) -> PathBuf {
        self.folder.join(format!("unfinished-{part:05}.jsonl"))
    }

    fn add(&mut self, place: Place, number: usize, completion: Completion) -> Result<()> {
        match self.open.add(place, number, completion) {
            Some(whole) => self.write(place.part, whole),
            None => Ok(()),
        }
    }

    fn write(&mut self, part: usize, samples: Vec<(S::Of, Vec<Completion>)>) -> Result<()> {
        self.ids.remove(&part);
        self.samples.write(part, samples)?;
        self.unwritten.retain(|(place, _)| place.part != part);
        self.journals.remove(&part).map_or(Ok(()), SampleLines::remove)
    }

    /// Writes to the journals what has waited for longer than [`JOURNAL_AFTER`].
    fn write_journals(&mut self) -> Result<()> {
        if self.unwritten.is_empty() || self.unwritten_since.elapsed() < JOURNAL_AFTER {
            return Ok(());
        }
        for (place, number) in std::mem::take(&mut self.unwritten) {
            let (Some(completion), Some(ids)) = (self.open.get(place, number), self.ids.get(&place.part))
            else {
                continue;
            };
            let id = ids[place.prompt].clone().into();
            let finished = FinishedSample::new(id, number as u64, completion)?;
            let path = self.journal(place.part);
            let lines = match self.journals.entry(place.part) {
                std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(SampleLines::open(&path)?.0),
            };
            lines.add(&finished)?;
        }
        Ok(())
    }
}

impl<S: PartSamples> Drawing for Parts<'_, S> {
    fn next_missing(&mut self) -> Result<Option<MissingSamples>> {
        loop {
            if let Some(missing) = self.missing.pop_front() {
                return Ok(Some(missing));
            }
            let Some(part) = self.unread.pop_front() else { return Ok(None) };
            self.read(part)?;
        }
    }

    fn keep(&mut self, place: Place, number: u64, completion: Completion) -> Result<()> {
        debug_assert_ne!(completion.stop, StopReason::Interrupted);
        if self.unwritten.is_empty() {
            self.unwritten_since = Instant::now();
        }
        self.unwritten.push((place, number as usize));
        self.add(place, number as usize, completion)?;
        self.write_journals()
    }

    fn tick(&mut self) -> Result<()> {
        self.write_journals()
    }
}
