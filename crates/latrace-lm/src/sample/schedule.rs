//! Which tokens go into the next pass: one of each running sample, and a piece of the prompt that is being
//! read.
//!
//! Samples take blocks of the cache as they grow. When none is left, the youngest sample is preempted: it
//! gives its blocks back and waits; later it is prefilled like a prompt, drawn tokens included, which changes
//! neither its tokens nor its log-probs. The oldest sample is never preempted, and alone it always fits, so
//! that every sample finishes. Age is the order of requests and of samples within them.

use super::SampleRequest;
use super::blocks::{Blocks, Serial};
use latrace_core::random::uniform;
use latrace_kernels::{CACHE_BLOCK, CacheSpan, Draw};
use std::collections::BTreeMap;
use std::ops::Range;

/// A request's place, and a sample's among the request's: the smaller, the older.
type Age = (usize, usize);

/// Samples of one request that have not started, or one that was preempted.
#[derive(Debug)]
struct Waiting {
    samples: Range<usize>,
    drawn: Drawn,
}

impl Waiting {
    fn unstarted(samples: Range<usize>) -> Self {
        Self { samples, drawn: Drawn::default() }
    }
}

/// Tokens drawn so far, and their log-probs.
#[derive(Clone, Debug, Default)]
struct Drawn {
    tokens: Vec<u32>,
    logp: Vec<f32>,
}

/// Samples whose prompt, with the tokens drawn before a preemption, is being read.
#[derive(Debug)]
struct Reading {
    request: usize,
    samples: Range<usize>,
    drawn: Drawn,
    /// The tokens to prefill.
    tokens: Vec<u32>,
    chain: Chain,
}

/// The blocks of a sequence, and how many of its tokens they hold.
#[derive(Clone, Debug, Default)]
struct Chain {
    blocks: Vec<u32>,
    length: usize,
    /// The last full block.
    parent: Option<Serial>,
}

/// A running sample.
#[derive(Debug)]
pub(super) struct Running {
    pub request: usize,
    pub sample: usize,
    pub tokens: Vec<u32>,
    pub logp: Vec<f32>,
    chain: Chain,
}

/// A sample, or several of a request, that had to give its blocks back.
type Suspended = (Age, Waiting, Chain);

impl Reading {
    fn age(&self) -> Age {
        (self.request, self.samples.start)
    }

    fn suspend(self) -> Suspended {
        let age = self.age();
        (age, Waiting { samples: self.samples, drawn: self.drawn }, self.chain)
    }

    fn start(&self, sample: usize) -> Running {
        let Drawn { tokens, logp } = self.drawn.clone();
        Running { request: self.request, sample, tokens, logp, chain: self.chain.clone() }
    }
}

impl Running {
    fn age(&self) -> Age {
        (self.request, self.sample)
    }

    fn suspend(self) -> Suspended {
        let Self { request, sample, tokens, logp, chain } = self;
        ((request, sample), Waiting { samples: sample..sample + 1, drawn: Drawn { tokens, logp } }, chain)
    }
}

/// One pass through the model.
#[derive(Debug, Default)]
pub(super) struct Step {
    /// Blocks to be copied before anything else, in order: from, to.
    pub copies: Vec<(u32, u32)>,
    pub ids: Vec<u32>,
    pub positions: Vec<u32>,
    pub spans: Vec<CacheSpan>,
    pub blocks: Vec<u32>,
    /// Rows from which tokens are drawn; nothing else is needed of the last layer's output.
    pub rows: Vec<u32>,
    /// The positions of those rows alone, and their spans over the same blocks.
    pub last_positions: Vec<u32>,
    pub last_spans: Vec<CacheSpan>,
    /// How tokens are drawn, and from which of `rows`.
    pub draws: Vec<Draw>,
    pub drawn_from: Vec<u32>,
    /// How many of the draws are of running samples; the rest are first tokens.
    pub continued: usize,
    /// Prompts that this pass reads to their end.
    completed: Vec<Reading>,
}

/// Limits of a pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most samples at a time.
    pub samples: usize,
    /// Most tokens of prompts in one pass.
    pub prompt_tokens: usize,
    /// The model's positions.
    pub positions: usize,
}

/// Samples that wait, are read and run, and the blocks they hold.
pub(super) struct Schedule<'a> {
    requests: &'a [SampleRequest],
    limits: Limits,
    pub blocks: &'a mut Blocks,
    waiting: BTreeMap<Age, Waiting>,
    reading: Option<Reading>,
    /// The oldest first.
    pub running: Vec<Running>,
    /// Samples that run or are read.
    active: usize,
    /// How often samples were preempted.
    pub preempted: u64,
}

