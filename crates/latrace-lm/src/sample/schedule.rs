//! Which tokens go into the next pass: one of each running sample, and a piece of the prompts that wait to be read.

use super::blocks::{Blocks, Serial};
use super::{SampleRequest, uniform};
use latrace_kernels::{CACHE_BLOCK, CacheSpan, Draw};
use std::collections::VecDeque;

/// Samples of one request that start together, and what is known of their prompt.
#[derive(Debug)]
struct Prompt {
    request: usize,
    samples: std::ops::Range<usize>,
    chain: Chain,
    started: bool,
    reservation: Reservation,
}

/// The blocks of a sequence, and how many of its tokens they hold.
#[derive(Clone, Debug, Default)]
struct Chain {
    blocks: Vec<u32>,
    length: usize,
    /// The last full block.
    parent: Option<Serial>,
}

/// Blocks promised to samples that start together, so that none ever lacks one.
#[derive(Clone, Copy, Debug)]
struct Reservation {
    /// Of the prompt, shared by all.
    shared: usize,
    /// Of each sample.
    each: usize,
}

impl Reservation {
    fn new(prompt: usize, limit: usize) -> Self {
        // The last token drawn is never read.
        let (shared, all) = (prompt / CACHE_BLOCK, (prompt + limit - 1).div_ceil(CACHE_BLOCK));
        Self { shared, each: all - shared }
    }

    fn total(self, samples: usize) -> usize {
        self.shared + samples * self.each
    }
}

/// A running sample.
#[derive(Debug)]
pub(super) struct Running {
    pub request: usize,
    pub sample: usize,
    pub tokens: Vec<u32>,
    pub logp: Vec<f32>,
    chain: Chain,
    group: usize,
}

/// Samples that started together and still run.
#[derive(Debug)]
struct Group {
    running: usize,
    reservation: Reservation,
}

/// One pass through the model.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub ids: Vec<u32>,
    pub positions: Vec<u32>,
    pub spans: Vec<CacheSpan>,
    pub blocks: Vec<u32>,
    /// Rows from which tokens are drawn, and how.
    pub rows: Vec<u32>,
    pub draws: Vec<Draw>,
    /// How many of the draws are of running samples; the rest are first tokens.
    pub continued: usize,
    /// Prompts that are read to their end with this pass.
    completed: Vec<Prompt>,
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

/// What waits, what runs, and who holds which block.
pub(super) struct Schedule<'a> {
    requests: &'a [SampleRequest],
    limits: Limits,
    pub blocks: Blocks,
    /// Requests, and the first of their samples that has not started.
    waiting: VecDeque<(usize, usize)>,
    prompts: VecDeque<Prompt>,
    pub running: Vec<Running>,
    groups: Vec<Group>,
    reserved: usize,
    /// Samples admitted and not finished.
    active: usize,
}

impl<'a> Schedule<'a> {
    pub fn new(requests: &'a [SampleRequest], blocks: Blocks, limits: Limits) -> Self {
        let waiting = (0..requests.len()).filter(|&i| !requests[i].streams.is_empty()).map(|i| (i, 0)).collect();
        Self { requests, limits, blocks, waiting, prompts: VecDeque::new(), running: Vec::new(), groups: Vec::new(), reserved: 0, active: 0 }
    }

    /// Most new tokens of a request's samples.
    pub fn limit(request: &SampleRequest, positions: usize) -> usize {
        request.sampling.max_new_tokens.min(positions - request.prompt.len())
    }

    /// Blocks that one sample of the request needs.
    pub fn blocks_of_one(request: &SampleRequest, positions: usize) -> usize {
        Reservation::new(request.prompt.len(), Self::limit(request, positions)).total(1)
    }

    /// The next pass; none when all is done.
    pub fn next_step(&mut self) -> Option<Step> {
        self.admit();
        let mut step = Step::default();
        self.add_running(&mut step);
        step.continued = step.draws.len();
        self.add_prompts(&mut step);
        (!step.ids.is_empty()).then_some(step)
    }

    /// Lets requests in, in order, as long as memory is sure to suffice for all they may ever need.
    fn admit(&mut self) {
        while let Some((request, first)) = self.waiting.front_mut() {
            let (asked, places) = (&self.requests[*request], self.limits.samples - self.active);
            let reservation = Reservation::new(asked.prompt.len(), Self::limit(asked, self.limits.positions));
            // A sample whose only token needs no block of its own is limited by the prompt's alone.
            let left = (self.blocks.len() - self.reserved).checked_sub(reservation.shared);
            let fitting = left.map_or(0, |left| left.checked_div(reservation.each).unwrap_or(usize::MAX));
            let count = places.min(asked.streams.len() - *first).min(fitting);
            if count == 0 {
                return;
            }
            let samples = *first..*first + count;
            self.reserved += reservation.total(count);
            self.active += count;
            self.prompts.push_back(Prompt { request: *request, samples: samples.clone(), chain: Chain::default(), started: false, reservation });
            *first = samples.end;
            if *first == asked.streams.len() {
                self.waiting.pop_front();
            }
        }
    }

