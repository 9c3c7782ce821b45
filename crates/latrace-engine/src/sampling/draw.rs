//! The one sampling loop: verbs, stages and evaluations differ only in which samples are missing and where
//! finished ones go.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use latrace_core::random::stream;
use latrace_core::{SamplingParams, StopReason};
use latrace_io::progress::{Progress, is_in_stage};
use latrace_io::rows::{Row, shortest};
use latrace_io::words::grouped;
use serde_json::{Value, json};

use crate::boundary::{Completion, Generate, GenerateClient, Request, StopTexts};

/// A prompt to draw from.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// Its row's unique id.
    pub id: Value,
    /// Its name in the key of its random numbers.
    pub stream: String,
    /// Token ids.
    pub ids: Vec<u32>,
}

impl Prompt {
    /// The prompt of a row, whose random numbers are keyed by its id.
    pub fn new(id: Value, ids: Vec<u32>) -> Prompt {
        // As JSON, with the quotes of a string: the ids 1 and "1" are of different rows, and draw different
        // samples.
        Prompt { stream: id.to_string(), id, ids }
    }

    /// The prompt of a key.
    pub fn keyed(key: String, ids: Vec<u32>) -> Prompt {
        Prompt { id: key.clone().into(), stream: key, ids }
    }

    /// Its display name.
    pub fn name(&self) -> String {
        self.id.as_str().map_or_else(|| self.id.to_string(), str::to_owned)
    }
}

/// What is drawn from every prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleJob {
    /// The stage's name in the key of every random number.
    pub stage: &'static str,
    /// Random seed.
    pub seed: u64,
    /// Samples per prompt.
    pub n: u64,
    /// Sampling parameters.
    pub params: SamplingParams,
    /// Tokens that end a sample.
    pub stop_ids: Vec<u32>,
    /// Texts that end a sample.
    pub stop_texts: StopTexts,
}

impl SampleJob {
    /// The settings that its samples depend on, as journals and summaries state them.
    pub fn described(&self) -> Row {
        let SamplingParams { temperature, top_p, top_k, min_p, max_new_tokens } = self.params;
        // Shortest decimals: a temperature of 0.7 would otherwise be described as 0.699999988079071.
        let described = [
            ("seed", json!(self.seed)),
            ("temperature", json!(shortest(temperature))),
            ("top_p", json!(shortest(top_p))),
            ("top_k", json!(top_k)),
            ("min_p", json!(shortest(min_p))),
            ("max_new_tokens", json!(max_new_tokens)),
            ("end_ids", json!(self.stop_ids)),
        ];
        described.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A request for some of a prompt's samples, by their numbers below `n`. A sample has the same seed
    /// whichever others are requested with it.
    pub fn request(&self, prompt: &Prompt, numbers: &[u64]) -> Request {
        let seed = |&number| stream(self.seed, self.stage, &prompt.stream, number);
        Request {
            prompt: prompt.ids.clone(),
            seeds: numbers.iter().map(seed).collect(),
            params: self.params,
            stop_ids: self.stop_ids.clone(),
            stop_texts: self.stop_texts.clone(),
        }
    }
}

/// The place of a prompt: the part of its table, and its index in that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PromptPlace {
    /// The part; 0 where there are no parts.
    pub part: usize,
    /// The place in the part.
    pub prompt: usize,
}

/// A prompt with missing samples.
#[derive(Clone, Debug, PartialEq)]
pub struct MissingSamples {
    /// Its place.
    pub place: PromptPlace,
    /// The prompt.
    pub prompt: Prompt,
    /// The numbers of the missing samples, in ascending order.
    pub numbers: Vec<u64>,
}

/// Which samples are missing, and where they go.
pub trait Drawing {
    /// The next prompt with missing samples. It is requested when the engine has room, so that a large run
    /// is never held in memory.
    ///
    /// # Errors
    /// A source that cannot be read.
    fn next_missing(&mut self) -> Result<Option<MissingSamples>>;

    /// Keeps a finished sample of the prompt at `place`.
    ///
    /// # Errors
    /// I/O errors.
    fn keep(&mut self, place: PromptPlace, number: u64, completion: Completion) -> Result<()>;

