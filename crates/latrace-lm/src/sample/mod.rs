//! The sampler: continuous batching over a cache of keys and values in blocks, with shared prefixes.
//!
//! A sample is a function of its prompt, its stream of random numbers and its settings alone. What it is
//! batched with, in which order, on how many threads, from which shared blocks and in which pieces its prompt
//! was read, change no token and no bit of its log-probs; and the log-probs are, bit for bit, those of
//! [`crate::Scorer`] on the same tokens.

mod blocks;
mod packed_model;
mod sampler;
mod schedule;

pub use sampler::{Sampler, SamplerOptions};

use crate::error::Error;
use crate::random::mix;

/// How to draw the tokens of a sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// 0: always the likeliest token. Otherwise the logits are divided by it.
    pub temperature: f32,
    /// Only the likeliest so many; 0: all.
    pub top_k: usize,
    /// Only the fewest whose probability reaches this; 1: all.
    pub top_p: f32,
    /// Only those at least so many times as likely as the likeliest; 0: all.
    pub min_p: f32,
    /// Most tokens of a sample.
    pub max_new_tokens: usize,
    /// Tokens that end a sample.
    pub end_ids: Vec<u32>,
}

impl Sampling {
    /// Fails on a value outside its range.
    ///
    /// # Errors
    /// Names the setting, what it may be, and what it is.
    pub fn validate(&self) -> Result<(), Error> {
        let unit = |x: f32| (0.0..=1.0).contains(&x);
        let checks = [
            (
                "temperature",
                self.temperature.is_finite() && self.temperature >= 0.0,
                "a finite number of at least 0",
                self.temperature,
            ),
            ("top_p", unit(self.top_p) && self.top_p > 0.0, "a number above 0 and at most 1", self.top_p),
            ("min_p", unit(self.min_p), "a number from 0 to 1", self.min_p),
            ("max_new_tokens", self.max_new_tokens > 0, "at least 1", self.max_new_tokens as f32),
        ];
        match checks.into_iter().find(|(_, good, ..)| !good) {
            Some((name, _, expected, got)) => {
                Err(Error::Invalid(format!("{name}: expected {expected}, got {got}")))
            }
            None => Ok(()),
        }
    }
}

/// A prompt, and the samples wanted of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRequest {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// A stream of random numbers for each sample; see [`stream`].
    pub streams: Vec<u64>,
    /// How tokens are drawn.
    pub sampling: Sampling,
}

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// With one of the tokens that end a sample, which is its last.
    End,
    /// The observer found a text to stop at.
    StopString,
    /// At the limit of new tokens, or of the model's positions.
    MaxTokens,
    /// The observer wanted no more.
    Interrupted,
}

impl StopReason {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::StopString => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::Interrupted => "interrupted",
        }
    }

    /// The reason of a name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::End, Self::StopString, Self::MaxTokens, Self::Interrupted]
            .into_iter()
            .find(|reason| reason.name() == name)
    }
}

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which request, by its place among those given.
    pub request: usize,
    /// Which sample, by its place among the request's streams.
    pub sample: usize,
    /// Token ids, the ending one included.
    pub tokens: Vec<u32>,
    /// log p of each token (nats), at temperature 1 and before any cut.
    pub logp: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
}

/// Who follows the sampling.
pub trait Observer {
    /// A token was drawn, the last of `tokens`; a reason ends the sample with it.
    fn token(&mut self, request: usize, sample: usize, tokens: &[u32]) -> Option<StopReason> {
        let _ = (request, sample, tokens);
        None
    }

    /// A sample is complete. Samples come in no particular order.
    ///
    /// # Errors
    /// Whatever should end the sampling.
    fn finished(&mut self, sample: Sample) -> Result<(), Error>;
}

/// The stream of random numbers of one sample: a function of the run's seed, the stage, the question's id and
/// the sample's index.
pub fn stream(seed: u64, stage: &str, id: &str, sample: u64) -> u64 {
    let absorb = |state: u64, bytes: &[u8]| {
        let state = bytes.chunks(8).fold(state, |state, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(state ^ u64::from_le_bytes(word))
        });
        mix(state ^ bytes.len() as u64)
    };
    mix(absorb(absorb(mix(seed), stage.as_bytes()), id.as_bytes()) ^ sample)
}

/// The random number in [0, 1) of a stream for the token at `position` of the sample.
pub(crate) fn uniform(stream: u64, position: usize) -> f64 {
    (mix(stream ^ mix(position as u64)) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_in_every_part_of_their_key() {
        let keys = [
            (0, "a", "b", 0),
            (1, "a", "b", 0),
            (0, "c", "b", 0),
            (0, "a", "c", 0),
            (0, "a", "b", 1),
            (0, "ab", "", 0),
            (0, "", "ab", 0),
        ];
        let streams: std::collections::BTreeSet<u64> =
            keys.iter().map(|&(seed, stage, id, sample)| stream(seed, stage, id, sample)).collect();
        assert_eq!(streams.len(), keys.len());
    }

    #[test]
    fn uniform_numbers_are_spread() {
        let mean = (0..10_000).map(|i| uniform(7, i)).sum::<f64>() / 1e4;
        // The mean of 10,000 has a standard deviation of 0.0029.
        assert!((mean - 0.5).abs() < 0.012, "{mean}");
    }

    #[test]
    fn settings_outside_their_range_are_named() {
        let good = Sampling {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            max_new_tokens: 1,
            end_ids: vec![],
        };
        good.validate().unwrap();
        let check =
            |bad: Sampling, name: &str| assert!(bad.validate().unwrap_err().to_string().contains(name));
        check(
            Sampling { temperature: -1.0, ..good.clone() },
            "temperature: expected a finite number of at least 0, got -1",
        );
        check(Sampling { temperature: f32::NAN, ..good.clone() }, "temperature");
        check(
            Sampling { top_p: 0.0, ..good.clone() },
            "top_p: expected a number above 0 and at most 1, got 0",
        );
        check(Sampling { min_p: 1.5, ..good.clone() }, "min_p");
        check(Sampling { max_new_tokens: 0, ..good }, "max_new_tokens: expected at least 1");
    }
}
