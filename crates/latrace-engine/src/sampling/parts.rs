//! Samples of prompts in the parts of a table: those of the stages.
//!
//! Parts are read as the engine has room, and each is written when its last sample is finished, while samples
//! of later parts are being drawn: the engine idles neither at the end of a part nor while the disk works.
//! Until then, finished samples are kept in a journal of the part, so that a kill loses little more than the
//! samples in progress.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::scope;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use latrace_core::StopReason;
use latrace_io::progress::{Progress, expected_samples};

use super::draw::{Drawing, MissingSamples, Prompt, PromptPlace, SampleJob, Spent, draw_missing};
use super::journal::{FinishedSample, SampleLines};
use crate::boundary::{Completion, Generate};
use crate::open_parts::{OpenParts, Whole};
use crate::write_behind::WriteBehind;

/// A finished sample is in its journal after this time, give or take a few tokens. Engines so fast that parts
/// are whole before that write no journal, which would cost more than drawing does.
const JOURNAL_AFTER: Duration = Duration::from_millis(50);

/// Where samples of parts come from and go. A part is written while later ones are read.
pub trait PartSamples: Sync {
    /// What a prompt is built from, and written with its samples.
    type Of: Send;

    /// The prompts of a part, each with its source. No two prompts of a stage have the same id.
    ///
    /// # Errors
    /// A part that cannot be read.
    fn read(&self, part: usize) -> Result<Vec<(Self::Of, Prompt)>>;

    /// Writes a part: samples of each prompt in the order of their numbers.
    ///
    /// # Errors
    /// I/O errors.
    fn write(&self, part: usize, samples: Vec<(Self::Of, Vec<Completion>)>) -> Result<()>;
}

/// Draws the samples of `parts` (their numbers, in ascending order), resuming from the journals in `folder`. The other
/// parts have `written` samples, with which the count begins.
///
/// # Errors
/// Whatever `samples` returns; as [`draw_missing`].
pub fn draw_parts<S: PartSamples>(
    job: &SampleJob,
    parts: Vec<usize>,
    written: u64,
    folder: &Path,
    samples: &S,
    make: impl FnOnce() -> Result<Box<dyn Generate>>,
) -> Result<Spent> {
    remove_stale_journals(folder, &parts)?;
    if parts.is_empty() {
        return Ok(Spent::default());
    }
    let mut progress = Progress::new("samples", written, expected_samples());
    let (spent, earlier) = scope(|scope| {
        let mut drawing = Parts::new(job, parts, folder, samples, WriteBehind::new(scope));
        let spent = draw_missing(job, &mut drawing, make, &mut progress)?;
        drawing.writing.finish()?;
        anyhow::Ok((spent, drawing.earlier))
    })?;
    progress.finish();
    if earlier > 0 {
        tracing::info!("{earlier} samples were already finished");
    }
    Ok(spent)
}

/// Removes the journals of parts that are written: a kill may fall between writing a part and removing its
/// journal.
fn remove_stale_journals(folder: &Path, missing: &[usize]) -> Result<()> {
    let needed: Vec<PathBuf> = missing.iter().map(|&part| journal(folder, part)).collect();
    let cannot = || format!("cannot remove finished journals in {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if is_journal(&path) && !needed.contains(&path) {
            fs::remove_file(&path).with_context(cannot)?;
        }
    }
    Ok(())
}

fn is_journal(path: &Path) -> bool {
    path.file_name().unwrap_or_default().to_string_lossy().starts_with(JOURNAL_PREFIX)
}

/// Prefix of the names of parts' journals.
const JOURNAL_PREFIX: &str = "unfinished-";

fn journal(folder: &Path, part: usize) -> PathBuf {
    folder.join(format!("{JOURNAL_PREFIX}{part:05}.jsonl"))
}

/// Samples of a journal, by prompt and number.
type Earlier = BTreeMap<(usize, usize), Completion>;

struct Parts<'scope, 'env, S: PartSamples> {
    n: usize,
    folder: PathBuf,
    unread: VecDeque<usize>,
    samples: &'env S,
    writing: WriteBehind<'scope, 'env>,
    /// Of parts that were read, what the engine has not taken.
    missing: VecDeque<MissingSamples>,
    /// The ids of prompts of open parts, by part.
    ids: HashMap<usize, Vec<String>>,
    open: OpenParts<S::Of, Completion>,
    journals: BTreeMap<usize, SampleLines>,
    /// Samples that are in no journal yet.
    unwritten: Vec<(PromptPlace, usize)>,
    unwritten_since: Instant,
    journal_after: Duration,
    /// Samples found in journals.
    earlier: u64,
}