impl<'a> Schedule<'a> {
    /// A schedule in which all samples wait.
    pub fn new(requests: &'a [SampleRequest], blocks: &'a mut Blocks, limits: Limits) -> Self {
        let wanted = requests.iter().enumerate().filter(|(_, request)| !request.streams.is_empty());
        let waiting = wanted.map(|(i, request)| ((i, 0), Waiting::unstarted(0..request.streams.len())));
        Self {
            requests,
            limits,
            blocks,
            waiting: waiting.collect(),
            reading: None,
            running: Vec::new(),
            active: 0,
            preempted: 0,
        }
    }

    /// Most new tokens of a request's samples.
    pub fn limit(request: &SampleRequest, positions: usize) -> usize {
        request.params.max_new_tokens.min(positions - request.prompt.len())
    }

    /// Most blocks that one sample of the request needs.
    pub fn blocks_of_one(request: &SampleRequest, positions: usize) -> usize {
        // The last token drawn is never read.
        (request.prompt.len() + Self::limit(request, positions) - 1).div_ceil(CACHE_BLOCK)
    }

    /// The next pass; none when all is done.
    pub fn next_step(&mut self) -> Option<Step> {
        let mut step = Step::default();
        // Running samples come first: a long prompt must not make them wait.
        self.add_running(&mut step);
        step.continued = step.draws.len();
        while self.read_on(&mut step) {}
        assert!(self.is_done() || !step.ids.is_empty(), "a sample that is alone fits: it was checked before");
        (!step.ids.is_empty()).then_some(step)
    }

    fn is_done(&self) -> bool {
        self.running.is_empty() && self.reading.is_none() && self.waiting.is_empty()
    }

    fn add_running(&mut self, step: &mut Step) {
        // Samples that were read again were appended at the end, whatever their age.
        self.running.sort_by_key(Running::age);
        let mut i = 0;
        while i < self.running.len() {
            let needs_block = self.running[i].chain.needs_block(self.blocks);
            if needs_block && self.blocks.available() == 0 {
                // The youngest is not part of this pass yet, as samples are added by age. It may be this one.
                self.preempt();
            } else {
                self.add_token(i, step);
                i += 1;
            }
        }
    }

    /// Adds the last token of running sample `i`, and a draw of the next one.
    fn add_token(&mut self, i: usize, step: &mut Step) {
        let running = &mut self.running[i];
        let request = &self.requests[running.request];
        running.chain.own_last_block(self.blocks, step);
        let token = running.tokens[running.tokens.len() - 1];
        let all = || request.tokens(&running.tokens);
        running.chain.append(self.blocks, step, std::iter::once(token), all);
        step.draw_from_last_row([draw(request, running.sample, running.tokens.len())]);
    }

    /// Takes all blocks from the youngest of those that run or are read.
    fn preempt(&mut self) {
        self.preempted += 1;
        let Some((age, waiting, chain)) = self.suspend_youngest() else { return };
        chain.release(self.blocks);
        self.active -= waiting.samples.len();
        self.waiting.insert(age, waiting);
    }

    fn suspend_youngest(&mut self) -> Option<Suspended> {
        let youngest = self.running.last().map(Running::age);
        // What is read may be younger or older than what runs: a preempted sample keeps its age.
        match self.reading.take_if(|reading| Some(reading.age()) > youngest) {
            Some(reading) => Some(reading.suspend()),
            None => self.running.pop().map(Running::suspend),
        }
    }

    /// Adds a piece of what is being read, or of the oldest that waits; returns whether there may be more to
    /// add.
    fn read_on(&mut self, step: &mut Step) -> bool {
        let left = self.limits.prompt_tokens - step.prompt_tokens();
        let Some(mut reading) = self.next_reading(left) else { return false };
        let (from, room) = (reading.chain.length, self.room(&reading.chain));
        let until = reading.tokens.len().min(from + left.min(room));
        if until > from {
            let new = reading.tokens[from..until].iter().copied();
            reading.chain.append(self.blocks, step, new, || reading.tokens.iter().copied());
        }
        if until < reading.tokens.len() {
            // Continued in a later pass: this one is full, or running samples must first release blocks.
            self.reading = Some(reading);
            return false;
        }
        self.complete(reading, step);
        true
    }

