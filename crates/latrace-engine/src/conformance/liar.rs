//! An engine whose completions are not as it was asked, in one way at a time.

use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Result;
use latrace_core::StopReason;

use crate::boundary::{Completion, Generate, GenerateClient, ModelShape, Request};
use crate::text_codec::TextCodec;

/// What is wrong with the first completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// A log-prob is NaN.
    NotANumber,
    /// A log-prob is minus infinity.
    Infinite,
    /// A log-prob is of a probability above 1.
    Positive,
    /// The last log-prob is missing.
    ShortLogProbs,
    /// There is no token.
    Empty,
    /// An id is not the model's.
    UnknownId,
    /// It says that a stop id ended it.
    WrongEnd,
    /// It was cut before its limit.
    Clamped,
    /// It is longer than its limit.
    TooLong,
    /// It says that its client interrupted it.
    Interrupted,
    /// It says that a stop text ended it.
    WrongStopText,
    /// It comes twice.
    Twice,
    /// It belongs to a sample that was not asked for.
    UnknownSample,
    /// It never comes.
    Missing,
}

/// All lies, and what their refusals say.
pub const LIES: [(Lie, &str); 14] = [
    (Lie::NotANumber, "log-prob of token 0: expected a finite number of at most 0, got NaN"),
    (Lie::Infinite, "got -inf"),
    (Lie::Positive, "got 0.5"),
    (Lie::ShortLogProbs, "log-probs, one per token"),
    (Lie::Empty, "expected at least one token, got none"),
    (Lie::UnknownId, "token 0: expected an id below"),
    (Lie::WrongEnd, "it claims to have stopped by \"end\""),
    (Lie::Clamped, "it claims to have stopped at the token limit"),
    (Lie::TooLong, "expected at most 5 tokens, got 6"),
    (Lie::Interrupted, "the client did not interrupt it"),
    (Lie::WrongStopText, "its last tokens contain none"),
    (Lie::Twice, "already arrived"),
    (Lie::UnknownSample, "expected one of 2 samples"),
    (Lie::Missing, "the engine finished without 1 of its 2 samples"),
];

/// An honest generator, and a lie about its first completion.
pub struct Liar {
    /// Tells the truth.
    pub honest: Box<dyn Generate>,
    /// What becomes of it.
    pub lie: Lie,
}

impl Generate for Liar {
    fn shape(&self) -> &ModelShape {
        self.honest.shape()
    }

    fn text(&self) -> Option<Arc<TextCodec>> {
        self.honest.text()
    }

    fn generate_unchecked(&mut self, client: &mut dyn GenerateClient) -> Result<()> {
        let unknown_id = self.honest.shape().vocabulary_size as u32;
        let mut lying = Lying { client, lie: self.lie, unknown_id };
        self.honest.generate_unchecked(&mut lying)
    }
}

struct Lying<'a> {
    client: &'a mut dyn GenerateClient,
    lie: Lie,
    unknown_id: u32,
}

impl Lying<'_> {
    fn lie_about(&self, completion: &mut Completion) {
        let Completion { ids, logp, stop } = completion;
        match self.lie {
            Lie::NotANumber => logp[0] = f32::NAN,
            Lie::Infinite => logp[0] = f32::NEG_INFINITY,
            Lie::Positive => logp[0] = 0.5,
            Lie::ShortLogProbs => logp.truncate(logp.len() - 1),
            Lie::Empty => (*ids, *logp) = (Vec::new(), Vec::new()),
            Lie::UnknownId => ids[0] = self.unknown_id,
            Lie::WrongEnd => *stop = StopReason::End,
            Lie::Clamped => (*ids, *logp) = (ids[..1].to_vec(), logp[..1].to_vec()),
            Lie::TooLong => {
                ids.push(0);
                logp.push(-1.0);
            }
            Lie::Interrupted => *stop = StopReason::Interrupted,
            Lie::WrongStopText => *stop = StopReason::StopString,
            Lie::Twice | Lie::UnknownSample | Lie::Missing => {}
        }
    }
}

impl GenerateClient for Lying<'_> {
    fn next_request(&mut self) -> Result<Option<Request>> {
        self.client.next_request()
    }

    fn grown(&mut self, request: usize, sample: usize, ids: &[u32], new: usize) -> ControlFlow<()> {
        self.client.grown(request, sample, ids, new)
    }

    fn finished(&mut self, request: usize, sample: usize, mut completion: Completion) -> Result<()> {
        // All others are honest, so that a refusal can only be of the lie.
        if (request, sample) != (0, 0) {
            return self.client.finished(request, sample, completion);
        }
        self.lie_about(&mut completion);
        match self.lie {
            Lie::Missing => Ok(()),
            Lie::UnknownSample => self.client.finished(request, 2, completion),
            Lie::Twice => {
                self.client.finished(request, sample, completion.clone())?;
                self.client.finished(request, sample, completion)
            }
            _ => self.client.finished(request, sample, completion),
        }
    }
}
