//! The sampler: continuous batching over a cache of keys and values in blocks, with shared prefixes.
//!
//! A sample is a function of its prompt, its stream of random numbers and its settings alone. Neither the rest
//! of the batch, nor the order, the number of threads, shared blocks, or the pieces in which its prompt was
//! read change a token or a bit of its log-probs; and the log-probs are, bit for bit, those of
//! [`crate::Scorer`] on the same tokens.

mod blocks;
mod packed_model;
mod sampler;
mod schedule;

pub use sampler::{Sampler, SamplerOptions};

use crate::error::Result;
use latrace_core::{SamplingParams, StopReason};

pub use latrace_core::random::stream;

/// A prompt, and how many samples to draw from it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// A stream of random numbers for each sample; see [`stream`].
    pub streams: Vec<u64>,
    /// The distribution that tokens are drawn from, and how many.
    pub params: SamplingParams,
    /// Tokens that end a sample; the one that does is its last token.
    pub stop_ids: Vec<u32>,
}

impl SampleRequest {
    /// The prompt, then what was drawn.
    fn tokens<'a>(&'a self, drawn: &'a [u32]) -> impl Iterator<Item = u32> + 'a {
        self.prompt.iter().chain(drawn).copied()
    }
}

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which request, by its place among those given.
    pub request: usize,
    /// Which sample, by its place among the request's streams.
    pub sample: usize,
    /// Token ids, the stop id included.
    pub tokens: Vec<u32>,
    /// log p of each token (nats), at temperature 1 and before any cut.
    pub logp: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
}

/// Receives tokens and samples as they are drawn, and may stop a sample early.
pub trait Observer {
    /// Called after each token, the last of `tokens`; a reason returned ends the sample with that token.
    fn token(&mut self, request: usize, sample: usize, tokens: &[u32]) -> Option<StopReason> {
        let _ = (request, sample, tokens);
        None
    }

    /// Called with each complete sample, in no particular order.
    ///
    /// # Errors
    /// Whatever should end the sampling.
    fn finished(&mut self, sample: Sample) -> Result<()>;
}