    /// What is being read, or else what is admitted if the pass has room for `left` tokens.
    fn next_reading(&mut self, left: usize) -> Option<Reading> {
        match self.reading.take() {
            None if left > 0 => self.admit(),
            reading => reading,
        }
    }

    /// Tokens that a sequence can grow by, with all available blocks.
    fn room(&self, chain: &Chain) -> usize {
        chain.room() + self.blocks.available() * CACHE_BLOCK
    }

    /// Draws the first tokens of samples whose prompt is read to its end.
    fn complete(&self, reading: Reading, step: &mut Step) {
        let (request, at) = (&self.requests[reading.request], reading.drawn.tokens.len());
        step.draw_from_last_row(reading.samples.clone().map(|sample| draw(request, sample, at)));
        step.completed.push(reading);
    }

    /// Admits the oldest request that waits, with as many of its samples as fit; none while memory is short.
    fn admit(&mut self) -> Option<Reading> {
        let (&(request, _), waiting) = self.waiting.first_key_value()?;
        let tokens: Vec<u32> = self.requests[request].tokens(&waiting.drawn.tokens).collect();
        // The last token is always read: the next one is drawn from its row.
        let known = self.blocks.prefix(&tokens, (tokens.len() - 1) / CACHE_BLOCK);
        let count = self.admissible(request, waiting, tokens.len(), &known);
        if count == 0 {
            return None;
        }
        let Waiting { samples, drawn } = self.take_oldest(count)?;
        let chain = Chain::of_known(known, self.blocks);
        Some(Reading { request, samples, drawn, tokens, chain })
    }

    /// How many waiting samples can be admitted, with a prompt of `tokens` tokens that begins with `known`
    /// blocks.
    fn admissible(&self, request: usize, waiting: &Waiting, tokens: usize, known: &[u32]) -> usize {
        // Known blocks that are idle are needed too, since holding them makes them unavailable to others.
        let needed = tokens.div_ceil(CACHE_BLOCK) - self.blocks.held_among(known);
        let drawn = waiting.drawn.tokens.len();
        let left = Self::limit(&self.requests[request], self.limits.positions) - drawn;
        let again = if drawn == 0 { 0 } else { tokens.min(left).div_ceil(CACHE_BLOCK) };
        let places = self.limits.samples - self.active;
        waiting.samples.len().min(places).min(self.fitting(needed, left, again))
    }

    /// Takes the first `count` samples of the oldest that waits; the rest continue to wait.
    fn take_oldest(&mut self, count: usize) -> Option<Waiting> {
        let ((request, first), Waiting { samples, drawn }) = self.waiting.pop_first()?;
        let rest = first + count..samples.end;
        if !rest.is_empty() {
            // Only unstarted samples wait together, so the rest have drawn nothing.
            self.waiting.insert((request, rest.start), Waiting::unstarted(rest));
        }
        self.active += count;
        Some(Waiting { samples: first..first + count, drawn })
    }

    /// How many samples fit that need `needed` blocks together at first, and may draw `left` tokens each.
    ///
    /// Every active sample should have room to grow by a block. A sample that is read `again` should be able
    /// to grow by as many blocks as it reads, so that most of the time is never spent on reading. One sample
    /// is admitted whenever none is active.
    fn fitting(&self, needed: usize, left: usize, again: usize) -> usize {
        let room = self.blocks.available().checked_sub(needed);
        // The last token drawn is never read, so it needs no place.
        let fitting = room
            .map_or(0, |room| if left == 1 { usize::MAX } else { room.saturating_sub(self.active + again) });
        if self.active == 0 { fitting.max(1) } else { fitting }
    }

    /// Starts the samples whose prompts the pass has read. They share its last block too, until one of them
    /// writes to it.
    pub fn start_samples(&mut self, step: &mut Step) {
        for reading in step.completed.drain(..) {
            for sample in reading.samples.clone() {
                // The first sample takes over the reading's hold on the blocks.
                if sample > reading.samples.start {
                    reading.chain.share(self.blocks);
                }
                self.running.push(reading.start(sample));
            }
        }
    }

    /// Removes and returns the samples that are marked as finished.
    pub fn finish(&mut self, finished: &[bool]) -> Vec<Running> {
        let mut finished = finished.iter();
        let is_done = |_: &mut Running| finished.next().is_some_and(|finished| *finished);
        let done: Vec<Running> = self.running.extract_if(.., is_done).collect();
        done.iter().for_each(|running| running.chain.release(self.blocks));
        self.active -= done.len();
        done
    }
}