    fn add_running(&mut self, step: &mut Step) {
        for i in 0..self.running.len() {
            let running = &mut self.running[i];
            let request = &self.requests[running.request];
            let token = running.tokens[running.tokens.len() - 1];
            let tokens = || request.prompt.iter().chain(&running.tokens).copied();
            let row = append(&mut self.blocks, &mut running.chain, step, std::iter::once(token), tokens);
            step.rows.push(row as u32);
            step.draws.push(draw(request, running.sample, running.tokens.len()));
        }
    }

    fn add_prompts(&mut self, step: &mut Step) {
        let mut left = self.limits.prompt_tokens;
        while left > 0
            && let Some(prompt) = self.prompts.front_mut()
        {
            let request = &self.requests[prompt.request];
            if !prompt.started {
                // The last token is always read: the first new token is drawn from its row.
                let (blocks, parent) = self.blocks.find_prefix(&request.prompt, (request.prompt.len() - 1) / CACHE_BLOCK);
                prompt.chain = Chain { length: blocks.len() * CACHE_BLOCK, blocks, parent };
                prompt.started = true;
            }
            let from = prompt.chain.length;
            let until = request.prompt.len().min(from + left);
            left -= until - from;
            let tokens = || request.prompt.iter().copied();
            let row = append(&mut self.blocks, &mut prompt.chain, step, request.prompt[from..until].iter().copied(), tokens);
            if until < request.prompt.len() {
                return;
            }
            for sample in prompt.samples.clone() {
                step.rows.push((row + until - from - 1) as u32);
                step.draws.push(draw(request, sample, 0));
            }
            step.completed.extend(self.prompts.pop_front());
        }
    }

    /// Starts the samples whose prompts the pass has read: (index in `running` of the first, how many); `copy` copies a block.
    pub fn start_samples(&mut self, step: &mut Step, copy: &mut dyn FnMut(u32, u32)) {
        for prompt in step.completed.drain(..) {
            let group = self.groups.len();
            self.groups.push(Group { running: prompt.samples.len(), reservation: prompt.reservation });
            let partial = !prompt.chain.length.is_multiple_of(CACHE_BLOCK);
            for sample in prompt.samples.clone() {
                let mut chain = prompt.chain.clone();
                if sample > prompt.samples.start {
                    let shared = chain.blocks.len() - usize::from(partial);
                    chain.blocks[..shared].iter().for_each(|&block| self.blocks.share(block));
                    if partial {
                        let own = take(&mut self.blocks);
                        copy(chain.blocks[shared], own);
                        chain.blocks[shared] = own;
                    }
                }
                self.running.push(Running { request: prompt.request, sample, tokens: Vec::new(), logp: Vec::new(), chain, group });
            }
        }
    }

    /// Takes the samples out that are marked as finished.
    pub fn finish(&mut self, finished: &[bool]) -> Vec<Running> {
        let mut out = Vec::new();
        let all = std::mem::take(&mut self.running);
        for (running, finished) in all.into_iter().zip(finished) {
            if !finished {
                self.running.push(running);
                continue;
            }
            running.chain.blocks.iter().rev().for_each(|&block| self.blocks.release(block));
            let group = &mut self.groups[running.group];
            group.running -= 1;
            self.reserved -= group.reservation.each + if group.running == 0 { group.reservation.shared } else { 0 };
            self.active -= 1;
            out.push(running);
        }
        out
    }
}

fn draw(request: &SampleRequest, sample: usize, position: usize) -> Draw {
    let s = &request.sampling;
    Draw { temperature: s.temperature, top_k: s.top_k, top_p: s.top_p, min_p: s.min_p, uniform: uniform(request.streams[sample], position) }
}

/// Appends tokens to a sequence and to the pass, taking blocks as needed; returns the first one's row. `all` are the sequence's tokens, the new among them.
fn append<I: Iterator<Item = u32>>(blocks: &mut Blocks, chain: &mut Chain, step: &mut Step, new: impl Iterator<Item = u32>, all: impl Fn() -> I) -> usize {
    let (row, position) = (step.ids.len(), chain.length);
    for token in new {
        step.ids.push(token);
        step.positions.push(chain.length as u32);
        if chain.length.is_multiple_of(CACHE_BLOCK) {
            chain.blocks.push(take(blocks));
        }
        chain.length += 1;
        if chain.length.is_multiple_of(CACHE_BLOCK) {
            // The pass will fill it: keys are stored before any attention of the same layer reads them.
            let tokens: Vec<u32> = all().skip(chain.length - CACHE_BLOCK).take(CACHE_BLOCK).collect();
            chain.parent = Some(blocks.register(chain.blocks[chain.blocks.len() - 1], chain.parent, &tokens));
        }
    }
    step.spans.push(CacheSpan { row, rows: step.ids.len() - row, position, blocks: step.blocks.len() });
    step.blocks.extend(&chain.blocks);
    row
}

/// A block, of which admission has made sure that there is one.
fn take(blocks: &mut Blocks) -> u32 {
    blocks.take().unwrap_or_else(|| unreachable!("admission reserves every block that a sample may need"))
}