impl<'scope, 'env, S: PartSamples> Parts<'scope, 'env, S> {
    fn new(
        job: &SampleJob,
        parts: Vec<usize>,
        folder: &Path,
        samples: &'env S,
        writing: WriteBehind<'scope, 'env>,
    ) -> Self {
        Parts {
            n: job.n as usize,
            folder: folder.to_owned(),
            unread: parts.into(),
            samples,
            writing,
            missing: VecDeque::new(),
            ids: HashMap::new(),
            open: OpenParts::default(),
            journals: BTreeMap::new(),
            unwritten: Vec::new(),
            unwritten_since: Instant::now(),
            journal_after: JOURNAL_AFTER,
            earlier: 0,
        }
    }

    /// Reads a part and its journal. One without missing samples is written at once.
    fn read(&mut self, part: usize) -> Result<()> {
        let (of, prompts): (Vec<_>, Vec<_>) = self.samples.read(part)?.into_iter().unzip();
        let mut earlier = self.earlier(part, &prompts)?;
        self.request_missing(part, &prompts, &earlier);
        self.ids.insert(part, prompts.into_iter().map(|prompt| prompt.stream).collect());
        if let Some(whole) = self.open.begin(part, of, self.n) {
            return self.write(part, whole);
        }
        // Added after the part has begun: the last of them may complete it.
        self.earlier += earlier.len() as u64;
        while let Some(((prompt, number), completion)) = earlier.pop_first() {
            self.add(PromptPlace { part, prompt }, number, completion)?;
        }
        Ok(())
    }

    fn request_missing(&mut self, part: usize, prompts: &[Prompt], earlier: &Earlier) {
        for (at, prompt) in prompts.iter().enumerate() {
            let is_missing = |number: &u64| !earlier.contains_key(&(at, *number as usize));
            let numbers: Vec<u64> = (0..self.n as u64).filter(is_missing).collect();
            if !numbers.is_empty() {
                let (place, prompt) = (PromptPlace { part, prompt: at }, prompt.clone());
                self.missing.push_back(MissingSamples { place, prompt, numbers });
            }
        }
    }

    /// The samples in a part's journal.
    fn earlier(&mut self, part: usize, prompts: &[Prompt]) -> Result<Earlier> {
        let path = journal(&self.folder, part);
        if !path.is_file() {
            return Ok(Earlier::new());
        }
        let (lines, finished) = SampleLines::open(&path)?;
        self.journals.insert(part, lines);
        let places: HashMap<&str, usize> =
            prompts.iter().enumerate().map(|(at, prompt)| (prompt.stream.as_str(), at)).collect();
        let recognised = finished.into_iter().filter_map(|finished| recognise(finished, &places, self.n));
        let earlier: Result<_> = recognised.collect();
        earlier.with_context(|| format!("cannot resume from {}", path.display()))
    }

    fn add(&mut self, place: PromptPlace, number: usize, completion: Completion) -> Result<()> {
        let whole = self.open.add(place, number, completion);
        whole.map_or(Ok(()), |whole| self.write(place.part, whole))
    }

    /// Writes a part behind the drawing, then removes its journal: a kill between the two leaves a journal
    /// that the next run removes, and loses nothing.
    fn write(&mut self, part: usize, whole: Whole<S::Of, Completion>) -> Result<()> {
        self.ids.remove(&part);
        self.unwritten.retain(|(place, _)| place.part != part);
        let (samples, journal) = (self.samples, self.journals.remove(&part));
        self.writing.begin(move || {
            samples.write(part, whole)?;
            journal.map_or(Ok(()), SampleLines::remove)
        })
    }

    /// Writes to the journals what has waited for longer than [`JOURNAL_AFTER`].
    fn write_journals(&mut self) -> Result<()> {
        if self.unwritten.is_empty() || self.unwritten_since.elapsed() < self.journal_after {
            return Ok(());
        }
        for (place, number) in std::mem::take(&mut self.unwritten) {
            self.write_journal(place, number)?;
        }
        Ok(())
    }

    fn write_journal(&mut self, place: PromptPlace, number: usize) -> Result<()> {
        // A part that has been written in the meantime needs no journal.
        let (Some(completion), Some(ids)) = (self.open.get(place, number), self.ids.get(&place.part)) else {
            return Ok(());
        };
        let id = ids[place.prompt].clone().into();
        let finished = FinishedSample::new(id, number as u64, completion)?;
        self.lines(place.part)?.add(&finished)
    }

    /// The journal of a part, begun if there is none.
    fn lines(&mut self, part: usize) -> Result<&mut SampleLines> {
        match self.journals.entry(part) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(new) => Ok(new.insert(SampleLines::open(&journal(&self.folder, part))?.0)),
        }
    }
}

