//! Sampling parameters, and the reasons why a sample stops.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Parameters of the sampling distribution, and the token limit. Truncation is applied in the order top-k,
/// top-p, min-p.
///
/// Stop ids and stop texts belong to a request: they end a sample without changing the distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// 0 is greedy decoding; otherwise logits are divided by the temperature.
    pub temperature: f32,
    /// Nucleus sampling: the smallest set of tokens whose cumulative probability reaches this; 1: all tokens.
    pub top_p: f32,
    /// The k most likely tokens; 0: all tokens.
    pub top_k: usize,
    /// Tokens at least this many times as likely as the most likely one; 0: all tokens.
    pub min_p: f32,
    /// Maximum tokens of a sample.
    pub max_new_tokens: usize,
}

impl SamplingParams {
    /// The model's own distribution: temperature 1 without truncation.
    #[must_use]
    pub fn plain(max_new_tokens: usize) -> Self {
        Self { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, max_new_tokens }
    }

    /// Whether samples come from the model's own distribution, whose log-probs are recorded. Only then is a
    /// sample's log-prob also its log q.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::plain(self.max_new_tokens)
    }

    /// Validates every value.
    ///
    /// # Errors
    /// The first parameter out of range, with the valid range.
    pub fn validate(&self) -> Result<()> {
        let is_temperature = self.temperature.is_finite() && self.temperature >= 0.0;
        let is_share = |x: f32| (0.0..=1.0).contains(&x);
        check(is_temperature, "temperature", "a finite number of at least 0", self.temperature)?;
        // A top_p of 0 would keep no token at all; 0 is valid for min_p, where it keeps all.
        let is_top_p = is_share(self.top_p) && self.top_p > 0.0;
        check(is_top_p, "top_p", "a number above 0 and at most 1", self.top_p)?;
        check(is_share(self.min_p), "min_p", "a number from 0 to 1", self.min_p)?;
        check(self.max_new_tokens > 0, "max_new_tokens", "at least 1", self.max_new_tokens)
    }
}

fn check(holds: bool, name: &'static str, expected: &'static str, got: impl ToString) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::OutOfRange { name, expected, got: got.to_string() }) }
}

/// Why a sample stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopReason {
    /// It drew one of the request's stop ids, its last token.
    End,
    /// Its text contains one of the request's stop texts.
    StopString,
    /// It reached the token limit, or the model's context length.
    MaxTokens,
    /// The client interrupted it.
    Interrupted,
}

impl StopReason {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::End, Self::StopString, Self::MaxTokens, Self::Interrupted];

    /// The name in files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::StopString => "stop_string",
            Self::MaxTokens => "max_tokens",
            Self::Interrupted => "interrupted",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: SamplingParams =
        SamplingParams { temperature: 1.0, top_p: 1.0, top_k: 0, min_p: 0.0, max_new_tokens: 1 };

    #[track_caller]
    fn check(params: SamplingParams, expected: std::result::Result<(), &str>) {
        assert_eq!(params.validate().map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn the_ends_of_every_range_are_allowed() {
        for temperature in [0.0, f32::MIN_POSITIVE, f32::MAX] {
            check(SamplingParams { temperature, ..PLAIN }, Ok(()));
        }
        for share in [f32::MIN_POSITIVE, 1.0] {
            check(SamplingParams { top_p: share, min_p: share, ..PLAIN }, Ok(()));
        }
        check(SamplingParams { min_p: 0.0, top_k: usize::MAX, max_new_tokens: usize::MAX, ..PLAIN }, Ok(()));
    }

    #[test]
    fn values_outside_their_range_are_named() {
        let temperature = |temperature| SamplingParams { temperature, ..PLAIN };
        let message = "temperature: expected a finite number of at least 0, got";
        check(temperature(-1.0), Err(&format!("{message} -1")));
        check(temperature(f32::NAN), Err(&format!("{message} NaN")));
        check(temperature(f32::INFINITY), Err(&format!("{message} inf")));
        for (top_p, got) in [(0.0, "0"), (-0.5, "-0.5"), (1.5, "1.5"), (f32::NAN, "NaN")] {
            let message = format!("top_p: expected a number above 0 and at most 1, got {got}");
            check(SamplingParams { top_p, ..PLAIN }, Err(&message));
        }
        for (min_p, got) in [(-0.5, "-0.5"), (1.5, "1.5"), (f32::NAN, "NaN")] {
            let message = format!("min_p: expected a number from 0 to 1, got {got}");
            check(SamplingParams { min_p, ..PLAIN }, Err(&message));
        }
        let none = SamplingParams { max_new_tokens: 0, ..PLAIN };
        check(none, Err("max_new_tokens: expected at least 1, got 0"));
    }

    #[test]
    fn plain_is_temperature_one_without_a_cut() {
        assert!(SamplingParams::plain(9).is_plain());
        assert!(PLAIN.is_plain());
        let others = [
            SamplingParams { temperature: 0.7, ..PLAIN },
            SamplingParams { top_p: 0.9, ..PLAIN },
            SamplingParams { top_k: 5, ..PLAIN },
            SamplingParams { min_p: 0.1, ..PLAIN },
        ];
        assert!(others.iter().all(|params| !params.is_plain()));
    }

    #[test]
    fn reasons_have_the_names_that_files_hold() {
        let names = ["end", "stop_string", "max_tokens", "interrupted"];
        assert_eq!(StopReason::ALL.map(StopReason::name), names);
        assert_eq!(names.map(StopReason::from_name), StopReason::ALL.map(Some));
        assert_eq!(StopReason::from_name("length"), None);
    }
}