    /// Called every so many tokens, even while no sample finishes.
    ///
    /// # Errors
    /// I/O errors.
    fn tick(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Cost of the sampling.
#[derive(Clone, Debug, Default)]
pub struct Spent {
    /// Samples drawn.
    pub samples: u64,
    /// Tokens drawn.
    pub tokens: u64,
    /// Seconds.
    pub seconds: f64,
    /// Samples drawn, by stop reason.
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Spent {
    fn count(&mut self, completion: &Completion) {
        self.samples += 1;
        self.tokens += completion.ids.len() as u64;
        *self.reasons.entry(completion.stop.name()).or_default() += 1;
    }
}

/// Draws all missing samples with the generator that `make` returns. `make` is not called if nothing is
/// missing, because loading a model may take minutes.
///
/// # Errors
/// Whatever `make` and `drawing` return, unchanged; requests that the model or the engine has no room for, by
/// the prompt's id; completions that cannot be right.
pub fn draw_missing(
    job: &SampleJob,
    drawing: &mut dyn Drawing,
    make: impl FnOnce() -> Result<Box<dyn Generate>>,
    progress: &mut Progress,
) -> Result<Spent> {
    let Some(first) = drawing.next_missing()? else { return Ok(Spent::default()) };
    let mut generator = make()?;
    let mut work = Work::new(job, drawing, first, progress);
    let outcome = generator.generate(&mut work);
    // It is the reason for what the engine returns: interrupted samples.
    work.failure.take().map_or(Ok(()), Err)?;
    outcome?;
    let spent = Spent { seconds: work.started.elapsed().as_secs_f64(), ..work.spent };
    summarise(&spent, &generator.remarks());
    Ok(spent)
}

/// Tokens between two updates of the progress display.
const SHOW_EVERY: u64 = 256;

/// A prompt that the engine is drawing from.
struct Requested {
    place: PromptPlace,
    name: String,
    numbers: Vec<u64>,
    missing: usize,
}

struct Work<'a> {
    job: &'a SampleJob,
    drawing: &'a mut dyn Drawing,
    progress: &'a mut Progress,
    first: Option<MissingSamples>,
    /// By the engine's number of the request.
    requested: HashMap<usize, Requested>,
    given: usize,
    spent: Spent,
    started: Instant,
    /// Tokens drawn, of unfinished samples too.
    grown: u64,
    /// Of those, how many when progress was last shown.
    shown: u64,
    /// An error that ends the work from where none can be returned.
    failure: Option<anyhow::Error>,
}

impl<'a> Work<'a> {
    fn new(
        job: &'a SampleJob,
        drawing: &'a mut dyn Drawing,
        first: MissingSamples,
        progress: &'a mut Progress,
    ) -> Work<'a> {
        Work {
            job,
            drawing,
            progress,
            first: Some(first),
            requested: HashMap::new(),
            given: 0,
            spent: Spent::default(),
            // The model is loaded by now: the rate is that of the sampling alone.
            started: Instant::now(),
            grown: 0,
            shown: 0,
            failure: None,
        }
    }

    fn next_missing(&mut self) -> Result<Option<MissingSamples>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.drawing.next_missing(),
        }
    }

    /// Where a finished sample belongs. A request is forgotten with its last sample.
    fn settle(&mut self, request: usize, sample: usize) -> Option<(PromptPlace, u64)> {
        let requested = self.requested.get_mut(&request)?;
        let at = (requested.place, requested.numbers[sample]);
        requested.missing -= 1;
        if requested.missing == 0 {
            self.requested.remove(&request);
        }
        Some(at)
    }

    /// Tokens drawn per second so far.
    fn rate(&self) -> f64 {
        self.grown as f64 / self.started.elapsed().as_secs_f64()
    }

    fn show(&mut self) -> Result<()> {
        self.shown = self.grown;
        self.progress.message(format!("{} tokens/s", grouped(self.rate() as u64)));
        // The first sample may be minutes away.
        self.progress.advance(0);
        self.drawing.tick()
    }
}

impl GenerateClient for Work<'_> {
    fn next_request(&mut self) -> Result<Option<Request>> {
        let Some(MissingSamples { place, prompt, numbers }) = self.next_missing()? else { return Ok(None) };
        let request = self.job.request(&prompt, &numbers);
        let missing = numbers.len();
        self.requested.insert(self.given, Requested { place, name: prompt.name(), numbers, missing });
        self.given += 1;
        Ok(Some(request))
    }

    fn grown(&mut self, _: usize, _: usize, _: &[u32], new: usize) -> ControlFlow<()> {
        self.grown += new as u64;
        if self.grown - self.shown >= SHOW_EVERY
            && let Err(error) = self.show()
        {
            // Returned by `finished`, to which the interruption leads.
            self.failure = Some(error);
        }
        if self.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn finished(&mut self, request: usize, sample: usize, completion: Completion) -> Result<()> {
        // Interrupted by a failure, a sample is not finished, and must not be kept.
        self.failure.take().map_or(Ok(()), Err)?;
        debug_assert_ne!(completion.stop, StopReason::Interrupted, "only a failure interrupts");
        self.progress.advance(1);
        self.spent.count(&completion);
        match self.settle(request, sample) {
            Some((place, number)) => self.drawing.keep(place, number, completion),
            None => Ok(()),
        }
    }

    /// Needed only while samples of the request are missing, or before it is taken.
    fn name(&self, request: usize) -> String {
        self.requested.get(&request).map_or_else(|| request.to_string(), |requested| requested.name.clone())
    }
}

fn summarise(spent: &Spent, remarks: &str) {
    let Spent { samples, tokens, seconds, reasons } = spent;
    let reasons: Vec<String> = reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let (reasons, rate) = (reasons.join(", "), *tokens as f64 / seconds);
    let said = format!(
        "{samples} samples ({reasons}); {tokens} tokens drawn in {seconds:.1} s, {rate:.0} a second; {remarks}"
    );
    // A stage of a run says itself what it has drawn.
    if is_in_stage() { tracing::debug!("{said}") } else { tracing::info!("{said}") }
}