/// A sample of a journal with its prompt's place and its number; `None` for one that this stage does not
/// draw: the number of samples or the prompts may have changed since.
fn recognise(
    finished: FinishedSample,
    places: &HashMap<&str, usize>,
    n: usize,
) -> Option<Result<((usize, usize), Completion)>> {
    let at = *finished.id.as_str().and_then(|key| places.get(key))?;
    let number = usize::try_from(finished.sample).ok().filter(|&number| number < n)?;
    Some(finished.completion().map(|completion| ((at, number), completion)))
}

impl<S: PartSamples> Drawing for Parts<'_, '_, S> {
    fn next_missing(&mut self) -> Result<Option<MissingSamples>> {
        loop {
            if let Some(missing) = self.missing.pop_front() {
                return Ok(Some(missing));
            }
            let Some(part) = self.unread.pop_front() else { return Ok(None) };
            self.read(part)?;
        }
    }

    fn keep(&mut self, place: PromptPlace, number: u64, completion: Completion) -> Result<()> {
        debug_assert_ne!(completion.stop, StopReason::Interrupted);
        // The clock starts with the oldest sample that is in no journal.
        if self.unwritten.is_empty() {
            self.unwritten_since = Instant::now();
        }
        self.unwritten.push((place, number as usize));
        // First the part: a sample that completes it needs no journal.
        self.add(place, number as usize, completion)?;
        self.write_journals()
    }

    fn tick(&mut self) -> Result<()> {
        self.write_journals()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::{GenerateClient, ModelShape, Request, StopTexts};
    use crate::random::Random;
    use crate::sampling::generate_all;
    use crate::text_codec::TextCodec;
    use latrace_core::SamplingParams;
    use std::sync::{Arc, Mutex};

    const N: u64 = 3;

    fn generator() -> Box<dyn Generate> {
        Random::small_generator().unwrap()
    }

    fn job() -> SampleJob {
        SampleJob {
            stage: "test",
            seed: 7,
            n: N,
            params: SamplingParams::plain(10),
            stop_ids: vec![5],
            stop_texts: StopTexts::default(),
        }
    }

    fn prompts(part: usize) -> Vec<Prompt> {
        // Part 1 has none.
        let count = [2, 0, 3][part];
        (0..count).map(|at| Prompt::keyed(format!("{part}.{at}"), vec![1 + at, 2])).collect()
    }

    /// A part's number, and its prompts' ids with their completions.
    type WrittenPart = (usize, Vec<(String, Vec<Completion>)>);

    /// Parts that are in memory, as they were written.
    #[derive(Default)]
    struct Memory {
        written: Mutex<Vec<WrittenPart>>,
    }

    impl Memory {
        /// What was written, by part.
        fn written(&self) -> Vec<WrittenPart> {
            let mut written = self.written.lock().unwrap().clone();
            written.sort_by_key(|(part, _)| *part);
            written
        }
    }

    impl PartSamples for Memory {
        type Of = String;

        fn read(&self, part: usize) -> Result<Vec<(String, Prompt)>> {
            Ok(prompts(part).into_iter().map(|prompt| (prompt.stream.clone(), prompt)).collect())
        }

        fn write(&self, part: usize, samples: Vec<(String, Vec<Completion>)>) -> Result<()> {
            self.written.lock().unwrap().push((part, samples));
            Ok(())
        }
    }

    fn expected(part: usize) -> (usize, Vec<(String, Vec<Completion>)>) {
        let of = |prompt: &Prompt| {
            let request = job().request(prompt, &[0, 1, 2]);
            (prompt.stream.clone(), generate_all(&mut *generator(), vec![request]).unwrap().remove(0))
        };
        (part, prompts(part).iter().map(of).collect())
    }

    /// An engine that fails before a sample, as one that is killed does, and counts those before.
    struct Failing {
        whole: Box<dyn Generate>,
        left: usize,
    }

    struct FailingClient<'a>(&'a mut dyn GenerateClient, &'a mut usize);

    impl GenerateClient for FailingClient<'_> {
        fn next_request(&mut self) -> Result<Option<Request>> {
            self.0.next_request()
        }

        fn finished(&mut self, request: usize, sample: usize, completion: Completion) -> Result<()> {
            *self.1 = self.1.checked_sub(1).context("killed")?;
            self.0.finished(request, sample, completion)
        }
    }

    impl Generate for Failing {
        fn shape(&self) -> &ModelShape {
            self.whole.shape()
        }

        fn text(&self) -> Option<Arc<TextCodec>> {
            None
        }

        fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
            self.whole.generate_unchecked(&mut FailingClient(client, &mut self.left))
        }
    }

    /// Draws parts 0 and 2 with an engine that fails after `before` samples.
    fn draw_and_fail(folder: &Path, before: usize, memory: &Memory) {
        let mut progress = Progress::new("samples", 0, None);
        let make =
            || -> Result<Box<dyn Generate>> { Ok(Box::new(Failing { whole: generator(), left: before })) };
        let error = scope(|scope| {
            let parts = Parts::new(&job(), vec![0, 2], folder, memory, WriteBehind::new(scope));
            let mut drawing = Parts { journal_after: Duration::ZERO, ..parts };
            draw_missing(&job(), &mut drawing, make, &mut progress).unwrap_err()
        });
        assert_eq!(error.to_string(), "killed");
    }

    #[test]
    fn every_part_is_written_once_with_samples_in_order_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let spent = draw_parts(&job(), vec![0, 1, 2], 0, folder.path(), &memory, || Ok(generator()));
        let spent = spent.unwrap();
        assert_eq!(memory.written(), [expected(0), expected(1), expected(2)]);
        assert_eq!((spent.samples, spent.tokens), (15, 15 * 6));
        assert_eq!(spent.reasons, BTreeMap::from([("end", 15)]));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    /// Fails between two samples, as a full disk does.
    struct FullDisk(Option<MissingSamples>);

    impl Drawing for FullDisk {
        fn next_missing(&mut self) -> Result<Option<MissingSamples>> {
            Ok(self.0.take())
        }

        fn keep(&mut self, _: PromptPlace, _: u64, _: Completion) -> Result<()> {
            Ok(())
        }

        fn tick(&mut self) -> Result<()> {
            anyhow::bail!("the disk is full")
        }
    }

    #[test]
    fn a_journal_that_cannot_be_written_between_samples_ends_the_work() {
        let (place, prompt) = (PromptPlace { part: 0, prompt: 0 }, prompts(0).remove(0));
        let numbers = (0..60).collect();
        let mut drawing = FullDisk(Some(MissingSamples { place, prompt, numbers }));
        let mut progress = Progress::new("samples", 0, None);
        let error = draw_missing(&job(), &mut drawing, || Ok(generator()), &mut progress).unwrap_err();
        assert_eq!(error.to_string(), "the disk is full");
    }

    #[test]
    fn without_prompts_no_generator_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        let never = || -> Result<Box<dyn Generate>> { panic!("nothing is missing") };
        draw_parts(&job(), vec![1], 0, folder.path(), &memory, never).unwrap();
        assert_eq!(memory.written(), [expected(1)]);
    }

    #[test]
    fn finished_samples_of_unfinished_parts_are_not_drawn_again() {
        for before in 0..15 {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::default();
            draw_and_fail(folder.path(), before, &memory);
            assert_eq!(memory.written().len(), usize::from(before >= 6), "{before}");
            let left: Vec<usize> = if before < 6 { vec![0, 2] } else { vec![2] };
            let spent = draw_parts(&job(), left, 0, folder.path(), &memory, || Ok(generator())).unwrap();
            assert_eq!(spent.samples, 15 - before as u64);
            assert_eq!(memory.written(), [expected(0), expected(2)], "{before}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_journal_that_another_job_or_hand_has_written_is_used_as_far_as_it_fits() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::default();
        draw_and_fail(folder.path(), 2, &memory);
        let path = folder.path().join("unfinished-00000.jsonl");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\"sample\":1", "\"sample\":9")).unwrap();
        let spent = draw_parts(&job(), vec![0], 0, folder.path(), &memory, || Ok(generator())).unwrap();
        assert_eq!((spent.samples, memory.written()), (5, vec![expected(0)]));
        fs::write(&path, text.replacen("\"token_ids\":[", "\"token_ids\":[1,", 1)).unwrap();
        let error = draw_parts(&job(), vec![0], 0, folder.path(), &Memory::default(), || Ok(generator()));
        let error = format!("{:#}", error.unwrap_err());
        assert!(error.contains("unfinished-00000.jsonl") && error.contains("log-probs"), "{error}");
    }

    #[test]
    fn the_journal_of_a_written_part_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let stale = [journal(folder.path(), 0), journal(folder.path(), 2)];
        stale.iter().for_each(|path| fs::write(path, "").unwrap());
        fs::write(folder.path().join("part-00000.parquet"), "").unwrap();
        let memory = Memory::default();
        draw_parts(&job(), vec![2], 0, folder.path(), &memory, || Ok(generator())).unwrap();
        assert_eq!(memory.written(), [expected(2)]);
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["part-00000.parquet"]);
        // Without parts to draw, too.
        fs::write(&stale[0], "").unwrap();
        let never = || -> Result<Box<dyn Generate>> { panic!("nothing is missing") };
        draw_parts(&job(), Vec::new(), 0, folder.path(), &memory, never).unwrap();
        assert!(!stale[0].exists());
    }
}