impl Drop for Schedule<'_> {
    fn drop(&mut self) {
        // After an error, samples are left; the blocks outlive the schedule and must be free for the next run.
        self.running.iter().for_each(|running| running.chain.release(self.blocks));
        self.reading.iter().for_each(|reading| reading.chain.release(self.blocks));
    }
}

impl Chain {
    /// Whether the next token needs a block: a new one, or a copy of a last block that others hold too.
    fn needs_block(&self, blocks: &Blocks) -> bool {
        self.room() == 0 || blocks.is_shared(self.last_block())
    }

    /// A sequence that begins with full blocks of known contents.
    fn of_known(known: Vec<u32>, blocks: &mut Blocks) -> Self {
        Self { length: known.len() * CACHE_BLOCK, parent: blocks.hold(&known), blocks: known }
    }

    fn last_block(&self) -> u32 {
        self.blocks[self.blocks.len() - 1]
    }

    /// Tokens that fit into the last block.
    fn room(&self) -> usize {
        self.blocks.len() * CACHE_BLOCK - self.length
    }

    /// Before a token is added to a last block that others hold too, it is copied.
    fn own_last_block(&mut self, blocks: &mut Blocks, step: &mut Step) {
        if self.room() > 0
            && let Some(last) = self.blocks.last_mut()
            && blocks.is_shared(*last)
        {
            let own = take(blocks);
            step.copies.push((*last, own));
            blocks.release(*last);
            *last = own;
        }
    }

    /// Adds tokens to the sequence and to the pass, taking blocks as needed. `all` are the sequence's tokens,
    /// the new among them.
    fn append<I: Iterator<Item = u32>>(
        &mut self,
        blocks: &mut Blocks,
        step: &mut Step,
        new: impl Iterator<Item = u32>,
        all: impl Fn() -> I,
    ) {
        let (row, position) = (step.ids.len(), self.length);
        for token in new {
            step.ids.push(token);
            step.positions.push(self.length as u32);
            self.grow(blocks, &all);
        }
        step.spans.push(CacheSpan { row, rows: step.ids.len() - row, position, blocks: step.blocks.len() });
        step.blocks.extend(&self.blocks);
    }

    /// Adds a place for a token, with a new block if the last one is full.
    fn grow<I: Iterator<Item = u32>>(&mut self, blocks: &mut Blocks, all: impl Fn() -> I) {
        if self.room() == 0 {
            self.blocks.push(take(blocks));
        }
        self.length += 1;
        if self.room() == 0 {
            // Registered before the pass fills it, so that the same pass can share it: keys are stored before
            // any attention of the same layer reads them.
            let tokens: Vec<u32> = all().skip(self.length - CACHE_BLOCK).take(CACHE_BLOCK).collect();
            self.parent = Some(blocks.register(self.last_block(), self.parent, &tokens));
        }
    }

    fn share(&self, blocks: &mut Blocks) {
        self.blocks.iter().for_each(|&block| blocks.share(block));
    }

    fn release(&self, blocks: &mut Blocks) {
        // The first blocks of a chain are shared by the most sequences, so they should be evicted last.
        self.blocks.iter().rev().for_each(|&block| blocks.release(block));
    }
}

impl Step {
    /// Tokens of prompts; the rest continue running samples.
    pub fn prompt_tokens(&self) -> usize {
        self.ids.len() - self.continued
    }

    /// Draws tokens from the row that was added last.
    fn draw_from_last_row(&mut self, draws: impl IntoIterator<Item = Draw>) {
        let Some(span) = self.spans.last() else { return };
        let (row, position) = (span.row + span.rows - 1, span.position + span.rows - 1);
        let kept = self.rows.len();
        self.last_spans.push(CacheSpan { row: kept, rows: 1, position, blocks: span.blocks });
        self.rows.push(row as u32);
        self.last_positions.push(position as u32);
        self.draws.extend(draws);
        self.drawn_from.resize(self.draws.len(), kept as u32);
    }
}

fn draw(request: &SampleRequest, sample: usize, position: usize) -> Draw {
    let s = &request.params;
    Draw {
        temperature: s.temperature,
        top_k: s.top_k,
        top_p: s.top_p,
        min_p: s.min_p,
        uniform: uniform(request.streams[sample], position),
    }
}

/// A block, where one is known to be available.
fn take(blocks: &mut Blocks) -> u32 {
    blocks.take().unwrap_or_else(|| unreachable!("callers check that a block is available"))
}
